"""Laws of the engine: nothing runs twice, what changed runs, and why."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import toy

from blueprint.core.errors import BlueprintError, InfeasibleError, SettingsError
from blueprint.core.run import plan
from blueprint.core.store import damage, read_receipt


def test_second_run_runs_nothing(tmp_path):
    assert toy.ran(toy.do(tmp_path)) == {"numbers", "doubled", "total", "printed"}
    assert toy.ran(toy.do(tmp_path)) == set()


def test_a_setting_reruns_what_it_touches_and_no_more(tmp_path):
    toy.do(tmp_path)
    assert toy.ran(toy.do(tmp_path, "doubled.factor=3")) == {"doubled", "total", "printed"}


def test_equal_output_stops_the_ripple(tmp_path):
    toy.do(tmp_path)
    # both 2 (1+2+3) and 4 (1+2+3) are even: parity of the total is the same
    toy.do(tmp_path, "total.parity_only=true")
    assert toy.ran(toy.do(tmp_path, "total.parity_only=true", "doubled.factor=4")) == {"doubled", "total"}


def test_a_stage_that_reads_receipts_follows_them(tmp_path):
    stages = tuple(replace(s, reads_receipts=True) if s.name == "printed" else s for s in toy.STAGES)
    toy.do(tmp_path, stages=stages)
    assert toy.ran(toy.do(tmp_path, "numbers.shift=1", stages=stages)) == {"numbers"}  # not its direct input
    toy.do(tmp_path, "total.parity_only=true", stages=stages)
    changed = toy.do(tmp_path, "total.parity_only=true", "doubled.factor=4", stages=stages)
    assert toy.ran(changed) == {"doubled", "total", "printed"}


def test_going_back_to_an_earlier_setting_runs_nothing(tmp_path):
    toy.do(tmp_path)
    toy.do(tmp_path, "doubled.factor=3")
    steps = toy.do(tmp_path)
    assert toy.ran(steps) == set()
    assert json.loads((tmp_path / "scene/current.json").read_text())["doubled"] == steps["doubled"].receipt.key


def test_until_runs_only_what_it_needs(tmp_path):
    assert set(toy.do(tmp_path, until="doubled")) == {"numbers", "doubled"}
    with pytest.raises(SettingsError, match="no stage 'tripled'"):
        toy.do(tmp_path, until="tripled")


def test_stages_see_their_settings_and_inputs(tmp_path):
    steps = toy.do(tmp_path, "doubled.factor=3", value=5)
    assert toy.Total.load(steps["total"].root).total == 3 * (5 + 6 + 7)


def test_plan_says_why(tmp_path):
    def reasons(*sets, **changes):
        return {step.stage.name: (step.state, step.reasons) for step in plan(toy.job(tmp_path, *sets, **changes))}

    assert reasons()["numbers"] == ("stale", ("it has no result in this scene yet",))
    assert reasons()["doubled"] == ("waits", ("waits for numbers",))
    toy.do(tmp_path)
    assert {state for state, _ in reasons().values()} == {"done"}
    assert reasons("doubled.factor=3")["doubled"] == ("stale", ("setting doubled.factor changed from 2 to 3",))
    assert reasons("doubled.factor=3")["total"][0] == "waits"
    assert reasons(value=2)["numbers"] == ("stale", ("input start changed",))
    bumped = reasons(stages=toy.with_version("total", "2"))["total"]
    assert bumped == ("stale", ("version of the stage changed from 1 to 2",))


def test_receipt_holds_the_reasons(tmp_path):
    toy.do(tmp_path)
    step = toy.do(tmp_path, "doubled.factor=3")["doubled"]
    assert read_receipt(step.root).reasons == ("setting doubled.factor changed from 2 to 3",)


def test_same_work_gives_same_digests_in_any_scene(tmp_path):
    one, two = toy.do(tmp_path / "one"), toy.do(tmp_path / "two")
    for name in one:
        assert one[name].receipt.files_digest == two[name].receipt.files_digest
        assert one[name].receipt.key == two[name].receipt.key


def test_artifacts_hold_nothing_of_the_engine(tmp_path):
    root = toy.do(tmp_path)["doubled"].root
    names = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    assert names == {"artifact.json", "receipt.json", *(f"items/00{n}/value.txt" for n in (1, 2, 3))}


# ------------------------------------------------------------------ failures


def test_error_of_a_stage_comes_back_whole(tmp_path):
    with pytest.raises(InfeasibleError) as caught:
        toy.do(tmp_path, "numbers.go=infeasible")
    assert (caught.value.message, caught.value.hint) == ("no numbers", "ask for some")
    assert (tmp_path / "trace/numbers").read_text() == "x"  # and it is not tried again


def test_transient_error_is_tried_again(tmp_path):
    toy.do(tmp_path, "numbers.go=flaky", until="numbers")
    assert (tmp_path / "trace/numbers").read_text() == "xx"


def test_crash_names_the_signal_and_the_last_words(tmp_path):
    with pytest.raises(BlueprintError, match="SIGSEGV") as caught:
        toy.do(tmp_path, "numbers.go=crash")
    assert "about to die" in caught.value.hint


def test_hanging_stage_is_killed(tmp_path):
    with pytest.raises(BlueprintError, match="no result within 2 s"):
        toy.do(tmp_path, "numbers.go=hang")


def test_defect_is_named_and_its_traceback_kept(tmp_path):
    with pytest.raises(BlueprintError, match="ZeroDivisionError: oops") as caught:
        toy.do(tmp_path, "numbers.go=defect")
    log = next((tmp_path / "scene/runs").glob("*.numbers.log"))
    assert str(log) in caught.value.hint
    assert "Traceback" in log.read_text()


def test_full_disk_is_no_defect(tmp_path):
    with pytest.raises(BlueprintError, match="the disk is full") as caught:
        toy.do(tmp_path, "numbers.go=full")
    assert "free some space" in caught.value.hint


def test_failed_stage_leaves_no_result(tmp_path):
    with pytest.raises(InfeasibleError):
        toy.do(tmp_path, "numbers.go=infeasible")
    assert not [path for path in (tmp_path / "scene/artifacts/numbers").iterdir() if not path.name.startswith(".")]


def test_events_are_logged(tmp_path):
    toy.do(tmp_path)
    log = next((tmp_path / "scene/runs").glob("*.jsonl"))
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert [e["stage"] for e in events if e["event"] == "stage_done"] == ["numbers", "doubled", "total", "printed"]
    assert any(e["event"] == "metric" and e["value"] == 3 for e in events)  # from within the stage's process
    assert [e["done"] for e in events if e["event"] == "progress"] == [0, 1, 2, 3]


# ------------------------------------------------------------------ integrity


def test_truncated_file_is_made_anew(tmp_path):
    root = toy.do(tmp_path)["doubled"].root
    (root / "items/002/value.txt").write_text("")
    steps = toy.do(tmp_path)
    assert toy.ran(steps) == {"doubled"}
    assert "items/002/value.txt has 0 bytes, its receipt says 1" in steps["doubled"].reasons[0]
    assert (root / "items/002/value.txt").read_text() == "4"


def test_full_check_finds_a_changed_byte_and_a_stray_file(tmp_path):
    root = toy.do(tmp_path)["doubled"].root
    receipt = read_receipt(root)
    assert damage(root, receipt, full=True) == []
    (root / "items/002/value.txt").write_text("5")
    assert damage(root, receipt, full=False) == []  # same size
    (root / "stray.txt").write_text("")
    assert len(damage(root, receipt, full=True)) == 2


def test_graph_that_cannot_work_is_refused(tmp_path):
    with pytest.raises(TypeError, match="no earlier stage makes doubled"):
        toy.do(tmp_path, stages=(toy.numbers, toy.total))
    with pytest.raises(TypeError, match="already made by"):
        toy.do(tmp_path, stages=(toy.numbers, toy.numbers))
