"""A robot alone in physics: what its gripper opens by, whether it holds a cube, what it reaches."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from blueprint.backends.robots.mjcf import TIMESTEP_S, prepared_arm
from blueprint.backends.robots.registry import InstalledRobot, OpeningTable
from blueprint.core.errors import InputError

if TYPE_CHECKING:
    import mujoco

Array = NDArray[np.float64]

ROWS = 17  # of the table: the 2F-85's opening then errs by less than 0.1 mm between them
SETTLE_S = 0.8
CLOSED_M = 0.001  # pads this near are closed
STEP_M = 2e-4  # openings less apart than that are one row


def compiled(spec: mujoco.MjSpec) -> mujoco.MjModel:
    """With the workcell's time step and integrator."""
    import mujoco

    spec.option.timestep = TIMESTEP_S
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    return spec.compile()


def opening_table(installed: InstalledRobot) -> OpeningTable:
    """Drive the gripper through its actuator's range, the arm at home, and measure the pads' distance.

    Raises InputError when the opening does not change steadily with the actuator.
    """
    import mujoco

    robot, gripper = installed.robot, installed.robot.gripper
    model = compiled(prepared_arm(installed))
    data = mujoco.MjData(model)
    data.qpos[:] = within_limits(model)
    for joint, actuator, angle in zip(robot.joints, robot.actuators, robot.home, strict=True):
        data.qpos[model.joint(joint).qposadr] = angle
        data.ctrl[model.actuator(actuator).id] = angle
    drive = model.actuator(gripper.actuator).id
    fingers = [int(model.joint(name).qposadr[0]) for name in gripper.finger_joints]
    rows = []
    for value in np.linspace(model.actuator_ctrlrange[drive, 0], model.actuator_ctrlrange[drive, 1], ROWS):
        data.ctrl[drive] = value
        mujoco.mj_step(model, data, round(SETTLE_S / TIMESTEP_S))
        rows.append((pad_distance(model, data, gripper.pads), float(value), tuple(data.qpos[fingers].tolist())))
    return _table(rows, installed)


def _table(rows: list[tuple[float, float, tuple[float, ...]]], installed: InstalledRobot) -> OpeningTable:
    """Ascending, from the closed end of the actuator's range; the end's own value is kept, which presses hardest."""
    if rows[0][0] > rows[-1][0]:
        rows = rows[::-1]
    closed = max((row for row in rows if row[0] < rows[0][0] + STEP_M), key=lambda row: row[0])
    kept = [(0.0 if closed[0] < CLOSED_M else closed[0], rows[0][1], closed[2])]
    for row in rows[1:]:
        if row[0] > kept[-1][0] + STEP_M and row[0] > closed[0] + STEP_M:
            kept.append(row)
    travel = kept[-1][0] - kept[0][0]
    if travel < 0.01 or any(b[0] < a[0] - 0.001 for a, b in itertools.pairwise(rows)):
        raise InputError(
            f"the gripper of {installed.robot.title} opens by {1000 * travel:.1f} mm over its actuator's range, too "
            f"little or not steadily: {', '.join(f'{1000 * row[0]:.1f}' for row in rows)} mm",
            "check the actuator's range and gain, and that the fingers' joints are coupled",
        )
    openings, ctrls, positions = zip(*kept, strict=True)
    return OpeningTable(
        tuple(round(x, 6) for x in openings),
        tuple(round(x, 6) for x in ctrls),
        tuple(tuple(round(x, 6) for x in row) for row in positions),
    )


def within_limits(model: mujoco.MjModel) -> Array:
    """(nq,) the model's initial configuration, moved into the joints' limits: some files start outside."""
    qpos = model.qpos0.copy()
    for j in np.flatnonzero(model.jnt_limited):
        address = model.jnt_qposadr[j]
        qpos[address] = np.clip(qpos[address], *model.jnt_range[j])
    return qpos


def pad_distance(model: mujoco.MjModel, data: mujoco.MjData, pads: tuple[str, ...]) -> float:
    """Least distance of the colliders of two bodies [m], negative where they overlap."""
    import mujoco

    sides = [solid_geoms(model, model.body(name).id) for name in pads]
    return min(mujoco.mj_geomDistance(model, data, a, b, 0.5, None) for a, b in itertools.product(*sides))


def solid_geoms(model: mujoco.MjModel, body: int) -> list[int]:
    """Those of a body that collide."""
    geoms = range(model.body_geomadr[body], model.body_geomadr[body] + model.body_geomnum[body])
    return [g for g in geoms if model.geom_contype[g] or model.geom_conaffinity[g]]


def compiled_without_gravity(model: mujoco.MjModel) -> mujoco.MjModel:
    import copy

    quiet = copy.copy(model)
    quiet.opt.gravity[:] = 0.0
    return quiet
