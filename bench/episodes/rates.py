"""Bars: verified episodes per hour with their pictures, from planning to encoded files, as the product runs them.

python -m bench.bars_episodes rates      or, with more: python -m bench.episodes.rates [CAPTURE] [--keep DIR]

Timed are the stages `episodes` and `recording`, which run a process per episode, as in `blueprint run`. On a machine
that is busy with other work the clock says little: then the rows count CPU time, and say so.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from bench.rows import Row
from bench.spine.settle import fresh, scratch, simscene_of
from blueprint.backends.renderer_mujoco import RendererMujoco
from blueprint.backends.renderer_raster import RendererRaster
from blueprint.backends.simulator_mujoco import SimulatorMujoco
from blueprint.core.execute import cores
from blueprint.model.artifacts import TaskSet, Workcell
from blueprint.stages.episodes import EpisodesConfig, episodes
from blueprint.stages.recording import RecordingConfig, recording
from blueprint.stages.tasks import TasksConfig, tasks
from blueprint.stages.workcell import WorkcellConfig, workcell

T = TypeVar("T")

CAPTURE, COUNT = "posecnn_ycb_1", 24
CORES = 2
BUSY = 0.8  # CPU time per core and second on the clock, below which others had the cores
FULL = RecordingConfig(width=640, height=480, depth=True, segmentation=True)
SMALL = RecordingConfig(width=224, height=224, depth=False, segmentation=False)
RENDERERS = {"raster": RendererRaster, "mujoco": RendererMujoco}


def rows(capture: str = CAPTURE, count: int = COUNT, keep: Path | None = None, name: str = "raster") -> Iterable[Row]:
    folder = (keep or scratch()) / capture
    scene = simscene_of(capture, folder)
    cell = workcell(scene, SimulatorMujoco(), WorkcellConfig(), fresh(folder / "workcell")).save(folder / "workcell")
    offered = tasks(cell, scene, SimulatorMujoco(), TasksConfig(), fresh(folder / "tasks"))
    yield from measure(cell, offered, folder, count, name)


def measure(cell: Workcell, offered: TaskSet, folder: Path, count: int, name: str) -> Iterable[Row]:
    cfg = EpisodesConfig(count=count)
    made, plan = _timed(lambda: episodes(cell, offered, SimulatorMujoco(), cfg, fresh(folder / "rated")))
    made.save(folder / "rated")
    good = sum(record.success for record in made.episodes)
    yield _rate("state only", good, *plan, 3000)
    for what, some, bound in (
        ("2 cameras 640x480, colour + depth + labels", FULL, 200),
        ("2 cameras 224x224, colour", SMALL, 1000),
    ):
        renderer = RENDERERS[name]()
        _, drawn = _timed(lambda some=some, r=renderer: recording(cell, made, r, some, fresh(folder / "recorded")))
        yield _rate(f"{what} ({name})", good, plan[0] + drawn[0], plan[1] + drawn[1], bound)


def _rate(name: str, good: int, cpu_s: float, wall_s: float, bound: int) -> Row:
    """Of `good` episodes that took these times, the second on all cores of this machine."""
    hourly = {"wall": 3600 * good / max(wall_s, 1e-9), "cpu": CORES * 3600 * good / max(cpu_s, 1e-9)}
    busy = cpu_s < BUSY * min(cores(), CORES) * wall_s
    measured = f"{hourly['cpu']:.0f} by CPU time, busy machine" if busy else f"{hourly['wall']:.0f} on the clock"
    details = f"{cpu_s / max(good, 1):.2f} CPU s each, {good} in {wall_s:.0f} s"
    kind = "cpu" if busy else "wall"
    return Row(f"episodes/h, {name}", f"{measured} ({details})", f">= {bound}", good > 0 and hourly[kind] >= bound)


def _timed(work: Callable[[], T]) -> tuple[T, tuple[float, float]]:
    """The result, CPU seconds of this process and the children it has reaped, and seconds on the clock."""
    before, start = _cpu(), time.perf_counter()
    done = work()
    return done, (_cpu() - before, time.perf_counter() - start)


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("capture", nargs="?", default=CAPTURE)
    parser.add_argument("--count", type=int, default=COUNT)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--renderer", default="raster", choices=sorted(RENDERERS))
    asked = parser.parse_args()
    for row in rows(asked.capture, asked.count, asked.keep, asked.renderer):
        print(row, flush=True)
