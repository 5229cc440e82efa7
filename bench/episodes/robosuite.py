"""Bar: control steps per CPU second beside robosuite's scripted Lift and PickPlaceCan, stepping against stepping.

    BLUEPRINT_ROBOSUITE_PYTHON=... python -m bench.bars_episodes robosuite

The interpreter is one that has robosuite 1.5.2 and mujoco 3.3.7:

    uv venv ENV; uv pip install --python ENV/bin/python robosuite==1.5.2 mujoco==3.3.7

An environment step is one control period of 50 ms (20 Hz) of a Panda over a table with one can (robosuite's Lift: a
cube). The bar compares like with like: on both sides the clock runs only while a step is made. Theirs: `env.step`,
which is controller, physics (25 steps of 2 ms), observation and reward; resets and the script's own arithmetic are
free. Ours: from the action to the state after it, physics (12 steps) and the contacts with their forces, which a
rollout asks for at every step; planning and judging are free, and the actions are those of episodes that the judge has
passed.

What is not compared: their step has an operational-space controller and an observation dictionary, ours joint targets.

A row for information holds what a verified episode costs in all: frames of episodes that the judge has passed over all
CPU seconds of the stage and its children, which are grasps, starts, planning, trials, failed attempts, judging, files.
Nothing of the kind is counted on their side. No picture is drawn on either side, every library has one thread, and the
two run one after another, twice, in turn.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import mujoco
import numpy as np

from bench.rows import Row
from bench.spine.settle import fresh, scratch
from blueprint.backends.simulator_mujoco import SimulatorMujoco
from blueprint.model.artifacts import Episodes, SimScene, TaskSet, Workcell
from blueprint.model.scene import SceneBody, SettleTest
from blueprint.model.spatial import Pose
from blueprint.skills.cell import Cell
from blueprint.stages.episodes import EpisodesConfig, episodes
from blueprint.stages.tasks import TasksConfig, tasks
from blueprint.stages.workcell import WorkcellConfig, workcell

PYTHON = "BLUEPRINT_ROBOSUITE_PYTHON"
HZ, EPISODES, ROUNDS, BOUND = 20, 60, 2, 10.0
CAN_RADIUS_M, CAN_HEIGHT_M, CAN_KG = 0.033, 0.101, 0.35
TABLE_HALF_M = (0.4, 0.4)  # robosuite's table is 0.8 m square
PAIRS = {"Lift": "lift", "PickPlaceCan": "place_region"}  # their task -> our family


@dataclass
class Spent:
    """Control steps and CPU seconds, and how many episodes succeeded."""

    steps: int = 0
    seconds: float = 0.0
    tried: int = 0
    good: int = 0

    def add(self, steps: int, seconds: float, tried: int, good: int) -> None:
        self.steps, self.seconds = self.steps + steps, self.seconds + seconds
        self.tried, self.good = self.tried + tried, self.good + good

    @property
    def rate(self) -> float:
        return self.steps / max(self.seconds, 1e-9)

    def __str__(self) -> str:
        return f"{self.rate:.0f}/CPU-s, {self.good}/{self.tried} succeed"


def rows(count: int = EPISODES) -> Iterable[Row]:
    python = os.environ.get(PYTHON)
    if not python:
        yield Row("robosuite", "not run", f"${PYTHON} names an interpreter with robosuite 1.5.2", passed=False)
        return
    scene = can_on_table(scratch() / "can" / "simscene")
    cell = workcell(scene, SimulatorMujoco(), WorkcellConfig(), fresh(scratch() / "can" / "workcell")).save(
        scratch() / "can/workcell"
    )
    whole, alone, theirs = ({name: Spent() for name in PAIRS} for _ in range(3))
    versions = ""
    for turn in range(ROUNDS):
        for made in scripted(python, count // ROUNDS, turn):
            theirs[made["task"]].add(made["steps"], made["step_cpu_s"], made["episodes"], made["successes"])
            versions = f"robosuite {made['robosuite']}, mujoco {made['mujoco']}"
        for name, family in PAIRS.items():
            whole[name].add(*verified(scene, cell, family, count // ROUNDS, turn))
            alone[name].add(*stepped(cell, scratch() / f"can/episodes_{family}_{turn}"))
    for name, family in PAIRS.items():
        yield Row(f"robosuite {name}, 20 Hz, steps alone", str(theirs[name]), versions, passed=None)
        yield Row(f"ours {family} of a can, 20 Hz, steps alone", str(alone[name]), "with contact forces", passed=None)
        share = whole[name].rate / theirs[name].rate
        yield Row(f"ours {family} of a can, planned and verified", f"{whole[name]}, {share:.2f}x", "", passed=None)
        bare = alone[name].rate / theirs[name].rate
        yield Row(f"env-steps per CPU second, {family} over {name}", f"{bare:.1f}x", f">= {BOUND:g}x", bare >= BOUND)


def scripted(python: str, count: int, seed: int) -> list[dict]:
    """What `robosuite_scripted.py` measured, a record per task."""
    script = Path(__file__).parents[1] / "robosuite_scripted.py"
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
    run = subprocess.run(
        [python, str(script), str(count), str(seed)],
        capture_output=True,
        text=True,
        timeout=3600,
        check=True,
        env={**os.environ, **one_thread},
    )
    return [json.loads(line[7:]) for line in run.stdout.splitlines() if line.startswith("RESULT ")]


def verified(scene: SimScene, cell: Workcell, family: str, count: int, seed: int) -> tuple[int, float, int, int]:
    """Frames of verified episodes, CPU seconds of the stage, episodes tried, verified."""
    kinds = TasksConfig(families=(family,))  # type: ignore[arg-type]
    offered = tasks(cell, scene, SimulatorMujoco(), kinds, fresh(scratch() / "can/tasks"))
    cfg = EpisodesConfig(count=count, fps=HZ, jitter_m=0.03, jitter_deg=180.0, seed=seed)
    out = fresh(scratch() / f"can/episodes_{family}_{seed}")
    before = _cpu_s()
    made = episodes(cell, TaskSet(tasks=offered.tasks, refused={}), SimulatorMujoco(), cfg, out).save(out)
    seconds = _cpu_s() - before
    good = [record for record in made.episodes if record.success]
    return sum(record.frames for record in good), seconds, len(made.episodes), len(good)


def stepped(cell: Workcell, out: Path) -> tuple[int, float, int, int]:
    """The same actions once more, without planning and judging: as `verified`, and CPU seconds of the steps alone.

    Raises AssertionError where a step ends elsewhere than it did in the episode: then it was not the same work.
    """
    steps, seconds, good, made = 0, 0.0, 0, Episodes.load(out)
    loaded = Cell.load(cell.path(cell.mjcf), cell.robots, cell.objects)
    for record in made.episodes:
        if not record.success or record.states is None:
            continue
        with np.load(made.path(record.states)) as arrays:
            actions, states = arrays["action"], arrays["qpos"]
        simulation = SimulatorMujoco().open(loaded.file, states[0])
        for action, state in zip(actions, states, strict=True):
            assert np.array_equal(simulation.qpos, state)
            before = time.process_time()
            simulation.advance(loaded.ctrl(action), 1.0 / HZ)
            simulation.contacts()
            seconds += time.process_time() - before
        steps, good = steps + len(actions), good + 1
    return steps, seconds, good, good


def _cpu_s() -> float:
    """Of this process and its finished children, user and system."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def can_on_table(folder: Path) -> SimScene:
    """A can in the middle of a table, with the options of our own scenes."""
    fresh(folder)
    spec = mujoco.MjSpec()
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.impratio = 50.0
    world, kinds = spec.worldbody, mujoco.mjtGeom
    world.add_geom(name="floor", type=kinds.mjGEOM_PLANE, size=[3, 3, 0.1], pos=[0, 0, -0.75])
    world.add_camera(name="scene", pos=[0.05, -0.9, 0.5])
    table = world.add_body(name="table")
    table.add_geom(name="table", type=kinds.mjGEOM_BOX, size=[*TABLE_HALF_M, 0.015], pos=[0, 0, -0.015])
    body = world.add_body(name="can", pos=[0, 0, CAN_HEIGHT_M / 2])
    body.add_freejoint(name="can")
    size = [CAN_RADIUS_M, CAN_HEIGHT_M / 2, 0]
    body.add_geom(name="can", type=kinds.mjGEOM_CYLINDER, size=size, mass=CAN_KG, friction=[0.5, 0.005, 0.0001])
    spec.compile()
    (folder / "scene.xml").write_text(spec.to_xml())
    x, y = TABLE_HALF_M
    rest = SettleTest(
        simulator="", seconds=0, objects=(), max_drift_m=0, max_drift_deg=0, max_penetration_m=0, passed=True
    )
    can = SceneBody(
        name="can",
        text="can",
        prim_path="/World/can",
        mass_kg=CAN_KG,
        dims_m=(2 * CAN_RADIUS_M, 2 * CAN_RADIUS_M, CAN_HEIGHT_M),
        pose=Pose(position=(0, 0, CAN_HEIGHT_M / 2), quat_wxyz=(1, 0, 0, 0)),
        collider_count=1,
    )
    return SimScene(bodies=(can,), cameras=(), table_polygon=((-x, -y), (x, -y), (x, y), (-x, y)), settle=rest).save(
        folder
    )


if __name__ == "__main__":
    np.set_printoptions(suppress=True)
    for row in rows():
        print(row, flush=True)
