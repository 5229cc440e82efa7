"""Recording: pictures of the states of successful episodes, equal in bytes every time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import toy_episodes
from blueprint.backends.renderer_mujoco import RendererMujoco
from blueprint.core.errors import InfeasibleError, IntegrityError
from blueprint.core.store import clean_up
from blueprint.formats.lerobot.stats import of_values
from blueprint.formats.video.coding import decode_color, decode_gray, probe
from blueprint.model.artifacts import Episodes, Recording, Workcell
from blueprint.stages.recording import RecordingConfig, millimetres, recording

SIZE = 96


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workcell, Episodes]:
    folder = tmp_path_factory.mktemp("inputs")
    workcell = toy_episodes.make_workcell(folder / "workcell")
    taskset = toy_episodes.make_taskset(folder / "taskset")
    return workcell, toy_episodes.make_episodes(folder / "episodes", workcell, taskset, lengths=(7, 5))


def record(inputs: tuple[Workcell, Episodes], out: Path, **settings: object) -> Recording:
    cfg = RecordingConfig.model_validate({"width": SIZE, "height": SIZE, **settings})
    return recording.function(*inputs, RendererMujoco(), cfg, out).save(out)


@pytest.fixture(scope="module")
def recorded(inputs: tuple[Workcell, Episodes], tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return record(inputs, tmp_path_factory.mktemp("recorded"))


def test_only_successful_episodes_are_drawn_with_a_frame_per_state(
    inputs: tuple[Workcell, Episodes], recorded: Recording
) -> None:
    assert [(e.index, e.frames) for e in recorded.episodes] == [(0, 7), (2, 5)]
    for episode in recorded.episodes:
        assert inputs[0].cameras == ("scene", "robot/wrist")
        assert tuple(track.camera for track in episode.tracks) == ("scene", "wrist")
        for track in episode.tracks:
            video = probe(recorded.path(track.video))
            assert len(video.times) == episode.frames and video.fps == recorded.fps
            for other in (track.depth, track.segmentation):
                assert sum(1 for _ in decode_gray(recorded.path(other or ""))) == episode.frames
    assert recorded.sensor_source == "mujoco"


def test_two_recordings_are_equal_in_bytes(
    inputs: tuple[Workcell, Episodes], recorded: Recording, tmp_path: Path
) -> None:
    record(inputs, tmp_path)
    for root in (recorded.root, tmp_path):
        clean_up(root)  # as the engine does: its journal lists items in the order in which they ended
    files = [path.relative_to(recorded.root) for path in sorted(recorded.root.rglob("*")) if path.is_file()]
    assert len(files) > 12
    for file in files:
        assert (tmp_path / file).read_bytes() == (recorded.root / file).read_bytes(), file


def test_the_object_is_where_poses_depth_and_labels_say(recorded: Recording) -> None:
    """Every pixel labelled as the red box, put into the world by its depth, lies within the box at its pose."""
    episode = recorded.episodes[0]
    poses = np.load(recorded.path(episode.poses))
    value = {name: value for value, name in recorded.segment_names.items()}["red_box"]
    track, camera = episode.tracks[0], recorded.cameras[0]
    depth = np.stack(list(decode_gray(recorded.path(track.depth or "")))) / 1000.0
    labels = np.stack(list(decode_gray(recorded.path(track.segmentation or ""))))
    for t in (0, episode.frames - 1):
        v, u = np.nonzero(labels[t] == value)
        z = depth[t, v, u]
        points = np.stack([(u - camera.cx) / camera.fx * z, (v - camera.cy) / camera.fy * z, z], 1)
        world = points @ rotation(poses["camera_poses"][t, 0, 3:]).T + poses["camera_poses"][t, 0, :3]
        half = np.array(toy_episodes.BODIES["red_box"])
        assert len(world) > 20
        assert (np.abs(world - poses["body_poses"][t, value, :3]) <= half + 2e-3).all()


def rotation(quat: np.ndarray) -> np.ndarray:
    w, x, y, z = quat
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def test_colour_statistics_are_those_of_the_pictures(recorded: Recording) -> None:
    """The video is lossy: means agree to a level or two."""
    track = recorded.episodes[0].tracks[0]
    pixels = np.concatenate([frame.reshape(-1, 3) for frame in decode_color(recorded.path(track.video))]) / 255.0
    expected = of_values(pixels)
    assert track.color_count == recorded.episodes[0].frames
    np.testing.assert_allclose(track.color_stats["mean"], expected["mean"], atol=0.01)
    np.testing.assert_allclose(track.color_stats["q50"], expected["q50"], atol=0.02)


def test_depth_and_labels_can_be_left_out(inputs: tuple[Workcell, Episodes], tmp_path: Path) -> None:
    made = record(inputs, tmp_path, depth=False, segmentation=False)
    assert all(track.depth is None and track.segmentation is None for e in made.episodes for track in e.tracks)
    assert not list(tmp_path.rglob("*.mkv"))


def test_samples_smooth_edges_but_keep_the_picture(
    inputs: tuple[Workcell, Episodes], recorded: Recording, tmp_path: Path
) -> None:
    rough = record(inputs, tmp_path, samples=1)

    def first(made: Recording) -> np.ndarray:
        return next(decode_color(made.path(made.episodes[0].tracks[0].video))).astype(float)

    assert np.abs(first(rough).mean() - first(recorded).mean()) < 2
    assert rough.cameras == recorded.cameras
    labels = [
        np.stack(list(decode_gray(made.path(made.episodes[0].tracks[0].segmentation or ""))))
        for made in (rough, recorded)
    ]
    np.testing.assert_array_equal(labels[0], labels[1])


def test_no_success_is_said(inputs: tuple[Workcell, Episodes], tmp_path: Path) -> None:
    workcell, episodes = inputs
    failed = episodes.model_copy(update={"episodes": (episodes.episodes[1],)}).bind(episodes.root)
    with pytest.raises(InfeasibleError, match="no episode succeeded"):
        record((workcell, failed), tmp_path)


def test_states_of_another_length_are_refused(inputs: tuple[Workcell, Episodes], tmp_path: Path) -> None:
    workcell, episodes = inputs
    lied = episodes.episodes[0].model_copy(update={"frames": 8})
    wrong = episodes.model_copy(update={"episodes": (lied,)}).bind(episodes.root)
    with pytest.raises(IntegrityError, match="7 states for 8 frames"):
        record((workcell, wrong), tmp_path)


def test_depth_rounds_to_millimetres_within_range() -> None:
    depth = np.array([[0.0, 0.0004, 1.2346, 9.9, 10.1]], np.float32)
    np.testing.assert_array_equal(millimetres(depth, 10.0), [[0, 0, 1235, 9900, 0]])
