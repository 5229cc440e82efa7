"""Something slid on the table: pushed without a grip, or dragged by one, never lifted, into a region.

push: the fingers stay closed whenever both touch it. pull: both fingers hold it while it moves, and it ends nearer to a
robot than it began.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from blueprint.core.errors import IntegrityError
from blueprint.model.episode import Check
from blueprint.model.task import Goal, Task
from blueprint.skills.goals import rules
from blueprint.skills.goals.history import Bools, History, centroid
from blueprint.skills.goals.rules import HELD_FRAMES, OFF_SUPPORT_M, UPRIGHT_DEG, Finding, check, longest, share

AJAR_M = 0.004  # of each finger's travel: more and something may be between them
NEARER_M = 0.04  # to a robot's base, by which a pull brings the thing
PUSH_N = 60.0  # of the robot on a thing that is pushed
CHATTER_M = 0.0005  # what slides under a hand leaves the table by less than that for a frame
SLIDES_SHARE = 0.9  # of the frames in which it moves, a thing that is dragged bears on what it stands on
MOVES_M_S = 0.045  # slower is no motion: 3 mm per frame at 15 Hz


def findings(history: History, task: Task) -> Iterator[Finding]:
    name, goal = task.object, task.goal
    yield from rules.blamed("collision", rules.collisions(history, {name}))
    yield from rules.blamed("missed_goal", _elsewhere(history, name, goal))
    if goal.family == "push":
        yield from rules.blamed("gripped", _never_gripped(history, name))
    else:
        yield from rules.blamed("grasp_missed", _gripped(history, name))
    yield from rules.blamed("lifted", _never_lifted(history, name))
    yield from rules.blamed("disturbed", rules.neighbours(history, {name}))
    yield from rules.blamed("missed_goal", _reached(history, name, goal))
    yield from rules.blamed("missed_goal", rules.end(history, (name,)))


def _off(history: History, name: str, goal: Goal, frame: int) -> float:
    if goal.center is None:
        raise IntegrityError(f"{goal.family} of {name} has no center")
    return float(np.linalg.norm(centroid(history.outline(name, frame)) - np.array(goal.center)))


def _elsewhere(history: History, name: str, goal: Goal) -> Iterator[Check]:
    """What already lies there needs no pushing."""
    yield check("start: distance from the region's centre", _off(history, name, goal, 0), ">=", goal.radius_m)


def _ajar(history: History) -> Bools:
    """(T,) whether a finger of any hand is away from where it is closed."""
    model, found = history.model, np.zeros(history.frames, dtype=bool)
    for robot in history.evidence.robots:
        count, table = len(robot.gripper.finger_joints), np.array(robot.gripper.finger_positions)
        rest, bounds, travel = np.zeros(count), np.full(count, AJAR_M), np.ones(count)
        if len(table):  # a linkage: joints that turn with the opening, and others that hardly do
            at = np.array([np.interp(2 * AJAR_M, robot.gripper.openings_m, column) for column in table.T])
            rest, bounds, travel = table[0], np.abs(at - table[0]), np.abs(table[-1] - table[0])
        for k in np.flatnonzero(travel > 0.9 * travel.max()):
            try:
                address = int(model.jnt_qposadr[model.joint(robot.gripper.finger_joints[k]).id])
            except KeyError as error:
                raise IntegrityError(str(error)) from error
            found |= np.abs(history.evidence.qpos[:, address] - rest[k]) > bounds[k]
    return found


def _never_gripped(history: History, name: str) -> Iterator[Check]:
    between = history.gripped(name) & _ajar(history)
    yield check("push: frames in which both open fingers touch it", float(between.sum()), "==", 0.0)
    pushed = history.touching(history.robot, [history.body[name]])
    yield check("push: frames in which the robot touches it", float(pushed.sum()), ">=", HELD_FRAMES)
    force = float(history.force(history.robot, [history.body[name]]).max())
    yield check("push: force on it", force, "<=", PUSH_N)


def _gripped(history: History, name: str) -> Iterator[Check]:
    """Every motion of the thing is made by a hand that holds it."""
    gripped = history.gripped(name)
    yield check("grip: frames held by both fingers", longest(gripped), ">=", HELD_FRAMES)
    steps = np.linalg.norm(np.diff(history.position(name)[:, :2], axis=0), axis=1)
    moving = np.append(steps > MOVES_M_S / history.evidence.fps, False)
    loose = float((moving & ~gripped).sum())
    yield check("grip: frames in which it moves by itself", loose, "==", 0.0)
    low = history.lowest(name) - history.lowest(name)[0] <= CHATTER_M
    bears = low | history.touching([history.body[name]], [*history.table, *history.others(name)])
    slid = float(bears[moving].mean()) if moving.any() else 0.0
    yield check("grip: share of its motion in which it bears on the table", slid, ">=", SLIDES_SHARE)


def _never_lifted(history: History, name: str) -> Iterator[Check]:
    rise = history.lowest(name) - history.lowest(name)[0]
    yield check("height above where it stood", float(rise.max()), "<=", OFF_SUPPORT_M)
    yield check("tilt on the way", float(history.tilt_deg(name).max()), "<=", UPRIGHT_DEG)


def _reached(history: History, name: str, goal: Goal) -> Iterator[Check]:
    body = [history.body[name]]
    yield check("goal: share of the end on the table", share(history, body, history.table), "==", 1.0)
    yield check(
        "goal: distance of its outline's centre from the region's", _off(history, name, goal, -1), "<=", goal.radius_m
    )
    if goal.family == "pull":
        bases = np.array([robot.base.position[:2] for robot in history.evidence.robots])
        away = np.linalg.norm(bases[:, None] - history.position(name)[None, [0, -1], :2], axis=2)
        yield check("goal: nearer to a robot by", float((away[:, 0] - away[:, 1]).max()), ">=", NEARER_M)
