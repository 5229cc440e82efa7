"""Wiping: how much of a disc of the table the held block has gone over, pressed, but not too hard."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from blueprint.core.errors import IntegrityError
from blueprint.model.task import Task
from blueprint.skills.goals import rules
from blueprint.skills.goals.history import Array, Bools, History
from blueprint.skills.goals.rules import Finding, check

GRID_M = 0.004
# A frame counts from the first. The second is too hard in any frame: a block wedged between a finger and the table is
# pressed with the whole grip, 60 N and more.
LEAST_N, MOST_N = 0.5, 50.0
FLAT_DEG = 8.0


def findings(history: History, task: Task) -> Iterator[Finding]:
    name, goal = task.object, task.goal
    if goal.center is None:
        raise IntegrityError(f"wipe with {name} has no region")
    yield from rules.blamed("collision", rules.collisions(history, {name}))
    yield from rules.blamed("grasp_missed", rules.grasp(history, name))
    yield from rules.blamed("dropped", rules.fall(history, name))
    yield from rules.blamed("disturbed", rules.neighbours(history, {name}))
    force = history.force([history.body[name]], history.table)
    wiping = history.gripped(name) & (force >= LEAST_N) & (history.tilt_deg(name) <= FLAT_DEG)
    yield "collision", check("force on the table", float(force.max()), "<=", MOST_N)
    covered = _covered(history, name, np.array(goal.center), goal.radius_m, wiping)
    yield "missed_goal", check("goal: share of the region wiped", covered, ">=", goal.value)
    yield from rules.blamed("missed_goal", rules.end(history, (name,)))


def _covered(history: History, name: str, center: Array, radius: float, wiping: Bools) -> float:
    """Share of the disc's points that lay below the block in some frame of wiping."""
    ticks = np.arange(-radius, radius + 1e-9, GRID_M)
    points = np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)
    points = points[np.linalg.norm(points, axis=1) <= radius] + center
    covered = np.zeros(len(points), dtype=bool)
    for frame in np.flatnonzero(wiping):
        outline = history.outline(name, int(frame))
        edges = np.roll(outline, -1, axis=0) - outline
        normals = np.column_stack([edges[:, 1], -edges[:, 0]])
        covered |= (((points[:, None] - outline[None]) * normals[None]).sum(axis=2) <= 0.0).all(axis=1)
    return float(covered.mean())
