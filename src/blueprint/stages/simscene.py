"""SimScene: the scene as files that simulators read, all saying the same."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from blueprint.core.artifact import Config
from blueprint.core.report import warn
from blueprint.core.stage import stage
from blueprint.formats.gltf import write_glb
from blueprint.formats.mjcf.layout import joint_name, moving_parts
from blueprint.formats.mjcf.scene import Pedestal, TableFiles, scene_mjcf
from blueprint.formats.obj import TexturedMesh, write_obj
from blueprint.formats.urdf import write_urdf
from blueprint.formats.usd.asset import Provenance, asset_file
from blueprint.formats.usd.scene import SIMREADY, object_path, write_scene
from blueprint.formats.usd.simready_check import check_asset
from blueprint.geometry.colliders.pieces import prism
from blueprint.geometry.transforms import matrix_to_rows
from blueprint.model.artifacts import Physics, Reconstruction, SimScene
from blueprint.model.capture import Camera
from blueprint.model.scene import PhysicalObject, SceneBody, SceneCamera, Support
from blueprint.stages.physics import TABLE_FILE, table_polygon

Array = NDArray[np.float64]

FAR_M = 6.0  # the scene camera stands no farther from the middle of a room
FLOOR_M = 2.0  # a support wider than this in both directions is no table


class SimSceneConfig(Config):
    """floor_z [m]: height of the floor below the table top (no camera sees it: a usual table is assumed).

    camera_*: the scene camera stands on the capture's side, since that side of the objects was really seen
    author, licence, date (YYYY-MM-DD): written into the USD assets; no clock is read
    """

    floor_z: float = -0.75
    camera_width: int = 640
    camera_height: int = 480
    camera_fovy_deg: float = 45.0
    camera_elevation_deg: float = 38.0
    camera_margin: float = 1.3
    author: str = Provenance.author
    licence: str = Provenance.licence
    date: str = Field(default=Provenance.date, pattern=r"^\d{4}-\d{2}-\d{2}$")


@stage(version="3")
def simscene(reconstruction: Reconstruction, physics: Physics, cfg: SimSceneConfig, out: Path) -> SimScene:
    """Write `scene.xml`, `scene.usda`, `scene.glb` and what they share below assets/.

    There also: simready/NAME (a USD asset that stands alone) and urdf/NAME.urdf of every rigid object.
    """
    assets, objects, statics = out / "assets", physics.objects, physics.statics
    polygon = table_polygon(physics)
    floor_z = floor_height(reconstruction.support, polygon, cfg)
    table = gather_assets(reconstruction, physics, polygon, assets)
    cameras = scene_cameras(reconstruction, physics, cfg)
    mjcf = scene_mjcf(objects, table, cameras, statics=statics, files=assets, floor_z=floor_z)
    (out / "scene.xml").write_text(mjcf)
    made_by = Provenance(cfg.author, cfg.licence, cfg.date, scale=reconstruction.scale_source)
    write_scene(
        out / "scene.usda", assets, objects, table, cameras, statics=statics, floor_z=floor_z, provenance=made_by
    )
    write_glb(out / "scene.glb", assets, objects, table, statics)
    for item in objects:
        if item.soft is None:
            write_urdf(assets, item)
            for fault in check_asset(assets / SIMREADY / asset_file(item.asset.name)):
                warn(f"{item.asset.name}: its USD asset has a fault: {fault}")
    return SimScene(
        bodies=tuple(body_of(item) for item in objects),
        cameras=cameras,
        table_polygon=tuple((x, y) for x, y in polygon.tolist()),
        settle=physics.settle,
    )


def floor_height(support: Support, polygon: Array, cfg: SimSceneConfig) -> float:
    """Where the floor is drawn: below a table; just below the support where that is large enough to be the floor."""
    return -max(support.thickness_m, 0.01) if is_floor(polygon) else cfg.floor_z


def is_floor(polygon: Array) -> bool:
    """Whether a support (K, 2) is wider than any table: then nothing holds it up, and cameras may stand far off."""
    return bool(np.ptp(polygon, axis=0).min() > FLOOR_M)


def gather_assets(reconstruction: Reconstruction, physics: Physics, polygon: Array, assets: Path) -> TableFiles:
    """Copy every mesh, texture and point set below `assets`; returns the table's files there."""
    for folder in ("objects", "colliders", "statics"):
        if physics.path(folder).is_dir():
            shutil.copytree(physics.path(folder), assets / folder, dirs_exist_ok=True)
    for item in physics.objects:
        if item.soft is not None:
            (assets / item.soft.file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(physics.path(item.soft.file), assets / item.soft.file)
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
    pedestal = None if is_floor(polygon) else pedestal_under(polygon, -max(support.thickness_m, 0.01))
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


def body_of(item: PhysicalObject) -> SceneBody:
    """Its description, as files of the scene have it."""
    return SceneBody(
        name=item.asset.name,
        text=item.asset.text,
        category=item.asset.category,
        anchored=item.asset.anchored,
        joints=tuple(joint_name(item.asset.name, part.joint.name) for part, _ in moving_parts(item)),
        prim_path=object_path(item.asset.name),
        mass_kg=item.mass_kg.value + sum(part.mass_kg.value for part in item.parts),
        dims_m=item.asset.dims_m,
        pose=item.pose,
        collider_count=len(item.colliders) + sum(len(part.colliders) for part in item.parts),
        ranges=item.ranges,
    )


# ------------------------------------------------------------------ cameras


def scene_cameras(reconstruction: Reconstruction, physics: Physics, cfg: SimSceneConfig) -> tuple[SceneCamera, ...]:
    """`capture`: the first view of the capture itself, if there is one; `scene`: a view of all objects for data."""
    positions = np.array([item.pose.position for item in physics.objects] or [(0.0, 0.0, 0.0)])
    polygon = np.array(reconstruction.support.polygon)
    if not reconstruction.views:  # an imported scene has no side from which it was seen
        return (_scene_camera(positions, positions.mean(axis=0), polygon, cfg),)
    view = reconstruction.views[0]
    capture = SceneCamera(name="capture", camera=view.camera, T_world_camera=view.T_world_camera)
    eye = np.array([row[3] for row in view.T_world_camera[:3]])
    return capture, _scene_camera(positions, eye, polygon, cfg)


def _scene_camera(positions: Array, capture_eye: Array, polygon: Array, cfg: SimSceneConfig) -> SceneCamera:
    """Looks at the middle of the objects (n, 3) from the capture's azimuth, far enough to frame them with a margin."""
    low, high = positions.min(axis=0), positions.max(axis=0)
    target = (low + high) / 2 * [1.0, 1.0, 0.0] + [0.0, 0.0, 0.08]
    radius = max(0.2, float(np.linalg.norm(high[:2] - low[:2]) / 2)) * cfg.camera_margin
    distance = min(max(radius / np.tan(np.deg2rad(cfg.camera_fovy_deg) / 2), 0.6), FAR_M if is_floor(polygon) else 1.6)
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
