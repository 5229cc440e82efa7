"""Texture of a mesh from the views: unwrap, project every texel, fill what no camera saw."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import xatlas
from numpy.typing import NDArray
from scipy.spatial import KDTree

from blueprint.geometry.completion.evidence import View, nearest
from blueprint.geometry.mesh import Mesh, corner_normals
from blueprint.geometry.raycast import barycentric, covered, project, render_depth
from blueprint.geometry.transforms import Array, transform_points

SEEN_TOLERANCE_M = 0.006  # a texel this far behind the nearest surface of the own mesh is hidden
LEVEL = 3.0  # colours spread more readily sideways than up and down: labels and lids are level
GRAZING = 0.3  # cosine below which a surface is seen too flatly to take its colour


@dataclass(frozen=True)
class Bake:
    """uv: (F, 3, 2) per corner, v up; picture: (S, S, 3) uint8 RGB; seen_faces: (F,) whether most of a face was seen;
    seen_fraction: share of the surface area that a camera saw.
    """

    uv: Array
    picture: NDArray[np.uint8]
    seen_faces: NDArray[np.bool_]
    seen_fraction: float


def unwrap(mesh: Mesh) -> Array:
    """(F, 3, 2) UV coordinates in [0, 1], charts that do not overlap."""
    vertices, faces = mesh
    atlas = xatlas.Atlas()
    atlas.add_mesh(vertices.astype(np.float32), faces.astype(np.uint32))
    options = xatlas.PackOptions()
    options.padding, options.resolution = 3, 512
    atlas.generate(xatlas.ChartOptions(), options)
    _, index, uv = atlas[0]
    _never_destroy(atlas)
    return np.clip(uv.astype(float), 0.0, 1.0)[index.astype(np.int64)]


def _never_destroy(atlas: xatlas.Atlas) -> None:
    """xatlas can lose a worker's wake-up while it shuts its threads down, and then waits for that worker for ever (seen
    here once). So it is never shut down: the process that bakes an object ends soon after.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(atlas))


def bake(mesh: Mesh, views: Sequence[View], label: int, symmetries: Sequence[Array], size: int = 512) -> Bake:
    """symmetries: (4, 4) world maps of the shape onto itself, best first: unseen parts look there first."""
    uv = unwrap(mesh)
    row, column, face, position, normal = _texels(mesh, uv, size)
    lookups = [_Lookup(view, mesh, label) for view in views if np.any(view.labels == label)]
    colour, weight = _sample(lookups, position, normal)
    seen = weight > 0
    for symmetry in symmetries:
        open_ = weight <= 0
        moved = transform_points(symmetry, position[open_])
        colour[open_], weight[open_] = _sample(lookups, moved, normal[open_] @ symmetry[:3, :3].T)
    colour = _filled(position, colour, weight > 0, lookups)
    picture = np.zeros((size, size, 3))
    known = np.zeros((size, size), dtype=bool)
    picture[row, column], known[row, column] = colour, True
    picture = np.clip(np.rint(picture[nearest(known)]), 0, 255).astype(np.uint8)
    flipped = uv.copy()
    flipped[..., 1] = 1 - uv[..., 1]  # picture rows go down, OBJ's v goes up
    share = _seen_share(len(mesh[1]), face, seen)
    area = _areas(mesh)
    return Bake(flipped, picture, share > 0.5, float(np.sum(area * share) / np.sum(area)))


def _areas(mesh: Mesh) -> Array:
    a, b, c = (mesh[0][mesh[1][:, k]] for k in range(3))
    return 0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1)


def _seen_share(count: int, face: NDArray[np.int64], seen: NDArray[np.bool_]) -> Array:
    total = np.bincount(face, minlength=count)
    return np.bincount(face, weights=seen.astype(float), minlength=count) / np.maximum(total, 1)


def _texels(
    mesh: Mesh, uv: Array, size: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], Array, Array]:
    """Row, column, face, world position (N, 3) and normal (N, 3) of every texel that a face covers."""
    corners = uv * (size - 1)
    ones = np.ones(corners.shape[:2])
    parts = [part[:2] for part in covered(corners, ones, np.arange(len(corners)), size, size)]
    pixel, face = (np.concatenate([part[k] for part in parts]) for k in (0, 1))
    pixel, first = np.unique(pixel, return_index=True)
    face = face[first]
    row, column = np.divmod(pixel, size)
    weights = barycentric(corners[face], np.stack([column, row], axis=1).astype(float))
    position = np.einsum("ni,nij->nj", weights, mesh[0][mesh[1][face]])
    normal = np.einsum("ni,nij->nj", weights, corner_normals(mesh)[face])
    return row, column, face, position, normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)


class _Lookup:
    """Colours of one view where it sees the object."""

    def __init__(self, view: View, mesh: Mesh, label: int) -> None:
        self.view = view
        mask = view.labels == label
        self.inner = mask
        for width in (9, 5, 3):  # the outermost pixels mix with the background
            inner = cv2.erode(mask.astype(np.uint8), np.ones((width, width), np.uint8)) > 0
            if inner.sum() > 0.6 * mask.sum():
                self.inner = inner
                break
        depth, _ = render_depth(mesh, view.camera, view.T_world_camera)
        self.depth = np.where(np.isfinite(depth), depth, 0)
        self.color = view.color.astype(np.float32)
        self.median = np.median(view.color[self.inner], axis=0)

    def sample(self, position: Array, normal: Array) -> tuple[Array, Array]:
        """Colours (N, 3) and weights (N,): the cosine of view and normal where visible, else 0."""
        view = self.view
        pixel, z = project(view.camera, view.T_world_camera, position)
        toward = view.T_world_camera[:3, 3] - position
        cosine = np.sum(toward * normal, axis=1) / np.maximum(np.linalg.norm(toward, axis=1), 1e-9)
        u, v = np.rint(pixel).astype(int).T
        inside = (u >= 0) & (v >= 0) & (u < view.camera.width) & (v < view.camera.height) & (z > 0)
        u, v = np.where(inside, u, 0), np.where(inside, v, 0)
        front = self.depth[v, u]
        visible = inside & self.inner[v, u] & (cosine > GRAZING) & (front > 0) & (z < front + SEEN_TOLERANCE_M)
        where = pixel.astype(np.float32)
        colour = cv2.remap(self.color, where[:, None, 0], where[:, None, 1], cv2.INTER_LINEAR)[:, 0]
        return colour.astype(float), np.where(visible, cosine, 0.0)


def _sample(lookups: Sequence[_Lookup], position: Array, normal: Array) -> tuple[Array, Array]:
    """The colour of the view that looks most squarely at each point."""
    colour, weight = np.zeros((len(position), 3)), np.zeros(len(position))
    for start in range(0, len(position), 30000):  # remap takes at most 32767 rows
        part = slice(start, start + 30000)
        for lookup in lookups:
            value, cosine = lookup.sample(position[part], normal[part])
            better = cosine > weight[part]
            colour[part][better], weight[part][better] = value[better], cosine[better]
    return colour, weight


def _filled(position: Array, colour: Array, known: NDArray[np.bool_], lookups: Sequence[_Lookup]) -> Array:
    """Unknown texels get a broad average of known ones near them in space: plausible, and without streaks."""
    if not known.any():
        return np.broadcast_to(np.mean([lookup.median for lookup in lookups], axis=0), colour.shape).copy()
    if known.all():
        return colour
    source: NDArray[np.intp] = np.flatnonzero(known)[:: max(1, int(known.sum()) // 6000)]
    stretch = np.array([1.0, 1.0, LEVEL])
    tree = KDTree(position[source] * stretch)
    distance, index = tree.query(position[~known] * stretch, k=min(64, len(source)))
    missing = int((~known).sum())
    distance, index = np.reshape(distance, (missing, -1)), np.reshape(index, (missing, -1))
    weights = 1.0 / (distance + 0.004) ** 2
    out = colour.copy()
    out[~known] = np.einsum("nk,nkc->nc", weights, colour[source][index]) / weights.sum(axis=1, keepdims=True)
    return out
