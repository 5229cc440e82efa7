"""An audit of episodes: the recorded actions run again from the stored start, as `blueprint replay` does, judged by
other words.

The product steps the simulation (a test holds that to plain MuJoCo). What touches what, with what force, and whether
that is a success is read from the states here, in MuJoCo itself: no skill and no judge takes part.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import mujoco
import numpy as np
from numpy.typing import NDArray

from blueprint.backends.simulator_mujoco import SimulatorMujoco, load_model, with_physics
from blueprint.model.artifacts import Workcell
from blueprint.model.task import Task
from blueprint.model.variation import PhysicsDraw, Variation
from blueprint.skills import replay

Array = NDArray[np.float64]

SLACK_M = 0.01  # the audit measures from object origins, the judge from outlines


@dataclass(frozen=True)
class Rerun:
    """qpos: (T + 1, nq) before every action and after the last; touching: per frame, the pairs of bodies in contact."""

    model: mujoco.MjModel
    qpos: Array
    touching: list[set[tuple[int, int]]]
    contacts: NDArray[np.int32]
    forces: Array
    largest_difference: float


def rerun(
    workcell: Workcell, states: Path, fps: int, *, mjcf: Path | None = None, physics: PhysicsDraw | None = None
) -> Rerun:
    """Run the float32 actions open loop. largest_difference: to the stored qpos, any frame, any coordinate.

    mjcf, physics: of an episode that varies them; see `Episodes.model` and `EpisodeRecord.variation`
    """
    with np.load(states) as file:
        actions, stored = file["action"], file["qpos"]
    path = mjcf or workcell.path(workcell.mjcf)
    variation = Variation(seed=(), physics=physics)
    done = replay.rerun(workcell, path, variation, stored[0], actions, fps, SimulatorMujoco())
    columns, last = done.arrays(), done.simulation
    model = load_model(path)
    if physics is not None:
        model = with_physics(model, path, physics)
    if model.na:
        raise ValueError("actuators with states of their own: positions, velocities and targets do not say all")
    ctrl = np.concatenate([model.key("start").ctrl[None], columns["ctrl"]])
    qpos, qvel = (np.vstack([columns[name], now]) for name, now in (("qpos", last.qpos), ("qvel", last.qvel)))
    touching, rows, forces = [], [], []
    for frame in range(len(qpos)):
        seen = _awake(model, qpos[frame], qvel[frame], ctrl[frame])
        touching.append(_pairs(model, seen))
        rows += _contacts(model, seen, frame)
        forces += _forces(model, seen)
    difference = float(np.abs(qpos[:-1] - stored).max())
    contacts = np.array(rows, dtype=np.int32).reshape(-1, 3)
    return Rerun(model, qpos, touching, contacts, np.array(forces), difference)


def _awake(model: mujoco.MjModel, qpos: Array, qvel: Array, ctrl: Array) -> mujoco.MjData:
    """The state with nothing asleep: bodies that sleep have no contacts."""
    flags = model.opt.enableflags
    model.opt.enableflags = flags & ~int(mujoco.mjtEnableBit.mjENBL_SLEEP)
    seen = mujoco.MjData(model)
    seen.qpos[:], seen.qvel[:], seen.ctrl[:] = qpos, qvel, ctrl
    mujoco.mj_forward(model, seen)
    model.opt.enableflags = flags
    return seen


def _contacts(model: mujoco.MjModel, data: mujoco.MjData, frame: int) -> list[tuple[int, int, int]]:
    return [(frame, *(int(b) for b in model.geom_bodyid[c.geom])) for c in data.contact]


def _forces(model: mujoco.MjModel, data: mujoco.MjData) -> list[float]:
    out, force = [], np.zeros(6)
    for k in range(data.ncon):
        mujoco.mj_contactForce(model, data, k, force)
        out.append(float(force[0]))
    return out


def _pairs(model: mujoco.MjModel, data: mujoco.MjData) -> set[tuple[int, int]]:
    """Bodies that press against each other now."""
    found = set()
    for (_, a, b), force in zip(_contacts(model, data, 0), _forces(model, data), strict=True):
        if force > 0.02:
            found.add((min(a, b), max(a, b)))
    return found


def objections(workcell: Workcell, task: Task, run: Rerun) -> list[str]:
    """What speaks against the success that the product claims; empty if nothing does."""
    from bench import audit_contact, audit_pick

    if task.goal.family in audit_contact.FAMILIES:
        return audit_contact.objections(workcell, task, run)
    handled = {step.object for step in task.steps}
    way = [*_others(workcell, task, run), *audit_pick.on_the_way(workcell, handled, run)]
    if task.goal.steps:
        return [*way, *audit_pick.several(workcell, task, run)]
    if task.goal.family == "pour":
        return [*way, *audit_pick.pour(task, run)]
    if task.goal.family == "wipe":
        return [*way, *_grasp(workcell, task, run), *audit_pick.wipe(workcell, task, run)]
    return [*way, *_grasp(workcell, task, run), *_goal(workcell, task, run)]


def _poses(run: Rerun, frame: int) -> mujoco.MjData:
    data = mujoco.MjData(run.model)
    data.qpos[:] = run.qpos[frame]
    mujoco.mj_forward(run.model, data)
    return data


def _low(run: Rerun, data: mujoco.MjData, name: str) -> float:
    """Height of the lowest point of a body's colliders, by the distance to a plane at z = 0 (negative is below)."""
    body, low = run.model.body(name).id, np.inf
    for g in range(run.model.body_geomadr[body], run.model.body_geomadr[body] + run.model.body_geomnum[body]):
        if not (run.model.geom_contype[g] or run.model.geom_conaffinity[g]):
            continue
        z = data.geom_xmat[g].reshape(3, 3)[2]
        size = run.model.geom_size[g]
        kind = run.model.geom_type[g]
        if kind == mujoco.mjtGeom.mjGEOM_MESH:
            start = run.model.mesh_vertadr[run.model.geom_dataid[g]]
            count = run.model.mesh_vertnum[run.model.geom_dataid[g]]
            reach = float((run.model.mesh_vert[start : start + count] @ z).min())
        elif kind == mujoco.mjtGeom.mjGEOM_CYLINDER:
            reach = -float(size[0] * np.hypot(z[0], z[1]) + size[1] * abs(z[2]))
        elif kind == mujoco.mjtGeom.mjGEOM_SPHERE:
            reach = -float(size[0])
        else:
            reach = -float(np.abs(z) @ size)
        low = min(low, data.geom_xpos[g][2] + reach)
    return low


def _grasp(workcell: Workcell, task: Task, run: Rerun) -> list[str]:
    body = run.model.body(task.object).id
    fingers = [run.model.body(name).id for name in workcell.robot.gripper.finger_bodies]
    before = _low(run, _poses(run, 0), task.object)
    for frame, pairs in enumerate(run.touching):
        held = all((min(f, body), max(f, body)) in pairs for f in fingers)
        alone = all({a, b} <= {*fingers, body} or body not in (a, b) for a, b in pairs)
        if held and alone and _low(run, _poses(run, frame), task.object) > before + 0.01:
            return []
    return ["never carried 1 cm up between both fingers"]


def _tilt(run: Rerun, data: mujoco.MjData, name: str, first: mujoco.MjData) -> float:
    """Degrees between up then and up now, in the body's own frame."""
    was, now = first.body(name).xmat.reshape(3, 3)[2], data.body(name).xmat.reshape(3, 3)[2]
    return float(np.rad2deg(np.arccos(np.clip(was @ now, -1, 1))))


def _others(workcell: Workcell, task: Task, run: Rerun) -> list[str]:
    found, first, last = [], _poses(run, 0), _poses(run, -1)
    handled, targets = {step.object for step in task.steps}, {step.goal.target for step in task.steps}
    for name in (body.name for body in workcell.bodies):
        if name in handled:
            continue
        bound = 0.03 if name in targets else 0.02
        moved = float(np.linalg.norm(last.body(name).xpos - first.body(name).xpos))
        if moved > bound or _tilt(run, last, name, first) > 15:
            found.append(f"{name} moved {1000 * moved:.0f} mm or fell")
    return found


def _goal(workcell: Workcell, task: Task, run: Rerun) -> list[str]:
    goal, body = task.goal, run.model.body(task.object).id
    first, last = _poses(run, 0), _poses(run, -1)
    partners = {a + b - body for a, b in run.touching[-1] if body in (a, b)}
    robot = {i for i in range(run.model.nbody) if run.model.body(i).name.startswith("robot/")}
    things = {run.model.body(b.name).id for b in workcell.bodies}
    table = set(range(run.model.nbody)) - robot - things
    place = last.body(task.object).xpos
    if goal.family == "lift":
        rose = _low(run, last, task.object) - _low(run, first, task.object)
        held = len(partners & robot) == 2 and not partners - robot
        return [] if rose >= goal.height_m - 1e-3 and held else [f"rose {rose:.3f} m, touches {sorted(partners)}"]
    found = ["still in the robot's fingers"] if partners & robot else []
    slow = float(np.linalg.norm(run.qpos[-1] - run.qpos[-6]))
    if slow > 0.02:
        found.append("still moving at the end")
    if goal.family != "place_into" and _tilt(run, last, task.object, first) > 15:
        found.append("fell over")
    target = -1 if goal.target is None else run.model.body(goal.target).id
    if goal.family in ("place_region", "place_beside"):
        if not partners & table or partners & things:
            found.append("does not stand on the table by itself")
    elif target not in partners or partners & (table | (things - {target})):
        found.append("does not rest on the target alone")
    if goal.family == "place_region" and goal.center is not None:
        away = float(np.linalg.norm(place[:2] - goal.center))
        if away > goal.radius_m + SLACK_M:
            found.append(f"{away:.3f} m from the region's centre")
    if goal.family == "place_beside":
        gap = _distance(run, last, body, target)
        if gap > goal.radius_m + 0.03:  # in space, where the judge measures on the table
            found.append(f"{gap:.3f} m from the target")
    if goal.family == "place_into" and np.linalg.norm(place[:2] - last.body(target).xpos[:2]) > 0.1:
        found.append("beside the target, not in it")
    return found


def _distance(run: Rerun, data: mujoco.MjData, a: int, b: int) -> float:
    model, best = run.model, 1.0
    for g in range(model.body_geomadr[a], model.body_geomadr[a] + model.body_geomnum[a]):
        for h in range(model.body_geomadr[b], model.body_geomadr[b] + model.body_geomnum[b]):
            if model.geom_contype[g] and model.geom_contype[h]:
                best = min(best, mujoco.mj_geomDistance(model, data, g, h, 1.0, None))
    return float(best)
