"""Assets that may take the place of captured objects."""

from __future__ import annotations

from typing import Literal

from blueprint.core.artifact import Model
from blueprint.model.scene import PhysicalObject


class Shape(Model):
    """What two objects are compared by.

    category: "" where nobody knows it well; extents_m: of its box, ascending [m]; primitive: the ideal shape that fits
    fill: its volume over its box's; convexity: over its hull's
    """

    category: str
    extents_m: tuple[float, float, float]
    primitive: str
    fill: float
    convexity: float


class LibraryAsset(Model):
    """name: unique in the library; source: where it comes from; licence: as said there, "" = not known

    sha256: of its mesh; item: what captured objects have, too: colliders, mass, ranges, the pose in which it rested
    """

    name: str
    source: str
    licence: str
    sha256: str
    shape: Shape
    item: PhysicalObject


class Likeness(Model):
    """How like an asset is to the object whose place it takes.

    by: both are known to be of one category, or one is of none and the shapes agree
    size_ratio: the largest between their extents, smallest to smallest and so on, >= 1
    fill, convexity: by how much they differ
    """

    by: Literal["category", "shape"]
    size_ratio: float
    fill: float
    convexity: float


class Swap(Model):
    """Another thing in the place of a captured one, whose body keeps its name. text, category, licence: the asset's."""

    asset: str
    source: str
    sha256: str
    text: str
    category: str
    licence: str
    likeness: Likeness
