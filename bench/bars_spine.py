"""`make bars-spine`: the bars of part 1/7, a line per row; exit 1 if any fails.

python -m bench.bars_spine [GROUP ...]      groups: the modules of bench/spine
"""

from __future__ import annotations

import sys

from bench.bars import run

GROUPS = ("engine", "masks", "sizes", "settle", "parity", "episodes", "dataset", "demo")


if __name__ == "__main__":
    sys.exit(run("bench.spine", sys.argv[1:] or GROUPS))
