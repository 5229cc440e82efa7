"""Whether two convex pieces touch, by linear programming: small hulls, no collision library."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.spatial import ConvexHull

from blueprint.geometry.transforms import pose_to_matrix, transform_points
from blueprint.model.scene import Primitive

Array = NDArray[np.float64]

ROUND_SIDES = 24  # of the prism that stands for a cylinder


def touch(a: Array, b: Array, gap: float) -> bool:
    """Whether the convex hulls of a (N, 3) and b (M, 3) come closer than about `gap` [m] (exact across faces)."""
    if np.any(a.min(axis=0) - gap > b.max(axis=0)) or np.any(b.min(axis=0) - gap > a.max(axis=0)):
        return False
    planes = np.concatenate([ConvexHull(a).equations, ConvexHull(b).equations])
    solved = linprog(np.zeros(3), planes[:, :3], gap / 2 - planes[:, 3], bounds=(None, None))
    return bool(solved.status == 0)


def primitive_points(primitive: Primitive, sides: int = ROUND_SIDES) -> Array:
    """(N, 3) points whose hull stands for the shape, in the object frame. sides: of the prism of a cylinder"""
    if primitive.type == "box":
        signs = np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1])).reshape(3, -1).T
        points = signs * np.array(primitive.size)
    else:
        turn = np.arange(sides) * 2 * np.pi / sides
        ring = np.stack([np.cos(turn), np.sin(turn), 0 * turn], axis=1)
        if primitive.type == "cylinder":
            radius, half = primitive.size
            points = np.concatenate([ring * radius + [0, 0, half], ring * radius - [0, 0, half]])
        else:
            tilt = np.linspace(-0.5, 0.5, 7)[:, None, None] * np.pi
            rings = ring[None] * np.cos(tilt) + np.sin(tilt) * np.array([0.0, 0.0, 1.0])
            points = rings.reshape(-1, 3) * primitive.size[0]
    return transform_points(pose_to_matrix(primitive.pose), points)
