"""Depth and face pictures of meshes from pinhole cameras: a z-buffer in numpy, vectorised over triangles."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from blueprint.geometry.mesh import Mesh
from blueprint.geometry.transforms import Array, invert, transform_points
from blueprint.model.capture import Camera

NEAR_M = 0.02
CHUNK = 2_000_000  # pixel candidates handled at once


def project(camera: Camera, T_world_camera: Array, points: Array) -> tuple[Array, Array]:
    """Pixels (N, 2) (u, v) and depths (N,) [m] of world points (N, 3)."""
    local = transform_points(invert(T_world_camera), points)
    z = np.maximum(local[:, 2], 1e-6)
    return np.stack([camera.fx * local[:, 0] / z + camera.cx, camera.fy * local[:, 1] / z + camera.cy], 1), local[:, 2]


def render_depth(mesh: Mesh, camera: Camera, T_world_camera: Array) -> tuple[Array, NDArray[np.int64]]:
    """Depth (H, W) [m] along the optical axis (inf where nothing is hit) and face index (H, W) (-1 where nothing)."""
    pixels, z = project(camera, T_world_camera, mesh[0])
    faces = np.arange(len(mesh[1]))[np.all(z[mesh[1]] > NEAR_M, axis=1)]
    corners, inverse = pixels[mesh[1]], 1.0 / np.maximum(z[mesh[1]], NEAR_M)
    size = camera.width * camera.height
    depth, owner = np.full(size, np.inf), np.full(size, -1)
    for pixel, face, value in covered(corners, inverse, faces, camera.width, camera.height):
        order = np.lexsort((face, value, pixel))
        pixel, face, value = pixel[order], face[order], value[order]
        first = np.r_[True, pixel[1:] != pixel[:-1]] if len(pixel) else np.zeros(0, dtype=bool)
        pixel, face, value = pixel[first], face[first], value[first]
        nearer = value < depth[pixel]
        depth[pixel[nearer]], owner[pixel[nearer]] = value[nearer], face[nearer]
    shape = (camera.height, camera.width)
    return depth.reshape(shape), owner.reshape(shape)


def covered(
    corners: Array, inverse: Array, faces: NDArray[np.int64], width: int, height: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], Array]]:
    """Yield (pixel index, face, depth) in chunks. corners: (F, 3, 2) pixels; inverse: (F, 3) 1 / depth [1/m]."""
    low = np.maximum(np.ceil(corners.min(axis=1)), 0).astype(int)
    high = np.minimum(np.floor(corners.max(axis=1)), [width - 1, height - 1]).astype(int)
    span = high - low + 1
    faces = faces[np.all(span[faces] > 0, axis=1)]
    area = span[faces].prod(axis=1)
    bounds = np.flatnonzero(np.diff(np.r_[-1, np.cumsum(area) // CHUNK])) if len(faces) else np.zeros(0, dtype=int)
    for group in np.split(faces, bounds[1:]):
        counts = span[group].prod(axis=1)
        face = np.repeat(group, counts)
        within = np.arange(len(face)) - np.repeat(np.cumsum(counts) - counts, counts)
        u = low[face, 0] + within % span[face, 0]
        v = low[face, 1] + within // span[face, 0]
        weights = barycentric(corners[face], np.stack([u, v], axis=1))
        inside = np.all(weights >= -1e-9, axis=1)
        face, u, v, weights = face[inside], u[inside], v[inside], weights[inside]
        yield v * width + u, face, 1.0 / np.einsum("ij,ij->i", weights, inverse[face])


def barycentric(corners: Array, points: Array) -> Array:
    """(N, 3) weights of points (N, 2) in triangles (N, 3, 2); NaN-free: collapsed triangles get -1."""
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    ab, ac, ap = b - a, c - a, points - a
    area = ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0]
    whole = np.abs(area) > 1e-12
    safe = np.where(whole, area, 1.0)
    w1 = (ap[:, 0] * ac[:, 1] - ap[:, 1] * ac[:, 0]) / safe
    w2 = (ab[:, 0] * ap[:, 1] - ab[:, 1] * ap[:, 0]) / safe
    weights = np.stack([1 - w1 - w2, w1, w2], axis=1)
    weights[~whole] = -1.0
    return weights
