"""Bars: every family of tasks over its scenes and seeds; audited, replayed, and run twice.

python -m bench.episodes.families [FAMILY ...] [--seeds N] [--keep DIR]
"""

from __future__ import annotations

import argparse
import hashlib
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.audit import objections, rerun
from bench.episodes import contact_families, pick_families
from bench.rows import Row
from bench.spine.episodes import judged
from bench.spine.settle import scratch
from blueprint.backends.simulator_mujoco import SimulatorMujoco
from blueprint.core.errors import InfeasibleError
from blueprint.core.execute import cores
from blueprint.model.artifacts import Episodes, TaskSet, Workcell
from blueprint.model.task import Task
from blueprint.stages.episodes import EpisodesConfig, episodes

SEEDS = 100
TWICE = 3  # episodes per case that are run a second time from nothing
FIRST, WITHIN, PER_HOUR, FAMILIES = 0.95, 0.99, 3000, 12


@dataclass
class Tally:
    """feasible: episodes with a start from which the task could be planned and tried; refused: those without."""

    feasible: int = 0
    refused: int = 0
    first: int = 0
    success: int = 0
    replayed: int = 0
    same: int = 0
    twice: int = 0
    seconds: float = 0.0
    false: list[str] = field(default_factory=list)
    causes: Counter[str] = field(default_factory=Counter)


def rows(only: Sequence[str] = (), keep: Path | None = None, seeds: int = SEEDS) -> Iterable[Row]:
    cases = [*pick_families.cases(keep, only)]
    if hasattr(contact_families, "cases"):
        cases += [*contact_families.cases(keep)]
    by_family: dict[str, list[tuple[Workcell, tuple[Task, ...]]]] = {}
    for family, cell, _, found in cases:
        if not only or family in only:
            by_family.setdefault(family, []).append((cell, found))
    tallies = []
    for family, some in by_family.items():
        tallies.append(_family(some, seeds, keep or scratch()))
        yield from _of_family(family, tallies[-1])
    yield from _of_all(tallies)


def _of_family(family: str, tally: Tally) -> Iterable[Row]:
    first, within = tally.first / max(tally.feasible, 1), tally.success / max(tally.feasible, 1)
    causes = ", ".join(f"{cause} x{count}" for cause, count in tally.causes.most_common(4)) or "none"
    yield Row(
        f"{family}: first attempt, within 3 retries",
        f"{first:.1%}, {within:.1%} of {tally.feasible}",
        f">= {FIRST:.0%}, >= {WITHIN:.0%}; refused {tally.refused}; failures: {causes}",
        first >= FIRST and within >= WITHIN,
    )
    per_hour = 3600 * tally.success / max(tally.seconds, 1e-9)
    yield Row(f"{family}: verified per hour, state only", f"{per_hour:.0f} on {cores()} cores", "", None)


def _of_all(tallies: list[Tally]) -> Iterable[Row]:
    feasible, success = sum(t.feasible for t in tallies), sum(t.success for t in tallies)
    yield Row("task families with episodes", str(len(tallies)), f">= {FAMILIES}", len(tallies) >= FAMILIES)
    first = sum(t.first for t in tallies) / max(feasible, 1)
    yield Row("first attempt, all families", f"{first:.1%} of {feasible}", f">= {FIRST:.0%}", first >= FIRST)
    within = success / max(feasible, 1)
    yield Row("within 3 retries, all families", f"{within:.1%} of {feasible}", f">= {WITHIN:.0%}", within >= WITHIN)
    false = [words for tally in tallies for words in tally.false]
    yield Row("false successes in the audit", f"{len(false)} of {success}" + "".join(false[:3]), "0", not false)
    replayed, same = sum(t.replayed for t in tallies), sum(t.same for t in tallies)
    yield Row("open-loop replays that succeed", f"{same} of {replayed}", "100 %", same == replayed > 0)
    twice = [t.twice for t in tallies]
    yield Row(
        "families whose second run has equal hashes", f"{sum(map(bool, twice))} of {len(twice)}", "all", all(twice)
    )
    per_hour = 3600 * success / max(sum(t.seconds for t in tallies), 1e-9)
    yield Row("verified episodes per hour, state only", f"{per_hour:.0f}", f">= {PER_HOUR}", per_hour >= PER_HOUR)


def _family(cases: list[tuple[Workcell, tuple[Task, ...]]], seeds: int, keep: Path) -> Tally:
    """The seeds dealt to the cases in turn."""
    tally, same = Tally(), True
    for k, (cell, found) in enumerate(cases):
        count = len(range(k, seeds, len(cases)))
        if not count:
            continue
        start = time.perf_counter()
        made = _run(cell, found, count, keep / "first")
        tally.seconds += time.perf_counter() - start
        if made is None:
            tally.refused += count
            continue
        _assess(tally, cell, made)
        again = _run(cell, found, min(TWICE, count), keep / "second")
        same = same and again is not None and _hashes(again) == _hashes(made)[: len(again.episodes)]
    tally.twice = int(same)
    return tally


def _run(cell: Workcell, found: tuple[Task, ...], count: int, out: Path) -> Episodes | None:
    import shutil

    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    taskset = TaskSet(tasks=found, refused={})
    try:
        return episodes(cell, taskset, SimulatorMujoco(), EpisodesConfig(count=count), out).save(out)
    except InfeasibleError:
        return None


def _hashes(made: Episodes) -> list[str]:
    return [
        "" if record.states is None else hashlib.sha256(made.path(record.states).read_bytes()).hexdigest()
        for record in made.episodes
    ]


def _assess(tally: Tally, cell: Workcell, made: Episodes) -> None:
    for record in made.episodes:
        if not any(attempt.seconds for attempt in record.attempts):
            tally.refused += 1
            continue
        tally.feasible += 1
        tally.first += record.attempts[0].success
        tally.success += record.success
        tally.causes.update(
            f"{record.task.id} {attempt.cause} ({attempt.detail})" for attempt in record.attempts if attempt.cause
        )
        if record.states is None or not record.success:
            continue
        run = rerun(cell, made.path(record.states), made.fps)
        found = objections(cell, record.task, run)
        if found:
            tally.false.append(f" {record.index} {record.task.id}: {'; '.join(found)}")
        tally.replayed += 1
        tally.same += judged(cell, made, record, run)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("families", nargs="*")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    arguments = parser.parse_args()
    for row in rows(tuple(arguments.families), arguments.keep, arguments.seeds):
        print(row, flush=True)


if __name__ == "__main__":
    main()
