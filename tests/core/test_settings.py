"""Settings: what wins, and errors that teach."""

from __future__ import annotations

import pytest
import toy

from blueprint.core.errors import BackendError, SettingsError
from blueprint.core.settings import load, require_simulator


def settings(*sets, environ=None, **kinds):
    return load(toy.STAGES, sets=sets, environ=environ or {}, **kinds)


def test_later_sources_win(tmp_path):
    (tmp_path / "blueprint.toml").write_text("[run]\nseed = 5\n[numbers]\ncount = 7\nshift = 2\n")
    found = settings("numbers.count=9", scene=tmp_path)
    assert (found.sections["numbers"].count, found.sections["numbers"].shift, found.run.seed) == (9, 2, 5)


def test_seed_reaches_every_stage_that_sets_none(tmp_path):
    assert settings("run.seed=3").sections["doubled"].seed == 3
    assert settings("run.seed=3", "doubled.seed=4").sections["doubled"].seed == 4


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(SettingsError, match="did you mean 'numbers'"):
        settings("nunbers.count=1")
    with pytest.raises(SettingsError, match=r"did you mean 'count'\? settings of \[numbers\]: count, shift, go"):
        settings("numbers.cuont=1")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("numbers.count", "no '='"),
        ("count=1", "'count' is no setting"),
        ("numbers.count=many", "numbers.count = 'many'"),
        ("run.seed=-1", "run.seed = -1"),
        ("numbers.count.deep=1", "numbers.count"),
    ],
)
def test_malformed_settings_are_named(text, says):
    with pytest.raises(SettingsError, match=says):
        settings(text)


def test_broken_file_is_named(tmp_path):
    (tmp_path / "bad.toml").write_text("[run\n")
    with pytest.raises(SettingsError, match=r"bad\.toml is not TOML"):
        settings(config=tmp_path / "bad.toml")
    with pytest.raises(SettingsError, match="no settings file"):
        settings(config=tmp_path / "none.toml")


def test_no_simulator_is_ever_chosen_in_silence():
    with pytest.raises(SettingsError, match="no simulator is chosen") as caught:
        require_simulator(settings())
    assert "--simulator mujoco" in caught.value.hint
    with pytest.raises(SettingsError):
        require_simulator(settings(environ={"SENSOR_CAPTURE_MODE": "fail_closed"}))


@pytest.mark.parametrize(
    "choice",
    [
        {"environ": {"SENSOR_CAPTURE_MODE": "mujoco"}},
        {"sets": ["capture.mode=mujoco"]},
        {"sets": ["run.simulator=mujoco"]},
    ],
)
def test_ways_to_choose_mujoco(choice):
    found = load(toy.STAGES, sets=choice.get("sets", ()), environ=choice.get("environ", {}))
    require_simulator(found)
    assert (found.run.simulator, found.run.renderer) == ("mujoco", "raster")


def test_a_mode_that_cannot_run_is_refused_and_not_replaced():
    with pytest.raises(BackendError, match="isaac_sim"):
        settings(environ={"SENSOR_CAPTURE_MODE": "isaac_sim"})


def test_made_up_pictures_come_by_their_own_name_only():
    found = settings(environ={"SENSOR_CAPTURE_MODE": "mock_dev"})
    assert (found.run.simulator, found.run.renderer) == ("mujoco", "mock")
    for mode, renderer in (("fail_closed", "mock"), ("mujoco", "mock"), ("mock_dev", "mujoco")):
        with pytest.raises(SettingsError, match="contradicts"):
            load(toy.STAGES, sets=[f"run.renderer={renderer}"], environ={"SENSOR_CAPTURE_MODE": mode})


def test_unknown_mode_names_the_modes():
    with pytest.raises(SettingsError, match="fail_closed"):
        settings(environ={"SENSOR_CAPTURE_MODE": "auto"})
