"""Exact convex decomposition of solids with flat faces: cabinets, drawers, bins, boards."""

from __future__ import annotations

import manifold3d
import numpy as np
import trimesh

from blueprint.geometry.colliders.decomposition import THIN_M, thickness
from blueprint.geometry.mesh import Mesh
from blueprint.geometry.transforms import Array

REFLEX_RAD = 0.05  # a face pair bent inward by less is flat
MOST_PLANES = 40
FILM_M3 = 1e-10  # what a cut through a face leaves of it
CONVEX = 1.01  # hull over solid volume of a piece that needs no further cut


def planar_pieces(mesh: Mesh, max_pieces: int = 64) -> list[Mesh] | None:
    """Convex pieces whose union is the solid, cut along the planes of its inward edges; the best plane first.

    None for a solid with too many such planes (a rounded one), or that these planes do not divide into convex pieces.
    """
    mesh = np.round(mesh[0], 5), mesh[1]  # a plane and a face of it a nanometre apart would leave a film
    planes = _inward_planes(mesh)
    if planes is None or len(planes) == 0:
        return None
    solid = manifold3d.Manifold(
        manifold3d.Mesh64(np.asarray(mesh[0], dtype=np.float64), np.asarray(mesh[1], dtype=np.uint64))
    )
    waiting, done = [solid], []
    while waiting:
        if len(waiting) + len(done) > max_pieces:
            return None
        piece = waiting.pop()
        if piece.volume() < FILM_M3:
            continue
        if piece.hull().volume() <= CONVEX * piece.volume():
            done.append(piece)
            continue
        parts = piece.decompose()
        if len(parts) > 1:
            waiting += parts
            continue
        halves = _best_cut(piece, planes)
        if halves is None:
            return None
        waiting += halves
    made = [_mesh(piece) for piece in sorted(done, key=_order)]
    return [piece for piece in made if thickness(piece[0]) > THIN_M]


def _inward_planes(mesh: Mesh) -> Array | None:
    """(K, 4) normals and offsets of the faces at inward edges, each plane once; None where there are too many."""
    body = trimesh.Trimesh(*mesh, process=False)
    inward = ~body.face_adjacency_convex & (body.face_adjacency_angles > REFLEX_RAD)
    faces = np.unique(body.face_adjacency[inward])
    normals = body.face_normals[faces].round(12)  # an axis exactly, so that a cut leaves no film
    offsets = np.einsum("ij,ij->i", normals, body.triangles[faces, 0])
    flip = np.where((normals @ [1.0, 1e-2, 1e-4]) < 0, -1.0, 1.0)
    planes = np.column_stack([normals, offsets]) * flip[:, None]
    _, first = np.unique(
        np.column_stack([planes[:, :3].round(3), planes[:, 3].round(4)]) + 0.0, axis=0, return_index=True
    )
    return planes[np.sort(first)] if len(first) <= MOST_PLANES else None


def _best_cut(piece: manifold3d.Manifold, planes: Array) -> list[manifold3d.Manifold] | None:
    """The two halves with the least length of inward edges left, then with the least hull volume together."""
    best, least = None, (_inward_length(piece) - 1e-6, np.inf)
    for plane in planes:
        halves = [half.simplify(1e-6) for half in piece.split_by_plane(tuple(plane[:3].tolist()), float(plane[3]))]
        halves = [half for half in halves if half.volume() >= FILM_M3]  # one, where the cut took off a film
        left = sum(_inward_length(half) for half in halves)
        cost = (round(left, 5), sum(half.hull().volume() for half in halves))
        if cost < least:
            best, least = halves, cost
    return best


def _inward_length(piece: manifold3d.Manifold) -> float:
    """[m] of edges where the surface bends inward."""
    body = trimesh.Trimesh(*_mesh(piece), process=False)
    inward = ~body.face_adjacency_convex & (body.face_adjacency_angles > REFLEX_RAD)
    ends = body.vertices[body.face_adjacency_edges[inward]]
    return float(np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1).sum())


def _mesh(piece: manifold3d.Manifold) -> Mesh:
    made = piece.to_mesh64()
    return np.asarray(made.vert_properties[:, :3], dtype=float), np.asarray(made.tri_verts, dtype=np.int64)


def _order(piece: manifold3d.Manifold) -> tuple[float, ...]:
    return tuple(round(value, 6) for value in piece.bounding_box())
