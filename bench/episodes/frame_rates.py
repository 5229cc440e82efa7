"""Bars of the rate of frames: families that touch and feel their way do so as well at 30 and 60 Hz as at 15 Hz.

The judge accepts nothing beyond the robot's datasheet; how near to it commands come is reported.

python -m bench.bars_episodes frame_rates      or, with more: python -m bench.episodes.frame_rates [--keep DIR]
"""

from __future__ import annotations

import argparse
import itertools
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from bench.episodes import contact_families, pick_families
from bench.rows import Row
from bench.spine.settle import scratch
from blueprint.backends.simulator_mujoco import SimulatorMujoco
from blueprint.core.errors import InfeasibleError
from blueprint.model.artifacts import TaskSet
from blueprint.model.episode import EpisodeRecord
from blueprint.model.task import Family
from blueprint.stages.episodes import EpisodesConfig, episodes

FAMILIES: tuple[Family, ...] = ("insert", "wipe", "push", "pull")
RATES, COUNT = (15, 30, 60), 8
SEED = 616_161  # held out: development looked at seed 0
COST = 0.05  # of first attempts that another rate than the first may cost; how many succeed is the bar of `families`


def rows(keep: Path | None = None) -> Iterable[Row]:
    folder = keep or scratch()
    some = itertools.chain(pick_families.cases(folder, FAMILIES), contact_families.cases(folder, FAMILIES))
    records: dict[int, list[EpisodeRecord]] = {fps: [] for fps in RATES}
    for name, cell, _, found in some:
        for fps in RATES:
            out = folder / "frame_rates" / f"{name}_{fps}"
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir(parents=True)
            cfg, tasks = EpisodesConfig(count=COUNT, fps=fps, seed=SEED), TaskSet(tasks=found, refused={})
            try:
                made = episodes(cell, tasks, SimulatorMujoco(), cfg, out).episodes
            except InfeasibleError:
                made = ()
            records[fps] += made
            first = sum(record.attempts[0].success for record in made)
            yield Row(f"{name} at {fps} Hz", f"{first} of {COUNT} first attempts; {_worst(made)}", "(reported)", None)
    share = {fps: np.mean([*(one.attempts[0].success for one in made)] or [False]) for fps, made in records.items()}
    for fps, first in share.items():
        bound = share[RATES[0]] - COST
        yield Row(f"{fps} Hz: first attempts", f"{first:.1%}", f">= {bound:.1%}", bool(first >= bound > 0))


def _worst(made: Iterable[EpisodeRecord]) -> str:
    """The largest shares of the datasheet, over all attempts that came to their end."""
    checks = [check for record in made for attempt in record.attempts for check in attempt.checks]
    worst = {
        what: max((c.measured for c in checks if c.name.startswith(f"limits: {what}")), default=0.0)
        for what in ("velocity", "acceleration", "jerk")
    }
    return ", ".join(f"{what} {share:.2f}" for what, share in worst.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=Path)
    for row in rows(parser.parse_args().keep):
        print(row, flush=True)


if __name__ == "__main__":
    main()
