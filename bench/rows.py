"""A line of a bars table, and where the captures lie."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """passed None: reported only, no bound."""

    name: str
    measured: str
    bound: str
    passed: bool | None

    def __str__(self) -> str:
        verdict = {True: "PASS", False: "FAIL", None: "INFO"}[self.passed]
        return f"{verdict} {self.name:<58} {self.measured:<34} {self.bound}"


def captures() -> Path:
    """The folder of real captures: $BLUEPRINT_CAPTURES, or ../shared/captures beside the checkout."""
    beside = Path(__file__).parents[2] / "shared" / "captures"
    return Path(os.environ.get("BLUEPRINT_CAPTURES", beside))
