"""Complete meshes by SAM 3D Objects, asked for by `reconstruction.completer = "sam3d"`, for the learned reconstructors.

The model sees one picture, the masks and our metric points, and answers with posed meshes. A mesh is taken only if
the points that were measured lie on it; otherwise the object is left to geometry, and that is told.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import trimesh
from numpy.typing import NDArray
from scipy.spatial import KDTree

from blueprint.backends.protocols import ReconstructorConfig
from blueprint.backends.reconstruction.checkpoints import MODELS
from blueprint.backends.reconstruction.learned_run import Ran, run_worker
from blueprint.core.errors import BackendError
from blueprint.core.report import log, warn
from blueprint.formats import images
from blueprint.formats.obj import TexturedMesh, write_obj
from blueprint.geometry import depth as depths
from blueprint.geometry.mesh import Mesh
from blueprint.geometry.transforms import matrix_to_pose, transform_points
from blueprint.model.artifacts import Reconstruction
from blueprint.model.capture import Frame
from blueprint.model.scene import GivenModel, Instance, Part

LEAST_PX = 200
MOST_FACES = 20_000
FIT_M, FIT_SHARE = 0.01, 0.05  # median distance of the measured points to the mesh: this, or this share of its size
SAMPLES = 20_000
LEVELS = 16  # of each colour channel in the palette


def complete(
    made: Reconstruction, out: Path, cfg: ReconstructorConfig, environ: Mapping[str, str] = os.environ
) -> tuple[Reconstruction, Ran]:
    """The reconstruction with given models where the mesh fits, and what ran. out: where `made` has its files.

    Raises BackendError without the model's environment or weights.
    """
    view = made.views[0]
    z, labels = np.load(out / view.depth), images.read_labels(out / view.labels)
    points = np.asarray(depths.backproject(z, view.camera), dtype=np.float64)
    points[z <= 0] = np.nan
    seen = [i for i in made.instances if i.given is None and (labels == i.label).sum() >= LEAST_PX]
    masks = np.array([labels == i.label for i in seen]).reshape(-1, *z.shape)
    frame = Frame(id=view.frame, color=view.color, camera=view.camera)
    arrays = {"pointmap": points.astype(np.float32), "masks": masks}
    ran = run_worker(MODELS["sam3d"], [(frame, out / view.color)], {"seed": cfg.seed}, cfg.checkpoints, environ, arrays)
    given: dict[str, GivenModel] = {}
    for k, instance in enumerate(seen):
        mesh = _mesh(ran, k)
        measured = points[masks[k] & (z > 0)]
        if mesh is None or not len(measured):
            continue
        T = np.asarray(view.T_world_camera)
        world = transform_points(T, mesh[0]), mesh[1]
        away, allowed = _distance(world, transform_points(T, measured))
        if away > allowed:
            warn(f"{instance.name}: SAM 3D's mesh misses the measured points by {1000 * away:.0f} mm; not used")
            continue
        log(f"{instance.name}: completed by SAM 3D, {1000 * away:.1f} mm from what was measured")
        given[instance.name] = _given(instance, world, ran.arrays.get(f"colors_{k}"), out)
    updated = tuple(i.model_copy(update={"given": given[i.name]}) if i.name in given else i for i in made.instances)
    return made.model_copy(update={"instances": updated}), ran


def _mesh(ran: Ran, k: int) -> Mesh | None:
    """Camera frame. Raises BackendError when the worker broke the contract."""
    if f"vertices_{k}" not in ran.arrays:
        return None
    vertices = np.asarray(ran.arrays[f"vertices_{k}"], dtype=np.float64)
    faces = np.asarray(ran.arrays.get(f"faces_{k}"), dtype=np.int64)
    shaped = vertices.ndim == 2 and vertices.shape[1] == 3 and faces.ndim == 2 and faces.shape[1] == 3 and len(faces)
    if not shaped or not np.isfinite(vertices).all() or faces.min() < 0 or faces.max() >= len(vertices):
        raise BackendError(f"mesh {k} of SAM 3D's worker is broken", "see workers/sam3d.py")
    return vertices, faces


def _distance(mesh: Mesh, measured: NDArray[np.float64]) -> tuple[float, float]:
    """(median distance of the points (N, 3) to the surface, what is allowed) [m]."""
    body = trimesh.Trimesh(*mesh, process=False)
    surface = trimesh.sample.sample_surface(body, SAMPLES, seed=0)[0]
    size = float(np.ptp(mesh[0], axis=0).max())
    away, _ = KDTree(np.asarray(surface)).query(measured)
    return float(np.median(away)), max(FIT_M, FIT_SHARE * size)


def _given(instance: Instance, world: Mesh, colors: NDArray[np.uint8] | None, out: Path) -> GivenModel:
    """Written about its own middle, the axes being the world's."""
    vertices, faces = world
    T = np.eye(4)
    T[:3, 3] = (vertices.min(axis=0) + vertices.max(axis=0)) / 2
    folder = out / "given" / instance.name
    folder.mkdir(parents=True)
    body = trimesh.Trimesh(vertices - T[:3, 3], faces, vertex_colors=colors, process=False)
    if len(faces) > MOST_FACES:
        simple = body.simplify_quadric_decimation(face_count=MOST_FACES)
        near = KDTree(body.vertices).query(simple.vertices)[1]
        colors = None if colors is None else colors[near]
        body = simple
    uv, picture = _palette(np.asarray(body.faces), colors)
    write_obj(TexturedMesh(np.asarray(body.vertices), np.asarray(body.faces), uv), folder / "mesh.obj", "mesh.png")
    images.write_color(folder / "mesh.png", picture)
    place = f"given/{instance.name}/mesh"
    part = Part(name=instance.name, mesh=f"{place}.obj", texture=f"{place}.png")
    return GivenModel(parts=(part,), pose=matrix_to_pose(T), source="SAM 3D Objects")


def _palette(
    faces: NDArray[np.int64], colors: NDArray[np.uint8] | None
) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """(uv (F, 3, 2), picture (64, 64, 3)): each face has the colour of the palette nearest to its corners' mean."""
    side = int(LEVELS**1.5)
    index = np.arange(side * side)
    step = 255 / (LEVELS - 1)
    table = np.stack([index // LEVELS**2, index // LEVELS % LEVELS, index % LEVELS], axis=1) * step
    picture = np.round(table).astype(np.uint8).reshape(side, side, 3)
    if colors is None:
        colors = np.full((int(faces.max()) + 1, 3), 190, dtype=np.uint8)
    red, green, blue = np.round(colors[faces].mean(axis=1) / step).astype(np.int64).T
    row, column = np.divmod(red * LEVELS**2 + green * LEVELS + blue, side)
    uv = np.stack([(column + 0.5) / side, 1 - (row + 0.5) / side], axis=1)
    return np.repeat(uv[:, None], 3, axis=1), picture
