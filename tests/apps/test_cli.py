"""The contract of the command line: exit codes, messages, outputs."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest
import toy_product

from blueprint.apps import check, headlines, session, verdict
from blueprint.apps.cli import main


@pytest.fixture(autouse=True)
def product(monkeypatch):
    monkeypatch.setattr(session, "STAGES", toy_product.STAGES)
    monkeypatch.setattr(check, "STAGES", toy_product.STAGES)
    monkeypatch.setattr(headlines, "_SAY", {})
    monkeypatch.setattr(verdict, "_JUDGES", {})
    monkeypatch.delenv("SENSOR_CAPTURE_MODE", raising=False)


@pytest.fixture
def capture(tmp_path):
    (tmp_path / "capture").mkdir()
    (tmp_path / "capture" / "note.txt").write_text("a table")
    return tmp_path / "capture"


@pytest.fixture
def run(capture, tmp_path):
    def call(*more, simulator=("--simulator", "mujoco")):
        return main(["run", str(capture), "--scene", str(tmp_path / "scene"), *simulator, *more])

    return call


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_run_makes_the_outputs(run, tmp_path, capsys):
    assert run() == 0
    outputs = tmp_path / "scene/outputs"
    certificates = ["certificate.dsse.json", "certificate.json"]
    assert names(outputs) == [".thumbs", "assets", *certificates, "report", "scene.glb", "scene.usda", "scene.xml"]
    assert (outputs / "assets/mesh.obj").read_text() == "red"
    assert not (outputs / "assets" / "mesh.obj").readlink().is_absolute()
    assert capsys.readouterr().out.split() == [str(outputs / name) for name in names(outputs)]


def test_report_gets_the_clock_that_artifacts_do_not_hold(run, tmp_path):
    run()
    text = (tmp_path / "scene/outputs/report/timings.js").read_text()
    timings = json.loads(text.removeprefix("window.blueprintTimings = ").rstrip(";\n"))
    assert set(timings) == {"scan", "simscene", "certificate", "report"}


def test_second_run_imports_and_runs_nothing(run, monkeypatch, capsys):
    run()
    first = capsys.readouterr().out
    monkeypatch.setattr(session, "run", None)  # planning would break
    assert run() == 0
    second = capsys.readouterr()
    assert second.out == first
    assert "nothing to do" in second.err


@pytest.mark.parametrize("harm", ["output", "artifact", "setting", "capture", "environment"])
def test_anything_touched_is_looked_at_again(run, tmp_path, capture, monkeypatch, capsys, harm):
    run()
    more = ()
    if harm == "output":
        (tmp_path / "scene/outputs/scene.xml").write_text("scribble")
    elif harm == "artifact":
        next((tmp_path / "scene/artifacts/simscene").glob("*/scene.glb")).write_text("")
    elif harm == "setting":
        more = ("--set", "simscene.colour=blue")
    elif harm == "environment":
        monkeypatch.setenv("SENSOR_CAPTURE_MODE", "mujoco")
    else:
        (capture / "note.txt").write_text("a shelf")
    capsys.readouterr()
    assert run(*more) == 0
    assert "nothing to do" not in capsys.readouterr().err
    assert (tmp_path / "scene/outputs/scene.xml").read_text() == "<mujoco/>"
    expected = f"{'a shelf' if harm == 'capture' else 'a table'} {'blue' if harm == 'setting' else 'red'}"
    assert (tmp_path / "scene/outputs/scene.glb").read_text() == expected


def test_until_leaves_no_later_outputs(run, tmp_path):
    assert run() == 0
    assert run("--until", "simscene", "--set", "simscene.colour=blue") == 0
    assert names(tmp_path / "scene/outputs") == [".thumbs", "assets", "scene.glb", "scene.usda", "scene.xml"]
    assert run() == 0
    assert "certificate.json" in names(tmp_path / "scene/outputs")


def test_failed_stage_takes_its_outputs_away(run, tmp_path, capsys):
    assert run() == 0
    assert run("--set", "certificate.possible=false") == 1
    said = capsys.readouterr().err
    assert "error: no episode succeeded" in said
    assert "hint: give it more tries" in said
    assert "Traceback" not in said
    assert names(tmp_path / "scene/outputs") == [".thumbs", "assets", "scene.glb", "scene.usda", "scene.xml"]


def test_without_a_simulator_nothing_is_done(run, tmp_path, capsys):
    assert run(simulator=()) == 1
    said = capsys.readouterr().err
    assert "no simulator is chosen" in said
    assert "--simulator mujoco" in said
    assert not (tmp_path / "scene").exists()


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--set", "simscene.color=blue"), "did you mean 'colour'"),
        (("--until", "siscene"), "no stage 'siscene'"),
        (("--set", "run.simulator=bullet"), None),  # the flag wins
    ],
)
def test_wrong_settings(run, capsys, more, says):
    code = run(*more)
    assert code == (1 if says else 0)
    assert says is None or says in capsys.readouterr().err


def test_unknown_simulator_stops_before_any_work(run, tmp_path, capsys):
    assert run(simulator=("--simulator", "bullet")) == 1
    assert "no simulator 'bullet'; there is: mujoco" in capsys.readouterr().err
    assert not list((tmp_path / "scene").glob("artifacts/*"))


def test_missing_capture_is_named(tmp_path, capsys):
    assert main(["run", str(tmp_path / "none"), "--scene", str(tmp_path / "scene"), "--simulator", "mujoco"]) == 1
    assert "no capture at" in capsys.readouterr().err


def test_scene_inside_the_capture_is_refused(capture, capsys):
    assert main(["run", str(capture), "--scene", str(capture / "out"), "--simulator", "mujoco"]) == 1
    assert "lies inside the capture" in capsys.readouterr().err


def test_content_behind_a_link_counts(run, capture, tmp_path):
    (capture / "beside").write_text("a desk")
    (capture / "note.txt").unlink()
    (capture / "note.txt").symlink_to("beside")
    run()
    (capture / "beside").write_text("a bench")
    run()
    assert (tmp_path / "scene/outputs/scene.glb").read_text() == "a bench red"


def test_a_link_out_of_the_capture_is_refused(capture, tmp_path, capsys):
    (tmp_path / "secret").write_text("nobody's business")
    (capture / "link").symlink_to(tmp_path / "secret")
    assert main(["run", str(capture), "--scene", str(tmp_path / "scene"), "--simulator", "mujoco"]) == 1
    assert "leads out of the capture" in capsys.readouterr().err


def test_usage_errors_exit_with_2(capsys):
    for arguments in (["run"], ["frobnicate"], ["run", "x", "--frob"]):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2
    assert main([]) == 2


def test_status_and_why_speak_json(run, tmp_path, capsys):
    run("--until", "simscene")
    capsys.readouterr()
    assert main(["status", str(tmp_path / "scene"), "--json"]) == 0
    stages = {row["stage"]: row["state"] for row in json.loads(capsys.readouterr().out)["stages"]}
    assert stages == {"scan": "done", "simscene": "done", "certificate": "stale", "report": "waits"}
    assert main(["why", str(tmp_path / "scene"), "simscene", "--set", "simscene.colour=blue", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["reasons"] == ["setting simscene.colour changed from red to blue"]
    assert answer["ran_because"] == ["it has no result in this scene yet"]


def test_reading_commands_speak_to_people(run, tmp_path, capsys):
    run()
    scene = str(tmp_path / "scene")
    capsys.readouterr()
    for command in (["status", scene], ["why", scene, "scan"], ["check", scene], ["report", scene]):
        assert main(command) == 0
        assert capsys.readouterr().out.strip()


def test_status_of_no_scene_is_an_error(tmp_path, capsys):
    assert main(["status", str(tmp_path)]) == 1
    assert "is not a scene directory" in capsys.readouterr().err


def test_check_finds_a_tampered_file(run, tmp_path, capsys):
    run()
    assert main(["check", str(tmp_path / "scene")]) == 0
    mesh = next((tmp_path / "scene/artifacts/simscene").glob("*/assets/mesh.obj"))
    mesh.write_text("der")  # as long as it was
    assert main(["check", str(tmp_path / "scene")]) == 1
    assert "mesh.obj does not have the SHA-256" in capsys.readouterr().out


def test_check_survives_a_broken_receipt(run, tmp_path, capsys):
    run()
    next((tmp_path / "scene/artifacts/simscene").glob("*/receipt.json")).write_text("{")
    assert main(["check", str(tmp_path / "scene")]) == 1
    assert "is not a receipt" in capsys.readouterr().out
    assert run() == 0  # and the next run makes it anew
    assert main(["check", str(tmp_path / "scene")]) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_run_says_how_to_go_on(capture, tmp_path, number):
    code = "import sys, time\nfrom blueprint.apps import cli\n"
    code += "cli._status = lambda a: print('ready', flush=True) or time.sleep(30)\nsys.exit(cli.main(['status', 'x']))"
    child = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background ignores it
    )
    assert child.stdout.readline() == "ready\n"
    child.send_signal(number)
    assert "finished work is kept" in child.communicate(timeout=10)[1]
    assert child.returncode == 1


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom blueprint.apps import cli\n"
        "try: cli.main(['--help'])\nexcept SystemExit: pass\n"
        "assert not {'numpy', 'pydantic', 'rich', 'mujoco'} & set(sys.modules), 'heavy'"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_every_command_helps():
    for command in ("demo", "run", "status", "why", "check", "report", "doctor", "robots"):
        with pytest.raises(SystemExit) as caught:
            main([command, "--help"])
        assert caught.value.code == 0
