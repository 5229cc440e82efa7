"""What a person corrects in a reconstruction: the operations of `blueprint edit`, and of its JSON file."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from blueprint.core.artifact import Model

Box = tuple[float, float, float, float]


class Remove(Model):
    """It is no object."""

    op: Literal["remove"] = "remove"
    object: str


class Merge(Model):
    """These are one object; it keeps the first name."""

    op: Literal["merge"] = "merge"
    objects: tuple[str, ...] = Field(min_length=2)


class Cut(Model):
    """These are two objects, divided by the plane through the camera and a line of pixels (x0, y0, x1, y1).

    What lies left of the line, looking along it, becomes a new object with the name `name`.
    """

    op: Literal["cut"] = "cut"
    object: str
    frame: str
    line: Box
    name: str = ""


class Draw(Model):
    """An object that was missed, or badly outlined: a loose box around it. xyxy: inclusive pixels of the frame."""

    op: Literal["box"] = "box"
    frame: str
    xyxy: Box
    name: str = Field(min_length=1)


class Rename(Model):
    """What it is called; its category follows from the words."""

    op: Literal["name"] = "name"
    object: str
    name: str = Field(min_length=1)


Edit = Annotated[Remove | Merge | Cut | Draw | Rename, Field(discriminator="op")]


class KnownShape(Model):
    """What a person knows of a shape. size_m: measured extents [m] along x, y, z of the object frame, or the longest.

    primitive: the ideal shape that it is
    """

    primitive: Literal["box", "cylinder"] | None = None
    size_m: dict[Literal["x", "y", "z", "longest"], Annotated[float, Field(gt=0.001, lt=10)]] = Field(
        default_factory=dict
    )
