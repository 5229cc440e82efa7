"""Which shape each rigid piece of an object collides with."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from blueprint.core.execute import map_items
from blueprint.formats.obj import read_obj
from blueprint.geometry.colliders import clearing
from blueprint.geometry.colliders import pieces as shapes
from blueprint.geometry.colliders.fit import fit_of, primitive_mesh
from blueprint.geometry.mesh import Mesh, is_closed
from blueprint.geometry.transforms import pose_to_matrix
from blueprint.model.artifacts import Articulation
from blueprint.model.materials import material_for
from blueprint.model.scene import Collider, ObjectAsset
from blueprint.stages.physics.config import ColliderConfig
from blueprint.stages.physics.convexes import METHOD_FILE, Chosen, Wanted, convex_colliders, write_chosen


@dataclass(frozen=True)
class Pieces:
    """The rigid pieces of an object: meshes of what is fixed to its base, and of every moving part by name."""

    base: Mesh
    moving: dict[str, Mesh]


@dataclass(frozen=True)
class _Work:
    asset: ObjectAsset
    articulation: Articulation
    cfg: ColliderConfig
    seed: int


def pieces_of(asset: ObjectAsset, articulation: Articulation) -> Pieces:
    """Read the meshes of an object, cut where it moves."""
    moved = {joint.child for joint in asset.joints}
    moving = {part.name: part for part in asset.parts if part.name in moved}
    fixed = [part.mesh for part in asset.parts if part.name not in moved] if moving else [asset.mesh]

    def mesh(file: str) -> Mesh:
        read = read_obj(articulation.path(file))
        return read.vertices, read.faces

    return Pieces(joined([mesh(file) for file in fixed]), {name: mesh(part.mesh) for name, part in moving.items()})


def joined(meshes: list[Mesh]) -> Mesh:
    """One mesh of several, side by side."""
    offsets = np.cumsum([0, *(len(vertices) for vertices, _ in meshes[:-1])])
    faces = [faces + offset for (_, faces), offset in zip(meshes, offsets, strict=True)]
    return np.concatenate([vertices for vertices, _ in meshes]), np.concatenate(faces)


def make_colliders(articulation: Articulation, cfg: ColliderConfig, seed: int, out: Path) -> None:
    """Write colliders/NAME/{000.obj ..., method.json} of every object, of its moving parts below NAME/PART/."""
    work = [(asset.name, _Work(asset, articulation, cfg, seed)) for asset in articulation.objects]
    parts = max((1 + len(asset.parts) for asset in articulation.objects), default=1)
    timeout = parts * (cfg.refinements + 2) * cfg.timeout_s + 60
    map_items(_collide, work, out / "colliders", what="colliders", timeout_s=timeout)


def colliders_of(asset: ObjectAsset, out: Path, part: str = "") -> tuple[tuple[Collider, ...], str]:
    """What `make_colliders` wrote for an object's base or one of its parts, and how it was made."""
    folder = out / "colliders" / asset.name / part
    record = json.loads((folder / METHOD_FILE).read_text())
    hulls = sorted(path.name for path in folder.glob("*.obj"))
    if not hulls:
        return (Collider(primitive=asset.primitive),), record["method"]
    place = folder.relative_to(out).as_posix()
    return tuple(Collider(mesh=f"{place}/{name}") for name in hulls), record["method"]


def _collide(work: _Work, folder: Path) -> None:
    """Choose colliders of the base and every moving part, cut the base clear of what sweeps past it, write all."""
    asset, cfg = work.asset, work.cfg
    pieces = pieces_of(asset, work.articulation)
    scratch = folder / ".scratch"
    vessel = material_for(asset.text, asset.name, asset.category)[0].areal
    excess = cfg.vessel_excess if vessel else cfg.hull_excess
    base = None if pieces.moving else _primitive(asset, pieces.base, cfg)
    if base is None:
        base = convex_colliders(Wanted(asset.name, pieces.base, excess, cfg, work.seed), scratch)
    moving = {}
    for name, mesh in pieces.moving.items():
        wanted = Wanted(f"{asset.name}/{name}", mesh, cfg.hull_excess, cfg, work.seed)
        moving[name] = convex_colliders(wanted, scratch)
        write_chosen(moving[name], folder / name)
    if moving:
        parts = {name: chosen.hulls for name, chosen in moving.items()}
        hulls = clearing.cleared(base.hulls, parts, asset.joints, cfg.clearance_m)
        if len(hulls) != len(base.hulls):
            fit = fit_of(pieces.base, hulls) if base.fit is not None else None
            base = Chosen(f"{base.method}, cut clear of its moving parts: {len(hulls)} hulls", hulls, fit)
    elif base.hulls:
        flat = shapes.flat_base(base.hulls, pose_to_matrix(asset.pose), cfg.flat_base_m)
        base = Chosen(base.method, flat, base.fit)
    write_chosen(base, folder)
    if scratch.exists():
        scratch.rmdir()


def _primitive(asset: ObjectAsset, mesh: Mesh, cfg: ColliderConfig) -> Chosen | None:
    """The asset's ideal shape, if the mesh lies within `primitive_fit_m` of it."""
    shape = asset.primitive
    if shape is None or not is_closed(mesh):
        return None
    off = shapes.primitive_deviation(shape, mesh[0])
    fit = fit_of(mesh, [primitive_mesh(shape)])
    if off > cfg.primitive_fit_m or abs(fit.volume_ratio - 1) > 0.1:
        return None
    return Chosen(f"primitive: {shape.type}, {off * 1e3:.1f} mm off", [], fit)
