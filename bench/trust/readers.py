"""Bar: the real readers open what `blueprint convert` writes, and every value comes back.

    python -m bench.bars_trust readers

Each runs in an environment of its own (`make test-exports`); one that is not there is told as not run.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from bench.rows import Row

LAWS = Path(__file__).parents[2] / "tests/formats/test_export_demos.py"
READERS = {"robomimic reads HDF5": "test_robomimic_reads_it", "TFDS reads RLDS": "test_tensorflow_datasets_reads_it"}


def rows() -> Iterable[Row]:
    for name, law in READERS.items():
        command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", f"{LAWS}::{law}"]
        done = subprocess.run(command, capture_output=True, text=True, cwd=LAWS.parents[2])
        told = next((line.partition(": ")[2] for line in done.stdout.splitlines() if line.startswith("SKIPPED")), "")
        measured = f"not run: {told}" if told else "0 errors" if done.returncode == 0 else "errors"
        yield Row(name, measured, "0 errors", None if told else done.returncode == 0)
