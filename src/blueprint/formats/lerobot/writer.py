"""LeRobot dataset v3.0, written directly: one data row per frame, one concatenated video per camera, statistics.

Layout and field names follow lerobot 0.4.4 (`datasets/utils.py`, `lerobot_dataset.py`); its reader is run on our
output by `make test-lerobot`. `check` is the library-free validation. Memory does not grow with the episodes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blueprint.core.errors import IntegrityError
from blueprint.formats.lerobot import stats as lerobot_stats
from blueprint.formats.lerobot.files import (
    MEGABYTE,
    DataFiles,
    EpisodeRows,
    Rollover,
    VideoFiles,
    write_json,
    write_tasks,
)
from blueprint.formats.lerobot.stats import Stats

CODEBASE_VERSION = "v3.0"
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
TASKS_PATH = "meta/tasks.parquet"
SUBTASKS_PATH = "meta/subtasks.parquet"
SUBTASK = "subtask_index"
STATE, ACTION = "observation.state", "action"
INDEX_FEATURES = {
    "timestamp": "float32",
    "frame_index": "int64",
    "episode_index": "int64",
    "index": "int64",
    "task_index": "int64",
}
# lerobot compares video times as float32 with a tolerance of 1e-4 s; from 1024 s on, one rounding step is 1.2e-4 s
MAX_VIDEO_SECONDS = 1024


@dataclass(frozen=True)
class Limits:
    """When a new file begins. chunks_size: files per folder; the sizes are lerobot's defaults [MiB].

    A video also ends before `MAX_VIDEO_SECONDS`.
    """

    chunks_size: int = 1000
    data_mb: float = 100
    video_mb: float = 200


@dataclass(frozen=True)
class VideoFeature:
    """key: e.g. `observation.images.scene`; codec: e.g. `h264`."""

    key: str
    width: int
    height: int
    codec: str
    pix_fmt: str = "yuv420p"


@dataclass(frozen=True)
class DatasetSpec:
    """What all episodes share. tasks: texts, in the order of their task_index; subtasks: the same, () = not told.

    vectors: further features, e.g. `observation.effort` -> the names of its values
    """

    fps: int
    robot_type: str
    state_names: tuple[str, ...]
    action_names: tuple[str, ...]
    videos: tuple[VideoFeature, ...]
    tasks: tuple[str, ...]
    limits: Limits = field(default_factory=Limits)
    vectors: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    subtasks: tuple[str, ...] = ()

    @property
    def floats(self) -> dict[str, tuple[str, ...]]:
        """Every float32 feature and the names of its values."""
        return {STATE: self.state_names, ACTION: self.action_names, **self.vectors}

    @property
    def features(self) -> dict[str, dict[str, Any]]:
        """The `features` of info.json, in the order of the data columns."""
        vectors = {
            name: {"dtype": "float32", "shape": [len(names)], "names": list(names)}
            for name, names in self.floats.items()
        }
        videos = {video.key: _video_feature(video, self.fps) for video in self.videos}
        indices = INDEX_FEATURES | ({SUBTASK: "int64"} if self.subtasks else {})
        scalars = {name: {"dtype": dtype, "shape": [1], "names": None} for name, dtype in indices.items()}
        return vectors | videos | scalars


@dataclass(frozen=True)
class EpisodeData:
    """One episode. state: (T, S) float32; action: (T, A) float32; videos, color_stats: by video key.

    vectors: the further features of the spec: name -> (T, D); subtasks: (T,) the text of each frame, where the spec
    tells them
    """

    task: str
    state: NDArray[np.float32]
    action: NDArray[np.float32]
    videos: dict[str, Path]
    color_stats: dict[str, Stats]
    vectors: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    subtasks: Sequence[str] = ()

    @property
    def floats(self) -> dict[str, NDArray[np.float32]]:
        return {STATE: self.state, ACTION: self.action, **self.vectors}


@dataclass(frozen=True)
class Summary:
    episodes: int
    frames: int


def write_dataset(root: Path, spec: DatasetSpec, episodes: Iterable[EpisodeData]) -> Summary:
    """Write the dataset into the new folder `root`. Raises IntegrityError when an episode does not fit the spec."""
    megabytes, chunks = spec.limits.data_mb * MEGABYTE, spec.limits.chunks_size
    running: dict[str, Stats] = {}
    index = frames = 0
    with ExitStack() as files:
        opened = lambda writer: files.enter_context(closing(writer))  # noqa: E731
        data = opened(DataFiles(root, DATA_PATH, Rollover(megabytes, chunks)))
        rows = opened(EpisodeRows(root, EPISODES_PATH, Rollover(megabytes, chunks)))
        videos = {video.key: opened(_video_files(root, spec, video.key)) for video in spec.videos}
        for index, episode in enumerate(episodes, start=1):
            _require_fit(spec, episode, index - 1)
            values = _columns(spec, episode, index - 1, frames)
            place, length = data.add(values), len(episode.state)
            stats = {name: lerobot_stats.of_values(_two_dims(v)) for name, v in values.items()} | episode.color_stats
            row = {"episode_index": index - 1, "tasks": [episode.task], "length": length}
            row |= {"data/chunk_index": place[0], "data/file_index": place[1]}
            row |= {"dataset_from_index": frames, "dataset_to_index": frames + length}
            for key, file in videos.items():
                row |= file.add(episode.videos[key], length)
            rows.add(row | _flat(spec, stats))
            running = {k: lerobot_stats.merge([running[k], v]) if running else v for k, v in stats.items()}
            frames += length
    if not frames:
        raise IntegrityError("a dataset needs at least one episode")
    write_tasks(root / TASKS_PATH, spec.tasks)
    if spec.subtasks:
        write_tasks(root / SUBTASKS_PATH, spec.subtasks, number=SUBTASK)
    _write_stats(root, spec, running, data.read)
    _write_info(root, spec, index, frames)
    return Summary(index, frames)


def _video_files(root: Path, spec: DatasetSpec, key: str) -> VideoFiles:
    limits = spec.limits
    rollover = Rollover(limits.video_mb * MEGABYTE, limits.chunks_size, MAX_VIDEO_SECONDS * spec.fps)
    return VideoFiles(root, VIDEO_PATH, key, spec.fps, rollover)


def _require_fit(spec: DatasetSpec, episode: EpisodeData, index: int) -> None:
    length, given = len(episode.state), episode.floats
    if set(given) != set(spec.floats):
        raise IntegrityError(f"episode {index} has {', '.join(given)}; the dataset has {', '.join(spec.floats)}")
    for name, names in spec.floats.items():
        values, shape = given[name], (length, len(names))
        if values.shape != shape or length == 0 or not np.isfinite(values).all():
            raise IntegrityError(f"episode {index}: {name} of shape {values.shape} is not finite values of {shape}")
    if episode.task not in spec.tasks:
        raise IntegrityError(f"episode {index}: unknown task {episode.task!r}")
    if spec.subtasks and (len(episode.subtasks) != length or not set(episode.subtasks) <= set(spec.subtasks)):
        raise IntegrityError(f"episode {index}: subtasks of {len(episode.subtasks)} frames, or unknown ones")


def _columns(spec: DatasetSpec, episode: EpisodeData, index: int, first: int) -> dict[str, NDArray[Any]]:
    """Every non-video feature of one episode, in the order of the features: (T, D) or (T,)."""
    count = np.arange(len(episode.state), dtype=np.int64)
    given = episode.floats
    columns = {name: given[name].astype(np.float32, copy=False) for name in spec.floats} | {
        "timestamp": (count / spec.fps).astype(np.float32),
        "frame_index": count,
        "episode_index": np.full_like(count, index),
        "index": count + first,
        "task_index": np.full_like(count, spec.tasks.index(episode.task)),
    }
    if spec.subtasks:
        columns[SUBTASK] = np.array([spec.subtasks.index(text) for text in episode.subtasks], np.int64)
    return columns


def _two_dims(values: NDArray[Any]) -> NDArray[Any]:
    return values.reshape(len(values), -1)


def _flat(spec: DatasetSpec, stats: dict[str, Stats]) -> dict[str, Any]:
    """The statistics of one episode as columns of meta/episodes."""
    return {
        f"stats/{feature}/{name}": _stat_value(spec, feature, name, value)
        for feature in spec.features
        for name, value in stats[feature].items()
    }


def _write_stats(
    root: Path, spec: DatasetSpec, merged: dict[str, Stats], read: Callable[[str], Iterable[NDArray[Any]]]
) -> None:
    """meta/stats.json: exact over all frames; the quantiles of pictures are those of the episodes, averaged.

    read: all values of a column, (n, D) at a time
    """
    keys = {video.key for video in spec.videos}
    content = {}
    for feature in spec.features:
        stats = merged[feature]
        if feature not in keys:
            stats = stats | lerobot_stats.exact_quantiles(lambda column=feature: read(column))
        content[feature] = {name: _stat_value(spec, feature, name, value) for name, value in stats.items()}
    write_json(root / "meta/stats.json", content)


def _stat_value(spec: DatasetSpec, feature: str, name: str, value: NDArray[np.float64]) -> list[Any]:
    """count is [n]; a vector's statistics are lists; a picture's are nested (3, 1, 1) so that they broadcast."""
    if name == "count":
        return [int(value[0])]
    if feature in {video.key for video in spec.videos}:
        return value.reshape(3, 1, 1).tolist()
    return value.tolist()


def _write_info(root: Path, spec: DatasetSpec, episodes: int, frames: int) -> None:
    info = {
        "codebase_version": CODEBASE_VERSION,
        "robot_type": spec.robot_type,
        "total_episodes": episodes,
        "total_frames": frames,
        "total_tasks": len(spec.tasks),
        "chunks_size": spec.limits.chunks_size,
        "data_files_size_in_mb": spec.limits.data_mb,
        "video_files_size_in_mb": spec.limits.video_mb,
        "fps": spec.fps,
        "splits": {"train": f"0:{episodes}"},
        "data_path": DATA_PATH,
        "video_path": VIDEO_PATH if spec.videos else None,
        "features": spec.features,
    }
    write_json(root / "meta/info.json", info)


def _video_feature(video: VideoFeature, fps: int) -> dict[str, Any]:
    """lerobot 0.4 reads `video.is_depth_map`, 0.6 `is_depth_map`: write both."""
    info = {
        "video.height": video.height,
        "video.width": video.width,
        "video.codec": video.codec,
        "video.pix_fmt": video.pix_fmt,
        "video.fps": fps,
        "video.channels": 3,
        "has_audio": False,
        "is_depth_map": False,
        "video.is_depth_map": False,
    }
    names = ["height", "width", "channels"]
    return {"dtype": "video", "shape": [video.height, video.width, 3], "names": names, "info": info}
