"""Laws of map_items."""

from __future__ import annotations

import os
import signal
import time
from typing import ClassVar

import pytest

from blueprint.core.errors import BlueprintError, InfeasibleError, TransientError
from blueprint.core.execute import map_items
from blueprint.core.report import reporting


def square(number, folder):
    (folder / "square").write_text(str(number**2))


def items(count):
    return [(f"n{n}", n) for n in range(count)]


def test_results_come_in_the_order_of_items(tmp_path):
    def work(number, folder):
        time.sleep(0.05 * (5 - number))
        square(number, folder)

    folders = map_items(work, items(5), tmp_path, what="squares", jobs=5)
    assert [int((folder / "square").read_text()) for folder in folders] == [0, 1, 4, 9, 16]


def test_items_run_at_the_same_time(tmp_path):
    started = time.monotonic()
    map_items(lambda _, folder: time.sleep(0.4), items(4), tmp_path, what="naps", jobs=4)
    assert time.monotonic() - started < 1.2


def test_finished_items_do_not_run_again(tmp_path):
    map_items(square, items(2), tmp_path, what="squares")
    stamp = (tmp_path / "n0/square").stat().st_mtime_ns
    map_items(square, items(3), tmp_path, what="squares")
    assert (tmp_path / "n0/square").stat().st_mtime_ns == stamp


def test_crashed_item_is_tried_again_in_an_empty_folder(tmp_path):
    out, trace = tmp_path / "out", tmp_path / "trace"

    def work(number, folder):
        assert not list(folder.iterdir())
        (folder / "half").touch()
        if number == 1 and not trace.exists():
            trace.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    map_items(work, items(3), out, what="crashes")
    assert sorted(path.name for path in out.iterdir() if path.is_dir()) == ["n0", "n1", "n2"]


def test_item_that_always_crashes_is_named(tmp_path):
    with pytest.raises(BlueprintError, match="crashes: n1 was killed by SIGABRT"):
        map_items(lambda n, _: n == 1 and os.abort(), items(3), tmp_path, what="crashes")
    assert not (tmp_path / "n1").exists()


def test_errors_come_back_whole_and_once(tmp_path):
    def work(number, folder):
        (tmp_path / f"trace{number}-{os.getpid()}").touch()
        raise InfeasibleError(f"no {number}", "none")

    with pytest.raises(InfeasibleError) as caught:
        map_items(work, items(1), tmp_path / "out", what="x")
    assert (caught.value.message, caught.value.hint) == ("no 0", "none")
    assert len(list(tmp_path.glob("trace0-*"))) == 1


def test_transient_error_is_tried_as_often_as_said(tmp_path):
    def work(number, folder):
        (tmp_path / f"trace-{os.getpid()}").touch()
        raise TransientError("later")

    with pytest.raises(TransientError):
        map_items(work, items(1), tmp_path / "out", what="x", retries=2)
    assert len(list(tmp_path.glob("trace-*"))) == 3


def test_item_past_its_time_is_killed(tmp_path):
    started = time.monotonic()
    with pytest.raises(BlueprintError, match=r"no result within 0\.3 s"):
        map_items(lambda *_: time.sleep(30), items(1), tmp_path, what="naps", timeout_s=0.3)
    assert time.monotonic() - started < 5


def test_progress_counts_every_item_and_events_pass_through(tmp_path):
    class Record:
        seen: ClassVar[list] = []

        def event(self, kind, fields):
            self.seen.append((kind, fields))

    from blueprint.core.report import metric

    with reporting(Record()):
        map_items(lambda n, _: metric("n", n), items(3), tmp_path, what="x")
    assert [fields["done"] for kind, fields in Record.seen if kind == "progress"] == [0, 1, 2, 3]
    assert sorted(fields["value"] for kind, fields in Record.seen if kind == "metric") == [0, 1, 2]


def test_many_short_items_never_fail_by_chance(tmp_path):
    assert len(map_items(square, items(150), tmp_path, what="squares", retries=0)) == 150


def test_names_must_be_unique(tmp_path):
    with pytest.raises(ValueError, match="unique"):
        map_items(square, [("a", 1), ("a", 2)], tmp_path, what="x")
