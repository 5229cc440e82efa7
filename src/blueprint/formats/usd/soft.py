"""A soft object as USD, by the deformable schemas of 2026 (OmniPhysicsDeformable*, as PhysX and Isaac Sim read them).

The schemas are not part of OpenUSD: their names and attributes are written as plain text, and a reader without them
sees a mesh. SimReady's prop profile knows rigid bodies only, so a soft object is no SimReady asset.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from blueprint.formats.mjcf.layout import soft_points
from blueprint.formats.obj import TexturedMesh
from blueprint.formats.usd import prims
from blueprint.formats.usd.asset import qcode_of
from blueprint.model.scene import PhysicalObject, SoftBody

SIMULATED = {1: "OmniPhysicsCurvesDeformableSimAPI", 2: "OmniPhysicsSurfaceDeformableSimAPI"}
MATERIALS = {1: "OmniPhysicsCurvesDeformableMaterialAPI", 2: "OmniPhysicsSurfaceDeformableMaterialAPI"}


def write_soft(path: Path, item: PhysicalObject, files: Path) -> None:
    """A deformable body: a rope as a curve, a cloth as triangles, a volume as tetrahedra, simulated as it is drawn."""
    from pxr import Kind, Sdf, Usd, UsdGeom, UsdPhysics, UsdShade

    soft = item.soft
    if soft is None:
        raise ValueError(f"{item.asset.name} is not soft")
    path.parent.mkdir(parents=True, exist_ok=True)
    stage = prims.new_stage(path)
    name = f"/{path.stem}"
    root = UsdGeom.Xform.Define(stage, name)
    stage.SetDefaultPrim(root.GetPrim())
    Usd.ModelAPI(root).SetKind(Kind.Tokens.component)
    prims.label(root.GetPrim(), item.asset.text, qcode_of(item.asset.category or item.asset.text))
    _apply(root.GetPrim(), "OmniPhysicsDeformableBodyAPI")
    _set(root.GetPrim(), "mass", Sdf.ValueTypeNames.Float, item.mass_kg.value)
    UsdGeom.Scope.Define(stage, f"{name}/Looks")
    material = prims.look(stage, f"{name}/Looks/surface", None)
    points, elements = soft_points(soft, files)
    simulated = _simulated(stage, f"{name}/Simulated", soft, points, elements)
    UsdPhysics.CollisionAPI.Apply(simulated.GetPrim())
    prims.bind(simulated.GetPrim(), material)
    contact = UsdShade.Material.Define(stage, f"{name}/Looks/soft")
    _material(contact.GetPrim(), item, soft)
    for made in (material, contact):
        prims.made_of(made, item.material)
    prims.bind(simulated.GetPrim(), contact, "physics")
    stage.Save()


def _simulated(stage: Any, path: str, soft: SoftBody, points: np.ndarray, elements: np.ndarray) -> Any:
    from pxr import Sdf, UsdGeom, Vt

    rest = Vt.Vec3fArray.FromNumpy(points.astype(np.float32))
    if soft.dim == 1:
        made = UsdGeom.BasisCurves.Define(stage, path)
        order = _chain(elements)
        rest = Vt.Vec3fArray.FromNumpy(points[order].astype(np.float32))
        made.CreateTypeAttr(UsdGeom.Tokens.linear)
        made.CreateCurveVertexCountsAttr([len(order)])
        made.CreateWidthsAttr([soft.thickness_m])
        made.SetWidthsInterpolation(UsdGeom.Tokens.constant)
        made.CreatePointsAttr(rest)
        made.CreateExtentAttr(UsdGeom.Curves(made).ComputeExtent(rest, [soft.thickness_m]))
    elif soft.dim == 2:
        made = UsdGeom.Mesh.Define(stage, path)
        prims.shape(made, TexturedMesh(points, elements))
        made.CreateDoubleSidedAttr(True)
        _set(made.GetPrim(), "restTriVtxIndices", Sdf.ValueTypeNames.Int3Array, _rows(elements))
    else:
        made = UsdGeom.TetMesh.Define(stage, path)
        made.CreatePointsAttr(rest)
        made.CreateTetVertexIndicesAttr(Vt.Vec4iArray.FromNumpy(elements.astype(np.int32)))
        made.CreateSurfaceFaceVertexIndicesAttr(UsdGeom.TetMesh.ComputeSurfaceFaces(made))
        made.CreateExtentAttr(UsdGeom.PointBased.ComputeExtent(rest))
        _set(made.GetPrim(), "restTetVtxIndices", Sdf.ValueTypeNames.Int4Array, _rows(elements))
    _apply(made.GetPrim(), SIMULATED.get(soft.dim, "OmniPhysicsVolumeDeformableSimAPI"))
    _set(made.GetPrim(), "restShapePoints", Sdf.ValueTypeNames.Point3fArray, rest)
    return made


def _material(prim: Any, item: PhysicalObject, soft: SoftBody) -> None:
    """Stiffnesses per width follow from Young's modulus E and thickness t: stretching E t, bending E t^3 / 12 (1 - v^2)
    of a plate (Timoshenko); of a rope of radius r: E pi r^2 and E pi r^4 / 4."""
    from pxr import Sdf, UsdPhysics

    UsdPhysics.MaterialAPI.Apply(prim)
    _apply(prim, "OmniPhysicsBaseMaterialAPI", "OmniPhysicsDeformableMaterialAPI", *(
        [MATERIALS[soft.dim]] if soft.dim in MATERIALS else []
    ))  # fmt: skip
    young, thick, radius = soft.young_pa, soft.thickness_m, soft.thickness_m / 2
    values = {
        "staticFriction": item.friction.value,
        "dynamicFriction": item.friction.value,
        "youngsModulus": young,
        "poissonsRatio": soft.poisson,
    }
    if soft.dim == 1:
        values |= {
            "curveThickness": thick,
            "curveStretchStiffness": young * np.pi * radius**2,
            "curveBendStiffness": young * np.pi * radius**4 / 4,
        }
    elif soft.dim == 2:
        values |= {
            "surfaceThickness": thick,
            "surfaceStretchStiffness": young * thick,
            "surfaceShearStiffness": young * thick / (2 * (1 + soft.poisson)),
            "surfaceBendStiffness": young * thick**3 / (12 * (1 - soft.poisson**2)),
        }
    for name, value in values.items():
        _set(prim, name, Sdf.ValueTypeNames.Float, float(value))


def _apply(prim: Any, *schemas: str) -> None:
    """Add API schemas by name, whether or not this USD knows them."""
    from pxr import Sdf

    listed = prim.GetMetadata("apiSchemas") or Sdf.TokenListOp()
    listed.prependedItems = [*schemas, *(name for name in listed.prependedItems if name not in schemas)]
    prim.SetMetadata("apiSchemas", listed)


def _set(prim: Any, name: str, kind: Any, value: object) -> None:
    prim.CreateAttribute(f"omniphysics:{name}", kind, custom=False).Set(value)


def _rows(elements: np.ndarray) -> Any:
    from pxr import Vt

    array = Vt.Vec3iArray if elements.shape[1] == 3 else Vt.Vec4iArray
    return array.FromNumpy(elements.astype(np.int32))


def _chain(elements: np.ndarray) -> np.ndarray:
    """Vertices of a rope's edges (E, 2) from one end to the other."""
    neighbours: dict[int, list[int]] = {}
    for a, b in elements.tolist():
        neighbours.setdefault(a, []).append(b)
        neighbours.setdefault(b, []).append(a)
    ends = sorted(vertex for vertex, near in neighbours.items() if len(near) == 1)
    order = [ends[0] if ends else min(neighbours)]
    while len(order) < len(neighbours):
        onward = [vertex for vertex in neighbours[order[-1]] if vertex not in order]
        if not onward:
            raise ValueError("the rope's edges form no single chain")
        order.append(onward[0])
    return np.array(order)
