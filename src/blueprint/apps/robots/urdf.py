"""A URDF made ready for MuJoCo: its meshes found or converted, its mimic joints tied."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import TYPE_CHECKING

from blueprint.core.errors import InputError

if TYPE_CHECKING:
    import mujoco


def joint_speeds(root: ET.Element) -> dict[str, float]:
    found = {}
    for joint in root.findall("joint"):
        limit = joint.find("limit")
        if limit is not None and "velocity" in limit.attrib:
            found[joint.attrib["name"]] = float(limit.attrib["velocity"])
    return found


def urdf_for_mujoco(root: ET.Element, file: Path, assets: Path) -> str:
    """The URDF with its meshes found, converted where MuJoCo cannot read them."""
    import trimesh

    for link in root.findall("link"):
        for shape in (*link.findall("visual"), *link.findall("collision")):
            mesh = shape.find("geometry/mesh")
            if mesh is None:
                continue
            source = _find_mesh(mesh.attrib["filename"], file)
            if source.suffix.lower() not in (".stl", ".obj"):
                if shape.tag == "visual":  # a collision mesh is drawn in its place
                    link.remove(shape)
                    continue
                try:
                    loaded = trimesh.load(source, force="mesh")
                except Exception as error:  # trimesh raises what its readers raise
                    raise InputError(f"{source.name} cannot be read: {error}", "convert it to STL or OBJ") from error
                source = assets / f"{source.stem}.stl"
                loaded.export(source)
            mesh.attrib["filename"] = str(source.resolve())
    for old in root.findall("mujoco"):
        root.remove(old)
    compiler = ET.SubElement(ET.SubElement(root, "mujoco"), "compiler")
    compiler.attrib.update(discardvisual="false", fusestatic="false", strippath="false", balanceinertia="true")
    return ET.tostring(root, encoding="unicode")


def _find_mesh(name: str, file: Path) -> Path:
    """A mesh by the path or `package://` address that a URDF gives."""
    tail = Path(name.removeprefix("package://").removeprefix("file://"))
    for above in (file.parent, *file.parent.parents[:4]):
        for candidate in (above / tail, above / Path(*tail.parts[1:])):
            if candidate.is_file():
                return candidate
    raise InputError(f"{file.name} names a mesh that is not there: {name}", "keep the package's folders together")


def mimic(spec: mujoco.MjSpec, root: ET.Element) -> None:
    """URDF's mimic joints as equalities; MuJoCo's own reader drops or keeps them by version, so they are set here."""
    import mujoco

    for equality in list(spec.equalities):
        spec.delete(equality)
    for joint in root.findall("joint"):
        mimic = joint.find("mimic")
        if mimic is None or joint.attrib.get("type") == "fixed":
            continue
        tie = spec.add_equality(type=mujoco.mjtEq.mjEQ_JOINT, objtype=mujoco.mjtObj.mjOBJ_JOINT)
        tie.name1, tie.name2 = joint.attrib["name"], mimic.attrib["joint"]
        tie.data[0], tie.data[1] = float(mimic.get("offset", 0.0)), float(mimic.get("multiplier", 1.0))
