"""Pouring: where the grains are at the end, and whether the vessel was carried and nothing else disturbed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.spatial import Delaunay

from blueprint.core.errors import IntegrityError
from blueprint.model.scene import GRAIN
from blueprint.model.task import Task
from blueprint.skills.goals import rules
from blueprint.skills.goals.history import Array, History
from blueprint.skills.goals.rules import HELD_FRAMES, OFF_SUPPORT_M, Finding, check, longest

SPILT = 0.05  # share of the grains that may lie anywhere else than in the two vessels
TARGET_MOVED_M = 0.03


def findings(history: History, task: Task) -> Iterator[Finding]:
    name, goal = task.object, task.goal
    grains = [body for body in range(history.model.nbody) if history.model.body(body).name.startswith(GRAIN)]
    if goal.target is None or not grains:
        raise IntegrityError(f"pour from {name} has no target or no grains")
    history.table = history.table - {*grains}
    yield from rules.blamed("collision", rules.collisions(history, {name}))
    elsewhere = [*history.table, *history.others(name)]
    lifted = history.lowest(name) - history.lowest(name)[0] >= OFF_SUPPORT_M
    held = history.gripped(name) & ~history.touching([history.body[name]], elsewhere) & lifted
    yield "grasp_missed", check("grasp: frames held by both fingers alone", longest(held), ">=", HELD_FRAMES)
    yield from rules.blamed("dropped", rules.fall(history, name))
    yield from rules.blamed("disturbed", rules.neighbours(history, {name}, {goal.target: TARGET_MOVED_M}))
    at = np.array([history.evidence.qpos[[0, -1], _address(history, body) :][:, :3] for body in grains])
    begun = _inside(history, name, at[:, 0], 0).mean()
    yield "unstable_start", check("start: share of the grains in the vessel", float(begun), ">=", 1.0 - SPILT)
    arrived, kept = _inside(history, goal.target, at[:, 1], -1), _inside(history, name, at[:, 1], -1)
    yield "missed_goal", check("goal: share of the grains in the target", float(arrived.mean()), ">=", goal.value)
    spilt = float((~arrived & ~kept).mean())
    yield "missed_goal", check("goal: share of the grains spilt", spilt, "<=", SPILT)
    yield from rules.blamed("missed_goal", rules.end(history, ()))


def _address(history: History, body: int) -> int:
    return int(history.model.jnt_qposadr[history.model.body_jntadr[body]])


def _inside(history: History, name: str, spots: Array, frame: int) -> np.ndarray:
    """(N,) whether each spot (N, 3) lies in the convex hull of an object in a frame."""
    return Delaunay(history.points(name, frame)).find_simplex(spots) >= 0
