"""Does what was asked for hold? A run whose results exist but fail here exits with 1."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from blueprint.core.artifact import ARTIFACT_FILE
from blueprint.core.errors import InfeasibleError
from blueprint.core.run import Step


def require_sound(steps: Sequence[Step]) -> None:
    """Raises InfeasibleError naming what does not hold, of results that were published all the same."""
    for step in steps:
        judge = _JUDGES.get(step.stage.name)
        if judge is not None and step.root is not None:
            judge(json.loads((step.root / ARTIFACT_FILE).read_bytes()))


def _settled(artifact: dict[str, Any]) -> None:
    settle = artifact["settle"]
    if not settle["passed"]:
        raise InfeasibleError(
            f"the scene does not hold still: objects move {settle['max_drift_m'] * 1000:.1f} mm and "
            f"{settle['max_drift_deg']:.1f} deg in {settle['seconds']:g} s, "
            f"and start {settle['max_penetration_m'] * 1000:.1f} mm inside each other",
            "look at the objects in the report; a better view of their feet, or user boxes, give better shapes",
        )


def _usable(artifact: dict[str, Any]) -> None:
    made_up = "mock" in artifact["sensor_source"]  # asked for by name, and told everywhere: no surprise
    if artifact["training_suitability"] == "unsuitable" and not made_up:
        raise InfeasibleError(
            f"the certificate says unsuitable: {'; '.join(artifact.get('reasons', ())) or 'see its checks'}",
            "outputs/report shows which check failed",
        )


_JUDGES: dict[str, Callable[[dict[str, Any]], None]] = {"physics": _settled, "certificate": _usable}
