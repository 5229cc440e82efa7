"""Whether a task was done: an independent judge of what happened, from states and contacts alone.

It shares no code with the planner and does not know what was planned. Every condition is a `Check` with its measured
value and its bound; an attempt succeeds when all of them hold, and fails for the cause of the first that does not.
Lengths in metres, angles in degrees, forces in newtons, world frame: z up, the table's surface at z = 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull
from scipy.spatial.transform import Rotation

from blueprint.core.errors import IntegrityError
from blueprint.model.episode import Check, FailureCause
from blueprint.model.scene import RobotArm
from blueprint.model.task import Goal, Task

if TYPE_CHECKING:
    import mujoco

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]
Comparison = Literal["<=", ">=", "=="]

TOUCH_N = 0.02  # below it two bodies count as apart: a tenth of the weight of the lightest household object (20 g)
HELD_FRAMES = 3
OFF_SUPPORT_M = 0.005  # how far an object must rise while held; more than contact softness and chatter
END_S = 0.5  # the end is judged over this long
START_S = 0.3  # the start too: before the arm can have arrived
STILL_M = 0.002  # motion of any point of an object that counts as rest
UPRIGHT_DEG = 15.0
FALL_M = 0.03
DISTURBED_M = 0.02
TARGET_DISTURBED_M = 0.03
ON_TABLE_M = 0.01  # height of the lowest point of what stands on the table
ON_TOP_M = 0.01  # how far what lies on an object may sink below its highest point
BELOW_RIM_M = 0.01  # how far what lies in a container reaches below its rim
# Contact force at which a Panda's collision reflex stops it in the manufacturer's examples (libfranka
# `setDefaultBehavior`, 20 N): finger tips may brush the table up to it.
BRUSH_N = 20.0
NUDGE_N = 5.0  # fingers against an object that is not the task's: less than it takes to push a full can or bottle
ARM_N = 2.0  # anything else of the robot against anything


@dataclass(frozen=True)
class Evidence:
    """What happened, frame by frame; the last frames are at least 1 s of rest after the last motion.

    model: the compiled workcell; objects: names of its free bodies
    qpos: (T, nq); contacts: (K, 3) int (frame, body id a, body id b); forces: (K,) normal force [N]
    """

    model: mujoco.MjModel
    robot: RobotArm
    objects: tuple[str, ...]
    qpos: Array
    contacts: NDArray[np.int32]
    forces: Array
    fps: int


@dataclass(frozen=True)
class Verdict:
    """cause and detail: of the first check that failed, None and "" on success."""

    success: bool
    cause: FailureCause | None
    detail: str
    checks: tuple[Check, ...]


def judge(task: Task, evidence: Evidence) -> Verdict:
    """Raises IntegrityError when the evidence is malformed or too short, or names a body that the model lacks."""
    history = _History(evidence)
    history.validate(task)
    stories: tuple[tuple[FailureCause, Iterator[Check]], ...] = (
        ("unstable_start", _start(history)),
        ("collision", _collisions(history, task)),
        ("grasp_missed", _grasp(history, task)),
        ("dropped", _fall(history, task)),
        ("disturbed", _neighbours(history, task)),
        ("missed_goal", _goal(history, task)),
        ("missed_goal", _end(history, task)),
    )
    findings: list[tuple[FailureCause, Check]] = [(cause, check) for cause, checks in stories for check in checks]
    checks = tuple(check for _, check in findings)
    for cause, check in findings:
        if not check.passed:
            detail = f"{check.name}: {check.measured:.4g}, must be {check.comparison} {check.bound:.4g}"
            return Verdict(False, cause, detail, checks)
    return Verdict(True, None, "", checks)


class _History:
    """The evidence as questions: who touches whom when, and where everything is."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.model = evidence.model
        self.frames = len(evidence.qpos)
        self.end = slice(self.frames - 1 - round(END_S * evidence.fps), None)
        self.body = {name: self._id(name) for name in evidence.objects}
        self.fingers = [self._subtree(self._id(name)) for name in evidence.robot.gripper.finger_bodies]
        self.hand = self._subtree(int(self.model.body_parentid[self._id(evidence.robot.gripper.finger_bodies[0])]))
        self.robot = self._subtree(self._base())
        self.table = frozenset(range(self.model.nbody)) - self.robot - frozenset(self.body.values())

    def validate(self, task: Task) -> None:
        evidence = self.evidence
        for name in (task.object, task.goal.target):
            if name is not None and name not in self.body:
                raise IntegrityError(f"no object {name!r} in the scene; it has: {', '.join(self.body)}")
        if evidence.qpos.shape[1:] != (self.model.nq,) or not np.isfinite(evidence.qpos).all():
            raise IntegrityError(f"states must be finite and (T, {self.model.nq}), not {evidence.qpos.shape}")
        if self.frames <= evidence.fps:
            raise IntegrityError(f"{self.frames} frames at {evidence.fps} per second do not end with a second of rest")
        if evidence.contacts.shape != (len(evidence.forces), 3):
            raise IntegrityError(f"contacts {evidence.contacts.shape} and forces {evidence.forces.shape} do not match")
        if (
            len(evidence.forces)
            and not 0 <= evidence.contacts[:, 0].min() <= evidence.contacts[:, 0].max() < self.frames
        ):
            raise IntegrityError("contacts lie outside the recorded frames")

    def _id(self, name: str) -> int:
        try:
            return int(self.model.body(name).id)
        except KeyError as error:  # MuJoCo's message lists the names that exist
            raise IntegrityError(str(error)) from error

    def _base(self) -> int:
        """The body on which the whole arm stands: the ancestor of the first joint that hangs on the world."""
        body = int(self.model.jnt_bodyid[self.model.joint(self.evidence.robot.joints[0]).id])
        while self.model.body_parentid[body]:
            body = int(self.model.body_parentid[body])
        return body

    def _subtree(self, root: int) -> frozenset[int]:
        inside = {root}
        for body in range(root + 1, self.model.nbody):  # a body's number is higher than its parent's
            if int(self.model.body_parentid[body]) in inside:
                inside.add(body)
        return frozenset(inside)

    def force(self, some: Iterable[int], others: Iterable[int]) -> Array:
        """(T,) total force between two groups of bodies [N]."""
        frame, a, b = self.evidence.contacts.T
        some, others = sorted(some), sorted(others)
        between = (np.isin(a, some) & np.isin(b, others)) | (np.isin(b, some) & np.isin(a, others))
        return np.bincount(frame[between], weights=self.evidence.forces[between], minlength=self.frames).astype(float)

    def touching(self, some: Iterable[int], others: Iterable[int]) -> Bools:
        """(T,)"""
        return self.force(some, others) > TOUCH_N

    def gripped(self, name: str) -> Bools:
        """(T,) whether both fingers touch the object."""
        return np.logical_and.reduce([self.touching(finger, [self.body[name]]) for finger in self.fingers])

    def others(self, *names: str | None) -> list[int]:
        """All objects but these."""
        return [body for name, body in self.body.items() if name not in names]

    @cached_property
    def _vertices(self) -> dict[str, Array]:
        return {name: collider_points(self.model, body) for name, body in self.body.items()}

    def position(self, name: str) -> Array:
        """(T, 3) of the object's frame."""
        start = int(self.model.jnt_qposadr[self.model.body_jntadr[self.body[name]]])
        return self.evidence.qpos[:, start : start + 3]

    def rotation(self, name: str) -> Rotation:
        """T rotations of the object's frame."""
        start = int(self.model.jnt_qposadr[self.model.body_jntadr[self.body[name]]]) + 3
        return Rotation.from_quat(self.evidence.qpos[:, start : start + 4], scalar_first=True)

    def points(self, name: str, frame: int) -> Array:
        """(V, 3) of its collision geometry."""
        return self.rotation(name)[frame].apply(self._vertices[name]) + self.position(name)[frame]

    def lowest(self, name: str) -> Array:
        """(T,) height of its lowest point."""
        return (self.rotation(name).as_matrix()[:, 2] @ self._vertices[name].T).min(axis=1) + self.position(name)[:, 2]

    def outline(self, name: str, frame: int) -> Array:
        """(V, 2) convex, counter-clockwise, seen from above."""
        flat = self.points(name, frame)[:, :2]
        return flat[ConvexHull(flat).vertices]

    def tilt_deg(self, name: str) -> Array:
        """(T,) angle between up and the direction that was up at the start; turning about the vertical is none."""
        turn = self.rotation(name).as_matrix()
        up = turn[0].T @ np.array([0.0, 0.0, 1.0])
        return np.rad2deg(np.arccos(np.clip((turn @ up)[:, 2], -1.0, 1.0)))

    def motion(self, name: str, frames: slice) -> float:
        """How far any point of it moves from where it is in the last of these frames [m]."""
        chosen = range(self.frames)[frames]
        last = self.points(name, chosen[-1])
        return max(float(np.linalg.norm(self.points(name, k) - last, axis=1).max()) for k in chosen)


def _start(history: _History) -> Iterator[Check]:
    frames = slice(0, max(2, 1 + round(START_S * history.evidence.fps)))
    for name in history.body:
        yield _check(f"start: motion of {name}", history.motion(name, frames), "<=", STILL_M)


def _collisions(history: _History, task: Task) -> Iterator[Check]:
    fingers = frozenset().union(*history.fingers)
    own = history.body[task.object]
    everything = [*history.table, *history.body.values()]
    pairs = (
        ("fingers against table", fingers, history.table, BRUSH_N),
        ("fingers against other objects", fingers, history.others(task.object), NUDGE_N),
        ("hand against table and other objects", history.hand - fingers, {*everything} - {own}, ARM_N),
        ("arm against anything", history.robot - history.hand, everything, ARM_N),
    )
    for name, some, others, bound in pairs:
        yield _check(f"collision: {name}", float(history.force(some, others).max()), "<=", bound)


def _grasp(history: _History, task: Task) -> Iterator[Check]:
    name = task.object
    elsewhere = [body for body in range(history.model.nbody) if body not in history.hand | {history.body[name]}]
    lifted = history.lowest(name) - history.lowest(name)[0] >= OFF_SUPPORT_M
    held = history.gripped(name) & ~history.touching([history.body[name]], elsewhere) & lifted
    yield _check("grasp: frames held by both fingers alone", _longest(held), ">=", HELD_FRAMES)


def _fall(history: _History, task: Task) -> Iterator[Check]:
    """How far it fell where neither both fingers nor a support held it, also between two frames."""
    name = task.object
    gripped, lowest = history.gripped(name), history.lowest(name)
    secure = gripped | history.touching([history.body[name]], [*history.table, *history.others(name)])
    frames = np.unique(np.append(np.flatnonzero(secure), history.frames - 1))
    before, after = frames[:-1], frames[1:]
    carried = gripped[before] & gripped[after] & (after == before + 1)
    falls = np.where(carried, 0.0, lowest[before] - lowest[after])
    yield _check("fall between fingers and support", falls.max(initial=0.0), "<=", FALL_M)


def _neighbours(history: _History, task: Task) -> Iterator[Check]:
    carries = task.goal.target if task.goal.family in ("place_on", "place_into") else None
    for name in history.body:
        if name == task.object:
            continue
        moved = np.linalg.norm(history.position(name) - history.position(name)[0], axis=1).max()
        bound = TARGET_DISTURBED_M if name == carries else DISTURBED_M
        yield _check(f"disturbance: {name} moved", float(moved), "<=", bound)
        yield _check(f"disturbance: {name} tilted", float(history.tilt_deg(name).max()), "<=", UPRIGHT_DEG)


def _goal(history: _History, task: Task) -> Iterator[Check]:
    name, goal = task.object, task.goal
    if goal.family == "lift":
        lowest = history.lowest(name)
        yield _check("goal: height", float(lowest[history.end].min() - lowest[0]), ">=", goal.height_m)
        yield _check("goal: share of the end held", float(history.gripped(name)[history.end].mean()), "==", 1.0)
    elif goal.family == "place_region":
        yield from _region(history, name, goal)
    elif goal.target is None:
        raise IntegrityError(f"task {task.id} has no target to be placed at")
    elif goal.family == "place_beside":
        yield from _beside(history, name, goal, goal.target)
    else:
        yield from _with_target(history, name, goal, goal.target)


def _region(history: _History, name: str, goal: Goal) -> Iterator[Check]:
    if goal.center is None:
        raise IntegrityError(f"place_region of {name} has no center")
    yield from _on_table(history, name)
    away = np.linalg.norm(centroid(history.outline(name, -1)) - np.array(goal.center))
    yield _check("goal: distance of its outline's centre from the region's", float(away), "<=", goal.radius_m)


def _beside(history: _History, name: str, goal: Goal, target: str) -> Iterator[Check]:
    yield from _on_table(history, name)
    gap = outline_distance(history.outline(name, -1), history.outline(target, -1))
    yield _check("goal: gap to target", gap, "<=", goal.radius_m)


def _with_target(history: _History, name: str, goal: Goal, target: str) -> Iterator[Check]:
    body, rest = [history.body[name]], [*history.table, *history.others(name, target)]
    yield _check("goal: share of the end on the target", _share(history, body, [history.body[target]]), "==", 1.0)
    yield _check("goal: share of the end on anything else", _share(history, body, rest), "==", 0.0)
    outside = outline_distance(centroid(history.outline(name, -1))[None], history.outline(target, -1))
    yield _check("goal: centre outside the target's outline", outside, "<=", 0.0)
    sunk = float(history.points(target, -1)[:, 2].max() - history.lowest(name)[-1])
    if goal.family == "place_on":
        yield _check("goal: lowest point below the target's top", sunk, "<=", ON_TOP_M)
        yield _check("goal: tilt", float(history.tilt_deg(name)[-1]), "<=", UPRIGHT_DEG)
    else:
        yield _check("goal: lowest point below the target's rim", sunk, ">=", BELOW_RIM_M)


def _on_table(history: _History, name: str) -> Iterator[Check]:
    body = [history.body[name]]
    yield _check("goal: share of the end on the table", _share(history, body, history.table), "==", 1.0)
    yield _check("goal: share of the end leaning", _share(history, body, history.others(name)), "==", 0.0)
    yield _check("goal: height above the table", abs(float(history.lowest(name)[-1])), "<=", ON_TABLE_M)
    yield _check("goal: tilt", float(history.tilt_deg(name)[-1]), "<=", UPRIGHT_DEG)


def _end(history: _History, task: Task) -> Iterator[Check]:
    if task.goal.family != "lift":
        held = _share(history, [history.body[task.object]], history.robot)
        yield _check("end: share not released", held, "==", 0.0)
    for name in history.body:
        yield _check(f"end: motion of {name}", history.motion(name, history.end), "<=", STILL_M)


def _share(history: _History, some: Iterable[int], others: Iterable[int]) -> float:
    return float(history.touching(some, others)[history.end].mean())


def _check(name: str, measured: float, comparison: Comparison, bound: float) -> Check:
    measured = float(measured)
    passed = {"<=": measured <= bound, ">=": measured >= bound, "==": measured == bound}[comparison]
    return Check(name=name, measured=measured, bound=float(bound), comparison=comparison, passed=passed)


def _longest(true: Bools) -> int:
    """Length of the longest run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], true, [False]]).astype(np.int8)))
    return int((edges[1::2] - edges[::2]).max(initial=0))


def centroid(outline: Array) -> Array:
    """(2,) of the area of a counter-clockwise polygon (V, 2); the shoelace formula."""
    x, y = outline.T
    cross = x * np.roll(y, -1) - np.roll(x, -1) * y
    weighted = (outline + np.roll(outline, -1, axis=0)) * cross[:, None]
    return weighted.sum(axis=0) / (3 * cross.sum())


def outline_distance(a: Array, b: Array) -> float:
    """Distance of two convex outlines (V, 2), (W, 2) [m]; minus the depth where they overlap.

    They are as far apart as the origin is from the hull of their differences (Minkowski).
    """
    hull = ConvexHull((a[:, None] - b[None]).reshape(-1, 2))
    depth = float(hull.equations[:, 2].max())
    if depth <= 0:
        return depth
    start, end = hull.points[hull.simplices[:, 0]], hull.points[hull.simplices[:, 1]]
    along = end - start
    share = np.clip(-np.einsum("ij,ij->i", start, along) / np.einsum("ij,ij->i", along, along), 0.0, 1.0)
    return float(np.linalg.norm(start + share[:, None] * along, axis=1).min())


def collider_points(model: mujoco.MjModel, body: int) -> Array:
    """(V, 3) points whose hull is that of the body's collision geometry, in its frame (round ones to 0.2 %).

    Raises IntegrityError for a body without any.
    """
    first, count = int(model.body_geomadr[body]), int(model.body_geomnum[body])
    parts = [
        Rotation.from_quat(model.geom_quat[geom], scalar_first=True).apply(_geom_points(model, geom))
        + model.geom_pos[geom]
        for geom in range(first, first + count)
        if model.geom_contype[geom] or model.geom_conaffinity[geom]
    ]
    if not parts:
        raise IntegrityError(f"body {model.body(body).name} has no collision geometry")
    points = np.concatenate(parts)
    return points[ConvexHull(points).vertices]


def _geom_points(model: mujoco.MjModel, geom: int) -> Array:
    import mujoco

    size, shape = model.geom_size[geom], mujoco.mjtGeom(int(model.geom_type[geom]))
    around = np.arange(64) * 2 * np.pi / 64
    circle = np.column_stack([np.cos(around), np.sin(around)])
    if shape == mujoco.mjtGeom.mjGEOM_MESH:
        mesh = int(model.geom_dataid[geom])
        start = int(model.mesh_vertadr[mesh])
        return np.array(model.mesh_vert[start : start + int(model.mesh_vertnum[mesh])], dtype=float)
    if shape == mujoco.mjtGeom.mjGEOM_BOX:
        return size * np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], dtype=float)
    if shape == mujoco.mjtGeom.mjGEOM_CYLINDER:
        return np.concatenate([np.column_stack([circle * size[0], np.full(64, z)]) for z in (-size[1], size[1])])
    if shape == mujoco.mjtGeom.mjGEOM_SPHERE:
        slices = [(np.cos(t), np.sin(t)) for t in np.linspace(-np.pi / 2, np.pi / 2, 33)]
        return size[0] * np.concatenate([np.column_stack([circle * r, np.full(64, z)]) for r, z in slices])
    raise IntegrityError(f"geom {geom} is a {shape.name}; objects are made of meshes, boxes, cylinders and spheres")
