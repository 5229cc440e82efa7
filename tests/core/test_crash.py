"""`kill -9` anywhere loses at most the work in hand."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import toy

from blueprint.core.errors import BlueprintError, BusyError
from blueprint.core.store import Scene

SLOW = "doubled.slow_s=0.05"
COUNT = "numbers.count=8"


def start(folder: Path) -> subprocess.Popen[bytes]:
    code = f"import sys, pathlib; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
    code += f"import toy; toy.do(pathlib.Path({str(folder)!r}), {SLOW!r}, {COUNT!r})"
    return subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)


@pytest.mark.parametrize("seed", range(6))
def test_killed_run_resumes_to_the_same_result(tmp_path, seed):
    unbroken = toy.do(tmp_path / "unbroken", SLOW, COUNT)
    folder = tmp_path / "killed"
    child = start(folder)
    wait_for(folder / "trace" / "numbers")
    time.sleep(random.Random(seed).uniform(0.0, 0.5))
    child.kill()
    child.wait()
    resumed = toy.do(folder, SLOW, COUNT)
    assert {n: s.receipt.files_digest for n, s in resumed.items()} == {
        n: s.receipt.files_digest for n, s in unbroken.items()
    }


def test_finished_items_survive(tmp_path):
    child = start(tmp_path)
    wait_for(tmp_path / "trace" / "item 5")
    child.kill()
    child.wait()
    toy.do(tmp_path, SLOW, COUNT)
    again = [n for n in range(1, 9) if len((tmp_path / "trace" / f"item {n}").read_text()) > 1]
    assert len(again) <= 2  # two at a time were in hand
    assert not list((tmp_path / "scene").rglob("half_written.tmp"))


def test_items_that_were_changed_after_they_finished_run_again(tmp_path):
    with pytest.raises(BlueprintError, match="SIGKILL"):
        toy.do(tmp_path, "doubled.die_tidying=true")
    steps = toy.do(tmp_path, "doubled.die_tidying=true")
    assert toy.Doubled.load(steps["doubled"].root).doubled == (2, 4, 6)
    assert [(tmp_path / "trace" / f"item {n}").read_text() for n in (1, 2, 3)] == ["xx", "xx", "x"]


def test_children_die_with_a_killed_run(tmp_path):
    child = start(tmp_path)
    family: list[int] = []

    def stage_and_item_live() -> bool:
        family[:] = descendants(child.pid)
        return len(family) >= 2

    wait_until(stage_and_item_live, "a stage's process and an item's")
    child.kill()
    child.wait()
    wait_until(lambda: not [pid for pid in family if running(pid)], "the end of every descendant")


def test_one_writer_at_a_time(tmp_path):
    child = start(tmp_path)
    wait_for(tmp_path / "trace" / "doubled")
    assert Scene(tmp_path / "scene").writer() == child.pid
    with pytest.raises(BusyError, match=f"process {child.pid}"):
        toy.do(tmp_path)
    child.send_signal(signal.SIGKILL)
    child.wait()
    toy.do(tmp_path)  # the lease went with its holder
    assert Scene(tmp_path / "scene").writer() is None


def wait_for(path: Path, seconds: float = 20.0) -> None:
    wait_until(path.exists, str(path), seconds)


def wait_until(holds: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"{what} never came"
        time.sleep(0.005)


def descendants(pid: int) -> list[int]:
    try:
        children = [int(c) for t in Path(f"/proc/{pid}/task").iterdir() for c in (t / "children").read_text().split()]
    except (ProcessLookupError, FileNotFoundError):  # it ended as we looked
        return []
    return children + [grandchild for child in children for grandchild in descendants(child)]


def running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
