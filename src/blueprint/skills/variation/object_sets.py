"""Other sets of objects in the same workcell: some are not there, some are of another size, some are other things.

What is not there keeps its body and its place in qpos, without geometry: states, segmentation and names mean the same
in every set, but nothing is seen, touched or simulated of it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from blueprint.backends.protocols import Simulator
from blueprint.model.artifacts import Library, Workcell
from blueprint.model.library import LibraryAsset
from blueprint.model.scene import SceneBody
from blueprint.model.variation import SHARE, Level
from blueprint.skills.cell import Cell
from blueprint.skills.placement import footprint, height_range, outline_gap
from blueprint.skills.variation.swaps import rest_pose, standing, swapped_body, why_not_there, write_swapped

if TYPE_CHECKING:
    import mujoco

Array = NDArray[np.float64]

SETS: dict[Level, int] = {"none": 0, "low": 2, "medium": 4, "high": 8}
ABSENT = 0.5  # share of the objects that are not there, at level `high`
SCALE = 0.1  # +- of the size of a similar object, at level `high`
RESTS_ON_M = 0.01  # what starts this high above the table lies on something


@dataclass(frozen=True)
class ObjectSet:
    """absent: bodies that are not there; scaled: body -> factor on its size, its density unchanged.

    swapped: body -> what stands in its place
    """

    absent: tuple[str, ...] = ()
    scaled: dict[str, float] = field(default_factory=dict)
    swapped: dict[str, LibraryAsset] = field(default_factory=dict)

    def workcell(self, captured: Workcell) -> Workcell:
        """The workcell's description with these objects; its files are still those of the captured one."""
        there = (body for body in captured.bodies if body.name not in self.absent)
        bodies = (
            swapped_body(body, self.swapped[body.name]) if body.name in self.swapped else _resized(body, self.scaled)
            for body in there
        )
        return captured.model_copy(update={"bodies": tuple(bodies)})


def draw_set(rng: np.random.Generator, level: Level, cell: Cell, wanted: Iterable[str]) -> ObjectSet:
    """Some objects taken out or scaled; those that carry another stay. wanted: at least one of these stays, too."""
    share, carriers = SHARE[level], carrying(cell)
    free = [name for name in cell.objects if name not in carriers]
    absent = [name for name in free if rng.uniform() < share * ABSENT]
    factors = {name: round(float(rng.uniform(1 - share * SCALE, 1 + share * SCALE)), 4) for name in free}
    needed = sorted(set(wanted))
    if needed and set(needed) <= set(absent):
        absent.remove(needed[int(rng.integers(len(needed)))])
    return ObjectSet(tuple(absent), {name: factor for name, factor in factors.items() if name not in absent})


def carrying(cell: Cell) -> set[str]:
    """Objects over which another one lies: seen from above they overlap, and that one is off the table."""
    qpos = cell.home_qpos
    outlines = {name: footprint(cell, name, cell.pose(qpos, name)) for name in cell.objects}
    lying = [name for name in cell.objects if height_range(cell, name, cell.pose(qpos, name))[0] > RESTS_ON_M]
    return {
        name
        for name in cell.objects
        for other in lying
        if other != name and outline_gap(outlines[name], outlines[other]) < 0.0
    }


def write_set(
    cell: Cell,
    table: Array,
    chosen: ObjectSet,
    swaps: Mapping[str, tuple[str, ...]],
    library: Library,
    simulator: Simulator,
    file: Path,
    refused: dict[str, str],
) -> ObjectSet:
    """Write the set's model with the first of each body's `swaps` that can stand there, at rest.

    table: (K, 2) outline. Returns the set as written; adds to `refused` why an asset cannot stand there.
    """
    left = {
        name: [asset for some in names for asset in library.assets if asset.name == some]
        for name, names in swaps.items()
    }
    while True:
        swapped = {name: some[0] for name, some in left.items() if some}
        scaled = {name: factor for name, factor in chosen.scaled.items() if name not in swapped}
        now = replace(chosen, swapped=swapped, scaled=scaled)
        home = cell.home_qpos
        write_model(
            cell, now, file, library, {name: rest_pose(a, cell.pose(home, name)) for name, a in swapped.items()}
        )
        if not swapped:
            return now
        there = tuple(name for name in cell.objects if name not in now.absent)
        other = Cell.load(file, cell.robots or cell.robot, there)
        qpos = other.home_qpos
        for name in swapped:
            qpos = other.with_pose(qpos, name, standing(cell, other, name))
        settled, faults = why_not_there(cell, other, table, simulator, qpos, [*swapped])
        if not faults:
            write_model(cell, now, file, library, {name: other.pose(settled, name) for name in swapped})
            return now
        for name, why in faults.items():
            refused[f"{file.stem}: {name} <- {left[name].pop(0).name}"] = why


def write_model(
    cell: Cell, chosen: ObjectSet, file: Path, library: Library | None = None, poses: Mapping[str, Array] | None = None
) -> None:
    """The workcell's MJCF with another set of objects, its assets (linked, else copied) beside it.

    library, poses: of what is swapped, and where it stands (4, 4)
    """
    import mujoco

    assets = cell.file.parent / "assets"
    if assets.is_dir() and not (file.parent / "assets").exists():
        shutil.copytree(assets, file.parent / "assets", copy_function=_link)
    if library is not None and chosen.swapped:
        write_swapped(cell.file, chosen.swapped, library, poses or {}, file)
    spec: Any = mujoco.MjSpec.from_file(str(file if chosen.swapped else cell.file))
    lift = {}
    for name, factor in chosen.scaled.items():
        low = height_range(cell, name, cell.pose(cell.home_qpos, name))[0]
        height = float(cell.pose(cell.home_qpos, name)[2, 3])
        lift[name] = (1 - factor) * (low - height)  # it stands where it stood
        _scale(spec, spec.body(name), factor)
        spec.body(name).pos = spec.body(name).pos + np.array([0.0, 0.0, lift[name]])
    for name in chosen.absent:
        _empty(spec, spec.body(name))
    for key in spec.keys:
        qpos = np.array(key.qpos, dtype=float)
        for name, dz in lift.items():
            qpos[cell.object_qpos[name] + 2] += dz
        for name in chosen.swapped:
            at = cell.object_qpos[name]
            qpos[at : at + 7] = [*spec.body(name).pos, *spec.body(name).quat]
        key.qpos = qpos.tolist()
    spec.compile()
    file.write_text(spec.to_xml())


def _empty(spec: mujoco.MjSpec, body: Any) -> None:
    for geom in list(body.geoms):
        spec.delete(geom)
    body.explicitinertial = True
    body.mass, body.ipos, body.inertia, body.iquat = 1.0, [0.0] * 3, [1.0] * 3, [1.0, 0.0, 0.0, 0.0]
    body.gravcomp = 1.0  # it stays where it is


def _scale(spec: mujoco.MjSpec, body: Any, factor: float) -> None:
    """Sizes by the factor, masses by its cube, inertias by its fifth power."""
    meshes = set()
    for geom in body.geoms:
        geom.pos, geom.size = geom.pos * factor, geom.size * factor
        if np.isfinite(geom.mass):
            geom.mass *= factor**3
        if geom.meshname:
            meshes.add(geom.meshname)
    for name in sorted(meshes):
        mesh = spec.mesh(name)
        mesh.scale = np.asarray(mesh.scale) * factor
    if body.explicitinertial:
        body.mass *= factor**3
        body.inertia, body.ipos = body.inertia * factor**5, body.ipos * factor
        body.fullinertia = body.fullinertia * factor**5


def _resized(body: SceneBody, scaled: dict[str, float]) -> SceneBody:
    factor = scaled.get(body.name)
    if factor is None:
        return body
    x, y, z = (factor * side for side in body.dims_m)
    return body.model_copy(update={"dims_m": (x, y, z), "mass_kg": body.mass_kg * factor**3})


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copyfile(source, target)
