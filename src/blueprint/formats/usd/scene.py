"""The scene as USD: z up, metres, kilograms; rigid bodies, mass, colliders and materials by UsdPhysics.

`/World/Objects/NAME` references the object's own SimReady asset (`usd_asset`) and says where it stands;
`/World/Table` and `/World/Statics/NAME` stand fixed. Files are written the same on every run.

UsdPhysics has one friction pair and a restitution per material; how two materials combine is the engine's choice
(PhysX: average; MuJoCo: larger), so the friction of a contact can differ between engines although the files agree.
The assets' runtime layers set it where an engine has a setting for it (`usd_runtimes`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from blueprint.formats.mjcf.scene import GL_FROM_CV, TableFiles
from blueprint.formats.obj import TexturedMesh, read_obj
from blueprint.formats.thumbnail import draw, piece, write_thumbnail
from blueprint.formats.usd import prims
from blueprint.formats.usd.asset import Provenance, asset_name, qcode_of, write_asset
from blueprint.formats.usd.soft import write_soft
from blueprint.geometry.transforms import matrix_to_pose, pose_to_matrix
from blueprint.model.materials import TABLE_TOP
from blueprint.model.scene import PhysicalObject, SceneCamera, StaticPart

GRAVITY = 9.81  # [m/s^2], as MuJoCo's default
PIXEL = 0.01  # film size of a pixel, in USD's tenths of a unit: only its ratio to the focal length matters
SCENE_QCODE = "Q180516"  # Wikidata: room
SIMREADY, SOFT = "simready", "soft"  # folders below the assets: one per rigid asset, one file per soft one


def write_scene(
    path: Path,
    assets: Path,
    objects: Sequence[PhysicalObject],
    table: TableFiles,
    cameras: Sequence[SceneCamera],
    *,
    statics: Sequence[StaticPart] = (),
    floor_z: float,
    provenance: Provenance | None = None,
) -> None:
    """Write `path` (.usda) and the USD files that it references below `assets`, a folder beside `path`."""
    from pxr import Kind, Usd, UsdGeom, UsdPhysics

    stage = prims.new_stage(path)
    world = UsdGeom.Xform.Define(stage, "/World")
    stage.SetDefaultPrim(world.GetPrim())
    Usd.ModelAPI(world).SetKind(Kind.Tokens.assembly)
    prims.label(world.GetPrim(), "scene", SCENE_QCODE)
    for group in ("Objects", "Statics") if statics else ("Objects",):
        Usd.ModelAPI(UsdGeom.Xform.Define(stage, f"/World/{group}")).SetKind(Kind.Tokens.group)
    UsdGeom.Scope.Define(stage, "/World/PhysicsMaterials")
    physics = UsdPhysics.Scene.Define(stage, "/World/PhysicsScene")
    physics.CreateGravityDirectionAttr((0.0, 0.0, -1.0))
    physics.CreateGravityMagnitudeAttr(GRAVITY)
    _surroundings(stage, floor_z)
    hard = _hard(stage, "table")
    colliders = (table.collider,)
    _fixed(stage, "/World/Table", "table", table.visual, table.texture, colliders, hard, path.parent, assets)
    for part in statics:
        at, files = f"/World/Statics/{prims.prim_name(part.name)}", part.colliders or (part.mesh,)
        _fixed(stage, at, part.text, part.mesh, part.texture, files, hard, path.parent, assets)
    for item in objects:
        _object(stage, item, path.parent, assets, provenance or Provenance())
    for camera in cameras:
        _camera(stage, camera)
    _metadata(stage, path.stem, objects, provenance or Provenance())
    stage.Save()
    _thumbnail(path, assets, objects, table, statics)


def object_path(name: str) -> str:
    """Where the object of that name stands in the scene."""
    return f"/World/Objects/{prims.prim_name(name)}"


# ------------------------------------------------------------------ bodies


def _object(stage: Any, item: PhysicalObject, root: Path, assets: Path, provenance: Provenance) -> None:
    from pxr import Gf, UsdGeom, UsdPhysics

    path = object_path(item.asset.name)
    prim = UsdGeom.Xform.Define(stage, path)
    if item.soft is not None:
        file = assets / SOFT / f"{asset_name(item.asset.name)}.usda"
        write_soft(file, item, assets)
    else:
        file = write_asset(assets / SIMREADY, item, assets, provenance)
    prim.GetPrim().GetReferences().AddReference(prims.relative(root, file))
    prims.place(prim, item.pose)
    if item.asset.anchored and item.soft is None:  # a joint to the world has its frame in the world
        joint = UsdPhysics.FixedJoint(stage.OverridePrim(f"{path}/joints/fixed_base"))
        joint.CreateLocalPos0Attr(Gf.Vec3f(*item.pose.position))
        joint.CreateLocalRot0Attr(Gf.Quatf(*item.pose.quat_wxyz))


def _fixed(
    stage: Any,
    path: str,
    text: str,
    visual: str | None,
    texture: str | None,
    colliders: Sequence[str],
    material: Any,
    root: Path,
    assets: Path,
) -> None:
    """Something that does not move: a look, and meshes whose hulls collide. File names below `assets`."""
    from pxr import Kind, Usd, UsdGeom

    body = UsdGeom.Xform.Define(stage, path)
    Usd.ModelAPI(body).SetKind(Kind.Tokens.component)
    prims.label(body.GetPrim(), text, qcode_of(text))
    drawn, seen = None, np.zeros((0, 3))
    picture = None if texture is None else prims.relative(root, assets / texture)
    look = prims.look(stage, f"{path}/Looks/Surface", picture)
    prims.made_of(look, text)
    if visual is not None:
        solid = read_obj(assets / visual)
        drawn = prims.mesh(stage, f"{path}/Visual", (assets / visual).with_suffix(".usdc"), root, solid)
        prims.bind(drawn.GetPrim(), look)
        seen = _corners(solid)
    UsdGeom.Scope.Define(stage, f"{path}/{prims.COLLIDERS}")
    for index, name in enumerate(colliders):
        solid = read_obj(assets / name)
        if drawn is not None and np.array_equal(_corners(solid), seen):  # two equal meshes in one place are a fault
            prims.collides(drawn, material, hull=True, seen=True)
            continue
        file = (assets / name).with_suffix(".usdc")
        shape = prims.mesh(stage, f"{path}/{prims.COLLIDERS}/c_{index:03d}", file, root, solid)
        prims.collides(shape, material, hull=True)
        prims.bind(shape.GetPrim(), look)


def _corners(solid: TexturedMesh) -> np.ndarray:
    """(K, 3) its distinct vertices in order."""
    return np.unique(solid.vertices.round(6) + 0.0, axis=0)


def _hard(stage: Any, name: str) -> Any:
    """The contact material of what stands fixed: a table top's."""
    path = f"/World/PhysicsMaterials/{name}"
    material = prims.physics_material(stage, path, TABLE_TOP.friction, TABLE_TOP.restitution)
    prims.made_of(material, TABLE_TOP.name)
    return material


def _metadata(stage: Any, name: str, objects: Sequence[PhysicalObject], by: Provenance) -> None:
    """The scene's own SimReady metadata, measured on what was written."""
    from pxr import Gf, Usd, UsdGeom

    cache = UsdGeom.BBoxCache(Usd.TimeCode.Default(), [UsdGeom.Tokens.default_])
    extents = cache.ComputeWorldBound(stage.GetDefaultPrim()).ComputeAlignedRange().GetSize()
    rigid = [item for item in objects if item.soft is None]
    masses = [item.mass_kg.value + sum(part.mass_kg.value for part in item.parts) for item in rigid]
    bodies = sum(1 + len(item.parts) for item in rigid)
    prims.metadata(stage, by.fields(name, "scene", "scene", SCENE_QCODE), bodies, Gf.Vec3f(extents), sum(masses))


def _thumbnail(
    path: Path, assets: Path, objects: Sequence[PhysicalObject], table: TableFiles, statics: Sequence[StaticPart]
) -> None:
    fixed = [(part.mesh, part.texture, np.eye(4)) for part in statics]
    if table.visual is not None:
        fixed.append((table.visual, table.texture, np.eye(4)))
    whole = [(item.asset.mesh, item.asset.texture, pose_to_matrix(item.pose)) for item in objects]
    pieces = [piece(assets, mesh, texture, T) for mesh, texture, T in [*fixed, *whole]]
    if pieces:
        write_thumbnail(path, draw(pieces))


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
    prims.label(floor.GetPrim(), "floor", qcode_of("floor"))
    look = prims.look(stage, "/World/Looks/floor", None)
    prims.made_of(look, "floor")
    prims.bind(floor.GetPrim(), look)
    prims.bind(floor.GetPrim(), _hard(stage, "floor"), "physics")
    UsdGeom.Scope.Define(stage, "/World/Lights")
    key = UsdLux.DistantLight.Define(stage, "/World/Lights/key")
    key.CreateIntensityAttr(1500.0)
    key.CreateAngleAttr(3.0)
    key.AddRotateXYZOp().Set(Gf.Vec3f(20.0, -17.0, 0.0))
    UsdLux.DomeLight.Define(stage, "/World/Lights/dome").CreateIntensityAttr(600.0)


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
    prims.place(prim, matrix_to_pose(np.asarray(camera.T_world_camera) @ GL_FROM_CV))
