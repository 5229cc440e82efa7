"""What things usually are: a table of categories of homes, offices, labs, warehouses and shops.

Each row says how large such a thing is, what it is made of, what of it opens, and what can be done with it. The table
is knowledge, not evidence: a size range is a prior, an opening is a claim that `stages/articulation.py` checks.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from importlib import resources
from math import radians
from typing import Literal, get_args

AxisWord = Literal["vertical", "horizontal", "depth"]
Role = Literal[
    "static", "interactive", "manipulable_object", "articulated_furniture", "articulated_appliance",
    "clutter", "background", "scene_shell", "unknown",
]  # fmt: skip
Softness = Literal["none", "cloth", "rope", "volume"]


@dataclass(frozen=True)
class Opening:
    """Something that moves. axis: relative to the object as it stands, depth = through its front.

    limits: [rad] for revolute; for prismatic a share of the moving part's own extent along the axis; 0 = closed
    several: there may be any number of them, none included
    """

    part: str
    joint: Literal["revolute", "prismatic"]
    axis: AxisWord
    limits: tuple[float, float]
    several: bool = False


# Limits: concealed cabinet hinges are sold for 95, 110 and 165 degrees, 110 being the common one; ball-bearing slides
# of partial extension leave a fifth to a quarter of the drawer inside; oven and dishwasher doors end level.
OPENINGS: dict[str, Opening] = {
    "door": Opening("door", "revolute", "vertical", (0.0, radians(110))),
    "flap": Opening("flap", "revolute", "horizontal", (0.0, radians(90))),
    "lid": Opening("lid", "revolute", "horizontal", (0.0, radians(100))),
    "screen": Opening("screen", "revolute", "horizontal", (0.0, radians(130))),
    "drawer": Opening("drawer", "prismatic", "depth", (0.0, 0.8)),
    "tray": Opening("tray", "prismatic", "depth", (0.0, 0.8)),
    "slide": Opening("slide", "prismatic", "horizontal", (0.0, 0.9)),
    "dial": Opening("dial", "revolute", "depth", (0.0, radians(270))),
    "lever": Opening("lever", "revolute", "vertical", (0.0, radians(90))),
    "button": Opening("button", "prismatic", "depth", (-0.3, 0.0)),
}

AFFORDANCES = {
    "op": "Openable", "tu": "Turnable", "pr": "Pressable", "sl": "Slidable", "gr": "Graspable", "in": "Insertable",
    "st": "Stackable", "ha": "Hangable", "pa": "Pourable", "fi": "Fillable", "co": "Containable", "pl": "Placeable",
    "su": "Supportable", "fo": "Foldable", "sq": "Squeezable", "cu": "Cuttable", "wr": "Writable", "wi": "Wiping",
}  # fmt: skip


@dataclass(frozen=True)
class Category:
    """size_m: usual range of the longest side; material: a name of `model/materials.py`; qcode: Wikidata, or ""."""

    key: str
    synonyms: tuple[str, ...]
    size_m: tuple[float, float]
    material: str
    qcode: str
    moves: tuple[Opening, ...]
    role: Role
    affordances: tuple[str, ...]
    anchored: bool = False
    soft: Softness = "none"


def _read(line: str) -> Category:
    key, synonyms, size, material, qcode, moves, flags, affordances = line.split("|")
    low, high = map(float, size.split("-"))
    role, *marks = flags.split()
    if role not in get_args(Role):
        raise ValueError(f"{key}: no role {role!r}")
    soft = next((mark for mark in marks if mark in get_args(Softness)), "none")
    return Category(
        key,
        tuple(word for word in synonyms.split(",") if word),
        (low, high),
        material,
        qcode,
        tuple(_opening(word) for word in moves.split()),
        role,  # pyright: ignore[reportArgumentType] - checked above
        tuple(AFFORDANCES[short] for short in affordances.split()),
        "anchored" in marks,
        soft,  # pyright: ignore[reportArgumentType]
    )


def _opening(word: str) -> Opening:
    known = OPENINGS[word.rstrip("*")]
    return Opening(known.part, known.joint, known.axis, known.limits, word.endswith("*"))


def _table() -> tuple[Category, ...]:
    text = resources.files(__package__ or "").joinpath("table.psv").read_text()
    return tuple(_read(line) for line in text.splitlines() if line and not line.startswith("#"))


CATEGORIES: tuple[Category, ...] = _table()


def category_of(text: str) -> tuple[Category, float] | None:
    """The category whose name or synonym occurs in `text`, longest first, then the last (the noun): with a confidence.

    1.0: the text is the name; 0.95: a synonym; less for every word of the text that the name leaves over (`blue metal
    cabinet 2`), never below 0.6. None when no word is known.
    """
    words = _words(text)
    index = _index()
    for length in range(min(len(words), 4), 0, -1):
        for start in range(len(words) - length, -1, -1):
            found = index.get(" ".join(words[start : start + length]))
            if found is not None:
                category, exact = found
                rest = sum(1 for word in words if not word.isdigit()) - length
                return category, round(max(0.6, exact - 0.05 * rest), 2)
    return None


def named_category(key: str) -> Category | None:
    """The category of exactly that key, or None."""
    return next((category for category in CATEGORIES if category.key == key), None)


def _words(text: str) -> list[str]:
    """Lower-case singular words; `CamelCase`, `snake_case` and `file-12` are taken apart."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    return [_singular(word) for word in re.findall(r"[a-z]+|\d+", spaced.lower().replace("'", ""))]


def _singular(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("ches", "shes", "xes", "sses")):
        return word[:-2]
    if word.endswith("ves") and len(word) > 4:
        return word[:-3] + ("fe" if word[:-3] in ("kni", "li") else "f")
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "us")) and len(word) > 3 else word


@functools.cache
def _index() -> dict[str, tuple[Category, float]]:
    """Phrase of singular words -> category and how exact it is; a key wins over another's synonym."""
    table: dict[str, tuple[Category, float]] = {}
    for category in CATEGORIES:
        for phrase in category.synonyms:
            table.setdefault(" ".join(_words(phrase)), (category, 0.95))
    for category in CATEGORIES:
        table[" ".join(_words(category.key))] = (category, 1.0)
    return table
