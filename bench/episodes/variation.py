"""Bars of variation: success with and without it, audited and replayed from the record alone; errors recovered from.

python -m bench.bars_episodes variation      or, with more: python -m bench.episodes.variation [--keep DIR] [--count N]
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from bench.audit import objections, rerun
from bench.rows import Row
from bench.spine.episodes import judged
from bench.spine.settle import fresh, scratch, simscene_of
from blueprint.backends.simulator_mujoco import SimulatorMujoco
from blueprint.core.artifact import ARTIFACT_FILE
from blueprint.model.artifacts import Episodes, SimScene, TaskSet, Workcell
from blueprint.stages.episodes import EpisodesConfig, Vary, episodes
from blueprint.stages.tasks import TasksConfig, tasks
from blueprint.stages.workcell import WorkcellConfig, workcell

CAPTURE = "posecnn_ycb_1"
COUNT = 30
MEDIUM = Vary(physics="medium", objects="medium", goals="medium")
COLLAPSE = 0.05  # of first attempts that variation may cost


def rows(keep: Path | None = None, count: int = COUNT) -> Iterable[Row]:
    folder = (keep or scratch()) / CAPTURE
    cell, taskset = _prepared(folder)
    first = {}
    for level, vary in (("none", Vary()), ("medium", MEDIUM)):
        made, seconds = _made(cell, taskset, folder / level, EpisodesConfig(count=count, vary=vary, seed=5))
        first[level] = sum(record.attempts[0].success for record in made.episodes) / count
        success = sum(record.success for record in made.episodes)
        yield Row(
            f"variation {level}: first attempt, within 3 retries",
            f"{first[level]:.1%}, {success / count:.1%} of {count} in {seconds:.0f} s",
            _causes(made),
            passed=None,
        )
        yield _replayed(f"variation {level}: audited, and equal in an open-loop replay", cell, made)
    cost = first["none"] - first["medium"]
    yield Row("variation: first attempts lost at medium", f"{cost:.1%}", f"<= {COLLAPSE:.0%}", cost <= COLLAPSE)
    cfg = EpisodesConfig(count=count, recover=2, inject_errors=1.0, retries=0, seed=6)
    made, _ = _made(cell, taskset, folder / "errors", cfg)
    erred = [r for r in made.episodes if r.variation is not None and r.variation.injected is not None]
    missed = [r for r in erred if r.attempts[0].recoveries or not r.success]
    mended = sum(r.success for r in missed)
    yield Row(
        "errors injected: missed first; of these mended in the same attempt",
        f"{len(missed)} of {len(erred)}; {mended} ({mended / max(len(missed), 1):.0%})",
        _causes(made),
        passed=None,
    )
    yield _replayed("errors injected: audited, and equal in an open-loop replay", cell, made)


def _causes(made: Episodes) -> str:
    causes = Counter(str(a.cause) for record in made.episodes for a in record.attempts if a.cause)
    return ", ".join(f"{cause} x{count}" for cause, count in causes.most_common()) or "no failed attempt"


def _prepared(folder: Path) -> tuple[Workcell, TaskSet]:
    """The scene is taken from `folder` where it was kept."""
    made = folder / "simscene"
    simscene = SimScene.load(made) if (made / ARTIFACT_FILE).is_file() else simscene_of(CAPTURE, folder)
    cell = workcell(simscene, SimulatorMujoco(), WorkcellConfig(), fresh(folder / "workcell")).save(folder / "workcell")
    return cell, tasks(cell, simscene, SimulatorMujoco(), TasksConfig(), fresh(folder / "tasks"))


def _made(cell: Workcell, taskset: TaskSet, folder: Path, cfg: EpisodesConfig) -> tuple[Episodes, float]:
    start = time.perf_counter()
    made = episodes(cell, taskset, SimulatorMujoco(), cfg, fresh(folder)).save(folder)
    return made, time.perf_counter() - start


def _replayed(name: str, cell: Workcell, made: Episodes) -> Row:
    """Every success again in plain MuJoCo, from its actions and what its record says of the variation."""
    false, equal, agreed, total = 0, 0, 0, 0
    for record in made.episodes:
        if not record.success or record.states is None or record.variation is None:
            continue
        total += 1
        model, physics = made.model(record, cell), record.variation.physics
        run = rerun(cell, made.path(record.states), made.fps, mjcf=model, physics=physics)
        false += bool(objections(cell, record.task, run))
        equal += run.largest_difference == 0.0 and tuple(run.qpos[0].tolist()) == record.variation.start
        agreed += judged(cell, made, record, run)
    measured = f"{false} false; {equal} equal, {agreed} judged a success, of {total}"
    return Row(name, measured, "0 false, all equal", false == 0 and equal == agreed == total > 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--count", type=int, default=COUNT)
    arguments = parser.parse_args()
    for row in rows(arguments.keep, arguments.count):
        print(row, flush=True)


if __name__ == "__main__":
    main()
