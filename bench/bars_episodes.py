"""`make bars-episodes`: the bars of part 3/7, a line per row; exit 1 if any fails.

python -m bench.bars_episodes [GROUP ...]      groups: the modules of bench/episodes
"""

from __future__ import annotations

import sys

from bench.bars import run

GROUPS = (
    "families",
    "two_arms",
    "variation",
    "frame_rates",
    "swaps",
    "rates",
    "render",
    "robosuite",
    "planning",
    "writing",
    "policy",
)


if __name__ == "__main__":
    sys.exit(run("bench.episodes", sys.argv[1:] or GROUPS))
