"""Something on a joint: opened, closed, turned, pressed. Read from the joint's value and from who pressed on what."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial.transform import Rotation

from blueprint.core.errors import IntegrityError
from blueprint.model.episode import Check
from blueprint.model.task import Goal, Task
from blueprint.skills.goals import rules
from blueprint.skills.goals.history import Array, History
from blueprint.skills.goals.rules import DISTURBED_M, START_S, UPRIGHT_DEG, Finding, check

if TYPE_CHECKING:
    import mujoco

STARTS_SHARE = 0.3  # of the way: how near to where the task begins the joint must be at the start
TURN_RAD = 0.12  # how exactly a dial must be turned
STILL_SHARE = 0.01  # of the range, that a joint at rest may move at the end
OTHER_RAD, OTHER_M = 0.05, 0.004  # how far joints that the task does not name may move
SPRUNG_SHARE = 0.2  # of the way that it was pressed, within which a button must have come back
PUSH_N = 60.0  # on the part, beyond what a closed hand squeezes: drawers and doors of furniture need 5-40 N
MOST_M = 0.03  # how far the whole thing may be shifted while a part of it is moved


def findings(history: History, task: Task) -> Iterator[Finding]:
    goal = task.goal
    if goal.joint is None:
        raise IntegrityError(f"{goal.family} of {task.object} names no joint")
    joint = _joint(history, goal.joint)
    part = _carried(history, int(history.model.jnt_bodyid[joint]))
    yield from rules.blamed("unstable_start", _start(history, joint, goal))
    yield from rules.blamed("collision", rules.collisions(history, set(), part))
    yield from rules.blamed("excess_force", _forces(history, part))
    riders = _riders(history, part)
    yield from rules.blamed("disturbed", rules.neighbours(history, riders))
    yield from rules.blamed("disturbed", _kept(history, int(history.model.jnt_bodyid[joint]), riders))
    yield from rules.blamed("disturbed", _others(history, joint))
    yield from rules.blamed("missed_goal", _reached(history, joint, goal))
    yield from rules.blamed("missed_goal", _end(history, joint, part))


def _joint(history: History, name: str) -> int:
    try:
        return int(history.model.joint(name).id)
    except KeyError as error:
        raise IntegrityError(str(error)) from error


def _carried(history: History, body: int) -> frozenset[int]:
    """The body and everything that hangs on it."""
    inside = {body}
    for other in range(body + 1, history.model.nbody):
        if int(history.model.body_parentid[other]) in inside:
            inside.add(other)
    return frozenset(inside)


def _riders(history: History, part: frozenset[int]) -> list[str]:
    """Objects that lie in or on the part all through the start, and on nothing else."""
    frames = slice(0, max(2, 1 + round(START_S * history.evidence.fps)))
    rest = [body for body in range(history.model.nbody) if body not in part]
    return [
        name
        for name, body in history.body.items()
        if history.touching([body], part)[frames].all() and not history.touching([body], rest)[frames].any()
    ]


def _kept(history: History, part: int, riders: list[str]) -> Iterator[Check]:
    """What lies in the part goes with it: it is disturbed by what it moves in the part's own frame."""
    for name in riders:
        away = zip(history.position(name), map(history.posed, range(history.frames)), strict=True)
        inside = np.array([(at - data.xpos[part]) @ data.xmat[part].reshape(3, 3) for at, data in away])
        moved = float(np.linalg.norm(inside - inside[0], axis=1).max())
        yield check(f"disturbance: {name} moved in the part", moved, "<=", DISTURBED_M)
        yield check(f"disturbance: {name} tilted", float(history.tilt_deg(name).max()), "<=", UPRIGHT_DEG)


def _values(history: History, joint: int) -> Array:
    """(T,) of a hinge or a slide [rad or m]."""
    return history.evidence.qpos[:, int(history.model.jnt_qposadr[joint])]


def _range(model: mujoco.MjModel, joint: int) -> float:
    return float(np.ptp(model.jnt_range[joint])) if model.jnt_limited[joint] else 2 * np.pi


def _start(history: History, joint: int, goal: Goal) -> Iterator[Check]:
    values = _values(history, joint)[: max(2, 1 + round(START_S * history.evidence.fps))]
    bound = STILL_SHARE * _range(history.model, joint)
    yield check("start: motion of the joint", float(np.ptp(values)), "<=", bound)
    off = abs(float(values[0]) - goal.value_start)
    yield check("start: off where the task begins", off, "<=", STARTS_SHARE * abs(goal.value - goal.value_start))


def _forces(history: History, part: frozenset[int]) -> Iterator[Check]:
    """Squeezed between both fingers a handle bears twice the grip beside what moves it."""
    squeeze = np.zeros(history.frames)
    for robot, hand in zip(history.evidence.robots, history.fingers, strict=True):
        try:
            actuator = history.model.actuator(robot.gripper.actuator).id
            grip = float(np.abs(history.model.actuator_forcerange[actuator]).max())
        except KeyError as error:
            raise IntegrityError(str(error)) from error
        both = np.logical_and.reduce([history.touching(finger, part) for finger in hand])
        squeeze = np.maximum(squeeze, np.where(both, 2 * grip, 0.0))
    force = history.force(history.robot, part) - squeeze
    yield check("force on the part beyond the grip", float(force.max()), "<=", PUSH_N)


def _others(history: History, joint: int) -> Iterator[Check]:
    """All other joints keep their values, and what the part belongs to its place."""
    import mujoco

    model = history.model
    handled = {int(model.body_jntadr[body]) for body in history.body.values()}
    for other in range(model.njnt):
        body = int(model.jnt_bodyid[other])
        if other == joint or body in history.robot or other in handled:
            continue
        name, kind = model.joint(other).name, mujoco.mjtJoint(int(model.jnt_type[other]))
        if kind == mujoco.mjtJoint.mjJNT_FREE:
            at = int(model.jnt_qposadr[other])
            rows = history.evidence.qpos[:, at : at + 7]
            moved = float(np.linalg.norm(rows[:, :3] - rows[0, :3], axis=1).max())
            bound = MOST_M if body in _ancestors(model, joint) else DISTURBED_M
            yield check(f"disturbance: {name} moved", moved, "<=", bound)
            yield check(f"disturbance: {name} tilted", _tilt_deg(rows[:, 3:]), "<=", UPRIGHT_DEG)
        elif kind in (mujoco.mjtJoint.mjJNT_HINGE, mujoco.mjtJoint.mjJNT_SLIDE):
            values = _values(history, other)
            bound = OTHER_RAD if kind == mujoco.mjtJoint.mjJNT_HINGE else OTHER_M
            yield check(f"disturbance: {name} moved", float(np.abs(values - values[0]).max()), "<=", bound)


def _ancestors(model: mujoco.MjModel, joint: int) -> set[int]:
    """Bodies that carry the joint's."""
    body, found = int(model.jnt_bodyid[joint]), set[int]()
    while body:
        found.add(body)
        body = int(model.body_parentid[body])
    return found


def _tilt_deg(quat_wxyz: Array) -> float:
    turn = Rotation.from_quat(quat_wxyz, scalar_first=True).as_matrix()
    up = turn @ turn[0].T @ np.array([0.0, 0.0, 1.0])
    return float(np.rad2deg(np.arccos(np.clip(up[:, 2], -1.0, 1.0))).max())


def _reached(history: History, joint: int, goal: Goal) -> Iterator[Check]:
    """How far the joint is short of `value`, seen from `value_start`."""
    values, sign = _values(history, joint), float(np.sign(goal.value - goal.value_start))
    if goal.family == "turn":
        off = np.abs(values[history.end] - goal.value)
        yield check("goal: off the wanted angle", float(off.max()), "<=", TURN_RAD)
        return
    short = sign * (goal.value - values)
    if goal.family == "press":
        yield check("goal: short of being pressed, at its best", float(short.min()), "<=", 0.0)
        left = float(np.abs(values[history.end] - values[0]).max())
        if float(np.max(history.model.jnt_stiffness[joint])) > 0:
            yield check("goal: not come back", left, "<=", SPRUNG_SHARE * abs(goal.value - goal.value_start))
    else:
        yield check("goal: short of the wanted value", float(short[history.end].max()), "<=", 0.0)


def _end(history: History, joint: int, part: frozenset[int]) -> Iterator[Check]:
    yield check("end: share not released", rules.share(history, part, history.robot), "==", 0.0)
    values = _values(history, joint)[history.end]
    yield check("end: motion of the joint", float(np.ptp(values)), "<=", STILL_SHARE * _range(history.model, joint))
    yield from rules.end(history, ())
