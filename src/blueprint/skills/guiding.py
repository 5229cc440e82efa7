"""A hand guided by where the thing in it is: what grasp and servos are off by is taken out while it moves.

It is looked at, and told where to go, at 15 Hz, whatever the rate of the frames; between, its way is averaged over one
fifteenth of a second, so that accelerations are no higher than at 15 Hz.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull
from scipy.spatial.transform import Rotation

from blueprint.geometry.transforms import rotation_angle
from blueprint.skills.planning import motion
from blueprint.skills.primitives import OPEN_S
from blueprint.skills.rollout import Rollout
from blueprint.skills.scene import TaskScene

Array = NDArray[np.float64]

GAIN = 0.6  # share of an error that one command takes out
ALIGNED_M, ALIGNED_RAD = 4e-5, 1e-3
TICKS_HZ = 15
LONGEST = 30  # ticks of a step


class Guide:
    """Commands that bring the held object to a pose, corrected by where it is."""

    def __init__(self, rollout: Rollout, scene: TaskScene, name: str) -> None:
        import mujoco

        self._rollout, self._skills, self._cell, self._name = rollout, scene.skills, scene.cell, name
        self._data = mujoco.MjData(self._cell.model)
        self._joints = rollout.commanded
        self._tool = self._forward(self._joints)
        self._latest = np.tile(self._joints, (self._frames(1) - 1, 1))
        self._speed = np.zeros_like(self._joints)  # rad per tick

    def pose(self) -> Array:
        return self._cell.pose(self._rollout.qpos, self._name)

    def step(self, wanted: Array, ticks: int = 2) -> bool:
        """So many fifteenths of a second towards it, or more if the arm could not follow; whether it is there."""
        now = self.pose()
        off = np.eye(4)
        turn = Rotation.from_matrix(wanted[:3, :3] @ now[:3, :3].T).as_rotvec()
        off[:3, :3] = Rotation.from_rotvec(GAIN * turn).as_matrix()
        off[:3, 3] = now[:3, 3] + GAIN * (wanted[:3, 3] - now[:3, 3]) - off[:3, :3] @ now[:3, 3]
        self._tool = off @ self._tool
        before, self._joints = self._joints, self._solved(self._tool, self._joints)
        limit = np.array(self._cell.robot.acceleration_limits) / TICKS_HZ**2
        by = self._joints - before
        while ticks < LONGEST and (np.maximum(np.abs(by / ticks), np.abs(by / ticks - self._speed)) > limit).any():
            ticks += 1  # it must be able to stop after any step
        self._speed = by / ticks
        share = np.linspace(0.0, 1.0, self._frames(ticks) + 1)[1:, None]
        self._follow("place", before + share * by, 0.0)
        now = self.pose()
        there = np.linalg.norm(now[:3, 3] - wanted[:3, 3]) < ALIGNED_M and rotation_angle(now, wanted) < ALIGNED_RAD
        return bool(there)

    def leave(self, opening: float, height: float) -> None:
        """Let go, the fingers `opening` apart, raise the hand straight up by `height` [m], and rest."""
        rollout, skills = self._rollout, self._skills
        frames = max(2, round(OPEN_S * rollout.fps))
        opened = np.linspace(self._cell.opening(rollout.qpos), opening, frames)
        self._follow("release", np.tile(self._joints, (frames, 1)), opened)
        rollout.run("retreat", motion.time_path(self._out(height), height, skills.slow, rollout.fps), opening)
        skills.rest(rollout, opening)

    def _out(self, height: float) -> Array:
        """(9, n) configurations that raise the hand."""
        path, joints = [self._joints], self._joints
        for share in np.linspace(0.0, 1.0, 9)[1:]:
            T = self._tool.copy()
            T[2, 3] += share * height
            joints = self._solved(T, joints)
            path.append(joints)
        return np.array(path)

    def _frames(self, ticks: int) -> int:
        """At least as long as so many ticks."""
        return -(-ticks * self._rollout.fps // TICKS_HZ)

    def _follow(self, segment: str, joints: Array, opening: Array | float) -> None:
        """Each command is the mean of a tick's configurations (K, n), the last ones of the call before among them."""
        late = len(self._latest)
        asked = np.concatenate([self._latest, joints])
        self._latest = asked[len(asked) - late :]
        means = np.array([asked[k : k + late + 1].mean(axis=0) for k in range(len(joints))])
        self._rollout.run(segment, means, opening)

    def _forward(self, joints: Array) -> Array:
        import mujoco

        self._data.qpos[self._cell.arm_qpos] = joints
        mujoco.mj_kinematics(self._cell.model, self._data)
        mujoco.mj_comPos(self._cell.model, self._data)
        T = np.eye(4)
        T[:3, :3] = self._data.site_xmat[self._cell.tool_site].reshape(3, 3)
        T[:3, 3] = self._data.site_xpos[self._cell.tool_site]
        return T

    def _solved(self, T: Array, joints: Array) -> Array:
        """Configurations to a micrometre, by Newton's method from one that is near."""
        import mujoco

        model, low, high = self._cell.model, *self._cell.arm_range.T
        dofs = model.jnt_dofadr[[self._cell.joint(name) for name in self._cell.robot.joints]]
        jacobian = np.zeros((6, model.nv))
        for _ in range(4):
            now = self._forward(joints)
            error = np.append(T[:3, 3] - now[:3, 3], Rotation.from_matrix(T[:3, :3] @ now[:3, :3].T).as_rotvec())
            mujoco.mj_jacSite(model, self._data, jacobian[:3], jacobian[3:], self._cell.tool_site)
            joints = np.clip(joints + np.linalg.pinv(jacobian[:, dofs]) @ error, low, high)
        return joints


@dataclass(frozen=True)
class Rectangle:
    """center: (2,); size: the shorter side, the longer [m]; yaw: of the longer [rad]"""

    center: Array
    size: Array
    yaw: float


def rectangle(points: Array) -> Rectangle:
    """The smallest one around points (N, 2): it has a side along an edge of their hull (Freeman and Shapira 1975)."""
    corners = points[ConvexHull(points).vertices]
    edges = np.roll(corners, -1, axis=0) - corners
    best: Rectangle | None = None
    for edge in edges[np.linalg.norm(edges, axis=1) > 1e-6]:
        along = edge / np.linalg.norm(edge)
        axes = np.array([along, [-along[1], along[0]]])
        local = corners @ axes.T
        size, middle = np.ptp(local, axis=0), (local.min(axis=0) + local.max(axis=0)) / 2
        if best is None or np.prod(size) < np.prod(best.size) - 1e-9:
            longer = axes[int(size.argmax())]
            best = Rectangle(middle @ axes, np.sort(size), float(np.arctan2(longer[1], longer[0])))
    assert best is not None
    return best
