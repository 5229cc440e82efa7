"""A LeRobot dataset of one version written as another: v2.0, v2.1 and v3.0 to v2.1 or v3.0.

Tables are copied as they are stored, column types included. Videos are copied packet by packet where their coding
allows it (`video_cut`), else every video of that camera is coded again and the result says so. Statistics that the
source keeps are kept; those that are missing are computed from the data. Memory does not grow with the episodes.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from blueprint.core.errors import InputError
from blueprint.core.report import progress
from blueprint.formats.exports import Converted
from blueprint.formats.lerobot import stats as lerobot_stats
from blueprint.formats.lerobot import writer as lerobot
from blueprint.formats.lerobot.files import (
    MEGABYTE,
    DataFiles,
    EpisodeRows,
    Rollover,
    VideoFiles,
    made,
    write_json,
    write_tasks,
)
from blueprint.formats.lerobot.read import INFO, Episode, ForeignDataset, as_array
from blueprint.formats.lerobot.stats import Stats
from blueprint.formats.video.coding import Codec
from blueprint.formats.video.cut import cut, recode

Version = Literal["v2.1", "v3.0"]

DATA_V2 = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
VIDEO_V2 = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"
CHUNK_V2 = 1000  # episodes of a folder
_UNKNOWN = {  # entries of info.json that a version does not know
    "v2.1": {"data_files_size_in_mb", "video_files_size_in_mb"},
    "v3.0": {"total_videos", "total_chunks"},
}
_UNCOUNTED = {"string", "language"}  # features without statistics


class _Source:
    """A dataset's rows, pictures and statistics, episode by episode."""

    def __init__(self, dataset: ForeignDataset, recoded: dict[str, Codec]) -> None:
        self.dataset = dataset
        self.recoded = recoded
        self.fps = int(dataset.fps)
        self.computed: set[str] = set()

    def video(self, episode: Episode, key: str, out: Path) -> Path:
        """The episode's video as a file of its own: `out`, or the source's where that is one."""
        source, piece = self.dataset.piece(episode, key)
        if key in self.recoded:
            recode(source, piece, made(out), self.fps, self.recoded[key])
        elif len(piece) == len(source.pts) and piece[0] == 0:
            return source.path
        else:
            cut(source, piece, made(out))
        return out

    def texts(self, episode: Episode, table: pa.Table) -> list[str]:
        return list(self.dataset.texts(episode, {"task_index": as_array(table.column("task_index"))}))

    def stats(self, episode: Episode, table: pa.Table) -> dict[str, Stats]:
        """Feature -> statistics, each (D,); count (1,)."""
        found = {}
        for name, feature in self.dataset.features.items():
            if feature["dtype"] in _UNCOUNTED:
                continue
            told = episode.stats.get(name) or {}
            stored = {key: np.asarray(value, np.float64).reshape(-1) for key, value in told.items()}
            stored = {key: value for key, value in stored.items() if len(value) and np.isfinite(value).all()}
            if {*lerobot_stats.NAMES, "count"} - set(stored):
                stored = self._computed(episode, name, table) | stored
                self.computed.add(name)
            found[name] = stored
        return found

    def _computed(self, episode: Episode, name: str, table: pa.Table) -> Stats:
        if name not in self.dataset.videos and self.dataset.features[name]["dtype"] != "image":
            values = as_array(table.column(name))
            return lerobot_stats.of_values(values.reshape(len(values), -1))
        counter = lerobot_stats.ColorCounter()
        wanted = set(lerobot_stats.sampled_frames(episode.length).tolist())
        for index, picture in enumerate(self.dataset.pictures(episode, name)):
            if index in wanted:
                counter.add(picture)
        return counter.stats()

    def shaped(self, stats: dict[str, Stats]) -> dict[str, dict[str, Any]]:
        """As they are written: pictures' nested (3, 1, 1), counts as integers."""
        return {name: {k: self._shaped(name, k, v) for k, v in values.items()} for name, values in stats.items()}

    def _shaped(self, name: str, statistic: str, value: NDArray[np.float64]) -> list[Any]:
        feature = self.dataset.features[name]
        if statistic == "count":
            return [int(value[0])]
        if feature["dtype"] in ("video", "image"):
            return value.reshape(-1, 1, 1).tolist()
        return value.reshape(tuple(feature.get("shape") or (1,))).tolist()


def convert(dataset: ForeignDataset, out: Path, version: Version) -> Converted:
    """Write the dataset into the new folder `out`.

    Raises InputError for a dataset that the other version cannot hold, IntegrityError for files that are damaged.
    """
    if dataset.fps != int(dataset.fps):
        raise InputError(f"{dataset.fps} frames a second", "v3.0 and our coder need a whole number")
    if sorted(dataset.tasks) != list(range(len(dataset.tasks))):
        raise InputError("task numbers are not 0, 1, 2, ...", "v3.0 finds a task by its row: number them anew")
    source = _Source(dataset, _to_recode(dataset, version))
    done = Converted(recoded=sorted(source.recoded))
    with ExitStack() as stack:
        target = (_V3 if version == "v3.0" else _V2)(source, out, stack)
        merged: dict[str, Stats] = {}
        for episode in progress(dataset.episodes(), int(dataset.info["total_episodes"]), "convert"):
            table = dataset.rows(episode)
            stats = source.stats(episode, table)
            target.add(episode, table, stats, done.frames)
            merged = {k: lerobot_stats.merge([merged[k], v]) if merged else v for k, v in stats.items()}
            done.episodes += 1
            done.frames += episode.length
    if not done.frames:
        raise InputError("the dataset has no episode", "there is nothing to convert")
    target.finish(done)
    exact = {name: v | _exact_quantiles(dataset, name, target.read) for name, v in merged.items()}
    write_json(out / "meta/stats.json", source.shaped(exact))
    done.computed = sorted(source.computed)
    return done


class _V3:
    """Few large files, as `lerobot.write_dataset` makes them."""

    def __init__(self, source: _Source, out: Path, stack: ExitStack) -> None:
        limits = lerobot.Limits()
        size, chunks = limits.data_mb * MEGABYTE, limits.chunks_size
        self._source, self._out, self._limits = source, out, limits
        opened = lambda writer: stack.enter_context(closing(writer))  # noqa: E731
        self._data = opened(DataFiles(out, lerobot.DATA_PATH, Rollover(size, chunks)))
        self._rows = opened(EpisodeRows(out, lerobot.EPISODES_PATH, Rollover(size, chunks)))
        self._videos = {}
        for key in source.dataset.videos:
            rollover = Rollover(limits.video_mb * MEGABYTE, chunks, lerobot.MAX_VIDEO_SECONDS * source.fps)
            self._videos[key] = opened(VideoFiles(out, lerobot.VIDEO_PATH, key, source.fps, rollover))
        self.read = self._data.read

    def add(self, episode: Episode, table: pa.Table, stats: dict[str, Stats], first: int) -> None:
        place = self._data.add_table(table)
        row: dict[str, Any] = {"episode_index": episode.index, "tasks": self._source.texts(episode, table)}
        row |= {"length": episode.length, "data/chunk_index": place[0], "data/file_index": place[1]}
        row |= {"dataset_from_index": first, "dataset_to_index": first + episode.length}
        for key, file in self._videos.items():
            alone = self._out / f".{key}.mp4"
            row |= file.add(self._source.video(episode, key, alone), episode.length)
            alone.unlink(missing_ok=True)
        for name, values in self._source.shaped(stats).items():
            row |= {f"stats/{name}/{statistic}": value for statistic, value in values.items()}
        self._rows.add(row)

    def finish(self, done: Converted) -> None:
        tasks = self._source.dataset.tasks
        write_tasks(self._out / lerobot.TASKS_PATH, [tasks[number] for number in range(len(tasks))])
        more = {"chunks_size": self._limits.chunks_size, "data_files_size_in_mb": self._limits.data_mb}
        more |= {"video_files_size_in_mb": self._limits.video_mb, "data_path": lerobot.DATA_PATH}
        more["video_path"] = lerobot.VIDEO_PATH if self._videos else None
        write_json(self._out / INFO, _info(self._source, "v3.0", done) | more)


class _V2:
    """A table and a video per episode and camera; the rest as JSON lines."""

    def __init__(self, source: _Source, out: Path, stack: ExitStack) -> None:
        self._source, self._out, self._paths = source, out, list[Path]()
        opened = lambda name: stack.enter_context(made(out / "meta" / name).open("w", encoding="utf-8"))  # noqa: E731
        self._episodes, self._stats, self._tasks = map(
            opened, ("episodes.jsonl", "episodes_stats.jsonl", "tasks.jsonl")
        )
        for number, text in sorted(source.dataset.tasks.items()):
            self._tasks.write(_line({"task_index": number, "task": text}))

    def add(self, episode: Episode, table: pa.Table, stats: dict[str, Stats], first: int) -> None:
        index = episode.index
        place = {"episode_chunk": index // CHUNK_V2, "episode_index": index}
        self._paths.append(made(self._out / DATA_V2.format(**place)))
        pq.write_table(table, self._paths[-1], compression="snappy", row_group_size=len(table))
        for key in self._source.dataset.videos:
            path = made(self._out / VIDEO_V2.format(video_key=key, **place))
            if (made_at := self._source.video(episode, key, path)) != path:
                shutil.copyfile(made_at, path)
        texts = self._source.texts(episode, table)
        self._episodes.write(_line({"episode_index": index, "tasks": texts, "length": episode.length}))
        self._stats.write(_line({"episode_index": index, "stats": self._source.shaped(stats)}))

    def read(self, column: str) -> Iterator[NDArray[Any]]:
        for path in self._paths:
            values = as_array(pq.read_table(path, columns=[column]).column(0))
            yield values.reshape(len(values), -1)

    def finish(self, done: Converted) -> None:
        videos = self._source.dataset.videos
        more = {"chunks_size": CHUNK_V2, "total_chunks": -(-done.episodes // CHUNK_V2)}
        more |= {"total_videos": done.episodes * len(videos), "data_path": DATA_V2}
        write_json(
            self._out / INFO, _info(self._source, "v2.1", done) | more | {"video_path": VIDEO_V2 if videos else None}
        )


def _info(source: _Source, version: Version, done: Converted) -> dict[str, Any]:
    dataset = source.dataset
    features = {}
    for name, feature in dataset.features.items():
        feature = dict(feature)
        if "video_info" in feature:  # v2.0
            feature.setdefault("info", feature.pop("video_info"))
        if name in source.recoded:
            told = {"video.codec": source.recoded[name], "video.pix_fmt": "yuv420p", "video.fps": source.fps}
            feature["info"] = (feature.get("info") or {}) | told
        features[name] = feature
    info = {name: value for name, value in dataset.info.items() if name not in _UNKNOWN[version]}
    counts = {"total_episodes": done.episodes, "total_frames": done.frames, "total_tasks": len(dataset.tasks)}
    return info | {"codebase_version": version, "fps": source.fps, **counts, "features": features}


def _to_recode(dataset: ForeignDataset, version: Version) -> dict[str, Codec]:
    """Cameras of which a video cannot be copied into the other version -> their new coding."""
    found: dict[str, Codec] = {}
    headers: dict[str, bytes] = {}
    for episode in dataset.episodes():
        for key in set(dataset.videos) - set(found):
            source, piece = dataset.piece(episode, key)
            if version == "v3.0":
                whole = len(piece) == len(source.pts)
                copied = (
                    whole and source.joins(int(dataset.fps)) and headers.setdefault(key, source.header) == source.header
                )
            else:
                copied = source.copies(piece)
            if not copied:
                info = dataset.features[key].get("info") or {}
                if info.get("is_depth_map") or info.get("video.is_depth_map"):
                    raise InputError(
                        f"{key} is depth that cannot be cut by stream copy", "coding it again would harm it"
                    )
                found[key] = "av1" if info.get("video.codec") == "av1" else "h264"
    return found


def _exact_quantiles(dataset: ForeignDataset, name: str, read: Callable[[str], Iterable[NDArray[Any]]]) -> Stats:
    """Of float32 and int64 columns; {} for others, whose quantiles stay those of the episodes, averaged."""
    if name in dataset.videos or dataset.features[name]["dtype"] not in ("float32", "int64"):
        return {}
    if next(iter(read(name))).dtype not in (np.float32, np.int64):
        return {}
    return lerobot_stats.exact_quantiles(lambda: read(name))


def _line(row: dict[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"
