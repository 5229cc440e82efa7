"""Bar: each way in which made-up or unverified frames could reach training is refused (`tests/test_refusals.py`).

python -m bench.bars_trust refusals
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from pathlib import Path

from bench.rows import Row

TABLE = Path(__file__).parents[2] / "tests" / "test_refusals.py"


def rows() -> Iterable[Row]:
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "record.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={record}", str(TABLE)]
        subprocess.run(command, capture_output=True, check=False, cwd=TABLE.parents[1])
        cases = list(ET.parse(record).iter("testcase"))
    kept = [case for case in cases if not len(case)]
    yield Row("ways of made-up data into training: refused", f"{len(kept)} of {len(cases)}", "all of >= 25",
              len(kept) == len(cases) >= 25)  # fmt: skip
