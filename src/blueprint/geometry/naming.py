"""Plain words for an object nobody has named: its colour, and a number."""

from __future__ import annotations

import re

import cv2
import numpy as np
from numpy.typing import NDArray

# Hue limits in degrees, as most people name them; red wraps around.
HUES = (
    (15, "red"),
    (40, "orange"),
    (70, "yellow"),
    (165, "green"),
    (200, "cyan"),
    (255, "blue"),
    (290, "purple"),
    (345, "pink"),
    (361, "red"),
)
GREY_SATURATION = 0.25
DARK = 0.22
BRIGHT = 0.75
MAJORITY = 0.35


def color_word(color: NDArray[np.uint8]) -> str | None:
    """The name of the colour that most of the pixels (N, 3) RGB have, None when none stands out."""
    if not len(color):
        return None
    hsv = cv2.cvtColor(color[None].astype(np.float32) / 255, cv2.COLOR_RGB2HSV)[0]
    hue, saturation, value = hsv.T
    names = np.array([name for _, name in HUES])[np.searchsorted([limit for limit, _ in HUES], hue, side="right")]
    grey = np.where(value > BRIGHT, "white", np.where(value < DARK, "black", "grey"))
    names = np.where(value < DARK, "black", np.where(saturation < GREY_SATURATION, grey, names))
    words, counts = np.unique(names, return_counts=True)
    best = int(np.argmax(counts))
    return str(words[best]) if counts[best] >= MAJORITY * len(color) else None


def describe(color: NDArray[np.uint8], number: int) -> str:
    """A neutral name such as `red object 2`."""
    word = color_word(color)
    return f"{word} object {number}" if word else f"object {number}"


def slug(text: str, taken: set[str]) -> str:
    """Lower-case letters, digits and underscores, starting with a letter; not in `taken`, to which it is added."""
    base = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_") or "object"
    base = base if base[0].isalpha() else f"object_{base}"
    name, count = base, 2
    while name in taken:
        name, count = f"{base}_{count}", count + 1
    taken.add(name)
    return name
