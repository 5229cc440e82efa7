"""Closed meshes cut into closed pieces with exact booleans; the texture stays where the surface stays."""

from __future__ import annotations

from dataclasses import dataclass

import manifold3d
import numpy as np
from manifold3d import Manifold
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from blueprint.geometry.mesh import Mesh
from blueprint.geometry.transforms import Array

WALL_M = 0.012  # of a body made hollow, and of a drawer's box
PLAY_M = 0.003  # between a part and the body around it
LEAST_VOLUME = 1e-9  # [m^3] of a piece worth keeping


def components(mesh: Mesh) -> NDArray[np.int64]:
    """(F,) which connected piece each face belongs to, numbered in order of first appearance."""
    vertices, faces = mesh
    row, column = faces[:, [0, 1, 2]].ravel(), faces[:, [1, 2, 0]].ravel()
    graph = coo_array((np.ones(len(row)), (row, column)), shape=(len(vertices), len(vertices)))
    label = connected_components(graph, directed=False)[1][faces[:, 0]]
    order = {int(value): rank for rank, value in enumerate(dict.fromkeys(label.tolist()))}
    return np.array([order[int(value)] for value in label], dtype=np.int64)


def as_manifold(mesh: Mesh, uv: Array | None = None) -> Manifold | None:
    """The solid that closed pieces make together, or None when one of them is not closed.

    uv: (F, 3, 2) per corner; kept through every boolean. Pieces that are turned inside out are voids.
    """
    label = components(mesh)
    solids, voids = [], []
    for piece in range(int(label.max()) + 1):
        corners = mesh[0][mesh[1][label == piece]]
        inward = float(np.einsum("ij,ij->i", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum()) < 0
        made = _single(corners[:, ::-1] if inward else corners, None if uv is None else uv[label == piece])
        if made is None:
            return None
        (voids if inward else solids).append(made)
    whole = Manifold.batch_boolean(solids, manifold3d.OpType.Add) if len(solids) > 1 else solids[0]
    for void in voids:
        whole = whole - void
    return whole


def _single(corners: Array, uv: Array | None) -> Manifold | None:
    """One closed piece from its corners (F, 3, 3)."""
    columns = corners.reshape(-1, 3) if uv is None else np.column_stack([corners.reshape(-1, 3), uv.reshape(-1, 2)])
    table, index = np.unique(np.round(columns, 9), axis=0, return_inverse=True)
    _, first, place = np.unique(np.round(table[:, :3], 7), axis=0, return_index=True, return_inverse=True)
    target = first[place.ravel()]
    moved = np.flatnonzero(target != np.arange(len(table)))
    data = manifold3d.Mesh64(
        vert_properties=table,
        tri_verts=index.reshape(-1, 3).astype(np.uint64),
        merge_from_vert=moved.astype(np.uint64),
        merge_to_vert=target[moved].astype(np.uint64),
    )
    made = Manifold(data)
    return made if made.status() == manifold3d.Error.NoError and not made.is_empty() else None


@dataclass(frozen=True)
class Textured:
    """vertices (V, 3), faces (F, 3), uv (F, 3, 2) per corner or None."""

    vertices: Array
    faces: NDArray[np.int64]
    uv: Array | None

    @property
    def mesh(self) -> Mesh:
        return self.vertices, self.faces


def as_mesh(solid: Manifold, ids: frozenset[int], inner_uv: tuple[float, float]) -> Textured:
    """Surface of a solid. ids: what `original_ids` gave of the textured mesh; all other faces are new: `inner_uv`."""
    data = solid.to_mesh64()
    table, corners = np.asarray(data.vert_properties), np.asarray(data.tri_verts, dtype=np.int64)
    uv = table[:, 3:5][corners] if table.shape[1] >= 5 else None
    if uv is not None:
        runs, owner = np.asarray(data.run_index) // 3, np.asarray(data.run_original_id)
        for k, name in enumerate(owner.tolist()):
            if name not in ids:
                uv[runs[k] : runs[k + 1]] = inner_uv
    target = np.arange(len(table))
    target[np.asarray(data.merge_from_vert, dtype=np.int64)] = np.asarray(data.merge_to_vert, dtype=np.int64)
    faces = target[corners]
    used, place = np.unique(faces, return_inverse=True)
    return Textured(table[used, :3].astype(float), place.reshape(-1, 3).astype(np.int64), uv)


def original_ids(solid: Manifold) -> frozenset[int]:
    """Names of the meshes that a solid's surface comes from."""
    return frozenset(np.asarray(solid.to_mesh64().run_original_id).tolist())


def box(low: Array | tuple[float, ...], high: Array | tuple[float, ...]) -> Manifold:
    low, high = np.asarray(low, dtype=float), np.asarray(high, dtype=float)
    return Manifold.cube(tuple(np.maximum(high - low, 0.0).tolist())).translate(tuple(low.tolist()))


@dataclass(frozen=True)
class Cut:
    """part, body: what was cut apart; removed: the gap between them and the room behind [m^3]"""

    part: Manifold
    body: Manifold
    travel: float  # depth of the room behind the slab [m]


def cut_slab(
    solid: Manifold,
    rect: tuple[float, float, float, float],
    front: float,
    back: float,
    *,
    gap: float,
    drawer: bool,
    hollow: bool = True,
) -> Cut:
    """Cut the slab over `rect` between z = back and front, with all that stands out before it, off `solid`.

    Everything in the panel frame. hollow: the body gets a room behind the slab with walls of `WALL_M`;
    drawer: the slab gets an open box that fills this room with `PLAY_M` of play.
    """
    x0, y0, x1, y1 = rect
    bounds = solid.bounding_box()
    far = bounds[5] + 1.0
    clear = min(max(gap, PLAY_M / 3), PLAY_M)
    outline = box((x0 - 1e-6, y0 - 1e-6, back), (x1 + 1e-6, y1 + 1e-6, far))
    proud = box((x0 - 0.05, y0 - 0.05, front + 5e-4), (x1 + 0.05, y1 + 0.05, far))  # handles that stand over the edge
    overhang = [blob for blob in (solid ^ proud).decompose() if _within(blob, rect)]
    part = Manifold.batch_boolean([solid ^ outline, *overhang], manifold3d.OpType.Add)
    body = solid - box((x0 - clear, y0 - clear, back - 1e-6), (x1 + clear, y1 + clear, far))
    for blob in overhang:
        body = body - blob
    wall = float(np.clip(0.06 * min(x1 - x0, y1 - y0), 0.004, WALL_M))
    floor = bounds[2] + wall
    travel = back - floor
    if not hollow or travel < 2 * wall:
        return Cut(part, body, max(back - bounds[2], 0.0))
    low, high = np.array([x0 + wall, y0 + wall, floor]), np.array([x1 - wall, y1 - wall, back + 1e-6])
    low[:2] = np.maximum(low[:2], np.array(bounds[:2]) + wall)
    high[:2] = np.minimum(high[:2], np.array(bounds[3:5]) - wall)
    body = body - box(low, high + np.array([0, 0, 2 * PLAY_M]))
    if drawer:
        part = part + drawer_box(low, high, wall)
    return Cut(part, body, travel)


def drawer_box(low: Array, high: Array, wall: float) -> Manifold:
    """An open box behind a front: bottom, two sides and a back, `PLAY_M` off the room low..high; open above (y)."""
    a, b = low + PLAY_M, high - PLAY_M
    b[1] = a[1] + 0.8 * (b[1] - a[1])  # drawers end below the one above
    b[2] = high[2] + 1e-6  # joined to the front
    inner = box((a[0] + wall, a[1] + wall, a[2] + wall), (b[0] - wall, b[1] + 1.0, b[2] + 1.0))
    return box(a, b) - inner


def _within(blob: Manifold, rect: tuple[float, float, float, float]) -> bool:
    low = blob.bounding_box()
    x, y = (low[0] + low[3]) / 2, (low[1] + low[4]) / 2
    return rect[0] <= x <= rect[2] and rect[1] <= y <= rect[3]


def pieces_of(mesh: Mesh, uv: Array | None, chosen: NDArray[np.bool_]) -> Textured:
    """The chosen faces (F,) as a mesh of their own."""
    faces = mesh[1][chosen]
    used, place = np.unique(faces, return_inverse=True)
    return Textured(mesh[0][used], place.reshape(-1, 3).astype(np.int64), None if uv is None else uv[chosen])
