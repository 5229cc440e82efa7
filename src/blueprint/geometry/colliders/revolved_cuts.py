"""Convex pieces of an open vessel that is round about its vertical: its floor, and its wall in bands and sectors."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import manifold3d
import numpy as np

from blueprint.geometry.colliders.fit import fit_of
from blueprint.geometry.colliders.pieces import convex_hull
from blueprint.geometry.mesh import Mesh

STEPS = ((12, 5), (16, 5))  # sectors, bands: tried in turn, each finer than the last
ROUND_SHARE = 0.12  # the outline's radius varies by at most this about its mean
SLIVER_M3 = 1e-10
BESIDE_AXIS_M = np.array([3.7e-4, 7.1e-4])  # where the floor is probed: on the axis itself faces meet in a point


def revolved_hulls(mesh: Mesh, bound_m: float) -> list[Mesh] | None:
    """Hulls within `bound_m` of a closed mesh; None where it is no round vessel or no step is fine enough.

    The axis is the vertical through the middle of the mesh's bounding box.
    """
    vertices = mesh[0] - _middle(mesh)
    radius = np.hypot(*vertices[_rim(vertices)][:, :2].T)
    if np.ptp(radius) > 2 * ROUND_SHARE * radius.mean():
        return None
    solid = manifold3d.Manifold(manifold3d.Mesh64(mesh[0] - _middle(mesh), mesh[1].astype(np.uint64)))
    floor = _floor(vertices, mesh[1])
    if floor is None or solid.status() != manifold3d.Error.NoError:
        return None
    for sectors, bands in STEPS:
        hulls = [(points + _middle(mesh), faces) for points, faces in _pieces(solid, floor, sectors, bands)]
        if fit_of(mesh, hulls, samples=800).hausdorff_m <= bound_m:
            return hulls
    return None


def _middle(mesh: Mesh) -> np.ndarray:
    return (mesh[0].min(axis=0) + mesh[0].max(axis=0)) / 2


def _rim(vertices: np.ndarray) -> np.ndarray:
    """Indices (K,) of the outermost vertex in each of 36 directions."""
    turn = ((np.arctan2(vertices[:, 1], vertices[:, 0]) + np.pi) / (2 * np.pi) * 36).astype(int) % 36
    reach = np.hypot(vertices[:, 0], vertices[:, 1])
    each = (np.flatnonzero(turn == direction) for direction in range(36))
    return np.array([index[np.argmax(reach[index])] for index in each if len(index)])


def _floor(vertices: np.ndarray, faces: np.ndarray) -> float | None:
    """Height at which the axis, from above, meets the vessel's inside; None when that is near its rim or nowhere."""
    corners = vertices[faces]
    a, b, c = (corners[:, k, :2] - BESIDE_AXIS_M for k in range(3))
    sides = np.stack([_cross(a, b), _cross(b, c), _cross(c, a)], axis=1)  # which side of each edge the axis passes
    through = (sides > 0).all(axis=1) | (sides < 0).all(axis=1)
    heights = np.sort(corners[through][:, :, 2].mean(axis=1))
    low, high = vertices[:, 2].min(), vertices[:, 2].max()
    if not len(heights) or heights[-1] > high - 0.25 * (high - low):
        return None
    return float(heights[-1])


def _cross(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    return p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]


def _pieces(solid: manifold3d.Manifold, floor: float, sectors: int, bands: int) -> Iterator[Mesh]:
    """Hulls of the floor's slab and of every sector of every band of the wall."""
    high = solid.bounding_box()[5]
    wall, slab = solid.split_by_plane((0, 0, 1), floor)
    yield from _hull(slab)
    levels = floor + (high - floor) * np.linspace(0, 1, bands + 1) ** 2  # finer where the inside curves
    for bottom, top in pairwise(levels.tolist()):
        band = wall.trim_by_plane((0, 0, 1), bottom).trim_by_plane((0, 0, -1), -top)
        for start in 2 * np.pi * np.arange(sectors) / sectors:
            stop = start + 2 * np.pi / sectors
            part = band.trim_by_plane((-np.sin(start), np.cos(start), 0), 0.0)
            yield from _hull(part.trim_by_plane((np.sin(stop), -np.cos(stop), 0), 0.0))


def _hull(part: manifold3d.Manifold) -> Iterator[Mesh]:
    if part.volume() > SLIVER_M3:
        yield convex_hull(np.asarray(part.to_mesh64().vert_properties)[:, :3])
