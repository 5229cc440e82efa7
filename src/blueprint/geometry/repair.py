"""Close surfaces that came open: models from elsewhere are made to be looked at, not to be solid.

Every piece of a surface is closed by the mildest means that works: turned outward, its holes capped, given a thickness,
or, where nothing else closes it, replaced by its hull. What was done is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import trimesh
from numpy.typing import NDArray
from scipy.spatial import QhullError

from blueprint.geometry.mesh import Faces, Mesh, convex_hull, is_closed
from blueprint.geometry.transforms import Array

WELD_M = 1e-6  # vertices closer than this are one
CAP_SHARE = 0.1  # holes of up to this share of a piece's area are flaws; larger ones are openings
FOOT_SHARE = 0.02  # a hole this near the lowest point (share of the height) is a bottom that was left out
SKIN_M = 0.002  # thickness given to a surface that has none
LEAST_AREA_M2 = 1e-7


@dataclass(frozen=True)
class Closed:
    """mesh: closed, outward; source: (F,) face of the original that each face comes from; corner: (F, 3) which corner
    of it each corner was (all 0 for faces that were added); steps: what was done, empty = it was closed already.
    """

    mesh: Mesh
    source: Faces
    corner: Faces
    steps: tuple[str, ...]


def closed(mesh: Mesh) -> Closed:
    """Raises ValueError when there is no surface to speak of."""
    vertices, faces, source = _welded(mesh)
    if len(faces) and is_closed((vertices, faces)):
        return Closed((vertices, faces), source, _corners(len(faces)), ())
    pieces = [done for group in _pieces(faces) if (done := _close_piece(vertices, faces[group], source[group]))]
    if not pieces:
        raise ValueError("its mesh has no surface")
    steps = tuple(dict.fromkeys(step for piece in pieces for step in piece.steps))
    return Closed(
        concatenated([p.mesh for p in pieces]),
        np.concatenate([p.source for p in pieces]),
        np.concatenate([p.corner for p in pieces]),
        steps,
    )


def concatenated(meshes: Sequence[Mesh]) -> Mesh:
    """All of them as one mesh."""
    offsets = np.cumsum([0, *(len(vertices) for vertices, _ in meshes)])
    faces = [faces + start for (_, faces), start in zip(meshes, offsets, strict=False)]
    return np.concatenate([vertices for vertices, _ in meshes]), np.concatenate(faces)


def _corners(count: int) -> Faces:
    return np.tile(np.arange(3), (count, 1))


def _welded(mesh: Mesh) -> tuple[Array, Faces, NDArray[np.int64]]:
    """Equal vertices joined; collapsed and doubled faces dropped; the original index of every face kept."""
    vertices, faces = mesh
    keys = np.round(vertices / WELD_M).astype(np.int64)
    _, first, inverse = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    joined = inverse.ravel()[faces]
    whole = (joined[:, 0] != joined[:, 1]) & (joined[:, 1] != joined[:, 2]) & (joined[:, 2] != joined[:, 0])
    kept: NDArray[np.int64] = np.flatnonzero(whole)
    _, once = np.unique(np.sort(joined[kept], axis=1), axis=0, return_index=True)
    kept = kept[np.sort(once)]
    return vertices[first], joined[kept], kept


def _pieces(faces: Faces) -> list[NDArray[np.int64]]:
    """Faces grouped by shared edges; where three or more meet at an edge, they are not held together by it."""
    adjacent = trimesh.graph.face_adjacency(faces=faces)
    groups = trimesh.graph.connected_components(adjacent, nodes=np.arange(len(faces)), min_len=1)
    return [np.sort(np.asarray(group, dtype=np.int64)) for group in groups]


def _close_piece(vertices: Array, faces: Faces, source: NDArray[np.int64]) -> Closed | None:
    """None for a sliver."""
    used, index = np.unique(faces, return_inverse=True)
    body = trimesh.Trimesh(vertices[used], index.reshape(faces.shape), process=False)
    if body.area < LEAST_AREA_M2:
        return None
    before = np.asarray(body.faces).copy()
    trimesh.repair.fix_winding(body)
    turned = np.any(np.asarray(body.faces) != before, axis=1)
    mesh = np.asarray(body.vertices, dtype=float), np.asarray(body.faces, dtype=np.int64)
    corner = np.where(turned[:, None], [[2, 1, 0]], [[0, 1, 2]])
    for close in (_as_it_is, _capped, _thickened):
        if (done := close(mesh, corner)) is None:
            continue
        points, triangles = done.mesh
        if trimesh.Trimesh(points, triangles, process=False).volume < 0:
            done = replace(done, mesh=(points, triangles[:, ::-1]), corner=done.corner[:, ::-1])
        if is_closed(done.mesh):
            return replace(done, source=source[done.source])
    try:
        hull = convex_hull(mesh[0])
    except QhullError:
        return None
    return Closed(hull, np.full(len(hull[1]), source[0]), np.zeros_like(hull[1]), ("a piece replaced by its hull",))


def _as_it_is(mesh: Mesh, corner: Faces) -> Closed | None:
    return None if len(_border(mesh[1])) else Closed(mesh, np.arange(len(mesh[1])), corner, ("turned outward",))


def _capped(mesh: Mesh, corner: Faces) -> Closed | None:
    """Small holes, and missing bottoms, get a fan about their middle; None where another kind of hole is left."""
    vertices, faces = mesh
    low, height = vertices[:, 2].min(), float(np.ptp(vertices[:, 2]))
    area = trimesh.Trimesh(vertices, faces, process=False).area
    points, triangles, parents = [vertices], [faces], [np.arange(len(faces))]
    for loop, beside in _loops(faces):
        ring = vertices[loop]
        middle = ring.mean(axis=0)
        cap = 0.5 * np.linalg.norm(np.cross(ring - middle, np.roll(ring, -1, axis=0) - middle).sum(axis=0))
        bottom = height > 2 * SKIN_M and ring[:, 2].max() < low + FOOT_SHARE * height
        if cap > CAP_SHARE * area and not bottom:
            return None
        centre = np.full(len(loop), len(vertices) + len(points) - 1)
        points.append(middle[None])
        triangles.append(np.stack([np.roll(loop, -1), loop, centre], axis=1))
        parents.append(beside)
    source = np.concatenate(parents)
    corners = np.concatenate([corner, np.zeros((len(source) - len(faces), 3), dtype=np.int64)])
    return Closed((np.concatenate(points), np.concatenate(triangles)), source, corners, ("holes capped",))


def _thickened(mesh: Mesh, corner: Faces) -> Closed | None:
    """The surface and its copy `SKIN_M` behind it, joined along the border."""
    vertices, faces = mesh
    border = _border(faces)
    normals = trimesh.Trimesh(vertices, faces, process=False).vertex_normals
    points = np.concatenate([vertices, vertices - SKIN_M * normals])
    a, b, beside = border.T
    c, d = a + len(vertices), b + len(vertices)
    rim = np.concatenate([np.stack([b, a, c], axis=1), np.stack([b, c, d], axis=1)])
    whole = np.concatenate([faces, faces[:, ::-1] + len(vertices), rim])
    index = np.arange(len(faces))
    corners = np.concatenate([corner, corner[:, ::-1], np.zeros_like(rim)])
    return Closed((points, whole), np.concatenate([index, index, beside, beside]), corners, ("thickened",))


def _border(faces: Faces) -> NDArray[np.int64]:
    """(B, 3) directed edges that only one face has, as it runs them, and that face."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    owner = np.tile(np.arange(len(faces)), 3)
    _, first, count = np.unique(np.sort(edges, axis=1), axis=0, return_index=True, return_counts=True)
    alone = np.sort(first[count == 1])
    return np.column_stack([edges[alone], owner[alone]])


def _loops(faces: Faces) -> list[tuple[Faces, Faces]]:
    """Closed walks along the border: vertices in the faces' order, and the face beside each of their edges."""
    follow: dict[int, list[tuple[int, int]]] = {}
    for a, b, face in _border(faces).tolist():
        follow.setdefault(a, []).append((b, face))
    loops = []
    while follow:
        start = here = next(iter(follow))
        walk, beside = [], []
        while here in follow:
            after, face = follow[here].pop()
            if not follow[here]:
                del follow[here]
            walk.append(here)
            beside.append(face)
            here = after
            if here == start:
                loops.append((np.array(walk), np.array(beside)))
                break
    return loops
