"""Bars: convex decomposition is quick and close, beside plain CoACD at its defaults on the same meshes.

python -m bench.scenes.decomposition [--keep DIR]      a fresh cache; CPU seconds, children included
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import median

import numpy as np
import trimesh

from bench.rows import Row, captures
from bench.scenes.rooms import bowl, door_cabinet, drawer_cabinet, mug
from bench.spine.settle import ISOLATED, assets_of, scratch
from blueprint.core.process import run_child
from blueprint.formats.obj import TexturedMesh, read_obj, write_obj
from blueprint.geometry.colliders.fit import fit_of
from blueprint.geometry.colliders.pieces import convex_hull
from blueprint.geometry.mesh import Mesh
from blueprint.stages.physics.config import ColliderConfig
from blueprint.stages.physics.convexes import Wanted, convex_colliders

LIMIT_S = 300.0


def rows(keep: Path | None = None) -> Iterable[Row]:
    """A row per mesh, ours and CoACD's, then the bars on the medians and on the largest distance of ours."""
    ours: list[tuple[float, float]] = []
    plain: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["BLUEPRINT_CACHE"] = str(Path(folder) / "cache")
        for name, mesh in meshes(keep or scratch()):
            seconds, hulls = _ours(name, mesh, Path(folder) / name)
            fit = fit_of(mesh, hulls)
            ours.append((seconds, fit.hausdorff_m))
            line = f"{len(hulls)} hulls {fit.hausdorff_m * 1e3:.1f} mm {seconds:.1f} s"
            seconds, hulls = _plain(mesh, Path(folder) / f"{name}_plain")
            if hulls:
                fit = fit_of(mesh, hulls)
                plain.append((seconds, fit.hausdorff_m))
                beside = f"CoACD: {len(hulls)} hulls {fit.hausdorff_m * 1e3:.1f} mm {seconds:.1f} s"
            else:
                beside = "CoACD: crashed"
            yield Row(f"decomposition {name}", line, beside, None)
    times, distances = zip(*ours, strict=True)
    other_times, other_distances = zip(*plain, strict=True)
    theirs = f"CoACD {median(other_times):.1f}"
    yield Row("decomposition, CPU seconds (median)", f"{median(times):.1f}", f"<= 4 ({theirs})", median(times) <= 4)
    theirs = f"CoACD {max(other_distances) * 1e3:.1f}"
    measured = f"{median(distances) * 1e3:.1f}, largest {max(distances) * 1e3:.1f} mm"
    yield Row("decomposition, Hausdorff distance", measured, f"all <= 3 mm ({theirs})", max(distances) <= 0.003)


def meshes(folder: Path) -> Iterator[tuple[str, Mesh]]:
    """Parametric solids, and those of the isolated captures that no single hull serves."""
    parts = {**{f"door_{k}": m for k, m in door_cabinet(0.45, 0.35, 0.5)[0].items()}}
    parts |= {f"drawers_{k}": m for k, m in drawer_cabinet(0.45, 0.35, 0.5)[0].items() if k != "drawer_1"}
    bottle = [(0.0, 0.0), (0.03, 0.0), (0.032, 0.01), (0.032, 0.1), (0.012, 0.13), (0.012, 0.16), (0.0, 0.16)]
    parts |= {"bowl": bowl(0.075, 0.055, 0.004), "mug": mug(0.04, 0.09)}
    parts["bottle"] = trimesh.creation.revolve(np.array(bottle), sections=32)
    parts["torus"] = trimesh.creation.torus(0.06, 0.015, major_sections=32, minor_sections=16)
    parts["stool"] = _stool()
    parts["banana"] = _banana()
    for name, mesh in parts.items():
        yield name, (np.asarray(mesh.vertices, dtype=float), np.asarray(mesh.faces, dtype=np.int64))
    for name in ISOLATED:
        if not (captures() / name).exists():
            continue
        made = assets_of(name, folder / name)
        for asset in made.objects:
            read = read_obj(made.path(asset.mesh))
            mesh = read.vertices, read.faces
            if fit_of(mesh, [convex_hull(mesh[0])]).hausdorff_m > 0.003:
                yield f"{name}: {asset.name}", mesh


def _stool() -> trimesh.Trimesh:
    seat = trimesh.creation.cylinder(0.16, 0.03, sections=40)
    seat.apply_translation((0, 0, 0.4))
    for angle in np.arange(3) * 2 * np.pi / 3 + 0.2:
        leg = trimesh.creation.box((0.03, 0.03, 0.4))
        leg.apply_translation((0.11 * np.cos(angle), 0.11 * np.sin(angle), 0.2))
        seat = seat.union(leg, engine="manifold")
    return seat


def _banana() -> trimesh.Trimesh:
    ring = trimesh.creation.torus(0.1, 0.018, major_sections=48, minor_sections=16)
    half = trimesh.creation.box((0.3, 0.3, 0.1))
    half.apply_translation((0.0, 0.2, 0.0))
    return ring.intersection(half, engine="manifold")


def _cpu_s() -> float:
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def _ours(name: str, mesh: Mesh, folder: Path) -> tuple[float, list[Mesh]]:
    folder.mkdir(parents=True)
    before = _cpu_s()
    chosen = convex_colliders(Wanted(name, mesh, 1.25, ColliderConfig(), 0), folder / "scratch")
    return _cpu_s() - before, chosen.hulls


def _plain(mesh: Mesh, folder: Path) -> tuple[float, list[Mesh]]:
    """CoACD as its documentation calls it, in a child that may crash."""
    folder.mkdir(parents=True)

    def work() -> int:
        import coacd

        coacd.set_log_level("error")
        parts = coacd.run_coacd(coacd.Mesh(mesh[0], mesh[1].astype(np.int32)))
        for index, (points, faces) in enumerate(parts):
            write_obj(TexturedMesh(np.asarray(points), np.asarray(faces, dtype=np.int64)), folder / f"{index:03d}.obj")
        return len(parts)

    before = _cpu_s()
    outcome = run_child("coacd", work, timeout_s=LIMIT_S, log=folder / "log")
    seconds = _cpu_s() - before
    if outcome.error is not None:
        return seconds, []
    hulls = [read_obj(path) for path in sorted(folder.glob("*.obj"))]
    return seconds, [(hull.vertices, hull.faces) for hull in hulls]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=Path)
    for row in rows(parser.parse_args().keep):
        print(row, flush=True)


if __name__ == "__main__":
    main()
