"""Scenes of mere meshes: one GLB or glTF file, or a folder of OBJ (STL, PLY, GLB) files that share a frame.

glTF says its unit and its up; the others do not: scene.json does ({"unit": "cm", "up": "y"}), or the sizes of things
with names tell the unit, and what stands on what tells up.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from blueprint.core.errors import InputError
from blueprint.formats.given.scene import Y_TO_Z_UP, GivenBody, GivenScene, bodies_of, reading, scene_of
from blueprint.formats.gltf_read import CURE, read_tree
from blueprint.formats.json_file import number, of, read_json
from blueprint.geometry.transforms import Array
from blueprint.model.categories import category_of

SETTINGS = "scene.json"
UNITS_M = {"m": 1.0, "cm": 0.01, "mm": 0.001, "in": 0.0254, "ft": 0.3048}
GLTF = (".glb", ".gltf")
SCENE_STEMS = ("scene", "main", "world", "stage", "model")
ROOM_M = (0.05, 12.0)  # longest side of what somebody would import without a unit
TOUCH_SHARE = 0.01  # of the scene's height: how near a bottom must come to count as standing
MOST_FILES = 2000


def read_meshes(root: Path, main: Path) -> GivenScene:
    """Raises InputError for broken files, and where nothing says the unit."""
    said = read_json(root / SETTINGS) if (root / SETTINGS).is_file() else {}
    notes: list[str] = []
    files = _files(root, main)
    trees = [read_tree(root, file, notes) for file in files]
    with reading(main, CURE):
        for file, tree in zip(files, trees, strict=True):
            if len(files) > 1:  # a file is an object, named as the file
                tree.name, tree.whole = file.stem, True
        plain = [body for tree in trees for body in bodies_of(tree, np.eye(4))]
        is_gltf = main.suffix.lower() in GLTF
        metres, unit = _unit(said, plain, is_gltf, main)
        up, how = _up(said, plain, is_gltf)
        T = (Y_TO_Z_UP if up == "y" else np.eye(4)) @ np.diag([metres, metres, metres, 1.0])
        bodies = [body for tree in trees for body in bodies_of(tree, T)]
        return scene_of(bodies, (), unit, how, notes, main)


def _files(root: Path, main: Path) -> list[Path]:
    """`main` alone if its name says it is the scene; else every mesh file of its kind in its folder or below."""
    kinds = GLTF if main.suffix.lower() in GLTF else (main.suffix.lower(),)
    others = [p for p in sorted(main.parent.rglob("*")) if p.suffix.lower() in kinds and p.is_file()]
    said = read_json(root / SETTINGS) if (root / SETTINGS).is_file() else {}
    if main.stem.lower() in SCENE_STEMS or of(said, "main") or len(others) < 2:
        return [main]
    if len(others) > MOST_FILES:
        raise InputError(f"{len(others)} mesh files; at most {MOST_FILES} are read", "merge some")
    return others


def _unit(said: object, bodies: Sequence[GivenBody], is_gltf: bool, main: Path) -> tuple[float, str]:
    """(metres per unit, what says so)."""
    given = of(said, "unit")
    if given is not None:
        metres = UNITS_M[given] if given in UNITS_M else number(given, "unit", main.parent / SETTINGS)
        if metres <= 0:
            raise InputError(f"{SETTINGS}: unit is {given!r}", f"one of {', '.join(UNITS_M)}, or metres per unit")
        return metres, f"unit {given} of {SETTINGS}"
    if is_gltf:
        return 1.0, "metres (glTF)"
    sizes = {body.name: float(np.ptp(body.world, axis=0).max()) for body in bodies if body.surfaces}
    named = [(size, found[0].size_m) for name, size in sizes.items() if (found := category_of(name))]
    for unit in ("m", "mm", "cm", "in"):
        fits = [low / 1.5 <= size * UNITS_M[unit] <= 1.5 * high for size, (low, high) in named]
        if fits and sum(fits) > 0.6 * len(fits):
            return UNITS_M[unit], f"{unit}: the usual sizes of {len(fits)} named objects"
    points = np.concatenate([body.world for body in bodies if body.surfaces])
    extent = float(np.ptp(points, axis=0).max())
    likely = [unit for unit in ("m", "cm", "mm") if ROOM_M[0] <= extent * UNITS_M[unit] <= ROOM_M[1]]
    if len(likely) == 1:
        return UNITS_M[likely[0]], f"{likely[0]}: in any other unit the scene is no room and no object"
    raise InputError(
        f"{main.name} says no unit, and its extent of {extent:.4g} may be {' or '.join(likely) or 'anything'}",
        f'write {SETTINGS} beside it: {{"unit": "m"}} (one of {", ".join(UNITS_M)}), or export GLB, which is in metres',
    )


def _up(said: object, bodies: Sequence[GivenBody], is_gltf: bool) -> tuple[str, str]:
    """("y" or "z", how it was found)."""
    given = of(said, "up")
    if given is not None:
        if str(given).lower() not in ("y", "z"):
            raise InputError(f"{SETTINGS}: up is {given!r}", "y or z")
        return str(given).lower(), f"up {given} of {SETTINGS}"
    if is_gltf:
        return "y", "y (glTF)"
    boxes = [(w.min(axis=0), w.max(axis=0)) for w in (body.world for body in bodies if body.surfaces)]
    standing = {axis: _standing(boxes, number) for axis, number in (("z", 2), ("y", 1))}
    if standing["z"] > standing["y"]:
        return "z", "z: more things stand on something that way"
    if standing["y"] > standing["z"]:
        return "y", "y: more things stand on something that way"
    return "y", "y: usual for such files"


def _standing(boxes: list[tuple[Array, Array]], axis: int) -> int:
    """How many boxes stand on the lowest level or on the top of another, if `axis` is up."""
    floor = min(low[axis] for low, _ in boxes)
    touch = TOUCH_SHARE * max(max(high[axis] for _, high in boxes) - floor, 1e-9)
    others = [k for k in range(3) if k != axis]
    count = 0
    for i, (low, high) in enumerate(boxes):
        below = (
            abs(other_high[axis] - low[axis]) < touch
            and all(low[k] < other_high[k] and other_low[k] < high[k] for k in others)
            for j, (other_low, other_high) in enumerate(boxes)
            if j != i
        )
        count += abs(low[axis] - floor) < touch or any(below)
    return count
