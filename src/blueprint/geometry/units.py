"""Units of depth images: what their numbers mean in metres."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from blueprint.core.errors import InputError

KNOWN = {
    "m": 1.0,
    "meter": 1.0,
    "meters": 1.0,
    "metre": 1.0,
    "metres": 1.0,
    "cm": 0.01,
    "mm": 0.001,
    "millimeter": 0.001,
    "millimeters": 0.001,
    "millimetre": 0.001,
    "millimetres": 0.001,
    "0.1mm": 0.0001,
    "um": 1e-6,
}
CODINGS = (("m", 1.0), ("mm", 1e-3), ("1/5000 m", 1 / 5000), ("0.1mm", 1e-4))  # what sensors and data sets write
TABLE_RANGE_M = (0.25, 2.5)  # median depth of a picture of a table


@dataclass(frozen=True)
class DepthUnit:
    """metres: length of one count."""

    name: str
    metres: float


def parse_unit(text: str) -> DepthUnit:
    """`mm`, `mm(uint16)`, `m`, `0.1mm`, `1/5000`, `0.001` ... Raises InputError listing the units."""
    word = re.sub(r"\(.*\)", "", text).strip().lower()
    if word in KNOWN:
        return DepthUnit(word, KNOWN[word])
    match = re.fullmatch(r"(?:1\s*/\s*)?(\d+(?:\.\d+)?(?:e-?\d+)?)\s*m?", word)
    if match and float(match[1]) > 0:
        value = 1 / float(match[1]) if word.startswith("1/") or word.startswith("1 /") else float(match[1])
        return DepthUnit(f"{word} m per count", value)
    raise InputError(
        f"depth unit {text!r} is not known", "use m, cm, mm, 0.1mm, or metres per count such as 0.001 or 1/5000"
    )


def infer_unit(values: NDArray[np.generic], what: str) -> DepthUnit:
    """The one coding that puts the median reading (H, W) where a table can be. Raises InputError when several do."""
    numbers = values[np.isfinite(values.astype(float)) & (values.astype(float) > 0)].astype(float)
    if not len(numbers):
        raise InputError(f"{what} has no reading above zero", "the depth stream was probably not running")
    median = float(np.median(numbers))
    codings = CODINGS if values.dtype.kind in "ui" else CODINGS[:2]
    fitting = [DepthUnit(n, m) for n, m in codings if TABLE_RANGE_M[0] <= median * m <= TABLE_RANGE_M[1]]
    if len(fitting) == 1:
        return fitting[0]
    could = ", ".join(f"{unit.name} ({median * unit.metres:.2f} m)" for unit in fitting) or "none of the usual codings"
    raise InputError(
        f"{what}: the depth unit is not given, and a median reading of {median:g} could be {could}",
        "say it: --set capture.depth_unit=mm (or m, 0.1mm, 1/5000)",
    )
