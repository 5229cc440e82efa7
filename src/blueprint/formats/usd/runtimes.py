"""What only one engine understands, each in a layer of its own: PhysX, Newton and MuJoCo say how to take the asset.

The asset's neutral layer holds a variant set per engine (`Disabled` chosen, `Enabled` loads the engine's layer as a
payload), so that a reader without the engine's schemas sees plain UsdPhysics. The three layers make the engines agree
where they can: of two touching materials the larger friction counts, an articulation does not collide with itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from blueprint.formats.mjcf.layout import moving_parts
from blueprint.formats.mjcf.scene import Contacts, can_roll
from blueprint.formats.usd.prims import prim_name
from blueprint.model.materials import ROLLING_FRICTION_M, TORSIONAL_FRICTION_M
from blueprint.model.scene import PhysicalObject

HULL_VERTICES = 64
RUNTIMES = {"PhysX": "physx", "Newton": "newton", "MuJoCo": "mujoco"}  # variant set -> file

Attribute = tuple[str, str, object]  # name, USD type, value


def write_runtimes(path: Path, item: PhysicalObject) -> None:
    """Write the three layers beside the asset's main file and its variant sets into it."""
    from pxr import Sdf, Usd

    stage = Usd.Stage.Open(str(path))
    layer, root = stage.GetRootLayer(), stage.GetDefaultPrim()
    folder = path.parent / "runnables/physics"
    folder.mkdir(parents=True, exist_ok=True)
    writers = {"PhysX": _physx, "Newton": _newton, "MuJoCo": _mujoco}
    for name, stem in RUNTIMES.items():
        _layer(folder / f"{stem}.usda", stage, item, writers[name])
        variants = root.GetVariantSets().AddVariantSet(name)
        variants.AddVariant("Disabled")
        variants.AddVariant("Enabled")
        spec = layer.GetPrimAtPath(root.GetPath()).variantSets[name].variants["Enabled"].primSpec
        spec.payloadList.Prepend(Sdf.Payload(f"./runnables/physics/{stem}.usda"))
        variants.SetVariantSelection("Disabled")
    data = dict(layer.customLayerData)
    chosen = {"prim": str(root.GetPath()), "activateOption": "Enabled"}
    physics = {name: {**chosen, "variantSetName": name} for name in RUNTIMES}
    data["SimReady_Metadata"] = {**data["SimReady_Metadata"], "Variants": {"Physics": physics}}
    layer.customLayerData = data
    layer.Save()


Rules = Callable[[Any, PhysicalObject], tuple[list[str], list[Attribute]]]


def _layer(path: Path, stage: Any, item: PhysicalObject, rules: Rules) -> None:
    """Overs on the prims of `stage` for which the engine has something to say."""
    from pxr import Sdf

    layer = Sdf.Layer.Find(str(path)) or Sdf.Layer.CreateNew(str(path))
    layer.Clear()
    root = stage.GetDefaultPrim()
    layer.defaultPrim = root.GetName()
    Sdf.CreatePrimInLayer(layer, root.GetPath()).specifier = Sdf.SpecifierOver
    for prim in stage.Traverse():
        schemas, attributes = rules(prim, item)
        if schemas:
            _over(layer, prim.GetPath(), schemas, attributes)
    layer.Save()


def _over(layer: Any, path: Any, schemas: Sequence[str], attributes: Sequence[Attribute]) -> None:
    from pxr import Sdf, Vt

    spec = Sdf.CreatePrimInLayer(layer, path)
    listed = Sdf.TokenListOp()
    listed.prependedItems = list(schemas)
    spec.SetInfo("apiSchemas", listed)
    for name, kind, value in attributes:
        variability = Sdf.VariabilityUniform if kind == "token" else Sdf.VariabilityVarying
        given = Vt.DoubleArray(list(value)) if isinstance(value, tuple) else value
        Sdf.AttributeSpec(spec, name, Sdf.ValueTypeNames.Find(kind), variability).default = given


def _kind(prim: Any) -> str:
    from pxr import UsdGeom, UsdPhysics

    if prim.HasAPI(UsdPhysics.CollisionAPI):
        return "hull" if prim.IsA(UsdGeom.Mesh) else "shape"
    for schema, name in (
        (UsdPhysics.MaterialAPI, "material"),
        (UsdPhysics.ArticulationRootAPI, "articulation"),
    ):
        if prim.HasAPI(schema):
            return name
    moving = prim.IsA(UsdPhysics.RevoluteJoint) or prim.IsA(UsdPhysics.PrismaticJoint)
    return "joint" if moving else ""


def _joint_friction(prim: Any, item: PhysicalObject) -> float:
    """Friction [N] or [N m] of the joint that the prim stands for."""
    found = [part.joint.friction for part, _ in moving_parts(item) if prim_name(part.joint.name) == prim.GetName()]
    return float(found[0] or 0.0)


def _physx(prim: Any, item: PhysicalObject) -> tuple[list[str], list[Attribute]]:
    from pxr import UsdPhysics

    kind = _kind(prim)
    if kind == "hull":
        limit: Attribute = ("physxConvexHullCollision:hullVertexLimit", "int", HULL_VERTICES)
        return ["PhysxCollisionAPI", "PhysxConvexHullCollisionAPI"], [limit]
    if kind == "shape":
        return ["PhysxCollisionAPI"], []
    if kind == "material":
        return ["PhysxMaterialAPI"], [("physxMaterial:frictionCombineMode", "token", "max")]
    if kind == "articulation":
        return ["PhysxArticulationAPI"], [("physxArticulation:enabledSelfCollisions", "bool", False)]
    if kind == "joint":
        axis = "angular" if prim.IsA(UsdPhysics.RevoluteJoint) else "linear"
        friction = _joint_friction(prim, item)
        names = ("staticFrictionEffort", "dynamicFrictionEffort")
        return [f"PhysxJointAxisAPI:{axis}"], [(f"physxJointAxis:{axis}:{name}", "float", friction) for name in names]
    return [], []


def _newton(prim: Any, item: PhysicalObject) -> tuple[list[str], list[Attribute]]:
    kind = _kind(prim)
    if kind == "hull":
        limit: Attribute = ("newton:maxHullVertices", "int", HULL_VERTICES)
        return ["NewtonCollisionAPI", "NewtonMeshCollisionAPI"], [limit]
    if kind == "shape":
        return ["NewtonCollisionAPI"], []
    if kind == "material":
        slow: list[Attribute] = [
            ("newton:torsionalFriction", "float", TORSIONAL_FRICTION_M),
            ("newton:rollingFriction", "float", ROLLING_FRICTION_M),
        ]
        return ["NewtonMaterialAPI"], slow
    if kind == "articulation":
        return ["NewtonArticulationRootAPI"], [("newton:selfCollisionEnabled", "bool", False)]
    return [], []  # SimReady 2026.8 (NEWTON.DJ.002) forbids NewtonJointAPI, so a joint's dry friction is not said here


def _mujoco(prim: Any, item: PhysicalObject) -> tuple[list[str], list[Attribute]]:
    kind = _kind(prim)
    contact: list[Attribute] = [
        ("mjc:condim", "int", 6 if can_roll(item) and not item.asset.anchored else 4),
        ("mjc:solref", "double[]", Contacts.solref),
        ("mjc:solimp", "double[]", (*Contacts.solimp, 0.5, 2.0)),  # then MuJoCo's own midpoint and power
    ]
    if kind == "hull":
        inertia: Attribute = ("mjc:inertia", "token", "convex")
        return ["MjcCollisionAPI", "MjcMeshCollisionAPI"], [*contact, inertia]
    if kind == "shape":
        return ["MjcCollisionAPI"], contact
    if kind == "joint":
        return ["MjcJointAPI"], [("mjc:frictionloss", "double", _joint_friction(prim, item))]
    return [], []
