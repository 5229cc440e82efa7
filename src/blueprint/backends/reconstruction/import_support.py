"""The surface at z = 0 of an imported scene: the lowest level on which something of it stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import ConvexHull, QhullError

from blueprint.backends.reconstruction.import_objects import Thing
from blueprint.geometry.transforms import Array, transform_points

LEVEL = 0.985  # cosine of a face's normal to the vertical: 10 degrees
SAME_M = 0.004  # faces so near in height are one surface
STANDS_M = 0.02  # a bottom so near a surface stands on it
LEAST_M2 = 0.01
MARGIN_M = 0.3  # of floor around objects where the scene has none
THIN_M = 0.15  # a fixed thing no thicker is nothing but the support


@dataclass(frozen=True)
class Ground:
    """height [m]; polygon: (K, 2) convex, counter-clockwise; thing: number of what it belongs to, None = assumed."""

    height: float
    polygon: Array
    thing: int | None
    thickness_m: float


def find_ground(things: Sequence[Thing]) -> Ground:
    """The lowest fixed horizontal surface that carries an object; without one, a floor under the lowest object.

    Where anything can be lifted, only that counts: a robot or a cabinet may stand on the floor beside the table.
    """
    objects = [thing for thing in things if thing.kind == "object"]
    objects = [thing for thing in objects if not thing.anchored] or objects or list(things)
    boxes = [(w.min(axis=0), w.max(axis=0)) for w in (thing.world for thing in objects)]
    found = []
    for number, thing in enumerate(things):
        if thing.kind == "static":
            for height, points in _levels(thing):
                polygon = _hull(points)
                carried = polygon is not None and sum(_stands(box, height, polygon) for box in boxes)
                if polygon is not None and carried:
                    found.append((height, number, polygon))
    lowest = min(float(low[2]) for low, _ in boxes)
    if found:
        bottom = min(height for height, _, _ in found)
        level = [entry for entry in found if entry[0] < bottom + SAME_M]
        if bottom < lowest + 0.25:
            height, number, polygon = max(level, key=lambda entry: _area(entry[2]))
            return Ground(height, polygon, number, _thickness(things[number], height))
    low = np.min([box[0] for box in boxes], axis=0)[:2] - MARGIN_M
    high = np.max([box[1] for box in boxes], axis=0)[:2] + MARGIN_M
    polygon = np.array([low, [high[0], low[1]], high, [low[0], high[1]]])
    return Ground(lowest, polygon, None, 0.05)


def _thickness(thing: Thing, height: float) -> float:
    depth = height - float(thing.world[:, 2].min())
    return depth if 0.01 <= depth <= THIN_M else 0.02


def _levels(thing: Thing) -> list[tuple[float, Array]]:
    """(height, corner points (N, 2)) of its upward horizontal surfaces, largest areas first."""
    corners = np.concatenate(
        [transform_points(p.T, s.vertices)[s.faces] for p in thing.pieces for s in p.surfaces if len(s.faces)]
    )
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]) / 2
    area = np.linalg.norm(cross, axis=1)
    level = LEVEL * np.maximum(area, 1e-12)
    flat = cross[:, 2] > level
    if not flat.any():  # a sheet may face either way
        flat = -cross[:, 2] > level
    corners, area = corners[flat], area[flat]
    if not len(area):
        return []
    middle = corners[:, :, 2].mean(axis=1)
    levels = []
    for height in np.unique(np.round(middle / SAME_M)):
        mine = np.abs(middle / SAME_M - height) <= 1.0
        if area[mine].sum() >= LEAST_M2:
            levels.append((float(corners[mine][:, :, 2].max()), corners[mine].reshape(-1, 3)[:, :2]))
    return levels


def _hull(points: Array) -> Array | None:
    try:
        return points[ConvexHull(points).vertices]
    except (QhullError, ValueError):
        return None


def _area(polygon: Array) -> float:
    x, y = polygon.T
    return float(0.5 * abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))))


def _stands(box: tuple[Array, Array], height: float, polygon: Array) -> bool:
    low, high = box
    if abs(low[2] - height) > STANDS_M:
        return False
    middle = (low + high)[:2] / 2
    edges = np.roll(polygon, -1, axis=0) - polygon
    to = middle - polygon
    return bool((edges[:, 0] * to[:, 1] - edges[:, 1] * to[:, 0] > -1e-6).all())
