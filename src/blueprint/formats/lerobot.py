"""LeRobot dataset v3.0, written directly: one data row per frame, one concatenated video per camera, statistics.

Layout and field names follow lerobot 0.4.4 (`datasets/utils.py`, `lerobot_dataset.py`); its reader is run on our
output by `make test-lerobot`. `lerobot_check` is the library-free validation.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from blueprint.core.errors import IntegrityError
from blueprint.formats import lerobot_stats
from blueprint.formats.lerobot_stats import Stats
from blueprint.formats.video import concatenate

CODEBASE_VERSION = "v3.0"
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
TASKS_PATH = "meta/tasks.parquet"
STATE, ACTION = "observation.state", "action"
INDEX_FEATURES = {
    "timestamp": "float32",
    "frame_index": "int64",
    "episode_index": "int64",
    "index": "int64",
    "task_index": "int64",
}
MEGABYTE = 1024 * 1024
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
    """What all episodes share. tasks: texts, in the order of their task_index."""

    fps: int
    robot_type: str
    state_names: tuple[str, ...]
    action_names: tuple[str, ...]
    videos: tuple[VideoFeature, ...]
    tasks: tuple[str, ...]
    limits: Limits = field(default_factory=Limits)

    @property
    def features(self) -> dict[str, dict[str, Any]]:
        """The `features` of info.json, in the order of the data columns."""
        vectors = {
            name: {"dtype": "float32", "shape": [len(names)], "names": list(names)}
            for name, names in ((STATE, self.state_names), (ACTION, self.action_names))
        }
        videos = {video.key: _video_feature(video, self.fps) for video in self.videos}
        scalars = {name: {"dtype": dtype, "shape": [1], "names": None} for name, dtype in INDEX_FEATURES.items()}
        return vectors | videos | scalars


@dataclass(frozen=True)
class EpisodeData:
    """One episode. state: (T, S) float32; action: (T, A) float32; videos, color_stats: by video key."""

    task: str
    state: NDArray[np.float32]
    action: NDArray[np.float32]
    videos: dict[str, Path]
    color_stats: dict[str, Stats]


@dataclass(frozen=True)
class Summary:
    episodes: int
    frames: int


def write_dataset(root: Path, spec: DatasetSpec, episodes: Iterable[EpisodeData]) -> Summary:
    """Write the dataset into the new folder `root`. Raises IntegrityError when an episode does not fit the spec."""
    rows: list[dict[str, Any]] = []
    columns: list[dict[str, NDArray[Any]]] = []
    stats: list[dict[str, Stats]] = []
    parts: list[dict[str, Path]] = []
    data = _DataWriter(root, spec)
    frames = 0
    for index, episode in enumerate(episodes):
        _require_fit(spec, episode, index)
        values = _columns(spec, episode, index, frames)
        place = data.add(values)
        length = len(episode.state)
        stats.append({name: lerobot_stats.of_values(_two_dims(v)) for name, v in values.items()} | episode.color_stats)
        rows.append(
            {"episode_index": index, "tasks": [episode.task], "length": length}
            | {"data/chunk_index": place[0], "data/file_index": place[1]}
            | {"dataset_from_index": frames, "dataset_to_index": frames + length}
        )
        columns.append(values)
        parts.append(episode.videos)
        frames += length
    data.close()
    if not rows:
        raise IntegrityError("a dataset needs at least one episode")
    for video in spec.videos:
        _write_videos(root, spec, video.key, [part[video.key] for part in parts], rows)
    _write_tasks(root, spec.tasks)
    _write_episodes(root, spec, rows, stats)
    _write_stats(root, spec, columns, stats)
    _write_info(root, spec, len(rows), frames)
    return Summary(len(rows), frames)


def _require_fit(spec: DatasetSpec, episode: EpisodeData, index: int) -> None:
    length = len(episode.state)
    expected = {"state": (length, len(spec.state_names)), "action": (length, len(spec.action_names))}
    for name, shape in expected.items():
        values = getattr(episode, name)
        if values.shape != shape or length == 0 or not np.isfinite(values).all():
            raise IntegrityError(f"episode {index}: {name} of shape {values.shape} is not finite values of {shape}")
    if episode.task not in spec.tasks:
        raise IntegrityError(f"episode {index}: unknown task {episode.task!r}")


def _columns(spec: DatasetSpec, episode: EpisodeData, index: int, first: int) -> dict[str, NDArray[Any]]:
    """Every non-video feature of one episode, in the order of the features: (T, D) or (T,)."""
    count = np.arange(len(episode.state), dtype=np.int64)
    return {
        STATE: episode.state.astype(np.float32, copy=False),
        ACTION: episode.action.astype(np.float32, copy=False),
        "timestamp": (count / spec.fps).astype(np.float32),
        "frame_index": count,
        "episode_index": np.full_like(count, index),
        "index": count + first,
        "task_index": np.full_like(count, spec.tasks.index(episode.task)),
    }


def _two_dims(values: NDArray[Any]) -> NDArray[Any]:
    return values.reshape(len(values), -1)


# ------------------------------------------------------------------ files


class Rollover:
    """Where the next episode goes: a new file when the current one would exceed `limit` bytes or `max_frames`."""

    def __init__(self, limit: float, chunks_size: int, max_frames: float = float("inf")) -> None:
        self._limit = limit
        self._max_frames = max_frames
        self._chunks_size = chunks_size
        self._files = self._size = self._frames = 0

    def place(self, size: int, frames: int = 0) -> tuple[int, int, bool]:
        """(chunk, file, whether the file is new) for an episode of `size` bytes; none spans two files."""
        new = self._files == 0 or self._size + size > self._limit or self._frames + frames > self._max_frames
        if new:
            self._files += 1
            self._size = self._frames = 0
        self._size += size
        self._frames += frames
        chunk, file = divmod(self._files - 1, self._chunks_size)
        return chunk, file, new


class _DataWriter:
    """data/: one row group per episode, which makes slicing by episode cheap."""

    def __init__(self, root: Path, spec: DatasetSpec) -> None:
        self._root = root
        self._rollover = Rollover(spec.limits.data_mb * MEGABYTE, spec.limits.chunks_size)
        self._writer: pq.ParquetWriter | None = None

    def add(self, columns: dict[str, NDArray[Any]]) -> tuple[int, int]:
        """Append one episode; returns its (chunk, file)."""
        table = pa.table({name: _arrow(values) for name, values in columns.items()})
        alone = io.BytesIO()  # its size as a file of its own bounds what it adds to a shared one
        pq.write_table(table, alone, compression="snappy")
        chunk, file, new = self._rollover.place(alone.tell())
        if new:
            self.close()
            path = _made(self._root / DATA_PATH.format(chunk_index=chunk, file_index=file))
            self._writer = pq.ParquetWriter(path, table.schema, compression="snappy")
        assert self._writer is not None
        self._writer.write_table(table, row_group_size=len(table))
        return chunk, file

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer = None


def _arrow(values: NDArray[Any]) -> pa.Array:
    if values.ndim == 1 or values.shape[1] == 1:  # lerobot reads a shape of (1,) as a plain value
        return pa.array(values.ravel())
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(values).ravel()), values.shape[1])


def _write_videos(root: Path, spec: DatasetSpec, key: str, parts: Sequence[Path], rows: list[dict[str, Any]]) -> None:
    """Concatenate one camera's episodes and note in `rows` where each lies."""
    rollover = Rollover(spec.limits.video_mb * MEGABYTE, spec.limits.chunks_size, MAX_VIDEO_SECONDS * spec.fps)
    files: dict[tuple[int, int], list[int]] = {}
    for episode, part in enumerate(parts):
        chunk, file, _ = rollover.place(part.stat().st_size, rows[episode]["length"])
        files.setdefault((chunk, file), []).append(episode)
    for (chunk, file), members in files.items():
        path = _made(root / VIDEO_PATH.format(video_key=key, chunk_index=chunk, file_index=file))
        counts = concatenate([parts[episode] for episode in members], path, fps=spec.fps)
        first = 0
        for episode, count in zip(members, counts, strict=True):
            row = rows[episode]
            if count != row["length"]:
                raise IntegrityError(f"{parts[episode]} has {count} frames, its episode has {row['length']}")
            row[f"videos/{key}/chunk_index"] = chunk
            row[f"videos/{key}/file_index"] = file
            row[f"videos/{key}/from_timestamp"] = first / spec.fps
            row[f"videos/{key}/to_timestamp"] = (first + count) / spec.fps
            first += count


def _write_tasks(root: Path, tasks: tuple[str, ...]) -> None:
    """lerobot looks a task up by its row and reads its text from the pandas index, so say what the index is."""
    column: dict[str, Any] = {"name": "task_index", "field_name": "task_index", "metadata": None}
    column |= {"pandas_type": "int64", "numpy_type": "int64"}
    index: dict[str, Any] = {"name": "task", "field_name": "task", "metadata": None}
    index |= {"pandas_type": "unicode", "numpy_type": "object"}
    labels: dict[str, Any] = {"name": None, "field_name": None, "metadata": {"encoding": "UTF-8"}}
    labels |= {"pandas_type": "unicode", "numpy_type": "object"}
    pandas = {
        "index_columns": ["task"],
        "column_indexes": [labels],
        "columns": [column, index],
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.2.0",
    }
    table = pa.table({"task_index": pa.array(range(len(tasks)), pa.int64()), "task": pa.array(tasks, pa.string())})
    pq.write_table(table.replace_schema_metadata({"pandas": json.dumps(pandas)}), _made(root / TASKS_PATH))


def _write_episodes(root: Path, spec: DatasetSpec, rows: list[dict[str, Any]], stats: list[dict[str, Stats]]) -> None:
    """meta/episodes/: one row per episode, its statistics included (merge and split tools need them)."""
    rollover = Rollover(spec.limits.data_mb * MEGABYTE, spec.limits.chunks_size)
    files: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for row, episode in zip(rows, stats, strict=True):
        flat = {
            f"stats/{feature}/{name}": _stat_value(spec, feature, name, value)
            for feature in spec.features
            for name, value in episode[feature].items()
        }
        chunk, file, _ = rollover.place(len(json.dumps(row | flat)))
        place = {"meta/episodes/chunk_index": chunk, "meta/episodes/file_index": file}
        files.setdefault((chunk, file), []).append(row | flat | place)
    for (chunk, file), members in files.items():
        path = _made(root / EPISODES_PATH.format(chunk_index=chunk, file_index=file))
        pq.write_table(pa.Table.from_pylist(members), path, compression="snappy")


def _write_stats(
    root: Path, spec: DatasetSpec, columns: list[dict[str, NDArray[Any]]], stats: list[dict[str, Stats]]
) -> None:
    """meta/stats.json: exact over all frames; of pictures, merged from the episodes."""
    keys = {video.key for video in spec.videos}
    whole = {
        feature: lerobot_stats.merge([episode[feature] for episode in stats])
        if feature in keys
        else lerobot_stats.of_values(np.concatenate([_two_dims(part[feature]) for part in columns]))
        for feature in spec.features
    }
    content = {
        feature: {name: _stat_value(spec, feature, name, value) for name, value in values.items()}
        for feature, values in whole.items()
    }
    _write_json(root / "meta/stats.json", content)


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
    _write_json(root / "meta/info.json", info)


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


def _write_json(path: Path, content: dict[str, Any]) -> None:
    _made(path).write_text(json.dumps(content, indent=4, allow_nan=False) + "\n")


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
