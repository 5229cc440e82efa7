"""Bars: demonstrations over every object that fits the gripper, audited and replayed.

python -m bench.spine.episodes [CAPTURE ...] [--keep DIR] [--seeds N]
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bench.audit import Rerun, objections, rerun
from bench.rows import Row
from bench.spine.settle import BOXED, fresh, scratch, simscene_of
from blueprint.backends.simulator_mujoco import SimulatorMujoco
from blueprint.core.execute import cores
from blueprint.model.artifacts import Episodes, SimScene, TaskSet, Workcell
from blueprint.model.episode import EpisodeRecord
from blueprint.model.task import Task
from blueprint.skills.cell import Cell
from blueprint.skills.goals import Evidence, judge
from blueprint.stages.episodes import EpisodesConfig, episodes
from blueprint.stages.tasks import TasksConfig, tasks
from blueprint.stages.workcell import WorkcellConfig, workcell

SEEDS = 10
FINGER_ROOM_M = 0.004  # beside the object, for each finger: an object fits if it leaves that much
REPLAYED_EVERY = 10


@dataclass
class Tally:
    """Over several captures. tried counts objects that fit but got no task, as failures of all their seeds."""

    tried: int = 0
    first: int = 0
    success: int = 0
    false: int = 0
    replayed: int = 0
    same: int = 0
    seconds: float = 0.0
    causes: Counter[str] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        for name in ("tried", "first", "success", "false", "replayed", "same", "seconds"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.causes += other.causes


def rows(names: Sequence[str] = BOXED, keep: Path | None = None, seeds: int = SEEDS) -> Iterable[Row]:
    total = Tally()
    for name in names:
        folder = (keep or scratch()) / name
        cell, chosen, taskless, made, seconds = demonstrations(name, folder, seeds)
        tally = assess(cell, made)
        tally.tried += seeds * len(taskless)
        tally.seconds = seconds
        if taskless:
            tally.causes["no task: " + ", ".join(taskless)] += seeds * len(taskless)
        causes = ", ".join(f"{cause} x{count}" for cause, count in tally.causes.most_common()) or "none"
        yield Row(
            f"episodes {name}: {len(chosen)} objects",
            f"first {tally.first}/{tally.tried}, in 4 tries {tally.success}/{tally.tried}",
            f"failed attempts: {causes}",
            passed=None,
        )
        total.add(tally)
    yield _share("episodes: success at the first attempt", total.first, total.tried, 0.85)
    yield _share("episodes: success within 3 retries", total.success, total.tried, 0.95)
    audited = f"{total.false} of {total.success}"
    yield Row("episodes: false successes in an audit of all", audited, "0", total.false == 0 < total.success)
    yield _share(f"episodes: open-loop replay of every {REPLAYED_EVERY}th", total.same, total.replayed, 1.0)
    per_hour = 3600 * total.success / max(total.seconds, 1e-9)
    yield Row("episodes: verified per hour, state only", f"{per_hour:.0f} on {cores()} cores", "goal 1500", passed=None)


def _share(name: str, good: int, total: int, bound: float) -> Row:
    share = good / max(total, 1)
    return Row(name, f"{share:.1%} ({good}/{total})", f">= {bound:.0%}", total > 0 and share >= bound)


def demonstrations(name: str, folder: Path, seeds: int) -> tuple[Workcell, list[str], list[str], Episodes, float]:
    """The workcell, objects with tasks, objects that fit but got none, the episodes, and their seconds on the clock."""
    simscene = simscene_of(name, folder)
    cell = workcell(simscene, SimulatorMujoco(), WorkcellConfig(), fresh(folder / "workcell")).save(folder / "workcell")
    offered = tasks(cell, simscene, SimulatorMujoco(), TasksConfig(), fresh(folder / "tasks")).save(folder / "tasks")
    narrow = fitting(simscene, cell.robot.gripper.max_opening_m)
    fits = [body.name for body in simscene.bodies if body.name in narrow or cell.reachable[body.name]]
    by_object = {thing: [t for t in offered.tasks if t.object == thing] for thing in fits}
    chosen = [thing for thing in fits if by_object[thing]]
    dealt: list[Task] = [by_object[thing][k % len(by_object[thing])] for k in range(seeds) for thing in chosen]
    start = time.perf_counter()
    cfg = EpisodesConfig(count=len(dealt))
    taskset = TaskSet(tasks=tuple(dealt), refused=offered.refused)
    made = episodes(cell, taskset, SimulatorMujoco(), cfg, fresh(folder / "episodes")).save(folder / "episodes")
    seconds = time.perf_counter() - start
    return cell, chosen, [thing for thing in fits if not by_object[thing]], made, seconds


def fitting(simscene: SimScene, opening_m: float) -> list[str]:
    """Objects whose narrower side, as they stand, fits between the open fingers; by their size alone."""
    return [body.name for body in simscene.bodies if min(body.dims_m[:2]) <= opening_m - 2 * FINGER_ROOM_M]


def assess(workcell_: Workcell, made: Episodes) -> Tally:
    """Run every success again from its file."""
    tally = Tally()
    for record in made.episodes:
        tally.tried += 1
        tally.first += record.attempts[0].success
        tally.success += record.success
        tally.causes.update(str(attempt.cause) for attempt in record.attempts if attempt.cause)
        if not record.success or record.states is None:
            continue
        physics = None if record.variation is None else record.variation.physics
        run = rerun(workcell_, made.path(record.states), made.fps, mjcf=made.model(record, workcell_), physics=physics)
        found = objections(workcell_, record.task, run)
        if found:
            tally.false += 1
            tally.causes[f"FALSE SUCCESS {record.index} {record.task.id}: {'; '.join(found)}"] += 1
        if record.index % REPLAYED_EVERY == 0:
            tally.replayed += 1
            tally.same += judged(workcell_, made, record, run)
    return tally


def judged(workcell_: Workcell, made: Episodes, record: EpisodeRecord, run: Rerun) -> bool:
    """The product's own verdict over the replay."""
    absent = () if record.variation is None else record.variation.absent
    names = tuple(name for name in workcell_.objects if name not in absent)
    cell = Cell.load(made.model(record, workcell_), workcell_.robots, names)
    inside = run.contacts[:, 0] < len(run.qpos) - 1
    evidence = Evidence(
        model=cell.model,
        robots=workcell_.robots,
        objects=cell.objects,
        qpos=run.qpos[:-1],
        contacts=run.contacts[inside],
        forces=run.forces[inside],
        fps=made.fps,
    )
    return judge(record.task, evidence).success


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=BOXED)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    arguments = parser.parse_args()
    np.set_printoptions(suppress=True)
    for row in rows(tuple(arguments.names), arguments.keep, arguments.seeds):
        print(row, flush=True)


if __name__ == "__main__":
    main()
