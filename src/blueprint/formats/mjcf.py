"""The scene as MJCF, MuJoCo's format: metres, radians, z up, quaternions wxyz.

Conventions: visual geoms in group 2 without contact, collision geoms in group 3; one free body per object, named as the
object, with explicit inertia; the table is the static body `table`; mesh and texture files lie below `assets_dir`.

MuJoCo has no coefficient of restitution: a contact is a spring and damper (`solref`). Contacts here are critically
damped, so nothing bounces; the restitution of an object is written to USD only. Of two touching geoms the larger
friction counts, so the table's is small and the object's own coefficient decides.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from blueprint.geometry.transforms import matrix_to_pose
from blueprint.model.materials import ROLLING_FRICTION_M, TABLE_TOP, TORSIONAL_FRICTION_M
from blueprint.model.scene import Collider, PhysicalObject, SceneCamera
from blueprint.model.spatial import Pose

TABLE_BODY = "table"
FIRST_OBJECT = 2  # body id of the first object: the world and the table come before
GL_FROM_CV = np.diag([1.0, -1.0, -1.0, 1.0])  # MuJoCo's cameras look along -z with y up, OpenCV's along +z with y down
ROUND_RADIUS_SHARE = 0.25  # condim 6 where the two smaller dimensions differ by less than this share: it can roll


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
    assets_dir: str = "assets",
    contacts: Contacts | None = None,
    floor_z: float = -0.75,
    drawn: bool = True,
) -> str:
    """MJCF text. floor_z [m]: height of the floor; drawn: write visual geoms, materials and lights too."""
    contacts = contacts or Contacts()
    root = ET.Element("mujoco", model="scene")
    _element(root, "compiler", angle="radian", autolimits="true", meshdir=assets_dir, texturedir=assets_dir)
    option = _element(
        root,
        "option",
        timestep=contacts.timestep,
        integrator="implicitfast",
        cone="elliptic",
        impratio=contacts.impratio,
        viscosity=contacts.viscosity or None,
    )
    _element(option, "flag", multiccd="enable")  # several contact points between flat faces: nothing rocks on one
    _defaults(root, contacts)
    asset = _element(root, "asset")
    world = _element(root, "worldbody")
    if drawn:
        _surroundings(root, asset, world)
    _floor(world, floor_z, drawn)
    _table(asset, world, table, drawn)
    if drawn and table.pedestal is not None:
        _pedestal(world, table.pedestal, floor_z)
    for item in objects:
        _object(asset, world, item, drawn)
    for camera in cameras:
        _camera(world, camera)
    _start_key(root, objects)
    ET.indent(root, " ")
    return ET.tostring(root, encoding="unicode") + "\n"


def _element(parent: ET.Element, tag: str, **attributes: object) -> ET.Element:
    """Append an element; numbers and sequences become text, None is left out, `class_` becomes `class`."""
    texts = {name.rstrip("_"): _text(value) for name, value in attributes.items() if value is not None}
    return ET.SubElement(parent, tag, texts)


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, (int, np.integer)):
        return str(value)
    if isinstance(value, (float, np.floating)):
        return f"{float(value):.10g}"
    return " ".join(_text(part) for part in value)  # type: ignore[union-attr]


def _defaults(root: ET.Element, contacts: Contacts) -> None:
    top = _element(root, "default")
    visual = _element(top, "default", class_="visual")
    _element(visual, "geom", group=2, contype=0, conaffinity=0, mass=0)
    collision = _element(top, "default", class_="collision")
    _element(
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
    visual = _element(root, "visual")
    _element(visual, "headlight", ambient=(0.38, 0.38, 0.39), diffuse=(0.15, 0.15, 0.15), specular=(0.05, 0.05, 0.05))
    _element(visual, "map", znear=0.005, zfar=10, shadowclip=1.6, haze=0.6)
    _element(visual, "quality", shadowsize=2048, offsamples=4)
    _element(visual, "global", offwidth=1920, offheight=1440)
    _element(visual, "rgba", haze=(0.80, 0.81, 0.82, 1))
    _element(root, "statistic", center=(0, 0, 0.1), extent=1.0)
    _element(
        asset,
        "texture",
        type="skybox",
        builtin="gradient",
        rgb1=(0.90, 0.91, 0.93),
        rgb2=(0.80, 0.81, 0.82),
        width=128,
        height=768,
    )
    _element(
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
    _element(
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
    _element(world, "geom", name="floor", class_="collision", group=2, rgba=rgba, **shape)


def _table(asset: ET.Element, world: ET.Element, table: TableFiles, drawn: bool) -> None:
    body = _element(world, "body", name=TABLE_BODY)
    _element(asset, "mesh", name="table_collider", file=table.collider)
    _element(body, "geom", name="table_collider", class_="collision", type="mesh", mesh="table_collider")
    if drawn and table.visual is not None:
        _visual(asset, body, "table", table.visual, table.texture)


def _pedestal(world: ET.Element, pedestal: Pedestal, floor_z: float) -> None:
    """Drawn only: nothing collides with it."""
    height = pedestal.top - floor_z
    parts = (("column", pedestal.radius, height, floor_z), ("foot", 2.5 * pedestal.radius, 0.02, floor_z))
    for name, radius, tall, z in parts:
        _element(
            world,
            "geom",
            name=f"table_{name}",
            class_="visual",
            type="cylinder",
            size=(radius, tall / 2),
            pos=(*pedestal.xy, z + tall / 2),
            rgba=(0.42, 0.41, 0.40, 1),
        )


def _visual(asset: ET.Element, body: ET.Element, name: str, mesh: str, texture: str | None) -> None:
    mesh_name = f"{name}_visual"
    _element(asset, "mesh", name=mesh_name, file=mesh, inertia="shell")  # shell: a surface need not enclose volume
    if texture is not None:
        _element(asset, "texture", name=name, type="2d", file=texture)
    _element(asset, "material", name=name, texture=None if texture is None else name, specular=0.1, shininess=0.2)
    _element(body, "geom", name=mesh_name, class_="visual", type="mesh", mesh=mesh_name, material=name)


def _object(asset: ET.Element, world: ET.Element, item: PhysicalObject, drawn: bool) -> None:
    name = item.asset.name
    body = _element(world, "body", name=name, pos=item.pose.position, quat=item.pose.quat_wxyz)
    _element(body, "freejoint", name=name)
    inertia = item.inertia
    _element(
        body,
        "inertial",
        pos=inertia.center_of_mass,
        quat=inertia.quat_wxyz,
        mass=item.mass_kg.value,
        diaginertia=inertia.principal_moments,
    )
    for index, collider in enumerate(item.colliders):
        _collider(asset, body, f"{name}_{index:03d}", collider, item)
    if drawn:
        _visual(asset, body, name, item.asset.mesh, item.asset.texture)


def _collider(asset: ET.Element, body: ET.Element, name: str, collider: Collider, item: PhysicalObject) -> None:
    shape: dict[str, object]
    if collider.primitive is not None:
        primitive = collider.primitive
        shape = {
            "type": primitive.type,
            "size": primitive.size,
            "pos": primitive.pose.position,
            "quat": primitive.pose.quat_wxyz,
        }
    else:
        _element(asset, "mesh", name=name, file=collider.mesh)
        shape = {"type": "mesh", "mesh": name}
    friction = (item.friction.value, TORSIONAL_FRICTION_M, ROLLING_FRICTION_M)
    condim = 6 if can_roll(item) else None
    _element(body, "geom", name=name, class_="collision", friction=friction, condim=condim, **shape)


def can_roll(item: PhysicalObject) -> bool:
    """Whether two of the object's dimensions are so alike that it may be round about the third."""
    a, b, c = sorted(item.asset.dims_m)
    is_box = any(collider.primitive is not None and collider.primitive.type == "box" for collider in item.colliders)
    return not is_box and (b - a < ROUND_RADIUS_SHARE * b or c - b < ROUND_RADIUS_SHARE * c)


def _camera(world: ET.Element, camera: SceneCamera) -> None:
    """A pinhole camera with its own focal lengths and principal point.

    MuJoCo's principal point is the centre of the picture minus ours, in both directions (measured by overlaying a
    render on the photograph); pixel centres of ours lie at whole numbers, so the centre is (width - 1) / 2.
    """
    pose = mujoco_camera_pose(camera)
    view = camera.camera
    _element(
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


def _start_key(root: ET.Element, objects: Sequence[PhysicalObject]) -> None:
    """The keyframe `start`: every object where it rests."""
    if not objects:
        return
    qpos = [value for item in objects for value in (*item.pose.position, *item.pose.quat_wxyz)]
    _element(_element(root, "keyframe"), "key", name="start", qpos=qpos)


def qpos_of(poses: Sequence[Pose]) -> np.ndarray:
    """(7 n,) positions of n free bodies."""
    return np.array([value for pose in poses for value in (*pose.position, *pose.quat_wxyz)])


def poses_of(qpos: np.ndarray) -> list[Pose]:
    """Poses of the free bodies of (7 n,) positions."""
    return [
        Pose(position=tuple(row[:3]), quat_wxyz=tuple((np.array(row[3:]) / np.linalg.norm(row[3:])).tolist()))
        for row in np.asarray(qpos, dtype=float).reshape(-1, 7).tolist()
    ]
