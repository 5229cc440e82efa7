"""Bars of recording and dataset: sound by our check, read by the real lerobot, and how fast.

python -m bench.spine.dataset [CAPTURE] [--episodes N] [--keep DIR]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from bench.rows import Row, captures
from blueprint.core.store import Receipt, Scene, read_receipt
from blueprint.formats.lerobot.check import check_dataset
from blueprint.model.artifacts import Dataset, Episodes

ROOT = Path(__file__).parents[2]
TOYS = ROOT / "tests/lerobot"
LEROBOT = ROOT / ".venv-lerobot/bin/python"
CAPTURE = "posecnn_ycb_1"
RGB_ONLY = ("recording.depth=false", "recording.segmentation=false")
GOAL_STATE, GOAL_RGB = "reported (goal 1500)", "reported (goal 300)"


def rows(capture: str = CAPTURE, episodes: int = 12, keep: Path | None = None) -> Iterable[Row]:
    """The datasets of the tests, then the whole pipeline on a real capture."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = keep or Path(scratch)
        toys = folder / "toys"
        subprocess.run([sys.executable, str(TOYS / "write_datasets.py"), str(toys)], check=True)
        roots = sorted(toys.glob("*/dataset"))
        scene = folder / capture
        count = f"episodes.count={episodes}"
        yield from rates(scene, captures() / capture, (count,))
        root = scene / "outputs/dataset"
        yield checked([*roots, root])
        yield read_by_lerobot([*roots, root])


def rates(scene: Path, capture: Path, settings: tuple[str, ...]) -> Iterable[Row]:
    """Verified episodes per hour of wall time on all cores, first with RGB alone, then as recorded by default."""
    cores = len(os.sched_getaffinity(0))
    run(capture, scene, (*settings, *RGB_ONLY))
    made = receipts(scene)
    good = sum(e.success for e in Episodes.load(folder_of(scene, "episodes")).episodes)
    plan_s, draw_s, write_s = (made[stage].seconds for stage in ("episodes", "recording", "dataset"))
    hourly = 3600 * good / plan_s
    yield Row("episodes/h, state only", f"{hourly:.0f} ({good} in {plan_s:.0f} s, {cores} cores)", GOAL_STATE, None)
    hourly = 3600 * good / (plan_s + draw_s + write_s)
    yield Row("episodes/h, 2 cameras 224x224 RGB", f"{hourly:.0f} (drawing {draw_s:.1f} s)", GOAL_RGB, None)
    run(capture, scene, settings)
    made = receipts(scene)
    frames = Dataset.load(folder_of(scene, "dataset")).frames
    draw_s, write_s = made["recording"].seconds, made["dataset"].seconds
    yield Row("frames/s drawn: 2 cameras, depth, labels", f"{frames / draw_s:.1f} ({frames} frames)", "reported", None)
    yield Row("frames/s written", f"{frames / write_s:.0f}", "reported", None)


def run(capture: Path, scene: Path, settings: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "blueprint.apps.cli", "run", str(capture), "--scene", str(scene)]
    sets = [part for setting in settings for part in ("--set", setting)]
    subprocess.run([*command, "--simulator", "mujoco", "--until", "dataset", *sets], check=True)


def folder_of(scene: Path, stage: str) -> Path:
    store = Scene.existing(scene)
    return store.folder(stage, store.current()[stage])


def receipts(scene: Path) -> dict[str, Receipt]:
    return {stage: read_receipt(folder_of(scene, stage)) for stage in ("episodes", "recording", "dataset")}


def checked(roots: list[Path]) -> Row:
    findings = [f"{root}: {finding}" for root in roots for finding in check_dataset(root, decode=True)]
    for finding in findings:
        print(finding)
    return Row("dataset check", f"{len(findings)} findings in {len(roots)} datasets", "0", not findings)


def read_by_lerobot(roots: list[Path]) -> Row:
    name = "datasets read by lerobot 0.4.4"
    if not LEROBOT.exists():
        return Row(name, "not measured: make test-lerobot installs it", "0 errors", None)
    done = subprocess.run([LEROBOT, TOYS / "read_datasets.py", *roots], capture_output=True, text=True)
    passed = done.stdout.count("PASS ")
    if done.returncode:
        print(done.stdout + done.stderr)
    return Row(name, f"{passed} of {len(roots)}", "0 errors", done.returncode == 0 and passed == len(roots))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("capture", nargs="?", default=CAPTURE)
    parser.add_argument("--episodes", type=int, default=12)
    parser.add_argument("--keep", type=Path)
    asked = parser.parse_args()
    for row in rows(asked.capture, asked.episodes, asked.keep):
        print(row, flush=True)
