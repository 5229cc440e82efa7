"""A solid for what no ideal shape fits: what the views leave standing of the hull of the seen points."""

from __future__ import annotations

import cv2
import numpy as np
import trimesh
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_matrix, csr_matrix, diags
from scipy.spatial import ConvexHull
from skimage import measure

from blueprint.geometry.completion.evidence import Evidence, Mask, View, connected, hiding, object_depth, outer_shape
from blueprint.geometry.mesh import Faces, Mesh, simplified
from blueprint.geometry.raycast import project
from blueprint.geometry.transforms import Array

CELLS = 72  # grid cells along the longest side
SMALLEST_CELL_M = 0.0012
SHELL_M = 0.006  # what was seen exists, and is at least this thick along the ray
FAR = 9.0


def carved(evidence: Evidence, views: tuple[View, ...], label: int, *, base_z: float, max_faces: int) -> Mesh:
    """Closed smooth surface, world frame. Raises ValueError when nothing is left standing."""
    floor = evidence.points.copy()
    floor[:, 2] = base_z
    cloud = np.concatenate([evidence.points, floor])
    low, high = cloud.min(axis=0), cloud.max(axis=0)
    cell = max(SMALLEST_CELL_M, float((high - low).max()) / CELLS)
    axes = [np.arange(a - 4 * cell, b + 5 * cell, cell) for a, b in zip(low, high, strict=True)]
    axes[2] = base_z + cell * np.arange(-4, int((high[2] - base_z) / cell) + 6) + cell / 2
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    field = -_hull_distance(cloud, grid)
    for view in views:
        mask = view.labels == label
        if mask.any():
            keep, shell = _view_field(view, mask, grid, max(SHELL_M, 2.5 * cell))
            field = np.maximum(np.minimum(field, keep), shell)
    field = np.minimum(field, grid[:, 2] - base_z)
    shape = tuple(len(axis) for axis in axes)
    field = ndimage.gaussian_filter(np.clip(field / cell, -3, 3).reshape(shape), 0.8)
    mesh = _surface(_largest_part(field), np.array([axis[0] for axis in axes]), cell)
    return simplified(_smoothed(mesh, base_z), max_faces)


def _hull_distance(cloud: Array, grid: Array) -> Array:
    """Signed distance to the convex hull, negative inside (outside: a lower bound)."""
    planes = np.unique(np.round(ConvexHull(cloud).equations, 5), axis=0)
    out = np.full(len(grid), -np.inf)
    for normal_offset in planes:
        np.maximum(out, grid @ normal_offset[:3] + normal_offset[3], out=out)
    return out


def _view_field(view: View, mask: Mask, grid: Array, thickness: float) -> tuple[Array, Array]:
    """Per grid point [m]: how far inside what this view leaves standing, and inside the shell behind what it saw."""
    pixel, z = project(view.camera, view.T_world_camera, grid)
    u, v = np.rint(pixel).astype(int).T
    inside = (u >= 0) & (v >= 0) & (u < view.camera.width) & (v < view.camera.height) & (z > 0)
    u, v = np.where(inside, u, 0), np.where(inside, v, 0)
    own = object_depth(view, mask)
    hidden = hiding(view, mask, own) & ~mask
    solid = mask | _gap(mask)
    outside = cv2.distanceTransform((~(solid | hidden)).astype(np.uint8), cv2.DIST_L2, 5)
    within = cv2.distanceTransform((solid | hidden).astype(np.uint8), cv2.DIST_L2, 5)
    silhouette = (within - outside)[v, u] * z / view.camera.fx
    behind = z - own[v, u]
    keep = np.where(inside, silhouette, FAR)
    keep = np.where(inside & solid[v, u], np.minimum(keep, behind + 0.001), keep)
    seen = inside & (cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8))[v, u] > 0) & (view.depth[v, u] > 0)
    return keep, np.where(seen, np.minimum(behind + 0.001, thickness - behind), -FAR)


def _gap(mask: Mask) -> Mask:
    """Small holes of the mask: missing depth, not openings."""
    holes = outer_shape(mask) & ~mask
    parts = connected(holes)
    size = np.bincount(parts.ravel())
    return holes & (size[parts] < 0.02 * mask.sum())


def _largest_part(field: NDArray[np.float64]) -> NDArray[np.float64]:
    parts = connected(field > 0)
    if not parts.any():
        raise ValueError("the views leave nothing of it standing")
    largest = 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))
    field = np.where((parts != largest) & (field > 0), -0.5, field)
    return np.pad(field, 1, constant_values=-1.0)


def _surface(field: NDArray[np.float64], origin: Array, cell: float) -> Mesh:
    vertices, faces, _, _ = measure.marching_cubes(field, 0.0)
    vertices = (vertices - 1) * cell + origin
    body = trimesh.Trimesh(vertices, faces[:, ::-1], process=True)
    if body.volume < 0:
        body.invert()
    return np.asarray(body.vertices, dtype=float), np.asarray(body.faces, dtype=np.int64)


def _smoothed(mesh: Mesh, base_z: float, rounds: int = 12) -> Mesh:
    """Taubin smoothing (shrink, then grow: lambda 0.5, mu -0.53) of the voxel steps; nothing sinks into the support."""
    vertices, faces = mesh
    neighbours = _adjacency(len(vertices), faces)
    for step in range(2 * rounds):
        vertices = vertices + (0.5 if step % 2 == 0 else -0.53) * (neighbours @ vertices - vertices)
    vertices[:, 2] = np.maximum(vertices[:, 2], base_z)
    return vertices, faces


def _adjacency(count: int, faces: Faces) -> csr_matrix:
    """(V, V) sparse matrix that averages the neighbours of every vertex."""
    row = np.concatenate([faces[:, [0, 1, 2]].ravel(), faces[:, [1, 2, 0]].ravel()])
    column = np.concatenate([faces[:, [1, 2, 0]].ravel(), faces[:, [0, 1, 2]].ravel()])
    links = coo_matrix((np.ones(len(row)), (row, column)), shape=(count, count)).tocsr()
    links.data[:] = 1.0
    return csr_matrix(diags(1.0 / np.maximum(np.asarray(links.sum(axis=1)).ravel(), 1)) @ links)
