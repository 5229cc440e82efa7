"""Other sets of objects in the same workcell: some are not there, some are of another size, some are other things.

What is not there keeps its body and its place in qpos, without geometry: states, segmentation and names mean the same
in every set, but nothing is seen, touched or simulated of it. What stands in the place of another has that one's body
and joint by name; shape, mass, friction and looks are its own, written as those of captured objects are.
"""

from __future__ import annotations

import os
import re
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from blueprint.backends.protocols import Simulator
from blueprint.formats.mjcf.objects import write_object
from blueprint.geometry.transforms import matrix_to_pose, pose_to_matrix, rotation_angle
from blueprint.model.artifacts import Library, Workcell
from blueprint.model.scene import LibraryAsset, SceneBody
from blueprint.model.task import Family, Task
from blueprint.model.variation import SHARE, Level
from blueprint.skills.cell import Cell
from blueprint.skills.placement import footprint, height_range, outline_gap
from blueprint.skills.scene import TaskScene
from blueprint.skills.variation.start import STILL_M, STILL_RAD
from blueprint.skills.wording import Wording

if TYPE_CHECKING:
    import mujoco

Array = NDArray[np.float64]

SETS: dict[Level, int] = {"none": 0, "low": 2, "medium": 4, "high": 8}
ABSENT = 0.5  # share of the objects that are not there, at level `high`
SCALE = 0.1  # +- of the size of a similar object, at level `high`
SWAPPED = 0.5  # share of those with similar things in the library in whose place one stands, at level `high`
REST_S = 1.5  # how long these are watched before any episode
INSIDE_M = 0.002  # deeper in anything than resting things are
# families whose goals are as true of another object: they hold no measure of the captured one's hole, rim or sole
CARRIED_OVER: frozenset[Family] = frozenset(
    ("lift", "place_region", "place_beside", "place_on", "stack", "rearrange", "push", "pull", "chain")
)
RESTS_ON_M = 0.01  # what starts this high above the table lies on something


Tried = dict[str, list[LibraryAsset]]  # body -> what to try in its place, best first


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
        bodies = [_resized(body, self.scaled) for body in captured.bodies if body.name not in self.absent]
        for k, body in enumerate(bodies):
            if body.name in self.swapped:
                kept = {"name": body.name, "prim_path": body.prim_path, "pose": body.pose}
                bodies[k] = self.swapped[body.name].body.model_copy(update=kept)
        return captured.model_copy(update={"bodies": tuple(bodies)})


def draw_set(
    rng: np.random.Generator, level: Level, cell: Cell, wanted: Iterable[str], fitted: Collection[str] = ()
) -> ObjectSet:
    """Some objects taken out or scaled; those that carry another stay. wanted: at least one of these stays, too.

    fitted: these are never scaled, since another one fits them
    """
    share, carriers = SHARE[level], carrying(cell)
    free = [name for name in cell.objects if name not in carriers]
    absent = [name for name in free if rng.uniform() < share * ABSENT]
    factors = {name: round(float(rng.uniform(1 - share * SCALE, 1 + share * SCALE)), 4) for name in free}
    needed = sorted(set(wanted))
    if needed and set(needed) <= set(absent):
        absent.remove(needed[int(rng.integers(len(needed)))])
    return ObjectSet(tuple(absent), {name: factors[name] for name in free if name not in {*absent, *fitted}})


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
    scene: TaskScene, chosen: ObjectSet, tried: Tried, library: Library, file: Path, refused: dict[str, str]
) -> ObjectSet:
    """Write the set's model with the first of each body's `tried` that can stand in its place, at rest.

    scene: as captured. Returns the set as written; adds to `refused` why others cannot stand there.
    """
    cell = scene.cell
    while True:
        swapped = {name: some[0] for name, some in tried.items() if some}
        scaled = {name: factor for name, factor in chosen.scaled.items() if name not in swapped}
        now = replace(chosen, swapped=swapped, scaled=scaled)
        poses = {name: pose_to_matrix(asset.item.pose) for name, asset in swapped.items()}
        write_model(cell, now, file, library, poses)
        if not swapped:
            return now
        other = Cell.load(file, cell.robots or cell.robot, tuple(o for o in cell.objects if o not in now.absent))
        qpos = other.home_qpos
        for name in swapped:
            qpos = other.with_pose(qpos, name, standing(cell, other, name))
        settled, faults = come_to_rest(other, scene.simulator, qpos, swapped)
        if not faults:
            write_model(cell, now, file, library, {name: other.pose(settled, name) for name in swapped})
            return now
        for name, why in faults.items():
            refused[f"{file.stem}: {name} <- {tried[name].pop(0).name}"] = why


def write_model(cell: Cell, chosen: ObjectSet, file: Path, library: Library, poses: Mapping[str, Array]) -> None:
    """The workcell's MJCF with another set of objects, its assets (linked, else copied) beside it.

    poses: (4, 4) of what is swapped
    """
    import mujoco

    assets = cell.file.parent / "assets"
    if assets.is_dir() and not (file.parent / "assets").exists():
        shutil.copytree(assets, file.parent / "assets", copy_function=_link)
    if chosen.swapped:
        write_swapped(cell.file, chosen.swapped, library, poses, file)
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


# ------------------------------------------------------------------ other things


def draw_swaps(rng: np.random.Generator, level: Level, library: Library, there: Iterable[str]) -> Tried:
    """Similar things to try in the places of some of what is `there`, in random order."""
    able = [name for name in there if name in library.similar and rng.uniform() < SHARE[level] * SWAPPED]
    some = {name: [asset for asset in library.assets if asset.name in library.similar[name]] for name in able}
    return {name: [assets[k] for k in rng.permutation(len(assets))] for name, assets in some.items()}


def write_swapped(
    source: Path, swaps: Mapping[str, LibraryAsset], library: Library, poses: Mapping[str, Array], file: Path
) -> None:
    """The MJCF `source` with other things in some bodies at `poses` (4, 4); `file`.parent/assets gets their files."""
    tree = ET.parse(source)
    for name, asset in swaps.items():
        made, into = ET.Element("mujoco"), f"{name}__{asset.name}"  # one asset may stand in two places
        thing = asset.item.asset.model_copy(update={"name": into})
        moved = asset.item.model_copy(update={"asset": thing, "pose": matrix_to_pose(poses[name])})
        write_object(made, moved, None, True)
        for one in made.iter():
            if own := one.get("file"):
                one.set("file", f"library/{asset.folder}/{own}")
                target = file.parent / "assets" / str(one.get("file"))
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(library.path(f"{asset.folder}/{own}"), target)
        shelf, world, (body,) = tree.find("asset"), tree.find("worldbody"), made.findall("worldbody/body")
        assert shelf is not None and world is not None
        shelf.extend(made.findall("asset/*"))
        for one in (body, *body.findall("freejoint")):
            one.set("name", name)
        world[[old.get("name") if old.tag == "body" else None for old in world].index(name)] = body
    tree.write(file)


def standing(cell: Cell, swapped: Cell, name: str) -> Array:
    """(4, 4) where the new thing stands: over the middle of the old one's outline, turned as that was, as high.

    swapped: the cell with the new thing in it, turned as it rested where it comes from
    """
    old, T = cell.pose(cell.home_qpos, name), swapped.pose(swapped.home_qpos, name)
    angle = np.arctan2(old[1, 0], old[0, 0]) - np.arctan2(T[1, 0], T[0, 0])  # objects' long sides lie along their x
    T[:2, :3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]] @ T[:2, :3]
    before, now = footprint(cell, name, old), footprint(swapped, name, T)
    T[:2, 3] += (before.min(axis=0) + before.max(axis=0) - now.min(axis=0) - now.max(axis=0)) / 2
    T[2, 3] += height_range(cell, name, old)[0] - height_range(swapped, name, T)[0]
    return T


def come_to_rest(cell: Cell, simulator: Simulator, qpos: Array, names: Iterable[str]) -> tuple[Array, dict[str, str]]:
    """The state (nq,) to which the cell comes from `qpos`, and of the bodies `names` those that cannot stay: why."""
    simulation, faults = simulator.open(cell.file, qpos), dict[str, str]()
    contacts = simulation.contacts()
    simulation.advance(cell.ctrl(cell.home_action.astype(np.float32)), REST_S)
    settled = simulation.qpos
    simulation.close()
    for name in names:
        own, before, after = cell.body(name), cell.pose(qpos, name), cell.pose(settled, name)
        moved, turned = float(np.linalg.norm(after[:3, 3] - before[:3, 3])), rotation_angle(before, after)
        if moved > STILL_M or turned > STILL_RAD:
            faults[name] = f"it does not stay: {1000 * moved:.0f} mm, {np.rad2deg(turned):.0f} deg"
        for a, b, distance, _ in contacts:
            if own in (a, b) and distance < -INSIDE_M:
                faults[name] = f"it would stand {-1000 * distance:.0f} mm inside {cell.model.body(a + b - own).name}"
    return settled, faults


def reworded(task: Task, before: Wording, after: Wording, swapped: Iterable[str]) -> Task | None:
    """The task in the words of a scene in which these are swapped; None where it cannot be asked of that scene."""
    named = {name for step in task.steps for name in (step.object, step.goal.target) if name}
    families = {task.goal.family, *(step.goal.family for step in task.steps)}
    if named & {*swapped} and not families <= CARRIED_OVER:
        return None
    new = {before.spoken[name].lower(): after.spoken[name] for name in named if swapped}
    new = {old: text for old, text in new.items() if old != text}
    pattern = "|".join(rf"\b{re.escape(old)}\b" for old in sorted(new, key=len, reverse=True)) or r"\Z(?!)"
    words = re.sub(pattern, lambda found: new[found[0].lower()], task.instruction, flags=re.IGNORECASE)
    if {found.lower() for found in re.findall(pattern, task.instruction, re.IGNORECASE)} != {*new}:
        return None
    return task.model_copy(update={"instruction": words})
