"""Convex colliders of one mesh: a hull where that is close enough, else a decomposition, measured and cached."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from blueprint.core.errors import BlueprintError, IntegrityError
from blueprint.core.process import run_child
from blueprint.core.report import warn
from blueprint.formats.obj import TexturedMesh, read_obj, write_obj
from blueprint.geometry.colliders import decomposition
from blueprint.geometry.colliders import pieces as shapes
from blueprint.geometry.colliders.fit import Fit, fit_of, merged_hulls
from blueprint.geometry.colliders.planar_cuts import planar_pieces
from blueprint.geometry.colliders.revolved_cuts import revolved_hulls
from blueprint.geometry.mesh import Mesh, is_closed
from blueprint.stages.physics.cache import cached, mesh_key
from blueprint.stages.physics.config import ColliderConfig

METHOD_FILE = "method.json"
MERGE_SHARE = 0.6  # of hausdorff_m: what merging hulls may waste of it
RELEASE = 4  # raise it when the same mesh and settings give other hulls: old cache entries are then not found


@dataclass(frozen=True)
class Chosen:
    """hulls: empty where a primitive serves; fit: to the mesh, None where that is no solid"""

    method: str
    hulls: list[Mesh]
    fit: Fit | None


@dataclass(frozen=True)
class Wanted:
    """name: of the object, for messages; hull_excess: volume of a hull over the mesh's at which it will do"""

    name: str
    mesh: Mesh
    hull_excess: float
    cfg: ColliderConfig
    seed: int


def convex_colliders(wanted: Wanted, scratch: Path) -> Chosen:
    """One hull where it is close enough, else a decomposition. scratch: a folder that is left empty."""
    cfg, mesh = wanted.cfg, wanted.mesh
    hull = shapes.convex_hull(mesh[0])
    if not is_closed(mesh):
        warn(f"{wanted.name}: its mesh is an open surface; colliders follow that surface, thickened")
        return _decomposed(wanted, Chosen("hull: of an open surface", [hull], None), scratch)
    fit = fit_of(mesh, [hull])
    if fit.hausdorff_m <= cfg.hausdorff_m and fit.volume_ratio <= wanted.hull_excess:
        return Chosen(f"hull: {fit.volume_ratio:.2f} x the solid's volume", [hull], fit)
    return _decomposed(wanted, Chosen("hull", [hull], fit), scratch)


def write_chosen(chosen: Chosen, folder: Path) -> None:
    """Hulls as 000.obj ... and how they were made."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, hull in enumerate(chosen.hulls):
        write_obj(TexturedMesh(*hull), folder / f"{index:03d}.obj")
    record = {
        "method": chosen.method,
        "hausdorff_m": None if chosen.fit is None else round(chosen.fit.hausdorff_m, 6),
        "volume_ratio": None if chosen.fit is None else round(chosen.fit.volume_ratio, 4),
    }
    (folder / METHOD_FILE).write_text(json.dumps(record))


def read_chosen(folder: Path) -> Chosen:
    """What `write_chosen` wrote."""
    record = json.loads((folder / METHOD_FILE).read_text())
    hulls = [read_obj(path) for path in sorted(folder.glob("*.obj"))]
    fit = None if record["hausdorff_m"] is None else Fit(record["hausdorff_m"], record["volume_ratio"])
    return Chosen(record["method"], [(hull.vertices, hull.faces) for hull in hulls], fit)


def _decomposed(wanted: Wanted, hull: Chosen, scratch: Path) -> Chosen:
    """From the cache, or made; the hull with a warning where decomposition fails."""
    cfg = wanted.cfg
    key = mesh_key(wanted.mesh, release=RELEASE, seed=wanted.seed, settings=cfg.model_dump(mode="json"))
    scratch.mkdir(parents=True, exist_ok=True)
    try:
        cached("colliders", key, scratch, lambda folder: write_chosen(_best(wanted, folder), folder), use=cfg.cache)
    except BlueprintError as error:
        reason = error.message.splitlines()[0]
        ratio = "" if hull.fit is None else f"; {hull.fit.volume_ratio:.2f} x the solid's volume"
        return replace(hull, method=f"hull: decomposition failed ({reason}){ratio}")
    chosen = read_chosen(scratch)
    for path in (*scratch.glob("*.obj"), scratch / METHOD_FILE):
        path.unlink()
    return chosen


def _best(wanted: Wanted, folder: Path) -> Chosen:
    """The first decomposition within `hausdorff_m` of the mesh, each finer than the last; else the closest of them.

    Raises BlueprintError when no attempt gave anything.
    """
    cfg = wanted.cfg
    solid = is_closed(wanted.mesh)
    best: Chosen | None = None
    failure: BlueprintError | None = None
    for level in range(cfg.refinements + 1):
        try:
            how, hulls = _attempt(wanted, folder, level)
        except BlueprintError as error:
            failure = error
            break
        if not solid:
            return Chosen(f"{how}: {len(hulls)} hulls of an open surface", hulls, None)
        fit = fit_of(wanted.mesh, hulls)
        method = f"{how}: {len(hulls)} hulls, {fit.volume_ratio:.2f} x the solid's volume"
        if best is None or best.fit is None or fit.hausdorff_m < best.fit.hausdorff_m:
            best = Chosen(method, hulls, fit)
        if fit.hausdorff_m <= cfg.hausdorff_m:
            break
    if best is None:
        raise failure or IntegrityError("no decomposition")
    return best


def _attempt(wanted: Wanted, folder: Path, level: int) -> tuple[str, list[Mesh]]:
    """What made them, and the hulls of one attempt, connected piece by piece."""
    hulls: list[Mesh] = []
    how = "exact cuts"
    for piece in decomposition.pieces(wanted.mesh):
        if is_closed(piece):
            whole = shapes.convex_hull(piece[0])
            if fit_of(piece, [whole], samples=500).hausdorff_m <= wanted.cfg.hausdorff_m / 2:
                hulls.append(whole)
                continue
            flat = planar_pieces(piece, wanted.cfg.max_hulls)
            if flat is not None:
                hulls += [shapes.convex_hull(part[0]) for part in flat]
                continue
            turned = revolved_hulls(piece, wanted.cfg.hausdorff_m)
            if turned is not None:
                hulls += turned
                how = "cuts about the axis"
                continue
        how = wanted.cfg.decomposer
        made = _in_child(wanted, piece, folder, level)
        hulls += merged_hulls(piece, made, MERGE_SHARE * wanted.cfg.hausdorff_m) if is_closed(piece) else made
    return how, hulls


def _in_child(wanted: Wanted, piece: Mesh, folder: Path, level: int) -> list[Mesh]:
    """Decomposition is native code that can hang or crash: it runs in a process of its own, twice at most."""
    log = folder / "decomposition.log"
    error: BlueprintError | None = None
    for remesh in (False, True) if wanted.cfg.decomposer == "coacd" else (False,):
        run = _decomposition(wanted, piece, folder, level, remesh=remesh)
        outcome = run_child("decomposition", run, timeout_s=wanted.cfg.timeout_s, log=log)
        log.unlink(missing_ok=True)
        error = outcome.error
        parts = sorted(folder.glob("part_*.obj"))
        hulls = [(part.vertices, part.faces) for part in (read_obj(path) for path in parts)]
        for path in parts:
            path.unlink()
        if error is None:
            return hulls
    raise error or IntegrityError("no hull came back")


def _decomposition(wanted: Wanted, mesh: Mesh, folder: Path, level: int, *, remesh: bool) -> Callable[[], int]:
    cfg = wanted.cfg

    def run() -> int:
        if cfg.decomposer == "vhacd":
            hulls = decomposition.vhacd_hulls(mesh, max_hulls=cfg.max_hulls, resolution=50_000 * 3**level)
        else:
            hulls = decomposition.coacd_hulls(
                mesh,
                threshold=decomposition.threshold_for(mesh, cfg.hausdorff_m) * 0.6**level,
                max_hulls=cfg.max_hulls,
                max_faces=cfg.max_faces,
                seed=wanted.seed,
                remesh=remesh,
            )
        if not hulls:
            raise IntegrityError("no hull came back")
        for index, hull in enumerate(hulls):
            write_obj(TexturedMesh(*hull), folder / f"part_{index:03d}.obj")
        return len(hulls)

    return run
