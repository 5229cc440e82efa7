"""What sensors of force and motion would read, from stored states: MuJoCo's forward dynamics at each of them.

Exact: positions, velocities, actuator and gravity torques, which are functions of the state and of the target before
it. Found anew by the solver: accelerations and contact forces, equal to those of the simulation to about its tolerance
(0.1 % in the tests). All are readings at the instant of a frame: what peaks and fades between two frames is not seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blueprint.backends.simulator_mujoco import load_model, with_physics
from blueprint.core.errors import InputError
from blueprint.model.scene import RobotArm
from blueprint.model.variation import PhysicsDraw

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

NEAR_M = 1e-4  # as in a rollout: contacts farther apart that carry no force are none


@dataclass(frozen=True)
class Contacts:
    """K contacts. frame: (K,); bodies: (K, 2) ids a and b; position: (K, 3) [m]; normal: (K, 3) from a towards b;
    force: (K, 3) [N] and torque: (K, 3) [N m] upon b at the position, their opposites upon a; distance: (K,) [m],
    negative = penetration. World frame.
    """

    frame: Ints
    bodies: Ints
    position: Array
    normal: Array
    force: Array
    torque: Array
    distance: Array

    def at(self, frame: int) -> Contacts:
        """Those of one frame."""
        chosen = self.frame == frame
        return Contacts(*(getattr(self, field.name)[chosen] for field in fields(self)))

    def upon(self, bodies: frozenset[int], apart: frozenset[int]) -> Loads:
        """What all but `apart` puts on `bodies`."""
        a, b = (np.isin(self.bodies[:, side], list(bodies)) for side in (0, 1))
        foreign = ~np.isin(self.bodies, list(apart))
        on_b = b & foreign[:, 0]
        chosen = on_b | (a & foreign[:, 1])
        sign = np.where(on_b, 1.0, -1.0)[chosen, None]
        others = np.where(on_b, self.bodies[:, 0], self.bodies[:, 1])[chosen]
        vectors = [sign * column[chosen] for column in (self.force, self.torque, self.normal)]
        return Loads(vectors[0], vectors[1], vectors[2], self.position[chosen], others)


@dataclass(frozen=True)
class Loads:
    """Contacts as one side feels them: force [N], torque [N m] and normal upon it, position, each (K, 3); by: (K,) ids
    of the bodies that press."""

    force: Array
    torque: Array
    normal: Array
    position: Array
    by: Ints


@dataclass(frozen=True)
class Signals:
    """T frames of A arms with n joints and F finger bodies in all, and B bodies.

    velocity [rad/s], acceleration [rad/s^2], effort [N m]: (T, n) of the arm joints; effort is what the joint's drive
    gives, gravity compensation included, as a torque sensor behind the gear would read
    wrench: (T, A, 6) force [N] and torque [N m] that the world puts on the gripper, about and in the tool frame: what a
    wrist sensor reads once the gripper's own weight and inertia are taken off
    gripper_force: (T, F) [N] with which each finger is pushed open, along the closing direction
    tool_pose: (T, A, 7) position [m] and quaternion wxyz of each tool frame, world; the quaternions never jump in sign
    body_velocity, body_acceleration: (T, B, 6) linear and angular, of each body's origin, world axes
    """

    velocity: Array
    acceleration: Array
    effort: Array
    wrench: Array
    gripper_force: Array
    tool_pose: Array
    body_velocity: Array
    body_acceleration: Array
    contacts: Contacts


@dataclass(frozen=True)
class Arm:
    """Ids of one arm in the compiled model. gripper: bodies that move with the tool; fingers: bodies of each finger."""

    dofs: Ints
    site: int
    gripper: frozenset[int]
    fingers: tuple[frozenset[int], ...]


def signals(
    model: Path, states: Mapping[str, Array], robots: Sequence[RobotArm], fps: int, physics: PhysicsDraw | None = None
) -> Signals:
    """states: `qpos` (T, nq), `qvel` (T, nv), `ctrl` (T, nu) of an episode (see `Episodes`); physics: as it was run.

    Raises InputError when the states are not of this model.
    """
    import mujoco

    mj_model: Any = compiled(model) if physics is None else varied(model, physics)
    qpos, qvel, ctrl = states["qpos"], states["qvel"], _acting(mj_model, states["ctrl"], fps)
    if qpos.shape[1:] != (mj_model.nq,) or qvel.shape != (len(qpos), mj_model.nv):
        raise InputError(f"states of shape {qpos.shape}, {qvel.shape} do not fit nq = {mj_model.nq}")
    arms = [arm_of(mj_model, robot) for robot in robots]
    data: Any = mujoco.MjData(mj_model)
    rows: dict[str, list[Array]] = {}
    contacts: list[Contacts] = []
    for t in range(len(qpos)):
        data.qpos[:], data.qvel[:], data.ctrl[:] = qpos[t], qvel[t], ctrl[t]
        mujoco.mj_forward(mj_model, data)
        mujoco.mj_rnePostConstraint(mj_model, data)
        found = contacts_now(mj_model, data, t)
        contacts.append(found)
        for name, value in _readings(mj_model, data, arms, found).items():
            rows.setdefault(name, []).append(value)
    columns = {name: np.stack(values) for name, values in rows.items()}
    columns["tool_pose"][..., 3:] = without_jumps(columns["tool_pose"][..., 3:])
    together = Contacts(*(np.concatenate([getattr(part, f.name) for part in contacts]) for f in fields(Contacts)))
    return Signals(**columns, contacts=together)  # type: ignore[arg-type]


def without_jumps(quats: Array) -> Array:
    """(T, ..., 4) the same rotations, w not negative at first, then each the sign that is nearer to the one before."""
    turned = np.where(np.sum(quats[1:] * quats[:-1], axis=-1) < 0, -1.0, 1.0)
    first = np.where(quats[:1, ..., 0] < 0, -1.0, 1.0)
    return quats * np.cumprod(np.concatenate([first, turned]), axis=0)[..., None]


def compiled(path: Path) -> Any:
    """The model, once per process. Raises InputError when MuJoCo refuses the file."""
    try:
        stat = path.stat()
    except OSError as error:
        raise InputError(f"no model at {path}", "run the workcell stage first") from error
    return _compiled(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=1)
def _compiled(path: Path, mtime_ns: int, size: int) -> Any:
    return _awake(load_model(path))


def _awake(model: Any) -> Any:
    """What rests may sleep in a simulation; here it is asked what holds it."""
    import mujoco

    model.opt.enableflags &= ~int(mujoco.mjtEnableBit.mjENBL_SLEEP)
    return model


def varied(path: Path, physics: PhysicsDraw) -> Any:
    """The model with the parameters that an episode was run with."""
    return _awake(with_physics(load_model(path), path, physics))


def _acting(model: Any, ctrl: Array, fps: int) -> Array:
    """(T, nu) the targets that act at each state: those of the first time step after it.

    The simulation moves them linearly and reaches a frame's `ctrl` at its end; with the target of the step before, a
    joint that follows a ramp would seem to be braking.
    """
    import mujoco

    start = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_KEY, "start")
    first = model.key_ctrl[start] if start >= 0 else np.zeros(model.nu)
    before = np.concatenate([first[None], ctrl[:-1]])
    return before + (ctrl - before) / max(1, round(1.0 / fps / model.opt.timestep))


def arm_of(model: Any, robot: RobotArm) -> Arm:
    site = int(model.site(robot.gripper.site).id)
    return Arm(
        dofs=np.array([model.joint(name).dofadr[0] for name in robot.joints]),
        site=site,
        gripper=subtree(model, int(model.site_bodyid[site])),
        fingers=tuple(subtree(model, int(model.body(name).id)) for name in robot.gripper.finger_bodies),
    )


def subtree(model: Any, root: int) -> frozenset[int]:
    """The body and all that hang on it."""
    inside = {root}
    for body in range(root + 1, model.nbody):
        if int(model.body_parentid[body]) in inside:
            inside.add(body)
    return frozenset(inside)


def contacts_now(model: Any, data: Any, frame: int) -> Contacts:
    """The contacts of the state in `data`; those of a flex belong to no body and are left out."""
    import mujoco

    rows, load = [], np.zeros(6)
    for index, contact in enumerate(data.contact):
        if min(contact.geom) < 0:
            continue
        mujoco.mj_contactForce(model, data, index, load)
        if contact.dist >= NEAR_M and load[0] <= 0.0:
            continue
        axes = contact.frame.reshape(3, 3)  # rows: normal from geom 1 to geom 2, two tangents
        bodies = [int(model.geom_bodyid[geom]) for geom in contact.geom]
        rows.append((bodies, contact.pos.copy(), axes[0].copy(), axes.T @ load[:3], axes.T @ load[3:], contact.dist))
    bodies, position, normal, force, torque, distance = zip(*rows, strict=True) if rows else ((),) * 6
    vectors = [np.array(vector, dtype=float).reshape(-1, 3) for vector in (position, normal, force, torque)]
    return Contacts(
        np.full(len(rows), frame, dtype=np.int64),
        np.array(bodies, dtype=np.int64).reshape(-1, 2),
        vectors[0],
        vectors[1],
        vectors[2],
        vectors[3],
        np.array(distance, dtype=float),
    )


def _readings(model: Any, data: Any, arms: Sequence[Arm], contacts: Contacts) -> dict[str, Array]:
    """One row of every field of `Signals` but the contacts."""
    import mujoco

    dofs = np.concatenate([arm.dofs for arm in arms])
    compensation = np.where(model.jnt_actgravcomp[model.dof_jntid] == 0, data.qfrc_gravcomp, 0.0)
    velocity, acceleration = np.zeros((2, model.nbody, 6))
    six = np.zeros(6)
    for body in range(1, model.nbody):
        for row, read in ((velocity, mujoco.mj_objectVelocity), (acceleration, mujoco.mj_objectAcceleration)):
            read(model, data, mujoco.mjtObj.mjOBJ_XBODY, body, six, 0)
            row[body] = np.concatenate([six[3:], six[:3]])  # MuJoCo gives the angular part first
    acceleration[1:, :3] += model.opt.gravity  # as an accelerometer it reads -g at rest
    tools = np.zeros((len(arms), 7))
    for row, arm in zip(tools, arms, strict=True):
        row[:3] = data.site_xpos[arm.site]
        mujoco.mju_mat2Quat(row[3:], data.site_xmat[arm.site])
    return {
        "velocity": data.qvel[dofs].copy(),
        "acceleration": data.qacc[dofs].copy(),
        "effort": (data.qfrc_actuator + compensation)[dofs],
        "wrench": np.stack([_wrench(data, arm, contacts) for arm in arms]),
        "gripper_force": np.concatenate([_finger_forces(data, arm, contacts) for arm in arms]),
        "tool_pose": tools,
        "body_velocity": velocity,
        "body_acceleration": acceleration,
    }


def _wrench(data: Any, arm: Arm, contacts: Contacts) -> Array:
    load = contacts.upon(arm.gripper, arm.gripper)
    axes = data.site_xmat[arm.site].reshape(3, 3)
    torque = np.cross(load.position - data.site_xpos[arm.site], load.force) + load.torque
    return np.concatenate([load.force.sum(axis=0) @ axes, torque.sum(axis=0) @ axes])


def _finger_forces(data: Any, arm: Arm, contacts: Contacts) -> Array:
    closing = data.site_xmat[arm.site].reshape(3, 3)[:, 1]
    out = np.zeros(len(arm.fingers))
    for k, finger in enumerate(arm.fingers):
        outward = np.sign((data.xpos[min(finger)] - data.site_xpos[arm.site]) @ closing) * closing
        out[k] = (contacts.upon(finger, arm.gripper).force @ outward).sum()
    return out


def privileged(model: Path, states: Mapping[str, Array], physics: PhysicsDraw | None) -> dict[str, NDArray[Any]]:
    """The whole state of the simulation, by name: enough to set it up again at any frame.

    qpos (T, nq), qvel (T, nv), ctrl (T, nu); joint, joint_qpos and joint_qvel say where each joint's values begin;
    body, body_mass [kg], body_ipos (B, 3) centres of mass, body frames [m]
    geom_body, geom_friction (G,) sliding; actuator: names of ctrl
    """
    mj_model: Any = compiled(model) if physics is None else varied(model, physics)
    names = lambda count, get: np.array([get(i).name for i in range(count)], dtype=np.str_)  # noqa: E731
    body = names(mj_model.nbody, mj_model.body)
    return {name: states[name] for name in ("qpos", "qvel", "ctrl")} | {
        "joint": names(mj_model.njnt, mj_model.joint),
        "joint_qpos": mj_model.jnt_qposadr.copy(),
        "joint_qvel": mj_model.jnt_dofadr.copy(),
        "actuator": names(mj_model.nu, mj_model.actuator),
        "body": body,
        "body_mass": mj_model.body_mass.copy(),
        "body_ipos": mj_model.body_ipos.copy(),
        "geom_body": body[mj_model.geom_bodyid],
        "geom_friction": mj_model.geom_friction[:, 0].copy(),
    }
