"""What tasks share in which a grasped thing is used: a way is a grasp, proven in a short trial, and what follows it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from blueprint.model.task import Task
from blueprint.skills.grasping.approach import Approach
from blueprint.skills.grasping.trials import Trials
from blueprint.skills.rollout import Rollout
from blueprint.skills.scene import TaskScene

Array = NDArray[np.float64]

WAYS_TRIED = 30  # grasps looked at per start


@dataclass(frozen=True)
class Grasped:
    """A way that begins with a grasp. start: (nq,) the state that `approach` was planned for."""

    scene: TaskScene
    task: Task
    approach: Approach
    start: Array

    @property
    def kind(self) -> str:
        return self.approach.grasp.kind


class Use(Protocol):
    """A way of the kind above that knows whether the arm can do what follows."""

    @property
    def kind(self) -> str: ...

    @property
    def scene(self) -> TaskScene: ...

    def reachable(self) -> bool: ...

    def run(self, rollout: Rollout) -> None: ...


class MakeUse(Protocol):
    def __call__(self, scene: TaskScene, task: Task, approach: Approach, start: Array) -> Use: ...


def from_above(make: MakeUse, scene: TaskScene, task: Task, start: Array, *, trials: int) -> Iterator[Use]:
    """Grasps from above that hold in a trial, and with which the rest is in reach. trials: made at most"""
    physics, tried = Trials(scene.simulator, scene.skills), 0
    for _, approach in zip(range(WAYS_TRIED), scene.ways_to(task.object, start), strict=False):
        if tried == trials:
            return
        use = make(scene, task, approach, start)
        if use.kind == "top" and use.reachable():
            tried += 1
            if physics.grasp(task.object, approach, start) is not None:
                yield use
