"""SimScene: the scene as files that simulators read, all saying the same."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from blueprint.core.artifact import Config
from blueprint.core.stage import stage
from blueprint.formats.gltf import write_glb
from blueprint.formats.mjcf import Pedestal, TableFiles, scene_mjcf
from blueprint.formats.obj import TexturedMesh, write_obj
from blueprint.formats.usd import object_path, write_scene
from blueprint.geometry.colliders import prism
from blueprint.geometry.transforms import matrix_to_rows
from blueprint.model.artifacts import Physics, Reconstruction, SimScene
from blueprint.model.capture import Camera
from blueprint.model.scene import PhysicalObject, SceneBody, SceneCamera, Support
from blueprint.stages.physics import TABLE_FILE, table_polygon

Array = NDArray[np.float64]


class SimSceneConfig(Config):
    """floor_z [m]: height of the floor below the table top (no camera sees it: a usual table is assumed).

    camera_*: the scene camera stands on the capture's side, since that side of the objects was really seen
    """

    floor_z: float = -0.75
    camera_width: int = 640
    camera_height: int = 480
    camera_fovy_deg: float = 45.0
    camera_elevation_deg: float = 38.0
    camera_margin: float = 1.3


@stage(version="1")
def simscene(reconstruction: Reconstruction, physics: Physics, cfg: SimSceneConfig, out: Path) -> SimScene:
    """Write `scene.xml`, `scene.usda`, `scene.glb` and the meshes and textures they share."""
    polygon = table_polygon(physics)
    table = gather_assets(reconstruction, physics, polygon, out / "assets")
    cameras = scene_cameras(reconstruction, physics, cfg)
    (out / "scene.xml").write_text(scene_mjcf(physics.objects, table, cameras, floor_z=cfg.floor_z))
    write_scene(out / "scene.usda", out / "assets", physics.objects, table, cameras, floor_z=cfg.floor_z)
    write_glb(out / "scene.glb", out / "assets", physics.objects, table)
    return SimScene(
        bodies=tuple(_body(item) for item in physics.objects),
        cameras=cameras,
        table_polygon=tuple((x, y) for x, y in polygon.tolist()),
        settle=physics.settle,
    )


def gather_assets(reconstruction: Reconstruction, physics: Physics, polygon: Array, assets: Path) -> TableFiles:
    """Copy every mesh and texture below `assets`; returns the table's files there."""
    for folder in ("objects", "colliders"):
        shutil.copytree(physics.path(folder), assets / folder, dirs_exist_ok=True)
    for kept in ("seen_faces.npy", "method.json", ".finished"):
        for path in assets.rglob(kept):
            path.unlink()
    (assets / "table").mkdir(exist_ok=True)
    support = reconstruction.support
    shutil.copyfile(physics.path(TABLE_FILE), assets / "table/collider.obj")
    texture = None
    if support.texture is not None:
        texture = "table/texture.png"
        shutil.copyfile(reconstruction.path(support.texture), assets / texture)
    write_obj(
        table_mesh(support, polygon), assets / "table/visual.obj", texture=None if texture is None else "texture.png"
    )
    pedestal = pedestal_under(polygon, -max(support.thickness_m, 0.01))
    return TableFiles(collider="table/collider.obj", visual="table/visual.obj", texture=texture, pedestal=pedestal)


def pedestal_under(polygon: Array, top: float) -> Pedestal:
    """A column in the middle of a convex polygon (K, 2), thin enough for a foot that the table still overhangs."""
    middle = polygon.mean(axis=0)
    edges = np.roll(polygon, -1, axis=0) - polygon
    normals = np.stack([edges[:, 1], -edges[:, 0]], axis=1) / np.linalg.norm(edges, axis=1, keepdims=True)
    inner = float(np.einsum("ij,ij->i", polygon - middle, normals).min())
    x, y = middle.tolist()
    return Pedestal(xy=(x, y), radius=min(0.05, 0.25 * inner), top=top)


def table_mesh(support: Support, polygon: Array) -> TexturedMesh:
    """The slab with the captured texture on top; its rim shows the texture's border pixels."""
    vertices, faces = prism(polygon, -max(support.thickness_m, 0.01), 0.0)
    x_min, y_min, x_max, y_max = support.texture_bounds
    uv = (vertices[:, :2] - [x_min, y_min]) / [x_max - x_min, y_max - y_min]
    corners = vertices[faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    return TexturedMesh(vertices, faces, np.clip(uv, 0.0, 1.0)[faces], np.repeat(normal[:, None], 3, axis=1))


def _body(item: PhysicalObject) -> SceneBody:
    return SceneBody(
        name=item.asset.name,
        text=item.asset.text,
        prim_path=object_path(item.asset.name),
        mass_kg=item.mass_kg.value,
        dims_m=item.asset.dims_m,
        pose=item.pose,
        collider_count=len(item.colliders),
    )


# ------------------------------------------------------------------ cameras


def scene_cameras(reconstruction: Reconstruction, physics: Physics, cfg: SimSceneConfig) -> tuple[SceneCamera, ...]:
    """`capture`: the first view of the capture itself; `scene`: a view of all objects for data."""
    view = reconstruction.views[0]
    capture = SceneCamera(name="capture", camera=view.camera, T_world_camera=view.T_world_camera)
    positions = np.array([item.pose.position for item in physics.objects] or [(0.0, 0.0, 0.0)])
    eye = np.array([row[3] for row in view.T_world_camera[:3]])
    return capture, _scene_camera(positions, eye, np.array(reconstruction.support.polygon), cfg)


def _scene_camera(positions: Array, capture_eye: Array, polygon: Array, cfg: SimSceneConfig) -> SceneCamera:
    """Looks at the middle of the objects (n, 3) from the capture's azimuth, far enough to frame them with a margin."""
    low, high = positions.min(axis=0), positions.max(axis=0)
    target = (low + high) / 2 * [1.0, 1.0, 0.0] + [0.0, 0.0, 0.08]
    radius = max(0.2, float(np.linalg.norm(high[:2] - low[:2]) / 2)) * cfg.camera_margin
    distance = min(max(radius / np.tan(np.deg2rad(cfg.camera_fovy_deg) / 2), 0.6), 1.6)
    away = (capture_eye - target)[:2]
    if np.linalg.norm(away) < 0.05:  # seen from straight above: any side will do
        away = np.array([0.0, -1.0])
    away = away / np.linalg.norm(away)
    elevation = np.deg2rad(cfg.camera_elevation_deg)
    eye = target + distance * np.array([*(away * np.cos(elevation)), np.sin(elevation)])
    focal = cfg.camera_height / 2 / np.tan(np.deg2rad(cfg.camera_fovy_deg) / 2)
    camera = Camera(
        width=cfg.camera_width,
        height=cfg.camera_height,
        fx=focal,
        fy=focal,
        cx=(cfg.camera_width - 1) / 2,
        cy=(cfg.camera_height - 1) / 2,
    )
    return SceneCamera(name="scene", camera=camera, T_world_camera=matrix_to_rows(look_at(eye, target)))


def look_at(eye: Array, target: Array) -> Array:
    """(4, 4) pose of an OpenCV camera at `eye` that sees `target` in its centre, upright."""
    forward = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    T = np.eye(4)
    T[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
    T[:3, 3] = eye
    return T
