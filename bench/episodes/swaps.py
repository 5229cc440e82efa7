"""Bars of object sets: episodes in which things of other captures stand in the place of captured ones.

python -m bench.bars_episodes swaps      or, with more: python -m bench.episodes.swaps [--keep DIR] [--count N]

Three captures; the objects of the other two are each one's library. Episodes without a swap count nowhere.
"""

from __future__ import annotations

import argparse
import hashlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from bench.audit import objections, rerun
from bench.rows import Row
from bench.spine.episodes import judged
from bench.spine.settle import fresh, scratch, simscene_of
from blueprint.backends.simulator_mujoco import SimulatorMujoco
from blueprint.core.artifact import ARTIFACT_FILE
from blueprint.model.artifacts import Episodes, Library, Physics, SimScene, TaskSet, Workcell
from blueprint.model.episode import EpisodeRecord
from blueprint.stages.episodes import EpisodesConfig, Vary, episodes
from blueprint.stages.library import LibraryConfig, library
from blueprint.stages.tasks import TasksConfig, tasks
from blueprint.stages.workcell import WorkcellConfig, workcell

CAPTURES = ("posecnn_ycb_1", "posecnn_ycb_2", "posecnn_ycb_3")
COUNT, TWICE, SEED = 20, 6, 43  # episodes per capture, some half of them with a swap; of these run a second time
FIRST, WITHIN = 0.95, 0.99
TASKS = TasksConfig(families=("lift", "place_region", "place_beside", "place_on", "push"))


def rows(keep: Path | None = None, count: int = COUNT, seed: int = SEED) -> Iterable[Row]:
    folder = keep or scratch()
    cfg = EpisodesConfig(count=count, vary=Vary(objects="high"), seed=seed)
    runs: list[tuple[Workcell, Episodes, Episodes]] = []
    for name in CAPTURES:
        if not (folder / name / "simscene" / ARTIFACT_FILE).is_file():
            simscene_of(name, folder / name)
    for name in CAPTURES:
        cell, taskset = _prepared(folder / name)
        others = {other: str(folder / other / "physics") for other in CAPTURES if other != name}
        physics = Physics.load(folder / name / "physics")
        out = fresh(folder / "swaps" / name / "library")
        like = library(physics, SimulatorMujoco(), LibraryConfig(sources=others), out).save(out)
        first = _made(cell, taskset, like, cfg, folder / "swaps" / name / "first")
        again = cfg.model_copy(update={"count": min(TWICE, count)})
        runs.append((cell, first, _made(cell, taskset, like, again, folder / "swaps" / name / "second")))
    yield from _success([record for _, made, _ in runs for record in _swapped(made)])
    yield _replayed(runs)
    yield _same(runs)
    refused = Counter(
        why.split(": ")[-1].split(" mm")[0][:24] for _, made, _ in runs for why in made.refused_swaps.values()
    )
    said = ", ".join(f"{why} x{count}" for why, count in refused.most_common(3))
    yield Row("assets refused where they were to stand", str(sum(refused.values())), said, passed=None)


def _success(records: list[EpisodeRecord]) -> Iterable[Row]:
    tried = [record for record in records if any(attempt.seconds for attempt in record.attempts)]
    first = sum(record.attempts[0].success for record in tried) / max(len(tried), 1)
    within = sum(record.success for record in tried) / max(len(tried), 1)
    own = sum(record.variation is not None and record.task.object in record.variation.swapped for record in tried)
    causes = Counter(f"{r.task.id} {a.cause}" for r in tried for a in r.attempts if a.cause)
    yield Row(
        "episodes with another thing in some place: first attempt, within 3 retries",
        f"{first:.1%}, {within:.1%} of {len(tried)} ({own} handle the other thing)",
        f">= {FIRST:.0%}, >= {WITHIN:.0%}; {', '.join(f'{c} x{n}' for c, n in causes.most_common(4)) or 'none failed'}",
        first >= FIRST and within >= WITHIN,
    )


def _replayed(runs: list[tuple[Workcell, Episodes, Episodes]]) -> Row:
    false, equal, agreed, total = list[str](), 0, 0, 0
    for cell, made, _ in runs:
        for record in (one for one in _swapped(made) if one.success and one.states is not None):
            run = rerun(cell, made.path(str(record.states)), made.fps, mjcf=made.model(record, cell))
            found, total = objections(cell, record.task, run), total + 1
            false += [f"{record.task.id}: {'; '.join(found)}"] if found else []
            equal, agreed = equal + (run.largest_difference == 0.0), agreed + judged(cell, made, record, run)
    measured = f"{len(false)} false; {equal} equal, {agreed} judged a success, of {total} {' '.join(false[:2])}"
    return Row(
        "swaps: audited, open-loop replays", measured, "0 false, all equal", not false and equal == agreed == total > 0
    )


def _same(runs: list[tuple[Workcell, Episodes, Episodes]]) -> Row:
    pairs = [(_hash(a, x), _hash(b, y)) for _, a, b in runs for x, y in zip(a.episodes, b.episodes, strict=False)]
    equal = sum(one == other for one, other in pairs)
    return Row("episodes run twice: equal hashes", f"{equal} of {len(pairs)}", "all", equal == len(pairs))


def _hash(made: Episodes, record: EpisodeRecord) -> str:
    return "" if record.states is None else hashlib.sha256(made.path(record.states).read_bytes()).hexdigest()


def _swapped(made: Episodes) -> list[EpisodeRecord]:
    return [record for record in made.episodes if record.variation is not None and record.variation.swapped]


def _made(cell: Workcell, taskset: TaskSet, like: Library, cfg: EpisodesConfig, out: Path) -> Episodes:
    return episodes(cell, taskset, SimulatorMujoco(), cfg, fresh(out), like).save(out)


def _prepared(folder: Path) -> tuple[Workcell, TaskSet]:
    """Scene and tasks, from `folder` where they were kept."""
    simscene, out = SimScene.load(folder / "simscene"), folder / "swap_tasks"
    cell = (
        Workcell.load(folder / "workcell")
        if (folder / "workcell" / ARTIFACT_FILE).is_file()
        else workcell(simscene, SimulatorMujoco(), WorkcellConfig(), fresh(folder / "workcell")).save(
            folder / "workcell"
        )
    )
    if (out / ARTIFACT_FILE).is_file():
        return cell, TaskSet.load(out)
    return cell, tasks(cell, simscene, SimulatorMujoco(), TASKS, fresh(out)).save(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--count", type=int, default=COUNT)
    parser.add_argument("--seed", type=int, default=SEED)
    arguments = parser.parse_args()
    for row in rows(arguments.keep, arguments.count, arguments.seed):
        print(row, flush=True)


if __name__ == "__main__":
    main()
