"""Physics: what objects weigh, how they slide, what shape they collide with, and where they come to rest."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import Field

from blueprint.backends.protocols import Simulator
from blueprint.core.artifact import Config, Model
from blueprint.core.errors import InputError, IntegrityError, SettingsError
from blueprint.core.execute import map_items
from blueprint.core.process import run_child
from blueprint.core.report import log, warn
from blueprint.core.stage import stage
from blueprint.formats.mjcf import TABLE_BODY, Contacts, TableFiles, scene_mjcf
from blueprint.formats.obj import TexturedMesh, read_obj, write_obj
from blueprint.geometry import colliders as shapes
from blueprint.geometry.inertia import solid_inertia, solid_moments
from blueprint.geometry.transforms import Array, pose_to_matrix, rotation_angle, transform_points
from blueprint.model.artifacts import Articulation, Physics, Reconstruction
from blueprint.model.materials import Material, material_of, named
from blueprint.model.scene import Collider, ObjectAsset, PhysicalObject, Sourced
from blueprint.model.spatial import Pose
from blueprint.stages.physics.rest import RestConfig, come_to_rest, settle_test

SETTLE_FILE = "settle.xml"
QUIET_FILE = "quiet.xml"
TABLE_FILE = "table.obj"
TABLE_MARGIN_M = 0.02  # the table reaches at least this far beyond what stands on it
FALL_MARGIN_M = 0.25  # and this far beyond what would otherwise fall off it
FALLEN_M = -0.05


class Override(Model):
    """What the user knows better than the table of materials."""

    mass_kg: float | None = None
    material: str | None = None
    friction: float | None = None


class PhysicsConfig(Config):
    """overrides: object name -> what the user knows; everything else follows from the table of materials.

    primitive_fit_m: an asset's primitive is its collider if the mesh lies within this of it
    hull_excess: one hull is enough while its volume is at most this times the solid's; vessel_excess: for open vessels,
    whose inside must stay open even where little of it was seen
    flat_base_m: hull vertices this close to the lowest, as it stood, are brought to its height
    coacd_*: concavity threshold, number of hulls at most, faces before decomposition, seconds before it is given up
    """

    overrides: dict[str, Override] = Field(default_factory=dict)
    primitive_fit_m: float = 0.002
    hull_excess: float = 1.25
    vessel_excess: float = 1.05
    flat_base_m: float = 0.001
    coacd_threshold: float = 0.08
    coacd_max_hulls: int = 16
    coacd_max_faces: int = 1000
    coacd_timeout_s: float = 240.0
    seed: int = 0
    rest: RestConfig = RestConfig()


@stage(version="1")
def physics(
    articulation: Articulation, reconstruction: Reconstruction, simulator: Simulator, cfg: PhysicsConfig, out: Path
) -> Physics:
    """Objects that a simulator can hold: at rest, without penetration.

    Raises SettingsError for an override that names no object or no material, InputError for a reserved object name.
    """
    _check_names(cfg, articulation)
    shutil.copytree(articulation.path("objects"), out / "objects", dirs_exist_ok=True)
    work = [(asset.name, _Work(asset, articulation.path(asset.mesh), cfg)) for asset in articulation.objects]
    map_items(_collide, work, out / "colliders", what="colliders", timeout_s=2 * cfg.coacd_timeout_s + 60)
    objects = [_physical(asset, articulation, cfg, out) for asset in articulation.objects]
    spawned = _on_table(objects, reconstruction, simulator, cfg.rest, out)
    test = settle_test(out / SETTLE_FILE, [item.asset.name for item in spawned], simulator, cfg.rest)
    if not test.passed:
        warn(f"the scene does not hold still: {test.max_drift_m * 1e3:.1f} mm, {test.max_drift_deg:.1f} deg")
    return Physics(objects=tuple(spawned), settle=test)


def _check_names(cfg: PhysicsConfig, articulation: Articulation) -> None:
    names = [asset.name for asset in articulation.objects]
    for reserved in (TABLE_BODY, "world", "floor"):
        if reserved in names:
            raise InputError(f"no object may be named {reserved!r}", "give it another name in the capture")
    for name, override in cfg.overrides.items():
        if name not in names:
            raise SettingsError(f"physics.overrides names no object {name!r}", f"the scene has: {', '.join(names)}")
        if override.material is not None and named(override.material) is None:
            raise SettingsError(
                f"physics.overrides: no material {override.material!r}", "see blueprint/model/materials.py"
            )


# ------------------------------------------------------------------ mass and friction


def _physical(asset: ObjectAsset, articulation: Articulation, cfg: PhysicsConfig, out: Path) -> PhysicalObject:
    """The object before it has come to rest."""
    mesh = read_obj(articulation.path(asset.mesh))
    material, material_source = material_of(f"{asset.text} {asset.name}")
    override = cfg.overrides.get(asset.name, Override())
    if override.material is not None:
        material, material_source = _named(override.material), "user: physics.overrides"
    mass = _mass(mesh, material, override)
    friction = Sourced(value=material.friction, source=material.surface_source)
    if override.friction is not None:
        friction = Sourced(value=override.friction, source="user: physics.overrides")
    folder = out / "colliders" / asset.name
    method = json.loads((folder / "method.json").read_text())["method"]
    if method.startswith("hull: decomposition"):
        warn(f"{asset.name}: {method}")
    return PhysicalObject(
        asset=asset,
        material=material.name,
        material_source=material_source,
        mass_kg=mass,
        inertia=solid_inertia(mesh.vertices, mesh.faces, mass.value),
        friction=friction,
        restitution=Sourced(value=material.restitution, source=material.surface_source),
        colliders=_colliders(asset, folder),
        collider_method=method,
        pose=asset.pose,
        moved_m=0.0,
        moved_deg=0.0,
    )


def _named(name: str) -> Material:
    material = named(name)
    if material is None:
        raise SettingsError(f"no material {name!r}")
    return material


def _mass(mesh: TexturedMesh, material: Material, override: Override) -> Sourced:
    if override.mass_kg is not None:
        return Sourced(value=override.mass_kg, source="user: physics.overrides")
    if material.areal:
        area = shapes.hull_area(mesh.vertices)
        source = f"hull surface {area * 1e4:.0f} cm^2 x {material.density:g} kg/m^2 ({material.density_source})"
        return Sourced(value=area * material.density, source=source)
    volume = solid_moments(mesh.vertices, mesh.faces)[0]
    density = f"effective density {material.density:g} kg/m^3 ({material.density_source})"
    return Sourced(value=volume * material.density, source=f"volume {volume * 1e6:.0f} cm^3 x {density}")


# ------------------------------------------------------------------ colliders


@dataclass(frozen=True)
class _Work:
    asset: ObjectAsset
    mesh: Path
    cfg: PhysicsConfig


def _collide(work: _Work, folder: Path) -> None:
    """Write the hulls of one object and `method.json`; no hull where the primitive serves."""
    mesh = read_obj(work.mesh)
    solid = (mesh.vertices, mesh.faces)
    method, hulls = _choose(work, solid, folder)
    flat = shapes.flat_base(hulls, pose_to_matrix(work.asset.pose), work.cfg.flat_base_m) if hulls else []
    for index, hull in enumerate(flat):
        write_obj(TexturedMesh(*hull), folder / f"{index:03d}.obj")
    (folder / "method.json").write_text(json.dumps({"method": method}))


def _choose(work: _Work, solid: shapes.Mesh, folder: Path) -> tuple[str, list[shapes.Mesh]]:
    cfg, primitive = work.cfg, work.asset.primitive
    if primitive is not None:
        off = shapes.primitive_deviation(primitive, solid[0])
        volume_off = abs(shapes.primitive_volume(primitive) / solid_moments(*solid)[0] - 1)
        if off <= cfg.primitive_fit_m and volume_off <= 0.1:
            return f"primitive: {primitive.type}, {off * 1e3:.1f} mm off", []
    excess = shapes.hull_excess(solid)
    material, _ = material_of(f"{work.asset.text} {work.asset.name}")
    if excess <= (cfg.vessel_excess if material.areal else cfg.hull_excess):
        return f"hull: {excess:.2f} x the solid's volume", [shapes.convex_hull(solid[0])]
    error = None
    for remesh in (False, True):
        outcome = run_child(
            "decomposition",
            _decomposition(work, solid, folder, remesh=remesh),
            timeout_s=cfg.coacd_timeout_s,
            log=folder / "coacd.log",
        )
        (folder / "coacd.log").unlink(missing_ok=True)
        error = outcome.error
        if error is None:
            break
    if error is not None:
        method = f"hull: decomposition failed ({error.message.splitlines()[0]}); {excess:.2f} x the solid's volume"
        return method, [shapes.convex_hull(solid[0])]
    parts = sorted(folder.glob("part_*.obj"))
    hulls = [read_obj(part) for part in parts]
    for part in parts:
        part.unlink()
    total = sum(shapes.hull_volume(hull.vertices) for hull in hulls) / solid_moments(*solid)[0]
    return f"coacd: {len(hulls)} hulls, {total:.2f} x the solid's volume", [(h.vertices, h.faces) for h in hulls]


def _decomposition(work: _Work, solid: shapes.Mesh, folder: Path, *, remesh: bool) -> Callable[[], int]:
    """Runs in a child of its own: CoACD is native code that can hang or crash."""
    cfg = work.cfg

    def run() -> int:
        hulls = shapes.decompose(
            solid,
            max_hulls=cfg.coacd_max_hulls,
            threshold=cfg.coacd_threshold,
            max_faces=cfg.coacd_max_faces,
            seed=cfg.seed,
            remesh=remesh,
        )
        if not hulls:
            raise IntegrityError("no hull came back")
        for index, hull in enumerate(hulls):
            write_obj(TexturedMesh(*hull), folder / f"part_{index:03d}.obj")
        return len(hulls)

    return run


def _colliders(asset: ObjectAsset, folder: Path) -> tuple[Collider, ...]:
    hulls = sorted(path.name for path in folder.glob("*.obj"))
    if not hulls:
        return (Collider(primitive=asset.primitive),)
    return tuple(Collider(mesh=f"colliders/{asset.name}/{name}") for name in hulls)


def _on_table(
    objects: list[PhysicalObject], reconstruction: Reconstruction, simulator: Simulator, cfg: RestConfig, out: Path
) -> list[PhysicalObject]:
    """Objects at rest on a table that is widened below those that stand across, or would fall over, its seen edge."""
    margins = [TABLE_MARGIN_M for _ in objects]
    spawned, fallen = objects, [False for _ in objects]
    for _ in range(2):
        polygon = carrying_polygon(reconstruction, objects, margins, out)
        write_table_collider(reconstruction, polygon, out / TABLE_FILE)
        spawned = _rest(objects, simulator, cfg, out)
        fallen = [item.pose.position[2] < FALLEN_M for item in spawned]
        if not any(fallen):
            return spawned
        margins = [FALL_MARGIN_M if down else margin for down, margin in zip(fallen, margins, strict=True)]
    names = ", ".join(item.asset.name for item, down in zip(spawned, fallen, strict=True) if down)
    warn(f"fell off the table: {names}")
    return spawned


def carrying_polygon(
    reconstruction: Reconstruction, objects: Sequence[PhysicalObject], margins: Sequence[float], files: Path
) -> Array:
    """The support's polygon (K, 2), widened to reach a margin [m] beyond the foot of every object.

    files: folder of the objects' meshes
    """
    outlines = []
    for item in objects:
        points = transform_points(pose_to_matrix(item.asset.pose), read_obj(files / item.asset.mesh).vertices)
        outlines.append(points[points[:, 2] < points[:, 2].min() + 0.02, :2])
    return shapes.footprint_hull(np.array(reconstruction.support.polygon), outlines, margins)


def table_polygon(physics: Physics) -> Array:
    """(K, 2) counter-clockwise outline [m] of the table top that the objects rest on."""
    vertices = read_obj(physics.path(TABLE_FILE)).vertices
    return shapes.outline(vertices[vertices[:, 2] > -1e-6, :2])


def write_table_collider(reconstruction: Reconstruction, polygon: Array, path: Path) -> None:
    """The table top as a slab below z = 0."""
    vertices, faces = shapes.prism(polygon, -max(reconstruction.support.thickness_m, 0.01), 0.0)
    write_obj(TexturedMesh(vertices, faces), path)


# ------------------------------------------------------------------ rest


def _rest(objects: list[PhysicalObject], simulator: Simulator, cfg: RestConfig, out: Path) -> list[PhysicalObject]:
    """Write the two test scenes (one in a viscous medium) and move every object to where it rests."""
    table = TableFiles(collider=TABLE_FILE)
    quiet = Contacts(viscosity=cfg.viscosity)
    (out / QUIET_FILE).write_text(scene_mjcf(objects, table, assets_dir=".", contacts=quiet, drawn=False))
    (out / SETTLE_FILE).write_text(scene_mjcf(objects, table, assets_dir=".", drawn=False))
    poses = come_to_rest(out / QUIET_FILE, out / SETTLE_FILE, objects, simulator, cfg)
    spawned = [_moved(item, pose) for item, pose in zip(objects, poses, strict=True)]
    (out / SETTLE_FILE).write_text(scene_mjcf(spawned, table, assets_dir=".", drawn=False))
    (out / QUIET_FILE).unlink()
    return spawned


def _moved(item: PhysicalObject, pose: Pose) -> PhysicalObject:
    before, after = pose_to_matrix(item.pose), pose_to_matrix(pose)
    moved_m = float(np.linalg.norm(after[:3, 3] - before[:3, 3]))
    moved_deg = float(np.rad2deg(rotation_angle(before, after)))
    if moved_m > 0.01 or moved_deg > 5:
        log(f"{item.asset.name} rests {moved_m * 1e3:.0f} mm, {moved_deg:.0f} deg from where it was captured")
    return item.model_copy(update={"pose": pose, "moved_m": moved_m, "moved_deg": moved_deg})
