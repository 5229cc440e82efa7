"""Bars: in at least 50 scenes from captures, imports and procedural rooms, everything holds still, nothing penetrates.

python -m bench.scenes.stability [--rooms N] [--no-captures] [--keep DIR]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import trimesh

from bench.rows import Row
from bench.scenes.rooms import KINDS, room
from bench.spine.settle import BOXED, ISOLATED, physics_of, scratch
from blueprint.backends.simulator_mujoco import SimulatorMujoco
from blueprint.core.errors import BlueprintError
from blueprint.formats.obj import read_obj
from blueprint.geometry.transforms import pose_to_matrix
from blueprint.model.artifacts import Articulation, Physics, Reconstruction
from blueprint.stages.physics import PhysicsConfig, physics

ROOMS = 54
IMPORTED = (100, 101, 102, 103)  # rooms of other seeds, written as GLB and read back by `reconstructor import`
PENETRATION_M = 0.001


@dataclass(frozen=True)
class Scene:
    """moved: of every free object, from where it was captured [m]; unstable, deep: names; failure: why there is none"""

    name: str
    source: str
    objects: int = 0
    moved: tuple[float, ...] = ()
    unstable: tuple[str, ...] = ()
    deep: tuple[str, ...] = ()
    failure: str = ""


def rows(rooms: int = ROOMS, *, real: bool = True, keep: Path | None = None) -> Iterable[Row]:
    """A row per capture, import and kind of room, one per scene that fails, and the totals."""
    folder = keep or scratch()
    scenes: list[Scene] = []
    for scene in _scenes(rooms, folder / "stability", folder, real=real):
        scenes.append(scene)
        if scene.failure or scene.unstable or scene.deep:
            what = scene.failure or f"unstable {', '.join(scene.unstable)}; penetrating {', '.join(scene.deep)}"
            yield Row(f"stability {scene.name}", what, "made, stable, <= 1 mm deep", None)
    for source in dict.fromkeys(scene.source for scene in scenes):
        some = [scene for scene in scenes if scene.source == source]
        yield Row(f"stability, {source}", _summary(some), f"{len(some)} scenes", None)
    made = [scene for scene in scenes if not scene.failure]
    count = sum(scene.objects for scene in made)
    stable = 1 - sum(len(scene.unstable) for scene in made) / max(count, 1)
    deep = sum(len(scene.deep) for scene in made) / max(count, 1)
    moved = median([m for scene in made for m in scene.moved] or [0.0])
    yield Row("scenes", f"{len(made)} of {len(scenes)} made, {count} objects", ">= 50", len(made) >= 50)
    yield Row("stable objects", f"{stable:.2%}", ">= 99.9 %", stable >= 0.999)
    yield Row("penetrating objects", f"{deep:.2%}", "<= 0.5 %", deep <= 0.005)
    yield Row("median distance from the captured pose", f"{moved * 1e3:.2f} mm", "<= 3 mm", moved <= 0.003)


def _summary(scenes: list[Scene]) -> str:
    count = sum(scene.objects for scene in scenes)
    bad = sum(len(scene.unstable) for scene in scenes)
    deep = sum(len(scene.deep) for scene in scenes)
    moved = median([m for scene in scenes for m in scene.moved] or [0.0])
    return f"{count} objects, {bad} unstable, {deep} penetrating, moved {moved * 1e3:.2f} mm"


def _scenes(rooms: int, folder: Path, results: Path, *, real: bool) -> Iterator[Scene]:
    for index in range(rooms):
        kind = list(KINDS)[index % len(KINDS)]
        yield _judged(f"room {index} ({kind})", f"rooms: {kind}", lambda i=index: _room(i, folder / f"room_{i}"))
    for index in IMPORTED if rooms else ():
        kind = list(KINDS)[index % len(KINDS)]
        yield _judged(f"import {index} ({kind})", "imports", lambda i=index: _imported(i, folder / f"import_{i}"))
    for name in (*BOXED, *ISOLATED) if real else ():
        yield _judged(name, "captures", lambda n=name: physics_of(n, results / n))


def _room(index: int, folder: Path) -> Physics:
    if (folder / "physics/artifact.json").exists():
        return Physics.load(folder / "physics")
    _, articulation, reconstruction = room(index, folder)
    (folder / "physics").mkdir()
    return physics(articulation, reconstruction, SimulatorMujoco(), PhysicsConfig(), folder / "physics").save(
        folder / "physics"
    )


def _imported(index: int, folder: Path) -> Physics:
    """A scene as somebody else's file, through the stages as the command line runs them."""
    from blueprint.core import backends
    from blueprint.model.artifacts import Source
    from blueprint.stages.articulation import ArticulationConfig, articulation
    from blueprint.stages.assets import AssetsConfig, assets
    from blueprint.stages.capture import CaptureConfig, capture
    from blueprint.stages.reconstruction import ReconstructionConfig, reconstruction

    out = {part: folder / part for part in ("capture", "reconstruction", "assets", "articulation", "physics")}
    if (out["physics"] / "artifact.json").exists():
        return Physics.load(out["physics"])
    for path in out.values():
        path.mkdir(parents=True, exist_ok=True)
    glb = folder / "source/scene.glb"
    glb.parent.mkdir(exist_ok=True)
    _write_glb(*room(index, folder / "room")[1:], glb)
    source = Source(location=str(glb.parent), digest="bench")
    taken = capture(source, CaptureConfig(), out["capture"]).save(out["capture"])
    reader = backends.find("reconstructor", "import").load()
    scene = reconstruction(taken, reader, ReconstructionConfig(), out["reconstruction"]).save(out["reconstruction"])
    made = assets(taken, scene, AssetsConfig(), out["assets"]).save(out["assets"])
    moving = articulation(made, ArticulationConfig(), out["articulation"]).save(out["articulation"])
    return physics(moving, scene, SimulatorMujoco(), PhysicsConfig(), out["physics"]).save(out["physics"])


def _write_glb(furnished: Articulation, scene: Reconstruction, path: Path) -> None:
    """Every object, every fixed thing and the table as named nodes, y up as glTF has it."""
    up = trimesh.transformations.rotation_matrix(-np.pi / 2, (1, 0, 0))
    nodes = trimesh.Scene()
    table = trimesh.creation.box((1.2, 1.2, 0.03), transform=trimesh.transformations.translation_matrix((0, 0, -0.015)))
    nodes.add_geometry(table, node_name="table", transform=up)
    for asset in furnished.objects:
        mesh = read_obj(furnished.path(asset.mesh))
        solid = trimesh.Trimesh(mesh.vertices, mesh.faces)
        nodes.add_geometry(solid, node_name=asset.name, transform=up @ pose_to_matrix(asset.pose))
    for part in scene.statics:
        mesh = read_obj(scene.path(part.mesh))
        nodes.add_geometry(trimesh.Trimesh(mesh.vertices, mesh.faces), node_name=part.name, transform=up)
    nodes.export(path)


def _judged(name: str, source: str, make: Callable[[], Physics]) -> Scene:
    try:
        made = make()
    except (BlueprintError, TypeError) as error:
        return Scene(name, source, failure=f"{type(error).__name__}: {str(error).splitlines()[0]}")
    held = {item.asset.name for item in made.objects if item.asset.anchored}
    return Scene(
        name,
        source,
        len(made.objects),
        tuple(item.moved_m for item in made.objects if item.asset.name not in held),
        tuple(s.name for s in made.settle.objects if s.drift_m >= 0.01 or s.drift_deg >= 5.0),
        tuple(s.name for s in made.settle.objects if s.penetration_m > PENETRATION_M),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rooms", type=int, default=ROOMS)
    parser.add_argument("--no-captures", action="store_true")
    parser.add_argument("--keep", type=Path)
    arguments = parser.parse_args()
    for row in rows(arguments.rooms, real=not arguments.no_captures, keep=arguments.keep):
        print(row, flush=True)


if __name__ == "__main__":
    main()
