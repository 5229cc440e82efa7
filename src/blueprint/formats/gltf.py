"""The scene as GLB for viewers: textured meshes, a node per object and per moving part. glTF is y up; ours is z up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import trimesh
from PIL import Image
from trimesh.exchange.gltf import export_glb
from trimesh.visual import TextureVisuals
from trimesh.visual.material import PBRMaterial

from blueprint.formats.mjcf.layout import moving_parts, part_body
from blueprint.formats.mjcf.objects import fixed_parts
from blueprint.formats.mjcf.scene import TABLE_BODY, TableFiles
from blueprint.formats.obj import TexturedMesh, read_obj
from blueprint.geometry.transforms import pose_to_matrix
from blueprint.model.scene import PhysicalObject, StaticPart

Y_UP_FROM_Z_UP = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])


def write_glb(
    path: Path, assets: Path, objects: Sequence[PhysicalObject], table: TableFiles, statics: Sequence[StaticPart] = ()
) -> None:
    """Write the visual meshes below `assets` into one binary glTF file with embedded textures.

    A moving part is a node below the node of what carries it, so a viewer can move it; both have the object's frame.
    """
    scene = trimesh.Scene(base_frame="world")
    if table.visual is not None:
        _add(scene, assets, TABLE_BODY, table.visual, table.texture, Y_UP_FROM_Z_UP)
    for part in statics:
        _add(scene, assets, part.name, part.mesh, part.texture, Y_UP_FROM_Z_UP)
    for item in objects:
        _object(scene, assets, item)
    path.write_bytes(export_glb(scene, include_normals=True))


def _object(scene: trimesh.Scene, assets: Path, item: PhysicalObject) -> None:
    name, whole = item.asset.name, (item.asset.mesh, item.asset.texture)
    fixed = fixed_parts(item) or [(name, *whole)]
    for node, mesh, texture in fixed:
        carrier, T = (None, Y_UP_FROM_Z_UP @ pose_to_matrix(item.pose)) if node == name else (name, np.eye(4))
        _add(scene, assets, node, mesh, texture, T, carrier)
    for part, carrier in moving_parts(item):
        above = name if carrier is None else part_body(name, carrier)
        _add(scene, assets, part_body(name, part.part.name), part.part.mesh, part.part.texture, np.eye(4), above)


def _add(
    scene: trimesh.Scene,
    assets: Path,
    name: str,
    mesh: str,
    texture: str | None,
    T: np.ndarray,
    carrier: str | None = None,
) -> None:
    solid = textured(read_obj(assets / mesh), None if texture is None else assets / texture, name)
    scene.add_geometry(solid, node_name=name, geom_name=name, parent_node_name=carrier, transform=T)


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
