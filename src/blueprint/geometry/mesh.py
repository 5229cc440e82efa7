"""Triangle meshes: closed surfaces of solids, orientation, simplification."""

from __future__ import annotations

import manifold3d
import numpy as np
import trimesh
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from blueprint.geometry.completion.shapes import Prism, section_outline
from blueprint.geometry.transforms import Array

Faces = NDArray[np.int64]
Mesh = tuple[Array, Faces]  # vertices (V, 3) [m], faces (F, 3), counter-clockwise seen from outside


def is_closed(mesh: Mesh) -> bool:
    """Watertight, consistently wound and outward."""
    body = trimesh.Trimesh(*mesh, process=False)
    return bool(body.is_watertight and body.is_winding_consistent and body.volume > 0)


def volume(mesh: Mesh) -> float:
    """[m^3]"""
    return float(trimesh.Trimesh(*mesh, process=False).volume)


def prism_mesh(solid: Prism, *, corner: int = 12, levels: int = 6) -> Mesh:
    """Closed surface of a prism in the world frame. levels: rings of a straight side; a profile gets 24."""
    if solid.roundness < 0.02 and len(solid.profile) == 1:
        vertices, faces = grid_box(2 * solid.half[0], 2 * solid.half[1], solid.height)
        return (vertices + np.array([0, 0, solid.height / 2])) @ solid.rotation.T + solid.base, faces
    if len(solid.profile) > 1:
        levels = 24
    if solid.wall > 0:
        return container_mesh(solid, corner, 18)
    smooth = _smooth_profile(solid, levels)
    rings = []
    heights = np.linspace(0, solid.height, levels + 1)
    for z, (a, b), middle in zip(heights, smooth, solid.middle(heights), strict=True):
        outline = section_outline(a, b, max(solid.roundness, 0.05), corner)
        rings.append(np.column_stack([outline, np.full(len(outline), z)]) + middle)
    caps = (0.66, 0.33)
    stack = [_shrunk(rings[0], s) for s in caps[::-1]] + rings + [_shrunk(rings[-1], s) for s in caps]
    vertices, faces = stacked_rings(np.stack(stack))
    return vertices @ solid.rotation.T + solid.base, faces


def container_mesh(solid: Prism, corner: int, levels: int) -> Mesh:
    """Closed surface of an open container: up the outside, over the rim, down the inside."""
    outer = _smooth_profile(solid, levels)
    inner = [(max(a - solid.wall, 1e-3), max(b - solid.wall, 1e-3)) for a, b in outer]
    heights = np.linspace(0, solid.height, levels + 1)
    dense = np.linspace(solid.wall, solid.height, levels + 1)
    inside = [tuple(np.interp(z, heights, [row[k] for row in inner]) for k in (0, 1)) for z in dense[::-1]]
    walls = [*zip(heights, outer, strict=True), *zip(dense[::-1], inside, strict=True)]
    rings = [np.column_stack([section_outline(a, b, 1.0, corner), np.full(4 * corner, z)]) for z, (a, b) in walls]
    stack = [_shrunk(rings[0], 0.5), *rings, _shrunk(rings[-1], 0.66), _shrunk(rings[-1], 0.33)]
    vertices, faces = stacked_rings(np.stack(stack))
    return vertices @ solid.rotation.T + solid.base, faces


def _smooth_profile(solid: Prism, levels: int) -> list[tuple[float, float]]:
    z = np.linspace(0, solid.height, levels + 1)
    if len(solid.profile) > 1:
        knots = np.linspace(0, solid.height, len(solid.profile))
        dense = tuple(PchipInterpolator(knots, solid.profile)(z).tolist())
        solid = Prism(
            solid.rotation, solid.base, solid.half, solid.height, solid.roundness, dense, solid.taper, solid.lean
        )
    a, b = solid.sections(z)
    return list(zip(a.tolist(), b.tolist(), strict=True))


def _shrunk(ring: Array, scale: float) -> Array:
    middle = ring.mean(axis=0)
    return middle + (ring - middle) * scale


def stacked_rings(rings: Array) -> Mesh:
    """Closed surface through rings (K, N, 3), counter-clockwise seen from the last; both ends closed by a centre."""
    count, around = rings.shape[:2]
    vertices = np.concatenate([rings.reshape(-1, 3), rings[:1].mean(axis=1), rings[-1:].mean(axis=1)])
    k, i = np.meshgrid(np.arange(count - 1), np.arange(around), indexing="ij")
    a, b = (k * around + i).ravel(), (k * around + (i + 1) % around).ravel()
    c, d = a + around, b + around
    i = np.arange(around)
    j, low, high = (i + 1) % around, np.full(around, count * around), np.full(around, count * around + 1)
    top = (count - 1) * around
    faces = [np.stack(t, axis=1) for t in ((a, b, d), (a, d, c), (j, i, low), (top + i, top + j, high))]
    return vertices, np.concatenate(faces)


def grid_box(x: float, y: float, z: float, cell: float = 0.015) -> Mesh:
    """Closed box about the origin; each side is a grid of cells of about `cell` [m], at most 10 by 10."""
    extents = (x, y, z)
    counts = [int(np.clip(np.ceil(e / cell), 1, 10)) for e in extents]
    vertices, faces, offset = [], [], 0
    for axis in range(3):
        u, v = (axis + 1) % 3, (axis + 2) % 3
        s, t = np.meshgrid(np.linspace(-0.5, 0.5, counts[u] + 1), np.linspace(-0.5, 0.5, counts[v] + 1), indexing="ij")
        for sign in (1, -1):
            side = np.zeros((s.size, 3))
            side[:, axis], side[:, u], side[:, v] = (
                sign * extents[axis] / 2,
                s.ravel() * extents[u],
                t.ravel() * extents[v],
            )
            index = np.arange(s.size).reshape(s.shape) + offset
            a, b, c, d = (p.ravel() for p in (index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]))
            quads = np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)])
            vertices.append(side)
            faces.append(quads if sign > 0 else quads[:, ::-1])
            offset += s.size
    return merged(np.concatenate(vertices), np.concatenate(faces))


def merged(vertices: Array, faces: Faces, tolerance: float = 1e-7) -> Mesh:
    """The mesh with equal vertices joined and collapsed faces dropped; keeps the order of first appearance."""
    keys = np.round(vertices / tolerance).astype(np.int64)
    _, first, inverse = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    joined = rank[inverse.ravel()][faces]
    whole = (joined[:, 0] != joined[:, 1]) & (joined[:, 1] != joined[:, 2]) & (joined[:, 2] != joined[:, 0])
    return vertices[first[order]], joined[whole]


def convex_hull(points: Array) -> Mesh:
    """Closed outward convex hull of points (N, 3)."""
    hull = trimesh.convex.convex_hull(points)
    return np.asarray(hull.vertices, dtype=float), np.asarray(hull.faces, dtype=np.int64)


def simplified(mesh: Mesh, max_faces: int) -> Mesh:
    """The mesh with at most about `max_faces` faces, still closed (manifold3d keeps the surface a manifold).

    A larger tolerance does not always leave fewer faces: past some point pieces of a crumpled surface turn over and
    multiply. So the tolerance ends at a twentieth of the size; quadric collapse does the rest where it stays closed.
    """
    vertices, faces = mesh
    if len(faces) <= max_faces:
        return mesh
    fewest = manifold3d.Manifold(manifold3d.Mesh64(vertices.astype(np.float64), faces.astype(np.uint64)))
    extent = float(np.ptp(vertices, axis=0).max())
    for tolerance in extent / np.geomspace(400, 20, 10):
        if fewest.num_tri() <= max_faces:
            break
        fewest = min(fewest, fewest.simplify(float(tolerance)), key=manifold3d.Manifold.num_tri)
    out = fewest.to_mesh64()
    reduced = np.asarray(out.vert_properties[:, :3], dtype=float), np.asarray(out.tri_verts, dtype=np.int64)
    if len(reduced[1]) <= max_faces:
        return reduced
    collapsed = quadric_collapsed(reduced, max_faces)
    return collapsed if is_closed(collapsed) else reduced


def quadric_collapsed(mesh: Mesh, max_faces: int) -> Mesh:
    """About `max_faces` faces by quadric edge collapse (fast-simplification): quick, but may open a surface."""
    import fast_simplification

    made = fast_simplification.simplify(mesh[0].astype(np.float32), mesh[1], target_count=max_faces)  # pyright: ignore
    return np.asarray(made[0], dtype=float), np.asarray(made[1], dtype=np.int64)


def corner_normals(mesh: Mesh, crease_deg: float = 40.0) -> Array:
    """(F, 3, 3) unit normals of every face corner, averaged over neighbours that meet at less than `crease_deg`."""
    vertices, faces = mesh
    cross = np.cross(vertices[faces[:, 1]] - vertices[faces[:, 0]], vertices[faces[:, 2]] - vertices[faces[:, 0]])
    area = np.linalg.norm(cross, axis=1)
    flat = cross / np.maximum(area, 1e-15)[:, None]
    incident: list[list[int]] = [[] for _ in range(len(vertices))]
    for face, corners in enumerate(faces.tolist()):
        for vertex in corners:
            incident[vertex].append(face)
    out = np.empty((len(faces), 3, 3))
    limit = np.cos(np.deg2rad(crease_deg))
    for vertex, around in enumerate(incident):
        if not around:
            continue
        group = np.array(around)
        agree = (flat[group] @ flat[group].T) >= limit
        total = agree @ cross[group]
        total /= np.maximum(np.linalg.norm(total, axis=1), 1e-15)[:, None]
        row, column = np.nonzero(faces[group] == vertex)
        out[group[row], column] = total[row]
    return out
