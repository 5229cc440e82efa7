"""Every joint driven open and closed in a simulator: does it reach its limits, and what gets in its way?"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from blueprint.backends.protocols import Simulator
from blueprint.core.errors import BackendError
from blueprint.formats.mjcf.layout import joint_name, moving_parts
from blueprint.formats.mjcf.objects import collider_points
from blueprint.formats.mjcf.scene import TableFiles, scene_mjcf
from blueprint.geometry.inertia import inertia_tensor
from blueprint.model.scene import PhysicalObject, PhysicalPart
from blueprint.model.spatial import Pose

LEG_S, SAMPLES = 1.5, 30  # of each leg: to one limit, to the other, closed again
STIFFNESS = 1e4  # [1/s^2] of the drive per unit of inertia: follows within a millimetre against the part's own weight
MOST_TURN, MOST_SLIDE = np.pi, 1.0  # [rad], [m] of a joint without limits


@dataclass(frozen=True)
class Sweep:
    """reached: of the range, 1 = both limits; overlap_m: deepest contact between pieces of the object on the way;
    force_n: largest drive force, for a turning part at the point farthest from its axis
    """

    joint: str
    reached: float
    overlap_m: float
    force_n: float


def sweep(item: PhysicalObject, files: Path, simulator: Simulator) -> tuple[Sweep, ...]:
    """Drive every joint of one object over its range, the others held closed. files: folder of its colliders.

    The object is alone and held; its pieces may not pass through each other, touching ones included.
    """
    parts = [part for part, _ in moving_parts(item)]
    model = files / f".sweep_{item.asset.name}.xml"
    model.write_text(_driven(item, parts, files))
    try:
        return tuple(_swept(index, part, parts, model, files, simulator) for index, part in enumerate(parts))
    finally:
        model.unlink()


def limits(part: PhysicalPart) -> tuple[float, float]:
    most = MOST_TURN if part.joint.type == "revolute" else MOST_SLIDE
    low, high = (float(np.clip(value, -most, most)) for value in part.joint.limits)
    return low, high


def _driven(item: PhysicalObject, parts: list[PhysicalPart], files: Path) -> str:
    """The object alone and held, a position drive on every joint, contacts between all of its pieces."""
    held = item.asset.model_copy(update={"anchored": True})
    alone = item.model_copy(update={"asset": held, "pose": Pose()})
    table = "none.obj"
    text = scene_mjcf([alone], TableFiles(collider=table), assets_dir=".", files=files, drawn=False)
    root = ET.fromstring(text)
    world, asset, option = (root.find(tag) for tag in ("worldbody", "asset", "option"))
    if world is None or asset is None or option is None:
        raise ValueError("a scene without worldbody, asset or option")
    for parent, child in (
        (world, "body[@name='table']"),
        (world, "geom[@name='floor']"),
        (asset, f"mesh[@file='{table}']"),
    ):
        found = parent.find(child)
        if found is not None:
            parent.remove(found)
    for excluded in root.findall("contact"):
        root.remove(excluded)
    flag = option.find("flag")
    (ET.SubElement(option, "flag") if flag is None else flag).set("filterparent", "disable")
    actuators = ET.SubElement(root, "actuator")
    for part in parts:
        stiffness, damping = _drive(part)
        joint = joint_name(item.asset.name, part.joint.name)
        ET.SubElement(actuators, "position", joint=joint, kp=f"{stiffness:.6g}", kv=f"{damping:.6g}")
    return ET.tostring(root, encoding="unicode")


def _drive(part: PhysicalPart) -> tuple[float, float]:
    """Stiffness and critical damping of the drive."""
    inertia = part.mass_kg.value
    if part.joint.type == "revolute":
        axis = np.array(part.joint.axis)
        arm = np.cross(axis, np.array(part.inertia.center_of_mass) - part.joint.origin)
        inertia = float(axis @ inertia_tensor(part.inertia) @ axis + part.mass_kg.value * arm @ arm)
    return STIFFNESS * inertia, 2 * np.sqrt(STIFFNESS) * inertia


def _swept(
    index: int, part: PhysicalPart, parts: list[PhysicalPart], model: Path, files: Path, simulator: Simulator
) -> Sweep:
    low, high = limits(part)
    stiffness, damping = _drive(part)
    simulation = simulator.open(model)
    held = np.zeros(len(parts))
    place = 0.0
    overlap = force = 0.0
    missed = 0.0
    try:
        for target in (low, high, 0.0):
            for step in np.linspace(place, target, SAMPLES + 1)[1:]:
                held[index] = step
                simulation.advance(held, LEG_S / SAMPLES)
                q, v = simulation.qpos[index], simulation.qvel[index]
                force = max(force, abs(stiffness * (step - q) - damping * v))
                overlap = max([overlap, *(-distance for _, _, distance, _ in simulation.contacts())])
            simulation.advance(held, 0.2)
            missed = max(missed, abs(simulation.qpos[index] - target))
            place = target
    except BackendError:  # it flew apart
        return Sweep(part.joint.name, 0.0, overlap, float("inf"))
    finally:
        simulation.close()
    reach = 1.0 if part.joint.type == "prismatic" else _reach(part, files)
    return Sweep(part.joint.name, 1 - missed / max(high - low, 1e-9), overlap, force / reach)


def _reach(part: PhysicalPart, files: Path) -> float:
    """Distance [m] from the axis to the farthest point of the part: where a hand takes hold."""
    points = np.concatenate([collider_points(collider, files) for collider in part.colliders])
    arms = np.cross(np.array(part.joint.axis), points - np.array(part.joint.origin))
    return max(float(np.linalg.norm(arms, axis=1).max()), 0.005)
