"""Where and how a hand can work on a part that hangs on a joint: grips of what fits between the fingers, and places
where the closed fingers can push. Candidates only: whether the arm can follow is `strokes`' question.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from blueprint.geometry.transforms import invert, transform_points
from blueprint.skills.grasping.antipodal import (
    CONE_COSINE,
    FINGER_GAP_M,
    GAP_MIN_M,
    LOWEST_APPROACH,
    GripperShape,
    flipped,
    pinches,
)
from blueprint.skills.grasping.solids import Solid, solid
from blueprint.skills.joints.parts import Jointed

Array = NDArray[np.float64]

SAMPLES = 3000  # surface points that contacts start from: handles are a small share of a door's surface
ROLLS = 16  # directions of approach around a grip's closing axis
DEPTHS_M = (0.0, -0.005, 0.006)  # of the tool point beyond the middle of what is gripped, along the approach
TILTS_DEG = (0.0, 30.0, 60.0, 90.0)  # between a push and the hand's approach: the tip pushes, or the fingers' side
TURNS = 8  # hands around a push's direction, per tilt
ALONG_COSINE = 0.8  # of the angle between the push on a surface and the way the surface goes
LEVER_SHARE = 0.35  # of the farthest point's distance from the axis: pushes nearer to it need too much force
GAP_M = 0.002  # between a hand and what it must not touch
FINGER_M = (0.004, 0.01, 0.018)  # where a finger's thickness needs room beside what is gripped
PALM_M = 0.045  # of the palm from what is gripped
PLACES_TRIED = 120
PLACES = 20  # on the part, from which hands are tried
KEPT = 40
CLOSE_M, CLOSE_COSINE = 0.012, 0.9  # contacts nearer to each other than both are one


@dataclass(frozen=True)
class Contact:
    """A hand on a part. T_part_tool (4, 4), point (3,) of the contact in the part's frame [m].

    opening: of the gripper before it closes [m], 0 for a push; width: between the pads [m]
    swings: a grip that may turn about its closing axis while the part turns, because the joint's axis is parallel to it
    out: (3,) direction away from the part in which a push lets go, part frame
    """

    way: Literal["grip", "push"]
    T_part_tool: Array
    point: Array
    opening: float
    width: float
    swings: bool
    out: Array
    quality: float


def grips(part: Jointed, gripper: GripperShape, qpos: Array, rng: np.random.Generator) -> list[Contact]:
    """Antipodal grips of the part that the open hand has room for, best first.

    Best: far from the axis, closing along the motion or along the axis, approaching from above or the side.
    """
    limit = part.cell.robot.gripper.max_opening_m - 2 * GAP_MIN_M
    T, shape = part.pose(qpos), solid(part.cell.model, part.body)
    first, second, cosine = pinches(shape, limit, SAMPLES, rng)
    if not len(first):
        return []
    out = (first - second) / np.linalg.norm(first - second, axis=1, keepdims=True)
    beside = [(first + gap * out, second - gap * out) for gap in FINGER_M]
    room = np.logical_and.reduce([_free(part, qpos, T, spots) for pair in beside for spots in pair])
    room &= _open_to_a_side(part, qpos, T, (first + second) / 2, out)
    first, second, cosine = transform_points(T, first[room]), transform_points(T, second[room]), cosine[room]
    middle, width = (first + second) / 2, np.linalg.norm(second - first, axis=1)
    closing = (second - first) / width[:, None]
    _, axis = part.axis(qpos)
    speed = part.moves(qpos, middle)
    way = speed / np.maximum(np.linalg.norm(speed, axis=1, keepdims=True), 1e-9)
    lever = np.minimum(np.linalg.norm(speed, axis=1) / max(part.reach, 1e-6), 1.0)
    score = 0.4 * (cosine - CONE_COSINE) / (1 - CONE_COSINE) + 0.3 * np.abs((closing * way).sum(axis=1))
    if part.kind == "panel":
        score += 0.4 * lever
    around, outward = _surroundings(part, qpos, T), _outward(part, qpos)
    found: list[Contact] = []
    productive = 0
    turn = _in_turn(score, shape, transform_points(invert(T), middle))
    for k in _apart(-turn.astype(float), middle, closing, PLACES_TRIED):
        tools = _rolled(middle[k], closing[k])
        opening = min(part.cell.robot.gripper.max_opening_m, width[k] + 2 * FINGER_GAP_M)
        for tool in tools[~blocked(tools, gripper.boxes(opening), around)]:
            quality = float(score[k]) + 0.1 * max(0.0, float(-tool[2, 2])) + 0.4 * float(-tool[:3, 2] @ outward)
            swings = not part.slides and abs(float(closing[k] @ axis)) > 0.97
            for pose in (tool, flipped(tool)):
                one = _contact("grip", T, pose, middle[k], opening, float(width[k]), -tool[:3, 2], quality, swings)
                found.append(one)
        productive += bool(found) and found[-1].width == float(width[k])
        if productive == PLACES:
            break
    return _spread(found)


def pushes(
    part: Jointed, gripper: GripperShape, qpos: Array, direction: float, rng: np.random.Generator
) -> list[Contact]:
    """Places where closed fingers push the part towards higher (`direction` 1) or lower (-1) values, best first."""
    T, shape = part.pose(qpos), solid(part.cell.model, part.body)
    points, normals = shape.sample(SAMPLES // 4, rng)
    points, normals = transform_points(T, points), normals @ T[:3, :3].T
    speed = direction * part.moves(qpos, points)
    size = np.linalg.norm(speed, axis=1)
    lever = np.ones(len(points)) if part.slides else size / max(part.reach, 1e-6)
    along = -(normals * speed).sum(axis=1) / np.maximum(size, 1e-9)
    inner = _inset(points, normals)
    score = along + 0.5 * np.minimum(lever, 0.9) + 0.5 * inner
    score[(along < ALONG_COSINE) | (lever < LEVER_SHARE)] = -np.inf
    around = _surroundings(part, qpos, T)
    boxes = gripper.boxes(0.0)
    fingers = np.concatenate([gripper.left, gripper.right])
    tip = 1.0 if part.kind == "button" else 0.2  # the palm stays clear of what a button is set in
    found: list[Contact] = []
    for k in _apart(score, points, normals, PLACES):
        tools = _pushing(points[k], normals[k], fingers)
        off = tools.copy()
        off[:, :3, 3] += 2 * GAP_M * normals[k]
        for tool in tools[~blocked(off, boxes, around)]:
            quality = float(score[k]) + 0.2 * float(-tool[2, 2]) + tip * float(-normals[k] @ tool[:3, 2])
            for pose in (tool, flipped(tool)):
                one = _contact("push", T, pose, points[k], 0.0, 0.0, normals[k], quality, not part.slides)
                found.append(one)
    return _spread(found)


def _apart(score: Array, points: Array, directions: Array, count: int) -> list[int]:
    """Indices of the best of points (N, 3), none close to another of nearly the same direction, either sign."""
    chosen: list[int] = []
    for k in np.argsort(-score, kind="stable").tolist():
        if not np.isfinite(score[k]) or len(chosen) == count:
            break
        near = np.linalg.norm(points[chosen] - points[k], axis=1) < CLOSE_M
        if not (near & (np.abs(directions[chosen] @ directions[k]) > CLOSE_COSINE)).any():
            chosen.append(k)
    return chosen


def blocked(tools: Array, boxes: Array, points: Array) -> NDArray[np.bool_]:
    """(K,) whether a hand (boxes (B, 2, 3) in the tool frame) at poses (K, 4, 4) holds any of the points (N, 3), or
    reaches below the table's surface."""
    lower, upper = boxes[:, 0] - GAP_M, boxes[:, 1] + GAP_M
    pick = np.array(np.meshgrid([0, 1], [0, 1], [0, 1])).reshape(3, -1).T
    corners = np.stack([boxes[:, pick[:, k], k] for k in range(3)], axis=-1).reshape(-1, 3)
    hit = (tools[:, 2, :3] @ corners.T + tools[:, 2, 3:]).min(axis=1) < GAP_M
    low, high = lower.min(axis=0), upper.max(axis=0)
    if len(tools):
        reach = np.linalg.norm(corners, axis=1).max() + 0.05
        points = points[np.linalg.norm(points - tools[0, :3, 3], axis=1) < reach]
    for k in np.flatnonzero(~hit):
        local = (points - tools[k, :3, 3]) @ tools[k, :3, :3]
        near = local[((local > low) & (local < high)).all(axis=1), None]
        hit[k] = bool(((near > lower) & (near < upper)).all(axis=2).any())
    return hit


def _contact(
    way: Literal["grip", "push"],
    T_world_part: Array,
    tool: Array,
    point: Array,
    opening: float,
    width: float,
    out: Array,
    quality: float,
    swings: bool,
) -> Contact:
    T = invert(T_world_part)
    return Contact(way, T @ tool, transform_points(T, point), opening, width, swings, T[:3, :3] @ out, quality)


def _rolled(middle: Array, closing: Array) -> Array:
    """(K, 4, 4) tool poses around a closing axis (3,), without those that come from below."""
    helper = np.array([0.0, 0.0, -1.0]) if abs(closing[2]) < 0.9 else np.array([1.0, 0.0, 0.0])
    down = helper - (helper @ closing) * closing
    down /= np.linalg.norm(down)
    angle = np.arange(ROLLS) * 2 * np.pi / ROLLS
    z = np.cos(angle)[:, None] * down + np.sin(angle)[:, None] * np.cross(closing, down)
    z = z[z[:, 2] < LOWEST_APPROACH]
    poses = []
    for depth in DEPTHS_M:
        T = np.tile(np.eye(4), (len(z), 1, 1))
        T[:, :3, 0], T[:, :3, 1], T[:, :3, 2] = np.cross(closing, z), closing, z
        T[:, :3, 3] = middle + depth * z
        poses.append(T)
    return np.concatenate(poses)


def _pushing(point: Array, normal: Array, fingers: Array) -> Array:
    """(K, 4, 4) poses in which the closed fingers (boxes (B, 2, 3), tool frame) just touch a surface point (3,)."""
    helper = np.array([0.0, 0.0, 1.0]) if abs(normal[2]) < 0.9 else np.array([1.0, 0.0, 0.0])
    u = np.cross(normal, helper)
    u /= np.linalg.norm(u)
    v = np.cross(normal, u)
    pick = np.array(np.meshgrid([0, 1], [0, 1], [0, 1])).reshape(3, -1).T
    corners = np.stack([fingers[:, pick[:, k], k] for k in range(3)], axis=-1).reshape(-1, 3)
    poses = []
    for tilt in np.deg2rad(TILTS_DEG):
        for turn in np.arange(TURNS if tilt else 1) * 2 * np.pi / TURNS:
            side = np.cos(turn) * u + np.sin(turn) * v
            z = -np.cos(tilt) * normal + np.sin(tilt) * side
            if z[2] > LOWEST_APPROACH:
                continue
            across = np.cross(normal, side)
            for x in (across, np.cross(across, z)):
                T = np.eye(4)
                T[:3, :3] = np.stack([x, np.cross(z, x), z], axis=1)
                ahead = corners @ T[:3, :3].T @ -normal
                touching = corners[ahead > ahead.max() - 0.002].mean(axis=0)
                T[:3, 3] = point - T[:3, :3] @ touching
                poses.append(T)
    return np.array(poses).reshape(-1, 4, 4)


def _in_turn(score: Array, shape: Solid, middle: Array) -> NDArray[np.int64]:
    """(N,) place of each grip when the convex pieces of the part take turns: handles are small pieces."""
    depth = np.stack([-(middle @ planes[:, :3].T + planes[:, 3]).max(axis=1) for planes in shape.planes], axis=1)
    piece, taken, key = depth.argmax(axis=1), dict[int, int](), []
    for k in np.argsort(-score, kind="stable").tolist():
        taken[int(piece[k])] = taken.get(int(piece[k]), 0) + 1
        key.append((taken[int(piece[k])], -float(score[k]), k))
    place = np.zeros(len(score), dtype=np.int64)
    place[[k for _, _, k in sorted(key)]] = np.arange(len(score))
    return place


def _free(part: Jointed, qpos: Array, T_world_part: Array, spots: Array) -> NDArray[np.bool_]:
    """(N,) whether points (N, 3) of the part's frame lie neither in the part nor in what carries it."""
    model, owner = part.cell.model, part.cell.body(part.owner)
    free = solid(model, part.body).inside(spots, deeper_than=0.0) == 0
    if owner != part.body and model.body_geomnum[owner]:
        local = transform_points(invert(part.cell.pose_of(qpos, owner)) @ T_world_part, spots)
        free &= solid(model, owner).inside(local, deeper_than=0.0) == 0
    return free


def _open_to_a_side(part: Jointed, qpos: Array, T: Array, middle: Array, closing: Array) -> NDArray[np.bool_]:
    """(N,) whether the palm has room at one of eight sides of a grip: no hand grips the middle of a wide board."""
    helper = np.where(np.abs(closing[:, 2:]) < 0.9, [[0.0, 0.0, 1.0]], [[1.0, 0.0, 0.0]])
    u = np.cross(closing, helper)
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    v = np.cross(closing, u)
    angles = np.arange(8) * np.pi / 4
    return np.logical_or.reduce(
        [_free(part, qpos, T, middle + PALM_M * (np.cos(a) * u + np.sin(a) * v)) for a in angles.tolist()]
    )


def _surroundings(part: Jointed, qpos: Array, T_world_part: Array) -> Array:
    """(N, 3) surface points of the part and of what its owner holds still, world frame."""
    model, rng = part.cell.model, np.random.default_rng(0)
    clouds = [transform_points(T_world_part, solid(model, part.body).sample(3000, rng)[0])]
    owner = part.cell.body(part.owner)
    if owner != part.body and model.body_geomnum[owner]:
        clouds.append(transform_points(part.cell.pose_of(qpos, owner), solid(model, owner).sample(5000, rng)[0]))
    return np.concatenate(clouds)


def _outward(part: Jointed, qpos: Array) -> Array:
    """(3,) unit direction from the middle of the owner to that of the part: its free side. Of a dial its axis."""
    mine = part.points(qpos)
    owner = part.cell.pose_of(qpos, part.cell.body(part.owner))[:3, 3]
    away = (mine.min(axis=0) + mine.max(axis=0)) / 2 - owner
    if part.kind == "dial":
        _, axis = part.axis(qpos)
        return axis * float(np.sign(axis @ away))
    return away / max(float(np.linalg.norm(away)), 1e-9)


def _inset(points: Array, normals: Array) -> Array:
    """(N,) how far inside its face each point lies, as a share of the most inside: pushes at a rim slip off."""
    from scipy.spatial import KDTree

    alike = KDTree(np.column_stack([points / 0.02, 3 * normals]))
    count = np.array([len(some) for some in alike.query_ball_point(alike.data, 1.0)], dtype=float)
    return count / count.max()


def _spread(found: list[Contact]) -> list[Contact]:
    """The best ones, no two alike."""
    chosen: list[Contact] = []
    for one in sorted(found, key=lambda contact: -contact.quality):
        T = one.T_part_tool
        alike = any(
            np.linalg.norm(T[:3, 3] - other.T_part_tool[:3, 3]) < CLOSE_M
            and np.trace(T[:3, :3].T @ other.T_part_tool[:3, :3]) > 1 + 2 * CLOSE_COSINE
            for other in chosen
        )
        if not alike:
            chosen.append(one)
        if len(chosen) == KEPT:
            break
    return chosen
