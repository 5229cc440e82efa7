"""Bar: the same scene comes to the same rest in MuJoCo from `scene.xml` and in another reader of `scene.usda`.

    python -m bench.bars_scenes settled_twice

The other reader is Newton, when $BLUEPRINT_NEWTON_PYTHON names an interpreter that has it (docs/usd.md says how to make
one); else a MuJoCo model that `bench/usd_simulated.py` builds from nothing but the USD file. The row names what ran.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import mujoco
import numpy as np
from numpy.typing import NDArray
from pxr import Usd, UsdPhysics

from bench.rows import Row
from bench.scenes.rooms import KINDS, room
from bench.spine.settle import scratch
from bench.usd_simulated import settle_usd
from blueprint.backends.simulator_mujoco import SimulatorMujoco
from blueprint.model.artifacts import SimScene
from blueprint.stages.physics import PhysicsConfig, physics
from blueprint.stages.simscene import SimSceneConfig, simscene

SCENES, SECONDS, APART_M = 10, 2.0, 0.002
NEWTON = "BLUEPRINT_NEWTON_PYTHON"

Places = dict[str, NDArray[np.float64]]  # MJCF body -> (3,) position [m]


@dataclass(frozen=True)
class Settled:
    """kind: of scene; mujoco, other: where bodies came to rest, by the name of their MJCF body"""

    kind: str
    scene: SimScene


def rows(count: int = SCENES) -> Iterable[Row]:
    made = [made_scene(index, scratch() / f"twice_{index}") for index in range(count)]
    simulator, elsewhere = _elsewhere([item.scene.path(item.scene.usd) for item in made])
    worst, held, total = 0.0, 0, 0
    for index, (item, other) in enumerate(zip(made, elsewhere, strict=True)):
        here = settle_mjcf(item.scene.path(item.scene.mjcf), SECONDS)
        moving = sorted(set(here) & set(other))
        apart = {name: float(np.linalg.norm(here[name] - other[name])) for name in moving}
        complete = len(moving) == len(here) > 0
        far = max(apart, key=lambda name: apart[name]) if apart else ""
        yield Row(
            f"settled twice, {index} {item.kind}",
            f"{apart.get(far, np.inf) * 1e3:.2f} mm ({far}), {len(moving)}/{len(here)} bodies",
            f"<= {APART_M * 1e3:g} mm",
            complete and apart[far] <= APART_M,
        )
        worst, total = max(worst, apart.get(far, np.inf)), total + 1
        held += complete and apart[far] <= APART_M
    bound = f"{count} scenes, all <= {APART_M * 1e3:g} mm"
    yield Row(f"settled twice, {simulator}", f"{held}/{total}, {worst * 1e3:.2f} mm", bound, held == total == count)


def made_scene(index: int, folder: Path) -> Settled:
    """A procedural scene, through the real stages; made once for all groups of bars."""
    kept = folder / "simscene"
    if (kept / "artifact.json").exists():
        return Settled(list(KINDS)[index % len(KINDS)], SimScene.load(kept))
    kind, parts, found = room(index, folder)
    (folder / "physics").mkdir(parents=True, exist_ok=True)
    (folder / "simscene").mkdir(parents=True, exist_ok=True)
    held = physics(parts, found, SimulatorMujoco(), PhysicsConfig(), folder / "physics").save(folder / "physics")
    scene = simscene(found, held, SimSceneConfig(), folder / "simscene").save(folder / "simscene")
    return Settled(kind, scene)


def settle_mjcf(path: Path, seconds: float) -> Places:
    """Where every body that can move is after that time."""
    model = mujoco.MjModel.from_xml_path(str(path))
    data = mujoco.MjData(model)
    if model.nkey:
        mujoco.mj_resetDataKeyframe(model, data, 0)
    while data.time < seconds:
        mujoco.mj_step(model, data)
    mujoco.mj_kinematics(model, data)
    moving = [body for body in range(1, model.nbody) if model.body_weldid[body] != 0]
    return {model.body(body).name: data.xpos[body].copy() for body in moving}


def _elsewhere(paths: list[Path]) -> tuple[str, list[Places]]:
    python = os.environ.get(NEWTON)
    if not python:
        return "MuJoCo from the USD alone", [settle_usd(path, SECONDS) for path in paths]
    script = Path(__file__).parents[1] / "newton_settle.py"
    run = subprocess.run(
        [python, str(script), str(SECONDS), *map(str, paths)], capture_output=True, text=True, timeout=3600, check=True
    )
    results = [json.loads(line[7:]) for line in run.stdout.splitlines() if line.startswith("RESULT ")]
    return results[0]["simulator"], [_named(path, made["after"]) for path, made in zip(paths, results, strict=True)]


def _named(path: Path, after: dict[str, list[float]]) -> Places:
    """By the name of the MJCF body that the prim stands for."""
    stage = Usd.Stage.Open(str(path))
    names = {
        str(prim.GetPath()): prim.GetDisplayName() or prim.GetName()
        for prim in stage.Traverse()
        if prim.HasAPI(UsdPhysics.RigidBodyAPI)
    }
    return {names[prim]: np.array(row[:3]) for prim, row in after.items()}
