"""Further fixed cameras of a workcell: from above, from the side and from the front. They look at the objects."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from blueprint.core.errors import InputError
from blueprint.model.scene import SceneBody
from blueprint.model.spatial import Pose

Array = NDArray[np.float64]

FURTHER = ("overhead", "side", "front")
FOVY_DEG = 45.0  # of a common depth camera's colour picture
RISE_DEG = 35.0  # of the side and front cameras above the table
MARGIN_M, LEAST_M = 0.15, 0.3  # room around the objects, and the least half width that is in view


def add_cameras(mjcf: Path, base: Pose, bodies: Sequence[SceneBody]) -> tuple[str, ...]:
    """Write `overhead`, `side` and `front` into the file; returns their names. base: of the first arm, T_world_base.

    front looks towards the robot, side has it at the left, and overhead has it at the bottom. Raises InputError when
    the file is no MJCF. Walls and shelf boards are not looked around: a camera may stand behind one.
    """
    tree, world = _parsed(mjcf)
    taken = {camera.get("name") for camera in world.iter("camera")}
    poses = {name: pose for name, pose in _poses(base, bodies).items() if name not in taken}
    for name, pose in poses.items():
        _add(world, name, *pose, FOVY_DEG)
    tree.write(mjcf)
    return tuple(poses)


def with_camera(mjcf: Path, name: str, position: Array, right: Array, up: Array, fovy_deg: float) -> str:
    """The model with one more camera, its files named by absolute paths. right, up: unit vectors, world frame.

    Raises InputError when the file is no MJCF.
    """
    tree, world = _parsed(mjcf)
    root = tree.getroot()
    compiler = root.find("compiler")
    compiler = ET.SubElement(root, "compiler") if compiler is None else compiler
    for attribute in ("meshdir", "texturedir"):
        compiler.set(attribute, str(mjcf.parent.absolute() / compiler.get(attribute, "")))
    _add(world, name, position, right, up, fovy_deg)
    return ET.tostring(root, encoding="unicode")


def _parsed(mjcf: Path) -> tuple[ET.ElementTree[ET.Element], ET.Element]:
    try:
        tree = ET.parse(mjcf)
    except ET.ParseError as error:
        raise InputError(f"{mjcf} is no XML: {error}", "run the workcell stage again") from error
    world = tree.getroot().find("worldbody")
    if world is None:
        raise InputError(f"{mjcf} has no worldbody", "run the workcell stage again")
    return tree, world


def _add(world: ET.Element, name: str, position: Array, right: Array, up: Array, fovy_deg: float) -> None:
    place, axes = (" ".join(f"{value:.9g}" for value in values) for values in (position, (*right, *up)))
    ET.SubElement(world, "camera", name=name, pos=place, xyaxes=axes, fovy=f"{fovy_deg:g}")


def _poses(base: Pose, bodies: Sequence[SceneBody]) -> dict[str, tuple[Array, Array, Array]]:
    """Position, and the directions of the picture's right and up."""
    places = np.array([body.pose.position for body in bodies])
    centre = (places.min(axis=0) + places.max(axis=0)) / 2
    radius = max(LEAST_M, float(np.linalg.norm((places - centre)[:, :2], axis=1).max()) + MARGIN_M)
    away = radius / np.tan(np.deg2rad(FOVY_DEG) / 2)
    forward = np.array([*(centre - np.array(base.position))[:2], 0.0])
    length = float(np.linalg.norm(forward))
    forward = forward / length if length > 0 else np.array([1.0, 0.0, 0.0])
    left, up = np.array([-forward[1], forward[0], 0.0]), np.array([0.0, 0.0, 1.0])
    rise = np.deg2rad(RISE_DEG)
    found = {FURTHER[0]: (centre + away * up, -left, forward)}
    for name, out in zip(FURTHER[1:], (-left, forward), strict=True):
        back = np.cos(rise) * out + np.sin(rise) * up
        right = np.cross(up, out)
        found[name] = (centre + away * back, right, np.cross(back, right))
    return found
