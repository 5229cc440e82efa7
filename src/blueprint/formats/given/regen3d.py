"""Scenes of complete meshes: the Regen3D directory contract, and the output tree of 3D-RE-GEN (cgtuebingen).

    regen3d/scene_info.json                        output/glb/LABEL__(X, Y).glb      posed, all in one frame
    regen3d/objects/NAME/{mesh.glb, pose.json}     output/glb/scene/combined_scene.glb
    regen3d/background/{mesh.glb, pose.json}       output/pointclouds/{PLANE_SAMPLED, FLOOR}.ply
                                                   output/pointclouds/meshed/ground_aligned.glb

Lengths stay in the scene's own unit and y stays up; `backends/reconstructor_regen3d.py` makes them metric and z-up.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from blueprint.core.errors import InputError
from blueprint.formats.json_file import number, of, read_json
from blueprint.geometry.mesh import Mesh
from blueprint.geometry.transforms import Array

MESHES = ("mesh.glb", "model.glb", "asset.glb", "mesh.obj")
NOT_OBJECTS = ("wall", "floor", "ceiling", "door", "window")  # what 3D-RE-GEN itself passes over
MOST_BYTES = 2**29
MOST_FACES = 5_000_000
NATIVE = re.compile(r"^(?P<label>.+?)__\((?P<cx>\d+), ?(?P<cy>\d+)\)")
Y_UP = {"y_up": True, "y-up": True, "yup": True, "z_up": False, "z-up": False, "zup": False}


@dataclass(frozen=True)
class RegenMesh:
    """mesh in its own frame; uv (F, 3, 2) and picture (H, W, 3), or None and one `color`."""

    mesh: Mesh
    uv: Array | None
    picture: NDArray[np.uint8] | None
    color: tuple[int, int, int]


@dataclass(frozen=True)
class RegenObject:
    """T_scene_mesh: (4, 4) affine (rotation, scale, translation); on_floor: as the files say, None = they do not."""

    name: str
    text: str
    labelled: bool
    file: Path
    mesh: RegenMesh
    T_scene_mesh: Array
    on_floor: bool | None
    confidence: float


@dataclass(frozen=True)
class RegenScene:
    """floor: (N, 3) points of the floor's plane, or None; meters_per_unit: None where nothing says it."""

    objects: tuple[RegenObject, ...]
    background: RegenObject | None
    floor: Array | None
    meters_per_unit: float | None
    y_up: bool
    method: str


def read_regen3d(place: Path) -> RegenScene:
    """Read either layout at, below or beside `place` (a folder, or one of its files). Raises InputError."""
    for folder in (place, place / "regen3d", *place.parents[:3]):
        if (folder / "scene_info.json").is_file():
            return _read_contract(folder)
    for folder in (place, place / "output", *place.parents[:3]):
        if (folder / "glb").is_dir():
            return _read_native(folder)
    raise InputError(
        f"{place.name} holds neither regen3d/scene_info.json nor output/glb/*.glb",
        "give the folder that Regen3D or 3D-RE-GEN wrote",
    )


# ------------------------------------------------------------------ the contract


def _read_contract(root: Path) -> RegenScene:
    file = root / "scene_info.json"
    info = read_json(file)
    frame = str(of(info, "coordinate_frame") or "y_up").lower()
    if frame not in Y_UP:
        raise InputError(f"{file}: coordinate_frame is {frame!r}", "y_up or z_up")
    unit = of(info, "meters_per_unit")
    metres = None if unit is None else number(unit, "meters_per_unit", file)
    if metres is not None and metres <= 0:
        raise InputError(f"{file}: meters_per_unit is {metres:g}", "it must be positive")
    folders = sorted(path for path in (root / "objects").glob("*") if path.is_dir())
    objects = tuple(found for folder in folders if (found := _contract_object(folder, root)) is not None)
    if not objects:
        raise InputError(f"{root}/objects holds no object", f"each object is a folder with one of {', '.join(MESHES)}")
    method = str(of(info, "reconstruction_method") or "regen3d")
    background = _contract_object(root / "background", root)
    return RegenScene(objects, background, None, metres, Y_UP[frame], method)


def _contract_object(folder: Path, root: Path) -> RegenObject | None:
    file = next((folder / name for name in MESHES if (folder / name).is_file()), None)
    if file is None:
        return None
    pose = _optional(folder / "pose.json")
    label = of(_optional(folder / "label.json"), "label")
    text = str(label or re.sub(r"^obj(ect)?[_-]", "", folder.name))
    contact = of(pose, "is_floor_contact")
    confidence = of(pose, "confidence")
    mesh = load_mesh(file, root)
    look = of(_optional(folder / "material.json"), "base_color")
    if mesh.picture is None and isinstance(look, list) and len(look) >= 3:
        red, green, blue = (int(255 * min(max(number(c, "base_color", folder), 0.0), 1.0)) for c in look[:3])
        mesh = RegenMesh(mesh.mesh, None, None, (red, green, blue))
    return RegenObject(
        name=folder.name,
        text=_words(text),
        labelled=label is not None,
        file=file,
        mesh=mesh,
        T_scene_mesh=_pose(pose, folder / "pose.json"),
        on_floor=contact if isinstance(contact, bool) else None,
        confidence=min(max(number(confidence, "confidence", folder), 0.0), 1.0) if confidence is not None else 0.5,
    )


def _optional(file: Path) -> Any:
    return read_json(file) if file.is_file() else {}


def _pose(pose: Any, file: Path) -> Array:
    """The matrix, or translation, quaternion (wxyz) and scale; the identity where there is neither."""
    T = np.eye(4)
    rows = of(pose, "transform_matrix")
    try:
        if rows is not None:
            T = np.array(rows, dtype=float).reshape(4, 4)
        elif isinstance(pose, dict):
            T[:3, 3] = pose.get("translation", (0, 0, 0))
            turn = Rotation.from_quat(pose.get("rotation_quaternion", (1, 0, 0, 0)), scalar_first=True)
            T[:3, :3] = turn.as_matrix() * np.array(pose.get("scale", (1, 1, 1)), dtype=float)
    except (ValueError, TypeError) as error:
        raise InputError(f"{file}: no pose: {error}", "transform_matrix is 4x4, row by row") from error
    if not np.isfinite(T).all() or abs(np.linalg.det(T[:3, :3])) < 1e-12:
        raise InputError(f"{file}: the pose flattens the object or is not finite", "check its scale")
    if not np.allclose(T[3], (0, 0, 0, 1)):
        raise InputError(f"{file}: the last row of transform_matrix is {T[3].tolist()}", "write it row by row")
    return T


# ------------------------------------------------------------------ 3D-RE-GEN's own output


def _read_native(root: Path) -> RegenScene:
    """Its meshes come posed in one frame whose scale is arbitrary and whose y is up only about."""
    files = sorted(path for path in (root / "glb").glob("*.glb") if "scene" not in path.name.lower())
    combined = root / "glb" / "scene" / "combined_scene.glb"
    if files:
        found = [_native_object(path.stem, load_mesh(path, root), path) for path in files]
    elif combined.is_file():
        pieces = _load(combined, root)
        found = [_native_object(name, _joined(part), combined) for name, part in _by_object(pieces).items()]
    else:
        raise InputError(f"{root}/glb holds no .glb file", "run 3D-RE-GEN up to its scene optimisation (-p 7)")
    objects = tuple(thing for thing in found if thing.text.lower() not in NOT_OBJECTS)
    if not objects:
        raise InputError(f"{root}/glb holds nothing but {', '.join(sorted({o.text for o in found}))}")
    ground = root / "pointclouds" / "meshed" / "ground_aligned.glb"
    background = _native_object("background", load_mesh(ground, root), ground) if ground.is_file() else None
    return RegenScene(objects, background, _floor(root / "pointclouds"), None, True, "3D-RE-GEN")


def _native_object(stem: str, mesh: RegenMesh, file: Path) -> RegenObject:
    match = NATIVE.match(stem)
    text = _words(match["label"] if match else stem)
    return RegenObject(stem, text, match is not None, file, mesh, np.eye(4), None, 0.5)


def _by_object(pieces: dict[str, trimesh.Trimesh]) -> dict[str, list[trimesh.Trimesh]]:
    """Nodes of the combined scene are called NAME_GEOMETRY, NAME being that of the object's own file."""
    grouped: dict[str, list[trimesh.Trimesh]] = {}
    for node, mesh in pieces.items():
        match = NATIVE.match(node)
        grouped.setdefault(match[0] if match else node, []).append(mesh)
    return grouped


def _floor(folder: Path) -> Array | None:
    """Points of the floor's plane. FLOOR.ply is written turned for Blender: (x, -z, y) there is (x, y, z) here."""
    for name, axes, signs in (("PLANE_SAMPLED.ply", (0, 1, 2), (1, 1, 1)), ("FLOOR.ply", (0, 2, 1), (1, 1, -1))):
        if (folder / name).is_file():
            cloud: Any = trimesh.load(io.BytesIO(_bytes(folder / name, folder)), file_type="ply")
            points = np.asarray(cloud.vertices, dtype=float)[:, axes] * signs
            if len(points) >= 3 and np.isfinite(points).all():
                return points
    return None


def _words(label: str) -> str:
    return " ".join(re.sub(r"[_\-]+", " ", label).split())


# ------------------------------------------------------------------ meshes


def load_mesh(file: Path, root: Path) -> RegenMesh:
    """All of a file's geometry as one mesh. Nothing but the file itself is read; it must lie below `root`."""
    return _joined(list(_load(file, root).values()))


def _bytes(file: Path, root: Path) -> bytes:
    if not file.resolve().is_relative_to(root.resolve()):
        raise InputError(f"{file} is a link that leaves the scene", "copy the file into the folder")
    if file.stat().st_size > MOST_BYTES:
        raise InputError(f"{file} is larger than {MOST_BYTES} bytes", "simplify the mesh")
    return file.read_bytes()


def _load(file: Path, root: Path) -> dict[str, trimesh.Trimesh]:
    """Node name -> mesh in the file's frame. Without a resolver, no other file can be named."""
    try:
        scene = trimesh.load_scene(io.BytesIO(_bytes(file, root)), file_type=file.suffix[1:].lower())
        meshes = {}
        for node in scene.graph.nodes_geometry:
            T, geometry = scene.graph[node]
            part = scene.geometry[geometry]
            if isinstance(part, trimesh.Trimesh) and len(part.faces):
                meshes[str(node)] = part.copy().apply_transform(T)
    except InputError:
        raise
    except Exception as error:  # a foreign parser on a foreign file raises anything
        raise InputError(f"{file} cannot be read: {type(error).__name__}: {error}", "export it again as GLB") from error
    faces = sum(len(mesh.faces) for mesh in meshes.values())
    if not 0 < faces <= MOST_FACES or not all(np.isfinite(mesh.vertices).all() for mesh in meshes.values()):
        raise InputError(f"{file} holds {faces} faces, or points that are not finite", "export it again as GLB")
    return meshes


def _joined(parts: list[trimesh.Trimesh]) -> RegenMesh:
    whole: Any = parts[0] if len(parts) == 1 else trimesh.util.concatenate(parts)
    mesh = np.asarray(whole.vertices, dtype=float), np.asarray(whole.faces, dtype=np.int64)
    visual = whole.visual
    material = getattr(visual, "material", None)
    uv = getattr(visual, "uv", None)
    image = getattr(material, "baseColorTexture", None) or getattr(material, "image", None)
    color = np.asarray(getattr(material, "main_color", None) if material is not None else visual.main_color)
    plain = (int(color[0]), int(color[1]), int(color[2]))
    if uv is None or image is None or len(uv) != len(mesh[0]) or not np.isfinite(uv).all():
        return RegenMesh(mesh, None, None, plain)
    return RegenMesh(mesh, np.asarray(uv, dtype=float)[mesh[1]], np.asarray(image.convert("RGB"), np.uint8), plain)
