"""What a robot is asked to do."""

from __future__ import annotations

from typing import Literal

from blueprint.core.artifact import Model
from blueprint.model.spatial import Vec2

Family = Literal["lift", "place_region", "place_beside", "place_on", "place_into"]


class Goal(Model):
    """When a task is done. Read by the checker, which shares no code with the planner.

    lift: the object's lowest point is at least `height_m` above the support, held
    place_region: the object rests upright within `radius_m` of `center` (xy, world)
    place_beside: it rests on the support with a gap to `target` of at most `radius_m`, touching nothing else
    place_on: it rests on `target`, not on the support
    place_into: it rests inside `target`'s opening
    """

    family: Family
    height_m: float = 0.0
    center: Vec2 | None = None
    radius_m: float = 0.0
    target: str | None = None


class Task(Model):
    """One task of a scene; episodes vary its seed."""

    id: str
    object: str
    goal: Goal
    instruction: str
