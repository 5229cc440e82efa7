"""A trial tells a grasp that holds from one that does not, and a release that stays from one that falls over."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import cast

import numpy as np
import pytest
from tests.toy_cell import make_workcell

from blueprint.backends.protocols import Simulator
from blueprint.backends.simulator_mujoco import SimulatorMujoco
from blueprint.skills.approach import Approach
from blueprint.skills.primitives import Held, Placing
from blueprint.skills.scene import TaskScene
from blueprint.skills.trials import Trials

CAN = "soup_can"


@cache
def made(folder: str) -> tuple[TaskScene, Trials]:
    from pathlib import Path

    simulator = cast(Simulator, SimulatorMujoco())
    scene = TaskScene.of(make_workcell(Path(folder) / "workcell"), simulator, 0)
    return scene, Trials(scene.simulator, scene.skills)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> tuple[TaskScene, Trials]:
    return made(str(tmp_path_factory.mktemp("trials")))


def good(bench: tuple[TaskScene, Trials]) -> tuple[Approach, Held]:
    scene, trials = bench
    start = scene.cell.home_qpos
    for approach in scene.ways_to(CAN, start):
        held = trials.grasp(CAN, approach, start)
        if held is not None:
            return approach, held
    raise AssertionError("no grasp of the can holds")


def test_a_grasp_that_holds_keeps_the_object_where_it_was_gripped(bench: tuple[TaskScene, Trials]) -> None:
    approach, held = good(bench)
    planned = np.linalg.inv(approach.grasp.T_object_tool)
    assert np.linalg.norm(held.T_tool_object[:3, 3] - planned[:3, 3]) < 0.015
    assert held.width == pytest.approx(approach.grasp.width, abs=0.004)


def test_trials_repeat_to_the_bit(bench: tuple[TaskScene, Trials]) -> None:
    scene, trials = bench
    approach, held = good(bench)
    again = trials.grasp(CAN, approach, scene.cell.home_qpos)
    assert again is not None
    np.testing.assert_array_equal(again.T_tool_object, held.T_tool_object)


def test_closing_on_air_holds_nothing(bench: tuple[TaskScene, Trials]) -> None:
    scene, trials = bench
    approach, _ = good(bench)
    assert trials.grasp("bowl", approach, scene.cell.home_qpos) is None


def test_let_go_in_the_air_does_not_stay(bench: tuple[TaskScene, Trials]) -> None:
    scene, trials = bench
    _, held = good(bench)
    skills, cell = scene.skills, scene.cell
    start = cell.home_qpos
    high = cell.pose(start, CAN)
    high[2, 3] += 0.12
    at = skills.arm.solve(high @ np.linalg.inv(held.T_tool_object), skills.arm.home)
    assert at is not None
    assert not trials.release(held, Placing(np.stack([at, at]), np.stack([at, at])), start)


def test_set_down_where_it_stood_stays(bench: tuple[TaskScene, Trials]) -> None:
    scene, trials = bench
    from blueprint.model.task import Goal

    _, held = good(bench)
    start = scene.cell.home_qpos
    x, y = scene.cell.pose(start, CAN)[:2, 3]
    goal = Goal(family="place_region", center=(float(x), float(y)), radius_m=0.05)
    placing = next(scene.skills.placings(goal, held, start, np.random.default_rng(0)), None)
    assert placing is not None
    assert trials.release(held, placing, start)
    assert not trials.release(replace(held, opening=0.0), placing, start)  # it is taken along again
