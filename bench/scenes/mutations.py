"""One thing wrong with a USD asset that was right: the table behind the bar of our own validator.

Each mutation damages a copy of a passing asset of a cabinet with a drawer and a door (bench/scenes/cabinet.py). Sixteen
of them pass NVIDIA's simready-validate 2026.8 (profile Robotics-Prop 4.0.0).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pxr import Gf, Sdf, Usd, UsdGeom, UsdPhysics, UsdSemantics, UsdShade, Vt

Change = Callable[[Usd.Stage, Path], None]


@dataclass(frozen=True)
class Mutation:
    """check: the rule of `formats/simready_check` that must object."""

    name: str
    change: Change
    check: str


def mutated(asset: Path, folder: Path, mutation: Mutation) -> Path:
    """A copy of the asset below `folder` with that one change; returns its main file."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(asset.parent, folder)
    path = folder / asset.name
    layer = Sdf.Layer.FindOrOpen(str(path))
    layer.Reload(True)
    stage = Usd.Stage.Open(layer)
    mutation.change(stage, path)
    stage.Save()
    return path


def _root(stage: Usd.Stage) -> Usd.Prim:
    return stage.GetDefaultPrim()


def _drawer(stage: Usd.Stage) -> Usd.Prim:
    return stage.GetPrimAtPath(_root(stage).GetPath().AppendChild("drawer"))


def _visual(stage: Usd.Stage) -> UsdGeom.Mesh:
    return UsdGeom.Mesh(_drawer(stage).GetChild("Visual"))


def _slide(stage: Usd.Stage) -> UsdPhysics.PrismaticJoint:
    return UsdPhysics.PrismaticJoint(_root(stage).GetChild("joints").GetChild("drawer_slide"))


def _colliders(prim: Usd.Prim) -> list[Usd.Prim]:
    return [child for child in Usd.PrimRange(prim) if child.HasAPI(UsdPhysics.CollisionAPI)]


def _y_up(stage: Usd.Stage, path: Path) -> None:
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.y)


def _centimetres(stage: Usd.Stage, path: Path) -> None:
    UsdGeom.SetStageMetersPerUnit(stage, 0.01)


def _wrong_extent(stage: Usd.Stage, path: Path) -> None:
    _visual(stage).CreateExtentAttr([(-9, -9, -9), (9, 9, 9)])


def _no_look(stage: Usd.Stage, path: Path) -> None:
    UsdShade.MaterialBindingAPI(_visual(stage)).UnbindAllBindings()


def _no_qcode(stage: Usd.Stage, path: Path) -> None:
    for prim in stage.Traverse():
        if prim.HasAPI(UsdSemantics.LabelsAPI, "wikidata_qcode"):
            prim.RemoveProperty("semantics:labels:wikidata_qcode")
            prim.RemoveAPI(UsdSemantics.LabelsAPI, "wikidata_qcode")


def _no_thumbnail(stage: Usd.Stage, path: Path) -> None:
    shutil.rmtree(path.parent / ".thumbs")


def _metadata(**changes: object) -> Change:
    def change(stage: Usd.Stage, path: Path) -> None:
        layer = stage.GetRootLayer()
        data = dict(layer.customLayerData)
        kept = {**data["SimReady_Metadata"], **changes}
        data["SimReady_Metadata"] = {key: value for key, value in kept.items() if value is not None}
        layer.customLayerData = data

    return change


def _faces(edit: Callable[[np.ndarray], np.ndarray]) -> Change:
    """Change the drawer's triangles (F, 3), as corners, and what goes with them."""

    def change(stage: Usd.Stage, path: Path) -> None:
        mesh = _visual(stage)
        faces = edit(np.array(mesh.GetFaceVertexIndicesAttr().Get()).reshape(-1, 3))
        mesh.GetFaceVertexIndicesAttr().Set(Vt.IntArray.FromNumpy(faces.astype(np.int32).ravel()))
        mesh.GetFaceVertexCountsAttr().Set([3] * len(faces))

    return change


def _flip_one(faces: np.ndarray) -> np.ndarray:
    return np.concatenate([faces[:1, ::-1], faces[1:]])


def _no_mass_api(stage: Usd.Stage, path: Path) -> None:
    for name in ("mass", "centerOfMass", "diagonalInertia", "principalAxes"):
        _drawer(stage).RemoveProperty(f"physics:{name}")
    _drawer(stage).RemoveAPI(UsdPhysics.MassAPI)


def _no_mass(stage: Usd.Stage, path: Path) -> None:
    _drawer(stage).RemoveProperty("physics:mass")


def _mass(kilograms: float) -> Change:
    def change(stage: Usd.Stage, path: Path) -> None:
        UsdPhysics.MassAPI(_drawer(stage)).GetMassAttr().Set(kilograms)

    return change


def _no_colliders(stage: Usd.Stage, path: Path) -> None:
    for prim in _colliders(_root(stage)):
        prim.RemoveAPI(UsdPhysics.CollisionAPI)


def _no_drawer_collider(stage: Usd.Stage, path: Path) -> None:
    for prim in _colliders(_drawer(stage)):
        prim.RemoveAPI(UsdPhysics.CollisionAPI)


def _limits(stage: Usd.Stage, path: Path) -> None:
    _slide(stage).GetLowerLimitAttr().Set(0.3)
    _slide(stage).GetUpperLimitAttr().Set(0.0)


def _missing_body(stage: Usd.Stage, path: Path) -> None:
    _slide(stage).GetBody1Rel().SetTargets([_root(stage).GetPath().AppendChild("nowhere")])


def _no_articulation(stage: Usd.Stage, path: Path) -> None:
    _root(stage).RemoveAPI(UsdPhysics.ArticulationRootAPI)


def _friction(stage: Usd.Stage, path: Path) -> None:
    for prim in stage.Traverse():
        if prim.HasAPI(UsdPhysics.MaterialAPI):
            UsdPhysics.MaterialAPI(prim).GetStaticFrictionAttr().Set(-0.5)


def _scale(stage: Usd.Stage, path: Path) -> None:
    UsdGeom.Xformable(_drawer(stage)).AddScaleOp().Set(Gf.Vec3f(1.0, 1.0, 2.0))


def _sdf(stage: Usd.Stage, path: Path) -> None:
    shape = next(prim for prim in _colliders(_root(stage)) if prim.HasAPI(UsdPhysics.MeshCollisionAPI))
    UsdPhysics.MeshCollisionAPI(shape).GetApproximationAttr().Set("sdf")


def _no_kilograms(stage: Usd.Stage, path: Path) -> None:
    stage.ClearMetadata("kilogramsPerUnit")


def _no_contact_material(stage: Usd.Stage, path: Path) -> None:
    for prim in _colliders(_root(stage)):
        prim.RemoveProperty("material:binding:physics")
        prim.RemoveProperty("material:binding")
        UsdShade.MaterialBindingAPI(prim).UnbindAllBindings()


MUTATIONS = (
    Mutation("y up", _y_up, "up axis"),
    Mutation("centimetres", _centimetres, "metres"),
    Mutation("wrong extent", _wrong_extent, "extent"),
    Mutation("no look", _no_look, "material"),
    Mutation("no qcode", _no_qcode, "label"),
    Mutation("no thumbnail", _no_thumbnail, "thumbnail"),
    Mutation("no licence", _metadata(asset_license=None), "metadata"),
    Mutation("mesh inverted", _faces(lambda faces: faces[:, ::-1]), "winding"),
    Mutation("no mass API", _no_mass_api, "mass"),
    Mutation("mass not written", _no_mass, "mass"),
    Mutation("negative mass", _mass(-1.0), "mass"),
    Mutation("mass of 1000 t", _mass(1e6), "density"),
    Mutation("metadata: mass", _metadata(mass=99.0), "metadata"),
    Mutation("metadata: extents", _metadata(asset_extents=Gf.Vec3f(9, 9, 9)), "metadata"),
    Mutation("metadata: bodies", _metadata(rigid_body_count=7), "metadata"),
    Mutation("no collider at all", _no_colliders, "collider"),
    Mutation("no collider on the drawer", _no_drawer_collider, "collider"),
    Mutation("limits swapped", _limits, "limits"),
    Mutation("joint to a missing body", _missing_body, "joint"),
    Mutation("no articulation root", _no_articulation, "articulation"),
    Mutation("open mesh", _faces(lambda faces: faces[1:]), "watertight"),
    Mutation("one face flipped", _faces(_flip_one), "watertight"),
    Mutation("negative friction", _friction, "contact material"),
    Mutation("scaled body", _scale, "scale"),
    Mutation("sdf in the neutral layer", _sdf, "approximation"),
    Mutation("no kilogramsPerUnit", _no_kilograms, "kilograms"),
    Mutation("no contact material", _no_contact_material, "contact material"),
)
