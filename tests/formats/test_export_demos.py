"""Exports for trainers of demonstrations: what is written is what was recorded, and nothing is made up."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pytest
from bench.trust.defects import Draft

from blueprint.apps.release.convert import convert_dataset
from blueprint.core.errors import BackendError, InputError, IntegrityError
from blueprint.core.files import file_digest, files_below
from blueprint.formats import exports
from blueprint.formats.exports import rlds, steps
from blueprint.formats.exports.tfrecord import crc32c
from blueprint.formats.lerobot.read import ForeignDataset, open_dataset

ROOT = Path(__file__).parents[2]
PARTS = {"train": [0, 3], "val": [1], "test": [2]}  # episodes 0 and 3 are one motion under two looks
SUCCESS = [True, True, False, True]
FILTERS = {"train": "train", "val": "valid", "test": "test"}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> ForeignDataset:
    draft = Draft(np.random.default_rng(0), episodes=4)
    for episode, count in enumerate((12, 9, 1, 7)):
        draft.states[episode], draft.actions[episode] = draft.states[episode][:count], draft.actions[episode][:count]
        draft.pictures[episode] = {camera: seen[:count] for camera, seen in draft.pictures[episode].items()}
    root = draft.write(tmp_path_factory.mktemp("source") / "dataset")
    side = root / "sidecar"
    (side / "privileged_state").mkdir(parents=True)
    (side / "splits.json").write_text(json.dumps({"strategy": "random", "seed": 42, **PARTS}))
    (side / "scene.json").write_text(json.dumps({"sensor_source": "mock", "renderer": "stripes"}))
    lines = ({"episode_index": index, "success": success} for index, success in enumerate(SUCCESS))
    (side / "episodes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for index, state in enumerate(draft.states):
        simulated = {"qpos": state.astype(float), "qvel": np.zeros_like(state), "ctrl": state}
        np.savez(side / f"privileged_state/{index:06d}.npz", **simulated)
    return open_dataset(root)


@pytest.fixture(scope="module")
def wanted(source: ForeignDataset) -> dict[int, dict[str, np.ndarray]]:
    """Episode -> what was recorded, read without the exports' own reading."""
    found = {}
    for episode in source.episodes():
        table = source.table(episode)
        found[episode.index] = {"action": table["action"], "state": table["observation.state"]} | {
            f"{key}_image": np.stack(list(source.pictures(episode, f"observation.images.{key}")))
            for key in ("scene", "wrist")
        }
    return found


def part_of(index: int) -> str:
    return next(part for part, indices in PARTS.items() if index in indices)


def reward_of(index: int, count: int) -> np.ndarray:
    return ((np.arange(count) == count - 1) & SUCCESS[index]).astype(np.float32)


# ------------------------------------------------------------------ RLDS, decoded by hand


def records(path: Path) -> Iterator[bytes]:
    """The records of a TFRecord file, its check sums compared."""
    data = path.read_bytes()
    at = 0
    while at < len(data):
        head, (length,) = data[at : at + 8], struct.unpack("<Q", data[at : at + 8])
        body = data[at + 12 : at + 12 + length]
        for part, place in ((head, at + 8), (body, at + 12 + length)):
            value = crc32c(part)
            masked = (((value >> 15) | (value << 17)) + 0xA282EAD8) & 0xFFFFFFFF
            assert struct.unpack("<I", data[place : place + 4])[0] == masked
        yield body
        at += 16 + length


def varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 128:
            return value, at


def fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        assert tag & 7 == 2
        length, at = varint(data, at)
        yield tag >> 3, data[at : at + length]
        at += length


def decoded(record: bytes) -> dict[str, Any]:
    ((_, features),) = fields(record)
    found: dict[str, Any] = {}
    for _, entry in fields(features):
        parts = dict(fields(entry))
        ((kind, values),) = fields(parts[2])
        if kind == 1:
            found[parts[1].decode()] = [value for _, value in fields(values)]
            continue
        ((_, packed),) = fields(values)
        if kind == 2:
            found[parts[1].decode()] = np.frombuffer(packed, "<f4")
            continue
        numbers, at = [], 0
        while at < len(packed):
            value, at = varint(packed, at)
            numbers.append(value - 2**64 if value >= 2**63 else value)
        found[parts[1].decode()] = np.array(numbers)
    return found


def episodes_of(folder: Path) -> dict[int, tuple[str, dict[str, Any]]]:
    found = {}
    for path in sorted(folder.glob("*.tfrecord-*")):
        for record in records(path):
            example = decoded(record)
            found[int(example["episode_metadata/episode_index"][0])] = (path.name, example)
    return found


@pytest.fixture(scope="module")
def rlds_folder(source: ForeignDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("rlds") / "My task-2"
    out.mkdir()
    done = exports.write(source, out, "rlds")
    assert (done.episodes, done.frames) == (4, 29)
    return out / "my_task_2" / "1.0.0"


def test_the_check_sum_is_that_of_the_standard() -> None:
    """RFC 3720, B.4; and long data, which is summed in stretches, as the plain loop sums it."""
    known = {bytes(32): 0x8A9136AA, b"\xff" * 32: 0x62A8AB43, bytes(range(32)): 0x46DD794E, b"123456789": 0xE3069283}
    assert {data: crc32c(data) for data in known} == known
    data = np.random.default_rng(0).integers(0, 256, 270_001, dtype=np.uint8).tobytes()
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    assert crc32c(data) == value ^ 0xFFFFFFFF


def test_rlds_holds_what_was_recorded(rlds_folder: Path, wanted: dict[int, dict[str, np.ndarray]]) -> None:
    found = episodes_of(rlds_folder)
    assert set(found) == set(wanted)
    for index, values in wanted.items():
        name, example = found[index]
        count = len(values["action"])
        assert name == f"my_task_2-{part_of(index)}.tfrecord-00000-of-00001"
        assert np.array_equal(example["steps/action"].reshape(count, -1), values["action"])
        assert np.array_equal(example["steps/observation/state"].reshape(count, -1), values["state"])
        for key in ("scene_image", "wrist_image"):
            shown = [
                cv2.imdecode(np.frombuffer(p, np.uint8), 1)[..., ::-1] for p in example[f"steps/observation/{key}"]
            ]
            assert np.array_equal(shown, values[key])
        assert example["steps/language_instruction"] == [b"move it"] * count
        assert np.array_equal(example["steps/columns/frame_index"], np.arange(count))


def test_steps_begin_end_and_reward_as_judged(rlds_folder: Path) -> None:
    for index, (_, example) in episodes_of(rlds_folder).items():
        count = len(example["steps/is_first"])
        last = np.arange(count) == count - 1
        assert np.array_equal(example["steps/is_first"], np.arange(count) == 0)
        assert np.array_equal(example["steps/is_last"], last)
        assert np.array_equal(example["steps/is_terminal"], last & SUCCESS[index])
        assert np.array_equal(example["steps/reward"], reward_of(index, count))
        assert np.array_equal(example["steps/discount"], np.ones(count))


def test_every_field_is_described_and_nothing_else(rlds_folder: Path) -> None:
    def leaves(feature: dict[str, Any], above: str = "") -> Iterator[str]:
        below = feature.get("sequence", {}).get("feature", feature)
        for name, part in below.get("featuresDict", {}).get("features", {}).items():
            yield from leaves(part, f"{above}/{name}")
        if "featuresDict" not in below:
            yield above.removeprefix("/")

    described = set(leaves(json.loads((rlds_folder / "features.json").read_text())))
    assert all(set(example) == described for _, example in episodes_of(rlds_folder).values())
    info = json.loads((rlds_folder / "dataset_info.json").read_text())
    assert {split["name"]: split["shardLengths"] for split in info["splits"]} == {
        "train": ["2"], "val": ["1"], "test": ["1"]
    }  # fmt: skip
    assert '"sensor_source": "mock"' in info["description"]
    for split in info["splits"]:
        (path,) = rlds_folder.glob(f"*-{split['name']}.tfrecord*")
        assert path.stat().st_size == int(split["numBytes"]) + 16 * len(PARTS[split["name"]])


def test_large_splits_are_several_files(
    source: ForeignDataset, rlds_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rlds, "SHARD", 1)
    rlds.write(source, tmp_path)
    (folder,) = tmp_path.glob("*/1.0.0")
    assert {len(list(records(path))) for path in folder.glob("*.tfrecord-*")} == {1}
    assert len(list(folder.glob("*-train.tfrecord-0000?-of-00002"))) == 2
    assert [str(example) for _, example in episodes_of(folder).values()] == [
        str(example) for _, example in episodes_of(rlds_folder).values()
    ]


def test_what_tensorflow_could_not_read_is_not_written(
    source: ForeignDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rlds, "LIMIT", 1000)
    with pytest.raises(InputError, match="episode 0"):
        rlds.write(source, tmp_path)


# ------------------------------------------------------------------ what nobody said


def told(source: ForeignDataset, tmp_path: Path, **columns: np.ndarray) -> list[steps.Demo]:
    """The demos of a dataset without a sidecar whose tables hold `columns` too."""
    mine = replace(source, root=tmp_path, features=source.features | {
        name: {"dtype": values.dtype.name, "shape": list(values.shape[1:]) or [1]} for name, values in columns.items()
    })  # fmt: skip
    plain = ForeignDataset.table

    class Told(ForeignDataset):
        def episodes(self):
            return source.episodes()

        def table(self, episode):
            rows = plain(source, episode)
            return rows | {n: np.resize(v, (episode.length, *v.shape[1:])) for n, v in columns.items()}

    return list(steps.demos(Told(**{name: getattr(mine, name) for name in ForeignDataset.__dataclass_fields__})))


def test_no_reward_is_made_up(source: ForeignDataset, tmp_path: Path) -> None:
    for demo in told(source, tmp_path):
        assert not demo.reward.any()
        assert demo.rewarded.startswith("nobody")
        assert demo.part == "train"


def test_rewards_of_the_table_come_before_a_verdict(source: ForeignDataset, tmp_path: Path) -> None:
    given = np.linspace(0, 1, 12, dtype=np.float32)
    done = np.zeros(12, bool)
    demo = told(source, tmp_path, **{"next.reward": given, "next.done": done})[0]
    assert np.array_equal(demo.reward, given)
    assert demo.rewarded == "next.reward"
    assert not demo.done.any() and not demo.terminal
    assert set(demo.columns) >= {"next.reward", "next.done"}


def test_double_precision_survives(source: ForeignDataset, tmp_path: Path) -> None:
    exact = np.random.default_rng(0).random((12, 3))
    demo = told(source, tmp_path, **{"observation.pose": exact})[0]
    assert np.array_equal(demo.observation["pose"], exact)
    rows = decoded(rlds.example({"pose": exact}))["pose"]
    assert np.array_equal([np.frombuffer(row) for row in rows], exact)


def test_depth_in_a_video_is_refused(source: ForeignDataset) -> None:
    name = source.videos[0]
    features = source.features | {name: source.features[name] | {"info": {"is_depth_map": True}}}
    with pytest.raises(InputError, match="depth"):
        steps.pictures(replace(source, features=features), next(source.episodes()))


def test_pictures_in_the_table_are_pictures(source: ForeignDataset) -> None:
    """As older datasets keep them, each a coded file in its row."""
    given = np.random.default_rng(0).integers(0, 256, (12, 8, 6, 3), dtype=np.uint8)
    cells = [{"bytes": cv2.imencode(".png", picture[..., ::-1])[1].tobytes(), "path": "x.png"} for picture in given]

    class Stored(ForeignDataset):
        def rows(self, episode):
            return pa.table({"observation.image.top": cells})

    features = source.features | {"observation.image.top": {"dtype": "image", "shape": [8, 6, 3]}}
    dataset = Stored(
        **{name: getattr(source, name) for name in ForeignDataset.__dataclass_fields__} | {"features": features}
    )
    shown = steps.pictures(dataset, next(source.episodes()))
    assert np.array_equal(list(shown["top_image"]), given)
    assert set(shown) == {"top_image", "scene_image", "wrist_image"}


def test_names_too_alike_are_refused(source: ForeignDataset) -> None:
    features = source.features | {"observation.scene_image": {"dtype": "float32", "shape": [1]}}
    with pytest.raises(InputError, match="alike"):
        next(steps.demos(replace(source, features=features)))


def test_a_dataset_without_actions_is_refused(source: ForeignDataset) -> None:
    features = {name: feature for name, feature in source.features.items() if name != "action"}
    with pytest.raises(InputError, match="action"):
        next(steps.demos(replace(source, features=features)))


def test_a_video_that_is_too_short_is_an_error(source: ForeignDataset) -> None:
    episode = list(source.episodes())[-1]
    with pytest.raises(IntegrityError):
        list(source.pictures(replace(episode, length=episode.length + 1), source.videos[0]))


# ------------------------------------------------------------------ HDF5


def test_without_h5py_the_error_says_what_to_install(
    source: ForeignDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(BackendError, match="h5py") as error:
        exports.write(source, tmp_path, "hdf5")
    assert "blueprint-pipeline[hdf5]" in error.value.hint


@pytest.fixture(scope="module")
def hdf5_file(source: ForeignDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("h5py", reason="needs the extra hdf5")
    out = tmp_path_factory.mktemp("hdf5")
    done = exports.write(source, out, "hdf5")
    assert (done.episodes, done.frames) == (4, 29)
    return out / "demos.hdf5"


def test_hdf5_holds_what_was_recorded(hdf5_file: Path, wanted: dict[int, dict[str, np.ndarray]]) -> None:
    import h5py

    with h5py.File(hdf5_file) as file:
        assert file["data"].attrs["total"] == 29
        assert set(file["data"]) == {f"demo_{index}" for index in wanted}
        for index, values in wanted.items():
            demo, count = file[f"data/demo_{index}"], len(values["action"])
            assert demo.attrs["num_samples"] == count
            assert demo.attrs["lang"] == "move it"
            assert np.array_equal(demo["actions"], values["action"])
            assert demo["actions"].dtype == np.float32
            assert np.array_equal(demo["rewards"], reward_of(index, count))
            assert np.array_equal(demo["dones"], np.arange(count) == count - 1)
            for key in ("state", "scene_image", "wrist_image"):
                assert np.array_equal(demo[f"obs/{key}"], values[key])
                assert np.array_equal(demo[f"next_obs/{key}"], values[key][[*range(1, count), count - 1]])
            assert demo["obs/scene_image"].dtype == np.uint8
            assert np.array_equal(demo["states"][:, 0], np.arange(count) / 15)
            assert demo["states"].shape == (count, 17)


def test_filter_keys_keep_siblings_together_and_texts_apart(hdf5_file: Path) -> None:
    import h5py

    with h5py.File(hdf5_file) as file:
        masks = {name: [key.decode() for key in values[:]] for name, values in file["mask"].items()}
    assert masks == {FILTERS[part]: [f"demo_{index}" for index in indices] for part, indices in PARTS.items()} | {
        "task_0": [f"demo_{index}" for index in range(4)]
    }


def test_the_file_says_what_it_is(hdf5_file: Path, wanted: dict[int, dict[str, np.ndarray]]) -> None:
    """No simulator of robomimic's; actions as recorded, with the range that a trainer needs to scale them."""
    import h5py

    with h5py.File(hdf5_file) as file:
        env, about = json.loads(file["data"].attrs["env_args"]), json.loads(file["about"][()])
    assert env == {"env_name": "toy", "type": "blueprint", "env_kwargs": {}}
    assert about["sensor_source"] == "mock"
    actions = np.concatenate([values["action"] for values in wanted.values()])
    assert about["actions"]["min"] == actions.min(axis=0).tolist()
    assert about["actions"]["max"] == actions.max(axis=0).tolist()
    assert about["names"]["action"][-1] == "gripper"
    assert about["tasks"] == {"task_0": "move it"}


def test_states_of_another_episode_are_an_error(source: ForeignDataset, tmp_path: Path) -> None:
    pytest.importorskip("h5py", reason="needs the extra hdf5")
    shutil.copytree(source.root, tmp_path / "mixed")
    states = tmp_path / "mixed/sidecar/privileged_state"
    shutil.copyfile(states / "000001.npz", states / "000000.npz")
    with pytest.raises(IntegrityError, match="another length"):
        exports.write(open_dataset(tmp_path / "mixed"), tmp_path, "hdf5")


@pytest.mark.parametrize("target", ["hdf5", "rlds"])
def test_the_same_dataset_gives_the_same_bytes(source: ForeignDataset, tmp_path: Path, target: str) -> None:
    if target == "hdf5":
        pytest.importorskip("h5py", reason="needs the extra hdf5")
    outs = [tmp_path / name / "same" for name in "ab"]
    for out in outs:
        out.mkdir(parents=True)
        exports.write(source, out, target)
        time.sleep(1.1)  # a time stamp of a second would differ
    first, second = ({name: file_digest(out / name) for name in files_below(out)} for out in outs)
    assert first == second


# ------------------------------------------------------------------ the real readers


def reader(name: str, variable: str) -> str:
    """The Python that has it: of `make test-exports`, or named in the environment."""
    python = Path(os.environ.get(variable) or ROOT / f".venv-{name}/bin/python")
    if not python.is_file():
        pytest.skip(f"no environment with {name}: make test-exports makes it, or name its Python in {variable}")
    return str(python)


def run(python: str, script: str, *paths: Path) -> str:
    command = [python, str(ROOT / "tests/exports" / script), *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and "PASS" in done.stdout, done.stdout + done.stderr
    return done.stdout


def test_tensorflow_datasets_reads_it(
    source: ForeignDataset, wanted: dict[int, dict[str, np.ndarray]], tmp_path: Path
) -> None:
    python = reader("tfds", "BLUEPRINT_TFDS_PYTHON")
    (tmp_path / "toy").mkdir()
    exports.write(source, tmp_path / "toy", "rlds")
    arrays = {}
    for demo in steps.demos(source):
        index, count = demo.episode.index, demo.episode.length
        last = np.arange(count) == count - 1
        values = {"action": wanted[index]["action"], "reward": reward_of(index, count), "is_last": last}
        values |= {f"observation/{key}": value for key, value in wanted[index].items() if key != "action"}
        values |= {"discount": np.ones(count, np.float32), "is_first": np.arange(count) == 0}
        values |= {"is_terminal": last & SUCCESS[index], "language_instruction": np.array([b"move it"] * count)}
        values |= {f"columns/{name.replace('.', '_')}": column for name, column in demo.columns.items()}
        arrays |= {f"{part_of(index)}/{index}/steps/{name}": value for name, value in values.items()}
    np.savez(tmp_path / "wanted.npz", **arrays)
    run(python, "read_rlds.py", tmp_path / "toy/toy/1.0.0", tmp_path / "wanted.npz")


def test_robomimic_reads_it(hdf5_file: Path, wanted: dict[int, dict[str, np.ndarray]], tmp_path: Path) -> None:
    python = reader("robomimic", "BLUEPRINT_ROBOMIMIC_PYTHON")
    arrays = {}
    for index, values in wanted.items():
        count, above = len(values["action"]), f"{FILTERS[part_of(index)]}/{index}"
        arrays |= {f"{above}/obs/{key}": value for key, value in values.items() if key != "action"}
        arrays |= {f"{above}/actions": values["action"], f"{above}/rewards": reward_of(index, count)}
        arrays[f"{above}/dones"] = np.arange(count) == count - 1
    np.savez(tmp_path / "wanted.npz", **arrays)
    run(python, "read_hdf5.py", hdf5_file, tmp_path / "wanted.npz")


@pytest.mark.parametrize("target", ["rlds"])
def test_a_copy_is_whole_with_card_and_sidecar(source: ForeignDataset, tmp_path: Path, target: str) -> None:
    done = convert_dataset(source.root, tmp_path / "mine", target)
    assert (done["episodes"], done["frames"]) == (4, 29)
    assert (tmp_path / "mine/mine/1.0.0/mine-train.tfrecord-00000-of-00001").is_file()
    card = (tmp_path / "mine/README.md").read_text()
    assert "RLDS (TensorFlow Datasets)" in card
    assert "*.parquet" not in card  # there are none
    assert (tmp_path / "mine/sidecar/splits.json").is_file()
