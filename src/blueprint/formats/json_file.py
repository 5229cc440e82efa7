"""JSON files and numbers from somebody else: read with errors that name the file and the cure."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from blueprint.core.errors import InputError


def read_json(file: Path) -> Any:
    """Raises InputError for a missing file, bad JSON, or NaN."""
    if not file.is_file():
        raise InputError(f"{file} does not exist", "see docs/capture_format.md for the layout of a capture")
    try:
        return json.loads(file.read_text(encoding="utf-8"), parse_constant=_no_constant)
    except (ValueError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{file} is not valid JSON: {error}", "check it with any JSON editor") from error


def number(value: object, what: str, file: Path) -> float:
    """A finite float. Raises InputError."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InputError(f"{file}: {what} is {value!r}", "give a finite number")
    return float(value)


def of(value: object, key: str) -> Any:
    """The entry of a JSON object; None of anything else."""
    return value.get(key) if isinstance(value, dict) else None


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")
