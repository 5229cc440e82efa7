"""What moves by itself in a workcell: people who walk by, objects on a fixed course. Metres, seconds, world frame."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from blueprint.core.artifact import Model
from blueprint.model.spatial import Vec2, Vec3


class Person(Model):
    """A person who walks along `path` on the floor and then stands.

    floor_z: height of the floor; speed [m/s]; phase: of the gait at the start, in [0, 1); leaves: when the walk begins
    """

    kind: Literal["person"] = "person"
    name: str
    path: tuple[Vec2, ...]
    floor_z: float
    speed: float = 1.2
    stature: float = 1.7
    phase: float = 0.0
    leaves: float = 0.0


class Course(Model):
    """A ball, or a capsule along z, that goes straight from point to point. half_m: half the capsule's inner length.

    times: ascending, when it is at each of `points`
    """

    kind: Literal["course"] = "course"
    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")
    radius_m: float = Field(gt=0.005, le=1.0)
    half_m: float = Field(default=0.0, ge=0.0, le=2.0)
    times: tuple[float, ...] = Field(min_length=2)
    points: tuple[Vec3, ...]

    @model_validator(mode="after")
    def _one_time_per_point(self) -> Course:
        if len(self.times) != len(self.points) or any(b <= a for a, b in zip(self.times, self.times[1:], strict=False)):
            raise ValueError(f"{self.name}: {len(self.points)} points need as many ascending times")
        return self


AnyMover = Annotated[Person | Course, Field(discriminator="kind")]
