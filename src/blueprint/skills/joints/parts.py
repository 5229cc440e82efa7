"""Parts that hang on a joint: where they are at every value of it, what kind of thing they are, what blocks them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull
from scipy.spatial.transform import Rotation

from blueprint.geometry.transforms import transform_points
from blueprint.model.scene import SceneBody
from blueprint.skills.cell import Cell
from blueprint.skills.grasping.solids import solid

Array = NDArray[np.float64]
Kind = Literal["panel", "dial", "button"]

BUTTON_TRAVEL_M = 0.02  # what slides less, or is pulled back by a spring, is a button
ROUND_SHARE = 0.3  # a dial's middle lies nearer to its axis than this share of how far it reaches from it
SWEEP_STEPS = 12
ABOVE_M = 0.05  # a thing's frame is that high above the rim of the drawer that carries it, at most
DEEPER_M = 0.002  # what the part may come closer than at the start before it counts as in the way


@dataclass(frozen=True, eq=False)
class Jointed:
    """One moving part. owner: the scene's body that it belongs to; joint: its name in the MJCF.

    low, high: the joint's limits [rad] or [m]; a joint without limits has half a turn each way
    """

    cell: Cell
    owner: str
    joint: str

    @staticmethod
    def parts_of(cell: Cell, body: SceneBody) -> Iterator[Jointed]:
        return (Jointed(cell, body.name, joint) for joint in body.joints)

    @cached_property
    def id(self) -> int:
        return self.cell.joint(self.joint)

    @property
    def body(self) -> int:
        return int(self.cell.model.jnt_bodyid[self.id])

    @cached_property
    def bodies(self) -> tuple[int, ...]:
        """The part and what it carries."""
        model, inside = self.cell.model, [self.body]
        for body in range(self.body + 1, model.nbody):
            if int(model.body_parentid[body]) in inside:
                inside.append(body)
        return tuple(inside)

    @cached_property
    def names(self) -> frozenset[str]:
        return frozenset(self.cell.model.body(body).name for body in self.bodies)

    @property
    def slides(self) -> bool:
        import mujoco

        return bool(self.cell.model.jnt_type[self.id] == mujoco.mjtJoint.mjJNT_SLIDE)

    @cached_property
    def limits(self) -> tuple[float, float]:
        model = self.cell.model
        if not model.jnt_limited[self.id]:
            return -np.pi, np.pi
        low, high = model.jnt_range[self.id].tolist()
        return low, high

    @property
    def far(self) -> float:
        """The limit that is farther from 0, where the part was captured: open."""
        low, high = self.limits
        return high if abs(high) >= abs(low) else low

    @property
    def address(self) -> int:
        return int(self.cell.model.jnt_qposadr[self.id])

    def value(self, qpos: Array) -> float:
        return float(qpos[self.address])

    def at(self, qpos: Array, value: float) -> Array:
        """(nq,) a copy of the state with the joint at `value`; what lies in a part that slides goes with it."""
        out = qpos.copy()
        out[self.address] = value
        for name in self.riders(qpos) if self.slides and value != self.value(qpos) else ():
            T = self.cell.pose(qpos, name)
            T[:3, 3] += (value - self.value(qpos)) * self.axis(qpos)[1]
            out = self.cell.with_pose(out, name, T)
        return out

    def riders(self, qpos: Array) -> list[str]:
        """Objects whose frame is inside the part's bounding box, or right above it."""
        points = self.points(qpos)
        low, high = points.min(axis=0), points.max(axis=0) + np.array([0.0, 0.0, ABOVE_M])
        at = {name: qpos[self.cell.object_qpos[name] :][:3] for name in self.cell.objects}
        return [name for name, spot in at.items() if (low < spot).all() and (spot < high).all()]

    def pose(self, qpos: Array) -> Array:
        """(4, 4) T_world_part."""
        return self.cell.pose_of(qpos, self.body)

    def axis(self, qpos: Array) -> tuple[Array, Array]:
        """A point (3,) of the axis and its unit direction (3,), world frame."""
        data = self.cell.posed(qpos)
        return data.xanchor[self.id].copy(), data.xaxis[self.id].copy()

    def moves(self, qpos: Array, points: Array) -> Array:
        """(N, 3) velocity of points (N, 3) of the part per unit of the joint, world frame."""
        anchor, axis = self.axis(qpos)
        return np.tile(axis, (len(points), 1)) if self.slides else np.cross(axis, points - anchor)

    def points(self, qpos: Array) -> Array:
        """(V, 3) corners of its collision geometry, world frame."""
        return transform_points(self.pose(qpos), solid(self.cell.model, self.body).vertices)

    def middle(self, qpos: Array) -> Array:
        """(3,) of its bounding box, world frame [m]."""
        points = self.points(qpos)
        return (points.min(axis=0) + points.max(axis=0)) / 2

    @cached_property
    def reach(self) -> float:
        """How far the part extends from its axis [m]."""
        return float(np.linalg.norm(self._arms, axis=1).max())

    @property
    def _arms(self) -> Array:
        qpos = self.cell.model.qpos0
        anchor, axis = self.axis(qpos)
        arms = self.points(qpos) - anchor
        return arms - np.outer(arms @ axis, axis)

    @cached_property
    def kind(self) -> Kind:
        """button: slides a little or against a spring; dial: turns about its own middle; panel: all else."""
        low, high = self.limits
        if self.slides:
            sprung = float(np.max(self.cell.model.jnt_stiffness[self.id])) > 0
            return "button" if sprung or high - low <= BUTTON_TRAVEL_M else "panel"
        arms = self._arms
        middle = (arms.min(axis=0) + arms.max(axis=0)) / 2
        return "dial" if np.linalg.norm(middle) <= ROUND_SHARE * self.reach else "panel"

    def in_the_way(self, qpos: Array, value: float) -> str:
        """Name of a body that the part would run into on its way to `value`, or ""."""
        import mujoco

        model, start = self.cell.model, self.value(qpos)
        touching: dict[int, float] = {}
        for k, v in enumerate(np.linspace(start, value, SWEEP_STEPS)):
            data = self.cell.posed(self.at(qpos, float(v)))
            mujoco.mj_collision(model, data)
            for pair, distance in zip(model.geom_bodyid[data.contact.geom], data.contact.dist, strict=True):
                ours = [body for body in pair.tolist() if body in self.bodies]
                other = next((body for body in pair.tolist() if body not in self.bodies), 0)
                if len(ours) != 1 or other in self.cell.robot_bodies:
                    continue
                if k == 0:
                    touching[other] = min(touching.get(other, 0.0), float(distance))
                elif distance < touching.get(other, 0.0) - DEEPER_M:
                    return str(model.body(other).name or "the scene")
        return ""


def turned_about(point: Array, rotvec: Array) -> Array:
    """(4, 4) rotation about a point (3,) by a rotation vector (3,) [rad], world frame."""
    T = np.eye(4)
    T[:3, :3] = Rotation.from_rotvec(rotvec).as_matrix()
    T[:3, 3] = point - T[:3, :3] @ point
    return T


@lru_cache(maxsize=256)
def outline(cell: Cell, name: str) -> Array:
    """(V, 2) convex outline of a body and what hangs on it, seen from above in the initial state [m]."""
    model, data = cell.model, cell.posed(cell.home_qpos)
    inside, clouds = {cell.body(name)}, []
    for body in range(cell.body(name), model.nbody):
        if body not in inside and int(model.body_parentid[body]) not in inside:
            continue
        inside.add(body)
        if model.body_geomnum[body]:
            clouds.append(solid(model, body).vertices @ data.xmat[body].reshape(3, 3).T + data.xpos[body])
    points = np.concatenate(clouds)[:, :2]
    return points[ConvexHull(points).vertices]
