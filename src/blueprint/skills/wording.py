"""Instructions in plain English, as a person standing at the scene camera would give them."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from blueprint.model.task import Goal

Array = NDArray[np.float64]

TEMPLATES: dict[str, tuple[str, ...]] = {
    "lift": ("pick up the {object}", "lift the {object}", "grasp the {object} and lift it up"),
    "place_region": (
        "move the {object} to the {where} of the table",
        "pick up the {object} and put it down at the {where} of the table",
        "put the {object} at the {where} of the table",
    ),
    "place_beside": ("put the {object} next to the {target}", "place the {object} beside the {target}"),
    "place_on": ("put the {object} on top of the {target}", "stack the {object} on the {target}"),
    "place_into": ("put the {object} into the {target}", "place the {object} inside the {target}"),
}


def spoken_names(texts: dict[str, str], positions: dict[str, Array], right: Array) -> dict[str, str]:
    """What to call each object: its text, and where it stands among those of the same text.

    texts: object -> text; positions: object -> (2,) [m]; right: (2,) the viewer's right in the world's xy plane
    """
    plain = {name: " ".join(text.lower().split()) or name.replace("_", " ") for name, text in texts.items()}
    same = Counter(plain.values())
    named = {}
    for name, text in plain.items():
        rivals = sorted((n for n in plain if plain[n] == text), key=lambda n: float(positions[n] @ right))
        named[name] = text if same[text] == 1 else f"{_ordinal(rivals.index(name), len(rivals))} {text}"
    return named


def _ordinal(place: int, count: int) -> str:
    if count == 2:
        return ("left", "right")[place]
    if place in (0, count - 1):
        return "leftmost" if place == 0 else "rightmost"
    words = ("second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth")
    return f"{words[place - 1] if place <= len(words) else f'number {place + 1}'} from the left"


def instruction(
    goal: Goal, name: str, spoken: dict[str, str], polygon: Array, right: Array, rng: np.random.Generator
) -> str:
    """One sentence without a full stop. polygon: (K, 2) table outline, to say where on it a region is."""
    template = TEMPLATES[goal.family][int(rng.integers(len(TEMPLATES[goal.family])))]
    where = "" if goal.center is None else _where(np.array(goal.center), polygon, right)
    target = "" if goal.target is None else spoken[goal.target]
    return template.format(object=spoken[name], target=target, where=where)


def _where(spot: Array, polygon: Array, right: Array) -> str:
    """E.g. "far left", "middle": thirds of the table's extent as the viewer sees it."""
    away = np.array([-right[1], right[0]])
    across, along = polygon @ right, polygon @ away
    x = (spot @ right - across.min()) / np.ptp(across)
    y = (spot @ away - along.min()) / np.ptp(along)
    side = "left" if x < 1 / 3 else "right" if x > 2 / 3 else ""
    depth = "near" if y < 1 / 3 else "far" if y > 2 / 3 else ""
    if side:
        return f"{depth} {side}".strip()
    return {"near": "front", "far": "back", "": "middle"}[depth]
