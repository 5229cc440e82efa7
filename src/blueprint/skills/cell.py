"""The compiled workcell with its names resolved: what every skill reads and none changes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from blueprint.core.errors import IntegrityError
from blueprint.model.scene import RobotArm

if TYPE_CHECKING:
    import mujoco

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

NOT_FIXED = ("", "table", "pedestal")  # what things start on, what arms stand on
AWAY_M = np.array([0.0, 0.0, 10.0])  # above everything: nothing is simulated there


@dataclass(frozen=True, eq=False)
class Cell:
    """A workcell model, its free bodies and its arms, seen by one of the arms: `robot`.

    objects: names of the free bodies that can be manipulated; file: the MJCF
    robots: all arms, `robot` among them, in the order of actions and observed states; empty = `robot` is the only one
    """

    file: Path
    model: mujoco.MjModel
    robot: RobotArm
    objects: tuple[str, ...]
    robots: tuple[RobotArm, ...] = ()

    @staticmethod
    def load(file: Path, robots: RobotArm | tuple[RobotArm, ...], objects: tuple[str, ...]) -> Cell:
        """The view of the first arm."""
        import mujoco

        arms = robots if isinstance(robots, tuple) else (robots,)
        return Cell(file, mujoco.MjModel.from_xml_path(str(file)), arms[0], objects, arms)

    @cached_property
    def views(self) -> tuple[Cell, ...]:
        """This cell as each of its arms sees it, in the order of the arms; they share the model."""
        arms = self.robots or (self.robot,)
        views = tuple(self if arm == self.robot else replace(self, robot=arm) for arm in arms)
        for view in views:
            view.__dict__["views"] = views
        return views

    def view(self, k: int) -> Cell:
        """The cell as the k-th arm sees it."""
        return self.views[k]

    @cached_property
    def index(self) -> int:
        """Which arm this view is of."""
        return next(k for k, view in enumerate(self.views) if view is self)

    @property
    def called(self) -> str:
        """What this arm is called in names of states: `robot`, `robot2`, ..."""
        return self.robot.gripper.site.partition("/")[0]

    @cached_property
    def columns(self) -> slice:
        """This arm's part of actions and observed states: its joints and its gripper's opening."""
        widths = [len(view.robot.joints) + 1 for view in self.views]
        start = sum(widths[: self.index])
        return slice(start, start + widths[self.index])

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
        first = int(self.model.jnt_bodyid[self.joint(self.robot.joints[0])])
        base = int(self.model.body_parentid[first]) or first
        inside = {base}
        for body in range(base + 1, self.model.nbody):
            if int(self.model.body_parentid[body]) in inside:
                inside.add(body)
        return frozenset(inside)

    @cached_property
    def fixed(self) -> tuple[str, ...]:
        """Names of bodies with colliders that stand on the world, or slide out of what does; not the table, no arm."""
        import mujoco

        model, found, sliding = self.model, list[str](), {0}
        arms = frozenset[int]().union(*(view.robot_bodies for view in self.views))
        for body in range(1, model.nbody):
            joints = model.jnt_type[model.body_jntadr[body] :][: model.body_jntnum[body]]
            if int(model.body_parentid[body]) not in sliding or (joints != int(mujoco.mjtJoint.mjJNT_SLIDE)).any():
                continue
            sliding.add(body)
            name = model.body(body).name
            geoms = slice(model.body_geomadr[body], model.body_geomadr[body] + model.body_geomnum[body])
            solid = model.body_geomnum[body] and (model.geom_contype[geoms] | model.geom_conaffinity[geoms]).any()
            even = (model.geom_type[geoms] <= int(mujoco.mjtGeom.mjGEOM_HFIELD)).any()  # the floor, or ground
            if solid and not even and body not in arms and name.rpartition("/")[2] not in NOT_FIXED:
                found.append(name)
        return tuple(found)

    @property
    def home_qpos(self) -> Array:
        """(nq,) the scene's own initial state with every arm at home and its gripper open."""
        qpos = self.model.qpos0.copy()
        for view in self.views:
            qpos[view.arm_qpos] = view.robot.home
            qpos[view.finger_qpos] = view.finger_positions(view.robot.gripper.max_opening_m)
        return qpos

    @property
    def home_action(self) -> Array:
        """(sum of n + 1,) every arm stays at home, gripper open."""
        return np.concatenate([[*view.robot.home, view.robot.gripper.max_opening_m] for view in self.views])

    def pose(self, qpos: Array, name: str) -> Array:
        """(4, 4) T_world_object of a body in a state."""
        import mujoco

        if name not in self.object_qpos:
            return self.pose_of(qpos, self.body(name))
        address, turn = self.object_qpos[name], np.empty(9)
        quat = np.array(qpos[address + 3 : address + 7], dtype=float)
        mujoco.mju_normalize4(quat)
        mujoco.mju_quat2Mat(turn, quat)
        T = np.eye(4)
        T[:3, :3] = turn.reshape(3, 3)
        T[:3, 3] = qpos[address : address + 3]
        return T

    def pose_of(self, qpos: Array, body: int) -> Array:
        """(4, 4) T_world_body of any body by its id, in a state."""
        data, T = self.posed(qpos), np.eye(4)
        T[:3, :3], T[:3, 3] = data.xmat[body].reshape(3, 3), data.xpos[body]
        return T

    def posed(self, qpos: Array) -> mujoco.MjData:
        """Where everything is in a state; the next call overwrites it."""
        import mujoco

        self._data.qpos[:] = qpos
        mujoco.mj_kinematics(self.model, self._data)
        return self._data

    @cached_property
    def _data(self) -> mujoco.MjData:
        import mujoco

        return mujoco.MjData(self.model)

    def with_pose(self, qpos: Array, name: str, T_world_object: Array) -> Array:
        """(nq,) a copy of the state with a free body moved."""
        import mujoco

        out, address = qpos.copy(), self.object_qpos[name]
        out[address : address + 3] = T_world_object[:3, 3]
        mujoco.mju_mat2Quat(out[address + 3 : address + 7], T_world_object[:3, :3].ravel())
        return out

    def alone(self, *names: str | None) -> Array:
        """(nq,) the initial state with every object but these taken away."""
        qpos = self.home_qpos
        for other in self.objects:
            if other not in names:
                qpos[self.object_qpos[other] : self.object_qpos[other] + 3] += AWAY_M
        return qpos

    def opening(self, qpos: Array) -> float:
        """Distance between the finger pads [m]."""
        gripper, fingers = self.robot.gripper, qpos[self.finger_qpos]
        if not gripper.openings_m:
            return float(fingers.sum())
        closed, opened = np.array(gripper.finger_positions[0]), np.array(gripper.finger_positions[-1])
        travel = (np.array(gripper.finger_positions) - closed) @ (opened - closed)
        return float(np.interp((fingers - closed) @ (opened - closed), travel, gripper.openings_m))

    def finger_positions(self, opening: float) -> Array:
        """(f,) positions of the finger joints at an opening [m], nothing in between them."""
        gripper = self.robot.gripper
        if not gripper.openings_m:
            return np.full(len(gripper.finger_joints), opening / 2)
        rows = np.array(gripper.finger_positions)
        return np.array([np.interp(opening, gripper.openings_m, column) for column in rows.T])

    def gripper_target(self, opening: float) -> float:
        """Value of the gripper's actuator for an opening [m]."""
        gripper = self.robot.gripper
        if gripper.openings_m:
            return float(np.interp(opening, gripper.openings_m, gripper.ctrls))
        share = opening / gripper.max_opening_m
        return gripper.closed_ctrl + share * (gripper.open_ctrl - gripper.closed_ctrl)

    def ctrl(self, action: NDArray[np.float32]) -> Array:
        """(nu,) actuator targets of an action row: per arm its joints [rad], then its gripper's opening [m].

        The action is taken in the precision in which it is recorded, so that a recording replays to the bit.
        """
        row = np.asarray(action, dtype=np.float32).astype(float)
        ctrl = np.zeros(self.model.nu)
        for view in self.views:
            *joints, opening = row[view.columns]
            ctrl[view.arm_ctrl] = joints
            ctrl[view.gripper_ctrl] = view.gripper_target(opening)
        return ctrl

    def observed(self, qpos: Array) -> NDArray[np.float32]:
        """(sum of n + 1,) what the robots sense of themselves: per arm its joints [rad], its gripper's opening [m]."""
        parts = [np.append(qpos[view.arm_qpos], view.opening(qpos)) for view in self.views]
        return np.concatenate(parts).astype(np.float32)
