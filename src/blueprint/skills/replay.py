"""An episode run again from what was recorded of it, open loop: its start, its actions, and what made it differ.

Nothing is planned and nothing looked at on the way. On the machine and the packages that recorded it, the states are
equal to the last bit; elsewhere the judge says whether the same actions still do the task.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from blueprint.backends.protocols import Simulator
from blueprint.model.artifacts import Workcell
from blueprint.model.task import Task
from blueprint.model.variation import Variation
from blueprint.skills.cell import Cell
from blueprint.skills.goals import Evidence, Verdict, judge
from blueprint.skills.planning.obstacles import mover_of
from blueprint.skills.rollout import Rollout

Array = NDArray[np.float64]


def rerun(
    workcell: Workcell,
    model: Path,
    variation: Variation | None,
    start: Array,
    actions: NDArray[np.float32],
    fps: int,
    simulator: Simulator,
) -> Rollout:
    """model: MJCF of the episode, the workcell's or that of its variation; start: (nq,); actions: (T, n) as recorded.

    Raises InputError where model, start and actions do not belong together.
    """
    absent, physics, movers = (variation.absent, variation.physics, variation.movers) if variation else ((), None, ())
    cell = Cell.load(model, workcell.robots, tuple(name for name in workcell.objects if name not in absent))
    simulation = simulator.open(model, start, physics)
    rollout = Rollout(simulation, cell, fps, movers=tuple(mover_of(one) for one in movers))
    rollout.repeat(actions)
    return rollout


def judged(task: Task, rollout: Rollout) -> Verdict:
    """The judge's word on a rollout, as it is so far."""
    arrays, cell = rollout.arrays(), rollout.cell
    robots = tuple(view.robot for view in cell.views)
    qpos, contacts, forces = (arrays[name] for name in ("qpos", "contacts", "force"))
    evidence = Evidence(cell.model, robots, cell.objects, qpos, contacts, forces, rollout.fps, arrays["action"])
    return judge(task, evidence)
