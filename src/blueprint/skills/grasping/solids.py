"""The collision geometry of a body as convex pieces: what grasps are sampled on and fingers are kept away from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull
from scipy.spatial.transform import Rotation

if TYPE_CHECKING:
    import mujoco

Array = NDArray[np.float64]
ROUND = 48  # corners by which a circle is approximated


@dataclass(frozen=True)
class Solid:
    """A body in its own frame.

    pieces: vertices (V, 3) of each convex piece [m]
    planes: (P, 4) outward unit normals and offsets of each piece, n . x + d <= 0 inside
    triangles: (F, 3, 3) corners, outward; normals: (F, 3)
    center_of_mass: (3,)
    """

    pieces: tuple[Array, ...]
    planes: tuple[Array, ...]
    triangles: Array
    normals: Array
    center_of_mass: Array

    @property
    def vertices(self) -> Array:
        """(V, 3) of all pieces."""
        return np.concatenate(self.pieces)

    def inside(self, points: Array, *, deeper_than: float) -> NDArray[np.int64]:
        """(N,) how many pieces hold each point deeper than this below their surface [m]."""
        count = np.zeros(len(points), dtype=np.int64)
        for planes in self.planes:
            depth = -(points @ planes[:, :3].T + planes[:, 3]).max(axis=1)
            count += depth > deeper_than
        return count

    def sample(self, count: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Points (M, 3) and outward normals (M, 3), evenly over the outer surface; M <= count."""
        edges = self.triangles[:, 1:] - self.triangles[:, :1]
        area = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1)
        face = rng.choice(len(area), count, p=area / area.sum())
        u, v = rng.random((2, count))
        flip = u + v > 1
        u, v = np.where(flip, 1 - u, u), np.where(flip, 1 - v, v)
        points = self.triangles[face, 0] + u[:, None] * edges[face, 0] + v[:, None] * edges[face, 1]
        outer = self.inside(points, deeper_than=5e-4) == 0
        return points[outer], self.normals[face][outer]

    def crossings(self, origins: Array, directions: Array) -> tuple[Array, Array, Array]:
        """Where lines enter and leave each piece: t_in, t_out (N, H) [m], inf where missed, and the normal (N, H, 3)
        of the face by which they leave."""
        enter, leave, normals = [], [], []
        for planes in self.planes:
            speed = directions @ planes[:, :3].T
            gap = -(origins @ planes[:, :3].T + planes[:, 3])
            with np.errstate(divide="ignore", invalid="ignore"):
                t = gap / speed
            into, out = np.where(speed < -1e-12, t, -np.inf), np.where(speed > 1e-12, t, np.inf)
            outside = ((np.abs(speed) <= 1e-12) & (gap < 0)).any(axis=1)
            t_in, t_out = into.max(axis=1), out.min(axis=1)
            missed = outside | (t_in > t_out)
            enter.append(np.where(missed, np.inf, t_in))
            leave.append(np.where(missed, np.inf, t_out))
            normals.append(planes[out.argmin(axis=1), :3])
        return np.stack(enter, 1), np.stack(leave, 1), np.stack(normals, 1)


@lru_cache(maxsize=256)
def solid(model: mujoco.MjModel, body: int) -> Solid:
    """The colliders of a body of a compiled model (which nobody changes: see `Cell`)."""
    start, count = int(model.body_geomadr[body]), int(model.body_geomnum[body])
    geoms = [g for g in range(start, start + count) if model.geom_contype[g] or model.geom_conaffinity[g]]
    return _solid([corners(model, g) for g in geoms], np.array(model.body_ipos[body]))


def _solid(pieces: list[Array], center_of_mass: Array) -> Solid:
    planes, triangles, normals = [], [], []
    for piece in pieces:
        hull = ConvexHull(piece)
        planes.append(np.unique(hull.equations.round(9), axis=0))
        corners_ = piece[hull.simplices]
        normal = np.cross(corners_[:, 1] - corners_[:, 0], corners_[:, 2] - corners_[:, 0])
        inward = np.einsum("ij,ij->i", normal, hull.equations[:, :3]) < 0
        corners_[inward] = corners_[inward][:, ::-1]
        triangles.append(corners_)
        normals.append(hull.equations[:, :3])
    return Solid(tuple(pieces), tuple(planes), np.concatenate(triangles), np.concatenate(normals), center_of_mass)


def corners(model: mujoco.MjModel, geom: int) -> Array:
    """(V, 3) points whose convex hull is (close to) the geom, in its body's frame.

    Raises ValueError for geoms that have no such hull (planes, height fields).
    """
    import mujoco

    kind, size = int(model.geom_type[geom]), model.geom_size[geom]  # `in` fails with NumPy integers
    angle = np.linspace(0, 2 * np.pi, ROUND, endpoint=False)
    ring = np.stack([np.cos(angle), np.sin(angle), np.zeros(ROUND)], axis=1)
    types = mujoco.mjtGeom
    if kind == types.mjGEOM_MESH:
        mesh = model.geom_dataid[geom]
        start = model.mesh_vertadr[mesh]
        local = np.array(model.mesh_vert[start : start + model.mesh_vertnum[mesh]], dtype=float)
        hull = ConvexHull(local)
        local = local[hull.vertices]
    elif kind == types.mjGEOM_BOX:
        signs = np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1])).reshape(3, -1).T
        local = signs * size
    elif kind == types.mjGEOM_CYLINDER:
        local = np.concatenate([ring * size[0] + [0, 0, s * size[1]] for s in (-1, 1)])
    elif kind in (types.mjGEOM_SPHERE, types.mjGEOM_CAPSULE, types.mjGEOM_ELLIPSOID):
        polar = np.linspace(0, np.pi, ROUND // 2)
        ball = np.concatenate([ring * np.sin(p) + [0, 0, np.cos(p)] for p in polar])
        if kind == types.mjGEOM_ELLIPSOID:
            local = ball * size
        else:
            length = size[1] if kind == types.mjGEOM_CAPSULE else 0.0
            local = ball * size[0] + np.sign(ball[:, 2:]) * [0, 0, length]
    else:
        raise ValueError(f"geom {geom} of type {kind} is not a convex solid")
    turn = Rotation.from_quat(model.geom_quat[geom], scalar_first=True)
    return turn.apply(local) + model.geom_pos[geom]
