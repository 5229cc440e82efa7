"""The scene as MJCF, MuJoCo's format: metres, radians, z up, quaternions wxyz.

Conventions: visual geoms in group 2 without contact, collision geoms in group 3; one body per object, named as the
object, with explicit inertia (`formats/mjcf/objects.py`: parts, soft bodies, statics); the table is the static
body `table`; mesh and texture files lie below `assets_dir`. Numbers of bodies and of `qpos`: `formats/mjcf/layout.py`.

MuJoCo has no coefficient of restitution: a contact is a spring and damper (`solref`). Contacts here are critically
damped, so nothing bounces; the restitution of an object is written to USD only. Of two touching geoms the larger
friction counts, so the table's is small and the object's own coefficient decides.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from blueprint.formats.elements import document, element
from blueprint.formats.mjcf.layout import FIRST_OBJECT, TABLE_BODY, Layout, layout, poses_of, qpos_of
from blueprint.formats.mjcf.objects import can_roll, visual, write_object, write_static
from blueprint.geometry.transforms import matrix_to_pose
from blueprint.model.materials import ROLLING_FRICTION_M, TABLE_TOP, TORSIONAL_FRICTION_M
from blueprint.model.scene import PhysicalObject, SceneCamera, StaticPart
from blueprint.model.spatial import Pose

__all__ = [
    "FIRST_OBJECT",
    "GL_FROM_CV",
    "TABLE_BODY",
    "Contacts",
    "Layout",
    "Pedestal",
    "TableFiles",
    "can_roll",
    "layout",
    "mujoco_camera_pose",
    "poses_of",
    "qpos_of",
    "scene_mjcf",
]

GL_FROM_CV = np.diag([1.0, -1.0, -1.0, 1.0])  # MuJoCo's cameras look along -z with y up, OpenCV's along +z with y down


@dataclass(frozen=True)
class Pedestal:
    """What the table is drawn to stand on, since its legs were never seen: a column at xy [m] below z = top."""

    xy: tuple[float, float]
    radius: float
    top: float


@dataclass(frozen=True)
class TableFiles:
    """Files of the support below the assets folder. visual, texture: None in a scene that is never drawn."""

    collider: str
    visual: str | None = None
    texture: str | None = None
    pedestal: Pedestal | None = None


@dataclass(frozen=True)
class Contacts:
    """How contacts are solved.

    timestep [s]; impratio: friction to normal impedance, high against slow slip; solref: time constant [s] (at least
    two steps, MuJoCo docs "Solver parameters") and damping ratio; solimp: impedance, close to 1 = hard;
    viscosity [Pa s]: of the medium, 0 = none; a viscous medium lets a scene come to rest without swinging
    """

    timestep: float = 0.002
    impratio: float = 50.0
    solref: tuple[float, float] = (0.01, 1.0)
    solimp: tuple[float, float, float] = (0.97, 0.995, 0.001)
    viscosity: float = 0.0


def scene_mjcf(
    objects: Sequence[PhysicalObject],
    table: TableFiles,
    cameras: Sequence[SceneCamera] = (),
    *,
    statics: Sequence[StaticPart] = (),
    assets_dir: str = "assets",
    files: Path | None = None,
    contacts: Contacts | None = None,
    floor_z: float = -0.75,
    drawn: bool = True,
) -> str:
    """MJCF text. floor_z [m]: height of the floor; drawn: write visual geoms, materials and lights too.

    files: the folder that `assets_dir` will name, read for moving parts (which of them touch) and soft bodies (points)
    """
    contacts = contacts or Contacts()
    root = ET.Element("mujoco", model="scene")
    element(root, "compiler", angle="radian", autolimits="true", meshdir=assets_dir, texturedir=assets_dir)
    option = element(
        root,
        "option",
        timestep=contacts.timestep,
        integrator=_integrator(objects),
        cone="elliptic",
        impratio=contacts.impratio,
        viscosity=contacts.viscosity or None,
    )
    element(option, "flag", multiccd="enable")  # several contact points between flat faces: nothing rocks on one
    _defaults(root, contacts)
    asset = element(root, "asset")
    world = element(root, "worldbody")
    if drawn:
        _surroundings(root, asset, world)
    _floor(world, floor_z, drawn)
    _table(asset, world, table, drawn)
    if drawn and table.pedestal is not None:
        _pedestal(world, table.pedestal, floor_z)
    for item in objects:
        write_object(root, item, files, drawn)
    for part in statics:
        write_static(root, part, drawn)
    for camera in cameras:
        _camera(world, camera)
    _start_key(root, layout(objects, files).start)
    return document(root)


def _integrator(objects: Sequence[PhysicalObject]) -> str:
    """MuJoCo integrates the elasticity of a flex in its `discrete` integrator only."""
    elastic = any(item.soft is not None and item.soft.dim > 1 for item in objects)
    return "discrete" if elastic else "implicitfast"


def _defaults(root: ET.Element, contacts: Contacts) -> None:
    top = element(root, "default")
    visual = element(top, "default", class_="visual")
    element(visual, "geom", group=2, contype=0, conaffinity=0, mass=0)
    collision = element(top, "default", class_="collision")
    element(
        collision,
        "geom",
        group=3,
        condim=4,
        friction=(TABLE_TOP.friction, TORSIONAL_FRICTION_M, ROLLING_FRICTION_M),
        solref=contacts.solref,
        solimp=contacts.solimp,
        rgba=(0.2, 0.7, 0.3, 0.4),
    )


def _surroundings(root: ET.Element, asset: ET.Element, world: ET.Element) -> None:
    """Soft light, one shadow, a plain background: settings that draw fast and look calm."""
    visual = element(root, "visual")
    element(visual, "headlight", ambient=(0.38, 0.38, 0.39), diffuse=(0.15, 0.15, 0.15), specular=(0.05, 0.05, 0.05))
    element(visual, "map", znear=0.005, zfar=10, shadowclip=1.6, haze=0.6)
    element(visual, "quality", shadowsize=2048, offsamples=4)
    element(visual, "global", offwidth=1920, offheight=1440)
    element(visual, "rgba", haze=(0.80, 0.81, 0.82, 1))
    element(root, "statistic", center=(0, 0, 0.1), extent=1.0)
    element(
        asset,
        "texture",
        type="skybox",
        builtin="gradient",
        rgb1=(0.90, 0.91, 0.93),
        rgb2=(0.80, 0.81, 0.82),
        width=128,
        height=768,
    )
    element(
        world,
        "light",
        name="key",
        type="directional",
        pos=(0.6, -0.8, 2.2),
        dir=(-0.3, 0.35, -1.0),
        diffuse=(0.38, 0.37, 0.36),
        specular=(0.15, 0.15, 0.15),
        castshadow="true",
    )
    element(
        world,
        "light",
        name="fill",
        type="directional",
        pos=(-0.8, 0.6, 1.6),
        dir=(0.5, -0.4, -0.8),
        diffuse=(0.12, 0.13, 0.14),
        specular=(0.0, 0.0, 0.0),
        castshadow="false",
    )


def _floor(world: ET.Element, z: float, drawn: bool) -> None:
    rgba = (0.58, 0.57, 0.55, 1.0) if drawn else None
    shape = {"type": "plane", "pos": (0, 0, z), "size": (0, 0, 0.1)}
    element(world, "geom", name="floor", class_="collision", group=2, rgba=rgba, **shape)


def _table(asset: ET.Element, world: ET.Element, table: TableFiles, drawn: bool) -> None:
    body = element(world, "body", name=TABLE_BODY)
    element(asset, "mesh", name="table_collider", file=table.collider)
    element(body, "geom", name="table_collider", class_="collision", type="mesh", mesh="table_collider")
    if drawn and table.visual is not None:
        visual(asset, body, "table", table.visual, table.texture)


def _pedestal(world: ET.Element, pedestal: Pedestal, floor_z: float) -> None:
    """Drawn only: nothing collides with it."""
    height = pedestal.top - floor_z
    parts = (("column", pedestal.radius, height, floor_z), ("foot", 2.5 * pedestal.radius, 0.02, floor_z))
    for name, radius, tall, z in parts:
        element(
            world,
            "geom",
            name=f"table_{name}",
            class_="visual",
            type="cylinder",
            size=(radius, tall / 2),
            pos=(*pedestal.xy, z + tall / 2),
            rgba=(0.42, 0.41, 0.40, 1),
        )


def _camera(world: ET.Element, camera: SceneCamera) -> None:
    """A pinhole camera with its own focal lengths and principal point.

    MuJoCo's principal point is the centre of the picture minus ours, in both directions (measured by overlaying a
    render on the photograph); pixel centres of ours lie at whole numbers, so the centre is (width - 1) / 2.
    """
    pose = mujoco_camera_pose(camera)
    view = camera.camera
    element(
        world,
        "camera",
        name=camera.name,
        pos=pose.position,
        quat=pose.quat_wxyz,
        resolution=(view.width, view.height),
        sensorsize=(view.width * 1e-5, view.height * 1e-5),
        focalpixel=(view.fx, view.fy),
        principalpixel=((view.width - 1) / 2 - view.cx, (view.height - 1) / 2 - view.cy),
    )


def mujoco_camera_pose(camera: SceneCamera) -> Pose:
    return matrix_to_pose(np.asarray(camera.T_world_camera) @ GL_FROM_CV)


def _start_key(root: ET.Element, start: np.ndarray) -> None:
    """The keyframe `start`: every object where it rests, closed."""
    if len(start):
        element(element(root, "keyframe"), "key", name="start", qpos=start)
