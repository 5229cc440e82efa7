"""The physics validator: every claim of a physical object measured against a bound, with what to do about it.

    checks = PhysicsValidator(SimulatorMujoco()).validate(physics.objects, physics.root)

Severity says what a failed check costs: `error` = the object is wrong in a simulator, `warning` = it is doubtful,
`info` = worth knowing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from blueprint.backends.protocols import Simulator
from blueprint.core.report import warn
from blueprint.formats.obj import read_obj
from blueprint.geometry.colliders.fit import fit_of, primitive_mesh
from blueprint.geometry.colliders.pieces import hull_volume
from blueprint.geometry.inertia import solid_moments
from blueprint.geometry.mesh import Mesh, is_closed
from blueprint.model.categories import named_category
from blueprint.model.materials import material_for, named
from blueprint.model.scene import Check, Collider, Inertia, PhysicalObject, SettledObject
from blueprint.stages.physics.colliding import joined
from blueprint.stages.physics.config import ColliderConfig
from blueprint.stages.physics.rest import Drifts, RestConfig
from blueprint.stages.physics.sweep import Sweep, sweep

ERROR, WARNING, INFO = "error", "warning", "info"


@dataclass(frozen=True)
class Bounds:
    """What counts as plausible.

    mass_kg: of one object; density: mass over the volume its hull encloses [kg/m^3], from foam with air in it to steel;
    friction: of dry surfaces; friction_share: off its material's; concave: hull over mesh volume at which one convex
    shape no longer does; volume_ratio: of colliders to mesh; scale: factors off the category's sizes
    hausdorff_share: of the object's size, where the absolute bound is exceeded by far; force_n: at the handle (an
    accessible door takes 22 N, a tight fridge 60 N); reach: share of the range; penetration_m, overlap_m: contacts
    """

    mass_kg: tuple[float, float] = (0.0005, 400.0)
    density: tuple[float, float] = (5.0, 9000.0)
    friction: tuple[float, float] = (0.05, 1.5)
    friction_share: float = 0.5
    concave: float = 1.3
    volume_ratio: tuple[float, float] = (0.8, 1.5)
    hausdorff_share: float = 0.1
    scale: tuple[float, float] = (2.0, 5.0)
    force_n: float = 100.0
    reach: float = 0.98
    penetration_m: float = 0.001
    overlap_m: float = 0.001
    moved_m: float = 0.02


class PhysicsValidator:
    """simulator: for joints, None = joints are reported as not measured; rest, colliders: bounds that the stage uses"""

    def __init__(
        self,
        simulator: Simulator | None = None,
        *,
        bounds: Bounds | None = None,
        rest: RestConfig | None = None,
        colliders: ColliderConfig | None = None,
    ) -> None:
        self.simulator = simulator
        self.bounds = bounds or Bounds()
        self.rest = rest or RestConfig()
        self.colliders = colliders or ColliderConfig()

    def validate(
        self, objects: Sequence[PhysicalObject], files: Path, *, drifts: Drifts | None = None
    ) -> tuple[Check, ...]:
        """All checks of all objects. files: folder their meshes and colliders are in; drifts: of the settle test,
        None = spawn and settle are reported as not measured."""
        settled = {} if drifts is None else {item.name: item for item in drifts.test.objects}
        checks: list[Check] = []
        for item in objects:
            checks += self.object_checks(item, files)
            checks += self.rest_checks(item, settled.get(item.asset.name))
            checks += self.joint_checks(item, files, drifts)
        return tuple(checks)

    # -------------------------------------------------------------- one object, as it is

    def object_checks(self, item: PhysicalObject, files: Path) -> Iterator[Check]:
        """Mass, friction, colliders, centre of mass, inertia, mesh and scale."""
        for piece in _pieces(item, files):
            yield from self._piece_checks(item, piece)
        yield from self._mass_checks(item, _mesh(files, item.asset.mesh))
        yield from self._friction_checks(item)
        yield self._scale_check(item)

    def _mass_checks(self, item: PhysicalObject, whole: Mesh) -> Iterator[Check]:
        mass = item.mass_kg.value + sum(part.mass_kg.value for part in item.parts)
        low, high = self.bounds.mass_kg
        name = item.asset.name
        yield _within(name, "mass", ERROR, mass, low, high, "kg", "mass", "advised: physics.overrides.NAME.mass_kg")
        volume = hull_volume(whole[0])
        low, high = self.bounds.density
        fix = "advised: check the scale of the mesh, or physics.overrides.NAME.mass_kg"
        if item.soft is not None:
            low = 0.0  # a spread cloth's hull is mostly air
        yield _within(name, "density", WARNING, mass / volume, low, high, "kg/m^3", "mass over hull volume", fix)

    def _friction_checks(self, item: PhysicalObject) -> Iterator[Check]:
        name, friction = item.asset.name, item.friction.value
        low, high = self.bounds.friction
        fix = "advised: physics.overrides.NAME.friction"
        yield _within(name, "friction", ERROR, friction, low, high, "", "sliding friction coefficient", fix)
        material = named(item.material) or material_for(item.asset.text, name, item.asset.category)[0]
        off = abs(friction / material.friction - 1)
        text = f"friction against {material.friction:g}, usual of {material.name}; it is static and dynamic in one"
        yield _at_most(name, "friction_consistency", WARNING, off, self.bounds.friction_share, "share", text, fix)
        bounce = item.restitution.value
        yield _within(name, "restitution", ERROR, bounce, 0.0, 1.0, "", "coefficient of restitution", "advised: 0..1")

    def _scale_check(self, item: PhysicalObject) -> Check:
        name, longest = item.asset.name, max(item.asset.dims_m)
        known = named_category(item.asset.category)
        if known is None:
            why = "advised: name the object so that it has a category"
            return _check(name, "scale", WARNING, "longest side against its category's", longest, "m", None, None, why)
        low, high = known.size_m
        factor = max(low / longest, longest / high, 1.0)
        doubtful, wrong = self.bounds.scale
        text = f"longest side {longest:.3f} m; a {item.asset.category} has {low:g}..{high:g} m: off by a factor"
        fix = "advised: check units and scale anchor, or the object's name"
        return _at_most(name, "scale", ERROR if factor > wrong else WARNING, factor, doubtful, "", text, fix)

    # -------------------------------------------------------------- one rigid piece

    def _piece_checks(self, item: PhysicalObject, piece: _Piece) -> Iterator[Check]:
        name, mesh = piece.subject, piece.mesh
        low, high = mesh[0].min(axis=0), mesh[0].max(axis=0)
        center = np.array(piece.inertia.center_of_mass)
        outside = float(np.maximum(np.maximum(low - center, center - high), 0).max())
        fix = "advised: recompute it from the mesh (geometry.inertia.solid_inertia)"
        yield _at_most(name, "center_of_mass", ERROR, outside, 1e-4, "m", "centre of mass outside the bounds", fix)
        a, b, c = sorted(piece.inertia.principal_moments)
        ratio = c / (a + b) if a > 0 else float("1e9")
        text = "largest principal moment over the sum of the others"
        yield _at_most(name, "inertia_triangle", ERROR, ratio, 1.0 + 1e-6, "", text, fix)
        radius = float(np.linalg.norm(np.maximum(high - center, center - low)))
        most = c / (piece.mass * radius**2) if piece.mass > 0 else float("1e9")
        text = "largest principal moment over mass times the farthest corner squared"
        yield _at_most(name, "inertia_size", ERROR, most, 1.0, "", text, fix)
        closed = is_closed(mesh)
        repaired = "applied: mass from its hull, colliders along its surface; advised: close the mesh"
        yield _at_most(name, "watertight", WARNING, float(_open_edges(mesh)), 0.0, "edges", "open edges", repaired)
        if not closed:
            for key in ("collider_shape", "collider_distance", "collider_volume"):
                yield _check(name, key, INFO, "needs a closed mesh", None, "", None, None, repaired)
            return
        yield from self._collider_checks(item, piece)

    def _collider_checks(self, item: PhysicalObject, piece: _Piece) -> Iterator[Check]:
        name, mesh = piece.subject, piece.mesh
        excess = hull_volume(mesh[0]) / solid_moments(*mesh)[0]
        one = len(piece.hulls) == 1
        text = "hull over mesh volume of an object with a single convex collider"
        fix = "advised: convex decomposition (physics.colliders.decomposer)"
        yield _at_most(name, "collider_shape", WARNING, excess if one else 1.0, self.bounds.concave, "", text, fix)
        fit = fit_of(mesh, piece.hulls)
        size = float(np.ptp(mesh[0], axis=0).max())
        severity = ERROR if fit.hausdorff_m > self.bounds.hausdorff_share * size else WARNING
        bound = self.colliders.hausdorff_m
        text = "Hausdorff distance of colliders and mesh"
        fix = f"applied: {piece.method}; advised: raise physics.colliders.refinements or max_hulls"
        yield _at_most(name, "collider_distance", severity, fit.hausdorff_m, bound + 5e-4, "m", text, fix)
        low, high = self.bounds.volume_ratio
        text = "summed volume of the colliders over the mesh's"
        yield _within(name, "collider_volume", WARNING, fit.volume_ratio, low, high, "", text, fix)

    # -------------------------------------------------------------- in the scene

    def rest_checks(self, item: PhysicalObject, settled: SettledObject | None) -> Iterator[Check]:
        """Penetration where it spawns, motion in the settle test, distance from where it was captured."""
        name = item.asset.name
        fix = "advised: move it apart in the capture, or raise physics.rest.repairs"
        if settled is None:
            for key in ("spawn_penetration", "settle_drift", "settle_turn"):
                yield _check(name, key, ERROR, "no settle test", None, "", None, None, "advised: run the physics stage")
        else:
            depth, bound = settled.penetration_m, self.bounds.penetration_m
            yield _at_most(name, "spawn_penetration", ERROR, depth, bound, "m", "deepest contact at spawn", fix)
            fix = "advised: look at its base and its colliders"
            drift, turn = settled.drift_m, settled.drift_deg
            yield _at_most(name, "settle_drift", ERROR, drift, self.rest.drift_m, "m", "motion left alone", fix)
            yield _at_most(name, "settle_turn", ERROR, turn, self.rest.drift_deg, "deg", "turn left alone", fix)
        fix = "applied: it spawns where it comes to rest"
        text = "distance from where it was captured"
        yield _at_most(name, "placement", INFO, item.moved_m, self.bounds.moved_m, "m", text, fix)

    def joint_checks(self, item: PhysicalObject, files: Path, drifts: Drifts | None) -> Iterator[Check]:
        """Every joint: sane limits, swept open and closed, and whether it stays closed by itself."""
        if not item.parts:
            return
        bad = [part for part in item.parts if not _sane(part.joint.axis, part.joint.limits)]
        for part in item.parts:
            subject = f"{item.asset.name}/{part.joint.name}"
            text, fix = "unit axis, and limits that hold 0 and leave room", "advised: correct the joint"
            wrong = float(part in bad)
            yield _at_most(subject, "joint_limits", ERROR, wrong, 0.0, "", text, fix)
            if drifts is not None and subject in drifts.joints:
                moved = drifts.joints[subject] / max(part.joint.limits[1] - part.joint.limits[0], 1e-9)
                text, fix = "share of its range that it moved by itself", "advised: give the joint friction"
                yield _at_most(subject, "joint_rest", INFO, moved, 0.1, "share", text, fix)
        if self.simulator is None or bad:
            why = "advised: give the validator a simulator" if self.simulator is None else "advised: correct the joint"
            for part in item.parts:
                subject = f"{item.asset.name}/{part.joint.name}"
                yield _check(subject, "joint_sweep", ERROR, "not swept", None, "", None, None, why)
            return
        for swept in sweep(item, files, self.simulator):
            yield from self._sweep_checks(f"{item.asset.name}/{swept.joint}", swept)

    def _sweep_checks(self, subject: str, swept: Sweep) -> Iterator[Check]:
        fix = "advised: check axis, limits and the cut between body and part"
        reach, force = max(0.0, swept.reached), min(swept.force_n, 1e6)
        yield _within(
            subject, "joint_reach", ERROR, reach, self.bounds.reach, 2.0, "share", "of its range reached", fix
        )
        text = "deepest overlap of colliders on the way"
        yield _at_most(subject, "joint_overlap", ERROR, swept.overlap_m, self.bounds.overlap_m, "m", text, fix)
        text = "largest force at the handle"
        yield _at_most(subject, "joint_force", ERROR, force, self.bounds.force_n, "N", text, fix)


def report_failures(checks: Sequence[Check]) -> None:
    """Warn of every failed check that is an error."""
    for check in checks:
        if check.passed is False and check.severity == ERROR:
            warn(f"{check.subject}: {check.id}: {check.text}: {check.measured:.4g} {check.unit}; {check.fix}")


# ------------------------------------------------------------------ pieces and records


@dataclass(frozen=True)
class _Piece:
    subject: str
    mesh: Mesh
    inertia: Inertia
    mass: float
    hulls: list[Mesh]
    method: str


def _pieces(item: PhysicalObject, files: Path) -> Iterator[_Piece]:
    """The base (what no joint moves) and every moving part."""
    moved = {part.part.name for part in item.parts}
    fixed = [part.mesh for part in item.asset.parts if part.name not in moved] if moved else [item.asset.mesh]
    base = joined([_mesh(files, file) for file in fixed])
    hulls = [_hull(files, collider) for collider in item.colliders]
    yield _Piece(item.asset.name, base, item.inertia, item.mass_kg.value, hulls, item.collider_method)
    for part in item.parts:
        hulls = [_hull(files, collider) for collider in part.colliders]
        mesh = _mesh(files, part.part.mesh)
        subject = f"{item.asset.name}/{part.part.name}"
        yield _Piece(subject, mesh, part.inertia, part.mass_kg.value, hulls, part.collider_method)


def _mesh(files: Path, name: str) -> Mesh:
    read = read_obj(files / name)
    return read.vertices, read.faces


def _hull(files: Path, collider: Collider) -> Mesh:
    if collider.primitive is not None:
        return primitive_mesh(collider.primitive)
    if collider.mesh is None:
        raise ValueError("a collider is a mesh or a primitive")
    return _mesh(files, collider.mesh)


def _open_edges(mesh: Mesh) -> int:
    """Edges that do not belong to exactly two faces, once each way."""
    faces = mesh[1]
    directed = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    count = len(mesh[0])
    there, back = directed @ [count, 1], directed @ [1, count]
    unpaired = np.setxor1d(there, back)
    doubled = len(there) - len(np.unique(there))
    return len(unpaired) + doubled


def _sane(axis: Sequence[float], limits: tuple[float, float]) -> bool:
    low, high = limits
    return abs(float(np.linalg.norm(axis)) - 1) < 1e-3 and low <= 1e-6 and high >= -1e-6 and high - low > 1e-4


def _check(
    subject: str, key: str, severity: str, text: str, measured: float | None, unit: str, bound: float | None,
    passed: bool | None, fix: str,
) -> Check:  # fmt: skip
    name = subject.split("/")[0]
    return Check(
        id=key,
        subject=subject,
        severity=severity,  # type: ignore[arg-type]
        text=text,
        measured=measured if measured is None else round(float(measured), 9),
        unit=unit,
        bound=bound,
        passed=passed,
        fix="" if passed else fix.replace("NAME", name),
    )


def _at_most(
    subject: str, key: str, severity: str, measured: float, bound: float, unit: str, text: str, fix: str
) -> Check:
    return _check(subject, key, severity, text, measured, unit, bound, bool(measured <= bound), fix)


def _within(
    subject: str, key: str, severity: str, measured: float, low: float, high: float, unit: str, text: str, fix: str
) -> Check:
    """The bound recorded is the one that is nearer."""
    nearer = low if abs(measured - low) < abs(measured - high) else high
    return _check(subject, key, severity, text, measured, unit, nearer, bool(low <= measured <= high), fix)
