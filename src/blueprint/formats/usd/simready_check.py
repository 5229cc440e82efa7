"""Whether a USD asset can be simulated, judged from its file alone.

NVIDIA's simready-validate judges layout, metadata and looks; a negative mass, a swapped joint limit or an open mesh
pass it. This check measures what it leaves out, and repeats the cheap half of what it holds, so that an asset can be
judged without it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

DENSITY = (2.0, 23000.0)  # [kg/m^3] of the enclosed volume: polystyrene foam to osmium
NEUTRAL = ("none", "convexHull", "convexDecomposition", "boundingCube", "boundingSphere", "meshSimplification")
ENGINES = ("Physx", "Newton", "Mjc")
FIELDS = (
    *("author", "asset_name", "asset_type", "asset_license", "category", "source_file", "usd_date_generated"),
    *("qcode", "rigid_body_count", "asset_extents", "mass"),
)


@dataclass(frozen=True)
class Fault:
    """check: what rule; at: prim path or file; text: what was found."""

    check: str
    at: str
    text: str

    def __str__(self) -> str:
        return f"{self.check} {self.at}: {self.text}"


def check_asset(path: Path) -> list[Fault]:
    """Every fault of a rigid or articulated USD asset; empty = it can be simulated."""
    from pxr import Usd

    stage = Usd.Stage.Open(str(path))
    root = stage.GetDefaultPrim()
    if not root:
        return [Fault("stage", path.name, "no default prim")]
    checks: tuple[Callable[[], Iterator[Fault]], ...] = (
        partial(_stage, stage),
        partial(_files, stage, path),
        partial(_labels, root),
        partial(_bodies, root),
        partial(_colliders, root),
        partial(_joints, root),
        partial(_meshes, root),
        partial(_metadata, stage, root),
    )
    return [fault for check in checks for fault in check()]


def _stage(stage: Any) -> Iterator[Fault]:
    from pxr import UsdGeom, UsdPhysics

    if UsdGeom.GetStageUpAxis(stage) != "Z":
        yield Fault("up axis", "stage", f"{UsdGeom.GetStageUpAxis(stage)}, not Z")
    if not UsdGeom.StageHasAuthoredMetersPerUnit(stage) or UsdGeom.GetStageMetersPerUnit(stage) != 1.0:
        yield Fault("metres", "stage", f"metersPerUnit {UsdGeom.GetStageMetersPerUnit(stage):g}, not written as 1")
    if not UsdPhysics.StageHasAuthoredKilogramsPerUnit(stage) or UsdPhysics.GetStageKilogramsPerUnit(stage) != 1.0:
        yield Fault("kilograms", "stage", "kilogramsPerUnit is not written as 1")
    for prim in stage.Traverse():
        applied = prim.GetMetadata("apiSchemas")
        for name in applied.GetAppliedItems() if applied else ():
            if name.startswith(ENGINES):
                yield Fault("neutral", str(prim.GetPath()), f"{name} belongs into a runtime layer")


def _files(stage: Any, path: Path) -> Iterator[Fault]:
    from pxr import UsdUtils

    _, _, unresolved = UsdUtils.ComputeAllDependencies(str(path))
    for name in unresolved:
        yield Fault("missing file", str(name), "named but not there")
    if not (path.parent / f".thumbs/256x256/{path.name}.png").is_file():
        yield Fault("thumbnail", path.name, "none")


# ------------------------------------------------------------------ what is there


def _below(root: Any, schema: Any) -> list[Any]:
    from pxr import Usd

    return [prim for prim in Usd.PrimRange(root) if prim.HasAPI(schema)]


def _drawn(root: Any) -> list[Any]:
    """Meshes that are seen."""
    from pxr import Usd, UsdGeom

    return [
        prim
        for prim in Usd.PrimRange(root)
        if prim.IsA(UsdGeom.Mesh) and UsdGeom.Imageable(prim).ComputePurpose() != UsdGeom.Tokens.guide
    ]


def _solid(prim: Any) -> tuple[Array, NDArray[np.int64]] | None:
    """World points (V, 3), equal ones merged, and triangles (F, 3) of a mesh; None where a face is no triangle."""
    from pxr import Usd, UsdGeom

    mesh = UsdGeom.Mesh(prim)
    counts = np.array(mesh.GetFaceVertexCountsAttr().Get() or [])
    index = np.array(mesh.GetFaceVertexIndicesAttr().Get() or [], dtype=np.int64)
    points = np.array(mesh.GetPointsAttr().Get() or [], dtype=float).reshape(-1, 3)
    if len(index) == 0 or index.max() >= len(points) or not np.isfinite(points).all():
        return None
    T = np.array(UsdGeom.XformCache(Usd.TimeCode.Default()).GetLocalToWorldTransform(prim))
    world = points @ T[:3, :3] + T[3, :3]  # USD multiplies row vectors
    merged, again = np.unique(world.round(7), axis=0, return_inverse=True)
    starts = np.repeat(np.cumsum(counts) - counts, np.maximum(counts - 2, 0))
    step = np.concatenate([np.arange(1, count - 1) for count in counts])  # fans, so that quads are read too
    corners = np.stack([starts, starts + step, starts + step + 1], axis=1)
    return merged, again.ravel()[index[corners]]


def _volume(solid: tuple[Array, NDArray[np.int64]]) -> float:
    a, b, c = (solid[0][solid[1][:, k]] - solid[0].mean(axis=0) for k in range(3))
    return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6)


# ------------------------------------------------------------------ the checks


def _labels(root: Any) -> Iterator[Fault]:
    from pxr import UsdSemantics

    for prim in (root, *_drawn(root)):
        for kind, pattern in (("class", r".+"), ("wikidata_qcode", r"Q\d+")):
            values = UsdSemantics.LabelsAPI(prim, kind).GetLabelsAttr().Get() if _has_label(prim, kind) else None
            if not values or not all(re.fullmatch(pattern, value) for value in values):
                yield Fault("label", str(prim.GetPath()), f"no {kind}")


def _has_label(prim: Any, kind: str) -> bool:
    from pxr import UsdSemantics

    return prim.HasAPI(UsdSemantics.LabelsAPI, kind)


def _bodies(root: Any) -> Iterator[Fault]:
    from pxr import Usd, UsdGeom, UsdPhysics

    bodies = _below(root, UsdPhysics.RigidBodyAPI)
    if not bodies:
        yield Fault("body", str(root.GetPath()), "no rigid body")
    for body in bodies:
        at = str(body.GetPath())
        T = np.array(UsdGeom.XformCache(Usd.TimeCode.Default()).GetLocalToWorldTransform(body))[:3, :3]
        if abs(T @ T.T - np.eye(3)).max() > 1e-4:
            yield Fault("scale", at, "a body may be turned and moved, not scaled or skewed")
        mass = UsdPhysics.MassAPI(body)
        kilograms = mass.GetMassAttr().Get() if body.HasAPI(UsdPhysics.MassAPI) else None
        if not mass.GetMassAttr().HasAuthoredValue() or kilograms is None or not 0 < kilograms < np.inf:
            yield Fault("mass", at, f"{kilograms} kg")
            continue
        yield from _density(body, kilograms)
        yield from _inertia(body, mass)


def _density(body: Any, kilograms: float) -> Iterator[Fault]:
    solids = [solid for prim in _drawn(body) if (solid := _solid(prim)) is not None]
    volume = sum(abs(_volume(solid)) for solid in solids)
    density = kilograms / volume if volume > 0 else np.inf
    if not DENSITY[0] <= density <= DENSITY[1]:
        yield Fault("density", str(body.GetPath()), f"{kilograms:g} kg in {volume * 1e6:.1f} cm^3")


def _inertia(body: Any, mass: Any) -> Iterator[Fault]:
    at, moments = str(body.GetPath()), np.array(mass.GetDiagonalInertiaAttr().Get(), dtype=float)
    if not np.isfinite(moments).all() or moments.min() <= 0 or 2 * moments.max() > moments.sum() * (1 + 1e-4):
        yield Fault("inertia", at, f"moments {moments.tolist()} belong to no solid")
    solids = [solid for prim in _drawn(body) if (solid := _solid(prim)) is not None]
    if solids:
        from pxr import Usd, UsdGeom

        T = np.array(UsdGeom.XformCache(Usd.TimeCode.Default()).GetLocalToWorldTransform(body))
        center = np.array(mass.GetCenterOfMassAttr().Get(), dtype=float) @ T[:3, :3] + T[3, :3]
        points = np.concatenate([solid[0] for solid in solids])
        if not (np.all(center > points.min(axis=0) - 1e-3) and np.all(center < points.max(axis=0) + 1e-3)):
            yield Fault("centre of mass", at, "outside the body's own box")


def _colliders(root: Any) -> Iterator[Fault]:
    from pxr import UsdPhysics, UsdShade

    for body in _below(root, UsdPhysics.RigidBodyAPI):
        if not _below(body, UsdPhysics.CollisionAPI):
            yield Fault("collider", str(body.GetPath()), "none")
    for prim in _below(root, UsdPhysics.CollisionAPI):
        at = str(prim.GetPath())
        approximation = UsdPhysics.MeshCollisionAPI(prim).GetApproximationAttr().Get()
        if approximation is not None and approximation not in NEUTRAL:
            yield Fault("approximation", at, f"{approximation} is one engine's own")
        material, _ = UsdShade.MaterialBindingAPI(prim).ComputeBoundMaterial("physics")
        if not material or not material.GetPrim().HasAPI(UsdPhysics.MaterialAPI):
            yield Fault("contact material", at, "none")
            continue
        api = UsdPhysics.MaterialAPI(material.GetPrim())
        values = [api.GetStaticFrictionAttr().Get(), api.GetDynamicFrictionAttr().Get(), api.GetRestitutionAttr().Get()]
        if not all(0 <= value < np.inf for value in values) or values[2] > 1:
            yield Fault("contact material", at, f"friction {values[0]:g}, {values[1]:g}, restitution {values[2]:g}")


def _joints(root: Any) -> Iterator[Fault]:
    from pxr import Usd, UsdPhysics

    joints = [prim for prim in Usd.PrimRange(root) if prim.IsA(UsdPhysics.Joint)]
    moving = [prim for prim in joints if not prim.IsA(UsdPhysics.FixedJoint)]
    bodies = {prim.GetPath() for prim in _below(root, UsdPhysics.RigidBodyAPI)}
    joined = set()
    for prim in joints:
        at, joint = str(prim.GetPath()), UsdPhysics.Joint(prim)
        targets = [rel.GetTargets() for rel in (joint.GetBody0Rel(), joint.GetBody1Rel())]
        held = {path for paths in targets for path in paths}
        joined |= held
        if not held or held - bodies or (prim in moving and not all(targets)):
            yield Fault("joint", at, f"joins {sorted(map(str, held)) or 'nothing'}")
            continue
        if prim in moving:
            yield from _moving(prim, joint)
    if len(bodies) > 1 and bodies - joined:
        yield Fault("joint", str(root.GetPath()), f"nothing holds {sorted(map(str, bodies - joined))}")
    roots = _below(root, UsdPhysics.ArticulationRootAPI)
    if moving and len(roots) != 1:
        yield Fault("articulation", str(root.GetPath()), f"{len(roots)} articulation roots for {len(moving)} joints")


def _moving(prim: Any, joint: Any) -> Iterator[Fault]:
    from pxr import Gf, Usd, UsdGeom, UsdPhysics

    at, api = str(prim.GetPath()), UsdPhysics.RevoluteJoint(prim)
    if not api:
        api = UsdPhysics.PrismaticJoint(prim)
    if api:
        lower, upper = api.GetLowerLimitAttr().Get(), api.GetUpperLimitAttr().Get()
        if not lower < upper:
            yield Fault("limits", at, f"lower {lower:g} is not below upper {upper:g}")
    cache, places = UsdGeom.XformCache(Usd.TimeCode.Default()), []
    for rel, position in (
        (joint.GetBody0Rel(), joint.GetLocalPos0Attr()),
        (joint.GetBody1Rel(), joint.GetLocalPos1Attr()),
    ):
        T = cache.GetLocalToWorldTransform(prim.GetStage().GetPrimAtPath(rel.GetTargets()[0]))
        places.append(np.array(T.Transform(Gf.Vec3d(*position.Get()))))
    if np.linalg.norm(places[0] - places[1]) > 1e-3:
        yield Fault("joint", at, f"its two frames are {np.linalg.norm(places[0] - places[1]) * 1e3:.1f} mm apart")


def _meshes(root: Any) -> Iterator[Fault]:
    from pxr import UsdGeom, UsdShade

    for prim in _drawn(root):
        at, solid = str(prim.GetPath()), _solid(prim)
        if not UsdShade.MaterialBindingAPI(prim).ComputeBoundMaterial()[0]:
            yield Fault("material", at, "no look is bound")
        if solid is None:
            yield Fault("mesh", at, "no valid triangles")
            continue
        if not _closed(solid[1]):
            yield Fault("watertight", at, "an edge has not one face on each side, turned alike")
        elif _volume(solid) <= 0:
            yield Fault("winding", at, "the faces are turned inward")
        extent = np.array(UsdGeom.Mesh(prim).GetExtentAttr().Get() or np.zeros((2, 3)), dtype=float)
        points = np.array(UsdGeom.Mesh(prim).GetPointsAttr().Get(), dtype=float)
        if abs(extent - [points.min(axis=0), points.max(axis=0)]).max() > 1e-4:
            yield Fault("extent", at, "is not that of the points")


def _closed(faces: NDArray[np.int64]) -> bool:
    """Whether every edge is run through as often in one direction as in the other."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    edges = edges[edges[:, 0] != edges[:, 1]]
    forward = edges[:, 0] < edges[:, 1]
    _, index = np.unique(np.sort(edges, axis=1), axis=0, return_inverse=True)
    return not np.bincount(index.ravel(), weights=np.where(forward, 1.0, -1.0)).any()


def _metadata(stage: Any, root: Any) -> Iterator[Fault]:
    from pxr import Usd, UsdGeom, UsdPhysics

    data = stage.GetRootLayer().customLayerData.get("SimReady_Metadata", {})
    missing = [name for name in FIELDS if data.get(name) in (None, "")]
    if missing:
        yield Fault("metadata", "stage", f"no {', '.join(missing)}")
        return
    bodies = _below(root, UsdPhysics.RigidBodyAPI)
    kilograms = sum(UsdPhysics.MassAPI(body).GetMassAttr().Get() or 0.0 for body in bodies)
    cache = UsdGeom.BBoxCache(Usd.TimeCode.Default(), [UsdGeom.Tokens.default_])
    extents = np.array(cache.ComputeWorldBound(root).ComputeAlignedRange().GetSize())
    if data["rigid_body_count"] != len(bodies):
        yield Fault("metadata", "rigid_body_count", f"{data['rigid_body_count']} is said, {len(bodies)} are there")
    if abs(data["mass"] - kilograms) > 1e-3 * max(kilograms, 1e-9):
        yield Fault("metadata", "mass", f"{data['mass']:g} kg is said, {kilograms:g} kg are there")
    if abs(np.array(data["asset_extents"], dtype=float) - extents).max() > 1e-3 * extents.max():
        yield Fault(
            "metadata", "asset_extents", f"{tuple(data['asset_extents'])} is said, {extents.tolist()} are there"
        )
