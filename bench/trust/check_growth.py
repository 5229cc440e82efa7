"""Bar: what `check` costs when a dataset grows tenfold: its memory stays flat, its time grows with the episodes.

    python -m bench.bars_trust check_growth

Each measured process is one of its own: peak resident memory and CPU time as the kernel counts them when it ends.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from bench.rows import Row
from bench.trust.defects import Draft, write_drafts

EPISODES, GROWTH = 40, 10
AT_ONCE = 20  # episodes in this process' memory while it writes
MEMORY, SPARE_MB, TIME = 1.2, 20.0, 11.0  # bounds: the larger's memory <= MEMORY * the smaller's + SPARE_MB

CHECK = ("-m", "blueprint.apps.cli", "check", "--json")
# what `blueprint check SCENE` and the certificate ask of a dataset of ours
OURS = (
    "-c",
    "import sys; from pathlib import Path; from blueprint.formats.lerobot.check import check_dataset; "
    "sys.exit(bool(check_dataset(Path(sys.argv[1]), decode=True)))",
)
# runs a command and says what it took. A small process of its own: what a process held when it was forked counts, too
METER = """
import os, sys
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, used = os.wait4(pid, 0)
print()
print(used.ru_maxrss, used.ru_utime + used.ru_stime, os.waitstatus_to_exitcode(status))
"""


@dataclass(frozen=True)
class Cost:
    """peak_mb: resident memory [MB]; cpu_s: user and system time, its threads included; sound: it found nothing"""

    peak_mb: float
    cpu_s: float
    sound: bool


def rows(episodes: int = EPISODES) -> Iterable[Row]:
    with tempfile.TemporaryDirectory() as name:
        folder, sizes = Path(name), (episodes, GROWTH * episodes)
        ours = [written(folder / f"ours_{count}", count) for count in sizes]
        yield _row("v3.0", CHECK, ours, sizes)
        yield _row("v3.0, as a scene's", OURS, ours, sizes)
        for root in ours:
            _one_row_group(root)
        yield _row("v3.0, tables in one piece", CHECK, ours, sizes)


def written(root: Path, count: int) -> Path:
    parts = [min(AT_ONCE, count - first) for first in range(0, count, AT_ONCE)]
    return write_drafts(root, (Draft(np.random.default_rng([3, k]), part) for k, part in enumerate(parts)))


def _one_row_group(root: Path) -> None:
    """As tools write it that put a whole file down at once."""
    for path in root.glob("data/*/*.parquet"):
        table = pq.read_table(path)
        pq.write_table(table, path, row_group_size=len(table))


def cost(command: tuple[str, ...], root: Path) -> Cost:
    whole = [sys.executable, "-c", METER, sys.executable, *command, str(root)]
    said = subprocess.run(whole, capture_output=True, text=True, check=True).stdout.splitlines()[-1]
    peak_kb, cpu_s, status = said.split()
    return Cost(int(peak_kb) / 1024, float(cpu_s), status == "0")


def _row(what: str, command: tuple[str, ...], roots: list[Path], sizes: tuple[int, int]) -> Row:
    small, large = (cost(command, root) for root in roots)
    memory, time = large.peak_mb / small.peak_mb, large.cpu_s / small.cpu_s
    flat = large.peak_mb <= MEMORY * small.peak_mb + SPARE_MB
    return Row(
        f"check {what}: {sizes[0]} -> {sizes[1]} episodes",
        f"memory {small.peak_mb:.0f} -> {large.peak_mb:.0f} MB ({memory:.2f}), "
        f"CPU {small.cpu_s:.1f} -> {large.cpu_s:.1f} s ({time:.1f})" + ("" if large.sound else ", findings"),
        f"memory <= {MEMORY} times + {SPARE_MB:.0f} MB, time <= {TIME:.0f} times",
        flat and time <= TIME and small.sound and large.sound,
    )
