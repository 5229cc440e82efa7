"""The LeRobot writer: what goes in comes out, in files that respect their limits, equal in bytes every time."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from blueprint.core.errors import IntegrityError
from blueprint.formats.lerobot import writer as lerobot
from blueprint.formats.lerobot.check import check_dataset
from blueprint.formats.lerobot.writer import Limits, Rollover, write_dataset
from blueprint.formats.video.coding import decode_color
from formats.lerobot_toys import FPS, KEY, LENGTHS, TASKS, make_dataset, make_episodes, make_spec


def files_of(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def rows_of(root: Path, pattern: str) -> list[dict]:
    return [row for path in sorted(root.glob(pattern)) for row in pq.read_table(path).to_pylist()]


def test_values_come_back_exactly_and_times_are_frame_over_fps(tmp_path: Path) -> None:
    episodes = make_episodes(tmp_path / "parts")
    root = make_dataset(tmp_path)
    rows = rows_of(root, "data/*/*.parquet")
    state = np.array([row["observation.state"] for row in rows], np.float32)
    np.testing.assert_array_equal(state, np.concatenate([episode.state for episode in episodes]))
    action = np.array([row["action"] for row in rows], np.float32)
    np.testing.assert_array_equal(action, np.concatenate([episode.action for episode in episodes]))
    assert [row["index"] for row in rows] == list(range(sum(LENGTHS)))
    assert [row["frame_index"] for row in rows] == [i for length in LENGTHS for i in range(length)]
    assert all(row["timestamp"] == np.float32(row["frame_index"] / FPS) for row in rows)
    tasks = {row["episode_index"]: TASKS[row["task_index"]] for row in rows}
    assert [tasks[i] for i in range(len(LENGTHS))] == [episode.task for episode in episodes]


def test_pictures_of_each_episode_lie_where_its_row_says(tmp_path: Path) -> None:
    episodes = make_episodes(tmp_path / "parts")
    root = make_dataset(tmp_path)
    for row, episode in zip(rows_of(root, "meta/episodes/*/*.parquet"), episodes, strict=True):
        place = {part: row[f"videos/{KEY}/{part}"] for part in ("chunk_index", "file_index")}
        frames = list(decode_color(root / lerobot.VIDEO_PATH.format(video_key=KEY, **place)))
        first = round(row[f"videos/{KEY}/from_timestamp"] * FPS)
        last = round(row[f"videos/{KEY}/to_timestamp"] * FPS)
        np.testing.assert_array_equal(np.stack(frames[first:last]), np.stack(list(decode_color(episode.videos[KEY]))))


def test_statistics_are_those_of_all_frames(tmp_path: Path) -> None:
    episodes = make_episodes(tmp_path / "parts")
    stats = json.loads((make_dataset(tmp_path) / "meta/stats.json").read_text())
    state = np.concatenate([episode.state for episode in episodes]).astype(np.float64)
    np.testing.assert_allclose(stats["observation.state"]["mean"], state.mean(0))
    np.testing.assert_allclose(stats["observation.state"]["std"], state.std(0))
    np.testing.assert_allclose(stats["observation.state"]["q99"], np.quantile(state, 0.99, axis=0))
    assert stats["observation.state"]["count"] == [sum(LENGTHS)]
    assert np.shape(stats[KEY]["mean"]) == (3, 1, 1)


def test_two_writes_give_equal_bytes(tmp_path: Path) -> None:
    assert files_of(make_dataset(tmp_path / "a")) == files_of(make_dataset(tmp_path / "b"))


def test_the_check_finds_nothing(tmp_path: Path) -> None:
    assert check_dataset(make_dataset(tmp_path), decode=True) == []


def test_tiny_limits_roll_files_and_folders_over(tmp_path: Path) -> None:
    limits = Limits(chunks_size=2, data_mb=0.008, video_mb=0.006)
    root = make_dataset(tmp_path, limits, lengths=(5, 8, 3, 9, 20, 4))
    assert check_dataset(root, decode=True) == []
    for folder, limit in (("data", limits.data_mb), (f"videos/{KEY}", limits.video_mb)):
        files = sorted((root / folder).rglob("file-*"))
        assert len(files) >= 3, folder
        assert all(len(list(chunk.iterdir())) <= 2 for chunk in (root / folder).iterdir())
        held = rows_per_file(root, folder)
        for path in files:
            name = (int(path.parent.name[-3:]), int(path.stem[-3:]))
            assert path.stat().st_size <= limit * 2**20 or held[name] == 1, f"{path} is over its limit"


def rows_per_file(root: Path, folder: str) -> dict[tuple[int, int], int]:
    held: dict[tuple[int, int], int] = {}
    for row in rows_of(root, "meta/episodes/*/*.parquet"):
        place = (row[f"{folder}/chunk_index"], row[f"{folder}/file_index"])
        held[place] = held.get(place, 0) + 1
    return held


def test_an_episode_larger_than_the_limit_gets_a_file_of_its_own() -> None:
    rollover = Rollover(limit=10, chunks_size=2)
    assert [rollover.place(size)[:2] for size in (4, 6, 1, 99, 1, 9)] == [
        (0, 0),
        (0, 0),
        (0, 1),
        (1, 0),
        (1, 1),
        (1, 1),
    ]


def test_no_video_outgrows_the_times_lerobot_can_tell_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """lerobot compares float32 times to 1e-4 s; the real bound is 1024 s, here 0.6 s = 9 frames."""
    monkeypatch.setattr(lerobot, "MAX_VIDEO_SECONDS", 0.6)
    root = make_dataset(tmp_path)
    assert [row[f"videos/{KEY}/file_index"] for row in rows_of(root, "meta/episodes/*/*.parquet")] == [0, 1, 2]


@pytest.mark.parametrize("broken", ["nan", "shape", "task", "video"])
def test_an_episode_that_does_not_fit_is_refused(tmp_path: Path, broken: str) -> None:
    episodes = make_episodes(tmp_path / "parts")
    bad = episodes[1].state.copy()
    bad[2, 1] = np.nan
    episodes[1] = {
        "nan": replace(episodes[1], state=bad),
        "shape": replace(episodes[1], action=episodes[1].action[:, :2]),
        "task": replace(episodes[1], task="fly"),
        "video": replace(episodes[1], videos=episodes[0].videos),
    }[broken]
    with pytest.raises(IntegrityError):
        write_dataset(tmp_path / "dataset", make_spec(), episodes)


def test_no_episodes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="at least one"):
        write_dataset(tmp_path / "dataset", make_spec(), [])
