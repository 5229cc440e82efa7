"""What stands fixed in the scene, with convex colliders."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import trimesh

from blueprint.formats.obj import TexturedMesh, read_obj, write_obj
from blueprint.geometry.mesh import Mesh, convex_hull, is_closed
from blueprint.model.artifacts import Reconstruction
from blueprint.model.scene import StaticPart
from blueprint.stages.physics.config import ColliderConfig
from blueprint.stages.physics.convexes import Wanted, convex_colliders

SHEET_M = 0.01  # how thick a wall or floor without thickness becomes, away from the side it shows
FLAT_DEG = 10.0
FILLED = 1.2  # a flat face whose outline encloses more than this times its area has a hole: a door, a window


def copy_statics(reconstruction: Reconstruction, cfg: ColliderConfig, seed: int, out: Path) -> tuple[StaticPart, ...]:
    """The reconstruction's statics with their files below statics/, each with convex colliders."""
    if not reconstruction.statics:
        return ()
    shutil.copytree(reconstruction.path("statics"), out / "statics", dirs_exist_ok=True)
    return tuple(_with_colliders(part, cfg, seed, out) for part in reconstruction.statics)


def _with_colliders(part: StaticPart, cfg: ColliderConfig, seed: int, out: Path) -> StaticPart:
    if part.colliders:
        return part
    read = read_obj(out / part.mesh)
    mesh = read.vertices, read.faces
    folder = (out / part.mesh).parent / f"{part.name}_colliders"
    folder.mkdir(exist_ok=True)
    if is_closed(mesh):
        scratch = folder / ".scratch"
        hulls = convex_colliders(Wanted(part.name, mesh, cfg.hull_excess, cfg, seed), scratch).hulls
        if scratch.exists():
            scratch.rmdir()
    else:
        hulls = sheets(mesh)
    files = []
    for index, hull in enumerate(hulls):
        path = folder / f"{index:03d}.obj"
        write_obj(TexturedMesh(*hull), path)
        files.append(path.relative_to(out).as_posix())
    return part.model_copy(update={"colliders": tuple(files)})


def sheets(mesh: Mesh) -> list[Mesh]:
    """Slabs behind the flat faces of an open surface: a room's walls. A face with a hole goes triangle by triangle."""
    surface = trimesh.Trimesh(*mesh, process=True)
    near = surface.face_adjacency[surface.face_adjacency_angles < np.deg2rad(FLAT_DEG)]
    groups = trimesh.graph.connected_components(near, nodes=np.arange(len(surface.faces)))
    slabs = []
    for group in sorted((np.sort(group) for group in groups), key=lambda group: int(group[0])):
        normal = (surface.face_normals[group] * surface.area_faces[group, None]).sum(axis=0)
        if np.linalg.norm(normal) < 1e-9:
            continue
        normal = normal / np.linalg.norm(normal)
        whole = _slab(surface.triangles[group].reshape(-1, 3), normal)
        hole = whole is None or trimesh.Trimesh(*whole).volume > FILLED * SHEET_M * surface.area_faces[group].sum()
        triangles = [_slab(triangle, normal) for triangle in surface.triangles[group]] if hole else [whole]
        slabs += [slab for slab in triangles if slab is not None]
    return slabs


def _slab(points: np.ndarray, normal: np.ndarray) -> Mesh | None:
    thick = np.concatenate([points, points - SHEET_M * normal])
    centred = thick - thick.mean(axis=0)
    if np.linalg.svd(centred, compute_uv=False)[-1] < 1e-4:
        return None
    return convex_hull(thick)
