"""The compiled workcell with its names resolved: what every skill reads and none changes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from blueprint.core.errors import IntegrityError
from blueprint.model.scene import RobotArm

if TYPE_CHECKING:
    import mujoco

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

AWAY_M = np.array([0.0, 0.0, 10.0])  # above everything: nothing is simulated there


@dataclass(frozen=True, eq=False)
class Cell:
    """A workcell model, its robot and its free bodies.

    objects: names of the free bodies that can be manipulated; file: the MJCF
    """

    file: Path
    model: mujoco.MjModel
    robot: RobotArm
    objects: tuple[str, ...]

    @staticmethod
    def load(file: Path, robot: RobotArm, objects: tuple[str, ...]) -> Cell:
        import mujoco

        return Cell(file, mujoco.MjModel.from_xml_path(str(file)), robot, objects)

    def joint(self, name: str) -> int:
        """Raises IntegrityError naming the joints that exist."""
        return self._id("joint", self.model.joint, name)

    def body(self, name: str) -> int:
        return self._id("body", self.model.body, name)

    def _id(self, kind: str, lookup: object, name: str) -> int:
        try:
            return int(lookup(name).id)  # type: ignore[operator]
        except KeyError as error:
            raise IntegrityError(f"no {kind} {name!r} in {self.file.name}: {error}") from error

    @cached_property
    def arm_qpos(self) -> Ints:
        """(n,) qpos addresses of the arm joints."""
        return np.array([self.model.jnt_qposadr[self.joint(name)] for name in self.robot.joints])

    @cached_property
    def finger_qpos(self) -> Ints:
        return np.array([self.model.jnt_qposadr[self.joint(name)] for name in self.robot.gripper.finger_joints])

    @cached_property
    def arm_range(self) -> Array:
        """(n, 2) joint limits [rad]."""
        return np.array([self.model.jnt_range[self.joint(name)] for name in self.robot.joints])

    @cached_property
    def arm_ctrl(self) -> Ints:
        return np.array([self._id("actuator", self.model.actuator, name) for name in self.robot.actuators])

    @cached_property
    def gripper_ctrl(self) -> int:
        return self._id("actuator", self.model.actuator, self.robot.gripper.actuator)

    @cached_property
    def tool_site(self) -> int:
        return self._id("site", self.model.site, self.robot.gripper.site)

    @cached_property
    def object_qpos(self) -> dict[str, int]:
        """Address of each object's free joint (7 values) in qpos."""
        addresses = {}
        for name in self.objects:
            body = self.body(name)
            addresses[name] = int(self.model.jnt_qposadr[self.model.body_jntadr[body]])
        return addresses

    @cached_property
    def robot_bodies(self) -> frozenset[int]:
        """The arm's bodies, base included: everything that hangs on the base of its first joint."""
        base = int(self.model.body_parentid[self.model.jnt_bodyid[self.joint(self.robot.joints[0])]])
        inside = {base}
        for body in range(base + 1, self.model.nbody):
            if int(self.model.body_parentid[body]) in inside:
                inside.add(body)
        return frozenset(inside)

    @property
    def home_qpos(self) -> Array:
        """(nq,) the scene's own initial state with the arm at home and the gripper open."""
        qpos = self.model.qpos0.copy()
        qpos[self.arm_qpos] = self.robot.home
        qpos[self.finger_qpos] = self.robot.gripper.max_opening_m / 2
        return qpos

    def pose(self, qpos: Array, name: str) -> Array:
        """(4, 4) T_world_object of a free body in a state."""
        address = self.object_qpos[name]
        T = np.eye(4)
        T[:3, :3] = Rotation.from_quat(qpos[address + 3 : address + 7], scalar_first=True).as_matrix()
        T[:3, 3] = qpos[address : address + 3]
        return T

    def with_pose(self, qpos: Array, name: str, T_world_object: Array) -> Array:
        """(nq,) a copy of the state with a free body moved."""
        out, address = qpos.copy(), self.object_qpos[name]
        out[address : address + 3] = T_world_object[:3, 3]
        out[address + 3 : address + 7] = Rotation.from_matrix(T_world_object[:3, :3]).as_quat(scalar_first=True)
        return out

    def alone(self, name: str) -> Array:
        """(nq,) the initial state with every object but one taken away."""
        qpos = self.home_qpos
        for other in self.objects:
            if other != name:
                qpos[self.object_qpos[other] : self.object_qpos[other] + 3] += AWAY_M
        return qpos

    def opening(self, qpos: Array) -> float:
        """Distance between the finger pads [m]."""
        return float(qpos[self.finger_qpos].sum())

    def ctrl(self, action: NDArray[np.float32]) -> Array:
        """(nu,) actuator targets of an action row: arm joints [rad], gripper opening [m].

        The action is taken in the precision in which it is recorded, so that a recording replays to the bit.
        """
        row = np.asarray(action, dtype=np.float32).astype(float)
        gripper = self.robot.gripper
        ctrl = np.zeros(self.model.nu)
        ctrl[self.arm_ctrl] = row[:-1]
        share = row[-1] / gripper.max_opening_m
        ctrl[self.gripper_ctrl] = gripper.closed_ctrl + share * (gripper.open_ctrl - gripper.closed_ctrl)
        return ctrl

    def observed(self, qpos: Array) -> NDArray[np.float32]:
        """(n + 1,) what the robot senses of itself: arm joints [rad], gripper opening [m]."""
        return np.append(qpos[self.arm_qpos], self.opening(qpos)).astype(np.float32)
