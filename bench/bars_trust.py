"""`make bars-trust`: the bars of part 4/7, a line per row; exit 1 if any fails.

python -m bench.bars_trust [GROUP ...]      groups: the modules of bench/trust
"""

from __future__ import annotations

import sys

from bench.bars import run

GROUPS = ("refusals", "tampering", "defects", "conversion", "check_growth", "readers")


if __name__ == "__main__":
    sys.exit(run("bench.trust", sys.argv[1:] or GROUPS))
