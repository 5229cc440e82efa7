"""`make bars-scenes`: the bars of part 2/7, a line per row; exit 1 if any fails.

python -m bench.bars_scenes [GROUP ...]      groups: the modules of bench/scenes
"""

from __future__ import annotations

import sys

from bench.bars import run

GROUPS = (
    "masks",
    "completion",
    "multiview",
    "photos",
    "articulation",
    "stability",
    "decomposition",
    "usd",
    "settled_twice",
    "fuzz",
)


if __name__ == "__main__":
    sys.exit(run("bench.scenes", sys.argv[1:] or GROUPS))
