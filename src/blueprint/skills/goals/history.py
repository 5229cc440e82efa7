"""The evidence of an episode as questions: who touches whom when, and where everything is, frame by frame.

Lengths in metres, angles in degrees, forces in newtons, world frame: z up, the table's surface at z = 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull
from scipy.spatial.transform import Rotation

from blueprint.core.errors import IntegrityError
from blueprint.model.scene import RobotArm
from blueprint.model.task import Task

if TYPE_CHECKING:
    import mujoco

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]

TOUCH_N = 0.02  # below it two bodies count as apart: a tenth of the weight of the lightest household object (20 g)
END_S = 0.5  # the end is judged over this long


@dataclass(frozen=True)
class Evidence:
    """What happened, frame by frame; the last frames are at least 1 s of rest after the last motion.

    model: the compiled workcell; robots: its arms; objects: names of its free bodies
    qpos: (T, nq); contacts: (K, 3) int (frame, body id a, body id b); forces: (K,) normal force [N]
    action: (T, sum of n + 1) commands of all arms, joints [rad] and opening [m]; None = not known, so not judged
    """

    model: mujoco.MjModel
    robots: tuple[RobotArm, ...]
    objects: tuple[str, ...]
    qpos: Array
    contacts: NDArray[np.int32]
    forces: Array
    fps: int
    action: NDArray[np.floating] | None = None


class History:
    """The evidence as questions: who touches whom when, and where everything is."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.model = evidence.model
        self.frames = len(evidence.qpos)
        self.end = slice(self.frames - 1 - round(END_S * evidence.fps), None)
        self.body = {name: self.id(name) for name in evidence.objects}
        self.fingers = [
            [self._subtree(self.id(name)) for name in robot.gripper.finger_bodies] for robot in evidence.robots
        ]
        self.hand = frozenset[int]().union(*(self._subtree(self._palm(robot)) for robot in evidence.robots))
        self.robot = frozenset[int]().union(*(self._subtree(self._base(robot)) for robot in evidence.robots))
        everything = frozenset(range(self.model.nbody)) - self.robot - frozenset(self.body.values())
        # nothing but people and objects on a course floats; see `skills.obstacles`
        self.movers = frozenset(body for body in everything if self.model.body_gravcomp[body] > 0)
        self.table = everything - self.movers

    def validate(self, task: Task) -> None:
        evidence = self.evidence
        for step in task.steps:
            free = [step.goal.target] if step.goal.joint else [step.object, step.goal.target]
            for name in free:
                if name is not None and name not in self.body and (name == step.object or not self._is_fixed(name)):
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
        wide = sum(len(robot.joints) + 1 for robot in evidence.robots)
        if evidence.action is not None and evidence.action.shape != (self.frames, wide):
            raise IntegrityError(f"actions must be ({self.frames}, {wide}), not {evidence.action.shape}")

    def _is_fixed(self, name: str) -> bool:
        return any(self.model.body(body).name == name for body in self.table)

    def id(self, name: str) -> int:
        """Of a body, an object or not. Raises IntegrityError."""
        try:
            return int(self.model.body(name).id)
        except KeyError as error:  # MuJoCo's message lists the names that exist
            raise IntegrityError(str(error)) from error

    @property
    def all_fingers(self) -> frozenset[int]:
        return frozenset[int]().union(*(finger for hand in self.fingers for finger in hand))

    def _palm(self, robot: RobotArm) -> int:
        """The body that carries the fingers: their nearest common ancestor."""
        chains = [self._ancestors(self.id(name)) for name in robot.gripper.finger_bodies]
        return next(body for body in chains[0] if all(body in chain for chain in chains))

    def _ancestors(self, body: int) -> list[int]:
        """From the parent up to the world."""
        chain = []
        while body:
            body = int(self.model.body_parentid[body])
            chain.append(body)
        return chain

    def _base(self, robot: RobotArm) -> int:
        """The body on which the whole arm stands: the ancestor of the first joint that hangs on the world."""
        body = int(self.model.jnt_bodyid[self.model.joint(robot.joints[0]).id])
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
        """(T,) whether both fingers of one hand touch the object."""
        hands = [[self.touching(finger, [self.body[name]]) for finger in hand] for hand in self.fingers]
        return np.logical_or.reduce([np.logical_and.reduce(hand) for hand in hands])

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

    def posed(self, frame: int) -> mujoco.MjData:
        """Where everything is in a frame."""
        import mujoco

        data = mujoco.MjData(self.model)
        data.qpos[:] = self.evidence.qpos[frame]
        mujoco.mj_kinematics(self.model, data)
        return data

    def fixed_points(self, name: str, frame: int) -> Array:
        """(V, 3) of the collision geometry of a body that is no object, where its joints have it."""
        body, data = self.id(name), self.posed(frame)
        return collider_points(self.model, body) @ data.xmat[body].reshape(3, 3).T + data.xpos[body]

    def outline(self, name: str, frame: int) -> Array:
        """(V, 2) convex, counter-clockwise, seen from above."""
        flat = (self.points if name in self.body else self.fixed_points)(name, frame)[:, :2]
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
