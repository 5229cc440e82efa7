"""What a robot is asked to do."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from blueprint.core.artifact import Model
from blueprint.model.spatial import Vec2

Family = Literal[
    "lift",
    "place_region",
    "place_beside",
    "place_on",
    "place_into",
    "stack",
    "rearrange",
    "sort",
    "push",
    "pull",
    "open",
    "close",
    "turn",
    "press",
    "pour",
    "insert",
    "wipe",
    "handover",
    "carry",
    "chain",
]


class Goal(Model):
    """When a task is done. Read by the checker, which shares no code with the planner.

    lift: the object's lowest point is at least `height_m` above the support, held
    place_region: the object rests upright within `radius_m` of `center` (xy, world)
    place_beside: it rests on the support with a gap to `target` of at most `radius_m`, touching nothing else
    place_on: it rests on `target`, not on the support
    place_into: it rests inside `target`'s opening
    open, close, turn, press: `joint` (MJCF name) of the object has reached `value` from `value_start` [rad or m]; a
    dial is within 0.12 rad of it, a button was that deep and has come back
    push, pull: never lifted, its outline's centre lies within `radius_m` of `center`; a push is made by closed fingers,
    a pull by a grip, and ends nearer to the robot
    insert: it stands at least `height_m` below the rim of `target`'s hole, which is wider than it by `radius_m`
    wipe: held and pressed lightly, it has gone over a share of `value` of the disc around `center`
    pour: a share of `value` of the grains that `object` held lies in `target`, and next to none elsewhere
    stack, rearrange, sort, chain: every one of `steps` is done, in this order
    """

    family: Family
    height_m: float = 0.0
    center: Vec2 | None = None
    radius_m: float = 0.0
    target: str | None = None
    joint: str | None = None
    value_start: float = 0.0
    value: float = 0.0
    steps: tuple[Step, ...] = ()


class Step(Model):
    """A part of a task that has several. object: body that this step is about."""

    object: str
    goal: Goal


class Task(Model):
    """One task of a scene; episodes vary its seed.

    object: body that the task is about; where there are several, that of the first step
    """

    id: str
    object: str
    goal: Goal
    instruction: str

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps of the task; the task itself where it is one."""
        return self.goal.steps or (Step(object=self.object, goal=self.goal),)


class Suggestion(Model):
    """One step of a task as somebody suggests it, by names of the scene. target, joint: "" = none."""

    family: Family
    object: str
    target: str = ""
    joint: str = ""


class SuggestedTask(Model):
    """A task as somebody suggests it, not checked by anybody. Its numbers are left to the family."""

    instruction: str
    steps: tuple[Suggestion, ...] = Field(min_length=1)


Goal.model_rebuild()
