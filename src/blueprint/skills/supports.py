"""What stands fixed and carries or holds things: boards and tops of furniture, bins, trays of open drawers.

Its level surfaces are found from the colliders: lines straight down meet the pieces' tops; a top that no other piece
covers is bare, and tops of one height are one level. A level with walls all around lies inside something.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull

from blueprint.geometry.transforms import transform_points
from blueprint.model.task import Family, Goal
from blueprint.skills.cell import Cell
from blueprint.skills.grasping.solids import Solid, solid
from blueprint.skills.mounting import Wall
from blueprint.skills.placement import footprint, height_range, outline_gap, standing, turns

if TYPE_CHECKING:
    import mujoco

Array = NDArray[np.float64]

GRID_M = 0.03  # between the lines
FLAT_M = 0.004  # how much the tops of a level may differ
WIDE_M = 0.06  # from the first spot to the last: narrower are the rims of walls and the ends of handles
HEADROOM_M = 0.08  # under what the same body has above
HAND_M = 0.05  # over what is put down, free of other bodies
APART_M = 0.02  # from what stands there
ROOM_M = 0.06  # more makes a spot no better
DIRECTIONS = 12
EYE_M = 0.02  # above a level, from where walls are looked for
REACH_M = 0.9  # of an arm, from its base
WIDEST_M = 0.5  # from the middle of a bin to its wall: what is wider is a room
ON_TABLE_M, ARM_M = 0.02, 1.2  # what is lower or higher is in no arm's way
PLACES, TURNS = 8, 3  # that are tried


@dataclass(frozen=True, eq=False)
class Level:
    """body: that it belongs to; height [m]; spots: (N, 2) of a grid where it is bare; walled: it lies inside."""

    body: str
    height: float
    spots: Array
    walled: bool


def levels(cell: Cell, name: str, qpos: Array) -> tuple[Level, ...]:
    """Of a fixed body in a state, as far as arms can reach, the lowest first."""
    bases = np.array([view.robot.base.position for view in cell.views])
    box = np.stack([bases.min(axis=0) - REACH_M, bases.max(axis=0) + REACH_M])
    return _levels(cell.model, name, cell.pose(qpos, name).tobytes(), box.tobytes())


@lru_cache(maxsize=256)
def _levels(model: mujoco.MjModel, name: str, pose: bytes, reached: bytes) -> tuple[Level, ...]:
    T, shape, box = np.frombuffer(pose).reshape(4, 4), solid(model, model.body(name).id), np.frombuffer(reached)
    points = transform_points(T, shape.vertices)
    low, high = np.maximum(points.min(axis=0), box[:3]), np.minimum(points.max(axis=0), box[3:])
    axes = [np.arange(a + GRID_M / 2, b, GRID_M) for a, b in zip(low[:2], high[:2], strict=True)]
    grid = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)
    tops = _bare_tops(shape, T, grid)
    left, found = np.sort(tops[(tops >= box[2]) & (tops <= box[5])]), list[Level]()
    while len(left):
        height = float(np.median(left[left < left[0] + FLAT_M]))
        spots = grid[(np.abs(tops - height) < FLAT_M).any(axis=1)]
        if np.ptp(spots, axis=0).min() >= WIDE_M - 1e-9:
            found.append(Level(name, height, spots, _walled(shape, T, spots, height)))
        left = left[left > max(height, left[0]) + FLAT_M]
    return tuple(found)


def walls(cell: Cell) -> list[Wall]:
    """The pieces of fixed bodies that an arm on the table would stand in."""
    found = []
    for name in cell.fixed:
        T = cell.pose(cell.home_qpos, name)
        for piece in solid(cell.model, cell.body(name)).pieces:
            points = transform_points(T, piece)
            if points[:, 2].max() > ON_TABLE_M and points[:, 2].min() < ARM_M:
                ring = points[ConvexHull(points[:, :2]).vertices, :2]
                found.append((ring, float(points[:, 2].min()), float(points[:, 2].max())))
    return found


def _bare_tops(shape: Solid, T: Array, spots: Array) -> Array:
    """(N, P) height of each piece's top under spots (N, 2), inf where none is, or it is covered, or has no headroom."""
    top = float(transform_points(T, shape.vertices)[:, 2].max()) + 0.01
    origins = (np.column_stack([spots, np.full(len(spots), top)]) - T[:3, 3]) @ T[:3, :3]
    enter, leave, _ = shape.crossings(origins, np.tile(-T[2, :3], (len(spots), 1)))
    covered = np.zeros_like(enter, dtype=bool)
    for p, piece in enumerate(enter.T):
        with np.errstate(invalid="ignore"):  # inf - inf, where both are missed
            over = piece[:, None] - leave  # what is between it and each other; negative: that reaches down to it
        covered[:, p] = ((enter < piece[:, None] - 1e-4) & ~(over >= HEADROOM_M)).any(axis=1)
    return np.where(np.isfinite(enter) & ~covered, top - enter, np.inf)


def _walled(shape: Solid, T: Array, spots: Array, height: float) -> bool:
    """Whether the body stands around the middle of some spots in every direction, no farther than a bin's walls."""
    middle = spots[np.linalg.norm(spots - spots.mean(axis=0), axis=1).argmin()]
    angle = np.arange(DIRECTIONS) * 2 * np.pi / DIRECTIONS
    around = np.column_stack([np.cos(angle), np.sin(angle), np.zeros(DIRECTIONS)]) @ T[:3, :3]
    eye = (np.array([*middle, height + EYE_M]) - T[:3, 3]) @ T[:3, :3]
    enter, leave, _ = shape.crossings(np.tile(eye, (DIRECTIONS, 1)), around)
    return bool(((np.isfinite(leave)) & (leave > 0) & (enter > 0) & (enter < WIDEST_M)).any(axis=1).all())


def places(cell: Cell, name: str, level: Level, qpos: Array) -> tuple[Array, ...]:
    """Spots (2,) of a level where a thing that stands as in a state (nq,) has room, some, the roomiest first.

    Of equally roomy ones that which is nearer to the robot comes first.
    """
    return _places(cell, name, level, qpos.tobytes())


@lru_cache(maxsize=64)
def _places(cell: Cell, name: str, level: Level, state: bytes) -> tuple[Array, ...]:
    return tuple(itertools.islice(_roomy(cell, name, level, np.frombuffer(state)), PLACES))


def _roomy(cell: Cell, name: str, level: Level, qpos: Array) -> Iterator[Array]:
    T = cell.pose(qpos, name)
    own, (low, high) = footprint(cell, name, T), height_range(cell, name, T)
    own = own - (own.min(axis=0) + own.max(axis=0)) / 2
    shape, T_body = solid(cell.model, cell.body(level.body)), cell.pose(qpos, level.body)
    others = list[Array]()
    for other in cell.objects:
        T_other = cell.pose(qpos, other)
        bottom, top = height_range(cell, other, T_other)
        if other != name and bottom < level.height + high - low and top > level.height:
            others.append(footprint(cell, other, T_other))
    room = [min((outline_gap(own + spot, other) for other in others), default=ROOM_M) for spot in level.spots]
    away = np.linalg.norm(level.spots - np.array(cell.robot.base.position[:2]), axis=1)
    for k in np.lexsort((away, -np.minimum(room, ROOM_M).round(2))):
        under = np.concatenate([share * own for share in (0.5, 1.0)]) + level.spots[k]
        bare = (np.abs(_bare_tops(shape, T_body, under) - level.height) < FLAT_M).any(axis=1).all()
        if room[k] > APART_M and bare and not _covered(cell, level, level.spots[k], qpos, high - low + HAND_M):
            yield level.spots[k]


def _covered(cell: Cell, level: Level, spot: Array, qpos: Array, high: float) -> bool:
    """Whether another fixed body is above a spot (2,), less than `high` above the level [m]."""
    for other in cell.fixed:
        if other != level.body:
            T = cell.pose(qpos, other)
            eye = (np.array([[*spot, level.height + 0.005]]) - T[:3, 3]) @ T[:3, :3]
            enter, leave, _ = solid(cell.model, cell.body(other)).crossings(eye, T[2:3, :3])
            if (np.isfinite(leave) & (leave > 0) & (enter < high)).any():
                return True
    return False


def stands_on(cell: Cell, name: str, level: Level, qpos: Array) -> bool:
    """Whether an object is on a level already."""
    T = cell.pose(qpos, name)
    ring = footprint(cell, name, T)
    near = np.linalg.norm(level.spots - ring.mean(axis=0), axis=1).min() <= GRID_M
    return bool(near and abs(height_range(cell, name, T)[0] - level.height) < 2 * FLAT_M)


def offers(cell: Cell, name: str, family: Family, qpos: Array) -> Iterator[tuple[str, Goal | None, str]]:
    """Fixed bodies that a thing might be put on (place_on) or into (place_into), with the goal, or why it is none.

    The first is the body's name, with the level's number where it has several.
    """
    for body in cell.fixed:
        found = levels(cell, body, qpos)
        for k, level in enumerate(found):
            board = body if len(found) == 1 else f"{body}-{k}"
            the_tables = not level.walled and abs(level.height) < ON_TABLE_M  # or of another one
            if level.walled != (family == "place_into") or the_tables:
                continue
            if stands_on(cell, name, level, qpos):
                yield board, None, f"it is there already, {100 * level.height:.0f} cm high"
            elif places(cell, name, level, qpos):
                yield board, Goal(family=family, target=body, height_m=round(level.height, 4)), ""
            else:
                yield board, None, _why_full(cell, name, level, qpos)


def _why_full(cell: Cell, name: str, level: Level, qpos: Array) -> str:
    joint = cell.model.body(level.body).jntadr[0]
    high = float(np.ptp(height_range(cell, name, cell.pose(qpos, name)))) + HAND_M
    if all(_covered(cell, level, spot, qpos, high) for spot in level.spots):
        return f"{level.body} is closed" + (f": open {cell.model.joint(joint).name} first" if joint >= 0 else " above")
    return f"{level.body} has no room for it {100 * level.height:.0f} cm high"


def targets_on(cell: Cell, name: str, goal: Goal, qpos: Array) -> Iterator[Array]:
    """(4, 4) T_world_object poses on the goal's level of a fixed body, standing as the object stands in `qpos`."""
    for level in levels(cell, goal.target, qpos) if goal.target in cell.fixed else ():
        if abs(level.height - goal.height_m) < FLAT_M:
            for spot in places(cell, name, level, qpos):
                for T in turns(cell.pose(qpos, name))[:TURNS]:
                    yield standing(cell, name, T, spot, level.height)
