"""Run groups of bars, a line per row. Each table (`bars_spine`, `bars_scenes`, ...) names its package and groups."""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Sequence

from bench.rows import Row


def measure(module: str) -> list[Row]:
    """The rows of one group, printed as they come. A group that breaks is a failed row, never a missing one."""
    rows: list[Row] = []
    try:
        for row in importlib.import_module(module).rows():
            print(row, flush=True)
            rows.append(row)
    except Exception as error:  # noqa: BLE001 - whatever broke, the table must say so and go on
        traceback.print_exc()
        rows.append(Row(module.rpartition(".")[2], f"{type(error).__name__}: {error}", "runs", passed=False))
        print(rows[-1], flush=True)
    return rows


def run(package: str, groups: Sequence[str]) -> int:
    """Exit status: 1 if any row fails."""
    rows = [row for group in groups for row in measure(f"{package}.{group}")]
    failed = [row.name for row in rows if row.passed is False]
    print(f"\n{len(rows)} rows, {len(failed)} failed" + (": " + ", ".join(failed) if failed else ""))
    return 1 if failed else 0
