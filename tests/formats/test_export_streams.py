"""ROS bags, WebDataset shards and point clouds: what the dataset and its sidecar say is what their readers find."""

from __future__ import annotations

import io
import json
import sys
import tarfile
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import trimesh
from lerobot_toys import FPS, KEY, LENGTHS, SIZE, TASKS, make_dataset

from blueprint.apps.release.convert import convert_dataset
from blueprint.core.errors import BackendError, InputError, IntegrityError
from blueprint.core.files import file_digest, files_below
from blueprint.formats import exports
from blueprint.formats.arrays import npz_stack
from blueprint.formats.exports import webdataset_tar
from blueprint.formats.exports.point_clouds import ply
from blueprint.formats.lerobot.read import open_dataset
from blueprint.formats.lerobot.sidecar_read import Sidecar
from blueprint.formats.video.coding import gray_writer

CAMERA = {"width": SIZE, "height": SIZE, "fx": 40.0, "fy": 44.0, "cx": 23.5, "cy": 23.5}
POSE = [0.1, 0.2, 1.5, 0.0, 1.0, 0.0, 0.0]  # straight down upon z = 0
DEPTH_MM = 1500
SPLITS = {"train": [0, 2], "val": [1], "test": []}


def depth_mm(frame: int) -> np.ndarray:
    """The plane z = 0, and nothing in range in the first rows."""
    depth = np.full((SIZE, SIZE), DEPTH_MM, np.uint16)
    depth[: 4 + frame] = 0
    return depth


def labels() -> np.ndarray:
    """2 on the left, 7 on the right."""
    return np.where(np.arange(SIZE) < SIZE // 2, 2, 7).astype(np.uint16)[None].repeat(SIZE, 0)


def add_sidecar(root: Path) -> None:
    side = root / "sidecar"
    for name in ("poses", "calibration", "depth/front", "segmentation/front"):
        (side / name).mkdir(parents=True)
    for index, length in enumerate(LENGTHS):
        poses = {"camera/front": [POSE] * length, "body/can": [[0.01 * k, 0, 0, 1, 0, 0, 0] for k in range(length)]}
        poses["body/gone"] = [[np.nan] * 7] * length
        columns = {name: pa.array(rows, pa.list_(pa.float64(), 7)) for name, rows in poses.items()}
        pq.write_table(pa.table({"frame_index": list(range(length)), **columns}), side / f"poses/{index:06d}.parquet")
        one = CAMERA | {"fx": 40.0 + index, "T_world_camera": POSE}  # each episode has a look of its own
        (side / f"calibration/{index:06d}.json").write_text(json.dumps({"cameras": {"front": one}}))
        for kind in ("depth", "segmentation"):
            path = side / kind / "front" / f"{index:06d}.mkv"
            with gray_writer(path, width=SIZE, height=SIZE, fps=FPS) as writer:
                for k in range(length):
                    writer.add(depth_mm(k) if kind == "depth" else labels())
    scene = {"pack": None, "cameras": {"front": CAMERA}, "segmentation": {"2": "can", "7": "box"}}
    scene |= {"instances": {"0": {"name": "background"}, "9": {"name": "can"}}, "sensor_source": "mujoco"}
    (side / "scene.json").write_text(json.dumps(scene))
    (side / "splits.json").write_text(json.dumps({"strategy": "random", "seed": 42, **SPLITS}))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = make_dataset(tmp_path_factory.mktemp("streams"))
    add_sidecar(made)
    return made


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    made = make_dataset(tmp_path)
    add_sidecar(made)
    return made


def written(root: Path, out: Path, target: str) -> Path:
    out.mkdir()
    done = exports.write(open_dataset(root), out, target)
    assert (done.episodes, done.frames) == (len(LENGTHS), sum(LENGTHS))
    return out


def table(root: Path, index: int, column: str) -> np.ndarray:
    dataset = open_dataset(root)
    return dataset.table(next(e for e in dataset.episodes() if e.index == index))[column]


def pictures(root: Path, index: int) -> list[np.ndarray]:
    dataset = open_dataset(root)
    return list(dataset.pictures(next(e for e in dataset.episodes() if e.index == index), KEY))


@pytest.mark.parametrize("target", ["mcap", "webdataset", "pointcloud"])
def test_the_command_writes_it_with_card_and_sidecar_and_twice_the_same(
    root: Path, tmp_path: Path, target: str
) -> None:
    if target == "mcap":
        pytest.importorskip("rosbags", reason="ROS bags: pip install 'blueprint-pipeline[ros]'")
    found = []
    for name in ("a", "b"):
        convert_dataset(root, tmp_path / name, target)
        found.append({file: file_digest(tmp_path / name / file) for file in files_below(tmp_path / name)})
    assert found[0] == found[1]
    assert {"README.md", "sidecar/scene.json"} < set(found[0])
    assert "does not cover this copy" in (tmp_path / "a/README.md").read_text()


# ------------------------------------------------------------------ point clouds


def cloud(path: Path) -> dict[str, np.ndarray]:
    """With trimesh's reader, but for the labels, which it leaves raw."""
    found = trimesh.load(path)
    raw = found.metadata["_ply_raw"]["vertex"]["data"]
    return {
        "points": np.asarray(found.vertices),
        "colors": np.asarray(found.colors)[:, :3],
        "instance": raw["instance"],
    }


def test_points_from_depth_lie_where_the_camera_saw_them(root: Path, tmp_path: Path) -> None:
    out = written(root, tmp_path / "out", "pointcloud")
    for index, length in enumerate(LENGTHS):
        shown = pictures(root, index)
        for k in (0, length - 1):
            found = cloud(out / f"episode_{index:06d}/{k:06d}.ply")
            x, y, z = found["points"].T
            assert len(x) == np.count_nonzero(depth_mm(k))  # every pixel that has depth, none that has not
            assert np.abs(z).max() < 1e-6
            # the camera looks down: its x is the world's, its y runs against the world's
            u = (x - POSE[0]) * (40.0 + index) / 1.5 + CAMERA["cx"]
            v = -(y - POSE[1]) * CAMERA["fy"] / 1.5 + CAMERA["cy"]
            assert np.abs(np.stack([u - u.round(), v - v.round()])).max() < 1e-3
            column, row = u.round().astype(int), v.round().astype(int)
            assert row.min() == 4 + k
            assert np.array_equal(found["colors"], shown[k][row, column])
            assert np.array_equal(found["instance"], labels()[row, column])
        rows = [json.loads(line) for line in (out / f"episode_{index:06d}/frames.jsonl").read_text().splitlines()]
        assert [row["file"] for row in rows] == [f"{k:06d}.ply" for k in range(length)]
        assert np.array_equal(np.float32([row["action"] for row in rows]), table(root, index, "action"))
        assert {row["task"] for row in rows} == {TASKS[(index + 1) % 2]}
    assert json.loads((out / "labels.json").read_text()) == {"2": "can", "7": "box"}


def test_clouds_of_a_pack_are_carried_over(copy: Path, tmp_path: Path) -> None:
    rng, kept = np.random.default_rng(0), []
    (copy / "sidecar/point_cloud").mkdir()
    for index, length in enumerate(LENGTHS):
        with npz_stack(copy / f"sidecar/point_cloud/{index:06d}.npz") as stack:
            for k in range(length):
                frame = {"points": rng.normal(size=(9, 3)).astype("f4"), "camera": np.zeros(9, "u1")}
                frame |= {"colors": rng.integers(0, 256, (9, 3), np.uint8), "instance": np.full(9, k, "u2")}
                stack.add(frame)
                kept.append((index, k, frame))
    out = written(copy, tmp_path / "out", "pointcloud")
    for index, k, frame in kept:
        found = cloud(out / f"episode_{index:06d}/{k:06d}.ply")
        assert all(np.array_equal(found[name], frame[name]) for name in found)
    assert json.loads((out / "labels.json").read_text()) == {"0": "background", "9": "can"}


def test_a_frame_in_which_nothing_is_seen_has_no_points(tmp_path: Path) -> None:
    content = ply({"points": np.full((3, 3), np.nan, "f4"), "instance": np.zeros(3, "u2")})
    assert b"element vertex 0\n" in content
    assert content.endswith(b"end_header\n")


def test_clouds_need_depth_of_a_camera_whose_place_is_known(tmp_path: Path) -> None:
    made = make_dataset(tmp_path)
    with pytest.raises(InputError, match="no point cloud") as error:
        written(made, tmp_path / "none", "pointcloud")
    assert "recording.pack" in error.value.hint
    add_sidecar(made)
    for index in range(len(LENGTHS)):
        (made / f"sidecar/calibration/{index:06d}.json").unlink()
        path = made / f"sidecar/poses/{index:06d}.parquet"
        pq.write_table(pq.read_table(path).drop_columns(["camera/front"]), path)
    (made / "sidecar/calibration").rmdir()
    with pytest.raises(InputError, match="whose place is known"):
        written(made, tmp_path / "unposed", "pointcloud")


def test_open3d_finds_points_colours_and_labels(root: Path, tmp_path: Path) -> None:
    open3d = pytest.importorskip("open3d", reason="open3d is not installed (900 MB: not in the dev lock)")
    path = written(root, tmp_path / "out", "pointcloud") / "episode_000001/000003.ply"
    found = open3d.t.io.read_point_cloud(str(path)).point
    known = cloud(path)
    assert np.array_equal(found["positions"].numpy(), known["points"].astype(np.float32))
    assert np.array_equal(found["colors"].numpy(), known["colors"])
    assert np.array_equal(found["instance"].numpy()[:, 0], known["instance"])


# ------------------------------------------------------------------ side files


def test_side_files_out_of_step_are_refused(copy: Path, tmp_path: Path) -> None:
    path = copy / "sidecar/depth/front/000001.mkv"
    path.unlink()
    with gray_writer(path, width=SIZE, height=SIZE, fps=FPS) as writer:
        writer.add(depth_mm(0))
    for target in ("pointcloud", "mcap"):
        if target == "mcap":
            pytest.importorskip("rosbags", reason="ROS bags: pip install 'blueprint-pipeline[ros]'")
        with pytest.raises(IntegrityError, match="1 entries for 8 frames"):
            written(copy, tmp_path / target, target)


def test_depth_of_a_pack_reads_like_that_of_a_plain_dataset(copy: Path) -> None:
    dataset = open_dataset(copy)
    episode = next(dataset.episodes())
    plain = Sidecar(dataset).depth("front", episode)
    assert plain is not None
    kept = list(plain)
    path = copy / "sidecar/depth/front/000000.mkv"
    path.unlink()
    with npz_stack(path.with_suffix(".npz")) as stack:
        for frame in kept:
            stack.add({"depth": frame})
    packed = Sidecar(dataset).depth("front", episode)
    assert packed is not None
    for k, frame in enumerate(packed):
        assert frame.dtype == np.float32
        assert np.array_equal(frame, kept[k])
        assert np.array_equal(frame, (depth_mm(k) / 1000).astype(np.float32))


@pytest.mark.filterwarnings("ignore:invalid value")
def test_a_damaged_archive_is_an_error_of_integrity(copy: Path) -> None:
    path = copy / "sidecar/depth/front/000000.npz"
    with npz_stack(path) as stack:
        for k in range(LENGTHS[0]):
            stack.add({"depth": np.random.default_rng(k).random((SIZE, SIZE), np.float32)})
    (copy / "sidecar/depth/front/000000.mkv").unlink()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    dataset = open_dataset(copy)
    with pytest.raises(IntegrityError):
        list(Sidecar(dataset).depth("front", next(dataset.episodes())) or ())


# ------------------------------------------------------------------ WebDataset


def samples(path: Path) -> dict[str, dict[str, bytes]]:
    """Key -> extension -> content, in the order of the file."""
    found: dict[str, dict[str, bytes]] = {}
    with tarfile.open(path) as tar:
        for entry in tar:
            assert (entry.mtime, entry.uid, entry.gid, entry.uname) == (0, 0, 0, "")
            key, _, extension = entry.name.partition(".")
            assert key not in found or list(found)[-1] == key  # a sample's files lie together
            content = tar.extractfile(entry)
            assert content is not None
            found.setdefault(key, {})[extension] = content.read()
    return found


def test_samples_are_frames_with_the_actions_that_follow(root: Path, tmp_path: Path) -> None:
    out = written(root, tmp_path / "out", "webdataset")
    assert sorted(path.name for path in out.iterdir()) == ["dataset.json", "train-000000.tar", "val-000000.tar"]
    assert json.loads((out / "dataset.json").read_text())["samples"] == {"train": 8, "val": 8}
    for part in ("train", "val"):
        found = samples(out / f"{part}-000000.tar")
        wanted = [f"episode_{index:06d}_{k:06d}" for index in SPLITS[part] for k in range(LENGTHS[index])]
        assert list(found) == wanted
        for index in SPLITS[part]:
            state, action, shown = (
                table(root, index, "observation.state"),
                table(root, index, "action"),
                pictures(root, index),
            )
            for k in range(LENGTHS[index]):
                sample = found[f"episode_{index:06d}_{k:06d}"]
                arrays = {
                    name: np.load(io.BytesIO(data), allow_pickle=False)
                    for name, data in sample.items()
                    if name.endswith("npy")
                }
                assert np.array_equal(arrays["state.npy"], state[k])
                left = LENGTHS[index] - k
                assert np.array_equal(arrays["action.npy"][:left], action[k:])
                assert (arrays["action.npy"][left:] == action[-1]).all()
                assert arrays["action_is_pad.npy"].tolist() == [False] * left + [True] * (100 - left)
                picture = cv2.imdecode(np.frombuffer(sample["front_image.jpg"], np.uint8), cv2.IMREAD_COLOR_RGB)
                assert (
                    np.abs(picture.astype(int) - shown[k]).mean() < 10
                )  # of 255: hard edges of single pixels, coded twice
                assert json.loads(sample["json"])["task"] == TASKS[(index + 1) % 2]


def test_a_full_shard_ends_with_its_episode(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webdataset_tar, "SHARD_BYTES", 1)
    out = written(root, tmp_path / "out", "webdataset")
    assert [len(samples(out / f"train-{n:06d}.tar")) for n in range(2)] == [LENGTHS[0], LENGTHS[2]]


def test_without_splits_none_are_made_up(copy: Path, tmp_path: Path) -> None:
    (copy / "sidecar/splits.json").unlink()
    out = written(copy, tmp_path / "all", "webdataset")
    assert [path.name for path in sorted(out.glob("*.tar"))] == ["train-000000.tar"]
    assert len(samples(out / "train-000000.tar")) == sum(LENGTHS)


def test_webdataset_reads_the_shards(root: Path, tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset", reason="the real reader: pip install webdataset")
    path = written(root, tmp_path / "out", "webdataset") / "train-000000.tar"
    known = samples(path)
    found = list(webdataset.WebDataset(str(path), shardshuffle=False).decode("rgb8"))
    assert [sample["__key__"] for sample in found] == list(known)
    for sample in found:
        raw = known[sample["__key__"]]
        assert {name for name in sample if not name.startswith("__")} == set(raw)
        assert np.array_equal(sample["action.npy"], np.load(io.BytesIO(raw["action.npy"])))
        assert sample["front_image.jpg"].shape == (SIZE, SIZE, 3)
        assert sample["json"] == json.loads(raw["json"])


# ------------------------------------------------------------------ ROS bags


def test_without_rosbags_the_error_says_what_to_install(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rosbags", None)
    with pytest.raises(BackendError, match="rosbags") as error:
        written(root, tmp_path / "out", "mcap")
    assert "[ros]" in error.value.hint


@pytest.fixture(scope="module")
def bags(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("rosbags", reason="ROS bags: pip install 'blueprint-pipeline[ros]'")
    return written(root, tmp_path_factory.mktemp("bags") / "out", "mcap")


@pytest.mark.parametrize("index", range(len(LENGTHS)))
def test_a_bag_says_what_the_episode_says(root: Path, bags: Path, index: int) -> None:
    from rosbags.highlevel import AnyReader

    with AnyReader([bags / f"episode_{index:06d}"]) as reader:
        found: dict[str, list] = {}
        for connection, time, raw in reader.messages():
            found.setdefault(connection.topic, []).append((time, reader.deserialize(raw, connection.msgtype)))
    times = [10**9 + round(k * 1e9 / FPS) for k in range(LENGTHS[index])]
    for topic, column in (("/joint_states", "observation.state"), ("/action", "action")):
        assert [time for time, _ in found[topic]] == times
        assert [m.header.stamp.sec * 10**9 + m.header.stamp.nanosec for _, m in found[topic]] == times
        assert np.array_equal([m.position for _, m in found[topic]], table(root, index, column))
        assert all(m.name == ["x", "y", "gripper"] for _, m in found[topic])
    assert [m.data for _, m in found["/task"]] == [TASKS[(index + 1) % 2]]
    for k, (_, message) in enumerate(found["/tf"]):
        frames = {t.child_frame_id: t.transform for t in message.transforms}
        assert set(frames) == {"front_optical_frame", "can"}  # `gone` is not there
        assert all(t.header.frame_id == "world" for t in message.transforms)
        assert frames["can"].translation.x == pytest.approx(0.01 * k)
        turn, place = frames["front_optical_frame"].rotation, frames["front_optical_frame"].translation
        assert [place.x, place.y, place.z, turn.w, turn.x, turn.y, turn.z] == POSE
    for k, (_, message) in enumerate(found["/camera/front/depth"]):
        depth = message.data.view(np.float32).reshape(message.height, message.width)
        assert (message.encoding, message.step) == ("32FC1", 4 * SIZE)
        assert np.array_equal(np.isnan(depth), depth_mm(k) == 0)
        assert np.nanmax(np.abs(depth - 1.5)) < 1e-6
    for _, message in found["/camera/front/camera_info"]:
        assert message.k.reshape(3, 3).tolist() == [[40.0 + index, 0, 23.5], [0, 44, 23.5], [0, 0, 1]]
        assert message.header.frame_id == "front_optical_frame"
    for picture, (_, message) in zip(pictures(root, index), found["/camera/front/image/compressed"], strict=True):
        shown = cv2.imdecode(message.data, cv2.IMREAD_COLOR_RGB)
        assert np.abs(shown.astype(int) - picture).mean() < 10  # of 255: hard edges of single pixels, coded twice


def test_the_readers_of_mcap_decode_every_message(bags: Path) -> None:
    pytest.importorskip("mcap_ros2", reason="the real reader: pip install mcap-ros2-support")
    from mcap.reader import make_reader
    from mcap_ros2.reader import read_ros2_messages

    path = bags / "episode_000001/episode_000001.mcap"
    found = Counter(message.channel.topic for message in read_ros2_messages(str(path)))
    kinds = ("image/compressed", "depth", "camera_info")
    each = ("joint_states", "action", "tf", *(f"camera/front/{kind}" for kind in kinds))
    assert found >= Counter({"/task": 1} | {f"/{name}": LENGTHS[1] for name in each})
    with path.open("rb") as file:
        summary = make_reader(file).get_summary()
    assert summary is not None and summary.statistics is not None
    assert summary.statistics.message_count == found.total()
    assert {channel.message_encoding for channel in summary.channels.values()} == {"cdr"}
