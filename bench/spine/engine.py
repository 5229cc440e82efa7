"""Bars of the engine: nothing runs twice, `kill -9` costs nothing but the work in hand, help comes at once.

python -m bench.spine.engine [CAPTURE]      default: posecnn_ycb_1, or the demo capture where that is absent
"""

from __future__ import annotations

import json
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from bench.rows import Row, captures

COMMAND = (sys.executable, "-m", "blueprint.apps.cli")
KILLS = 10
SECOND_RUN_S = 3.0
HELP_S = 0.4
# every stage, but little of each: what is measured is the engine
LITTLE = (
    "episodes.count=2",
    "recording.width=96",
    "recording.height=96",
    "recording.samples=1",
    "report.film_width=320",
    "report.film_height=180",
    "report.turntable_frames=4",
)


def rows(capture: Path | None = None) -> Iterable[Row]:
    """Runs the whole pipeline about three times."""
    help_s = statistics.median(_timed([*COMMAND, "--help"]) for _ in range(5))
    yield Row("blueprint --help", f"{help_s:.2f} s", f"< {HELP_S} s", help_s < HELP_S)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        capture = capture or _capture(folder)
        run = _command(capture, folder / "unbroken")
        unbroken_s = _timed(run)
        expected = _digests(folder / "unbroken")
        yield _second_run(run, folder / "unbroken")
        yield _killed_runs(_command(capture, folder / "killed"), folder / "killed", expected, unbroken_s)


def _second_run(run: list[str], scene: Path) -> Row:
    logs = set(scene.glob("runs/*.jsonl"))
    before = _digests(scene)
    seconds = _timed(run)
    ran = [
        event["stage"] for event in _events(set(scene.glob("runs/*.jsonl")) - logs) if event["event"] == "stage_start"
    ]
    good = not ran and seconds < SECOND_RUN_S and before == _digests(scene)
    return Row("second run", f"{seconds:.2f} s, {len(ran)} stages ran", f"< {SECOND_RUN_S} s, no stage", good)


def _killed_runs(run: list[str], scene: Path, expected: dict[str, str], unbroken_s: float) -> Row:
    """Kill the run again and again, each time further on, then let it finish."""
    rng = random.Random(0)
    kills = 0
    while kills < KILLS:
        process = subprocess.Popen(run, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        try:
            process.wait(timeout=rng.uniform(0.3, 2 * unbroken_s / KILLS))
            (scene / "current.json").unlink()  # finished before its time: it starts over
            for folder in scene.glob("artifacts/*/*"):
                subprocess.run(["rm", "-r", str(folder)], check=True)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
    _timed(run)
    found = _digests(scene)
    same = [stage for stage in expected if found.get(stage) == expected[stage]]
    measured = f"{len(same)} of {len(expected)} results equal after {kills} kills"
    differs = sorted(set(expected) - set(same))
    return Row("kill -9, then rerun", measured + (f", not {', '.join(differs)}" if differs else ""), "all", not differs)


def _command(capture: Path, scene: Path) -> list[str]:
    sets = [part for setting in LITTLE for part in ("--set", setting)]
    return [*COMMAND, "run", str(capture), "--scene", str(scene), "--simulator", "mujoco", *sets]


def _capture(scratch: Path) -> Path:
    real = captures() / "posecnn_ycb_1"
    if real.is_dir():
        return real
    from blueprint.apps.demo import make_capture

    return make_capture(scratch / "capture", 0)


def _timed(command: list[str]) -> float:
    """Wall seconds. Raises RuntimeError with what the command said when it fails."""
    started = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} exited with {done.returncode}:\n{done.stderr[-2000:]}")
    return time.monotonic() - started


def _digests(scene: Path) -> dict[str, str]:
    """stage -> files digest of its latest result."""
    keys = json.loads((scene / "current.json").read_text())
    receipts = {stage: scene / "artifacts" / stage / key / "receipt.json" for stage, key in keys.items()}
    return {stage: json.loads(path.read_text())["files_digest"] for stage, path in receipts.items()}


def _events(logs: set[Path]) -> list[dict[str, object]]:
    return [json.loads(line) for log in logs for line in log.read_text().splitlines()]


if __name__ == "__main__":
    for row in rows(Path(sys.argv[1]) if len(sys.argv) > 1 else None):
        print(row, flush=True)
