"""Bars: verified episodes per hour with their pictures, from planning to encoded files, as the product runs them.

python -m bench.bars_episodes rates      or, with more: python -m bench.episodes.rates [CAPTURE] [--keep DIR]

Timed are the stages `episodes` and `recording`, on the clock of their receipts. On a machine that is busy with other
work that clock says little: then the rows count CPU time, and say so.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from bench.rows import Row, captures
from bench.spine.dataset import folder_of
from bench.spine.settle import BOXED, scratch
from blueprint.core.execute import cores
from blueprint.core.store import read_receipt
from blueprint.model.artifacts import Episodes

CAPTURE, COUNT = "posecnn_ycb_1", 24
CORES = 2
BUSY = 0.8  # CPU time per core and second on the clock, below which others had the cores
FULL = ("recording.width=640", "recording.height=480")
SMALL = ("recording.width=224", "recording.height=224", "recording.depth=false", "recording.segmentation=false")


def rows(
    capture: str = CAPTURE, count: int = COUNT, keep: Path | None = None, renderer: str = "raster"
) -> Iterable[Row]:
    scene = (keep or scratch()) / "render" / capture / "scene"
    sets = [f"episodes.count={count}", f"run.renderer={renderer}"]
    sets += ["reconstruction.boxes=boxes.json"] if capture in BOXED else []
    run(capture, scene, "tasks", sets)
    plan = run(capture, scene, "episodes", sets)
    good = sum(record.success for record in Episodes.load(folder_of(scene, "episodes")).episodes)
    plan_s = read_receipt(folder_of(scene, "episodes")).seconds
    yield _rate("state only", good, plan, plan_s, 3000)
    for name, some, bound in (
        ("2 cameras 640x480, colour + depth + labels", FULL, 200),
        ("2 cameras 224x224, colour", SMALL, 1000),
    ):
        draw = run(capture, scene, "recording", [*sets, *some])
        draw_s = read_receipt(folder_of(scene, "recording")).seconds
        yield _rate(f"{name} ({renderer})", good, plan + draw, plan_s + draw_s, bound)


def _rate(name: str, good: int, cpu_s: float, wall_s: float, bound: int) -> Row:
    """Of `good` episodes that took these times, the second on all cores of this machine."""
    hourly = {"wall": 3600 * good / max(wall_s, 1e-9), "cpu": CORES * 3600 * good / max(cpu_s, 1e-9)}
    busy = cpu_s < BUSY * min(cores(), CORES) * wall_s
    measured = f"{hourly['cpu']:.0f} by CPU time, busy machine" if busy else f"{hourly['wall']:.0f} on the clock"
    details = f"{cpu_s / max(good, 1):.2f} CPU s each, {good} in {wall_s:.0f} s"
    kind = "cpu" if busy else "wall"
    return Row(f"episodes/h, {name}", f"{measured} ({details})", f">= {bound}", good > 0 and hourly[kind] >= bound)


def run(capture: str, scene: Path, until: str, sets: list[str]) -> float:
    """CPU seconds of the command and its children, start-up included."""
    source = captures() / capture
    if capture == "demo":
        from blueprint.apps.demo import make_capture

        source = make_capture(scene.parent / "capture", 0)
    before = _cpu()
    command = [sys.executable, "-m", "blueprint.apps.cli", "run", str(source), "--scene", str(scene)]
    options = ["--simulator", "mujoco", "--until", until, *(part for one in sets for part in ("--set", one))]
    subprocess.run([*command, *options], check=True, env=os.environ | {"MUJOCO_GL": "egl"})
    return _cpu() - before


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("capture", nargs="?", default=CAPTURE)
    parser.add_argument("--count", type=int, default=COUNT)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--renderer", default="raster")
    asked = parser.parse_args()
    for row in rows(asked.capture, asked.count, asked.keep, asked.renderer):
        print(row, flush=True)
