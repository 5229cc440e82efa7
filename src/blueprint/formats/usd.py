"""The scene as USD: z up, metres, kilograms; rigid bodies, mass, colliders and materials by UsdPhysics.

`/World/Objects/NAME` is a rigid body with the mesh `Visual` and `Colliders`; `/World/Table` is static. Meshes lie in
files of their own beside their OBJ, which the scene references. Files are written the same on every run.

UsdPhysics has one friction pair and a restitution per material; how two materials combine is the engine's choice
(PhysX: average; MuJoCo: larger), so the friction of a contact can differ between engines although the files agree.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from blueprint.formats.mjcf import GL_FROM_CV, TableFiles
from blueprint.formats.obj import TexturedMesh, read_obj
from blueprint.geometry.transforms import matrix_to_pose
from blueprint.model.materials import TABLE_TOP
from blueprint.model.scene import Collider, Inertia, PhysicalObject, SceneCamera
from blueprint.model.spatial import Pose

GRAVITY = 9.81  # [m/s^2], as MuJoCo's default
PIXEL = 0.01  # film size of a pixel, in USD's tenths of a unit: only its ratio to the focal length matters
COLLIDERS = "Colliders"


def write_scene(
    path: Path,
    assets: Path,
    objects: Sequence[PhysicalObject],
    table: TableFiles,
    cameras: Sequence[SceneCamera],
    *,
    floor_z: float,
) -> None:
    """Write `path` (.usda) and one .usdc beside every mesh that it uses below `assets`, a folder beside `path`."""
    from pxr import Kind, Usd, UsdGeom, UsdPhysics

    stage = _new_stage(path)
    world = UsdGeom.Xform.Define(stage, "/World")
    stage.SetDefaultPrim(world.GetPrim())
    Usd.ModelAPI(world).SetKind(Kind.Tokens.assembly)
    Usd.ModelAPI(UsdGeom.Xform.Define(stage, "/World/Objects")).SetKind(Kind.Tokens.group)
    UsdGeom.Scope.Define(stage, "/World/PhysicsMaterials")
    physics = UsdPhysics.Scene.Define(stage, "/World/PhysicsScene")
    physics.CreateGravityDirectionAttr((0.0, 0.0, -1.0))
    physics.CreateGravityMagnitudeAttr(GRAVITY)
    _surroundings(stage, floor_z)
    _table(stage, table, path.parent, assets)
    for item in objects:
        _object(stage, item, path.parent, assets)
    for camera in cameras:
        _camera(stage, camera)
    stage.Save()


def _new_stage(path: Path) -> Any:
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


def object_path(name: str) -> str:
    """Where the object of that name stands in the scene."""
    return f"/World/Objects/{prim_name(name)}"


# ------------------------------------------------------------------ bodies


def _object(stage: Any, item: PhysicalObject, root: Path, assets: Path) -> None:
    from pxr import Kind, Usd, UsdGeom, UsdPhysics

    path = object_path(item.asset.name)
    body = UsdGeom.Xform.Define(stage, path)
    body.GetPrim().SetDisplayName(item.asset.name)
    Usd.ModelAPI(body).SetKind(Kind.Tokens.component)
    _place(body, item.pose)
    UsdPhysics.RigidBodyAPI.Apply(body.GetPrim())
    _mass(body.GetPrim(), item.mass_kg.value, item.inertia)
    _label(body.GetPrim(), item.asset.text)
    look = _look(stage, f"{path}/Looks/Surface", _relative(root, assets / item.asset.texture))
    _bind(_mesh(stage, f"{path}/Visual", assets / item.asset.mesh, root).GetPrim(), look)
    friction = _physics_material(stage, prim_name(item.asset.name), item.friction.value, item.restitution.value)
    UsdGeom.Scope.Define(stage, f"{path}/{COLLIDERS}")
    for index, collider in enumerate(item.colliders):
        _collider(stage, f"{path}/{COLLIDERS}/c_{index:03d}", collider, root, assets, friction)


def _mass(prim: Any, mass: float, inertia: Inertia) -> None:
    from pxr import Gf, UsdPhysics

    api = UsdPhysics.MassAPI.Apply(prim)
    api.CreateMassAttr(mass)
    api.CreateCenterOfMassAttr(Gf.Vec3f(*inertia.center_of_mass))
    api.CreateDiagonalInertiaAttr(Gf.Vec3f(*inertia.principal_moments))
    api.CreatePrincipalAxesAttr(Gf.Quatf(*inertia.quat_wxyz))


def _table(stage: Any, table: TableFiles, root: Path, assets: Path) -> None:
    from pxr import Kind, Usd, UsdGeom

    body = UsdGeom.Xform.Define(stage, "/World/Table")
    Usd.ModelAPI(body).SetKind(Kind.Tokens.component)
    _label(body.GetPrim(), "table")
    if table.visual is not None:
        texture = None if table.texture is None else _relative(root, assets / table.texture)
        look = _look(stage, "/World/Table/Looks/Surface", texture)
        _bind(_mesh(stage, "/World/Table/Visual", assets / table.visual, root).GetPrim(), look)
    friction = _physics_material(stage, "table", TABLE_TOP.friction, TABLE_TOP.restitution)
    UsdGeom.Scope.Define(stage, f"/World/Table/{COLLIDERS}")
    _collider(stage, f"/World/Table/{COLLIDERS}/c_000", Collider(mesh=table.collider), root, assets, friction)


def _surroundings(stage: Any, floor_z: float) -> None:
    """A floor to fall on, and light to see by."""
    from pxr import Gf, UsdGeom, UsdLux, UsdPhysics

    floor = UsdGeom.Plane.Define(stage, "/World/Floor")
    floor.CreateAxisAttr("Z")
    floor.CreateWidthAttr(8.0)
    floor.CreateLengthAttr(8.0)
    floor.CreateExtentAttr([(-4, -4, 0), (4, 4, 0)])
    floor.CreateDisplayColorAttr([Gf.Vec3f(0.55, 0.53, 0.50)])
    floor.AddTranslateOp().Set(Gf.Vec3d(0.0, 0.0, floor_z))
    UsdPhysics.CollisionAPI.Apply(floor.GetPrim())
    _bind(floor.GetPrim(), _physics_material(stage, "floor", TABLE_TOP.friction, TABLE_TOP.restitution), "physics")
    UsdGeom.Scope.Define(stage, "/World/Lights")
    key = UsdLux.DistantLight.Define(stage, "/World/Lights/key")
    key.CreateIntensityAttr(1500.0)
    key.CreateAngleAttr(3.0)
    key.AddRotateXYZOp().Set(Gf.Vec3f(20.0, -17.0, 0.0))
    UsdLux.DomeLight.Define(stage, "/World/Lights/dome").CreateIntensityAttr(600.0)


def _place(xform: Any, pose: Pose) -> None:
    from pxr import Gf, UsdGeom

    xform.AddTranslateOp().Set(Gf.Vec3d(*pose.position))
    xform.AddOrientOp(UsdGeom.XformOp.PrecisionDouble).Set(Gf.Quatd(*pose.quat_wxyz))


def _label(prim: Any, text: str) -> None:
    from pxr import UsdSemantics

    UsdSemantics.LabelsAPI.Apply(prim, "class").CreateLabelsAttr([text])


# ------------------------------------------------------------------ geometry


def _mesh(stage: Any, path: str, mesh: Path, root: Path) -> Any:
    """A prim that references the mesh's USD file, written beside its OBJ."""
    from pxr import UsdGeom

    file = mesh.with_suffix(".usdc")
    write_mesh(file, read_obj(mesh))
    prim = UsdGeom.Mesh.Define(stage, path)
    prim.GetPrim().GetReferences().AddReference(_relative(root, file))
    return prim


def write_mesh(path: Path, mesh: TexturedMesh) -> None:
    """A USD file whose default prim is the mesh, with texture coordinates per corner, normals per corner or face."""
    from pxr import Sdf, UsdGeom, Vt

    stage = _new_stage(path)
    prim = UsdGeom.Mesh.Define(stage, "/Mesh")
    stage.SetDefaultPrim(prim.GetPrim())
    _points(prim, mesh)
    normals = face_normals(mesh) if mesh.normals is None else mesh.normals.reshape(-1, 3)
    prim.CreateNormalsAttr(Vt.Vec3fArray.FromNumpy(normals.astype(np.float32)))
    prim.SetNormalsInterpolation(UsdGeom.Tokens.uniform if mesh.normals is None else UsdGeom.Tokens.faceVarying)
    if mesh.uv is not None:
        st = UsdGeom.PrimvarsAPI(prim).CreatePrimvar(
            "st", Sdf.ValueTypeNames.TexCoord2fArray, UsdGeom.Tokens.faceVarying
        )
        corners = mesh.uv.reshape(-1, 2).round(6).astype(np.float32)
        rows, index = np.unique(corners, axis=0, return_inverse=True)
        st.Set(Vt.Vec2fArray.FromNumpy(rows))
        st.SetIndices(Vt.IntArray.FromNumpy(index.ravel().astype(np.int32)))
    stage.Save()


def _points(prim: Any, mesh: TexturedMesh) -> None:
    from pxr import UsdGeom, Vt

    points = Vt.Vec3fArray.FromNumpy(mesh.vertices.astype(np.float32))
    prim.CreatePointsAttr(points)
    prim.CreateFaceVertexCountsAttr(Vt.IntArray.FromNumpy(np.full(len(mesh.faces), 3, dtype=np.int32)))
    prim.CreateFaceVertexIndicesAttr(Vt.IntArray.FromNumpy(mesh.faces.astype(np.int32).ravel()))
    prim.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
    prim.CreateExtentAttr(UsdGeom.PointBased.ComputeExtent(points))


def _collider(stage: Any, path: str, collider: Collider, root: Path, assets: Path, material: Any) -> None:
    """An invisible shape (purpose guide) that collides."""
    from pxr import UsdGeom, UsdPhysics

    if collider.mesh is not None:
        shape = _mesh(stage, path, assets / collider.mesh, root)
        UsdPhysics.MeshCollisionAPI.Apply(shape.GetPrim()).CreateApproximationAttr(UsdPhysics.Tokens.convexHull)
    else:
        shape = _ideal(stage, path, collider)
    shape.CreatePurposeAttr(UsdGeom.Tokens.guide)
    UsdPhysics.CollisionAPI.Apply(shape.GetPrim())
    _bind(shape.GetPrim(), material, "physics")


def face_normals(mesh: TexturedMesh) -> np.ndarray:
    """(F, 3) outward unit normals of the faces."""
    a, b, c = (mesh.vertices[mesh.faces[:, k]] for k in range(3))
    normals = np.cross(b - a, c - a)
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-30)


def _ideal(stage: Any, path: str, collider: Collider) -> Any:
    from pxr import Gf, UsdGeom

    primitive = collider.primitive
    if primitive is None:
        raise ValueError(f"{path}: a collider with neither mesh nor primitive")
    if primitive.type == "box":
        shape = UsdGeom.Cube.Define(stage, path)
        shape.CreateSizeAttr(2.0)
        shape.CreateExtentAttr([(-1, -1, -1), (1, 1, 1)])
    elif primitive.type == "cylinder":
        radius, half = primitive.size
        shape = UsdGeom.Cylinder.Define(stage, path)
        shape.CreateRadiusAttr(radius)
        shape.CreateHeightAttr(2 * half)
        shape.CreateAxisAttr("Z")
        shape.CreateExtentAttr([(-radius, -radius, -half), (radius, radius, half)])
    else:
        radius = primitive.size[0]
        shape = UsdGeom.Sphere.Define(stage, path)
        shape.CreateRadiusAttr(radius)
        shape.CreateExtentAttr([(-radius,) * 3, (radius,) * 3])
    _place(shape, primitive.pose)
    if primitive.type == "box":
        shape.AddScaleOp().Set(Gf.Vec3f(*primitive.size))
    return shape


# ------------------------------------------------------------------ materials


def _look(stage: Any, path: str, texture: str | None) -> Any:
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


def _physics_material(stage: Any, name: str, friction: float, restitution: float) -> Any:
    from pxr import UsdPhysics, UsdShade

    material = UsdShade.Material.Define(stage, f"/World/PhysicsMaterials/{name}")
    api = UsdPhysics.MaterialAPI.Apply(material.GetPrim())
    api.CreateStaticFrictionAttr(friction)
    api.CreateDynamicFrictionAttr(friction)
    api.CreateRestitutionAttr(restitution)
    return material


def _bind(prim: Any, material: Any, purpose: str = "") -> None:
    from pxr import UsdShade

    api = UsdShade.MaterialBindingAPI.Apply(prim)
    if purpose:
        api.Bind(material, UsdShade.Tokens.weakerThanDescendants, purpose)
    else:
        api.Bind(material)


# ------------------------------------------------------------------ cameras


def _camera(stage: Any, camera: SceneCamera) -> None:
    """Pinhole: the film window is shifted so that the principal point lies where the photograph has it.

    USD cameras look along -z with y up. Unequal focal lengths become unequal pixel sizes.
    """
    from pxr import Gf, UsdGeom

    UsdGeom.Scope.Define(stage, "/World/Cameras")
    view = camera.camera
    prim = UsdGeom.Camera.Define(stage, f"/World/Cameras/{camera.name}")
    pixel_y = PIXEL * view.fx / view.fy
    prim.CreateFocalLengthAttr(view.fx * PIXEL)
    prim.CreateHorizontalApertureAttr(view.width * PIXEL)
    prim.CreateVerticalApertureAttr(view.height * pixel_y)
    prim.CreateHorizontalApertureOffsetAttr(((view.width - 1) / 2 - view.cx) * PIXEL)
    prim.CreateVerticalApertureOffsetAttr((view.cy - (view.height - 1) / 2) * pixel_y)
    prim.CreateClippingRangeAttr(Gf.Vec2f(0.01, 100.0))
    _place(prim, matrix_to_pose(np.asarray(camera.T_world_camera) @ GL_FROM_CV))


def _relative(root: Path, file: Path) -> str:
    """Anchored path, as USD resolves it from the file that holds it."""
    return f"./{file.relative_to(root).as_posix()}"
