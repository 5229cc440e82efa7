"""Kinds of task, one file per group: what a scene suggests, and the ways in which a robot can do it.

A file holds, for every family that `FAMILIES` sends to it,
    TEMPLATES: family -> sentences with {object}, {target}, {where}, {part}, {steps}
    propose(scene, family, rng) -> tasks that the geometry suggests, and why others make no sense
    arrange(scene, task, qpos, rng) -> the state from which its starts are varied (a drawer to close must be open)
    ways(scene, task, start, rng) -> ways to do it from a start, best first, each planned as far as it can be known
    why_none(scene, task, start) -> why there are none, in words
Whether it was done is not asked here: `skills.goals` judges what happened.

A file asks the acting arm of the scene. In a workcell with several arms `family` asks each of them, and whichever does
it best does it, the others at rest; the files of `TEAMS` see to the arms themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from blueprint.core.errors import SettingsError
from blueprint.model.task import Family, Goal, Task
from blueprint.skills.joints.parts import Jointed
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
TEAMS = ("handover", "carry", "several")


# family -> what a scene must hold for it to propose anything
NEEDS: dict[Family, str] = {
    "lift": "a thing that can be carried",
    "place_region": "a thing that can be carried",
    "place_beside": "two things that can be carried",
    "place_on": "two things that can be carried",
    "place_into": "two things that can be carried",
    "handover": "two arms (workcell.robots)",
    "carry": "two arms (workcell.robots)",
    "stack": "two things that can be carried",
    "rearrange": "two things that can be carried",
    "sort": "two kinds of things that can be carried",
    "chain": "three things that can be carried",
    "insert": "a thing that can be grasped and just fits the hole of another: 0.1 to 4 mm of play",
    "wipe": "something flat to wipe with that lies on the table, 1.5 to 6 cm high and 3 cm wide",
    "pour": "a vessel that holds grains (workcell.grains) and a wider one without",
    "open": "a door, drawer, flap or lid on a joint",
    "close": "a door, drawer, flap or lid on a joint",
    "turn": "a knob, dial or valve on a joint",
    "press": "a button on a joint",
    "push": "a thing that can be carried",
    "pull": "a thing that can be carried",
}


@dataclass(frozen=True)
class Proposal:
    """goal None: refused for `reason`."""

    object: str
    goal: Goal | None
    id: str
    reason: str = ""


class Way(Protocol):
    """One way to do a task from one start.

    kind: what it is, for the record, e.g. the class of its grasp; scene: as the arm sees it that goes this way
    """

    @property
    def kind(self) -> str: ...

    @property
    def scene(self) -> TaskScene: ...

    def run(self, rollout: Rollout) -> None:
        """Do it, with a second of rest at the end. Raises SkillError when it cannot go on."""
        ...


class TaskFamily(Protocol):
    """What a file of this folder holds."""

    @property
    def TEMPLATES(self) -> dict[Family, tuple[str, ...]]: ...

    def propose(self, scene: TaskScene, family: Family, rng: np.random.Generator) -> Iterator[Proposal]: ...

    def arrange(self, scene: TaskScene, task: Task, qpos: Array, rng: np.random.Generator) -> Array: ...

    def ways(self, scene: TaskScene, task: Task, start: Array, rng: np.random.Generator) -> Iterator[Way]: ...

    def why_none(self, scene: TaskScene, task: Task, start: Array) -> str: ...


def family(name: Family) -> TaskFamily:
    """The file that knows a family. Raises SettingsError naming those that there are."""
    if name not in FAMILIES:
        raise SettingsError(f"no family of tasks {name!r}", f"there are: {', '.join(FAMILIES)}")
    known = cast(TaskFamily, import_module(f"{__name__}.{FAMILIES[name]}"))
    return known if FAMILIES[name] in TEAMS else ByBestArm(known)


@dataclass(frozen=True)
class ByBestArm:
    """A family that one arm does, done by the arm of a team to which it comes easiest; where it finds no way, by the
    next. Every arm's collision world holds the others where they are."""

    known: TaskFamily

    @property
    def TEMPLATES(self) -> dict[Family, tuple[str, ...]]:
        return self.known.TEMPLATES

    def propose(self, scene: TaskScene, family: Family, rng: np.random.Generator) -> Iterator[Proposal]:
        """What any arm offers; of several offers of one kind that which comes easiest to some arm."""
        if len(scene.team) == 1:
            yield from self.known.propose(scene, family, rng)
            return
        seed, offers = int(rng.integers(2**32)), dict[str, list[Proposal]]()
        for k in range(len(scene.team)):
            for offer in self.known.propose(scene.seen_by(k), family, np.random.default_rng(seed)):
                offers.setdefault(offer.id, []).append(offer)
        for some in offers.values():
            good = [offer for offer in some if offer.goal is not None]
            if any(offer.goal != good[0].goal for offer in good):
                qpos = scene.cell.home_qpos
                good.sort(key=lambda offer: -max(e for e, _ in _ease(scene, offer.object, offer.goal, qpos)))
            yield good[0] if good else replace(some[0], reason=_said(scene, [offer.reason for offer in some]))

    def arrange(self, scene: TaskScene, task: Task, qpos: Array, rng: np.random.Generator) -> Array:
        return self.known.arrange(scene, task, qpos, rng)

    def ways(self, scene: TaskScene, task: Task, start: Array, rng: np.random.Generator) -> Iterator[Way]:
        order = [0] if len(scene.team) == 1 else [k for _, k in _ease(scene, task.object, task.goal, start)]
        for k in order:
            yield from self.known.ways(scene.seen_by(k), task, start, rng)

    def why_none(self, scene: TaskScene, task: Task, start: Array) -> str:
        return _said(scene, [self.known.why_none(scene.seen_by(k), task, start) for k in range(len(scene.team))])


def _ease(scene: TaskScene, name: str, goal: Goal | None, qpos: Array) -> list[tuple[float, int]]:
    """The arms with the ease of the hardest of a task's places, easiest first."""
    assert goal is not None
    spots = [scene.middle(name, qpos) if goal.joint is None else Jointed(scene.cell, name, goal.joint).middle(qpos)]
    if goal.target is not None:
        spots.append(scene.middle(goal.target, qpos))
    if goal.center is not None:
        spots.append(np.array([*goal.center, spots[0][2]]))
    return sorted(((scene.ease(k, np.array(spots)), k) for k in range(len(scene.team))), key=lambda pair: -pair[0])


def _said(scene: TaskScene, reasons: list[str]) -> str:
    """What every arm said; once where all said the same."""
    arms = [skills.cell.called for skills in scene.team]
    if len(arms) == 1:
        return reasons[0]
    if len({*reasons}) == 1:
        return f"{reasons[0]} (asked: {', '.join(arms)})"
    return "; ".join(f"{arm}: {reason}" for arm, reason in zip(arms, reasons, strict=False))
