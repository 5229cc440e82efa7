"""Soft bodies: cloth as a grid of triangles, a rope as a line, a soft volume as tetrahedra; for MuJoCo's flexes."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from blueprint.core.errors import InputError
from blueprint.geometry.colliders.fit import winding_number
from blueprint.geometry.mesh import Mesh
from blueprint.geometry.transforms import Array
from blueprint.model.scene import ObjectAsset, SoftBody, Sourced
from blueprint.model.softness import SOFT_KINDS, Soft, Softness

Elements = NDArray[np.int64]
CLOTH_CELLS, ROPE_LINKS, VOLUME_CELLS = 9, 20, 5  # along the longest side: every vertex is a body to simulate
CORNERS = np.array([(i, j, k) for i in (0, 1) for j in (0, 1) for k in (0, 1)])
# Kuhn's division of a cube: the six ways from corner 0 to corner 7; equal in every cube, so neighbours fit together
PATHS = np.array([(0, 1, 3, 7), (0, 3, 2, 7), (0, 2, 6, 7), (0, 6, 4, 7), (0, 4, 5, 7), (0, 5, 1, 7)])


def soft_body(asset: ObjectAsset, mesh: Mesh, kind: Softness, why: str, out: Path) -> tuple[SoftBody, Sourced]:
    """Write soft/NAME.npz; returns the soft body and its mass. Raises InputError for a mesh too small to divide."""
    soft = SOFT_KINDS[kind]
    make = {"cloth": cloth, "rope": rope, "volume": volume}[kind]
    points, elements, thickness, amount = make(mesh, soft)
    if len(elements) == 0:
        raise InputError(f"{asset.name}: no {kind} can be made of it", "set physics.overrides.NAME.soft = 'no'")
    file = f"soft/{asset.name}.npz"
    (out / "soft").mkdir(exist_ok=True)
    np.savez(out / file, points=points, elements=elements)
    body = SoftBody(
        file=file,
        dim=elements.shape[1] - 1,  # type: ignore[arg-type]
        young_pa=soft.young,
        poisson=soft.poisson,
        damping=soft.damping,
        thickness_m=thickness,
        source=f"{why}; {soft.source}",
    )
    unit = "m^2" if kind == "cloth" else "m^3"
    return body, Sourced(value=amount * soft.density, source=f"{amount:.3g} {unit} x {soft.density:g} kg/{unit}")


def cloth(mesh: Mesh, soft: Soft) -> tuple[Array, Elements, float, float]:
    """A grid over the outline seen from above, at the height of the upper surface: points (V, 3), triangles (E, 3),
    thickness [m], area [m^2]. A cloth in several layers becomes one layer."""
    vertices, _ = mesh
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    cell = float((high - low)[:2].max()) / CLOTH_CELLS
    counts = np.maximum(1, np.round((high - low)[:2] / cell).astype(int))
    x, y = (np.linspace(low[k], high[k], counts[k] + 1) for k in (0, 1))
    grid = np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1)
    top = _height(mesh, grid.reshape(-1, 2)).reshape(grid.shape[:2])
    middles = (grid[:-1, :-1] + grid[1:, 1:]) / 2
    covered = np.isfinite(_height(mesh, middles.reshape(-1, 2))).reshape(middles.shape[:2])
    index = np.arange(top.size).reshape(top.shape)
    a, b, c, d = (part[covered] for part in (index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]))
    faces = np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)])
    height = np.where(np.isfinite(top), top, low[2] + soft.thickness) - soft.thickness / 2
    points, faces = _used(np.column_stack([grid.reshape(-1, 2), height.ravel()]), faces)
    corners = points[faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1).sum() / 2
    return points, faces, soft.thickness, float(area)


def rope(mesh: Mesh, soft: Soft) -> tuple[Array, Elements, float, float]:
    """A line along the longest direction: points (V, 3), segments (E, 2), diameter [m], volume [m^3].

    The middle of every slice across that direction; a coil is not followed.
    """
    vertices, _ = mesh
    centred = vertices - vertices.mean(axis=0)
    along = centred @ np.linalg.svd(centred, full_matrices=False)[2][0]
    edges = np.linspace(along.min(), along.max(), ROPE_LINKS + 1)
    slices = [vertices[(along >= a - 1e-9) & (along <= b + 1e-9)] for a, b in pairwise(edges)]
    middles = [(part.min(axis=0) + part.max(axis=0)) / 2 for part in slices if len(part)]
    if len(middles) < 2:
        return np.zeros((0, 3)), np.zeros((0, 2), np.int64), 0.0, 0.0
    points = np.array(middles)
    length = np.linalg.norm(np.diff(points, axis=0), axis=1).sum()
    spread = [np.sort(np.ptp(part, axis=0))[1] for part in slices if len(part) > 3]
    diameter = float(np.clip(np.median(spread) if spread else 0.0, 0.003, length / 4))
    elements = np.stack([np.arange(len(points) - 1), np.arange(1, len(points))], axis=1)
    return points, elements, diameter, float(length * np.pi * diameter**2 / 4)


def volume(mesh: Mesh, soft: Soft) -> tuple[Array, Elements, float, float]:
    """Cubes inside the solid, each of six tetrahedra: points (V, 3), tetrahedra (E, 4), contact skin [m], volume."""
    del soft
    vertices, _ = mesh
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    counts = np.maximum(2, np.round((high - low) / ((high - low).max() / VOLUME_CELLS)).astype(int))
    cell = (high - low) / counts
    cells = np.stack(np.meshgrid(*(np.arange(n) for n in counts), indexing="ij"), axis=-1).reshape(-1, 3)
    inside = np.abs(winding_number(mesh, low + (cells + 0.5) * cell)) > 0.5
    cells = cells[inside]
    corners = cells[:, None] + CORNERS  # (C, 8, 3)
    number = corners @ np.array([(counts[1] + 1) * (counts[2] + 1), counts[2] + 1, 1])
    tets = number[:, PATHS].reshape(-1, 4)
    every = np.stack(np.meshgrid(*(np.arange(n + 1) for n in counts), indexing="ij"), axis=-1).reshape(-1, 3)
    points, tets = _used(low + every * cell, tets)
    return points, _positive(points, tets), 0.002, float(len(cells) * cell.prod())


def _height(mesh: Mesh, xy: Array) -> Array:
    """(N,) height [m] of the mesh's upper surface at xy (N, 2), NaN beside it."""
    corners = mesh[0][mesh[1]]
    a, b, c = (corners[:, k, :2] for k in range(3))
    area = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    keep = np.abs(area) > 1e-12
    a, b, c, z, area = a[keep], b[keep], c[keep], corners[keep][:, :, 2], area[keep]
    heights = np.full(len(xy), np.nan)
    for index, point in enumerate(xy):
        v = ((c - a)[:, 1] * (point - a)[:, 0] - (c - a)[:, 0] * (point - a)[:, 1]) / area
        w = ((b - a)[:, 0] * (point - a)[:, 1] - (b - a)[:, 1] * (point - a)[:, 0]) / area
        over = (v >= -1e-9) & (w >= -1e-9) & (v + w <= 1 + 1e-9)
        if over.any():
            heights[index] = (z[:, 0] * (1 - v - w) + z[:, 1] * v + z[:, 2] * w)[over].max()
    return heights


def _used(points: Array, elements: Elements) -> tuple[Array, Elements]:
    """Only the points that elements name."""
    used, index = np.unique(elements, return_inverse=True)
    return points[used], index.reshape(elements.shape)


def _positive(points: Array, tets: Elements) -> Elements:
    """Corners in the order that gives every tetrahedron a positive volume."""
    a, b, c, d = (points[tets[:, k]] for k in range(4))
    negative = np.einsum("ij,ij->i", np.cross(b - a, c - a), d - a) < 0
    return np.where(negative[:, None], tets[:, [0, 2, 1, 3]], tets)
