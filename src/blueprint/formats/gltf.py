"""The scene as GLB for viewers: textured meshes, one node per object. glTF is y up; ours is z up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import trimesh
from PIL import Image
from trimesh.exchange.gltf import export_glb
from trimesh.visual import TextureVisuals
from trimesh.visual.material import PBRMaterial

from blueprint.formats.mjcf import TABLE_BODY, TableFiles
from blueprint.formats.obj import TexturedMesh, read_obj
from blueprint.geometry.transforms import pose_to_matrix
from blueprint.model.scene import PhysicalObject

Y_UP_FROM_Z_UP = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])


def write_glb(path: Path, assets: Path, objects: Sequence[PhysicalObject], table: TableFiles) -> None:
    """Write the visual meshes below `assets` into one binary glTF file with embedded textures."""
    scene = trimesh.Scene(base_frame="world")
    if table.visual is not None:
        texture = None if table.texture is None else assets / table.texture
        _add(scene, TABLE_BODY, assets / table.visual, texture, np.eye(4))
    for item in objects:
        T_world_object = pose_to_matrix(item.pose)
        _add(scene, item.asset.name, assets / item.asset.mesh, assets / item.asset.texture, T_world_object)
    path.write_bytes(export_glb(scene, include_normals=True))


def _add(scene: trimesh.Scene, name: str, mesh: Path, texture: Path | None, T: np.ndarray) -> None:
    solid = textured(read_obj(mesh), texture, name)
    scene.add_geometry(solid, node_name=name, geom_name=name, transform=Y_UP_FROM_Z_UP @ T)


def textured(mesh: TexturedMesh, texture: Path | None, name: str) -> trimesh.Trimesh:
    """glTF keeps texture coordinates and normals per vertex, so a vertex is split where its corners differ."""
    count = len(mesh.faces)
    columns = [mesh.vertices[mesh.faces].reshape(-1, 3)]
    columns.append(np.zeros((count * 3, 2)) if mesh.uv is None else mesh.uv.reshape(-1, 2))
    columns.append(np.zeros((count * 3, 3)) if mesh.normals is None else mesh.normals.reshape(-1, 3))
    rows, faces = np.unique(np.concatenate(columns, axis=1).round(6) + 0.0, axis=0, return_inverse=True)
    image = None
    if texture is not None:
        with Image.open(texture) as opened:
            image = opened.convert("RGB")
    material = PBRMaterial(name=name, baseColorTexture=image, metallicFactor=0.0, roughnessFactor=0.6)
    return trimesh.Trimesh(
        rows[:, :3],
        faces.reshape(-1, 3),
        vertex_normals=None if mesh.normals is None else rows[:, 5:],
        visual=TextureVisuals(uv=rows[:, 3:5], material=material),
        process=False,
    )
