"""Two hands: an object passed from one to the other in the air, or carried level by both."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from blueprint.model.episode import Check
from blueprint.model.task import Task
from blueprint.skills.goals import pick, rules
from blueprint.skills.goals.history import Bools, History
from blueprint.skills.goals.rules import HELD_FRAMES, OFF_SUPPORT_M, Finding, check, longest

TILT_DEG = 10.0  # of what two arms carry
BOTH_SHARE = 0.95  # of the frames in the air; as it leaves and meets the table one hand may bear it for a moment


def findings(history: History, task: Task) -> Iterator[Finding]:
    name = task.object
    goal = task.goal.model_copy(update={"family": "place_region"})
    yield from rules.blamed("collision", rules.collisions(history, {name}))
    yield from rules.blamed(
        "grasp_missed", passed(history, name) if task.goal.family == "handover" else carried(history, name)
    )
    yield from rules.blamed("dropped", rules.fall(history, name))
    yield from rules.blamed("disturbed", rules.neighbours(history, {name}))
    yield from rules.blamed("missed_goal", pick.reached(history, name, goal))
    yield from rules.blamed("missed_goal", rules.end(history, (name,)))


def passed(history: History, name: str) -> Iterator[Check]:
    """Held by one hand alone, then by two, then by the other alone, and never set down in between."""
    hands, air = _hands(history, name), _in_the_air(history, name)
    best = 0
    for one in range(len(hands)):
        for other in range(len(hands)):
            if one != other:
                best = max(best, _shortest_phase(hands[one] & air, hands[other] & air, air))
    yield check("handover: frames of the shortest of its three holds, in the air", best, ">=", HELD_FRAMES)


def carried(history: History, name: str) -> Iterator[Check]:
    """In the air it is held by two hands, and it stays level."""
    hands, air = _hands(history, name), _in_the_air(history, name)
    both = np.sum(hands, axis=0) >= 2
    yield check("carry: frames held by two hands alone, in the air", longest(both & air), ">=", HELD_FRAMES)
    share = float(both[air].mean()) if air.any() else 0.0
    yield check("carry: share of the frames in the air with two hands on it", share, ">=", BOTH_SHARE)
    yield check("carry: largest tilt", float(history.tilt_deg(name).max()), "<=", TILT_DEG)


def _hands(history: History, name: str) -> list[Bools]:
    """Per hand, (T,) whether both of its fingers touch the object."""
    body = [history.body[name]]
    return [np.logical_and.reduce([history.touching(finger, body) for finger in hand]) for hand in history.fingers]


def _in_the_air(history: History, name: str) -> Bools:
    """(T,) off its support and touched by nothing but hands."""
    rest = [body for body in range(history.model.nbody) if body not in history.hand | {history.body[name]}]
    lifted = history.lowest(name) - history.lowest(name)[0] >= OFF_SUPPORT_M
    return lifted & ~history.touching([history.body[name]], rest)


def _shortest_phase(one: Bools, other: Bools, air: Bools) -> int:
    """Frames of the shortest of: one hand alone, both, the other alone; 0 unless they follow in one flight."""
    best = 0
    edges = np.flatnonzero(np.diff(np.concatenate([[False], air, [False]]).astype(np.int8)))
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        a, b = one[begin:end], other[begin:end]
        both = np.flatnonzero(a & b)
        if len(both):
            before, after = (a & ~b)[: both[0]], (b & ~a)[both[-1] + 1 :]
            best = max(best, min(int(before.sum()), len(both), int(after.sum())))
    return best
