"""`make bars-trust`: the bars of part 4/7, a line per row; exit 1 if any fails.

python -m bench.bars_trust [GROUP ...]      groups: the modules of bench/trust
"""

from __future__ import annotations

import importlib
import sys
import traceback

from bench.rows import Row

GROUPS = ("refusals", "tampering", "defects", "conversion")


def measure(group: str) -> list[Row]:
    """The rows of one group, printed as they come. A group that breaks is a failed row, never a missing one."""
    rows: list[Row] = []
    try:
        for row in importlib.import_module(f"bench.trust.{group}").rows():
            print(row, flush=True)
            rows.append(row)
    except Exception as error:  # noqa: BLE001 - whatever broke, the table must say so and go on
        traceback.print_exc()
        rows.append(Row(group, f"{type(error).__name__}: {error}", "runs", passed=False))
        print(rows[-1], flush=True)
    return rows


def main(groups: list[str]) -> int:
    rows = [row for group in groups or GROUPS for row in measure(group)]
    failed = [row.name for row in rows if row.passed is False]
    print(f"\n{len(rows)} rows, {len(failed)} failed" + (": " + ", ".join(failed) if failed else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
