"""URDF to bodies and joints: metres, radians, z up. `package://` is looked for inside the scene only."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from scipy.spatial.transform import Rotation

from blueprint.core.errors import InputError
from blueprint.formats.given.scene import (
    DEEPEST,
    GREY,
    Y_TO_Z_UP,
    GivenBody,
    GivenJoint,
    GivenScene,
    Surface,
    checked,
    inside,
    mapped,
    reading,
    scene_of,
    surfaces_below,
)
from blueprint.formats.gltf_read import read_tree
from blueprint.formats.mjcf.read import parse_xml
from blueprint.geometry.transforms import Array

CURE = "check it with check_urdf, and give the folder with all its meshes"
WORLD = ("world", "map", "world_link")
MOST_LINKS = 5000


@dataclass
class _Urdf:
    """materials: colours by name; read: mesh file -> its surfaces."""

    root: Path
    file: Path
    materials: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    read: dict[Path, list[Surface]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def read_urdf(root: Path, main: Path) -> GivenScene:
    """Raises InputError for broken XML, links that are no tree, missing limits and files outside `root`."""
    with reading(main, CURE):
        robot = parse_xml(main)
        if robot.tag != "robot":
            raise InputError(f"{main.name} is no URDF: its root is <{robot.tag}>", "it must be <robot>")
        if any("${" in value for element in robot.iter() for value in element.attrib.values()):
            raise InputError(f"{main.name} holds xacro expressions", "run xacro on it first")
        scene = _Urdf(root, main)
        for material in robot.findall("material"):
            _material(scene, material)
        links = {_name(link, main): link for link in robot.findall("link")}
        if len(links) > MOST_LINKS:
            raise InputError(f"{main.name} has {len(links)} links; at most {MOST_LINKS} are read", CURE)
        parents = _parents(robot, links, main)
        poses = {name: _pose(name, parents) for name in links}
        kept = [name for name in links if not (name in WORLD and name not in parents)]
        number = {name: i for i, name in enumerate(kept)}
        world = len(kept) < len(links)
        bodies = [_body(scene, name, links[name], poses[name]) for name in kept]
        joints = [
            _joint(scene, joint, number.get(parent, -1), number[child], poses[child])
            for child, (parent, joint) in parents.items()
            if child in number
        ]
        if not world and any(body.name in WORLD for body in bodies):
            scene.notes.append("a link called world hangs on another; it is kept as a link")
        for kind in ("transmission", "gazebo", "sensor"):
            if robot.find(kind) is not None:
                scene.notes.append(f"<{kind}> is not read")
        return scene_of(bodies, joints, "metres (URDF)", "z (URDF)", scene.notes, main)


def _name(element: ET.Element, file: Path) -> str:
    name = element.get("name")
    if not name:
        raise InputError(f"{file.name}: a <{element.tag}> without a name", CURE)
    return name


def _parents(robot: ET.Element, links: dict[str, ET.Element], file: Path) -> dict[str, tuple[str, ET.Element]]:
    """Child link -> (parent link, joint)."""
    out: dict[str, tuple[str, ET.Element]] = {}
    for joint in robot.findall("joint"):
        ends = [joint.find(end) for end in ("parent", "child")]
        parent, child = (None if end is None else end.get("link") for end in ends)
        if parent not in links or child not in links or parent is None or child is None:
            known = ", ".join(list(links)[:8])
            raise InputError(f"{file.name}: joint {_name(joint, file)} joins {parent} to {child}", f"links: {known}")
        if child in out:
            raise InputError(f"{file.name}: link {child} hangs on two joints", "a URDF is a tree")
        out[child] = parent, joint
    return out


def _pose(name: str, parents: dict[str, tuple[str, ET.Element]]) -> Array:
    """(4, 4) T_world_link with every joint at zero. Raises ValueError for a circle."""
    T, steps = np.eye(4), 0
    while name in parents:
        name, joint = parents[name]
        T = _origin(joint) @ T
        steps += 1
        if steps > DEEPEST:
            raise ValueError("the links form a circle, or a chain too long")
    return T


def _numbers(text: str | None, count: int, default: tuple[float, ...]) -> Array:
    values = np.array([float(word) for word in text.split()] if text else default, dtype=float)
    if len(values) != count or not np.isfinite(values).all():
        raise ValueError(f"{text!r} where {count} finite numbers are due")
    return values


def _origin(element: ET.Element) -> Array:
    T = np.eye(4)
    origin = element.find("origin")
    if origin is not None:
        T[:3, 3] = _numbers(origin.get("xyz"), 3, (0, 0, 0))
        T[:3, :3] = Rotation.from_euler("xyz", _numbers(origin.get("rpy"), 3, (0, 0, 0))).as_matrix()
    return T


def _value(element: ET.Element | None, key: str) -> float | None:
    """A finite attribute, None where there is none."""
    text = None if element is None else element.get(key)
    return None if text is None else float(_numbers(text, 1, ())[0])


# ------------------------------------------------------------------ links


def _body(scene: _Urdf, name: str, link: ET.Element, T: Array) -> GivenBody:
    shapes = link.findall("visual") or link.findall("collision")
    surfaces = [checked(surface, name) for shape in shapes for surface in _shape(scene, shape, name)]
    mass = _value(link.find("inertial/mass"), "value")
    return GivenBody(name, T, tuple(surfaces), mass_kg=mass if mass and mass > 0 else None)


def _shape(scene: _Urdf, shape: ET.Element, name: str) -> list[Surface]:
    geometry = shape.find("geometry")
    found = None if geometry is None or not len(geometry) else geometry[0]
    if found is None:
        raise InputError(f"{scene.file.name}: link {name} has a shape without geometry", CURE)
    color = _material(scene, shape.find("material"))
    T = _origin(shape)
    if found.tag == "mesh":
        scale = np.diag([*_numbers(found.get("scale"), 3, (1, 1, 1)), 1.0])
        return [
            mapped(
                Surface(s.vertices, s.faces, s.uv, s.picture, color if color and s.picture is None else s.color),
                T @ scale,
            )
            for s in _mesh(scene, found.get("filename", ""))
        ]
    solid: Any
    if found.tag == "box":
        solid = trimesh.creation.box(_positive(_numbers(found.get("size"), 3, ())))
    elif found.tag == "cylinder":
        radius, length = _positive(np.array([_value(found, "radius") or 0.0, _value(found, "length") or 0.0]))
        solid = trimesh.creation.cylinder(radius, length, sections=48)
    elif found.tag == "sphere":
        solid = trimesh.creation.icosphere(3, _positive(np.array([_value(found, "radius") or 0.0]))[0])
    else:
        raise InputError(f"{scene.file.name}: link {name} has a <{found.tag}>", "box, cylinder, sphere or mesh")
    plain = Surface(np.asarray(solid.vertices, float), np.asarray(solid.faces, np.int64), None, None, color or GREY)
    return [mapped(plain, T)]


def _positive(sizes: Array) -> Array:
    if (sizes <= 0).any():
        raise ValueError(f"a size of {sizes.tolist()}")
    return sizes


def _material(scene: _Urdf, element: ET.Element | None) -> tuple[int, int, int] | None:
    if element is None:
        return None
    color, name = element.find("color"), element.get("name", "")
    if color is not None:
        red, green, blue = (255 * np.clip(_numbers(color.get("rgba"), 4, (1, 1, 1, 1))[:3], 0, 1)).astype(int).tolist()
        scene.materials[name] = red, green, blue
    return scene.materials.get(name)


def _mesh(scene: _Urdf, name: str) -> list[Surface]:
    """All surfaces of a mesh file. glTF is y up by its specification; URDF takes other meshes as they are."""
    file = _mesh_file(scene, name)
    if file not in scene.read:
        tree = read_tree(scene.root, file, scene.notes)
        T = Y_TO_Z_UP if file.suffix.lower() in (".glb", ".gltf") else np.eye(4)
        scene.read[file] = [mapped(surface, M) for M, surface in surfaces_below(tree, T @ tree.T)]
    return scene.read[file]


def _mesh_file(scene: _Urdf, name: str) -> Path:
    """package://NAME/PATH is PATH in a folder NAME of the scene, else in the scene's own or the file's folder."""
    folder = scene.file.parent
    text = name.removeprefix("file://") if name.startswith("file://") and not name.startswith("file:///") else name
    for scheme in ("package://", "model://"):
        if text.startswith(scheme):
            package, _, path = text.removeprefix(scheme).partition("/")
            places = [scene.root / package, scene.root, folder, *[p / package for p in folder.parents]]
            for place in places:
                if place.resolve().is_relative_to(scene.root.resolve()) and (place / path).exists():
                    return inside(scene.root, place, path, scene.file)
            return inside(scene.root, scene.root, f"{package}/{path}", scene.file)
    return inside(scene.root, folder, text, scene.file)


# ------------------------------------------------------------------ joints


def _joint(scene: _Urdf, joint: ET.Element, parent: int, child: int, T_child: Array) -> GivenJoint:
    name, kind = _name(joint, scene.file), joint.get("type", "")
    if joint.find("mimic") is not None:
        scene.notes.append(f"joint {name} mimics another; here it moves by itself")
    if kind not in ("revolute", "continuous", "prismatic"):
        if kind not in ("fixed", "floating", "planar"):
            raise InputError(f"{scene.file.name}: joint {name} is of type {kind!r}", "see the URDF specification")
        if kind != "fixed":
            scene.notes.append(f"joint {name} of type {kind} holds rigidly here")
        return GivenJoint(name, "fixed", parent, child)
    axis_element, limit = joint.find("axis"), joint.find("limit")
    axis = _numbers(None if axis_element is None else axis_element.get("xyz"), 3, (1, 0, 0))
    if np.linalg.norm(axis) < 1e-9:
        raise InputError(f"{scene.file.name}: joint {name} has no axis", "give <axis xyz>")
    x, y, z = (T_child[:3, :3] @ axis / np.linalg.norm(axis)).tolist()
    low, high = -np.pi, np.pi
    if kind == "continuous":
        scene.notes.append(f"joint {name} turns without limits; half a turn each way is kept")
    elif limit is None:
        raise InputError(f"{scene.file.name}: joint {name} has no <limit>", "URDF asks for one")
    else:
        low, high = _value(limit, "lower") or 0.0, _value(limit, "upper") or 0.0
        if low > high:
            raise InputError(f"{scene.file.name}: joint {name} goes from {low:g} to {high:g}", "lower is not lower")
    dynamics = joint.find("dynamics")
    u, v, w = T_child[:3, 3].tolist()
    return GivenJoint(
        name,
        "prismatic" if kind == "prismatic" else "revolute",
        parent,
        child,
        (x, y, z),
        (u, v, w),
        (low, high),
        _value(dynamics, "damping"),
        _value(dynamics, "friction"),
    )
