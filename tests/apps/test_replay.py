"""Laws of a replay: the actions of an episode alone, from a scene or from a dataset far from it, do the same again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import toy_episodes
from blueprint.apps.cli import main
from blueprint.apps.replay import replay, text
from blueprint.backends.renderer_mujoco import RendererMujoco
from blueprint.backends.simulator_mujoco import SimulatorMujoco
from blueprint.core.artifact import Artifact
from blueprint.core.errors import InputError
from blueprint.core.store import KeyParts, Receipt, Scene, describe_files, digest_files
from blueprint.formats.lerobot.check import check_dataset
from blueprint.model.artifacts import Episodes, TaskSet, Workcell
from blueprint.model.task import Goal, Task
from blueprint.skills.replay import rerun
from blueprint.stages.dataset import DatasetConfig, dataset
from blueprint.stages.episodes import EpisodesConfig, Vary, episodes
from blueprint.stages.recording import RecordingConfig, recording
from toy_cell import make_workcell

MOVE = Task(
    id="place",
    object="soup_can",
    goal=Goal(family="place_region", center=(-0.05, -0.22), radius_m=0.05),
    instruction="move it",
)
VARIED = EpisodesConfig(count=2, vary=Vary(physics="high", objects="medium", goals="high"), grasp_samples=80, seed=2)


def published(scene: Scene, made: Artifact, stage: str, inputs: dict[str, str]) -> str:
    """As the engine does it, from where it was made; returns its files' digest."""
    parts = KeyParts(stage=stage, version="1", code={}, tools={}, config={}, backends={}, inputs=inputs)
    partial = scene.partial(stage, parts.key)
    shutil.copytree(made.root, partial)
    files = describe_files(partial)
    nothing = {"backends": {}, "reasons": (), "seconds": 0, "peak_memory_mib": 0, "finished": ""}
    digest = digest_files(files)
    scene.commit(Receipt(stage=stage, key=parts.key, parts=parts, files=files, files_digest=digest, **nothing))
    return digest


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workcell, Episodes]:
    folder = tmp_path_factory.mktemp("made")
    workcell, tasks = make_workcell(folder / "workcell"), TaskSet(tasks=(MOVE,), refused={})
    (folder / "episodes").mkdir()
    return workcell, episodes(workcell, tasks, SimulatorMujoco(), VARIED, folder / "episodes").save(folder / "episodes")


@pytest.fixture(scope="module")
def scene(made: tuple[Workcell, Episodes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = Scene(tmp_path_factory.mktemp("scene"))
    store.set_request({"capture": "/nowhere", "digest": "0", "sets": [], "config": None})
    digest = published(store, made[0], "workcell", {})
    published(store, made[1], "episodes", {"workcell": digest})
    return store.root


@pytest.fixture(scope="module")
def delivered(made: tuple[Workcell, Episodes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset with nothing of the scene beside it."""
    folder, taskset = tmp_path_factory.mktemp("work"), TaskSet(tasks=(MOVE,), refused={})
    cfg = RecordingConfig(width=32, height=32, pack="core", samples=1)
    drawn = recording.function(*made, RendererMujoco(), cfg, folder / "drawn").save(folder / "drawn")
    licences = toy_episodes.make_licences()
    dataset.function(made[0], taskset, made[1], drawn, licences, DatasetConfig(), folder / "dataset")
    away = tmp_path_factory.mktemp("away") / "dataset"
    shutil.copytree(folder / "dataset/dataset", away)
    shutil.rmtree(folder)
    return away


def test_a_scene_and_its_dataset_replay_to_the_last_bit_under_the_variation_of_each_episode(
    made: tuple[Workcell, Episodes], scene: Path, delivered: Path
) -> None:
    assert all(r.success and r.variation and r.variation.mjcf and r.variation.physics for r in made[1].episodes)
    for number in (0, 1):
        for path in (scene, delivered):
            value = replay(path, number)
            assert value["equal"] and value["largest_difference"] == 0.0
            assert value["claimed"] and value["success"] and value["ok"]
            assert "equal to the last bit" in text(value)
    assert check_dataset(delivered, decode=True) == []


def test_actions_that_do_not_do_the_task_are_no_success(delivered: Path, tmp_path: Path) -> None:
    idle = tmp_path / "idle"
    shutil.copytree(delivered, idle)
    path = idle / "data/chunk-000/file-000.parquet"
    table = pq.read_table(path)
    still = pa.array([table["action"][0].as_py()] * len(table), table.schema.field("action").type)
    pq.write_table(table.set_column(table.schema.get_field_index("action"), "action", still), path)
    value = replay(idle, 0)
    assert not value["equal"] and value["largest_difference"] > 0.1
    assert value["claimed"] and not value["success"] and not value["ok"]
    assert main(["replay", str(idle), "0", "--json"]) == 1


def test_other_objects_than_those_of_the_episode_are_other_states(delivered: Path, tmp_path: Path) -> None:
    """The delivered variation is what is simulated: with masses of another draw the states are not equal."""
    other = tmp_path / "other"
    shutil.copytree(delivered, other)
    path = other / "sidecar/episodes.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[0]["variation"]["physics"] = {"mass": {"soup_can": 3.0}}
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert not replay(other, 0)["equal"] and replay(other, 1)["equal"]


def test_what_cannot_be_replayed_says_why(scene: Path, delivered: Path, tmp_path: Path) -> None:
    for path in (scene, delivered):
        with pytest.raises(InputError, match="episode 7 is not there") as error:
            replay(path, 7)
        assert error.value.hint == "there are: 0, 1"
    bare = tmp_path / "bare"
    shutil.copytree(delivered, bare, ignore=shutil.ignore_patterns("simulation"))
    with pytest.raises(InputError, match="does not hold what was simulated"):
        replay(bare, 0)
    with pytest.raises(InputError, match="not a scene directory"):
        replay(tmp_path, 0)


def test_a_replay_is_what_plain_mujoco_makes_of_the_actions(made: tuple[Workcell, Episodes]) -> None:
    workcell, episodes_ = made
    record = episodes_.episodes[0]
    assert record.states and record.variation and record.variation.physics
    with np.load(episodes_.path(record.states)) as stored:
        start, actions = stored["qpos"][0], stored["action"]
    file, arm = episodes_.model(record, workcell), workcell.robot
    unvaried = record.variation.model_copy(update={"physics": None})
    got = rerun(workcell, file, unvaried, start, actions, episodes_.fps, SimulatorMujoco()).arrays()["qpos"]

    model = mujoco.MjModel.from_xml_path(str(file))
    data: Any = mujoco.MjData(model)
    mujoco.mj_resetDataKeyframe(model, data, model.key("start").id)
    data.qpos[:] = start
    joints = [model.actuator(name).id for name in arm.actuators]
    finger, steps = model.actuator(arm.gripper.actuator).id, round(1 / episodes_.fps / model.opt.timestep)
    for row, action in zip(got, actions.astype(float), strict=True):
        np.testing.assert_array_equal(data.qpos, row)
        before, after = data.ctrl.copy(), data.ctrl.copy()
        share = action[-1] / arm.gripper.max_opening_m
        after[joints] = action[:-1]
        after[finger] = arm.gripper.closed_ctrl + share * (arm.gripper.open_ctrl - arm.gripper.closed_ctrl)
        for k in range(1, steps + 1):
            data.ctrl[:] = before + (after - before) * (k / steps)
            mujoco.mj_step(model, data)
