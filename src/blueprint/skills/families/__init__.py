"""Kinds of task, one file per group: what a scene suggests, and the ways in which a robot can do it.

A file holds, for every family that `FAMILIES` sends to it,
    TEMPLATES: family -> sentences with {object}, {target}, {where}, {part}, {steps}
    propose(scene, family, rng) -> tasks that the geometry suggests, and why others make no sense
    arrange(scene, task, qpos, rng) -> the state from which its starts are varied (a drawer to close must be open)
    ways(scene, task, start, rng) -> ways to do it from a start, best first, each planned as far as it can be known
    why_none(scene, task, start) -> why there are none, in words
Whether it was done is not asked here: `skills.goals` judges what happened.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from blueprint.core.errors import SettingsError
from blueprint.model.task import Family, Goal, Task
from blueprint.skills.rollout import Rollout
from blueprint.skills.scene import TaskScene

Array = NDArray[np.float64]

# family -> the file here that knows it
FAMILIES: dict[Family, str] = {
    "lift": "pick",
    "place_region": "pick",
    "place_beside": "pick",
    "place_on": "pick",
    "place_into": "pick",
    "handover": "handover",
    "carry": "carry",
    "stack": "several",
    "rearrange": "several",
    "sort": "several",
    "chain": "several",
    "insert": "insert",
    "wipe": "wipe",
    "pour": "pour",
    "open": "joints",
    "close": "joints",
    "turn": "joints",
    "press": "joints",
    "push": "push",
    "pull": "push",
}


@dataclass(frozen=True)
class Proposal:
    """goal None: refused for `reason`."""

    object: str
    goal: Goal | None
    id: str
    reason: str = ""


class Way(Protocol):
    """One way to do a task from one start. kind: what it is, for the record, e.g. the class of its grasp."""

    @property
    def kind(self) -> str: ...

    def run(self, rollout: Rollout) -> None:
        """Do it, with a second of rest at the end. Raises SkillError when it cannot go on."""
        ...


class TaskFamily(Protocol):
    """What a file of this folder holds."""

    TEMPLATES: dict[Family, tuple[str, ...]]

    def propose(self, scene: TaskScene, family: Family, rng: np.random.Generator) -> Iterator[Proposal]: ...

    def arrange(self, scene: TaskScene, task: Task, qpos: Array, rng: np.random.Generator) -> Array: ...

    def ways(self, scene: TaskScene, task: Task, start: Array, rng: np.random.Generator) -> Iterator[Way]: ...

    def why_none(self, scene: TaskScene, task: Task, start: Array) -> str: ...


def family(name: Family) -> TaskFamily:
    """The file that knows a family. Raises SettingsError naming those that there are."""
    if name not in FAMILIES:
        raise SettingsError(f"no family of tasks {name!r}", f"there are: {', '.join(FAMILIES)}")
    return cast(TaskFamily, import_module(f"{__name__}.{FAMILIES[name]}"))
