"""Laws of tasks and episodes, on the toy workcell: feasible and worded; successful, repeatable and replayable."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from bench.audit import objections, rerun
from pydantic import ValidationError

from blueprint.backends.simulator_mujoco import SimulatorMujoco
from blueprint.core.errors import InfeasibleError
from blueprint.geometry.transforms import matrix_to_rows
from blueprint.model.artifacts import Episodes, SimScene, TaskSet, Workcell
from blueprint.model.scene import SceneCamera, SettleTest
from blueprint.model.task import Family, Goal, Task
from blueprint.skills.families import NEEDS, pick, wipe
from blueprint.skills.scene import TaskScene
from blueprint.stages.episodes import EpisodesConfig, episodes
from blueprint.stages.tasks import TOLD, TasksConfig, tasks
from toy_cell import make_workcell
from toys import CAMERA, T_world_camera


@pytest.fixture(scope="module")
def workcell(tmp_path_factory: pytest.TempPathFactory) -> Workcell:
    return make_workcell(tmp_path_factory.mktemp("cell") / "workcell")


def scene_of(workcell: Workcell) -> SimScene:
    settle = SettleTest(
        simulator="toy",
        seconds=5,
        objects=(),
        max_drift_m=0,
        max_drift_deg=0,
        max_penetration_m=0,
        passed=True,
    )
    camera = SceneCamera(name="scene", camera=CAMERA, T_world_camera=matrix_to_rows(T_world_camera()))
    return SimScene(bodies=workcell.bodies, cameras=(camera,), table_polygon=workcell.table_polygon, settle=settle)


@pytest.fixture(scope="module")
def offered(workcell: Workcell, tmp_path_factory: pytest.TempPathFactory) -> TaskSet:
    return tasks(workcell, scene_of(workcell), SimulatorMujoco(), TasksConfig(), tmp_path_factory.mktemp("tasks"))


def test_every_object_that_fits_gets_tasks(offered: TaskSet) -> None:
    assert {task.object for task in offered.tasks} >= {"cracker_box", "soup_can", "mustard_bottle"}
    assert {task.goal.family for task in offered.tasks} >= {"lift", "place_region", "place_beside"}
    assert len({task.id for task in offered.tasks}) == len(offered.tasks)


def test_instructions_name_the_object_and_the_target(workcell: Workcell, offered: TaskSet) -> None:
    text = {body.name: body.text for body in workcell.bodies}
    for task in offered.tasks:
        assert text[task.object] in task.instruction
        assert task.goal.target is None or text[task.goal.target] in task.instruction


def test_what_makes_no_sense_is_refused_with_a_reason(offered: TaskSet) -> None:
    assert "opening" in offered.refused["place_into-soup_can-cracker_box"]
    assert "flat" in offered.refused["place_on-soup_can-mustard_bottle"]
    assert all(offered.refused.values())


def test_a_family_that_finds_nothing_says_what_it_lacks(workcell: Workcell, tmp_path: Path) -> None:
    wanted: tuple[Family, ...] = ("open", "close", "turn", "press", "handover", "carry", "pour")
    with pytest.raises(InfeasibleError) as raised:
        tasks(workcell, scene_of(workcell), SimulatorMujoco(), TasksConfig(families=wanted), tmp_path)
    lines = raised.value.message.splitlines()[1:]
    assert [line.partition(": it needs ")[0] for line in lines] == [*wanted[:TOLD], f"and {len(wanted) - TOLD} more"]
    assert all(line.endswith(NEEDS[name]) for name, line in zip(wanted[:TOLD], lines, strict=False))
    assert {*NEEDS} == {*get_args(Family)}


@pytest.mark.parametrize(
    ("category", "holds", "wipes"),
    [("", True, True), ("bowl", True, False), ("can", False, False), ("sponge", False, True)],
)
def test_what_a_thing_is_known_for_decides_and_what_is_unknown_is_allowed(
    workcell: Workcell, monkeypatch: pytest.MonkeyPatch, category: str, holds: bool, wipes: bool
) -> None:
    bodies = tuple(b.model_copy(update={"category": category} if b.name == "bowl" else {}) for b in workcell.bodies)
    known = workcell.model_copy(update={"bodies": bodies}).bind(workcell.root)
    scene = TaskScene.of(known, SimulatorMujoco(), 0)
    monkeypatch.setattr(pick, "opening", lambda *at: 0.2)  # wide enough for all
    assert pick.unfit(scene, "soup_can", "bowl", "place_into") == ("" if holds else f"nothing is put into a {category}")
    monkeypatch.setattr(wipe, "FLAT_M", (0.0, 0.2))  # flat enough for all
    (offer,) = (one for one in wipe.propose(scene, "wipe", np.random.default_rng(0)) if one.object == "bowl")
    assert (offer.reason == f"nobody wipes with a {category}") != wipes


def test_a_policy_chooses_the_families(workcell: Workcell, tmp_path: Path) -> None:
    with pytest.raises(InfeasibleError) as raised:
        tasks(workcell, scene_of(workcell), SimulatorMujoco(), TasksConfig(policy="panel_interaction"), tmp_path)
    lines = raised.value.message.splitlines()[1:]
    assert [line.partition(":")[0] for line in lines] == ["press", "turn"]
    with pytest.raises(ValidationError, match="leave one out"):
        TasksConfig(families=("lift",), policy="dish_loading")


def test_same_seed_same_tasks(workcell: Workcell, offered: TaskSet, tmp_path: Path) -> None:
    assert tasks(workcell, scene_of(workcell), SimulatorMujoco(), TasksConfig(), tmp_path) == offered


def run(workcell: Workcell, out: Path) -> Episodes:
    wanted = (
        Task(id="lift", object="cracker_box", goal=Goal(family="lift", height_m=0.08), instruction="lift it"),
        Task(
            id="place",
            object="soup_can",
            goal=Goal(family="place_region", center=(-0.05, -0.22), radius_m=0.05),
            instruction="move it",
        ),
    )
    taskset = TaskSet(tasks=wanted, refused={})
    return episodes(workcell, taskset, SimulatorMujoco(), EpisodesConfig(count=2), out).save(out)


@pytest.fixture(scope="module")
def made(workcell: Workcell, tmp_path_factory: pytest.TempPathFactory) -> Episodes:
    return run(workcell, tmp_path_factory.mktemp("episodes"))


def test_episodes_succeed(made: Episodes) -> None:
    assert [record.success for record in made.episodes] == [True, True]
    assert all(check.passed for record in made.episodes for check in record.attempts[-1].checks)


def test_an_audit_that_shares_nothing_with_the_judge_agrees(workcell: Workcell, made: Episodes) -> None:
    for record in made.episodes:
        assert record.states is not None
        again = rerun(workcell, made.path(record.states), made.fps)
        assert objections(workcell, record.task, again) == []


def test_recorded_actions_replay_to_the_bit(workcell: Workcell, made: Episodes) -> None:
    """The actions as a dataset holds them, float32, open loop, in a fresh simulation."""
    for record in made.episodes:
        assert record.states is not None
        assert rerun(workcell, made.path(record.states), made.fps).largest_difference == 0.0


def test_states_hold_what_the_artifact_page_says(workcell: Workcell, made: Episodes) -> None:
    record = made.episodes[1]
    assert record.states is not None
    with np.load(made.path(record.states)) as file:
        arrays = dict(file)
    frames = record.frames
    assert arrays["state"].shape == arrays["action"].shape == (frames, 8)
    assert arrays["state"].dtype == arrays["action"].dtype == np.float32
    assert len(made.state_names) == 8
    np.testing.assert_allclose(arrays["time"], np.arange(frames) / made.fps)
    speed = np.abs(np.diff(arrays["action"][:, :7].astype(float), axis=0)) * made.fps
    assert (speed <= np.array(workcell.robot.velocity_limits)).all()
    assert set(arrays["segment"]) <= set(range(len(made.segments)))
    assert (np.diff(arrays["segment"].astype(int)) >= 0).all()  # skills follow one another


def test_same_seed_same_bytes(workcell: Workcell, made: Episodes, tmp_path: Path) -> None:
    again = run(workcell, tmp_path)
    assert again.model_dump() == made.model_dump()
    for record in made.episodes:
        assert record.states is not None
        first, second = (hashlib.sha256(e.path(record.states).read_bytes()).digest() for e in (made, again))
        assert first == second
