"""The bodies of a scene in MJCF: rigid objects, their moving parts, soft ones, and what stands fixed.

A moving part is the body `<object>_<part>` inside the body that carries it, on the joint `<object>_<joint>`; both keep
the object's frame, so every number is the one of the model. Only a free object has a free joint, named as it is.

MuJoCo lets a body and its parent pass through each other, unless the parent is fixed: then two bodies of one object
that touch when it is closed are excluded from contact, and all others collide.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from blueprint.formats.elements import element
from blueprint.formats.mjcf.layout import is_free, joint_name, moving_parts, part_body, soft_points
from blueprint.formats.obj import read_obj
from blueprint.geometry.colliders.touching import primitive_points, touch
from blueprint.model.materials import ROLLING_FRICTION_M, TORSIONAL_FRICTION_M
from blueprint.model.scene import Collider, Inertia, PhysicalObject, PhysicalPart, Primitive, Sourced, StaticPart

ROUND_RADIUS_SHARE = 0.25  # condim 6 where the two smaller dimensions differ by less than this share: it can roll
# Where a cylinder lies a little askew on the flat end of another one, MuJoCo 3.17 finds a single contact, or one 10 cm
# deep, and throws it off: 95 of 300 drops of a soup can from at most 3 mm, none of 300 of this prism.
LYING_SIDES = 64
TOUCH_M = 0.0005  # colliders of one object closer than this when closed touch
JOINT_TYPES = {"revolute": "hinge", "prismatic": "slide"}


def write_object(root: ET.Element, item: PhysicalObject, files: Path | None, drawn: bool) -> None:
    """Append the object to `asset`, `worldbody` and `contact` of the MJCF `root`."""
    asset, world = _child(root, "asset"), _child(root, "worldbody")
    name = item.asset.name
    body = element(world, "body", name=name, pos=item.pose.position, quat=item.pose.quat_wxyz)
    if item.soft is not None:
        _soft(asset, body, item, files, drawn)
        return
    if is_free(item):
        element(body, "freejoint", name=name)
    _inertial(body, item.mass_kg, item.inertia)
    _colliders(asset, body, name, item.colliders, item)
    if drawn:
        base_looks(asset, body, item)
    carriers: dict[str | None, ET.Element] = {None: body}
    for part, carrier in moving_parts(item):
        carriers[part.part.name] = _part(asset, carriers[carrier], item, part, drawn)
    if item.parts:
        _exclude_touching(root, item, files)


def write_static(root: ET.Element, part: StaticPart, drawn: bool) -> None:
    """Append something fixed: convex colliders, the mesh's own hull where none are given."""
    asset, body = _child(root, "asset"), element(_child(root, "worldbody"), "body", name=part.name)
    for index, file in enumerate(part.colliders or (part.mesh,)):
        name = f"{part.name}_{index:03d}"
        element(asset, "mesh", name=name, file=file, inertia="shell")
        element(body, "geom", name=name, class_="collision", type="mesh", mesh=name)
    if drawn:
        visual(asset, body, part.name, part.mesh, part.texture)


def can_roll(item: PhysicalObject) -> bool:
    """Whether two of the object's dimensions are so alike that it may be round about the third."""
    a, b, c = sorted(item.asset.dims_m)
    is_box = any(collider.primitive is not None and collider.primitive.type == "box" for collider in item.colliders)
    return not is_box and (b - a < ROUND_RADIUS_SHARE * b or c - b < ROUND_RADIUS_SHARE * c)


def _child(root: ET.Element, tag: str) -> ET.Element:
    found = root.find(tag)
    return ET.SubElement(root, tag) if found is None else found


# ------------------------------------------------------------------ rigid pieces


def _inertial(body: ET.Element, mass: Sourced, inertia: Inertia) -> None:
    element(
        body,
        "inertial",
        pos=inertia.center_of_mass,
        quat=inertia.quat_wxyz,
        mass=mass.value,
        diaginertia=inertia.principal_moments,
    )


def _part(asset: ET.Element, carrier: ET.Element, item: PhysicalObject, part: PhysicalPart, drawn: bool) -> ET.Element:
    joint, name = part.joint, part_body(item.asset.name, part.part.name)
    body = element(carrier, "body", name=name)
    lower, upper = joint.limits
    element(
        body,
        "joint",
        name=joint_name(item.asset.name, joint.name),
        type=JOINT_TYPES[joint.type],
        pos=joint.origin if joint.type == "revolute" else None,
        axis=joint.axis,
        range=(lower, upper) if np.isfinite([lower, upper]).all() else None,
        damping=joint.damping,
        frictionloss=joint.friction,
        stiffness=joint.stiffness,
    )
    _inertial(body, part.mass_kg, part.inertia)
    _colliders(asset, body, name, part.colliders, item)
    if drawn:
        visual(asset, body, name, part.part.mesh, part.part.texture)
    return body


def _colliders(
    asset: ET.Element, body: ET.Element, name: str, colliders: Sequence[Collider], item: PhysicalObject
) -> None:
    friction = (item.friction.value, TORSIONAL_FRICTION_M, ROLLING_FRICTION_M)
    condim = 6 if is_free(item) and can_roll(item) else None
    for index, collider in enumerate(colliders):
        geom = f"{name}_{index:03d}"
        shape: dict[str, object]
        primitive = collider.primitive
        if primitive is not None and _lies(primitive):
            element(asset, "mesh", name=geom, vertex=primitive_points(primitive, LYING_SIDES).ravel())
            shape = {"type": "mesh", "mesh": geom}
        elif primitive is not None:
            shape = {
                "type": primitive.type,
                "size": primitive.size,
                "pos": primitive.pose.position,
                "quat": primitive.pose.quat_wxyz,
            }
        else:
            element(asset, "mesh", name=geom, file=collider.mesh)
            shape = {"type": "mesh", "mesh": geom}
        element(body, "geom", name=geom, class_="collision", friction=friction, condim=condim, **shape)


def _lies(primitive: Primitive) -> bool:
    """Whether it is a cylinder on its side, in an object whose z is up."""
    _, x, y, _ = primitive.pose.quat_wxyz
    return primitive.type == "cylinder" and abs(1 - 2 * (x * x + y * y)) < 0.5


def _exclude_touching(root: ET.Element, item: PhysicalObject, files: Path | None) -> None:
    """Bodies of one object that touch when it is closed never collide."""
    name = item.asset.name
    pieces = {name: item.colliders}
    pieces |= {part_body(name, part.part.name): part.colliders for part in item.parts}
    points = {body: [collider_points(piece, files) for piece in colliders] for body, colliders in pieces.items()}
    for a, b in combinations(points, 2):
        if any(touch(one, other, TOUCH_M) for one in points[a] for other in points[b]):
            element(_child(root, "contact"), "exclude", body1=a, body2=b)


def collider_points(collider: Collider, files: Path | None) -> np.ndarray:
    """(N, 3) points [m] whose hull is the collider, in the object frame."""
    if collider.primitive is not None:
        return primitive_points(collider.primitive)
    if files is None or collider.mesh is None:
        raise ValueError("a scene with moving parts needs `files`, the folder of their colliders")
    return read_obj(files / collider.mesh).vertices


# ------------------------------------------------------------------ soft bodies


def _soft(asset: ET.Element, body: ET.Element, item: PhysicalObject, files: Path | None, drawn: bool) -> None:
    """A flex of which nothing is pinned. Edges of ropes and cloth keep their length by a constraint, bending and
    volume follow the elasticity; without `drawn` it has no colour of its own."""
    soft, name = item.soft, item.asset.name
    if soft is None:
        raise ValueError(f"{name} is not soft")
    points, elements = soft_points(soft, files)
    flex = element(
        body,
        "flexcomp",
        name=name,
        type="direct",
        dim=soft.dim,
        mass=item.mass_kg.value,
        radius=soft.thickness_m / 2,
        point=points.ravel(),
        element=elements.ravel(),
        group=2,
        rgba=_mean_color(item, files) if drawn else None,
    )
    element(
        flex,
        "contact",
        selfcollide="none",
        condim=3,
        friction=(item.friction.value, TORSIONAL_FRICTION_M, ROLLING_FRICTION_M),
        solref=(0.01, 1.0),
    )
    if soft.dim < 3:
        element(flex, "edge", equality="true", damping=soft.damping if soft.dim == 1 else None)
    if soft.dim > 1:
        element(
            flex,
            "elasticity",
            young=soft.young_pa,
            poisson=soft.poisson,
            damping=soft.damping,
            thickness=soft.thickness_m if soft.dim == 2 else None,
            elastic2d="bend" if soft.dim == 2 else None,
        )


def _mean_color(item: PhysicalObject, files: Path | None) -> tuple[float, ...]:
    """A flex of points has no texture coordinates of its own: it shows the texture's mean colour."""
    from PIL import Image

    if files is None:
        return (0.6, 0.6, 0.6, 1.0)
    with Image.open(files / item.asset.texture) as opened:
        mean = np.asarray(opened.convert("RGB"), dtype=float).reshape(-1, 3).mean(axis=0) / 255
    return (*mean.round(3).tolist(), 1.0)


# ------------------------------------------------------------------ looks


def base_looks(asset: ET.Element, body: ET.Element, item: PhysicalObject) -> None:
    """What is drawn of the object itself: the whole, or where parts move, those that do not."""
    name = item.asset.name
    fixed = fixed_parts(item)
    if not fixed:
        visual(asset, body, name, item.asset.mesh, item.asset.texture)
    for part_name, mesh, texture in fixed:
        visual(asset, body, part_name, mesh, texture)


def fixed_parts(item: PhysicalObject) -> list[tuple[str, str, str | None]]:
    """(name, mesh, texture) of the parts that do not move, the first named as the object; none = one rigid piece."""
    moving = {part.part.name for part in item.parts}
    fixed = [part for part in item.asset.parts if part.name not in moving] if moving else []
    names = [item.asset.name, *(part_body(item.asset.name, part.name) for part in fixed[1:])]
    return [(name, part.mesh, part.texture) for name, part in zip(names, fixed, strict=False)]


def visual(asset: ET.Element, body: ET.Element, name: str, mesh: str, texture: str | None) -> None:
    """A mesh that is seen and collides with nothing."""
    mesh_name = f"{name}_visual"
    element(asset, "mesh", name=mesh_name, file=mesh, inertia="shell")  # shell: a surface need not enclose volume
    texture_name = None
    if texture is not None:
        known = [found for found in asset.findall("texture") if found.get("file") == texture]
        texture_name = name if not known else known[0].get("name")
        if not known:
            element(asset, "texture", name=name, type="2d", file=texture)
    element(asset, "material", name=name, texture=texture_name, specular=0.1, shininess=0.2)
    element(body, "geom", name=mesh_name, class_="visual", type="mesh", mesh=mesh_name, material=name)
