"""The ideal shape that a solid is, if it is one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from blueprint.geometry.colliders.pieces import primitive_deviation, primitive_volume
from blueprint.geometry.mesh import Mesh, volume
from blueprint.geometry.transforms import Array, matrix_to_pose
from blueprint.model.scene import Primitive

FIT_M = 0.002  # 95 % of the surface's points are no further than this from the ideal shape's
VOLUME_SHARE = 0.05
TURNS = (np.eye(3)[:, [1, 2, 0]], np.eye(3)[:, [2, 0, 1]], np.eye(3))  # z becomes x, y, z


def ideal_primitive(mesh: Mesh) -> Primitive | None:
    """The box, sphere or cylinder along the axes, of the extents of the closed mesh, if its surface lies on it."""
    vertices, faces = mesh
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    half, own = (high - low) / 2, volume(mesh)
    middle = (low + high) / 2
    points = np.concatenate([vertices, vertices[faces].mean(axis=1)])
    for primitive in _candidates(half, middle):
        fits = abs(primitive_volume(primitive) / own - 1) < VOLUME_SHARE
        if fits and primitive_deviation(primitive, points) <= FIT_M:
            return primitive
    return None


def _candidates(half: Array, middle: Array) -> Iterator[Primitive]:
    T = np.eye(4)
    T[:3, 3] = middle
    yield Primitive(type="box", size=(float(half[0]), float(half[1]), float(half[2])), pose=matrix_to_pose(T))
    for axis, turn in enumerate(TURNS):
        radii = np.delete(half, axis)
        if np.ptp(radii) < FIT_M:
            T[:3, :3] = turn
            yield Primitive(type="cylinder", size=(float(radii.mean()), float(half[axis])), pose=matrix_to_pose(T))
    if np.ptp(half) < FIT_M:
        yield Primitive(type="sphere", size=(float(half.mean()),), pose=matrix_to_pose(T))
