"""An object as URDF, for ROS and for simulators that read no MJCF: metres, radians, roll-pitch-yaw, z up.

A URDF link's frame lies in its joint, so what hangs on a hinge is shifted by the hinge's place; the numbers of masses,
limits, damping and friction are those of the MJCF. URDF has no contact friction.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from blueprint.formats.elements import document, element
from blueprint.formats.mjcf.layout import joint_name, moving_parts, part_body
from blueprint.formats.mjcf.objects import fixed_parts
from blueprint.geometry.inertia import inertia_tensor
from blueprint.model.scene import Collider, Inertia, PhysicalObject, PhysicalPart, Primitive

FOLDER = "urdf"
EFFORT, VELOCITY = 1000.0, 10.0  # URDF demands limits; these are wide [N or N m], [m/s or rad/s]

Looks = Sequence[tuple[str, str, str | None]]


def write_urdf(assets: Path, item: PhysicalObject) -> Path:
    """Write `assets`/urdf/NAME.urdf, which names meshes relative to itself; links are named as MJCF bodies."""
    name = item.asset.name
    root = ET.Element("robot", name=name)
    looks = fixed_parts(item) or [(name, item.asset.mesh, item.asset.texture)]
    base_at = np.zeros(3)
    if item.asset.anchored:
        element(root, "link", name="world")
    _link(root, name, item.mass_kg.value, item.inertia, looks, item.colliders, base_at)
    if item.asset.anchored:
        joint = element(root, "joint", name=f"{name}_anchor", type="fixed")
        element(joint, "parent", link="world")
        element(joint, "child", link=name)
    frames = {name: base_at}
    for part, carrier in moving_parts(item):
        parent = name if carrier is None else part_body(name, carrier)
        child, at = part_body(name, part.part.name), np.array(part.joint.origin)
        frames[child] = at
        drawn = [(child, part.part.mesh, part.part.texture)]
        _link(root, child, part.mass_kg.value, part.inertia, drawn, part.colliders, at)
        _joint(root, name, part, parent, child, at - frames[parent])
    path = assets / FOLDER / f"{name}.urdf"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('<?xml version="1.0"?>\n' + document(root))
    return path


def _link(
    root: ET.Element,
    name: str,
    mass: float,
    inertia: Inertia,
    looks: Looks,
    colliders: Sequence[Collider],
    at: np.ndarray,
) -> None:
    """at: (3,) place of the link's frame in the object's."""
    link = element(root, "link", name=name)
    inertial = element(link, "inertial")
    element(inertial, "origin", xyz=np.array(inertia.center_of_mass) - at, rpy=(0, 0, 0))
    element(inertial, "mass", value=mass)
    tensor = inertia_tensor(inertia)
    names = {"ixx": (0, 0), "ixy": (0, 1), "ixz": (0, 2), "iyy": (1, 1), "iyz": (1, 2), "izz": (2, 2)}
    element(inertial, "inertia", **{key: tensor[index] for key, index in names.items()})
    for _, mesh, _ in looks:
        visual = element(link, "visual")
        element(visual, "origin", xyz=-at, rpy=(0, 0, 0))
        element(element(visual, "geometry"), "mesh", filename=f"../{mesh}")
    for collider in colliders:
        solid = element(link, "collision")
        if collider.primitive is None:
            element(solid, "origin", xyz=-at, rpy=(0, 0, 0))
            element(element(solid, "geometry"), "mesh", filename=f"../{collider.mesh}")
        else:
            _primitive(solid, collider.primitive, at)


def _primitive(solid: ET.Element, primitive: Primitive, at: np.ndarray) -> None:
    angles = Rotation.from_quat(primitive.pose.quat_wxyz, scalar_first=True).as_euler("xyz")
    element(solid, "origin", xyz=np.array(primitive.pose.position) - at, rpy=angles)
    geometry, size = element(solid, "geometry"), primitive.size
    if primitive.type == "box":
        element(geometry, "box", size=[2 * half for half in size])
    elif primitive.type == "cylinder":
        element(geometry, "cylinder", radius=size[0], length=2 * size[1])
    else:
        element(geometry, "sphere", radius=size[0])


def _joint(root: ET.Element, item: str, part: PhysicalPart, parent: str, child: str, at: np.ndarray) -> None:
    made = part.joint
    bounded = bool(np.isfinite(made.limits).all())
    kind = made.type if bounded or made.type == "prismatic" else "continuous"
    joint = element(root, "joint", name=joint_name(item, made.name), type=kind)
    element(joint, "origin", xyz=at, rpy=(0, 0, 0))
    element(joint, "parent", link=parent)
    element(joint, "child", link=child)
    element(joint, "axis", xyz=made.axis)
    limits = {"lower": made.limits[0], "upper": made.limits[1]} if bounded else {}
    element(joint, "limit", **limits, effort=EFFORT, velocity=VELOCITY)
    element(joint, "dynamics", damping=made.damping or 0.0, friction=made.friction or 0.0)
