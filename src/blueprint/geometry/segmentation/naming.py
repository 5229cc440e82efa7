"""Plain words for an object nobody has named: its colour, and what its shape and size suggest, or a number."""

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


def shape_word(method: str, dims: tuple[float, float, float], volume_m3: float) -> tuple[str, float] | None:
    """What a completed shape of extents `dims` (x, y, height) [m] probably is, and how probably; None = no idea.

    method: of `Completion`. The words are categories; the probabilities are judgements, not statistics.
    """
    wide, height = max(dims[:2]), dims[2]
    small, middle, large = sorted(dims)
    if method == "container with handle":
        return ("mug", 0.8) if height < 0.16 else ("pitcher", 0.6)
    if method == "container":
        return ("plate", 0.5) if height < 0.2 * wide else ("bowl", 0.7) if height < 0.75 * wide else ("cup", 0.6)
    if method in ("cylinder", "lying_cylinder"):
        if middle < 0.025 and large > 5 * middle:
            return "pen", 0.4
        across = wide if method == "cylinder" else small
        long = height if method == "cylinder" else large
        return ("can", 0.6) if 0.04 < across < 0.16 and 0.3 < long / across < 3.6 else None
    if method in ("box", "rounded_box"):
        return ("book", 0.4) if small < 0.025 and middle > 0.1 and large < 0.4 else ("box", 0.6)
    if method in ("bottle", "lathe") and height > 1.3 * wide:
        return "bottle", 0.6 if method == "bottle" else 0.4
    round_ = large < 1.15 * small and 0.45 < volume_m3 / (dims[0] * dims[1] * dims[2]) < 0.6  # a ball fills pi / 6
    return ("ball", 0.4) if round_ else None


def named_by_shape(text: str, word: str, taken: set[str]) -> str:
    """`red object 2` as `red can`, with a number where it is `taken`; a text of another form stays."""
    if found := re.fullmatch(r"(?:(\w+) )?object \d+", text):
        base = text = f"{found[1]} {word}" if found[1] else word
        count = 2
        while text in taken:
            text, count = f"{base} {count}", count + 1
    taken.add(text)
    return text


def slug(text: str, taken: set[str]) -> str:
    """Lower-case letters, digits and underscores, starting with a letter; not in `taken`, to which it is added."""
    base = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_") or "object"
    base = base if base[0].isalpha() else f"object_{base}"
    name, count = base, 2
    while name in taken:
        name, count = f"{base}_{count}", count + 1
    taken.add(name)
    return name
