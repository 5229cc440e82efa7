"""Surfaces of USD prims, in the prim's frame and unit: meshes, ideal shapes, point instancers, and how they look."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import trimesh
from numpy.typing import NDArray
from PIL import Image

from blueprint.core.errors import InputError
from blueprint.formats.given.scene import GREY, MOST_FACES, Node, Surface, inside, mapped, surfaces_below
from blueprint.formats.gltf_read import small_picture
from blueprint.geometry.transforms import Array

if TYPE_CHECKING:
    from blueprint.formats.usd.read import UsdScene

MOST_INSTANCES = 10_000
TURN = {
    "X": np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]]),
    "Y": np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0]]),
    "Z": np.eye(3),
}


def shape_surfaces(scene: UsdScene, prim: Any) -> list[Surface]:
    """What the prim itself draws; nothing for curves, points and patches."""
    from pxr import UsdGeom

    if prim.IsA(UsdGeom.PointInstancer):
        return _instanced(scene, prim)
    if prim.IsA(UsdGeom.Mesh):
        return _mesh(scene, prim)
    solid = _ideal(prim)
    if solid is None:
        return []
    color = _look(scene, prim)[1]  # an ideal shape has no texture coordinates
    return [surface_of(solid, color)]


def surface_of(solid: Any, color: tuple[int, int, int]) -> Surface:
    """A trimesh as a plain surface."""
    return Surface(np.asarray(solid.vertices, dtype=float), np.asarray(solid.faces, dtype=np.int64), None, None, color)


def _ideal(prim: Any) -> Any:
    """A trimesh of a Cube, Sphere, Cylinder, Capsule, Cone or Plane."""
    from pxr import UsdGeom

    def value(name: str, default: float) -> float:
        found = prim.GetAttribute(name).Get()
        found = default if found is None else float(found)
        if not 0 < found < 1e9:
            raise ValueError(f"{prim.GetPath()}: {name} is {found}")
        return found

    if prim.IsA(UsdGeom.Cube):
        return trimesh.creation.box((value("size", 2.0),) * 3)
    if prim.IsA(UsdGeom.Sphere):
        return trimesh.creation.icosphere(3, value("radius", 1.0))
    if prim.IsA(UsdGeom.Cylinder):
        made = trimesh.creation.cylinder(value("radius", 1.0), value("height", 2.0), sections=48)
    elif prim.IsA(UsdGeom.Capsule):
        made = trimesh.creation.capsule(value("height", 1.0), value("radius", 0.5))
    elif prim.IsA(UsdGeom.Cone):
        height = value("height", 2.0)
        made = trimesh.creation.cone(value("radius", 1.0), height, sections=48)
        made.vertices -= [0, 0, height / 2]
    elif prim.IsA(UsdGeom.Plane):
        made = trimesh.creation.box((value("width", 2.0), value("length", 2.0), 1e-6))
        made.update_faces(made.face_normals[:, 2] > 0.5)
        made.vertices[:, 2] = 0.0
        made.remove_unreferenced_vertices()
    else:
        return None
    made.vertices = made.vertices @ TURN[str(prim.GetAttribute("axis").Get() or "Z")].T
    return made


def _mesh(scene: UsdScene, prim: Any) -> list[Surface]:
    """One surface per material."""
    from pxr import UsdGeom

    mesh = UsdGeom.Mesh(prim)
    points, counts, indices = (
        np.array(attribute.Get() if attribute.Get() is not None else [])
        for attribute in (mesh.GetPointsAttr(), mesh.GetFaceVertexCountsAttr(), mesh.GetFaceVertexIndicesAttr())
    )
    if not len(points) or not len(counts):
        return []
    if counts.min() < 0 or counts.sum() != len(indices) or indices.min() < 0 or indices.max() >= len(points):
        raise InputError(f"{prim.GetPath()}: its faces do not fit its points", "export the mesh again")
    if len(indices) > 3 * MOST_FACES:
        raise InputError(f"{prim.GetPath()} has {len(indices)} corners", "simplify the mesh")
    corners, polygon = _triangles(counts.astype(np.int64))
    if mesh.GetOrientationAttr().Get() == UsdGeom.Tokens.leftHanded:
        corners = corners[:, ::-1]
    faces = indices.astype(np.int64)[corners]
    uv = _uv(prim, faces, corners)
    owner = np.zeros(len(counts), dtype=np.int64)
    looks = [_look(scene, prim)]
    for subset in UsdGeom.Subset.GetAllGeomSubsets(UsdGeom.Imageable(prim)):
        chosen = np.array(subset.GetIndicesAttr().Get() or [], dtype=np.int64)
        owner[chosen[(chosen >= 0) & (chosen < len(counts))]] = len(looks)
        looks.append(_look(scene, subset.GetPrim()))
    out = []
    for number, (picture, color) in enumerate(looks):
        mine = owner[polygon] == number
        if mine.any():
            shown = picture is not None and uv is not None
            out.append(
                Surface(
                    points.astype(float),
                    faces[mine],
                    uv[mine] if shown and uv is not None else None,
                    picture if shown else None,
                    color,
                )
            )
    return out


def _triangles(counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Fans: (F, 3) positions in the list of corners, (F,) polygon of each triangle."""
    starts = np.cumsum(counts) - counts
    fans = np.maximum(counts - 2, 0)
    polygon = np.repeat(np.arange(len(counts)), fans)
    step = np.arange(len(polygon)) - np.repeat(np.cumsum(fans) - fans, fans)
    first = starts[polygon]
    return np.stack([first, first + step + 1, first + step + 2], axis=1), polygon


def _uv(prim: Any, faces: NDArray[np.int64], corners: NDArray[np.int64]) -> Array | None:
    """(F, 3, 2) of the primvar `st`, else of the first that is a texture coordinate."""
    from pxr import UsdGeom

    api = UsdGeom.PrimvarsAPI(prim)
    found = [api.FindPrimvarWithInheritance("st"), *api.FindPrimvarsWithInheritance()]
    for primvar in found:
        if not primvar or not primvar.HasValue() or str(primvar.GetTypeName()) not in ("texCoord2f[]", "float2[]"):
            continue
        values = np.array(primvar.ComputeFlattened() or [], dtype=float).reshape(-1, 2)
        per_corner = primvar.GetInterpolation() == UsdGeom.Tokens.faceVarying
        index = corners if per_corner else faces
        if len(values) and index.max() < len(values) and np.isfinite(values).all():
            return values[index]
    return None


def _look(scene: UsdScene, prim: Any) -> tuple[NDArray[np.uint8] | None, tuple[int, int, int]]:
    """(picture, colour) of the bound UsdPreviewSurface, else the display colour."""
    from pxr import UsdGeom, UsdShade

    material, _ = UsdShade.MaterialBindingAPI(prim).ComputeBoundMaterial()
    source = material.ComputeSurfaceSource()[0] if material else None
    diffuse = source.GetInput("diffuseColor") if source else None
    if diffuse:
        for connected in diffuse.GetConnectedSources()[0]:
            texture = UsdShade.Shader(connected.source.GetPrim()).GetInput("file")
            if texture:
                return _picture(scene, texture.GetAttr()), GREY
        value = diffuse.Get()
        if value is not None:
            return None, _rgb(value)
    shown = UsdGeom.Gprim(prim).GetDisplayColorAttr() if prim.IsA(UsdGeom.Gprim) else None
    value = shown.Get() if shown else None
    return None, _rgb(value[0]) if value else GREY


def _rgb(value: Any) -> tuple[int, int, int]:
    """Linear colour of USD to 8-bit sRGB (IEC 61966-2-1, by its usual exponent 2.2)."""
    linear = np.clip(np.nan_to_num(np.array(value, dtype=float)[:3]), 0, 1)
    red, green, blue = (255 * linear ** (1 / 2.2)).round().astype(int).tolist()
    return red, green, blue


def _picture(scene: UsdScene, attribute: Any) -> NDArray[np.uint8] | None:
    """The texture, anchored at the layer that names it; a missing one is noted, one outside the scene is refused."""
    name = str(getattr(attribute.Get(), "path", "") or "")
    if not name:
        return None
    stack = attribute.GetPropertyStack()
    layer = Path(stack[0].layer.realPath) if stack else scene.root / "scene"
    try:
        file = inside(scene.root, layer.parent, name, layer)
    except InputError as error:
        if "outside" in error.message:
            raise
        scene.notes.append(error.message)
        return None
    try:
        with Image.open(file) as image:
            return small_picture(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        scene.notes.append(f"{file.name} is no picture that can be read")
        return None


def _instanced(scene: UsdScene, prim: Any) -> list[Surface]:
    """Every instance of a point instancer, in its frame."""
    from pxr import Usd, UsdGeom

    instancer = UsdGeom.PointInstancer(prim)
    indices = list(instancer.GetProtoIndicesAttr().Get() or [])
    if len(indices) > MOST_INSTANCES:
        raise InputError(
            f"{prim.GetPath()} has {len(indices)} instances; at most {MOST_INSTANCES} are read", "thin it out"
        )
    now = Usd.TimeCode.Default()
    matrices = instancer.ComputeInstanceTransformsAtTime(now, now) or []
    targets = [scene.stage.GetPrimAtPath(path) for path in instancer.GetPrototypesRel().GetTargets()]
    out: list[Surface] = []
    faces = 0
    for index, matrix in zip(indices, matrices, strict=False):
        if 0 <= index < len(targets) and targets[index]:
            for T, surface in _prototype(scene, targets[index]):
                faces += len(surface.faces)
                if faces > MOST_FACES:
                    raise InputError(f"{prim.GetPath()} draws more than {MOST_FACES} triangles", "thin it out")
                out.append(mapped(surface, np.array(matrix).T @ T))
    return out


def _prototype(scene: UsdScene, prim: Any) -> list[tuple[Array, Surface]]:
    """Surfaces below a prototype, in its frame: its own place is part of the instance matrix (IncludeProtoXform)."""
    from pxr import Usd, UsdGeom

    start = np.linalg.inv(scene.pose(prim))
    node = Node(prim.GetName(), np.eye(4))
    for child in Usd.PrimRange(prim, Usd.TraverseInstanceProxies()):
        if child.IsA(UsdGeom.Gprim):
            node.children.append(Node(child.GetName(), start @ scene.pose(child), shape_surfaces(scene, child)))
    return list(surfaces_below(node, np.eye(4)))
