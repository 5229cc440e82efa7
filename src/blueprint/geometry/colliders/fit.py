"""How well convex colliders match the solid they stand for, and what they overlap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import trimesh
from numpy.typing import NDArray
from scipy.spatial import ConvexHull, KDTree, QhullError

from blueprint.geometry.colliders.pieces import MAX_HULL_VERTICES, convex_hull
from blueprint.geometry.inertia import solid_moments
from blueprint.geometry.mesh import Mesh
from blueprint.geometry.transforms import pose_to_matrix, transform_points
from blueprint.model.scene import Primitive

Array = NDArray[np.float64]
NEAR_M = 2e-4  # a point this close to a surface is on it, whichever side it is on


@dataclass(frozen=True)
class Fit:
    """hausdorff_m: the farthest that either solid, mesh or union of colliders, reaches beyond the other;
    volume_ratio: summed volume of the colliders over that of the mesh
    """

    hausdorff_m: float
    volume_ratio: float


def fit_of(mesh: Mesh, hulls: Sequence[Mesh], *, samples: int = 2500, seed: int = 0) -> Fit:
    """Symmetric Hausdorff distance between solids, from points of their surfaces (all vertices, `samples` between).

    A point inside the other solid is at distance 0, so the cuts between abutting hulls do not count, while a hull that
    closes an opening does.
    """
    planes = [ConvexHull(vertices).equations for vertices, _ in hulls]
    surface = _Surface(mesh)
    missed = _beyond_hulls(_points(mesh, samples, seed), planes, hulls)
    each = max(200, samples // len(hulls))
    over = max(surface.beyond(_points(hull, each, seed)) for hull in hulls)
    volume = sum(float(ConvexHull(vertices).volume) for vertices, _ in hulls)
    return Fit(max(missed, over), volume / solid_moments(*mesh)[0])


def primitive_mesh(primitive: Primitive) -> Mesh:
    """The ideal shape as a closed mesh in the object frame."""
    if primitive.type == "sphere":
        solid = trimesh.creation.icosphere(subdivisions=4, radius=primitive.size[0])
    elif primitive.type == "cylinder":
        solid = trimesh.creation.cylinder(radius=primitive.size[0], height=2 * primitive.size[1], sections=64)
    else:
        solid = trimesh.creation.box([2 * half for half in primitive.size])
    return transform_points(pose_to_matrix(primitive.pose), solid.vertices), np.asarray(solid.faces)


def _points(mesh: Mesh, count: int, seed: int) -> Array:
    """All vertices, and `count` points spread evenly over the faces."""
    vertices, faces = mesh
    corners = vertices[faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    rng = np.random.default_rng(seed)
    face = rng.choice(len(area), count, p=area / area.sum())
    weight = rng.dirichlet((1.0, 1.0, 1.0), count)
    return np.concatenate([vertices, np.einsum("nk,nkd->nd", weight, corners[face])])


def _beyond_hulls(points: Array, planes: Sequence[Array], hulls: Sequence[Mesh]) -> float:
    """Largest distance [m] from points (N, 3) to the union of convex hulls; 0 inside."""
    outside = np.full(len(points), np.inf)
    for equations in planes:
        outside = np.minimum(outside, (points @ equations[:, :3].T + equations[:, 3]).max(axis=1))
    worst = np.argsort(-outside)[:300]  # a plane's distance is at most the hull's, so the farthest are among these
    worst = worst[outside[worst] > NEAR_M]
    if len(worst) == 0:
        return max(0.0, float(outside.max()))
    return float(min_over(hulls, points[worst]).max())


def min_over(hulls: Sequence[Mesh], points: Array) -> Array:
    """(N,) distance [m] of points (N, 3) to the nearest surface of the hulls."""
    distance = np.full(len(points), np.inf)
    for hull in hulls:
        distance = np.minimum(distance, _Surface(hull).distance(points))
    return distance


def merged_hulls(mesh: Mesh, hulls: Sequence[Mesh], bound: float) -> list[Mesh]:
    """Fewer hulls: neighbours become one while their common hull reaches beyond the mesh by at most `bound` [m].

    The pair that wastes the least volume goes first. Simulators pay per hull.
    """
    surface = _Surface(mesh)
    kept = [hull[0] for hull in hulls]
    volumes = [float(ConvexHull(points).volume) for points in kept]
    tried: dict[tuple[int, int], float] = {}
    alive = list(range(len(kept)))
    while True:
        for i, j in ((i, j) for i in alive for j in alive if i < j and (i, j) not in tried):
            tried[i, j] = _waste(surface, kept[i], kept[j], volumes[i] + volumes[j], bound)
        waste, pair = min(((w, p) for p, w in tried.items() if set(p) <= set(alive)), default=(np.inf, (0, 0)))
        if not np.isfinite(waste):
            return [convex_hull(kept[i]) for i in alive]
        points = np.concatenate([kept[pair[0]], kept[pair[1]]])
        kept.append(points[ConvexHull(points).vertices])
        volumes.append(float(ConvexHull(points).volume))
        alive = [i for i in alive if i not in pair] + [len(kept) - 1]


def _waste(surface: _Surface, a: Array, b: Array, volume: float, bound: float) -> float:
    """Volume that the common hull of two adds; infinite where they are apart or it would reach too far."""
    if (a.min(axis=0) > b.max(axis=0) + 1e-3).any() or (b.min(axis=0) > a.max(axis=0) + 1e-3).any():
        return np.inf
    points = np.concatenate([a, b])
    try:
        hull = ConvexHull(points)
    except QhullError:
        return np.inf
    if len(hull.vertices) > MAX_HULL_VERTICES or hull.volume > 2 * volume:
        return np.inf
    over = surface.beyond(_points((points, hull.simplices.astype(np.int64)), 60, 0))
    return float(hull.volume - volume) if over <= bound else np.inf


class _Surface:
    """Distances to a triangle mesh: nearest of dense samples, then exact to the triangles of the nearest few."""

    def __init__(self, mesh: Mesh, spacing_share: float = 0.01) -> None:
        self._mesh = mesh
        vertices, faces = mesh
        corners = vertices[faces]
        self._corners = corners
        spacing = float(np.ptp(vertices, axis=0).max()) * spacing_share
        area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
        count = np.clip(np.ceil(area / spacing**2), 1, 20000).astype(int)
        face = np.repeat(np.arange(len(faces)), count)
        weight = np.random.default_rng(0).dirichlet((1.0, 1.0, 1.0), len(face))
        inside = np.einsum("nk,nkd->nd", weight, corners[face])
        self._face = np.concatenate([face, np.repeat(np.arange(len(faces)), 3)])
        self._tree = KDTree(np.concatenate([inside, corners.reshape(-1, 3)]))

    def distance(self, points: Array, near: int = 12) -> Array:
        """(N,) [m] unsigned."""
        near = min(near, len(self._face))
        _, index = self._tree.query(points, k=near)
        face = self._face[index].reshape(-1)
        repeated = np.repeat(points, near, axis=0)
        closest = trimesh.triangles.closest_point(self._corners[face], repeated)
        return np.linalg.norm(closest - repeated, axis=1).reshape(-1, near).min(axis=1)

    def beyond(self, points: Array) -> float:
        """Largest distance [m] of those points (N, 3) that lie outside the solid."""
        distance = self.distance(points)
        order = np.argsort(-distance)
        order = order[distance[order] > NEAR_M]
        for start in range(0, len(order), 64):  # the first that is outside is the farthest
            block = order[start : start + 64]
            outside = np.abs(winding_number(self._mesh, points[block])) < 0.5
            if outside.any():
                return float(distance[block[outside]].max())
        return 0.0


def winding_number(mesh: Mesh, points: Array) -> Array:
    """(N,) generalised winding number of points (N, 3): 1 inside a closed mesh, 0 outside (Jacobson et al. 2013)."""
    corners = mesh[0][mesh[1]]
    total = np.zeros(len(points))
    for index, point in enumerate(points):
        a, b, c = (corners[:, k] - point for k in range(3))
        la, lb, lc = (np.linalg.norm(v, axis=1) for v in (a, b, c))
        det = np.einsum("ij,ij->i", a, np.cross(b, c))
        rest = la * lb * lc + (a * b).sum(1) * lc + (b * c).sum(1) * la + (c * a).sum(1) * lb
        total[index] = np.arctan2(det, rest).sum() / (2 * np.pi)
    return total
