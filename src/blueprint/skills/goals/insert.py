"""A peg in its socket: deep enough, upright, let go, and never forced."""

from __future__ import annotations

from collections.abc import Iterator

from blueprint.core.errors import IntegrityError
from blueprint.model.task import Task
from blueprint.skills.goals import rules
from blueprint.skills.goals.history import History, centroid, outline_distance
from blueprint.skills.goals.rules import Finding, check, share

SOCKET_MOVED_M = 0.02
TILT_DEG = 4.0
FORCE_N = 60.0  # between peg and socket: what ISO/TS 15066 lets a robot press against a hand for longer, about half


def findings(history: History, task: Task) -> Iterator[Finding]:
    name, goal = task.object, task.goal
    if goal.target is None:
        raise IntegrityError(f"insert of {name} has no socket")
    yield from rules.blamed("collision", rules.collisions(history, {name}))
    yield from rules.blamed("grasp_missed", rules.grasp(history, name))
    yield from rules.blamed("dropped", rules.fall(history, name))
    yield from rules.blamed("disturbed", rules.neighbours(history, {name}, {goal.target: SOCKET_MOVED_M}))
    peg, socket = [history.body[name]], [history.body[goal.target]]
    yield "collision", check("force: peg against socket", float(history.force(peg, socket).max()), "<=", FORCE_N)
    depth = float(history.points(goal.target, -1)[:, 2].max() - history.lowest(name)[-1])
    yield "missed_goal", check("goal: depth below the rim", depth, ">=", goal.height_m)
    outside = outline_distance(centroid(history.outline(name, -1))[None], history.outline(goal.target, -1))
    yield "missed_goal", check("goal: centre outside the socket's outline", outside, "<=", 0.0)
    yield "missed_goal", check("goal: tilt", float(history.tilt_deg(name)[-1]), "<=", TILT_DEG)
    rest = history.others(name, goal.target)
    yield "missed_goal", check("goal: share of the end on anything else", share(history, peg, rest), "==", 0.0)
    yield from rules.blamed("missed_goal", rules.end(history, (name,)))
