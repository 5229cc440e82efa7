"""Antipodal grasps for a parallel gripper, sampled on the colliders that the fingers will touch.

A grasp is a tool pose in the object's frame (z approaches, y closes). Two contacts are antipodal if the line that joins
them lies inside both friction cones (Nguyen 1988, "Constructing force-closure grasps"), which for a planar pair of soft
contacts means force closure. Candidates are then tested against the scene with the gripper as a set of boxes.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from blueprint.geometry.transforms import invert, transform_points
from blueprint.skills.cell import Cell
from blueprint.skills.grasping.solids import Solid, corners, solid

if TYPE_CHECKING:
    import mujoco

Array = NDArray[np.float64]

CONE_COSINE = float(np.cos(np.arctan(0.4)))  # below the friction of rubber on any listed material
FINGER_GAP_M = 0.012  # free travel of each finger before it touches
GAP_MIN_M = 0.004  # the least of it, for objects nearly as wide as the gripper opens
APPROACH_ANGLES = 16
KEPT = 90  # grasps per object
LOWEST_APPROACH = 0.35  # approaches may rise by at most asin of this above the horizontal
SHIFTS_M = (0.0, -0.006, 0.008)  # of the tool point along the approach, so that low objects and deep grips are found
TABLE_GAP_M = 0.003
OTHERS_GAP_M = 0.006
PAD_HALF_M = 0.0085  # half the finger pad's width


@dataclass(frozen=True)
class Grasp:
    """T_object_tool (4, 4); width: of the object between the pads [m]; opening: of the gripper on approach [m]."""

    T_object_tool: Array
    width: float
    opening: float
    quality: float
    kind: str

    def tool(self, T_world_object: Array) -> Array:
        """(4, 4) T_world_tool."""
        return T_world_object @ self.T_object_tool


@dataclass(frozen=True)
class GripperShape:
    """Boxes (lower, upper corners, (B, 2, 3)) in the tool frame: of the hand, and of each finger when closed.

    Fingers move by half the opening along +y and -y; those that do not slide were boxed at `measured` openings.
    """

    hand: Array
    left: Array
    right: Array
    measured: tuple[tuple[float, Array], ...] = ()

    def boxes(self, opening: float) -> Array:
        """(B, 2, 3) at an opening [m]."""
        if self.measured:
            return min(self.measured, key=lambda row: abs(row[0] - opening))[1]
        shift = np.array([0.0, opening / 2, 0.0])
        return np.concatenate([self.hand, self.left + shift, self.right - shift])


def gripper_shape(cell: Cell) -> GripperShape:
    """Slice the gripper's colliders along the approach and box every slice."""
    hand, left, right = _boxed_hand(cell, 0.0)
    openings = cell.robot.gripper.openings_m
    measured = tuple((opening, np.concatenate(_boxed_hand(cell, opening))) for opening in openings)
    return GripperShape(hand, left, right, measured)


def _boxed_hand(cell: Cell, opening: float) -> tuple[Array, Array, Array]:
    """Boxes (B, 2, 3) of the hand and of the fingers on the +y and -y side at an opening [m], tool frame."""
    import mujoco

    model, gripper = cell.model, cell.robot.gripper
    data = mujoco.MjData(model)
    data.qpos[:] = cell.home_qpos
    data.qpos[cell.finger_qpos] = cell.finger_positions(opening)
    mujoco.mj_kinematics(model, data)
    T_tool_world = np.eye(4)
    T_tool_world[:3, :3] = data.site_xmat[cell.tool_site].reshape(3, 3)
    T_tool_world[:3, 3] = data.site_xpos[cell.tool_site]
    T_tool_world = invert(T_tool_world)

    def boxed(bodies: list[int]) -> Array:
        boxes = []
        for body in bodies:
            for g in range(model.body_geomadr[body], model.body_geomadr[body] + model.body_geomnum[body]):
                if model.geom_contype[g] or model.geom_conaffinity[g]:
                    T = np.eye(4)
                    T[:3, :3], T[:3, 3] = data.xmat[body].reshape(3, 3), data.xpos[body]
                    boxes += _slices(transform_points(T_tool_world @ T, corners(model, g)))
        return np.array(boxes).reshape(-1, 2, 3)

    fingers = [_below(model, cell.body(name)) for name in gripper.finger_bodies]
    palm = _below(model, int(model.body_parentid[cell.body(gripper.finger_bodies[0])]))
    sides = sorted((boxed(finger) for finger in fingers), key=lambda boxes: -boxes[..., 1].mean())
    return boxed([body for body in palm if not any(body in finger for finger in fingers)]), sides[0], sides[1]


def _below(model: mujoco.MjModel, root: int) -> list[int]:
    """A body and everything that hangs on it."""
    inside = [root]
    for body in range(root + 1, model.nbody):
        if int(model.body_parentid[body]) in inside:
            inside.append(body)
    return inside


def _slices(points: Array, thickness: float = 0.025) -> list[Array]:
    """Boxes (2, 3) of a convex point set cut along z: its hull's edges, finely subdivided."""
    from scipy.spatial import ConvexHull

    edges = ConvexHull(points).simplices[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    share = np.linspace(0, 1, 20)[:, None, None]
    line = (points[edges[:, 0]] * (1 - share) + points[edges[:, 1]] * share).reshape(-1, 3)
    low, high = line[:, 2].min(), line[:, 2].max()
    count = max(1, round((high - low) / thickness))
    cuts = np.linspace(low, high, count + 1)
    parts = [line[(line[:, 2] >= a - 1e-9) & (line[:, 2] <= b + 1e-9)] for a, b in itertools.pairwise(cuts)]
    return [np.stack([part.min(axis=0), part.max(axis=0)]) for part in parts if len(part)]


def pinches(shape: Solid, max_width: float, samples: int, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Antipodal contact pairs in the object frame: first contact (N, 3), second (N, 3), the worse cosine (N,)."""
    points, normals = shape.sample(samples, rng)
    t_in, t_out, exits = shape.crossings(points, -normals)
    first, second, cosine = [], [], []
    for i in range(len(points)):
        for t, normal in _material_ends(t_in[i], t_out[i], exits[i]):
            cos = float(normal @ -normals[i])
            if 0.003 < t <= max_width and cos >= CONE_COSINE:
                first.append(points[i])
                second.append(points[i] - t * normals[i])
                cosine.append(cos)
    return np.reshape(first, (-1, 3)), np.reshape(second, (-1, 3)), np.array(cosine)


def _material_ends(t_in: Array, t_out: Array, normals: Array) -> list[tuple[float, Array]]:
    """Where a line that starts on the surface leaves material: after the first wall, and for good."""
    hit = np.flatnonzero(np.isfinite(t_in) & (t_out > -1e-4))
    ends: list[tuple[float, Array]] = []
    end, normal = 0.0, None
    for k in hit[np.argsort(t_in[hit], kind="stable")]:
        if normal is not None and t_in[k] > end + 1e-3:
            ends.append((end, normal))
        if t_out[k] > end:
            end, normal = float(t_out[k]), normals[k]
    if normal is not None:
        ends.append((end, normal))
    return [ends[0], ends[-1]] if len(ends) > 1 else ends


def sample_grasps(
    cell: Cell, gripper: GripperShape, name: str, qpos: Array, rng: np.random.Generator, *, samples: int = 160
) -> tuple[Grasp, ...]:
    """Grasps of an object by itself, standing on the support as it does in `qpos`; best first, spread over the object.

    They hold for every start in which it stands the same way up. Quality in [0, 1]: 0.30 pads' contact with the surface
    + 0.20 antipodality + 0.20 closeness to the centre of mass + 0.20 approach from above + 0.10 free finger travel.
    """
    shape = solid(cell.model, cell.body(name))
    T_world_object = cell.pose(qpos, name)
    limit = cell.robot.gripper.max_opening_m - 2 * GAP_MIN_M
    first, second, cosine = pinches(shape, limit, samples, rng)
    own = transform_points(T_world_object, shape.sample(900, rng)[0])
    center_of_mass = transform_points(T_world_object, shape.center_of_mass)
    # a full pad would hold this many of the evenly spread surface points
    full = len(own) / max(_area_estimate(own), 1e-6) * (2 * PAD_HALF_M) ** 2
    found: list[Grasp] = []
    for p, q, cos in zip(first, second, cosine, strict=True):
        width = float(np.linalg.norm(q - p))
        opening = min(cell.robot.gripper.max_opening_m, width + 2 * FINGER_GAP_M)
        tools = _tool_poses(T_world_object, (p + q) / 2, (q - p) / width)
        boxes = gripper.boxes(opening)
        tools = tools[_above(tools, boxes, TABLE_GAP_M)]
        tools = tools[~_hits(tools, boxes, own, 0.001)]
        for T in tools:
            quality, kind = _quality(T, own, full, width, opening, cos, center_of_mass)
            found.append(Grasp(invert(T_world_object) @ T, width, opening, quality, kind))
    return tuple(_spread(found, KEPT))


def available(cell: Cell, gripper: GripperShape, name: str, grasps: tuple[Grasp, ...], qpos: Array) -> list[Grasp]:
    """Those grasps that the other objects leave room for in a state."""
    T_world_object = cell.pose(qpos, name)
    others = _surroundings(cell, name, qpos, T_world_object[:3, 3])
    return [
        g for g in grasps if not _hits(g.tool(T_world_object)[None], gripper.boxes(g.opening), others, OTHERS_GAP_M)[0]
    ]


def flipped(T_world_tool: Array) -> Array:
    """The same grasp with the fingers exchanged."""
    return T_world_tool @ np.diag([-1.0, -1.0, 1.0, 1.0])


def _surroundings(cell: Cell, name: str, qpos: Array, center: Array) -> Array:
    """(N, 3) surface points of the other objects near `center`, world frame."""
    clouds = [np.zeros((0, 3))]
    for other in cell.objects:
        if other != name and np.linalg.norm(cell.pose(qpos, other)[:2, 3] - center[:2]) < 0.35:
            clouds.append(transform_points(cell.pose(qpos, other), _cloud(cell, other)))
    return np.concatenate(clouds)


@lru_cache(maxsize=256)
def _cloud(cell: Cell, name: str) -> Array:
    """(N, 3) surface points of an object in its own frame; the same ones every time."""
    return solid(cell.model, cell.body(name)).sample(600, np.random.default_rng(0))[0]


def _tool_poses(T_world_object: Array, center: Array, axis: Array) -> Array:
    """(K, 4, 4) T_world_tool around a closing axis, without those that come from below."""
    y = T_world_object[:3, :3] @ axis
    at = transform_points(T_world_object, center)
    helper = np.array([0.0, 0.0, -1.0]) if abs(y[2]) < 0.9 else np.array([1.0, 0.0, 0.0])
    down = helper - (helper @ y) * y
    down /= np.linalg.norm(down)
    side = np.cross(y, down)
    angle = np.arange(APPROACH_ANGLES) * 2 * np.pi / APPROACH_ANGLES
    z = np.cos(angle)[:, None] * down + np.sin(angle)[:, None] * side
    z = z[z[:, 2] < LOWEST_APPROACH]
    T = np.tile(np.eye(4), (len(z), 1, 1))
    T[:, :3, 0], T[:, :3, 1], T[:, :3, 2] = np.cross(y, z), y, z
    poses = []
    for shift in SHIFTS_M:
        T_shift = T.copy()
        T_shift[:, :3, 3] = at + shift * z
        poses.append(T_shift)
    return np.concatenate(poses)


def _above(tools: Array, boxes: Array, gap: float) -> NDArray[np.bool_]:
    """(K,) whether every box corner is above the support."""
    pick = np.array(np.meshgrid([0, 1], [0, 1], [0, 1])).reshape(3, -1).T
    points = np.stack([boxes[:, pick[:, k], k] for k in range(3)], axis=-1).reshape(-1, 3)
    height = tools[:, 2, :3] @ points.T + tools[:, 2, 3:]
    return height.min(axis=1) > gap


def _hits(tools: Array, boxes: Array, points: Array, margin: float) -> NDArray[np.bool_]:
    """(K,) whether any point is inside any box grown by `margin`."""
    hit = _holds(tools, boxes, points[::9], margin)  # most that hit show it with a few points
    hit[~hit] = _holds(tools[~hit], boxes, points, margin)
    return hit


def _holds(tools: Array, boxes: Array, points: Array, margin: float) -> NDArray[np.bool_]:
    if not len(points) or not len(tools):
        return np.zeros(len(tools), dtype=bool)
    lower, upper = boxes[:, 0] - margin, boxes[:, 1] + margin
    axes = tools[:, :3, :3].transpose(2, 0, 1)  # (3, K, 3): which axis, of which tool
    local = axes @ points.T - (axes * tools[:, :3, 3]).sum(axis=2)[..., None]
    low, high = lower.min(axis=0)[:, None, None], upper.max(axis=0)[:, None, None]
    near = np.logical_and.reduce((local > low) & (local < high))
    hit = np.zeros(len(tools), dtype=bool)
    for k in np.flatnonzero(near.any(axis=1)):
        close = local[:, k, near[k]][:, None]
        hit[k] = bool(np.logical_and.reduce((close > lower.T[..., None]) & (close < upper.T[..., None])).any())
    return hit


def _quality(
    T: Array, own: Array, full: float, width: float, opening: float, cosine: float, center_of_mass: Array
) -> tuple[float, str]:
    local = (own - T[:3, 3]) @ T[:3, :3]
    on_pad = (np.abs(local[:, 0]) < PAD_HALF_M) & (np.abs(local[:, 2]) < PAD_HALF_M)
    touching = on_pad & (np.abs(local[:, 1]) > width / 2 - 0.002) & (np.abs(local[:, 1]) < width / 2 + 0.006)
    sides = [touching & (local[:, 1] > 0), touching & (local[:, 1] < 0)]
    contact = min(1.0, min(side.sum() for side in sides) / max(0.6 * full, 1.0))
    lever = np.linalg.norm((center_of_mass - T[:3, 3]) - ((center_of_mass - T[:3, 3]) @ T[:3, 1]) * T[:3, 1])
    antipodality = (cosine - CONE_COSINE) / (1 - CONE_COSINE)
    down = float(-T[2, 2])
    travel = (opening - width) / (2 * FINGER_GAP_M)
    quality = (
        0.30 * contact
        + 0.20 * antipodality
        + 0.20 * max(0.0, 1 - lever / 0.08)
        + 0.20 * max(0.0, down)
        + 0.10 * min(1.0, travel)
    )
    kind = "top" if down > 0.87 else "side" if down < 0.5 else "tilted"
    return float(quality), kind


def _area_estimate(points: Array) -> float:
    """Surface area of the bounding box [m^2]: close enough to judge a point density."""
    a, b, c = np.ptp(points, axis=0)
    return float(2 * (a * b + b * c + c * a))


def _spread(grasps: list[Grasp], keep: int) -> list[Grasp]:
    """The best ones, no two alike (within 1 cm and 20 degrees)."""
    ranked = sorted(grasps, key=lambda g: -g.quality)
    poses = np.array([g.T_object_tool for g in ranked]).reshape(-1, 4, 4)
    left, chosen = np.ones(len(ranked), dtype=bool), []
    while left.any() and len(chosen) < keep:
        best = int(left.argmax())
        chosen.append(ranked[best])
        near = np.linalg.norm(poses[:, :3, 3] - poses[best, :3, 3], axis=1) < 0.01
        turn = (poses[:, :3, :3] * poses[best, :3, :3]).sum(axis=(1, 2))  # the trace of their rotation apart
        left &= ~(near & (turn > 1 + 2 * np.cos(np.deg2rad(20))))
        left[best] = False
    return chosen
