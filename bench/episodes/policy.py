"""Bar: a policy that has seen nothing but our episodes does the task from starts it has not seen.

    BLUEPRINT_TORCH_PYTHON=... python -m bench.bars_episodes policy
    BLUEPRINT_TORCH_PYTHON=... python -m bench.episodes.policy [--keep DIR] [--minutes M] [--sizes 50 100 200 500]

The interpreter is one that has PyTorch (2.13.0 was used) and NumPy. The scene is a real capture through our stages; the
episodes are what the episodes stage makes, with its default variation of the starts. The policy sees the arm's joints
and their speeds, the gripper, and the poses of all objects; from them it makes a chunk of targets (`policy_train.py`),
of which it carries out the first half, then looks again. It is judged in our simulator by the judge of the episodes,
from the starts of episodes of another seed: starts from which the planner succeeded, so that the task can be done.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from bench.rows import Row
from bench.spine.settle import scratch, simscene_of
from blueprint.backends.simulator_mujoco import SimulatorMujoco
from blueprint.core.execute import map_items
from blueprint.model.artifacts import Episodes, TaskSet, Workcell
from blueprint.model.task import Task
from blueprint.skills.cell import Cell
from blueprint.skills.goals import Evidence, judge
from blueprint.skills.rollout import Rollout
from blueprint.stages.episodes import EpisodesConfig, episodes
from blueprint.stages.tasks import TasksConfig, tasks
from blueprint.stages.workcell import WorkcellConfig, workcell

Array = NDArray[np.float64]

PYTHON = "BLUEPRINT_TORCH_PYTHON"
CAPTURE, TASK = "posecnn_ycb_1", "lift-tomato_soup_can"
SIZES, HELD_OUT, MINUTES, BOUND = (50, 100, 200, 500), 100, 5.0, 0.90
SPARE = 1.1  # episodes made per episode needed: some fail
SEED_SHOWN, SEED_HELD_OUT = 0, 1
CHUNK, EXECUTED, FLOW_STEPS = 16, 8, 10  # frames planned, frames carried out before looking again
PATIENCE = 1.25  # of the longest demonstration
NOISE_RAD, NOISE_RAD_S, NOISE_M = 0.01, 0.05, 0.0005  # added to what is seen in training
FREQUENCIES = 8  # as in policy_train.py


@dataclass(frozen=True)
class Sight:
    """What the policy sees of states, (T, D): joints [rad], opening [m], joint speeds [rad/s], and of every object
    position [m] and two axes of its orientation."""

    cell: Cell

    def __call__(self, qpos: Array, qvel: Array) -> Array:
        cell = self.cell
        dofs = [cell.model.jnt_dofadr[cell.joint(name)] for name in cell.robot.joints]
        seen = [qpos[:, cell.arm_qpos], qpos[:, cell.finger_qpos].sum(axis=1, keepdims=True), qvel[:, dofs]]
        for address in cell.object_qpos.values():
            turn = Rotation.from_quat(qpos[:, address + 3 : address + 7], scalar_first=True).as_matrix()
            seen += [qpos[:, address : address + 3], turn[:, :, 0], turn[:, :, 2]]
        return np.concatenate(seen, axis=1)

    @property
    def noise(self) -> Array:
        """(D,)"""
        n = len(self.cell.robot.joints)
        places = [NOISE_M] * 3 + [0.0] * 6
        return np.array([NOISE_RAD] * n + [NOISE_M] + [NOISE_RAD_S] * n + places * len(self.cell.object_qpos))


def rows(
    sizes: Sequence[int] = SIZES, minutes: float = MINUTES, keep: Path | None = None, held_out: int = HELD_OUT
) -> Iterable[Row]:
    python = os.environ.get(PYTHON)
    if not python:
        yield Row("policy", "not run", f"${PYTHON} names an interpreter with PyTorch", passed=False)
        return
    folder = keep or scratch() / "policy"
    place, task = scene_and_task(folder)
    shown = demonstrations(place, task, round(SPARE * max(sizes)), SEED_SHOWN, folder / "shown")
    others = demonstrations(place, task, round(SPARE * held_out), SEED_HELD_OUT, folder / "held_out")
    starts = np.stack([np.load(path)["qpos"][0] for path in others[:held_out]])
    for size in sizes:
        if len(shown) < size or len(starts) < held_out:
            yield Row(f"policy from {size} episodes", f"{len(shown)} made, {len(starts)} starts", "enough", False)
            continue
        weights, told = trained(python, place, shown[:size], minutes, folder / f"policy_{size}")
        longest = max(len(np.load(path)["action"]) for path in shown[:size])
        out = folder / f"policy_{size}" / "trials"
        good, causes = evaluated(place, task, weights, starts, round(PATIENCE * longest), out)
        name = f"policy {task.id}, {size} episodes, {told['cpu_s'] / 60:.1f} min CPU ({told['wall_s'] / 60:.1f} min)"
        passed = good / len(starts) >= BOUND if size == max(sizes) else None
        failed = ", ".join(f"{cause} x{count}" for cause, count in causes.most_common()) or "none"
        bound = f">= {BOUND:.0%}" if passed is not None else ""
        yield Row(name, f"{good}/{len(starts)} held-out starts", f"{bound} failed: {failed}".strip(), passed)


def scene_and_task(folder: Path) -> tuple[Workcell, Task]:
    """The capture's workcell, made once into `folder`, and the task."""
    if not (folder / "tasks" / "artifact.json").exists():
        scene = simscene_of(CAPTURE, folder / CAPTURE)
        made = workcell(scene, WorkcellConfig(), _ready(folder / "workcell")).save(folder / "workcell")
        family = TASK.partition("-")[0]
        cfg = TasksConfig(families=(family,))  # type: ignore[arg-type]
        tasks(made, scene, SimulatorMujoco(), cfg, _ready(folder / "tasks")).save(folder / "tasks")
    offered = {task.id: task for task in TaskSet.load(folder / "tasks").tasks}
    return Workcell.load(folder / "workcell"), offered[TASK]


def demonstrations(place: Workcell, task: Task, count: int, seed: int, out: Path) -> list[Path]:
    """States files of the episodes that succeeded, out of `count`."""
    if not (out / "artifact.json").exists():
        cfg = EpisodesConfig(count=count, seed=seed)
        episodes(place, TaskSet(tasks=(task,), refused={}), SimulatorMujoco(), cfg, _ready(out)).save(out)
    made = Episodes.load(out)
    return [made.path(record.states) for record in made.episodes if record.success and record.states]


def _ready(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def cell_of(place: Workcell) -> Cell:
    return Cell.load(place.path(place.mjcf), place.robots, place.objects)


# ------------------------------------------------------------------ learning


def trained(python: str, place: Workcell, shown: Sequence[Path], minutes: float, out: Path) -> tuple[Path, dict]:
    """Weights and scales of a policy, and what its training said."""
    data, weights = _ready(out) / "data.npz", out / "weights.npz"
    scales = write_data(Sight(cell_of(place)), shown, data)
    script = Path(__file__).parents[1] / "policy_train.py"
    command = [python, str(script), str(data), str(weights), str(minutes), "0"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=3 * 3600, check=True)
    told = json.loads(next(line[7:] for line in run.stdout.splitlines() if line.startswith("RESULT ")))
    with np.load(weights) as layers:
        np.savez(out / "policy.npz", **layers, **scales)  # type: ignore[arg-type]
    return out / "policy.npz", told


def write_data(sight: Sight, shown: Sequence[Path], out: Path) -> dict[str, Array]:
    """Normalised observations and chunks of joint targets, relative to the joints seen, and gripper openings."""
    seen, chunks, n = [], [], len(sight.cell.robot.joints)
    for path in shown:
        with np.load(path) as arrays:
            observed, action = sight(arrays["qpos"], arrays["qvel"]), arrays["action"].astype(float)
        frames = np.minimum(np.arange(len(action))[:, None] + np.arange(CHUNK), len(action) - 1)
        chunk = action[frames]
        chunk[..., :n] -= observed[:, None, :n]
        seen.append(observed)
        chunks.append(chunk)
    observed, chunk = np.concatenate(seen), np.concatenate(chunks)
    scales = {
        "seen_mean": observed.mean(axis=0),
        "seen_std": np.maximum(observed.std(axis=0), 0.01),
        "chunk_mean": chunk.mean(axis=0),
        "chunk_std": np.maximum(chunk.std(axis=0), 0.005),
    }
    tie = np.zeros((observed.shape[1], *chunk.shape[1:]))
    for joint in range(n):
        tie[joint, :, joint] = -scales["seen_std"][joint] / scales["chunk_std"][:, joint]
    arrays = {
        "observed": (observed - scales["seen_mean"]) / scales["seen_std"],
        "chunks": ((chunk - scales["chunk_mean"]) / scales["chunk_std"]).reshape(len(chunk), -1),
        "noise": sight.noise / scales["seen_std"],
        "tie": tie.reshape(len(tie), -1),
    }
    np.savez(out, **{name: value.astype(np.float32) for name, value in arrays.items()})  # type: ignore[arg-type]
    return scales


class Policy:
    """The trained network in NumPy. origin: the noise that an episode's chunks are made from, one and the same, so that
    the policy keeps to the way that it has chosen."""

    def __init__(self, weights: Path, origin: np.random.Generator) -> None:
        with np.load(weights) as arrays:
            self._arrays = {name: arrays[name].astype(np.float32) for name in arrays.files}
        self._origin = origin.standard_normal(self._arrays["chunk_mean"].size, dtype=np.float32)

    def chunk(self, seen: Array) -> Array:
        """(CHUNK, n + 1) joint targets [rad] and gripper openings [m] for what is seen (D,)."""
        arrays = self._arrays
        observed = (seen - arrays["seen_mean"]) / arrays["seen_std"]
        made = self._origin
        for step in range(FLOW_STEPS):
            made = made + self._velocity(observed.astype(np.float32), made, (step + 0.5) / FLOW_STEPS) / FLOW_STEPS
        targets = made.reshape(arrays["chunk_mean"].shape) * arrays["chunk_std"] + arrays["chunk_mean"]
        n = targets.shape[1] - 1
        targets[:, :n] += seen[:n]
        return targets.astype(float)

    def _velocity(self, observed: NDArray, made: NDArray, t: float) -> NDArray:
        angles = np.float32(t * np.pi) * 2.0 ** np.arange(FREQUENCIES, dtype=np.float32)
        x = np.concatenate([observed, made, np.sin(angles), np.cos(angles)])
        last = max(int(name[1:]) for name in self._arrays if name[0] == "w" and name[1:].isdigit())
        for layer in range(last + 1):
            x = self._arrays[f"w{layer}"] @ x + self._arrays[f"b{layer}"]
            if layer < last:
                x = x / (1 + np.exp(-x))  # SiLU
        return x


# ------------------------------------------------------------------ doing


def evaluated(
    place: Workcell, task: Task, weights: Path, starts: Array, frames: int, out: Path
) -> tuple[int, Counter[str]]:
    """How many trials the judge passes, and what the others ended with."""
    cell = cell_of(place)
    items = [(f"{index:04d}", index) for index in range(len(starts))]
    folders = map_items(partial(_trial, cell, task, weights, starts, frames), items, out, what="policy")
    verdicts = [json.loads((folder / "verdict.json").read_text()) for folder in folders]
    causes = Counter(verdict["cause"] for verdict in verdicts if not verdict["success"])
    return sum(verdict["success"] for verdict in verdicts), causes


def _trial(cell: Cell, task: Task, weights: Path, starts: Array, frames: int, index: int, folder: Path) -> None:
    fps = EpisodesConfig().fps
    policy, sight = Policy(weights, np.random.default_rng([SEED_HELD_OUT, index])), Sight(cell)
    simulation = SimulatorMujoco().open(cell.file, starts[index])
    rollout = Rollout(simulation, cell, fps)
    while rollout.frames < frames:
        chunk = policy.chunk(sight(simulation.qpos[None], simulation.qvel[None])[0])[:EXECUTED]
        openings = np.clip(chunk[:, -1], 0.0, cell.robot.gripper.max_opening_m)
        rollout.run("move", np.clip(chunk[:, :-1], *cell.arm_range.T), openings)
    arrays = rollout.arrays()
    robots = tuple(view.robot for view in cell.views)
    evidence = Evidence(cell.model, robots, cell.objects, arrays["qpos"], arrays["contacts"], arrays["force"], fps)
    verdict = judge(task, evidence)
    told = {"success": verdict.success, "cause": verdict.cause, "detail": verdict.detail}
    (folder / "verdict.json").write_text(json.dumps(told))
    simulation.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--minutes", type=float, default=MINUTES)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    arguments = parser.parse_args()
    for row in rows(arguments.sizes, arguments.minutes, arguments.keep):
        print(row, flush=True)


if __name__ == "__main__":
    main()
