"""Where an object should come to stand for a goal: poses to try, best first."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull
from scipy.spatial.transform import Rotation

from blueprint.geometry.transforms import transform_points
from blueprint.model.task import Goal
from blueprint.skills.cell import Cell
from blueprint.skills.grasping.solids import solid

Array = NDArray[np.float64]

RELEASE_GAP_M = 0.003  # above the support, from where a thing is lowered onto it
YAWS = 8
BESIDE_DIRECTIONS = 16
SPOTS = 120  # drawn in a container
BELOW_M = 0.01  # under its rim: there, no wall stands
ROOMS_M = np.arange(0.0, 0.021, 0.004)  # widths of room around a thing that are told apart
ASIDE_M = 0.01  # from the middle of what something is put on
WIDE_M = 0.08  # radius from which a region is wide


def footprint(cell: Cell, name: str, T_world_object: Array) -> Array:
    """(V, 2) convex outline of the object seen from above [m], counter-clockwise, world frame."""
    points = transform_points(T_world_object, solid(cell.model, cell.body(name)).vertices)[:, :2]
    return points[ConvexHull(points).vertices]


def height_range(cell: Cell, name: str, T_world_object: Array) -> tuple[float, float]:
    """Lowest and highest point of the object [m]."""
    z = transform_points(T_world_object, solid(cell.model, cell.body(name)).vertices)[:, 2]
    return float(z.min()), float(z.max())


def outline_gap(a: Array, b: Array) -> float:
    """Distance between two convex outlines (V, 2) [m]; negative when they overlap (by the least separation)."""
    best = -np.inf
    for outline in (a, b):
        edges = np.roll(outline, -1, axis=0) - outline
        normals = np.stack([edges[:, 1], -edges[:, 0]], axis=1) / np.linalg.norm(edges, axis=1, keepdims=True)
        for normal in normals:
            pa, pb = a @ normal, b @ normal
            best = max(best, pb.min() - pa.max(), pa.min() - pb.max())
    return float(best)


def targets(cell: Cell, name: str, goal: Goal, qpos: Array, rng: np.random.Generator) -> Iterable[Array]:
    """(4, 4) T_world_object poses that satisfy the goal, standing as the object stands in `qpos`.

    None for a target that is no free body: see `supports`.
    """
    now = cell.pose(qpos, name)
    turned = turns(now)
    if goal.family == "place_region" and goal.center is not None:
        # a small region is met by turning, a wide one, in which other things may stand, by other spots
        spots, yaws = (2, YAWS) if goal.radius_m < WIDE_M else (14, 2)
        return [standing(cell, name, T, spot, 0.0) for spot in _spots(goal, spots, rng) for T in turned[:yaws]]
    if goal.target not in cell.objects:
        return []
    if goal.family == "place_beside":
        return _beside(cell, name, goal, qpos, turned, rng)
    T_target = cell.pose(qpos, goal.target)
    center = transform_points(T_target, solid(cell.model, cell.body(goal.target)).center_of_mass)[:2]
    if goal.family == "place_on":
        top = height_range(cell, goal.target, T_target)[1]
        # the nearest first; who asks again gets others
        others = [(T, center + rng.uniform(-ASIDE_M, ASIDE_M, 2)) for T in rng.permutation(np.array(turned))]
        return [standing(cell, name, T, spot, top) for T, spot in [(turned[0], center), (turned[1], center), *others]]
    floor = _floor_inside(cell, goal.target, T_target, name, now)
    middle = [standing(cell, name, T, center, floor) for T in turned[:4]]
    roomiest = _roomiest(cell, name, goal.target, qpos, turned, rng)  # found when the middle is taken
    aside = (standing(cell, name, T, spot, floor) for T, spot in roomiest)
    return itertools.chain(middle[:1], itertools.islice(aside, 3), middle[1:], aside)


def _spots(goal: Goal, count: int, rng: np.random.Generator) -> list[Array]:
    """The region's centre (2,) and random spots within 70 % of its radius."""
    center = np.array(goal.center)
    out = 0.7 * goal.radius_m * np.sqrt(rng.random(count))
    return [
        center,
        *(center + r * _unit(angle) for r, angle in zip(out, rng.uniform(0, 2 * np.pi, count), strict=True)),
    ]


def _beside(
    cell: Cell, name: str, goal: Goal, qpos: Array, turns: list[Array], rng: np.random.Generator
) -> list[Array]:
    """Around the target at 60 % of the allowed gap."""
    assert goal.target is not None
    T_target = cell.pose(qpos, goal.target)
    other = footprint(cell, goal.target, T_target)
    angles = rng.permutation(BESIDE_DIRECTIONS) * 2 * np.pi / BESIDE_DIRECTIONS
    found = []
    for angle in angles:
        for T in turns[:3]:
            own = footprint(cell, name, T) - T[:2, 3]
            far = 0.0
            for _ in range(40):  # walk outwards until the gap fits
                gap = outline_gap(own + other.mean(axis=0) + far * _unit(angle), other)
                if abs(gap - 0.6 * goal.radius_m) < 0.002:
                    break
                far += 0.6 * goal.radius_m - gap
            found.append(standing(cell, name, T, other.mean(axis=0) + far * _unit(angle), 0.0))
    return found


def _roomiest(
    cell: Cell, name: str, target: str, qpos: Array, turned: list[Array], rng: np.random.Generator
) -> Iterator[tuple[Array, Array]]:
    """Turned poses (4, 4) and spots (2,) in a container, those with the most room to its walls and contents first."""
    T_target = cell.pose(qpos, target)
    walls, top = footprint(cell, target, T_target), height_range(cell, target, T_target)[1]
    inside = [footprint(cell, one, cell.pose(qpos, one)) for one in cell.objects if one not in (name, target)]
    inside = [one for one in inside if outline_gap(one, walls) < 0]
    drawn = rng.integers(len(turned), size=SPOTS)
    spots = rng.uniform(walls.min(axis=0), walls.max(axis=0), (SPOTS, 2))
    own = [footprint(cell, name, turned[k]) for k in drawn]
    own = [one - (one.min(axis=0) + one.max(axis=0)) / 2 for one in own]
    wider = [one + ROOMS_M[:, None, None] * one / np.linalg.norm(one, axis=1, keepdims=True) for one in own]
    rims = np.concatenate([(one + spot).reshape(-1, 2) for one, spot in zip(wider, spots, strict=True)])
    heights = surface_height(cell, target, T_target, rims)  # 0 beside the container
    under = np.split((heights > 0) & (heights < top - BELOW_M), np.cumsum([one[..., 0].size for one in wider]))
    found = list[tuple[float, Array, Array]]()
    for k, spot, one, free in zip(drawn, spots, own, under, strict=False):
        wide = np.logical_and.accumulate(free.reshape(len(ROOMS_M), -1).all(axis=1))
        room = min([ROOMS_M[wide].max(initial=0.0), *(outline_gap(one + spot, other) for other in inside)])
        if room > 0:
            found.append((float(room), turned[k], spot))
    yield from ((T, spot) for _, T, spot in sorted(found, key=lambda one: -one[0]))


def _floor_inside(cell: Cell, target: str, T_target: Array, name: str, T: Array) -> float:
    """Height of the opening's floor under the object: where its outline, shrunk to a disc, would come to rest."""
    radius = 0.5 * float(np.ptp(footprint(cell, name, T), axis=0).max())
    shape = solid(cell.model, cell.body(target))
    center = transform_points(T_target, shape.center_of_mass)[:2]
    grid = np.stack(np.meshgrid(*[np.linspace(-radius, radius, 9)] * 2), axis=-1).reshape(-1, 2)
    grid = grid[np.linalg.norm(grid, axis=1) <= radius] + center
    return float(surface_height(cell, target, T_target, grid).max())


def surface_height(cell: Cell, name: str, T_world_object: Array, spots: Array) -> Array:
    """(N,) height of the object's upper surface at spots (N, 2), 0 where it is not below them [m]."""
    shape = solid(cell.model, cell.body(name))
    top = height_range(cell, name, T_world_object)[1] + 0.01
    turn = T_world_object[:3, :3]
    origins = (np.column_stack([spots, np.full(len(spots), top)]) - T_world_object[:3, 3]) @ turn
    down = np.tile(np.array([0.0, 0.0, -1.0]) @ turn, (len(spots), 1))
    enter, _, _ = shape.crossings(origins, down)
    nearest = enter.min(axis=1)
    return np.where(np.isfinite(nearest), top - nearest, 0.0)


def standing(cell: Cell, name: str, T: Array, spot: Array, support_z: float) -> Array:
    """The pose `T` moved to stand (almost) on `support_z` with its bounding box centred at `spot` (xy)."""
    out = T.copy()
    points = transform_points(T, solid(cell.model, cell.body(name)).vertices)
    middle = (points[:, :2].min(axis=0) + points[:, :2].max(axis=0)) / 2
    out[:2, 3] += spot - middle
    out[2, 3] += support_z + RELEASE_GAP_M - points[:, 2].min()
    return out


def turns(T: Array) -> list[Array]:
    """The pose turned about the vertical, in all directions, small turns first."""
    return [_turned(T, k * 2 * np.pi / YAWS) for k in _near_first(YAWS)]


def _turned(T: Array, yaw: float) -> Array:
    out = T.copy()
    out[:3, :3] = Rotation.from_rotvec([0.0, 0.0, yaw]).as_matrix() @ T[:3, :3]
    return out


def _near_first(count: int) -> list[int]:
    """0, 1, -1, 2, -2, ...: small turns first."""
    return [0, *(sign * k for k in range(1, count // 2) for sign in (1, -1)), count // 2]


def _unit(angle: float) -> Array:
    return np.array([np.cos(angle), np.sin(angle)])
