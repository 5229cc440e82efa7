"""Bars of `make demo`: on a clean clone with empty caches, once more with the environment there, and what came of it.

python -m bench.spine.demo [--keep DIR]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from bench.rows import Row

ROOT = Path(__file__).parents[2]
CORES = 2


def rows(keep: Path | None = None) -> Iterable[Row]:
    """Clone what is committed, then run it as a newcomer would."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = keep or Path(scratch)
        clone = folder / "clone"
        subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(clone)], check=True)
        before = received_bytes()
        seconds = timed_make(clone, folder)
        megabytes = (received_bytes() - before) / 1e6
        yield Row("demo/clean clone, environment included, 2 cores", f"{seconds:.0f} s", "<= 360 s", seconds <= 360)
        # of the whole machine, so other traffic at the time counts too: an upper bound
        yield Row("demo/bytes received meanwhile", f"{megabytes:.0f} MB", "<= 450 MB", megabytes <= 450)
        (clone / "out").rename(folder / "first")
        seconds = timed_make(clone, folder)
        yield Row("demo/later one, from nothing but the environment", f"{seconds:.0f} s", "<= 120 s", seconds <= 120)
        yield same_results(folder / "first" / "demo", clone / "out" / "demo")
        certificate = json.loads((clone / "out/demo/outputs/certificate.json").read_text())
        checks = [check for check in certificate["measurements"] if check["passed"] is not None]
        passed = sum(check["passed"] for check in checks)
        verdict = certificate["training_suitability"]
        yield Row("demo/certificate", f"{verdict}, {passed} of {len(checks)} checks", "reported", None)


def timed_make(clone: Path, folder: Path) -> float:
    """Seconds of `make demo` on two cores with caches of its own. Raises CalledProcessError when it fails."""
    homes = {"UV_CACHE_DIR": "uv", "PIP_CACHE_DIR": "pip", "BLUEPRINT_HOME": "data"}
    environment = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "MENAGERIE_ROOT")}
    environment |= {name: str(folder / home) for name, home in homes.items()}
    cores = sorted(os.sched_getaffinity(0))[:CORES]
    command = ["taskset", "--cpu-list", ",".join(map(str, cores)), "make", "--no-print-directory", "demo"]
    started = time.monotonic()
    subprocess.run(command, cwd=clone, env=environment, check=True, stdout=sys.stderr)
    return time.monotonic() - started


def received_bytes() -> int:
    """Bytes received by all interfaces of this machine but the loopback, as Linux counts them."""
    lines = Path("/proc/net/dev").read_text().splitlines()[2:]
    counts = dict(line.split(":", 1) for line in lines)
    return sum(int(numbers.split()[0]) for name, numbers in counts.items() if name.strip() != "lo")


def same_results(first: Path, second: Path) -> Row:
    """Two runs of the demo must give the same files: compared by the digests of their receipts."""

    def digests(scene: Path) -> dict[str, str]:
        receipts = [json.loads(path.read_text()) for path in sorted(scene.glob("artifacts/*/*/receipt.json"))]
        return {receipt["stage"]: receipt["files_digest"] for receipt in receipts}

    a, b = digests(first), digests(second)
    differing = [stage for stage in a if a[stage] != b.get(stage)]
    shown = "differ: " + ", ".join(differing) if differing else f"{len(a)} stages equal"
    return Row("demo/two runs, same result hashes", shown, "all equal", a.keys() == b.keys() and not differing)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--keep", type=Path, help="leave everything here")
    for row in rows(parser.parse_args().keep):
        print(row, flush=True)
