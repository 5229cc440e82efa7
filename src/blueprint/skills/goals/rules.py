"""Checks that many goals share: a start at rest, no collisions, a real grasp, nothing dropped, nobody disturbed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

import numpy as np

from blueprint.model.episode import Check, Comparison, FailureCause, holds
from blueprint.skills.goals.history import Bools, History

Finding = tuple[FailureCause, Check]

HELD_FRAMES = 3
OFF_SUPPORT_M = 0.005  # how far an object must rise while held; more than contact softness and chatter
START_S = 0.3  # the start is judged over this long: before the arm can have arrived
STILL_M = 0.002  # motion of any point of an object that counts as rest
UPRIGHT_DEG = 15.0
FALL_M = 0.03
DISTURBED_M = 0.02
# Contact force at which a Panda's collision reflex stops it in the manufacturer's examples (libfranka
# `setDefaultBehavior`, 20 N): finger tips may brush the table up to it.
BRUSH_N = 20.0
NUDGE_N = 5.0  # fingers against an object that is not the task's: less than it takes to push a full can or bottle
ARM_N = 2.0  # anything else of the robot against anything
SHARE = 1.01  # of what the datasheet allows, by finite differences of commands kept as float32


def blamed(cause: FailureCause, checks: Iterable[Check]) -> Iterator[Finding]:
    """What to call the failure of any of these checks."""
    return ((cause, check) for check in checks)


def start(history: History) -> Iterator[Check]:
    frames = slice(0, max(2, 1 + round(START_S * history.evidence.fps)))
    for name in history.body:
        yield check(f"start: motion of {name}", history.motion(name, frames), "<=", STILL_M)


def limits(history: History) -> Iterator[Check]:
    """What every arm was commanded keeps to its datasheet; it is at home before, and stands still after."""
    column, fps, action = 0, history.evidence.fps, history.evidence.action
    if action is None:
        return
    for robot in history.evidence.robots:
        own = action[:, column : column + len(robot.joints)].astype(float)
        column += len(robot.joints) + 1
        told = np.concatenate([np.tile(robot.home, (3, 1)), own, np.tile(own[-1], (3, 1))])
        bounds = (robot.velocity_limits, robot.acceleration_limits, robot.jerk_limits)
        for order, (what, bound) in enumerate(zip(("velocity", "acceleration", "jerk"), bounds, strict=True), 1):
            most = (np.abs(np.diff(told, order, axis=0)) * fps**order / np.array(bound)).max()
            yield check(f"limits: {what} commanded of {robot.name}, share of the datasheet's", most, "<=", SHARE)


def collisions(history: History, handled: Collection[str], pressed: Collection[int] = ()) -> Iterator[Check]:
    """handled: objects that the task has in hand; pressed: fixed bodies (ids) that the hand must work on."""
    fingers = history.all_fingers
    own = {history.body[name] for name in handled} | {*pressed}
    table = history.table - {*pressed}
    everything = {*history.table, *history.body.values()}
    pairs = (
        ("fingers against table", fingers, table, BRUSH_N),
        ("fingers against other objects", fingers, history.others(*handled), NUDGE_N),
        ("hand against table and other objects", history.hand - fingers, everything - own, ARM_N),
        ("arm against anything", history.robot - history.hand, everything, ARM_N),
    )
    for name, some, others, bound in pairs:
        yield check(f"collision: {name}", float(history.force(some, others).max()), "<=", bound)
    if history.movers:
        met = history.touching(history.robot | {*history.body.values()}, history.movers)
        yield check("collision: frames in which what moves by itself is touched", float(met.sum()), "==", 0.0)


def grasp(history: History, name: str) -> Iterator[Check]:
    elsewhere = [body for body in range(history.model.nbody) if body not in history.hand | {history.body[name]}]
    lifted = history.lowest(name) - history.lowest(name)[0] >= OFF_SUPPORT_M
    held = history.gripped(name) & ~history.touching([history.body[name]], elsewhere) & lifted
    yield check("grasp: frames held by both fingers alone", longest(held), ">=", HELD_FRAMES)


def fall(history: History, name: str) -> Iterator[Check]:
    """How far it fell where neither both fingers nor a support held it, also between two frames."""
    gripped, lowest = history.gripped(name), history.lowest(name)
    secure = gripped | history.touching([history.body[name]], [*history.table, *history.others(name)])
    frames = np.unique(np.append(np.flatnonzero(secure), history.frames - 1))
    before, after = frames[:-1], frames[1:]
    carried = gripped[before] & gripped[after] & (after == before + 1)
    falls = np.where(carried, 0.0, lowest[before] - lowest[after])
    yield check("fall between fingers and support", falls.max(initial=0.0), "<=", FALL_M)


def neighbours(history: History, handled: Collection[str], bounds_m: dict[str, float] | None = None) -> Iterator[Check]:
    """Objects that the task does not handle stay. bounds_m: of those that may move more than usual."""
    for name in history.body:
        if name in handled:
            continue
        moved = np.linalg.norm(history.position(name) - history.position(name)[0], axis=1).max()
        bound = (bounds_m or {}).get(name, DISTURBED_M)
        yield check(f"disturbance: {name} moved", float(moved), "<=", bound)
        yield check(f"disturbance: {name} tilted", float(history.tilt_deg(name).max()), "<=", UPRIGHT_DEG)


def end(history: History, released: Iterable[str]) -> Iterator[Check]:
    """Everything is at rest; the robot touches none of `released`."""
    for name in released:
        held = share(history, [history.body[name]], history.robot)
        yield check("end: share not released", held, "==", 0.0)
    for name in history.body:
        yield check(f"end: motion of {name}", history.motion(name, history.end), "<=", STILL_M)


def share(history: History, some: Iterable[int], others: Iterable[int]) -> float:
    """Of the end's frames, that in which the two groups of bodies touch."""
    return float(history.touching(some, others)[history.end].mean())


def check(name: str, measured: float, comparison: Comparison, bound: float) -> Check:
    measured = float(measured)
    passed = holds(measured, comparison, bound)
    return Check(name=name, measured=measured, bound=float(bound), comparison=comparison, passed=passed)


def longest(true: Bools) -> int:
    """Length of the longest run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], true, [False]]).astype(np.int8)))
    return int((edges[1::2] - edges[::2]).max(initial=0))
