"""Bars: every family of tasks over its scenes and seeds; audited, replayed, and run twice.

python -m bench.episodes.families [FAMILY ...] [--seeds N] [--seed S] [--keep DIR]

With --keep, scenes are made once, and what a case of a family came to is written down there: the next call goes on
with the cases that are missing. To measure changed code, name a new folder. Starts of seeds 0, 5 and 41 were seen while
the families were written; the bars are of seed 42, which was not.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import resource
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from multiprocessing import get_context
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
from blueprint.model.episode import EpisodeRecord
from blueprint.model.task import Task
from blueprint.stages.episodes import EpisodesConfig, episodes

SEEDS, HELD_OUT = 100, 42
TWICE = 3  # episodes per case that are run a second time from nothing
FIRST, WITHIN, PER_HOUR, FAMILIES, AUDITED = 0.95, 0.99, 3000, 12, 1000
CAUSES = 4  # that a row names


@dataclass
class Tally:
    """feasible: episodes with a start from which the task could be planned and tried; refused: those without.

    same: replays that succeed again; twice, equal: episodes run a second time, and those with equal hashes
    seconds: CPU time of making episodes, once
    """

    feasible: int = 0
    refused: int = 0
    first: int = 0
    success: int = 0
    replayed: int = 0
    same: int = 0
    twice: int = 0
    equal: int = 0
    seconds: float = 0.0
    false: list[str] = field(default_factory=list)
    causes: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        for one in fields(Tally):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))


def rows(only: Sequence[str] = (), keep: Path | None = None, seeds: int = SEEDS, seed: int = HELD_OUT) -> Iterable[Row]:
    folder = keep or scratch()
    by_family: dict[str, list[tuple[Workcell, tuple[Task, ...]]]] = {}
    for family, cell, _, found in [*contact_families.cases(folder, only), *pick_families.cases(folder, only)]:
        by_family.setdefault(family, []).append((cell, found))
    tallies = []
    for family, some in by_family.items():
        tallies.append(Tally())
        for k, (cell, found) in enumerate(some):
            count = len(range(k, seeds, len(some)))
            if count:
                tallies[-1].add(_once(folder / f"seed_{seed}" / f"{family}-{k}", cell, found, count, seed))
        yield from _of_family(family, tallies[-1])
    yield from _of_all(tallies)


def _once(folder: Path, cell: Workcell, found: tuple[Task, ...], count: int, seed: int) -> Tally:
    """The case's tally, from its file if it has been run."""
    file = folder.with_suffix(".json")
    if file.exists() and (kept := json.loads(file.read_text()))["count"] == count:
        return Tally(**kept["tally"])
    tally = _case(folder, cell, found, EpisodesConfig(count=count, seed=seed))
    file.write_text(json.dumps({"count": count, "tally": asdict(tally)}))
    return tally


def _of_family(family: str, tally: Tally) -> Iterable[Row]:
    first, within = tally.first / max(tally.feasible, 1), tally.success / max(tally.feasible, 1)
    yield Row(
        f"{family}: first attempt, within 3 retries",
        f"{first:.1%}, {within:.1%} of {tally.feasible}",
        f">= {FIRST:.0%}, >= {WITHIN:.0%}; {tally.seconds / max(tally.success, 1):.1f} CPU s each; refused "
        f"{tally.refused} {_named(tally.reasons)}; failed attempts: {_named(tally.causes)}",
        first >= FIRST and within >= WITHIN,
    )


def _named(words: list[str]) -> str:
    counted = [f"{one} x{words.count(one)}" for one in sorted({*words}, key=words.count, reverse=True)[:CAUSES]]
    return "(" + ", ".join(counted) + ")" if counted else ""


def _of_all(tallies: list[Tally]) -> Iterable[Row]:
    feasible, success = sum(t.feasible for t in tallies), sum(t.success for t in tallies)
    yield Row("task families with episodes", str(len(tallies)), f">= {FAMILIES}", len(tallies) >= FAMILIES)
    first = sum(t.first for t in tallies) / max(feasible, 1)
    yield Row("first attempt, all families", f"{first:.1%} of {feasible}", f">= {FIRST:.0%}", first >= FIRST)
    within = success / max(feasible, 1)
    yield Row("within 3 retries, all families", f"{within:.1%} of {feasible}", f">= {WITHIN:.0%}", within >= WITHIN)
    false = [words for tally in tallies for words in tally.false]
    bar = f"0 of >= {AUDITED}"
    found = f"{len(false)} of {success}" + "".join(false[:3])
    yield Row("false successes in the audit", found, bar, not false and success >= AUDITED)
    replayed, same = sum(t.replayed for t in tallies), sum(t.same for t in tallies)
    yield Row("open-loop replays that succeed", f"{same} of {replayed}", "100 %", same == replayed > 0)
    twice, equal = sum(t.twice for t in tallies), sum(t.equal for t in tallies)
    yield Row("episodes whose second run has equal hashes", f"{equal} of {twice}", "all", equal == twice > 0)
    per_hour = cores() * 3600 * success / max(sum(t.seconds for t in tallies), 1e-9)
    words = f"{per_hour:.0f} by CPU time on {cores()} cores"
    yield Row("verified episodes per hour, state only, all families", words, f"goal {PER_HOUR}", None)


def _case(folder: Path, cell: Workcell, found: tuple[Task, ...], cfg: EpisodesConfig) -> Tally:
    tally, before = Tally(), _cpu()
    try:
        made = _run(cell, found, cfg, folder / "first")
    except InfeasibleError as error:  # not one success: all count as failures, whatever the reason
        return Tally(feasible=cfg.count, seconds=_cpu() - before, causes=[f"{error}; {error.hint}"] * cfg.count)
    tally.seconds = _cpu() - before
    with ProcessPoolExecutor(cores(), mp_context=get_context("fork")) as pool:
        for one in pool.map(partial(_assessed, cell, made), made.episodes):
            tally.add(one)
    again = _run(cell, found, cfg.model_copy(update={"count": min(TWICE, cfg.count)}), folder / "second")
    hashes, others = _hashes(made)[:TWICE], _hashes(again)
    tally.twice = len(hashes)
    tally.equal = sum(one == other for one, other in zip(hashes, others, strict=False))
    return tally


def _cpu() -> float:
    """CPU seconds of this process and those that it ran."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _run(cell: Workcell, found: tuple[Task, ...], cfg: EpisodesConfig, out: Path) -> Episodes:
    import shutil

    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    return episodes(cell, TaskSet(tasks=found, refused={}), SimulatorMujoco(), cfg, out).save(out)


def _hashes(made: Episodes) -> list[str]:
    return [
        "" if record.states is None else hashlib.sha256(made.path(record.states).read_bytes()).hexdigest()
        for record in made.episodes
    ]


def _assessed(cell: Workcell, made: Episodes, record: EpisodeRecord) -> Tally:
    """One episode; a success is run again from its file, audited, and judged again."""
    if not any(attempt.seconds for attempt in record.attempts):
        return Tally(refused=1, reasons=[f"{record.task.id} ({attempt.detail})" for attempt in record.attempts])
    failed = [
        f"{record.task.id} {one.cause} ({re.split(r': -?[0-9]', one.detail)[0]})"
        for one in record.attempts
        if one.cause
    ]
    tally = Tally(feasible=1, first=int(record.attempts[0].success), success=int(record.success), causes=failed)
    if record.states is not None and record.success:
        run = rerun(cell, made.path(record.states), made.fps)
        found = objections(cell, record.task, run)
        tally.false = [f" {record.index} {record.task.id}: {'; '.join(found)}"] if found else []
        tally.replayed, tally.same = 1, int(judged(cell, made, record, run))
    return tally


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("families", nargs="*")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--seed", type=int, default=HELD_OUT)
    arguments = parser.parse_args()
    for row in rows(tuple(arguments.families), arguments.keep, arguments.seeds, arguments.seed):
        print(row, flush=True)


if __name__ == "__main__":
    main()
