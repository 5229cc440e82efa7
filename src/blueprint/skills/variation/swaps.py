"""Other objects in the place of captured ones: drawn, put where those stood, and tried in physics before any episode.

The captured object's body, joint and place in qpos stay and keep their names, so states mean the same in every set; its
shape, mass, friction and looks are the asset's, written as those of captured objects are. An asset that finds no room,
or does not stay, gives way to the next one that is similar, or to none.
"""

from __future__ import annotations

import re
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from blueprint.backends.protocols import Simulator
from blueprint.formats.mjcf.objects import write_object
from blueprint.geometry.transforms import matrix_to_pose, pose_to_matrix, rotation_angle
from blueprint.model.artifacts import Library
from blueprint.model.library import LibraryAsset, Swap
from blueprint.model.scene import Collider, SceneBody
from blueprint.model.task import Family, Task
from blueprint.model.variation import SHARE, Level
from blueprint.skills.cell import Cell
from blueprint.skills.mounting import edge_distance
from blueprint.skills.placement import footprint, height_range, outline_gap
from blueprint.skills.variation.start import EDGE_M, STILL_M, STILL_RAD
from blueprint.skills.wording import Wording

Array = NDArray[np.float64]

SWAPPED = 0.5  # share of the objects that have similar assets, at level `high`
REST_S = 1.5
ROOM_M = 0.003  # to the outlines of others; starts vary around it until a grasp is free
INSIDE_M = 0.002  # deeper in anything than resting things are
# families whose goals are as true of another object: no hole, opening or sheet of measures of the captured one in them
CARRIED_OVER: frozenset[Family] = frozenset(
    {"lift", "place_region", "place_beside", "place_on", "stack", "rearrange", "push", "pull", "chain"}
)


def draw_swaps(
    rng: np.random.Generator, level: Level, library: Library, there: tuple[str, ...]
) -> dict[str, tuple[str, ...]]:
    """Body -> assets to try in its place, in random order; some of those that have similar ones."""
    able = [name for name in there if name in library.similar and rng.uniform() < SHARE[level] * SWAPPED]
    return {name: tuple(rng.permutation(sorted(library.similar[name])).tolist()) for name in able}


def swaps_of(swapped: Mapping[str, LibraryAsset], library: Library) -> dict[str, Swap]:
    """What is written down of it."""
    return {
        name: Swap(
            asset=asset.name,
            source=asset.source,
            sha256=asset.sha256,
            text=asset.item.asset.text,
            category=asset.item.asset.category,
            licence=asset.licence,
            likeness=library.similar[name][asset.name],
        )
        for name, asset in swapped.items()
    }


def swapped_body(body: SceneBody, asset: LibraryAsset) -> SceneBody:
    """The body's description with what stands there now."""
    item = asset.item
    return body.model_copy(
        update={
            "text": item.asset.text,
            "category": item.asset.category,
            "dims_m": item.asset.dims_m,
            "mass_kg": item.mass_kg.value,
            "collider_count": len(item.colliders),
            "ranges": item.ranges,
        }
    )


def write_swapped(
    source: Path, swaps: Mapping[str, LibraryAsset], library: Library, poses: Mapping[str, Array], file: Path
) -> None:
    """The MJCF `source` with other things in some bodies at `poses` (4, 4); `file`.parent/assets is there already."""
    tree = ET.parse(source)
    root = tree.getroot()
    world, shelf = root.find("worldbody"), root.find("asset")
    if world is None or shelf is None:
        raise ValueError(f"{source} is no workcell")
    for name, asset in swaps.items():
        item, into = asset.item, f"{name}__{asset.name}"  # one asset may stand in two places

        def brought(mesh: str) -> str:
            flat = "library__" + mesh.replace("/", "__")
            shutil.copyfile(library.path(mesh), file.parent / "assets" / flat)
            return flat

        own = {"name": into, "mesh": brought(item.asset.mesh), "texture": brought(item.asset.texture)}
        colliders = [c if c.mesh is None else Collider(mesh=brought(c.mesh)) for c in item.colliders]
        update = {
            "asset": item.asset.model_copy(update=own),
            "colliders": tuple(colliders),
            "pose": matrix_to_pose(poses[name]),
        }
        made = ET.Element("mujoco")
        write_object(made, item.model_copy(update=update), None, True)
        shelf.extend(made.find("asset") or ())
        body = made.find("worldbody/body")
        place = next(k for k, old in enumerate(world) if old.tag == "body" and old.get("name") == name)
        assert body is not None
        for one in (body, body.find("freejoint")):
            if one is not None:
                one.set("name", name)
        world[place] = body
    tree.write(file)


def standing(cell: Cell, swapped: Cell, name: str) -> Array:
    """(4, 4) where the new thing stands: its box's centre over the old one's, turned as that was, on the same height.

    swapped: the cell with the new thing, turned as it rested where it comes from
    """
    old, new = cell.pose(cell.home_qpos, name), swapped.pose(swapped.home_qpos, name)
    outlines = footprint(cell, name, old), footprint(swapped, name, new)
    angle = _long_side(outlines[0]) - _long_side(outlines[1])
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    T = new.copy()
    T[:3, :3] = turn @ new[:3, :3]
    T[2, 3] += height_range(cell, name, old)[0] - height_range(swapped, name, new)[0]
    outline = footprint(swapped, name, T)
    T[:2, 3] += (outlines[0].min(axis=0) + outlines[0].max(axis=0) - outline.min(axis=0) - outline.max(axis=0)) / 2
    return T


def _long_side(outline: Array) -> float:
    """Direction [rad] in which an outline (V, 2) is longest."""
    _, vectors = np.linalg.eigh(np.cov(outline.T))
    return float(np.arctan2(vectors[1, -1], vectors[0, -1]))


def why_not_there(
    cell: Cell, swapped: Cell, table: Array, simulator: Simulator, qpos: Array, names: list[str]
) -> tuple[Array, dict[str, str]]:
    """The state (nq,) to which the cell comes to rest from `qpos`, and of `names` those that cannot stand, and why."""
    faults = {name: why for name in names if (why := _no_room(cell, swapped, table, qpos, name))}
    simulation = simulator.open(swapped.file, qpos)
    bodies = {swapped.body(name): name for name in names}
    for a, b, distance, _ in simulation.contacts():
        for mine, other in ((a, b), (b, a)):
            if distance < -INSIDE_M and mine in bodies:
                met = swapped.model.body(other).name
                faults.setdefault(bodies[mine], f"it would stand {-1000 * distance:.1f} mm inside {met}")
    simulation.advance(swapped.ctrl(swapped.home_action.astype(np.float32)), REST_S)
    settled = simulation.qpos
    simulation.close()
    for name in names:
        before, after = swapped.pose(qpos, name), swapped.pose(settled, name)
        moved, turned = float(np.linalg.norm(after[:3, 3] - before[:3, 3])), rotation_angle(before, after)
        if moved > STILL_M or turned > STILL_RAD:
            faults.setdefault(name, f"it does not stay: {1000 * moved:.0f} mm, {np.rad2deg(turned):.0f} deg")
    return settled, faults


def _no_room(cell: Cell, swapped: Cell, table: Array, qpos: Array, name: str) -> str:
    """Why its outline does not fit between the others and the table's edge, or ""."""
    old = footprint(cell, name, cell.pose(cell.home_qpos, name))
    outlines = {other: footprint(swapped, other, swapped.pose(qpos, other)) for other in swapped.objects}
    edge = edge_distance(table, outlines[name])
    if edge < min(EDGE_M, edge_distance(table, old)):
        return f"only {1000 * edge:.0f} mm are left to the table's edge"
    for other, outline in outlines.items():
        if other != name and (gap := outline_gap(outlines[name], outline)) < ROOM_M:
            return f"only {1000 * gap:.0f} mm are left to {other}"
    return ""


def rest_pose(asset: LibraryAsset, over: Array) -> Array:
    """(4, 4) as it rested where it comes from, over (4, 4) the place of another."""
    T = pose_to_matrix(asset.item.pose)
    T[:3, 3] = over[:3, 3]
    return T


def reworded(task: Task, before: Wording, after: Wording, swapped: Mapping[str, Swap]) -> Task | None:
    """The task in the words of a scene with other objects; None where it cannot be asked of them."""
    named = {name for step in task.steps for name in (step.object, step.goal.target) if name}
    families = {task.goal.family, *(step.goal.family for step in task.steps)}
    if named & {*swapped} and not families <= CARRIED_OVER:
        return None
    if not swapped:
        return task
    new = {before.spoken[name].lower(): after.spoken[name] for name in named}
    if any(re.search(rf"\b{re.escape(old)}\b", task.instruction, re.IGNORECASE) is None for old in new):
        return task if all(old == text for old, text in new.items()) else None
    pattern = "|".join(rf"\b{re.escape(old)}\b" for old in sorted(new, key=len, reverse=True))
    words = re.sub(pattern, lambda found: new[found[0].lower()], task.instruction, flags=re.IGNORECASE)
    return task.model_copy(update={"instruction": words})
