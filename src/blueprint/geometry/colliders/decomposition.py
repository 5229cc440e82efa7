"""Approximate convex decomposition: CoACD or V-HACD, refined until it matches the solid."""

from __future__ import annotations

from typing import Literal

import numpy as np
import trimesh

from blueprint.geometry.colliders.pieces import convex_hull
from blueprint.geometry.mesh import Mesh, quadric_collapsed
from blueprint.geometry.transforms import Array

Decomposer = Literal["coacd", "vhacd"]
THIN_M = 2e-4  # points that span less than this in some direction are a sliver, which a simulator would refuse


def pieces(mesh: Mesh) -> list[Mesh]:
    """The connected parts of a mesh, if each is a closed solid by itself (boards of a shelf); else the whole."""
    whole = trimesh.Trimesh(*mesh, process=False)
    if whole.body_count < 2:
        return [mesh]
    parts = whole.split(only_watertight=False)
    if not all(part.is_watertight and part.volume > 0 for part in parts):
        return [mesh]
    return [(np.asarray(part.vertices), np.asarray(part.faces)) for part in parts]


def threshold_for(mesh: Mesh, bound_m: float) -> float:
    """CoACD's concavity threshold for a distance bound: it works in a box of side 2 about the object."""
    return float(np.clip(bound_m / (np.ptp(mesh[0], axis=0).max() / 2), 0.02, 0.08))


def coacd_hulls(
    mesh: Mesh, *, threshold: float, max_hulls: int, max_faces: int, seed: int, remesh: bool = False
) -> list[Mesh]:
    """Convex decomposition by CoACD (Wei et al., SIGGRAPH 2022).

    threshold: concavity at which cutting stops, a share of the object's size; max_faces: the mesh is decimated to
    this first (time grows faster than the face count); remesh: through a voxel grid first, for meshes on which CoACD
    aborts (it thickens thin walls a little). The search settings cost a fraction of the default's time.
    """
    import coacd

    coacd.set_log_level("error")
    vertices, faces = (np.asarray(part) for part in mesh)
    if len(faces) > max_faces:
        vertices, faces = quadric_collapsed(mesh, max_faces)
    parts = coacd.run_coacd(
        coacd.Mesh(np.asarray(vertices, dtype=float), np.asarray(faces, dtype=np.int32)),
        threshold=threshold,
        max_convex_hull=max_hulls,
        resolution=500,
        mcts_iterations=30,
        mcts_nodes=8,
        mcts_max_depth=2,
        preprocess_mode="on" if remesh else "auto",
        preprocess_resolution=60,
        seed=seed,
    )
    return _solid_hulls([np.asarray(points, dtype=float) for points, _ in parts])


def vhacd_hulls(mesh: Mesh, *, max_hulls: int, resolution: int) -> list[Mesh]:
    """Convex decomposition by V-HACD 4 (Mamou): by voxels, `resolution` of them. No thread of its own."""
    import vhacdx

    faces = np.column_stack([np.full(len(mesh[1]), 3), mesh[1]]).ravel()  # each face after its number of corners
    parts = vhacdx.compute_vhacd(
        np.asarray(mesh[0], dtype=float),
        faces.astype(np.uint32),
        maxConvexHulls=max_hulls,
        resolution=resolution,
        minimumVolumePercentErrorAllowed=0.5,
        asyncACD=False,
    )
    return _solid_hulls([np.asarray(points, dtype=float) for points, _ in parts])


def _solid_hulls(clouds: list[Array]) -> list[Mesh]:
    return [convex_hull(points) for points in clouds if len(points) >= 4 and thickness(points) > THIN_M]


def thickness(points: Array) -> float:
    """Least extent [m] of points (N, 3) along their principal axes."""
    centred = points - points.mean(axis=0)
    axes = np.linalg.svd(centred, full_matrices=False)[2]
    return float(np.ptp(centred @ axes.T, axis=0).min())
