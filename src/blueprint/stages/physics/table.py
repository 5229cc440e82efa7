"""The support as something to stand on: the table top under everything that stands across its seen edge."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from blueprint.formats.obj import TexturedMesh, read_obj, write_obj
from blueprint.geometry.colliders import pieces as shapes
from blueprint.geometry.transforms import Array, pose_to_matrix, transform_points
from blueprint.model.artifacts import Physics, Reconstruction
from blueprint.model.scene import PhysicalObject

TABLE_FILE = "table.obj"


def carrying_polygon(
    reconstruction: Reconstruction, objects: Sequence[PhysicalObject], margins: Sequence[float], files: Path
) -> Array:
    """The support's polygon (K, 2), widened to reach a margin [m] beyond the foot of every object.

    files: folder of the objects' meshes
    """
    outlines = []
    for item in objects:
        points = transform_points(pose_to_matrix(item.asset.pose), read_obj(files / item.asset.mesh).vertices)
        outlines.append(points[points[:, 2] < points[:, 2].min() + 0.02, :2])
    return shapes.footprint_hull(np.array(reconstruction.support.polygon), outlines, margins)


def table_polygon(physics: Physics) -> Array:
    """(K, 2) counter-clockwise outline [m] of the table top that the objects rest on."""
    vertices = read_obj(physics.path(TABLE_FILE)).vertices
    return shapes.outline(vertices[vertices[:, 2] > -1e-6, :2])


def write_table_collider(reconstruction: Reconstruction, polygon: Array, path: Path) -> None:
    """The table top as a slab below z = 0."""
    vertices, faces = shapes.prism(polygon, -max(reconstruction.support.thickness_m, 0.01), 0.0)
    write_obj(TexturedMesh(vertices, faces), path)
