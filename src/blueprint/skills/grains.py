"""Grains: small spheres that stand for what is poured. They are bodies of the workcell, but no objects.

A real granular material has thousands of grains with rolling resistance; a few dozen spheres show where the stream goes
and what is spilt, not how sugar heaps.
"""

from __future__ import annotations

import copy
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from blueprint.backends.protocols import Simulator
from blueprint.core.errors import IntegrityError, SettingsError
from blueprint.geometry.transforms import invert, transform_points
from blueprint.model.artifacts import Workcell
from blueprint.model.scene import GRAIN
from blueprint.skills.cell import Cell
from blueprint.skills.placement import footprint, height_range, surface_height

Array = NDArray[np.float64]

RADIUS_M, MASS_KG = 0.0055, 0.0012  # about a chickpea
SPACING = 2.3  # of their grid, in radii
SETTLE_S = 1.5
FRICTION = "0.5 0.005 0.0005"


def fill(workcell: Workcell, name: str, count: int, simulator: Simulator) -> None:
    """Put grains into the vessel `name` of a workcell, in place, where they come to rest.

    Their bodies come after all others, so that a state of the workcell as it was is the beginning of one as it is now.
    Raises SettingsError when the vessel does not hold them.
    """
    file = workcell.path(workcell.mjcf)
    empty = ET.parse(file)
    _write(empty, _grid(Cell.load(file, workcell.robots, workcell.objects), name, count), file)
    filled = Cell.load(file, workcell.robots, workcell.objects)
    simulation = simulator.open(file, filled.home_qpos)
    simulation.advance(filled.ctrl(filled.home_action.astype(np.float32)), SETTLE_S)
    rest = simulation.qpos
    simulation.close()
    _write(empty, np.array([rest[at : at + 3] for at in addresses(filled)]), file)
    if (left := len(inside(filled, name, rest))) < count:
        raise SettingsError(f"{name} does not hold {count} grains: {left} stayed in it", f"try {left} or fewer")


def _grid(cell: Cell, name: str, count: int) -> Array:
    """(count, 3) above the vessel's floor, layer by layer, clear of its walls."""
    from blueprint.skills.families.pick import opening

    T = cell.pose(cell.home_qpos, name)
    outline, (low, high) = footprint(cell, name, T), height_range(cell, name, T)
    middle = (outline.min(axis=0) + outline.max(axis=0)) / 2
    room = opening(cell, name, T, middle, high) - 1.2 * RADIUS_M
    if room <= 0:
        raise SettingsError(
            f"{name} cannot hold grains: it has no opening, or one narrower than a grain",
            "name a vessel that is hollow in the scene's colliders, 3 cm wide or more: a cup, a bowl",
        )
    ticks = np.arange(-room, room + 1e-9, SPACING * RADIUS_M)
    layer = np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)
    layer = layer[np.linalg.norm(layer, axis=1) <= room] + middle
    floor = np.maximum(surface_height(cell, name, T, layer) + 1.05 * RADIUS_M, low + 0.012)
    lowest, up = np.column_stack([layer, floor]), np.array([0.0, 0.0, SPACING * RADIUS_M])
    return np.concatenate([lowest + k * up for k in range(count)])[:count]


def _write(empty: ET.ElementTree[ET.Element], spots: Array, file: Path) -> None:
    tree = copy.deepcopy(empty)
    world, key = tree.find("worldbody"), tree.find("keyframe/key")
    if world is None or key is None:
        raise IntegrityError(f"{file.name} has no worldbody or no keyframe", "run the workcell stage again")
    for k, spot in enumerate(spots):
        place = " ".join(f"{x:.8f}" for x in spot)
        body = ET.SubElement(world, "body", name=f"{GRAIN}{k:02d}", pos=place)
        ET.SubElement(body, "freejoint", name=f"{GRAIN}{k:02d}")
        ET.SubElement(
            body, "geom", type="sphere", size=str(RADIUS_M), mass=str(MASS_KG), friction=FRICTION, rgba="0.8 0.6 0.3 1"
        )
        key.set("qpos", f"{key.get('qpos')} {place} 1 0 0 0")
    tree.write(file)


def names(cell: Cell) -> tuple[str, ...]:
    bodies = (cell.model.body(body).name for body in range(cell.model.nbody))
    return tuple(name for name in bodies if name.startswith(GRAIN))


def addresses(cell: Cell) -> list[int]:
    """Where the 7 values of each grain begin in qpos."""
    return [int(cell.model.jnt_qposadr[cell.model.body_jntadr[cell.body(name)]]) for name in names(cell)]


def inside(cell: Cell, name: str, qpos: Array) -> list[int]:
    """Addresses of the grains within the bounding box of an object, in its own frame."""
    found = addresses(cell)
    if not found:
        return []
    from blueprint.skills.grasping.solids import solid

    corners = solid(cell.model, cell.body(name)).vertices
    local = transform_points(invert(cell.pose(qpos, name)), np.array([qpos[at : at + 3] for at in found]))
    within = ((local >= corners.min(axis=0)) & (local <= corners.max(axis=0))).all(axis=1)
    return [at for at, held in zip(found, within, strict=True) if held]


def moved(cell: Cell, name: str, qpos: Array, T_world_object: Array) -> Array:
    """(nq,) the state with an object and the grains in it moved."""
    change = T_world_object @ invert(cell.pose(qpos, name))
    out = cell.with_pose(qpos, name, T_world_object)
    for at in inside(cell, name, qpos):
        out[at : at + 3] = transform_points(change, qpos[at : at + 3])
    return out
