"""USD prims that scenes and assets are made of: stages, meshes, colliders, materials, labels. Metres, kilograms, z up.

Files come out the same on every run.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from blueprint.formats.obj import TexturedMesh
from blueprint.model.scene import Inertia, Primitive
from blueprint.model.spatial import Pose

COLLIDERS = "Colliders"


def new_stage(path: Path) -> Any:
    """An empty USD stage that saves to `path`, replacing what is there."""
    from pxr import Sdf, Usd, UsdGeom, UsdPhysics

    opened = Sdf.Layer.Find(str(path))  # of an earlier run in this process: USD allows one layer per path
    layer = opened or Sdf.Layer.CreateNew(str(path))
    layer.Clear()
    stage = Usd.Stage.Open(layer)
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.z)
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    UsdPhysics.SetStageKilogramsPerUnit(stage, 1.0)
    return stage


def prim_name(name: str) -> str:
    """`name` as USD allows it: letters, digits and underscores, no digit first."""
    text = re.sub(r"[^A-Za-z0-9_]", "_", name)
    return f"_{text}" if text[:1].isdigit() else text


def place(xform: Any, pose: Pose) -> None:
    from pxr import Gf, UsdGeom

    xform.AddTranslateOp().Set(Gf.Vec3d(*pose.position))
    xform.AddOrientOp(UsdGeom.XformOp.PrecisionDouble).Set(Gf.Quatd(*pose.quat_wxyz))


def label(prim: Any, text: str, qcode: str = "") -> None:
    """What it is: in words, and by its Wikidata number."""
    from pxr import UsdSemantics

    UsdSemantics.LabelsAPI.Apply(prim, "class").CreateLabelsAttr([text])
    if qcode:
        UsdSemantics.LabelsAPI.Apply(prim, "wikidata_qcode").CreateLabelsAttr([qcode])


def made_of(material: Any, name: str) -> None:
    """Say in words what a material stands for."""
    from pxr import UsdSemantics

    UsdSemantics.LabelsAPI.Apply(material.GetPrim(), "material").CreateLabelsAttr([name])


def metadata(stage: Any, fields: dict[str, object], bodies: int, extents: Any, kilograms: float) -> None:
    """What SimReady asks of a file (requirement SR.004); four fields stand beside it too (SR.001)."""
    data = {**fields, "rigid_body_count": bodies, "asset_extents": extents, "mass": kilograms}
    top = {key: data[key] for key in ("asset_name", "asset_type", "source_file", "usd_date_generated")}
    stage.GetRootLayer().customLayerData = {"SimReady_Metadata": data, **top}


def mass(prim: Any, kilograms: float, inertia: Inertia) -> None:
    from pxr import Gf, UsdPhysics

    api = UsdPhysics.MassAPI.Apply(prim)
    api.CreateMassAttr(kilograms)
    api.CreateCenterOfMassAttr(Gf.Vec3f(*inertia.center_of_mass))
    api.CreateDiagonalInertiaAttr(Gf.Vec3f(*inertia.principal_moments))
    api.CreatePrincipalAxesAttr(Gf.Quatf(*inertia.quat_wxyz))


# ------------------------------------------------------------------ geometry


def mesh(stage: Any, path: str, file: Path, root: Path, solid: TexturedMesh) -> Any:
    """A prim that references the mesh's own file, which is written."""
    from pxr import UsdGeom

    write_mesh(file, solid)
    prim = UsdGeom.Mesh.Define(stage, path)
    prim.GetPrim().GetReferences().AddReference(relative(root, file))
    return prim


def write_mesh(path: Path, mesh: TexturedMesh) -> None:
    """A USD file whose default prim is the mesh, with texture coordinates per corner, normals per corner or face."""
    from pxr import Sdf, UsdGeom, Vt

    path.parent.mkdir(parents=True, exist_ok=True)
    stage = new_stage(path)
    prim = UsdGeom.Mesh.Define(stage, "/Mesh")
    stage.SetDefaultPrim(prim.GetPrim())
    shape(prim, mesh)
    if mesh.uv is not None:
        st = UsdGeom.PrimvarsAPI(prim).CreatePrimvar(
            "st", Sdf.ValueTypeNames.TexCoord2fArray, UsdGeom.Tokens.faceVarying
        )
        corners = mesh.uv.reshape(-1, 2).round(6).astype(np.float32)
        rows, index = np.unique(corners, axis=0, return_inverse=True)
        st.Set(Vt.Vec2fArray.FromNumpy(rows))
        st.SetIndices(Vt.IntArray.FromNumpy(index.ravel().astype(np.int32)))
    stage.Save()


def shape(prim: Any, mesh: TexturedMesh) -> None:
    """Points, faces and normals of a UsdGeom.Mesh."""
    from pxr import UsdGeom, Vt

    points = Vt.Vec3fArray.FromNumpy(mesh.vertices.astype(np.float32))
    prim.CreatePointsAttr(points)
    prim.CreateFaceVertexCountsAttr(Vt.IntArray.FromNumpy(np.full(len(mesh.faces), 3, dtype=np.int32)))
    prim.CreateFaceVertexIndicesAttr(Vt.IntArray.FromNumpy(mesh.faces.astype(np.int32).ravel()))
    prim.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
    prim.CreateExtentAttr(UsdGeom.PointBased.ComputeExtent(points))
    normals = face_normals(mesh) if mesh.normals is None else unit(mesh.normals.reshape(-1, 3))
    prim.CreateNormalsAttr(Vt.Vec3fArray.FromNumpy(normals.astype(np.float32)))
    prim.SetNormalsInterpolation(UsdGeom.Tokens.uniform if mesh.normals is None else UsdGeom.Tokens.faceVarying)


def face_normals(mesh: TexturedMesh) -> np.ndarray:
    """(F, 3) outward unit normals of the faces."""
    a, b, c = (mesh.vertices[mesh.faces[:, k]] for k in range(3))
    return unit(np.cross(b - a, c - a))


def unit(rows: np.ndarray) -> np.ndarray:
    """(N, 3) rows of length 1; a row without direction points up."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.where(length > 1e-20, rows / np.maximum(length, 1e-20), [0.0, 0.0, 1.0])


def ideal(stage: Any, path: str, primitive: Primitive) -> Any:
    """A cube, cylinder or sphere of a primitive's size at its place."""
    from pxr import Gf, UsdGeom

    if primitive.type == "box":
        made = UsdGeom.Cube.Define(stage, path)
        made.CreateSizeAttr(2.0)
        made.CreateExtentAttr([(-1, -1, -1), (1, 1, 1)])
    elif primitive.type == "cylinder":
        radius, half = primitive.size
        made = UsdGeom.Cylinder.Define(stage, path)
        made.CreateRadiusAttr(radius)
        made.CreateHeightAttr(2 * half)
        made.CreateAxisAttr("Z")
        made.CreateExtentAttr([(-radius, -radius, -half), (radius, radius, half)])
    else:
        radius = primitive.size[0]
        made = UsdGeom.Sphere.Define(stage, path)
        made.CreateRadiusAttr(radius)
        made.CreateExtentAttr([(-radius,) * 3, (radius,) * 3])
    place(made, primitive.pose)
    if primitive.type == "box":
        made.AddScaleOp().Set(Gf.Vec3f(*primitive.size))
    return made


def collides(gprim: Any, material: Any, *, hull: bool, seen: bool = False) -> None:
    """Make a shape collide. hull: it is a mesh whose convex hull counts; seen: it is drawn as well, else a guide."""
    from pxr import UsdGeom, UsdPhysics

    UsdPhysics.CollisionAPI.Apply(gprim.GetPrim())
    if hull:
        UsdPhysics.MeshCollisionAPI.Apply(gprim.GetPrim()).CreateApproximationAttr(UsdPhysics.Tokens.convexHull)
    if not seen:
        gprim.CreatePurposeAttr(UsdGeom.Tokens.guide)
    bind(gprim.GetPrim(), material, "physics")


# ------------------------------------------------------------------ materials


def look(stage: Any, path: str, texture: str | None) -> Any:
    """A rough dielectric with a texture, or plain grey."""
    from pxr import Gf, Sdf, UsdGeom, UsdShade

    UsdGeom.Scope.Define(stage, Sdf.Path(path).GetParentPath())
    material = UsdShade.Material.Define(stage, path)
    surface = UsdShade.Shader.Define(stage, f"{path}/PreviewSurface")
    surface.CreateIdAttr("UsdPreviewSurface")
    surface.CreateInput("roughness", Sdf.ValueTypeNames.Float).Set(0.6)
    surface.CreateInput("metallic", Sdf.ValueTypeNames.Float).Set(0.0)
    color = surface.CreateInput("diffuseColor", Sdf.ValueTypeNames.Color3f)
    if texture is None:
        color.Set(Gf.Vec3f(0.6, 0.6, 0.6))
    else:
        reader = UsdShade.Shader.Define(stage, f"{path}/st")
        reader.CreateIdAttr("UsdPrimvarReader_float2")
        reader.CreateInput("varname", Sdf.ValueTypeNames.String).Set("st")
        picture = UsdShade.Shader.Define(stage, f"{path}/Texture")
        picture.CreateIdAttr("UsdUVTexture")
        picture.CreateInput("file", Sdf.ValueTypeNames.Asset).Set(texture)
        picture.CreateInput("sourceColorSpace", Sdf.ValueTypeNames.Token).Set("sRGB")
        for axis in ("wrapS", "wrapT"):
            picture.CreateInput(axis, Sdf.ValueTypeNames.Token).Set("clamp")
        st = reader.CreateOutput("result", Sdf.ValueTypeNames.Float2)
        picture.CreateInput("st", Sdf.ValueTypeNames.Float2).ConnectToSource(st)
        color.ConnectToSource(picture.CreateOutput("rgb", Sdf.ValueTypeNames.Float3))
    material.CreateSurfaceOutput().ConnectToSource(surface.CreateOutput("surface", Sdf.ValueTypeNames.Token))
    return material


def physics_material(stage: Any, path: str, friction: float, restitution: float) -> Any:
    from pxr import UsdPhysics, UsdShade

    material = UsdShade.Material.Define(stage, path)
    api = UsdPhysics.MaterialAPI.Apply(material.GetPrim())
    api.CreateStaticFrictionAttr(friction)
    api.CreateDynamicFrictionAttr(friction)
    api.CreateRestitutionAttr(restitution)
    return material


def bind(prim: Any, material: Any, purpose: str = "") -> None:
    from pxr import UsdShade

    api = UsdShade.MaterialBindingAPI.Apply(prim)
    if purpose:
        api.Bind(material, UsdShade.Tokens.weakerThanDescendants, purpose)
    else:
        api.Bind(material)


def relative(root: Path, file: Path) -> str:
    """Anchored path, as USD resolves it from the file that holds it."""
    return f"./{file.relative_to(root).as_posix()}"
