"""Map a function over items: one process per item, results on disk, finished items never run again."""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TypeVar

from blueprint.core.errors import BlueprintError, TransientError
from blueprint.core.files import digest, files_below, fsync_tree
from blueprint.core.process import Children, Outcome
from blueprint.core.report import emit, warn

T = TypeVar("T")

FINISHED_FILE = ".finished"  # journal of finished items: what in a folder is whole, for the attempt after a crash

_default_jobs: ContextVar[int] = ContextVar("default_jobs", default=0)


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def jobs_limited(jobs: int) -> Iterator[None]:
    """Let `map_items` run `jobs` items at a time where its caller names no number; 0 = one per core."""
    token = _default_jobs.set(jobs)
    try:
        yield
    finally:
        _default_jobs.reset(token)


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

    Each item runs in a forked process of its own with a private, empty folder that is renamed to `out/NAME` when
    `work` returns, so that after a crash only the items in hand run again. Results do not depend on scheduling.
    jobs: 0 = the run's setting, which is one per core unless said otherwise. timeout_s: per item, then it is killed.
    retries: how often an item that crashed or raised TransientError is tried again. Any other error, or one try too
    many, stops the map once the items in hand are done, and is raised here as it was raised there.
    """
    out.mkdir(parents=True, exist_ok=True)
    names = [name for name, _ in items]
    if len(set(names)) != len(names):
        raise ValueError(f"{what}: item names must be unique")
    waiting = [(name, item) for name, item in items if not (out / name).exists()]
    waiting.reverse()
    by_name = dict(items)
    left = dict.fromkeys(names, retries)
    failures: list[tuple[str, BlueprintError]] = []
    slots = jobs or _default_jobs.get() or cores()
    done = len(items) - len(waiting)
    emit("progress", what=what, done=done, total=len(items))
    with Children() as children:
        while len(children) or (waiting and not failures):
            while waiting and len(children) < slots and not failures:
                name, item = waiting.pop()
                children.start(f"{what}: {name}", _in_folder(work, item, out / f".{name}.partial"), timeout_s=timeout_s)
            for outcome in children.wait():
                name = outcome.name.removeprefix(f"{what}: ")
                if outcome.error is None:
                    _finish(out, name)
                    done += 1
                    emit("progress", what=what, done=done, total=len(items))
                elif _worth_another_try(outcome) and left[name]:
                    left[name] -= 1
                    warn(f"{outcome.error.message}; trying again")
                    waiting.append((name, by_name[name]))
                else:
                    failures.append((name, outcome.error))
    if failures:
        raise min(failures, key=lambda failure: names.index(failure[0]))[1]
    return [out / name for name in names]


def _worth_another_try(outcome: Outcome) -> bool:
    return outcome.crashed or isinstance(outcome.error, TransientError)


def _in_folder(work: Callable[[T, Path], None], item: T, folder: Path) -> Callable[[], None]:
    return functools.partial(_run_item, work, item, folder)


def _run_item(work: Callable[[T, Path], None], item: T, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)  # of an attempt that died: an item starts from nothing
    folder.mkdir(parents=True)
    work(item, folder)
    fsync_tree(folder)


def _finish(out: Path, name: str) -> None:
    (out / f".{name}.partial").rename(out / name)
    with (out / FINISHED_FILE).open("a") as journal:
        journal.write(f"{_stamp(out / name)} {name}\n")
        journal.flush()
        os.fsync(journal.fileno())


def whole_items(journal: Path) -> set[Path]:
    """Folders of the items in `journal` that are as they were when they were finished: a stage may go on to move or
    change them, and be killed at that."""
    stamps = {name: stamp for stamp, _, name in (line.partition(" ") for line in journal.read_text().splitlines())}
    folders = {journal.parent / name: stamp for name, stamp in stamps.items()}
    return {folder for folder, stamp in folders.items() if folder.is_dir() and _stamp(folder) == stamp}


def _stamp(folder: Path) -> str:
    stats = {name: (folder / name).stat() for name in files_below(folder)}
    return digest({name: [stat.st_size, stat.st_mtime_ns] for name, stat in stats.items()})
