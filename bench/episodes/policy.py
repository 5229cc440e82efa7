"""Bar: a policy that has seen nothing but our episodes does the task from starts it has not seen.

    python -m bench.bars_episodes policy
    python -m bench.episodes.policy [--keep DIR] [--sizes 50 100 200 500]

The scene is a real capture through our stages; the episodes are what the episodes stage makes, with its default
variation of the starts. The policy clones them by locally weighted regression (Atkeson, Moore and Schaal 1997). It sees
the poses of all objects at the start, lets the episodes whose objects stood alike vote for a grasp, and fits actions of
those that grasped so, aligned by skill segments, as a linear function of the object's pose. Its chunk is the whole
episode: it looks once. It is judged in our simulator by the judge of the episodes, from the starts of episodes of
another seed: starts from which the planner succeeded, so that the task can be done.
"""

from __future__ import annotations

import argparse
import json
import time
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
from blueprint.skills.rollout import SEGMENTS, Rollout
from blueprint.stages.episodes import EpisodesConfig, episodes
from blueprint.stages.tasks import TasksConfig, tasks
from blueprint.stages.workcell import WorkcellConfig, workcell

Array = NDArray[np.float64]

CAPTURE, TASK = "posecnn_ycb_1", "lift-tomato_soup_can"
SIZES, HELD_OUT, BOUND = (50, 100, 200, 500), 100, 0.90
SPARE = 1.1  # episodes made per episode needed: some fail
SEED_SHOWN, SEED_HELD_OUT = 0, 2  # with 1, an earlier policy was measured
SCALE = np.array([0.01, 0.01, np.deg2rad(6)])  # of the object's x, y [m] and turn [rad]: what counts as near
# chosen by leaving one out of the episodes shown
OTHERS_WEIGHT = 0.3  # of the neighbours' places against that of the object to handle
TOUCHING_M, FADES_M = 0.08, 0.05  # so near, a neighbour counts in full; farther, it fades
VOTERS, SHARED_RAD = 12, 0.35  # episodes that choose the grasp; joints at the grasp by which they share it
NEAR, SAME_RAD = 24, 0.7  # episodes fitted; joints at the grasp alike
ODD_RAD, OTHER_WAY_RAD = 0.05, 0.2  # residuals at the grasp and on the way that halve a weight
RIDGE = 0.05


def rows(sizes: Sequence[int] = SIZES, keep: Path | None = None, held_out: int = HELD_OUT) -> Iterable[Row]:
    folder = keep or scratch() / "policy"
    place, task = scene_and_task(folder)
    paths = demonstrations(place, task, round(SPARE * max(sizes)), SEED_SHOWN, folder / "shown")
    others = demonstrations(place, task, round(SPARE * held_out), SEED_HELD_OUT, folder / "held_out")
    starts = np.stack([np.load(path)["qpos"][0] for path in others[:held_out]])
    cell = Cell.load(place.path(place.mjcf), place.robots, place.objects)
    for size in sizes:
        if len(paths) < size or len(starts) < held_out:
            yield Row(f"policy from {size} episodes", f"{len(paths)} made, {len(starts)} starts", "enough", False)
            continue
        began = time.process_time()
        shown = Shown.of(cell, task, paths[:size])
        learned_s = time.process_time() - began
        good, causes = evaluated(cell, task, shown, starts, folder / f"trials_{size}")
        failed = ", ".join(f"{cause} x{count}" for cause, count in causes.most_common()) or "none"
        name = f"policy {task.id}, {size} episodes, {learned_s:.1f} CPU s"
        passed = good / len(starts) >= BOUND if size == max(sizes) else None
        bound = f">= {BOUND:.0%}; " if passed is not None else ""
        yield Row(name, f"{good}/{len(starts)} held-out starts", f"{bound}failed: {failed}", passed)


def scene_and_task(folder: Path, capture: str = CAPTURE, wanted: str = TASK) -> tuple[Workcell, Task]:
    """The capture's workcell, made once into `folder`, and the task."""
    if not (folder / "tasks" / "artifact.json").exists():
        scene = simscene_of(capture, folder / capture)
        made = workcell(scene, SimulatorMujoco(), WorkcellConfig(), _ready(folder / "workcell")).save(
            folder / "workcell"
        )
        family = wanted.partition("-")[0]
        cfg = TasksConfig(families=(family,))  # type: ignore[arg-type]
        tasks(made, scene, SimulatorMujoco(), cfg, _ready(folder / "tasks")).save(folder / "tasks")
    offered = {task.id: task for task in TaskSet.load(folder / "tasks").tasks}
    return Workcell.load(folder / "workcell"), offered[wanted]


def demonstrations(place: Workcell, task: Task, count: int, seed: int, out: Path) -> list[Path]:
    """States files of the episodes that succeeded, out of `count`."""
    made = made_episodes(place, task, EpisodesConfig(count=count, seed=seed), out)
    return [made.path(record.states) for record in made.episodes if record.success and record.states]


def made_episodes(place: Workcell, task: Task, cfg: EpisodesConfig, out: Path) -> Episodes:
    if not (out / "artifact.json").exists():
        episodes(place, TaskSet(tasks=(task,), refused={}), SimulatorMujoco(), cfg, _ready(out)).save(out)
    return Episodes.load(out)


def _ready(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


# ------------------------------------------------------------------ learning


@dataclass(frozen=True)
class Shown:
    """What the policy has seen of N episodes.

    poses: (N, 3) of the object at the start: x, y [m], turn [rad]; others: (N, 2 K) x, y of all other objects
    grasps: (N, n) commanded joints at the grasp; actions, segments: per episode, (T, n + 1) and (T,)
    """

    name: str
    poses: Array
    others: Array
    grasps: Array
    actions: tuple[Array, ...]
    segments: tuple[NDArray[np.int8], ...]

    @staticmethod
    def of(cell: Cell, task: Task, paths: Sequence[Path]) -> Shown:
        seen = []
        for path in paths:
            with np.load(path) as arrays:
                action, segment = arrays["action"].astype(float), arrays["segment"]
                grasp = action[segment == SEGMENTS.index("grasp")][:1, :-1]
                if len(grasp):  # an episode without a grasp (a failure labelled as a success) shows nothing to bend
                    seen.append((*_places(cell, task.object, arrays["qpos"][0]), grasp[0], action, segment))
        poses, others, grasps, actions, segments = zip(*seen, strict=True)
        return Shown(task.object, np.array(poses), np.array(others), np.array(grasps), actions, segments)

    def chunk(self, pose: Array, others: Array) -> Array:
        """(T, n + 1) actions for a start: of an episode that began alike, bent to the start by its likes."""
        far = (((self.poses - pose) / SCALE) ** 2).sum(axis=1)
        leader = self._leader(far + OTHERS_WEIGHT * self._unlike(pose, others))
        alike = [i for i in np.argsort(far) if self._same_way(int(i), leader)][:NEAR]
        chosen = np.array(alike if leader in alike else [*alike, leader])
        weights = np.exp(-0.5 * far[chosen] / max(float(np.median(far[chosen])), 1e-6))
        weights[chosen == leader] *= 3
        x = np.column_stack([np.ones(len(chosen)), (self.poses[chosen] - pose) / SCALE])
        rows = np.array([_aligned(self.actions[i], self.segments[i], self.segments[leader]) for i in chosen])
        ways = rows[:, :, :-1].reshape(len(rows), -1)
        for _ in range(4):  # episodes that grasp differently, or go another way there, fade out
            odd = np.abs(self.grasps[chosen] - x @ _fit(x, weights, self.grasps[chosen])).max(axis=1)
            weights = weights / (1 + (odd / ODD_RAD) ** 2)
            odd = np.abs(ways - x @ _fit(x, weights, ways)).max(axis=1)
            weights = weights / (1 + (odd / OTHER_WAY_RAD) ** 2)
        return _fit(x, weights, rows.reshape(len(rows), -1))[0].reshape(rows.shape[1:])

    def _unlike(self, pose: Array, others: Array) -> Array:
        """(N,) how differently the neighbours stood, seen from the object; those near it weigh most."""
        mine = others.reshape(-1, 2) - pose[:2]
        theirs = self.others.reshape(len(self.others), -1, 2) - self.poses[:, None, :2]
        weights = np.exp(-np.maximum(np.linalg.norm(mine, axis=1) - TOUCHING_M, 0) / FADES_M)
        return (weights * (((theirs - mine) / SCALE[0]) ** 2).sum(axis=2)).sum(axis=1)

    def _leader(self, unlike: Array) -> int:
        """Of the episodes most like the start, the nearest whose grasp most of them share."""
        nearest = np.argsort(unlike)[:VOTERS]
        weights = np.exp(-0.5 * unlike[nearest] / max(float(np.median(unlike[nearest])), 1e-6))
        shared = np.array([[self._same_way(int(i), int(j), SHARED_RAD) for j in nearest] for i in nearest])
        return int(nearest[np.argmax((shared @ weights) * weights**0.25)])

    def _same_way(self, index: int, leader: int, apart_rad: float = SAME_RAD) -> bool:
        kinds = [list(dict.fromkeys(self.segments[i])) for i in (index, leader)]
        return kinds[0] == kinds[1] and np.abs(self.grasps[index] - self.grasps[leader]).max() < apart_rad


def _places(cell: Cell, name: str, qpos: Array) -> tuple[Array, Array]:
    """(3,) x, y and turn of an object, (2 K,) x and y of all others."""
    at = cell.object_qpos[name]
    turn = Rotation.from_quat(qpos[at + 3 : at + 7], scalar_first=True).as_rotvec()[2]
    others = [qpos[k : k + 2] for other, k in cell.object_qpos.items() if other != name]
    return np.array([*qpos[at : at + 2], turn]), np.concatenate(others)


def _fit(x: Array, weights: Array, y: Array) -> Array:
    """Weighted ridge regression; the constant is hardly held back. The first row is the value at x = (1, 0, ...)."""
    weighted = x * weights[:, None]
    ridge = np.diag([1e-6, *np.ones(x.shape[1] - 1)]) * RIDGE * weights.sum()
    return np.linalg.solve(weighted.T @ x + ridge, weighted.T @ y)


def _aligned(action: Array, segment: NDArray[np.int8], like: NDArray[np.int8]) -> Array:
    """The actions with every skill segment stretched to the length that it has in `like`."""
    parts = []
    for kind in dict.fromkeys(like):
        rows, count = action[segment == kind], int((like == kind).sum())
        at = np.linspace(0, len(rows) - 1, count) if count > 1 else np.array([len(rows) - 1.0])
        parts.append(np.stack([np.interp(at, np.arange(len(rows)), column) for column in rows.T], axis=1))
    return np.concatenate(parts)


# ------------------------------------------------------------------ doing


def evaluated(cell: Cell, task: Task, shown: Shown, starts: Array, out: Path) -> tuple[int, Counter[str]]:
    """How many trials the judge passes, and what the others ended with."""
    items = [(f"{index:04d}", start) for index, start in enumerate(starts)]
    folders = map_items(partial(_trial, cell, task, shown), items, out, what="policy")
    verdicts = [json.loads((folder / "verdict.json").read_text()) for folder in folders]
    causes = Counter(verdict["cause"] for verdict in verdicts if not verdict["success"])
    return sum(verdict["success"] for verdict in verdicts), causes


def _trial(cell: Cell, task: Task, shown: Shown, start: Array, folder: Path) -> None:
    fps = EpisodesConfig().fps
    simulation = SimulatorMujoco().open(cell.file, start)
    rollout = Rollout(simulation, cell, fps)
    chunk = shown.chunk(*_places(cell, task.object, start))
    openings = np.clip(chunk[:, -1], 0.0, cell.robot.gripper.max_opening_m)
    rollout.run("move", np.clip(chunk[:, :-1], *cell.arm_range.T), openings)
    arrays, robots = rollout.arrays(), tuple(view.robot for view in cell.views)
    evidence = Evidence(cell.model, robots, cell.objects, arrays["qpos"], arrays["contacts"], arrays["force"], fps)
    verdict = judge(task, evidence)
    told = {"success": verdict.success, "cause": verdict.cause, "detail": verdict.detail}
    (folder / "verdict.json").write_text(json.dumps(told))
    simulation.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    arguments = parser.parse_args()
    for row in rows(arguments.sizes, arguments.keep):
        print(row, flush=True)


if __name__ == "__main__":
    main()
