"""Where to mount the robot: base poses around the objects, scored by what the arm can reach from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from blueprint.geometry.transforms import invert
from blueprint.skills.planning.ik import ArmKinematics

Array = NDArray[np.float64]
Wall = tuple[Array, float, float]  # (V, 2) convex outline, counter-clockwise, and the heights between which it stands

FOOT_M = 0.15  # radius of the disc that the base and its pedestal need
OBJECT_GAP_M = 0.04  # between that disc and any object
DISTANCES_M = (0.45, 0.52, 0.6, 0.68)  # from the middle of the objects; the Panda works best at 0.4-0.65 m
WORKED_M = (0.3, 0.65)  # from a base, where its hand can do more than just arrive: things are sent there
PANDA_REACH_M = 0.855  # for which those distances are; other arms stand in proportion
TEAM_GAP_M = 0.45  # between the bases of arms that work on one table
TEAM_ANGLE_DEG = 85.0  # between their directions from the middle of the objects: elbows keep apart
TEAM_HANDS_M = 0.3  # between their hands at home
DIRECTIONS = 24
HAND_M = 0.25  # a hand at home keeps free of boards above and below, and of what stands on them
HOME_WEIGHT = 3.0  # of a hand that is free of what is fixed at home, in units of one reachable target
FACING_WEIGHT = 0.6  # of standing across the table from the camera, in units of one reachable target


@dataclass(frozen=True)
class Mount:
    """T_world_base (4, 4); on_table: it stands on the table, else on a pedestal from the floor.

    hand: (3,) where the tool is at home, world frame
    """

    T_world_base: Array
    on_table: bool
    score: float
    hand: Array


def mounts(
    polygon: Array,
    outlines: list[Array],
    camera: Array | None,
    reach_m: float = PANDA_REACH_M,
    walls: Sequence[Wall] = (),
) -> Iterator[tuple[Array, bool, float]]:
    """Candidates (T_world_base, on_table, facing) that clear the objects and the table's edge.

    polygon: (K, 2) table outline, counter-clockwise; outlines: (V, 2) of each object; camera: (2,) of the scene camera
    walls: of what stands fixed where an arm would stand
    facing: cosine, 1 when the robot looks straight into the camera across the objects
    """
    points = np.concatenate(outlines)
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    for angle in np.arange(DIRECTIONS) * 2 * np.pi / DIRECTIONS:
        direction = np.array([np.cos(angle), np.sin(angle)])
        for distance in DISTANCES_M:
            spot = middle + distance * (reach_m / PANDA_REACH_M) * direction
            if np.linalg.norm(points - spot, axis=1).min() < FOOT_M + OBJECT_GAP_M:
                continue
            edge = edge_distance(polygon, spot)
            if abs(edge) < FOOT_M or any(edge_distance(ring, spot) > -FOOT_M for ring, _, _ in walls):
                continue
            view = np.zeros(2) if camera is None else (middle - camera) / np.linalg.norm(middle - camera)
            T = np.eye(4)
            T[:2, 0], T[:2, 1], T[:2, 3] = -direction, [direction[1], -direction[0]], spot
            yield T, edge > 0, float(view @ direction)


def edge_distance(polygon: Array, spots: Array) -> float:
    """Least distance of a point (2,), or of points (N, 2), to the outline of a convex counter-clockwise polygon (K, 2)
    [m], negative outside."""
    edges = np.roll(polygon, -1, axis=0) - polygon
    normals = np.stack([-edges[:, 1], edges[:, 0]], axis=1) / np.linalg.norm(edges, axis=1, keepdims=True)
    away = np.atleast_2d(spots)[:, None] - polygon
    inside = (away * normals).sum(axis=2).min(axis=1)
    if inside.min() >= 0:
        return float(inside.min())
    away = away[inside < 0]
    share = np.clip((away * edges).sum(axis=2) / (edges * edges).sum(axis=1), 0, 1)
    return -float(np.linalg.norm(away - share[..., None] * edges, axis=2).min(axis=1).max())


def worked(base: Array, spot: Array) -> bool:
    """Whether a spot (2,) lies where an arm with this base (>= 2,) has room to turn what it puts down."""
    return WORKED_M[0] <= float(np.linalg.norm(spot - base[:2])) <= WORKED_M[1]


def best_mount(
    arm: ArmKinematics,
    targets: list[list[Array]],
    polygon: Array,
    outlines: list[Array],
    camera: Array | None,
    *,
    reach_m: float = PANDA_REACH_M,
    taken: Sequence[Mount] = (),
    walls: Sequence[Wall] = (),
) -> Mount | None:
    """The candidate from which most targets are in reach, with the most joint margin; None if there is no room.

    arm: mounted at the world's origin; targets: per object, tool poses (4, 4) any of which will do
    taken: where other arms stand; this one keeps away from them, and looks at the same objects; walls: see `mounts`
    """
    best: Mount | None = None
    points = np.concatenate(outlines)
    middle, home = (points.min(axis=0) + points.max(axis=0)) / 2, arm.tool_pose(arm.home)
    for T, on_table, facing in mounts(polygon, outlines, camera, reach_m, walls):
        hand = (T @ home)[:3, 3]
        if not all(_apart(T, hand, other, middle) for other in taken):
            continue
        score = FACING_WEIGHT * facing - HOME_WEIGHT * any(_meets(wall, hand) for wall in walls)
        score += sum(_reach(arm, invert(T), options) for options in targets)
        if best is None or score > best.score + 1e-9:
            best = Mount(T, on_table, score, hand)
    return best


def _meets(wall: Wall, hand: Array) -> bool:
    """Whether a hand (3,) is so near to something fixed that it, its wrist or what stands there could touch."""
    ring, low, high = wall
    return low - HAND_M < hand[2] < high + HAND_M and edge_distance(ring, hand[:2]) > -FOOT_M


def _apart(T_world_base: Array, hand: Array, other: Mount, middle: Array) -> bool:
    """Whether an arm leaves another one room around the middle of the objects (2,)."""
    a, b = T_world_base[:2, 3] - middle, other.T_world_base[:2, 3] - middle
    cosine = float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
    return (
        float(np.linalg.norm(a - b)) >= TEAM_GAP_M
        and cosine <= np.cos(np.deg2rad(TEAM_ANGLE_DEG))
        and float(np.linalg.norm(hand - other.hand)) >= TEAM_HANDS_M
    )


def _reach(arm: ArmKinematics, T_base_world: Array, options: list[Array]) -> float:
    """1 plus the joint margin if one of the poses is in reach, else 0."""
    for T in options:
        joints = arm.solve(T_base_world @ T, arm.home)
        if joints is not None:
            return 1.0 + arm.margin(joints)
    return 0.0
