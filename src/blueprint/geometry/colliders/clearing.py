"""Room for what moves: the colliders of a body are cut back where those of its moving parts sweep."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.spatial import ConvexHull, HalfspaceIntersection
from scipy.spatial.transform import Rotation

from blueprint.geometry.colliders.decomposition import THIN_M, thickness
from blueprint.geometry.colliders.pieces import convex_hull
from blueprint.geometry.mesh import Mesh
from blueprint.geometry.transforms import transform_points
from blueprint.model.scene import Joint

Array = NDArray[np.float64]
TURN_RAD = 0.1  # a turning part is sampled at least this often
MAX_PLANES = 14  # a part of more faces is cleared as the box about it
MAX_PIECES = 200


def cleared(base: Sequence[Mesh], moving: Mapping[str, Sequence[Mesh]], joints: Sequence[Joint], gap: float) -> list:
    """Hulls of the base without what its moving parts pass through, with `gap` [m] to spare.

    moving: hulls of every moving part by name, as captured. A hull less a convex blocker falls into convex slabs, one
    per plane of the blocker. Parts that hang on other moving parts are left alone.
    """
    hulls = list(base)
    for joint in joints:
        if joint.child in {j.parent for j in joints} or joint.parent in moving:
            continue
        for part in moving.get(joint.child, ()):
            for planes in _sweep(part[0], joint, gap):
                if len(hulls) > MAX_PIECES:
                    return hulls
                hulls = [piece for hull in hulls for piece in _without(hull, planes)]
    return hulls


def joint_transform(joint: Joint, value: float) -> Array:
    """(4, 4) motion of the moving part, in the object frame, from `0` to `value` [rad] or [m]."""
    T = np.eye(4)
    axis = np.array(joint.axis) / np.linalg.norm(joint.axis)
    if joint.type == "prismatic":
        T[:3, 3] = axis * value
        return T
    T[:3, :3] = Rotation.from_rotvec(axis * value).as_matrix()
    T[:3, 3] = np.array(joint.origin) - T[:3, :3] @ np.array(joint.origin)
    return T


def _sweep(points: Array, joint: Joint, gap: float) -> Iterator[Array]:
    """Planes (K, 4) of convex solids that together cover what a convex part passes through."""
    low, high = (float(np.clip(limit, -2 * np.pi, 2 * np.pi)) for limit in joint.limits)
    if joint.type == "prismatic":
        ends = [transform_points(joint_transform(joint, value), points) for value in (low, high)]
        yield _planes(np.concatenate(ends), gap)
        return
    for value in np.linspace(low, high, max(2, int(np.ceil((high - low) / TURN_RAD)) + 1)):
        yield _moved(_planes(points, gap), joint_transform(joint, float(value)))


def _planes(points: Array, gap: float) -> Array:
    """(K, 4) distinct planes of the hull of points, moved out by `gap`; of its box where there are too many."""
    planes = np.unique(ConvexHull(points).equations.round(4), axis=0)
    if len(planes) > MAX_PLANES:
        sides = np.concatenate([np.eye(3), -np.eye(3)])
        planes = np.column_stack([sides, -(points @ sides.T).max(axis=0)])
    return planes - np.array([0.0, 0.0, 0.0, gap])


def _moved(planes: Array, T: Array) -> Array:
    normals = planes[:, :3] @ T[:3, :3].T
    return np.column_stack([normals, planes[:, 3] - normals @ T[:3, 3]])


def _without(hull: Mesh, planes: Array) -> list[Mesh]:
    """Convex pieces of a hull less the solid within `planes`."""
    own = ConvexHull(hull[0]).equations
    values = hull[0] @ planes[:, :3].T + planes[:, 3]
    if (values.min(axis=0) >= -1e-6).any() or _inner_point(np.concatenate([own, planes])) is None:
        return [hull]
    pieces, inside = [], own
    for index in np.argsort(-(values > 0).sum(axis=0), kind="stable"):  # the plane that saves most comes first
        plane = planes[index]
        piece = _solid(np.concatenate([inside, -plane[None]]))
        if piece is not None:
            pieces.append(piece)
        inside = np.concatenate([inside, plane[None]])
    return pieces


def _solid(planes: Array) -> Mesh | None:
    """The convex solid within planes (K, 4), or None where it is empty or a sliver."""
    point = _inner_point(planes)
    if point is None:
        return None
    corners = HalfspaceIntersection(planes, point).intersections
    corners = corners[np.isfinite(corners).all(axis=1)]
    if len(corners) < 4 or thickness(corners) <= 2 * THIN_M:
        return None
    return convex_hull(corners)


def _inner_point(planes: Array, least: float = THIN_M) -> Array | None:
    """Centre of the largest ball within planes (K, 4), or None where it is smaller than `least` [m]."""
    norms = np.linalg.norm(planes[:, :3], axis=1)
    found = linprog(
        [0, 0, 0, -1],
        A_ub=np.column_stack([planes[:, :3], norms]),
        b_ub=-planes[:, 3],
        bounds=[(None, None)] * 3 + [(0, 10)],
    )
    return found.x[:3] if found.status == 0 and found.x[3] > least else None
