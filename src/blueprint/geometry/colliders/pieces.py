"""Convex colliders of a solid: an ideal primitive or hulls; see also `decomposition` and `fit`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import trimesh
from numpy.typing import NDArray
from scipy.spatial import ConvexHull

from blueprint.core.errors import InputError
from blueprint.geometry.inertia import solid_moments
from blueprint.geometry.mesh import Mesh
from blueprint.geometry.transforms import invert, pose_to_matrix, transform_points
from blueprint.model.scene import Primitive

Array = NDArray[np.float64]
MAX_HULL_VERTICES = 64  # what PhysX allows on a GPU


def primitive_deviation(primitive: Primitive, vertices: Array) -> float:
    """95th percentile of the distance [m] between vertices (V, 3) and the primitive's surface."""
    local = transform_points(invert(pose_to_matrix(primitive.pose)), vertices)
    if primitive.type == "sphere":
        distance = np.linalg.norm(local, axis=1) - primitive.size[0]
    elif primitive.type == "cylinder":
        radius, half = primitive.size
        distance = _distance_to_corner(np.stack([np.hypot(local[:, 0], local[:, 1]) - radius, abs(local[:, 2]) - half]))
    else:
        distance = _distance_to_corner((abs(local) - primitive.size).T)
    return float(np.percentile(abs(distance), 95))


def _distance_to_corner(q: Array) -> Array:
    """Signed distance from per-axis excesses (k, N), as in the signed distance function of a box."""
    outside = np.linalg.norm(np.maximum(q, 0.0), axis=0)
    return outside + np.minimum(q.max(axis=0), 0.0)


def primitive_volume(primitive: Primitive) -> float:
    """[m^3]"""
    if primitive.type == "sphere":
        return float(4 / 3 * np.pi * primitive.size[0] ** 3)
    if primitive.type == "cylinder":
        return float(2 * np.pi * primitive.size[0] ** 2 * primitive.size[1])
    return float(8 * np.prod(primitive.size))


def convex_hull(vertices: Array, limit: int = MAX_HULL_VERTICES) -> Mesh:
    """Hull of points (N, 3) with at most `limit` vertices, outward faces.

    When the hull has more, corners are added greedily, each the point farthest outside the hull so far, so that flat
    bases and sharp corners survive. Raises InputError when the points lie in a plane.
    """
    points = np.asarray(vertices, dtype=float)
    if np.linalg.matrix_rank(points - points.mean(axis=0), tol=1e-6) < 3:
        raise InputError("the points lie in a plane: no hull", "the solid is thinner than a micrometre")
    corners = points[np.sort(ConvexHull(points).vertices)]
    if len(corners) > limit:
        corners = corners[_spread(corners, limit)]
    return _outward_hull(corners)


def flat_base(hulls: Sequence[Mesh], T_world_object: Array, depth: float) -> list[Mesh]:
    """The hulls of one object with its base made flat: vertices within `depth` [m] of the lowest lie at its height.

    T_world_object: (4, 4) how it stood. A base is never seen, and one rounded by a millimetre of noise makes an
    object rock on three points for ever.
    """
    world = [transform_points(T_world_object, vertices) for vertices, _ in hulls]
    lowest = min(points[:, 2].min() for points in world)
    flat = []
    for points, hull in zip(world, hulls, strict=True):
        near = points[:, 2] < lowest + depth
        if near.any():
            points[near, 2] = lowest
            hull = convex_hull(transform_points(invert(T_world_object), points))
        flat.append(hull)
    return flat


def _spread(corners: Array, limit: int) -> list[int]:
    """Indices of at most `limit` points whose hull is close to the hull of all."""
    chosen = list(dict.fromkeys([int(np.argmin(corners @ d)) for d in np.vstack([np.eye(3), -np.eye(3)])]))
    centre = corners.mean(axis=0)
    if len(chosen) < 4 or np.linalg.matrix_rank(corners[chosen] - corners[chosen].mean(axis=0), tol=1e-7) < 3:
        chosen = _far_apart(corners, 8)
    while len(chosen) < limit:
        equations = ConvexHull(corners[chosen]).equations
        excess = (corners @ equations[:, :3].T + equations[:, 3]).max(axis=1)
        excess[chosen] = -np.inf
        far = int(np.argmax(excess + 1e-9 * np.linalg.norm(corners - centre, axis=1)))
        if excess[far] < 1e-6:
            break
        chosen.append(far)
    return sorted(chosen)


def _far_apart(points: Array, count: int) -> list[int]:
    """Indices of `count` points, each the farthest from those before."""
    chosen = [int(np.argmin(points[:, 0]))]
    nearest = np.full(len(points), np.inf)
    while len(chosen) < count:
        nearest = np.minimum(nearest, np.linalg.norm(points - points[chosen[-1]], axis=1))
        chosen.append(int(np.argmax(nearest)))
    return chosen


def _outward_hull(corners: Array) -> Mesh:
    hull = ConvexHull(corners)
    faces = hull.simplices.copy()
    a, b, c = (corners[faces[:, k]] for k in range(3))
    inward = np.einsum("ij,ij->i", np.cross(b - a, c - a), hull.equations[:, :3]) < 0
    faces[inward] = faces[inward][:, ::-1]
    used = np.unique(faces)
    rank = np.full(len(corners), -1)
    rank[used] = np.arange(len(used))
    return corners[used], _sorted_faces(rank[faces])


def _sorted_faces(faces: NDArray[np.int64]) -> NDArray[np.int64]:
    """Faces in a canonical order: each starts at its smallest index, rows sorted."""
    start = faces.argmin(axis=1)
    turned = np.stack([faces[np.arange(len(faces)), (start + k) % 3] for k in range(3)], axis=1)
    return turned[np.lexsort(turned.T[::-1])].astype(np.int64)


def hull_excess(mesh: Mesh) -> float:
    """Volume of the convex hull over the volume of the solid; 1 for a convex solid."""
    return float(ConvexHull(mesh[0]).volume / solid_moments(*mesh)[0])


def footprint_hull(polygon: Array, outlines: Sequence[Array], margins: Sequence[float]) -> Array:
    """Convex counter-clockwise polygon (K, 2) around `polygon` (N, 2) and point sets (M, 2), each with a margin [m].

    Equal to `polygon` where that holds everything already.
    """
    corners = np.array([(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)])
    extra = [(o[:, None] + m * corners).reshape(-1, 2) for o, m in zip(outlines, margins, strict=True)]
    if not extra:
        return polygon
    points = np.concatenate(extra)
    equations = ConvexHull(polygon).equations
    outside = (points @ equations[:, :2].T + equations[:, 2]).max(axis=1) > 1e-9
    if not outside.any():
        return polygon
    return outline(np.concatenate([polygon, points[outside]]))


def outline(points: Array) -> Array:
    """Corners (K, 2) of the convex hull of points (N, 2), counter-clockwise."""
    return points[ConvexHull(points).vertices]


def prism(polygon: Array, bottom: float, top: float) -> Mesh:
    """A convex polygon (N, 2) [m], counter-clockwise, extruded from z = bottom to z = top."""
    solid = trimesh.creation.extrude_triangulation(polygon, fan(len(polygon)), height=top - bottom)
    return np.asarray(solid.vertices) + np.array([0.0, 0.0, bottom]), np.asarray(solid.faces)


def fan(count: int) -> NDArray[np.int64]:
    """(count - 2, 3) triangles of a convex polygon."""
    return np.array([(0, k, k + 1) for k in range(1, count - 1)])


def hull_volume(vertices: Array) -> float:
    """Volume [m^3] of the hull of points (N, 3)."""
    return float(ConvexHull(vertices).volume)


def hull_area(vertices: Array) -> float:
    """Surface [m^2] of the hull of points (N, 3)."""
    return float(ConvexHull(vertices).area)
