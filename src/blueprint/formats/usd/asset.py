"""One object as a SimReady asset: a neutral USD layer that stands alone, its thumbnail and its provenance.

    NAME/simready_usd/sm_NAME.usda                 bodies, colliders, materials, joints, labels, metadata
    NAME/simready_usd/geometry/, textures/         what it references, all below its own folder
    NAME/simready_usd/.thumbs/256x256/sm_NAME.usda.png
    NAME/simready_usd/runnables/physics/{physx,newton,mujoco}.usda        see `usd_runtimes`

Layout and names: NVIDIA SimReady Foundation, profile Robotics-Prop 4.0.0. A rigid object is one body, the default prim;
one with moving parts is an articulation whose bodies are siblings below it, joined by UsdPhysics joints (degrees).
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from blueprint.formats.mjcf.layout import joint_name, moving_parts, part_body
from blueprint.formats.mjcf.objects import fixed_parts
from blueprint.formats.obj import TexturedMesh, read_obj
from blueprint.formats.thumbnail import draw, piece, read_pixels, write_thumbnail
from blueprint.formats.usd import prims
from blueprint.formats.usd.runtimes import write_runtimes
from blueprint.model.categories import category_of
from blueprint.model.scene import Collider, Inertia, PhysicalObject, PhysicalPart

OBJECT_QCODE = "Q223557"  # Wikidata: physical object, where the category is not known
DRIVE_MAX_FORCE = 1000.0  # [N] or [N m]: far above what a damper of a household joint needs
NONVISUAL = {  # a word of our materials' names -> SimReady's base material, which radar and lidar models read
    **dict.fromkeys(("boxed", "paperboard"), "cardboard"),
    **dict.fromkeys(("canned", "steel", "metal", "appliance", "cutlery"), "steel"),
    **dict.fromkeys(("bottled", "plastic", "pen", "electronics", "power"), "plastic"),
    **dict.fromkeys(("vessel", "ceramic"), "ceramic_glass"),
    **dict.fromkeys(("wood", "furniture"), "wood"),
    **dict.fromkeys(("cloth", "rope", "cushion"), "fabric"),
    **{"aluminium": "aluminum", "glass": "clear_glass", "rubber": "rubber", "stone": "stone", "paper": "paper"},
}


@dataclass(frozen=True)
class Provenance:
    """Who made it from what. date: YYYY-MM-DD, given, since no clock may enter an artifact; scale: what made it metric.

    source: no path and no text with a colon, which SimReady takes for one (NP.007)
    """

    author: str = "BlueprintPipeline"
    licence: str = "as the capture"
    date: str = "1970-01-01"
    source: str = "capture"
    scale: str = ""

    def fields(self, name: str, kind: str, category: str, qcode: str) -> dict[str, object]:
        """What SimReady's metadata says of who and what."""
        return {
            "author": self.author,
            "asset_name": name,
            "asset_type": kind,
            "asset_license": self.licence,
            "category": category,
            "source_file": self.source,
            "usd_date_generated": self.date,
            "qcode": qcode,
        }


@dataclass(frozen=True)
class Body:
    """A rigid body of the asset. looks: (name, mesh, texture) below `files`."""

    path: str
    name: str
    mass_kg: float
    inertia: Inertia
    colliders: tuple[Collider, ...]
    looks: tuple[tuple[str, str, str | None], ...]
    text: str


@dataclass
class _Asset:
    stage: Any
    folder: Path
    files: Path
    root: str
    qcode: str
    materials: dict[str | None, Any] = field(default_factory=dict)
    contact: Any = None


def asset_name(name: str) -> str:
    """Folder and prim of the asset of that object: lower case, as SimReady wants files named."""
    return prims.prim_name(name).lower()


def asset_file(name: str) -> str:
    """The asset's main file below the folder of all assets."""
    slug = asset_name(name)
    return f"{slug}/simready_usd/sm_{slug}.usda"


def write_asset(root: Path, item: PhysicalObject, files: Path, provenance: Provenance) -> Path:
    """Write the asset of a rigid or articulated object below `root`; returns its main file.

    files: the folder that the object's mesh and texture names are relative to
    """
    path = root / asset_file(item.asset.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    made = _Asset(
        prims.new_stage(path),
        path.parent,
        files,
        f"/{asset_name(item.asset.name)}",
        qcode_of(item.asset.category or item.asset.text),
    )
    bodies = bodies_of(item, made.root)
    _root(made, item, articulated=len(bodies) > 1)
    _materials(made, item)
    for body in bodies:
        _body(made, body)
    if item.asset.anchored or len(bodies) > 1:
        _joints(made, item, bodies)
    pictures = [look for body in bodies for look in body.looks]
    _metadata(made, item, bodies, [read_obj(files / mesh) for _, mesh, _ in pictures], provenance)
    made.stage.Save()
    write_runtimes(path, item)
    write_thumbnail(path, draw([piece(files, mesh, texture) for _, mesh, texture in pictures], toward=_front(item)))
    return path


def qcode_of(text: str) -> str:
    """Wikidata number of the category that the text names."""
    found = category_of(text)
    return OBJECT_QCODE if found is None or not found[0].qcode else found[0].qcode


def bodies_of(item: PhysicalObject, root: str) -> list[Body]:
    """The base first. Where nothing moves, the root is the body."""
    asset = item.asset
    looks = tuple(fixed_parts(item)) or ((asset.name, asset.mesh, asset.texture),)
    base_name = prims.prim_name(asset.parts[0].name) if asset.parts else "base"
    path = f"{root}/{base_name}" if item.parts else root
    bodies = [Body(path, asset.name, item.mass_kg.value, item.inertia, item.colliders, looks, asset.text)]
    for part, _ in moving_parts(item):
        name = part.part.name
        bodies.append(
            Body(
                path=f"{root}/{prims.prim_name(name)}",
                name=part_body(asset.name, name),
                mass_kg=part.mass_kg.value,
                inertia=part.inertia,
                colliders=part.colliders,
                looks=((name, part.part.mesh, part.part.texture),),
                text=name.replace("_", " "),
            )
        )
    return bodies


def _root(made: _Asset, item: PhysicalObject, *, articulated: bool) -> None:
    from pxr import Kind, Usd, UsdGeom, UsdPhysics

    root = UsdGeom.Xform.Define(made.stage, made.root)
    made.stage.SetDefaultPrim(root.GetPrim())
    Usd.ModelAPI(root).SetKind(Kind.Tokens.component)
    prims.label(root.GetPrim(), item.asset.text, made.qcode)
    if articulated:
        UsdPhysics.ArticulationRootAPI.Apply(root.GetPrim())


# ------------------------------------------------------------------ materials


def _materials(made: _Asset, item: PhysicalObject) -> None:
    """One look per texture and one contact material, each named by what it is made of."""
    from pxr import Sdf

    textures = dict.fromkeys(texture for body in bodies_of(item, made.root) for _, _, texture in body.looks)
    for index, texture in enumerate(textures):
        file = None
        if texture is not None:
            file = f"./textures/surface_{index}{Path(texture).suffix.lower()}"
            (made.folder / file).parent.mkdir(exist_ok=True)
            shutil.copyfile(made.files / texture, made.folder / file)
        made.materials[texture] = prims.look(made.stage, f"{made.root}/Looks/surface_{index}", file)
    made.contact = prims.physics_material(
        made.stage, f"{made.root}/Looks/contact", item.friction.value, item.restitution.value
    )
    for material in (*made.materials.values(), made.contact):
        prims.made_of(material, item.material)
    words = [NONVISUAL[word] for word in item.material.lower().replace("-", " ").split() if word in NONVISUAL]
    for material in made.materials.values() if words else ():
        for key, kind, value in (
            ("base", Sdf.ValueTypeNames.Token, words[0]),
            ("coating", Sdf.ValueTypeNames.Token, "none"),
            ("attributes", Sdf.ValueTypeNames.TokenArray, ["none"]),
        ):
            material.GetPrim().CreateAttribute(f"omni:simready:nonvisual:{key}", kind, custom=True).Set(value)


# ------------------------------------------------------------------ bodies


def _body(made: _Asset, body: Body) -> None:
    from pxr import UsdGeom, UsdPhysics

    prim = UsdGeom.Xform.Define(made.stage, body.path).GetPrim()
    prim.SetDisplayName(body.name)
    UsdPhysics.RigidBodyAPI.Apply(prim)
    prims.mass(prim, body.mass_kg, body.inertia)
    if body.path != made.root:
        prims.label(prim, body.text, made.qcode)
    for index, (_, mesh, texture) in enumerate(body.looks):
        _visual(made, body, index, mesh, texture)
    UsdGeom.Scope.Define(made.stage, f"{body.path}/{prims.COLLIDERS}")
    look = next(iter(made.materials.values()))
    for index, collider in enumerate(body.colliders):
        path = f"{body.path}/{prims.COLLIDERS}/c_{index:03d}"
        shape = _collider(made, path, collider)
        prims.collides(shape, made.contact, hull=collider.mesh is not None)
        prims.bind(shape.GetPrim(), look)
        prims.label(shape.GetPrim(), body.text, made.qcode)


def _visual(made: _Asset, body: Body, index: int, file: str, texture: str | None) -> None:
    from pxr import Gf, UsdGeom

    name = "Visual" if index == 0 else f"Visual_{index}"
    stem = f"{Path(body.path).name}_{name}".lower()
    solid = read_obj(made.files / file)
    prim = prims.mesh(made.stage, f"{body.path}/{name}", made.folder / f"geometry/{stem}.usdc", made.folder, solid)
    color = (0.6, 0.6, 0.6) if texture is None else read_pixels(made.files / texture).reshape(-1, 3).mean(axis=0) / 255
    UsdGeom.Gprim(prim).CreateDisplayColorAttr([Gf.Vec3f(*(round(float(part), 4) for part in color))])
    prims.bind(prim.GetPrim(), made.materials[texture])
    prims.label(prim.GetPrim(), body.text, made.qcode)


def _collider(made: _Asset, path: str, collider: Collider) -> Any:
    from pxr import UsdGeom

    if collider.primitive is not None:
        return prims.ideal(made.stage, path, collider.primitive)
    if collider.mesh is None:
        raise ValueError(f"{path}: a collider with neither mesh nor primitive")
    solid = read_obj(made.files / collider.mesh)
    prim = UsdGeom.Mesh.Define(made.stage, path)
    prims.shape(prim, TexturedMesh(solid.vertices, solid.faces))
    return prim


# ------------------------------------------------------------------ joints


def _joints(made: _Asset, item: PhysicalObject, bodies: Sequence[Body]) -> None:
    """A fixed joint of the base to the world where the object is anchored, and one joint per moving part."""
    from pxr import UsdGeom, UsdPhysics

    UsdGeom.Scope.Define(made.stage, f"{made.root}/joints")
    if item.asset.anchored:
        fixed = UsdPhysics.FixedJoint.Define(made.stage, f"{made.root}/joints/fixed_base")
        fixed.CreateBody1Rel().SetTargets([bodies[0].path])
    paths = {body.name: body.path for body in bodies}
    for part, carrier in moving_parts(item):
        parent = bodies[0].path if carrier is None else paths[part_body(item.asset.name, carrier)]
        _joint(made, item.asset.name, part, parent, paths[part_body(item.asset.name, part.part.name)])


def _joint(made: _Asset, item: str, part: PhysicalPart, parent: str, child: str) -> None:
    from pxr import Gf, UsdPhysics

    joint = part.joint
    revolute = joint.type == "revolute"
    schema = UsdPhysics.RevoluteJoint if revolute else UsdPhysics.PrismaticJoint
    prim = schema.Define(made.stage, f"{made.root}/joints/{prims.prim_name(joint.name)}")
    prim.GetPrim().SetDisplayName(joint_name(item, joint.name))
    prim.CreateBody0Rel().SetTargets([parent])
    prim.CreateBody1Rel().SetTargets([child])
    prim.CreateAxisAttr("X")  # of the joint's own frame, turned so that its x is our axis
    turn = Rotation.align_vectors([joint.axis], [[1.0, 0.0, 0.0]])[0].as_quat(canonical=True, scalar_first=True)
    frame = Gf.Quatf(*(float(value) for value in turn))
    for position, rotation in (
        (prim.CreateLocalPos0Attr(), prim.CreateLocalRot0Attr()),
        (prim.CreateLocalPos1Attr(), prim.CreateLocalRot1Attr()),
    ):
        position.Set(Gf.Vec3f(*joint.origin))  # all bodies share the object's frame when it is closed
        rotation.Set(frame)
    to_usd = 180 / np.pi if revolute else 1.0  # USD counts angles in degrees
    prim.CreateLowerLimitAttr(joint.limits[0] * to_usd)
    prim.CreateUpperLimitAttr(joint.limits[1] * to_usd)
    drive = UsdPhysics.DriveAPI.Apply(prim.GetPrim(), "angular" if revolute else "linear")
    drive.CreateTypeAttr("force")
    drive.CreateStiffnessAttr(0.0)
    drive.CreateDampingAttr((joint.damping or 0.0) / to_usd)  # angular gains are per degree
    drive.CreateMaxForceAttr(DRIVE_MAX_FORCE)


def _front(item: PhysicalObject) -> tuple[float, float]:
    """Where a picture is taken from: the side that opens, else the front right."""
    if not item.parts:
        return (0.6, -0.8)
    base = np.array(item.inertia.center_of_mass)
    out = np.sum([np.array(part.inertia.center_of_mass) - base for part in item.parts], axis=0)[:2]
    if np.linalg.norm(out) < 1e-3:
        return (0.6, -0.8)
    turn = Rotation.from_euler("z", -35, degrees=True).as_matrix()[:2, :2]
    x, y = (turn @ (out / np.linalg.norm(out))).tolist()
    return (x, y)


# ------------------------------------------------------------------ metadata


def _metadata(
    made: _Asset, item: PhysicalObject, bodies: Sequence[Body], meshes: Sequence[TexturedMesh], by: Provenance
) -> None:
    """What SimReady asks for (requirement SR.004), measured on what was written, and where the numbers come from."""
    from pxr import Gf

    points = np.concatenate([mesh.vertices for mesh in meshes])
    extents = np.ptp(points.astype(np.float32), axis=0)
    asset = item.asset
    sources = {
        "geometry": f"{asset.method}; {asset.seen_fraction:.0%} of the surface seen",
        "dimensions": ", ".join(asset.dims_source),
        "scale": by.scale,
        "mass": item.mass_kg.source,
        "friction": item.friction.source,
        "restitution": item.restitution.source,
        "colliders": item.collider_method,
    }
    kind = "articulated_prop" if item.parts else "prop"
    fields = by.fields(asset_name(asset.name), kind, asset.category or asset.text, made.qcode)
    fields["provenance"] = sources
    mass = sum(body.mass_kg for body in bodies)
    prims.metadata(made.stage, fields, len(bodies), Gf.Vec3f(*(float(value) for value in extents)), mass)
