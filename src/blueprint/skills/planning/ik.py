"""Inverse kinematics of the arm alone, with mink."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from blueprint.skills.cell import Cell

Array = NDArray[np.float64]

POSITION_TOLERANCE_M = 5e-4
ROTATION_TOLERANCE_RAD = 3e-3
LIMIT_MARGIN_RAD = 0.03  # kept from every joint limit
MAX_ITERATIONS = 40
STEP_RAD, LIMIT_SHARE = 0.5, 0.95  # the most that a joint turns per step, also of what is left to its limit
DAMPING = 1e-6
# that a joint speed of 1 rad/s gives the tool at least, in its worst direction: a tenth of what the Panda's home gives
LEAST_DEXTERITY_M = 0.016


class ArmKinematics:
    """The workcell's arm without fingers and objects, so that a solve costs a 7-variable quadratic program.

    Targets are T_world_tool (4, 4); configurations are (n,) [rad] in the order of the robot's joints.
    """

    def __init__(self, cell: Cell) -> None:
        import mink
        import mujoco

        self._mink = mink
        robot = cell.robot
        spec = mujoco.MjSpec.from_file(str(cell.file))
        for part in (*spec.actuators, *spec.tendons, *spec.equalities, *spec.keys):
            spec.delete(part)
        keep = {cell.joint(name) for name in robot.joints}
        gone = [cell.model.joint(j).name for j in range(cell.model.njnt) if j not in keep]
        for name in gone:
            joint = spec.joint(name)
            joint.parent.sleep = mujoco.mjtSleepPolicy.mjSLEEP_AUTO  # what cannot move has no say in whether it sleeps
            spec.delete(joint)
        self._model = spec.compile()
        self._configuration = mink.Configuration(self._model)
        self._reach = mink.FrameTask(
            robot.gripper.site, "site", position_cost=1.0, orientation_cost=0.3, lm_damping=1e-3
        )
        self._lower, self._upper = cell.arm_range[:, 0] + LIMIT_MARGIN_RAD, cell.arm_range[:, 1] - LIMIT_MARGIN_RAD
        self._model.jnt_range[:, 0], self._model.jnt_range[:, 1] = self._lower, self._upper
        speeds = dict(zip(robot.joints, np.full(len(robot.joints), STEP_RAD), strict=True))
        self._limits = [mink.ConfigurationLimit(self._model, gain=LIMIT_SHARE), mink.VelocityLimit(self._model, speeds)]
        self._site = robot.gripper.site
        self.home: Array = np.array(robot.home)

    def tool_pose(self, joints: Array) -> Array:
        """(4, 4) T_world_tool."""
        self._configuration.update(joints)
        return self._configuration.get_transform_frame_to_world(self._site, "site").as_matrix()

    def solve(self, T_world_tool: Array, start: Array, *, iterations: int = MAX_ITERATIONS) -> Array | None:
        """The configuration near `start` that puts the tool at the target, or None.

        Found configurations are within 0.5 mm and 3 mrad of the target and off every joint limit.
        """
        self._configuration.update(np.clip(start, self._lower, self._upper))
        self._reach.set_target(self._mink.SE3.from_matrix(T_world_tool))
        for _ in range(iterations):
            jacobian, error, damping = self._reach.compute_qp_residual(self._configuration)
            if self._good(error / self._reach.cost):
                return self._configuration.q.copy()
            step = self._step(jacobian, error, damping + DAMPING)
            if step is None:
                return None
            self._configuration.integrate_inplace(step, 1.0)
        return self._configuration.q.copy() if self._good(self._reach.compute_error(self._configuration)) else None

    def _step(self, jacobian: Array, error: Array, damping: float) -> Array | None:
        """(n,) the damped least-squares step within all limits; None if there is none.

        Where the step without limits keeps them, it is that of the quadratic program, which need not be solved.
        """
        normal = jacobian.T @ jacobian + damping * np.eye(jacobian.shape[1])
        step = np.linalg.solve(normal, jacobian.T @ error).astype(np.float64)
        q = self._configuration.q
        room = np.minimum(np.where(step > 0, self._upper - q, q - self._lower) * LIMIT_SHARE, STEP_RAD)
        if (np.abs(step) <= room).all():
            return step
        try:
            return self._mink.solve_ik(
                self._configuration, [self._reach], 1.0, "daqp", damping=DAMPING, limits=self._limits
            )
        except self._mink.NoSolutionFound:
            return None

    def _good(self, error: Array) -> bool:
        position, rotation = np.linalg.norm(error[:3]), np.linalg.norm(error[3:])
        return bool(position < POSITION_TOLERANCE_M and rotation < ROTATION_TOLERANCE_RAD)

    def margin(self, joints: Array) -> float:
        """Distance to the nearest joint limit as a share of the joint's half range, in [0, 1]."""
        half = (self._upper - self._lower) / 2
        return float((np.minimum(joints - self._lower, self._upper - joints) / half).min())

    def dexterity(self, joints: Array) -> float:
        """The smallest singular value of the tool's Jacobian [m/rad], where a turn of a radian counts as 0.3 m.

        It is the speed of the tool in its worst direction per unit of joint speed, and 0 in a singularity: Klein and
        Blaho 1987, "Dexterity measures for the design and control of kinematically redundant manipulators".
        """
        self._configuration.update(joints)
        jacobian = self._configuration.get_frame_jacobian(self._site, "site")
        return float(np.linalg.svd(self._reach.cost[:, None] * jacobian, compute_uv=False)[-1])

    def free(self, joints: Array, margin: float) -> bool:
        """Whether the joints keep this `margin` from their limits, and the arm stays away from singularities."""
        return self.margin(joints) >= margin and self.dexterity(joints) >= LEAST_DEXTERITY_M

    def line(self, T_from: Array, T_to: Array, start: Array, *, steps: int) -> Array | None:
        """(steps + 1, n) configurations that move the tool straight from one pose to the other, or None.

        start: the configuration at `T_from`. A jump between neighbours, a change of the arm's posture, is refused.
        """
        from scipy.spatial.transform import Rotation, Slerp

        share = np.linspace(0.0, 1.0, steps + 1)[1:]
        turn = Slerp([0.0, 1.0], Rotation.from_matrix(np.stack([T_from[:3, :3], T_to[:3, :3]])))
        path = [np.asarray(start, dtype=float)]
        for s, rotation in zip(share, turn(share).as_matrix(), strict=True):
            T = np.eye(4)
            T[:3, :3] = rotation
            T[:3, 3] = (1 - s) * T_from[:3, 3] + s * T_to[:3, 3]
            joints = self.solve(T, path[-1], iterations=12)
            if joints is None or np.abs(joints - path[-1]).max() > 0.35:
                return None
            path.append(joints)
        return np.array(path)
