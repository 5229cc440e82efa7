"""Laws of sheets: every limit has a source, names lead to arms, a measured gripper opens by what it is told."""

from __future__ import annotations

import tomllib
from pathlib import Path

import mujoco
import numpy as np
import pytest

from blueprint.apps import settled
from blueprint.backends.robots import mjcf as robot_mjcf
from blueprint.backends.robots import registry as robots
from blueprint.backends.robots.sheet import SHEETS, RobotSheet, arms_of, read_sheet, sheets, to_toml
from blueprint.backends.robots.trial import pad_distance
from blueprint.core import settings
from blueprint.core.errors import BackendError, SettingsError
from blueprint.core.run import Given, Job, key_parts
from blueprint.core.store import Scene
from blueprint.core.why import changes
from blueprint.model.artifacts import Source
from blueprint.skills.cell import Cell
from blueprint.stages.workcell import workcell


def test_every_sheet_of_ours_is_whole_and_says_where_its_limits_come_from() -> None:
    ours = [read_sheet(path) for path in sorted(SHEETS.glob("*.toml"))]
    assert {"franka_panda", "ur5e_2f85", "viperx_300s", "panda_pair", "aloha_pair"} <= {sheet.name for sheet in ours}
    for sheet in ours:
        if isinstance(sheet, RobotSheet):
            assert all(len(part.sha256) == 64 and part.licence_file for part in sheet.files)
            assert all(value > 0 for _, limit in sheet.limits for value in limit.values)  # type: ignore[union-attr]


def test_a_team_is_its_arms() -> None:
    assert [arm.name for arm in arms_of(("panda_pair", "ur5e_2f85"))] == ["franka_panda", "franka_panda", "ur5e_2f85"]
    with pytest.raises(BackendError, match="panda_pair"):
        arms_of(("r2d2",))


def test_a_sheet_survives_its_file(tmp_path: Path) -> None:
    sheet = sheets()["viperx_300s"]
    assert isinstance(sheet, RobotSheet)
    text = to_toml(sheet.model_dump(mode="json", exclude={"files"}))
    (tmp_path / "own.toml").write_text(text)
    assert read_sheet(tmp_path / "own.toml") == sheet.model_copy(update={"files": ()})
    assert tomllib.loads(text)["gripper"]["pads"] == list(sheet.gripper.pads)


def test_a_sheet_with_a_limit_too_few_is_refused(tmp_path: Path) -> None:
    text = (SHEETS / "franka_panda.toml").read_text().replace("values = [2.175, ", "values = [")
    (tmp_path / "own.toml").write_text(text)
    with pytest.raises(SettingsError, match="velocity_rad_s has 6"):
        read_sheet(tmp_path / "own.toml")


def test_a_changed_sheet_or_file_of_ones_own_robot_makes_the_workcell_anew_and_another_robots_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BLUEPRINT_HOME", str(tmp_path / "home"))
    sheet, files = tmp_path / "home/sheets/mine.toml", tmp_path / "home/robots/mine"
    ours = sheets()["viperx_300s"]
    assert isinstance(ours, RobotSheet)
    text = to_toml(ours.model_dump(mode="json", exclude={"files"}) | {"name": "mine"})
    for folder in (sheet.parent, files):
        folder.mkdir(parents=True)
    sheet.write_text(text)
    (files / "arm.xml").write_text("<mujoco/>")
    sheet.with_name("pair.toml").write_text('name = "pair"\ntitle = "two"\narms = ["mine", "franka_panda"]\n')
    source = Source(location=str(tmp_path), digest="0")

    def state(robot: str) -> tuple[dict[str, str], str, str]:
        chosen = settings.load((workcell,), environ={}, sets=["run.simulator=mujoco", f"workcell.robot={robot}"])
        parts = key_parts(Job((workcell,), Given(source, "0"), Scene(tmp_path), chosen), workcell, {})
        seen.append(parts)
        return parts.tools, parts.key, settled.fingerprint("0", [], None, tmp_path, None)

    seen: list = []
    before = [state(robot) for robot in ("mine", "pair", "franka_panda", "nobody")]
    assert before == [state(robot) for robot in ("mine", "pair", "franka_panda", "nobody")]
    assert before[3][0]["workcell:robot"] == "there is none of that name"
    edited = text.replace(
        str(list(ours.limits.velocity_rad_s.values)), str([0.3, *ours.limits.velocity_rad_s.values[1:]])
    )
    assert edited != text
    for change in (lambda: sheet.write_text(edited), lambda: (files / "arm.xml").write_text("<mujoco model='a'/>")):
        change()
        after = [state(robot) for robot in ("mine", "pair", "franka_panda", "nobody")]
        assert [old[1] == new[1] for old, new in zip(before, after, strict=True)] == [False, False, True, True]
        assert all(old[2] != new[2] for old, new in zip(before, after, strict=True))
        assert changes(seen[-8], seen[-4])[0].startswith("workcell:robot changed from mine ")
        before = after


@pytest.mark.parametrize("name", ["ur5e_2f85", "viperx_300s"])
def test_a_measured_gripper_opens_by_what_it_is_told(name: str, tmp_path: Path) -> None:
    installed = robots.find(name)
    if installed is None:
        pytest.skip(f"needs the robot: blueprint robots install {name}")
    (tmp_path / "scene.xml").write_text('<mujoco><option integrator="implicitfast"/><worldbody/></mujoco>')
    arm = robot_mjcf.mount(tmp_path / "scene.xml", installed, np.eye(4), 0.0, tmp_path / "cell")
    cell = Cell.load(tmp_path / "cell" / "workcell.xml", arm, ())
    pads = tuple(f"robot/{pad}" for pad in installed.robot.gripper.pads)
    data, action = mujoco.MjData(cell.model), cell.home_action
    data.qpos[:] = cell.home_qpos
    for opening in (0.06, 0.033, 0.012):
        action[-1] = opening
        data.ctrl[:] = cell.ctrl(action.astype(np.float32))
        mujoco.mj_step(cell.model, data, 480)
        assert pad_distance(cell.model, data, pads) == pytest.approx(opening, abs=1e-3)
        assert cell.opening(data.qpos) == pytest.approx(opening, abs=1e-3)
        np.testing.assert_allclose(data.qpos[cell.finger_qpos], cell.finger_positions(opening), atol=0.02)
