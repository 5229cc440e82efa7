"""USD to bodies and joints: units and up axis converted, instances and references resolved, UsdPhysics kept.

Read: meshes and ideal shapes (also instanced, by scene graph or point instancer), display colour and the diffuse input
of UsdPreviewSurface, rigid bodies, mass, friction, revolute, prismatic and fixed joints, semantic labels, kinds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from blueprint.core.errors import InputError
from blueprint.formats.given.scene import (
    MOST_NODES,
    Y_TO_Z_UP,
    GivenBody,
    GivenJoint,
    GivenScene,
    Node,
    bodies_of,
    checked,
    mapped,
    reading,
    rigid,
    scene_of,
)
from blueprint.formats.usd.read_joints import read_joints
from blueprint.formats.usd.read_layers import CURE, check_layers
from blueprint.formats.usd.read_shapes import shape_surfaces
from blueprint.geometry.transforms import Array, invert

VENDOR = ("physx", "Physx", "omni", "drive:")


@dataclass
class UsdScene:
    """What the parts of the reader share. T_up: (4, 4) rigid, the file's axes to z up; unit: metres per unit."""

    stage: Any
    root: Path
    unit: float
    kilograms: float
    T_up: Array
    cache: Any
    notes: list[str] = field(default_factory=list)

    def pose(self, prim: Any) -> Array:
        """(4, 4) affine, prim to world [m], z up; lengths below the prim still in the file's unit."""
        T = np.array(self.cache.GetLocalToWorldTransform(prim)).T  # USD multiplies rows
        scale = np.diag([self.unit, self.unit, self.unit, 1.0])
        return self.T_up @ scale @ T


def read_usd(root: Path, main: Path) -> GivenScene:
    """Raises InputError for broken files, files outside `root`, and a scene without surfaces."""
    from pxr import Usd, UsdGeom, UsdPhysics

    with reading(main, CURE):
        check_layers(root, main)
        stage = Usd.Stage.Open(str(main))
        y_up = UsdGeom.GetStageUpAxis(stage) == UsdGeom.Tokens.y
        unit = float(UsdGeom.GetStageMetersPerUnit(stage))
        if not 1e-6 < unit < 1e4:
            raise InputError(f"{main.name}: metersPerUnit is {unit:g}", "0.01 for centimetres, 1 for metres")
        scene = UsdScene(
            stage,
            root,
            unit,
            float(UsdPhysics.GetStageKilogramsPerUnit(stage)),
            Y_TO_Z_UP if y_up else np.eye(4),
            UsdGeom.XformCache(),
        )
        bodies, joints = _bodies(scene)
        _note_ignored(scene)
        up = "upAxis Y of the file" if y_up else "upAxis Z of the file"
        return scene_of(bodies, joints, f"metersPerUnit {unit:g} of the file", up, scene.notes, main)


def _bodies(scene: UsdScene) -> tuple[list[GivenBody], list[GivenJoint]]:
    from pxr import Usd, UsdPhysics

    prims = _prims(scene)
    rigid_prims = {prim.GetPath(): prim for prim in prims if _is_rigid(prim)}
    bodies = [_rigid_body(scene, prim, rigid_prims) for prim in rigid_prims.values()]
    index = {path: i for i, path in enumerate(rigid_prims)}
    joints = read_joints(scene, [prim for prim in prims if prim.IsA(UsdPhysics.Joint)], index)
    solid = any(prim.HasAPI(UsdPhysics.CollisionAPI) for prim in prims)
    tree = _tree(scene, scene.stage.GetPseudoRoot(), rigid_prims, Usd.TraverseInstanceProxies())
    rest = bodies_of(tree, np.eye(4), fixed=True if rigid_prims or solid else None) if tree else []
    return [*bodies, *rest], joints


def _prims(scene: UsdScene) -> list[Any]:
    from pxr import Usd

    prims = []
    for prim in scene.stage.Traverse(Usd.TraverseInstanceProxies()):
        prims.append(prim)
        if len(prims) > MOST_NODES:
            raise InputError(f"the stage has more than {MOST_NODES} prims", "leave out what the scene does not need")
    return prims


def _is_rigid(prim: Any) -> bool:
    from pxr import UsdPhysics

    if not prim.HasAPI(UsdPhysics.RigidBodyAPI):
        return False
    return bool(UsdPhysics.RigidBodyAPI(prim).GetRigidBodyEnabledAttr().Get() is not False)


def _shown(prim: Any) -> bool:
    """Drawn by default: not a guide (colliders often are) nor a proxy, and visible."""
    from pxr import UsdGeom

    image = UsdGeom.Imageable(prim)
    return image.ComputePurpose() in ("default", "render") and image.ComputeVisibility() != UsdGeom.Tokens.invisible


def _rigid_body(scene: UsdScene, prim: Any, rigid_prims: dict[Any, Any]) -> GivenBody:
    from pxr import UsdGeom, UsdPhysics

    T, _ = rigid(scene.pose(prim))
    gprims = [
        child for child in _own(prim, rigid_prims) if child.IsA(UsdGeom.Gprim) or child.IsA(UsdGeom.PointInstancer)
    ]
    drawn = [child for child in gprims if _shown(child)] or gprims
    surfaces = [
        mapped(surface, invert(T) @ scene.pose(child)) for child in drawn for surface in shape_surfaces(scene, child)
    ]
    kinematic = bool(UsdPhysics.RigidBodyAPI(prim).GetKinematicEnabledAttr().Get())
    return GivenBody(
        prim.GetName(),
        T,
        tuple(checked(surface, prim.GetName()) for surface in surfaces),
        label_of(prim),
        _mass(scene, prim, rigid_prims),
        _friction(prim, rigid_prims),
        fixed=kinematic,
    )


def _own(prim: Any, rigid_prims: dict[Any, Any]) -> list[Any]:
    """The prim and all below it that belong to no other rigid body."""
    from pxr import Usd

    found = []
    walk = iter(Usd.PrimRange(prim, Usd.TraverseInstanceProxies()))
    for child in walk:
        if child != prim and child.GetPath() in rigid_prims:
            walk.PruneChildren()
        else:
            found.append(child)
    return found


def _mass(scene: UsdScene, prim: Any, rigid_prims: dict[Any, Any]) -> float | None:
    """[kg] of the body, else the sum of its colliders' where each has one."""
    from pxr import UsdPhysics

    def authored(at: Any) -> float:
        value = UsdPhysics.MassAPI(at).GetMassAttr().Get() if at.HasAPI(UsdPhysics.MassAPI) else None
        return scene.kilograms * float(value) if value and np.isfinite(value) and value > 0 else 0.0

    own = authored(prim)
    if own:
        return own
    colliders = [child for child in _own(prim, rigid_prims) if child.HasAPI(UsdPhysics.CollisionAPI)]
    each = [authored(child) for child in colliders]
    return sum(each) if each and all(each) else None


def _friction(prim: Any, rigid_prims: dict[Any, Any]) -> float | None:
    """Dynamic friction of the first collider with a physics material."""
    from pxr import UsdPhysics, UsdShade

    for child in _own(prim, rigid_prims):
        if child.HasAPI(UsdPhysics.CollisionAPI):
            material, _ = UsdShade.MaterialBindingAPI(child).ComputeBoundMaterial("physics")
            if material and material.GetPrim().HasAPI(UsdPhysics.MaterialAPI):
                value = UsdPhysics.MaterialAPI(material.GetPrim()).GetDynamicFrictionAttr().Get()
                if value is not None and np.isfinite(value) and value >= 0:
                    return float(value)
    return None


def label_of(prim: Any) -> str:
    """What UsdSemantics says the prim is, else its display name."""
    for attribute in prim.GetAttributes():
        if attribute.GetName().startswith("semantics:labels:"):
            labels = attribute.Get()
            if labels:
                return str(labels[0])
        if attribute.GetName().endswith(":params:semanticData"):  # Omniverse's older schema
            return str(attribute.Get() or "")
    return str(prim.GetMetadata("displayName") or "")


def _tree(scene: UsdScene, prim: Any, rigid_prims: dict[Any, Any], predicate: Any) -> Node | None:
    """What belongs to no rigid body, as a tree; None where nothing of it is drawn."""
    from pxr import Usd, UsdGeom

    if prim.GetPath() in rigid_prims:
        return None
    node = Node(prim.GetName() or "world", np.eye(4) if prim.IsPseudoRoot() else scene.pose(prim))
    if not prim.IsPseudoRoot():
        node.label = label_of(prim)
        node.whole = Usd.ModelAPI(prim).GetKind() in ("component", "subcomponent")
        if (prim.IsA(UsdGeom.Gprim) or prim.IsA(UsdGeom.PointInstancer)) and _shown(prim):
            node.surfaces = [checked(s, prim.GetName()) for s in shape_surfaces(scene, prim)]
        if prim.IsA(UsdGeom.PointInstancer):
            return node if node.surfaces else None  # its prototypes are drawn where it puts them
    for child in prim.GetFilteredChildren(predicate):
        grown = _tree(scene, child, rigid_prims, predicate)
        if grown is not None:
            node.children.append(grown)
    return node if node.surfaces or node.children else None


def _note_ignored(scene: UsdScene) -> None:
    found: set[str] = set()
    for prim in scene.stage.Traverse():
        found |= {name for name in prim.GetAppliedSchemas() if name.startswith(VENDOR)}
        if prim.GetTypeName() in ("SkelRoot", "BasisCurves", "NurbsPatch", "Volume", "TetMesh", "Points"):
            found.add(prim.GetTypeName())
    if found:
        scene.notes.append(f"not read: {', '.join(sorted(found)[:12])}")
