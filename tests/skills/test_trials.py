"""A trial tells a grasp that holds from one that does not, and a release that stays from one that falls over."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import islice
from typing import cast

import numpy as np
import pytest
from tests.toy_cell import make_workcell

from blueprint.backends.protocols import Simulator
from blueprint.backends.simulator_mujoco import SimulatorMujoco
from blueprint.model.task import Goal, Task
from blueprint.skills.families.pick import PickAndPlace, region
from blueprint.skills.grasping.approach import Approach
from blueprint.skills.grasping.trials import Trials
from blueprint.skills.mounting import WORKED_M
from blueprint.skills.placement import height_range
from blueprint.skills.primitives import Held, Placing
from blueprint.skills.scene import TaskScene

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
    _, held = good(bench)
    start = scene.cell.home_qpos
    x, y = scene.cell.pose(start, CAN)[:2, 3]
    goal = Goal(family="place_region", center=(float(x), float(y)), radius_m=0.05)
    placing = next(scene.skills.placings(goal, held, start, np.random.default_rng(0)), None)
    assert placing is not None
    assert trials.release(held, placing, start)
    assert not trials.release(replace(held, opening=0.0), placing, start)  # it is taken along again


def test_what_is_set_down_touches_its_support_before_the_hand_opens(bench: tuple[TaskScene, Trials]) -> None:
    scene, _ = bench
    _, held = good(bench)
    skills, cell, start = scene.skills, scene.cell, scene.cell.home_qpos
    x, y = cell.pose(start, CAN)[:2, 3]
    goal = Goal(family="place_region", center=(float(x), float(y)), radius_m=0.05)
    for placing in islice(skills.placings(goal, held, start, np.random.default_rng(0)), 3):
        lowest = height_range(cell, CAN, skills.arm.tool_pose(placing.down[-1]) @ held.T_tool_object)[0]
        assert -0.001 < lowest < 0.0003


def test_the_place_chosen_before_the_pick_is_gone_to_first(bench: tuple[TaskScene, Trials]) -> None:
    scene, _ = bench
    skills, start, (approach, held) = scene.skills, scene.cell.home_qpos, good(bench)
    x, y = scene.cell.pose(start, CAN)[:2, 3]
    goal = Goal(family="place_region", center=(float(x), float(y)), radius_m=0.05)
    *_, last = skills.placings(goal, held, start, np.random.default_rng(0))
    wish = skills.arm.tool_pose(last.down[-1]) @ held.T_tool_object
    placing, path = next(skills.brought(goal, held, start, approach.lifted, np.random.default_rng(1), wish))
    reached = skills.arm.tool_pose(placing.down[-1]) @ held.T_tool_object
    assert np.linalg.norm(reached[:3, 3] - wish[:3, 3]) < 2e-3
    np.testing.assert_array_equal(path.corners[[0, -1]], [approach.lifted, placing.down[0]])


def test_a_planned_step_follows_its_target(bench: tuple[TaskScene, Trials]) -> None:
    """From another state, the place moves as the target has moved; an object that moved itself needs another way."""
    scene, _ = bench
    cell, start, (approach, _) = scene.cell, scene.cell.home_qpos, good(bench)
    target = next(name for name in cell.objects if name != CAN)
    task = Task(id="t", object=CAN, goal=Goal(family="place_on", target=target), instruction="")
    end = cell.pose(start, target)
    way = PickAndPlace(scene, task, approach, start, np.random.default_rng(0), end)
    moved = end.copy()
    moved[:2, 3] += [0.004, -0.003]
    again = way.again(cell.with_pose(start, target, moved))
    assert again is not None and again.end is not None
    np.testing.assert_allclose(again.end, moved, atol=1e-9)
    lifted = cell.pose(start, CAN)
    lifted[2, 3] += 0.01
    assert way.again(cell.with_pose(start, CAN, lifted)) is None


def test_regions_lie_where_the_arm_works(bench: tuple[TaskScene, Trials]) -> None:
    scene, _ = bench
    base = np.array(scene.cell.robot.base.position)
    goals = [region(scene, CAN, np.random.default_rng(seed)).goal for seed in range(8)]
    centers = [np.array(goal.center) for goal in goals if goal is not None]
    assert centers
    assert all(WORKED_M[0] <= np.linalg.norm(center - base[:2]) <= WORKED_M[1] for center in centers)
