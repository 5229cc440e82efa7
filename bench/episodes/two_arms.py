"""Tasks for two arms on self-made scenes: `python -m bench.bars_episodes two_arms`.

The scenes are plain solids on a table between two Pandas: things to hand over, and wide ones to carry together.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import mujoco
import numpy as np

from bench.rows import Row
from blueprint.backends.simulator_mujoco import SimulatorMujoco
from blueprint.core.errors import InfeasibleError
from blueprint.model.artifacts import Episodes, SimScene, TaskSet, Workcell
from blueprint.model.scene import SceneBody, SettleTest
from blueprint.model.spatial import Pose
from blueprint.model.task import Family
from blueprint.stages.episodes import EpisodesConfig, episodes
from blueprint.stages.tasks import TasksConfig, tasks
from blueprint.stages.workcell import WorkcellConfig, workcell

SEEDS = 20
TABLE_HALF_M = (0.8, 0.7)


@dataclass(frozen=True)
class Part:
    """A box of a body: half sizes and centre [m]."""

    half: tuple[float, float, float]
    at: tuple[float, float, float] = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Thing:
    name: str
    parts: tuple[Part, ...]
    kg: float
    xy: tuple[float, float]
    yaw_deg: float = 0.0

    @property
    def bottom(self) -> float:
        return min(part.at[2] - part.half[2] for part in self.parts)


HANDOVER = (
    Thing("carton", (Part((0.03, 0.045, 0.105)),), 0.4, (0.02, 0.1), 20),
    Thing("baton", (Part((0.13, 0.018, 0.018)),), 0.25, (0.0, -0.12), 70),
    Thing("bottle", (Part((0.028, 0.028, 0.1)),), 0.45, (0.12, -0.02), 45),
)
BARS = tuple(Part((0.012, 0.05, 0.012), (x, 0.0, 0.02)) for x in (-0.2, 0.2))
CARRY = (
    Thing("plank", (Part((0.24, 0.03, 0.025)),), 0.7, (0.0, -0.14), 4),
    Thing("tray", (Part((0.2, 0.11, 0.008)), Part((0.23, 0.012, 0.03))), 0.8, (0.02, 0.16), -8),
)
SCENES: dict[Family, tuple[Thing, ...]] = {"handover": HANDOVER, "carry": CARRY}


def simscene(things: tuple[Thing, ...], out: Path) -> SimScene:
    """The things on a table at z = 0, over a floor 0.7 m below."""
    spec = mujoco.MjSpec()
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.impratio = 50.0
    box, world = mujoco.mjtGeom.mjGEOM_BOX, spec.worldbody
    world.add_camera(name="scene", pos=[0.0, -1.2, 0.9])
    world.add_geom(name="floor", type=mujoco.mjtGeom.mjGEOM_PLANE, size=[2, 2, 0.1], pos=[0, 0, -0.7])
    world.add_body(name="table").add_geom(name="table", type=box, size=[*TABLE_HALF_M, 0.015], pos=[0, 0, -0.015])
    bodies = []
    for thing in things:
        half = np.deg2rad(thing.yaw_deg) / 2
        pose = Pose(position=(*thing.xy, -thing.bottom), quat_wxyz=(float(np.cos(half)), 0.0, 0.0, float(np.sin(half))))
        body = world.add_body(name=thing.name, pos=pose.position, quat=pose.quat_wxyz)
        body.add_freejoint(name=thing.name)
        volume = sum(float(np.prod(part.half)) for part in thing.parts)
        for part in thing.parts:
            body.add_geom(type=box, size=part.half, pos=part.at, mass=thing.kg * float(np.prod(part.half)) / volume)
        reach = [np.abs(np.array(part.at)) + np.array(part.half) for part in thing.parts]
        dims = tuple((2 * np.max(reach, axis=0)).tolist())
        bodies.append(
            SceneBody(
                name=thing.name,
                text=thing.name,
                prim_path=f"/World/{thing.name}",
                mass_kg=thing.kg,
                dims_m=dims,
                pose=pose,
                collider_count=len(thing.parts),
            )
        )
    spec.compile()
    out.mkdir(parents=True, exist_ok=True)
    (out / "scene.xml").write_text(spec.to_xml())
    x, y = TABLE_HALF_M
    settle = SettleTest(
        simulator="none", seconds=0, objects=(), max_drift_m=0, max_drift_deg=0, max_penetration_m=0, passed=True
    )
    return SimScene(
        mjcf="scene.xml",
        bodies=tuple(bodies),
        cameras=(),
        settle=settle,
        table_polygon=((-x, -y), (x, -y), (x, y), (-x, y)),
    ).save(out)


def run(family: Family, seeds: int, out: Path, robots: tuple[str, str]) -> tuple[Workcell, TaskSet, Episodes]:
    """The stages, as a user runs them. Raises InfeasibleError when no task is feasible."""
    scene = simscene(SCENES[family], out / "scene")
    cell = workcell(scene, SimulatorMujoco(), WorkcellConfig(robots=robots), out / "workcell").save(out / "workcell")
    simulator = SimulatorMujoco()
    made = tasks(cell, scene, simulator, TasksConfig(families=(family,)), out / "tasks").save(out / "tasks")
    (out / "episodes").mkdir()
    done = episodes(cell, made, simulator, EpisodesConfig(count=seeds, seed=31), out / "episodes")
    return cell, made, done


def rows(seeds: int = SEEDS, robots: tuple[str, str] = ("franka_panda", "franka_panda")) -> Iterable[Row]:
    for family in SCENES:
        with tempfile.TemporaryDirectory() as scratch:
            try:
                _, made, done = run(family, seeds, Path(scratch), robots)
            except InfeasibleError as error:
                yield Row(f"two arms: {family}", str(error)[:60], "feasible", passed=False)
                continue
        first = np.mean([record.success and len(record.attempts) == 1 for record in done.episodes])
        within = np.mean([record.success for record in done.episodes])
        tasks_made = ", ".join(task.object for task in made.tasks)
        yield Row(
            f"two arms: {family} ({tasks_made}), first attempt",
            f"{first:.0%} of {seeds}",
            ">= 95 %",
            bool(first >= 0.95),
        )
        yield Row(f"two arms: {family}, within 3 retries", f"{within:.0%} of {seeds}", ">= 99 %", bool(within >= 0.99))
        for record in done.episodes:
            for attempt in record.attempts:
                if not attempt.success:
                    print(
                        f"     {record.task.id} episode {record.index}: {attempt.cause}: {attempt.detail}",
                        file=sys.stderr,
                    )
