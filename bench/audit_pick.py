"""The audit of tasks of several steps, insertion, wiping and pouring, and of what happened on the way.

Written apart from the judge: it looks at the audit's own simulation, in world heights and gaps between geoms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import mujoco
import numpy as np
from numpy.typing import NDArray

from blueprint.model.artifacts import Workcell
from blueprint.model.task import Goal, Task

if TYPE_CHECKING:
    from bench.audit import Rerun

Array = NDArray[np.float64]

FREE_FALL_M = 0.035  # an object that sinks further with nothing of the robot and nothing below it was dropped
BUMP_N = {"fingers on the table": 22.0, "fingers on things": 6.0, "arm on anything": 2.5}


def on_the_way(workcell: Workcell, handled: set[str], run: Rerun) -> list[str]:
    """Drops and collisions. handled: names of the objects that the task has in hand."""
    return [*_drops(workcell, handled, run), *_bumps(workcell, handled, run)]


def _drops(workcell: Workcell, handled: set[str], run: Rerun) -> list[str]:
    found = []
    for name in sorted(handled & {body.name for body in workcell.bodies if body.movable}):
        body = run.model.body(name).id
        z = run.qpos[:, int(run.model.jnt_qposadr[run.model.body_jntadr[body]]) + 2]
        touched = np.array([any(body in pair for pair in pairs) for pairs in run.touching])
        high = None
        for frame, contact in enumerate(touched):
            if contact:
                if high is not None and high - z[frame] > FREE_FALL_M:
                    found.append(f"{name} fell {1000 * (high - z[frame]):.0f} mm up to frame {frame}")
                high = None
            elif high is None:
                high = z[max(frame - 1, 0)]
    return found


def _bumps(workcell: Workcell, handled: set[str], run: Rerun) -> list[str]:
    """The largest force of any frame between parts of the robot and what they have no business with."""
    names = [run.model.body(i).name for i in range(run.model.nbody)]
    fingers = {run.model.body(name).id for arm in workcell.robots for name in arm.gripper.finger_bodies}
    own = {run.model.body(name).id for name in handled}
    robot = {i for i, name in enumerate(names) if name.startswith("robot")}
    things = {i for i in range(run.model.nbody) if run.model.body_dofnum[i] == 6} - robot
    worst = dict.fromkeys(BUMP_N, 0.0)
    sums: dict[tuple[int, str], float] = {}
    for (frame, a, b), force in zip(run.contacts, run.forces, strict=True):
        if (a in robot) == (b in robot):
            continue
        part, other = (a, b) if a in robot else (b, a)
        kind = "arm on anything"
        if part in fingers:
            kind = "fingers on things" if other in things else "fingers on the table"
        if other not in own:
            sums[frame, kind] = sums.get((frame, kind), 0.0) + float(force)
    for (_, kind), force in sums.items():
        worst[kind] = max(worst[kind], force)
    return [f"{kind}: {force:.0f} N" for kind, force in worst.items() if force > BUMP_N[kind]]


def several(workcell: Workcell, task: Task, run: Rerun) -> list[str]:
    """Every thing was carried, in the order of the steps, and lies at the end where its last step wants it."""
    found, lifted_before = [], -1
    last_step = {step.object: step.goal for step in task.steps if step.goal.joint is None}
    for step in task.steps:
        if step.goal.joint is not None:
            continue
        frame = _first_lifted(workcell, step.object, run, lifted_before + 1)
        if frame is None:
            found.append(f"{step.object} was never carried after frame {lifted_before}")
        else:
            lifted_before = frame
    for name, goal in last_step.items():
        found += [f"{name}: {words}" for words in _placed(name, goal, set(last_step), run)]
    return found


def _first_lifted(workcell: Workcell, name: str, run: Rerun, begin: int) -> int | None:
    body = run.model.body(name).id
    z = run.qpos[:, int(run.model.jnt_qposadr[run.model.body_jntadr[body]]) + 2]
    fingers = {run.model.body(f).id for arm in workcell.robots for f in arm.gripper.finger_bodies}
    for frame in range(begin, len(run.touching)):
        partners = {a + b - body for a, b in run.touching[frame] if body in (a, b)}
        if len(partners) >= 2 and partners <= fingers and z[frame] > z[begin] + 0.01:
            return frame
    return None


def _placed(name: str, goal: Goal, company: set[str], run: Rerun) -> list[str]:
    data = mujoco.MjData(run.model)
    data.qpos[:] = run.qpos[-1]
    mujoco.mj_forward(run.model, data)
    body = run.model.body(name).id
    partners = {a + b - body for a, b in run.touching[-1] if body in (a, b)}
    words = {run.model.body(i).name for i in partners}
    robot = {word for word in words if word.startswith("robot")}
    place, target = data.body(name).xpos, goal.target
    if goal.family == "lift":
        return [] if len(robot) == 2 and words == robot else [f"held by {sorted(robot)}, touches {sorted(words)}"]
    found = ["in the robot's fingers"] if robot else []
    if goal.family in ("place_on", "place_into") and target is not None:
        away = place - data.body(target).xpos
        if not words & ({target} | (company if goal.family == "place_into" else set())):
            found.append(f"does not rest on {target} but on {sorted(words)}")
        if goal.family == "place_on" and away[2] < 0.01:
            found.append(f"is not above {target}")
        if np.linalg.norm(away[:2]) > 0.12:
            found.append(f"{np.linalg.norm(away[:2]):.2f} m beside {target}")
    elif goal.center is not None and np.linalg.norm(place[:2] - goal.center) > goal.radius_m + 0.01:
        found.append(f"{np.linalg.norm(place[:2] - goal.center):.3f} m from its region's centre")
    return found


def wipe(workcell: Workcell, task: Task, run: Rerun) -> list[str]:
    """Marks left by the block's bounding rectangle wherever it touches the table while a finger touches it."""
    model, goal, body = run.model, task.goal, run.model.body(task.object).id
    fingers = {model.body(f).id for arm in workcell.robots for f in arm.gripper.finger_bodies}
    table = model.body("table").id
    start = int(model.jnt_qposadr[model.body_jntadr[body]])
    half = np.max(
        [
            np.abs(model.geom_pos[g]) + model.geom_aabb[g, 3:]
            for g in range(model.body_geomadr[body], model.body_geomadr[body] + model.body_geomnum[body])
        ],
        axis=0,
    )
    side = np.linspace(-1, 1, 41) * goal.radius_m
    spots = np.array([(x, y) for x in side for y in side if np.hypot(x, y) <= goal.radius_m]) + np.array(goal.center)
    wiped = np.zeros(len(spots), dtype=bool)
    for pairs, qpos in zip(run.touching, run.qpos, strict=True):
        partners = {a + b - body for a, b in pairs if body in (a, b)}
        if table in partners and partners & fingers:
            turn = np.zeros(9)
            mujoco.mju_quat2Mat(turn, qpos[start + 3 : start + 7])
            local = (spots - qpos[start : start + 2]) @ turn.reshape(3, 3)[:2, :2]
            wiped |= (np.abs(local) <= half[:2]).all(axis=1)
    found = [] if wiped.mean() >= goal.value - 0.02 else [f"only {wiped.mean():.0%} of the region was wiped"]
    if any(body in pair and {*pair} & fingers for pair in run.touching[-1]):
        found.append("still in the robot's fingers")
    return found


def pour(task: Task, run: Rerun) -> list[str]:
    """Grains near the target's middle at the end, none of them farther down than its floor; the vessel went up."""
    model, last = run.model, run.qpos[-1]
    address = {
        model.body(int(model.jnt_bodyid[j])).name: int(model.jnt_qposadr[j])
        for j in range(model.njnt)
        if model.jnt_type[j] == mujoco.mjtJoint.mjJNT_FREE
    }
    grains = np.array([last[at : at + 3] for name, at in address.items() if name.startswith("grain_")])
    bowl = last[address[str(task.goal.target)] :][:3]
    near = (np.linalg.norm(grains[:, :2] - bowl[:2], axis=1) < 0.1) & (np.abs(grains[:, 2] - bowl[2]) < 0.06)
    lost = (grains[:, 2] < -0.01) | (np.linalg.norm(grains[:, :2] - bowl[:2], axis=1) > 0.15)
    found = [] if near.mean() >= task.goal.value else [f"{near.mean():.0%} of the grains are in {task.goal.target}"]
    if lost.mean() > 0.1:
        found.append(f"{lost.mean():.0%} of the grains are lost")
    if np.ptp(run.qpos[:, address[task.object] + 2]) < 0.05:
        found.append("the vessel was never lifted")
    return found
