"""One object, one grasp: lifted, or put down somewhere."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np

from blueprint.core.errors import IntegrityError
from blueprint.model.episode import Check
from blueprint.model.task import Goal, Task
from blueprint.skills.goals import rules
from blueprint.skills.goals.history import History, centroid, outline_distance
from blueprint.skills.goals.rules import UPRIGHT_DEG, Finding, check, share

TARGET_DISTURBED_M = 0.03
ON_TABLE_M = 0.01  # height of the lowest point of what stands on the table
ON_TOP_M = 0.01  # how far what lies on an object may sink below its highest point
BELOW_RIM_M = 0.01  # how far what lies in a container reaches below its rim


def findings(history: History, task: Task, company: Collection[str] = ()) -> Iterator[Finding]:
    """company: objects that the one of the task may end up touching, since the same task puts them there."""
    name, goal = task.object, task.goal
    carries = {goal.target: TARGET_DISTURBED_M} if goal.family in ("place_on", "place_into") and goal.target else {}
    yield from rules.blamed("collision", rules.collisions(history, {name}))
    yield from rules.blamed("grasp_missed", rules.grasp(history, name))
    yield from rules.blamed("dropped", rules.fall(history, name))
    yield from rules.blamed("disturbed", rules.neighbours(history, {name}, carries))
    yield from rules.blamed("missed_goal", reached(history, name, goal, company))
    yield from rules.blamed("missed_goal", rules.end(history, () if goal.family == "lift" else (name,)))


def reached(history: History, name: str, goal: Goal, company: Collection[str] = ()) -> Iterator[Check]:
    """Whether the object is, at the end, where the goal wants it. company: see `findings`."""
    if goal.family == "lift":
        lowest = history.lowest(name)
        yield check("goal: height", float(lowest[history.end].min() - lowest[0]), ">=", goal.height_m)
        yield check("goal: share of the end held", float(history.gripped(name)[history.end].mean()), "==", 1.0)
    elif goal.family == "place_region":
        yield from _region(history, name, goal, company)
    elif goal.target is None:
        raise IntegrityError(f"{goal.family} of {name} has no target to be placed at")
    elif goal.family == "place_beside":
        yield from _beside(history, name, goal, goal.target, company)
    else:
        yield from _with_target(history, name, goal, goal.target, company)


def _region(history: History, name: str, goal: Goal, company: Collection[str]) -> Iterator[Check]:
    if goal.center is None:
        raise IntegrityError(f"place_region of {name} has no center")
    yield from _on_table(history, name, company)
    away = np.linalg.norm(centroid(history.outline(name, -1)) - np.array(goal.center))
    yield check("goal: distance of its outline's centre from the region's", float(away), "<=", goal.radius_m)


def _beside(history: History, name: str, goal: Goal, target: str, company: Collection[str]) -> Iterator[Check]:
    yield from _on_table(history, name, company)
    gap = outline_distance(history.outline(name, -1), history.outline(target, -1))
    yield check("goal: gap to target", gap, "<=", goal.radius_m)


def _with_target(history: History, name: str, goal: Goal, target: str, company: Collection[str]) -> Iterator[Check]:
    body, carrier = [history.body[name]], history.id(target)
    rest = [*(history.table - {carrier}), *history.others(name, target, *company)]
    # in a container they may lie on each other; on top of something each stands on what it was put on
    under = [history.body[other] for other in company] if goal.family == "place_into" else []
    on = share(history, body, [carrier, *under])
    yield check("goal: share of the end on the target", on, "==", 1.0)
    yield check("goal: share of the end on anything else", share(history, body, rest), "==", 0.0)
    outside = outline_distance(centroid(history.outline(name, -1))[None], history.outline(target, -1))
    yield check("goal: centre outside the target's outline", outside, "<=", 0.0)
    points = history.points(target, -1) if target in history.body else history.fixed_points(target, -1)
    sunk = float(points[:, 2].max() - history.lowest(name)[-1])
    if goal.family == "place_on" and target not in history.body:  # which may have more above
        off = abs(float(history.lowest(name)[-1]) - goal.height_m)
        yield check("goal: lowest point off the height of the board", off, "<=", ON_TOP_M)
        yield check("goal: tilt", float(history.tilt_deg(name)[-1]), "<=", UPRIGHT_DEG)
    elif goal.family == "place_on":
        yield check("goal: lowest point below the target's top", sunk, "<=", ON_TOP_M)
        yield check("goal: tilt", float(history.tilt_deg(name)[-1]), "<=", UPRIGHT_DEG)
    else:
        yield check("goal: lowest point below the target's rim", sunk, ">=", BELOW_RIM_M)


def _on_table(history: History, name: str, company: Collection[str]) -> Iterator[Check]:
    body = [history.body[name]]
    yield check("goal: share of the end on the table", share(history, body, history.table), "==", 1.0)
    yield check("goal: share of the end leaning", share(history, body, history.others(name, *company)), "==", 0.0)
    yield check("goal: height above the table", abs(float(history.lowest(name)[-1])), "<=", ON_TABLE_M)
    yield check("goal: tilt", float(history.tilt_deg(name)[-1]), "<=", UPRIGHT_DEG)
