"""Anybody's LeRobot dataset, v2.0, v2.1 or v3.0, read episode by episode: nothing is trusted, nothing held for long."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from blueprint.core.errors import InputError, IntegrityError

if TYPE_CHECKING:
    from blueprint.formats.video.cut import Packets

VERSIONS = ("v2.0", "v2.1", "v3.0")
INFO = "meta/info.json"
_FIELD = re.compile(r"\{(\w+)(?::0\d+d)?\}")  # all that a path template may hold
_PLACES = {"episode_chunk", "episode_index", "chunk_index", "file_index", "video_key"}


@dataclass(frozen=True)
class Clip:
    """Where an episode's pictures lie. start_s, end_s: in the file; None = all of it."""

    path: Path
    start_s: float | None = None
    end_s: float | None = None


@dataclass(frozen=True)
class Episode:
    """index: as the metadata says; first: index of its first row in the whole dataset; rows: in its file, None = all.

    stats: feature -> statistic -> values; empty where the version keeps none per episode
    """

    index: int
    length: int
    first: int
    tasks: tuple[str, ...]
    table: Path
    rows: slice | None
    clips: dict[str, Clip]
    stats: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class ForeignDataset:
    """features: as meta/info.json has them; tasks: task_index -> text; stats: of the whole dataset, {} without."""

    root: Path
    version: str
    fps: float
    info: dict[str, Any]
    features: dict[str, dict[str, Any]]
    tasks: dict[int, str]
    stats: dict[str, dict[str, Any]]

    @cached_property
    def videos(self) -> tuple[str, ...]:
        return tuple(name for name, feature in self.features.items() if feature.get("dtype") == "video")

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of what the tables hold."""
        return tuple(name for name in self.features if name not in self.videos)

    def episodes(self) -> Iterator[Episode]:
        """In the order of the metadata. Raises InputError naming the file that is broken."""
        yield from (self._episodes_v3() if self.version == "v3.0" else self._episodes_v2())

    @cached_property
    def _held(self) -> dict[tuple[Path, tuple[int, ...]], pa.Table]:
        """The row groups that were read last."""
        return {}

    @cached_property
    def _footers(self) -> dict[Path, tuple[pq.FileMetaData, NDArray[np.int64]]]:
        """Of the file that was read last: as long as it has episodes, so read once; where its row groups begin."""
        return {}

    def rows(self, episode: Episode) -> pa.Table:
        """As stored; of a shared file, only the row groups that hold the episode are read."""
        if episode.table not in self._footers:
            found = pq.read_metadata(episode.table)
            sizes = [found.row_group(k).num_rows for k in range(found.num_row_groups)]
            self._footers.clear()
            self._footers[episode.table] = (found, np.cumsum([0, *sizes]))
        footer, starts = self._footers[episode.table]
        wanted = episode.rows or slice(0, footer.num_rows)
        groups = tuple(np.flatnonzero((starts[:-1] < wanted.stop) & (wanted.start < starts[1:])).tolist())
        if (episode.table, groups) not in self._held:
            with pq.ParquetFile(episode.table, metadata=footer) as file:
                self._held.clear()
                self._held[episode.table, groups] = file.read_row_groups(groups)
        first = int(starts[groups[0]]) if groups else wanted.start
        table = self._held[episode.table, groups].slice(wanted.start - first, wanted.stop - wanted.start)
        kept = {key: value for key, value in (table.schema.metadata or {}).items() if key != b"pandas"}
        return table.combine_chunks().replace_schema_metadata(kept or None)  # pandas' index counts rows of a file

    def table(self, episode: Episode) -> dict[str, NDArray[Any]]:
        """Column -> (T, ...). Raises InputError when the file cannot be read."""
        try:
            table = self.rows(episode)
        except (OSError, pa.ArrowException) as error:
            raise InputError(
                f"{episode.table.relative_to(self.root)}: {error}", "the file is missing or damaged"
            ) from error
        return {name: as_array(table.column(name)) for name in table.column_names}

    def pictures(self, episode: Episode, key: str) -> Iterator[NDArray[np.uint8]]:
        """Of each frame, (H, W, 3) RGB, in order; one at a time is held. key: of a video, or of pictures in the table.

        Raises IntegrityError for a damaged video or one that is too short, InputError for what is no picture.
        """
        from blueprint.formats.video.cut import frames

        coded, count = key in self.videos, 0
        for picture in frames(*self.piece(episode, key)) if coded else _stored(self.rows(episode).column(key)):
            count += 1
            yield picture
        if count != episode.length:
            raise IntegrityError(f"{key}: {count} pictures in episode {episode.index} of {episode.length} frames")

    def piece(self, episode: Episode, key: str) -> tuple[Packets, NDArray[np.int64]]:
        """The video that holds the episode's pictures, and their display times in it [ticks]."""
        found = self._packets(episode.clips[key].path)
        return found, found.piece(episode.clips[key].start_s or 0.0, episode.length)

    @cached_property
    def _packets(self) -> Callable[[Path], Packets]:
        from blueprint.formats.video.cut import packets

        return lru_cache(maxsize=4 * max(len(self.videos), 1))(packets)

    def texts(self, episode: Episode, table: Mapping[str, NDArray[Any]]) -> tuple[str, ...]:
        """What the robot was told, the episode's own words or those of its rows."""
        return episode.tasks or tuple(self.tasks[int(number)] for number in dict.fromkeys(table["task_index"].tolist()))

    def _path(self, template: str, places: Mapping[str, int | str]) -> Path:
        """Raises InputError for a template that leads out of the dataset or asks for more than numbers."""
        fields = {match.group(1) for match in _FIELD.finditer(template)}
        if re.sub(_FIELD, "", template).count("{") or not fields <= _PLACES & set(places):
            raise InputError(f"{INFO}: path template {template!r}", f"it may name {', '.join(sorted(_PLACES))}")
        path = (self.root / template.format(**places)).resolve()
        if not path.is_relative_to(self.root.resolve()):
            raise InputError(f"{INFO}: {template!r} leads out of the dataset", "nothing outside is ever read")
        return self.root / template.format(**places)

    def _episodes_v2(self) -> Iterator[Episode]:
        lines = json_lines(self.root / "meta/episodes_stats.jsonl")
        stats: dict[Any, dict[str, Any]] = {}
        chunk, first = int(self.info.get("chunks_size") or 1000), 0
        for row in json_lines(self.root / "meta/episodes.jsonl", required=True):
            index, length = int(row["episode_index"]), int(row["length"])
            places: dict[str, int | str] = {"episode_chunk": index // chunk, "episode_index": index}
            clips = {
                key: Clip(self._path(str(self.info["video_path"]), places | {"video_key": key})) for key in self.videos
            }
            table = self._path(str(self.info["data_path"]), places)
            for other in () if index in stats else lines:  # as a rule in the order of the episodes
                stats[other.get("episode_index")] = other.get("stats", {})
                if index in stats:
                    break
            known = stats.pop(index, {})
            yield Episode(index, length, first, tuple(row.get("tasks", ())), table, None, clips, known)
            first += length

    def _episodes_v3(self) -> Iterator[Episode]:
        starts: dict[Path, int] = {}
        for file in sorted(self.root.glob("meta/episodes/chunk-*/file-*.parquet")):
            try:
                with pq.ParquetFile(file) as rows:
                    for batch in rows.iter_batches(batch_size=100):
                        yield from (self._episode_v3(row, starts) for row in batch.to_pylist())
            except (OSError, pa.ArrowException) as error:
                raise InputError(f"{file.relative_to(self.root)}: {error}", "the file is damaged") from error

    def _episode_v3(self, row: dict[str, Any], starts: dict[Path, int]) -> Episode:
        first = int(row["dataset_from_index"])
        table = self._path(
            str(self.info["data_path"]),
            {"chunk_index": row["data/chunk_index"], "file_index": row["data/file_index"]},
        )
        start = first - starts.setdefault(table, first)
        clips = {}
        for key in self.videos:
            place = {part: row[f"videos/{key}/{part}"] for part in ("chunk_index", "file_index")}
            path = self._path(str(self.info["video_path"]), place | {"video_key": key})
            clips[key] = Clip(path, row[f"videos/{key}/from_timestamp"], row[f"videos/{key}/to_timestamp"])
        stats: dict[str, dict[str, Any]] = {}
        for name, value in row.items():
            if name.startswith("stats/"):
                _, feature, statistic = name.split("/", 2)
                stats.setdefault(feature, {})[statistic] = value
        rows = slice(start, start + (int(row["dataset_to_index"]) - first))
        index, length = int(row["episode_index"]), int(row["length"])
        return Episode(index, length, first, tuple(row.get("tasks") or ()), table, rows, clips, stats)


def open_dataset(root: Path) -> ForeignDataset:
    """Raises InputError when the folder is no LeRobot dataset of a known version, saying what is wrong."""
    try:
        info = json.loads((root / INFO).read_bytes())
        version, fps, features = info["codebase_version"], float(info["fps"]), info["features"]
        if not isinstance(features, dict) or not all(isinstance(f, dict) and "dtype" in f for f in features.values()):
            raise ValueError("features are not a table of dtypes and shapes")
        if fps <= 0:
            raise ValueError(f"fps is {fps}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{root / INFO}: {error}", "is this the root of a LeRobot dataset?") from error
    if version not in VERSIONS:
        raise InputError(f"codebase_version {version!r} is not known", f"known: {', '.join(VERSIONS)}")
    return ForeignDataset(root, version, fps, info, features, _tasks(root, version), _stats(root))


def _tasks(root: Path, version: str) -> dict[int, str]:
    if version != "v3.0":
        return {int(row["task_index"]): str(row["task"]) for row in json_lines(root / "meta/tasks.jsonl")}
    try:
        table = pq.read_table(root / "meta/tasks.parquet")
        texts = next(name for name in table.column_names if name != "task_index")
        return dict(zip(table.column("task_index").to_pylist(), table.column(texts).to_pylist(), strict=True))
    except (OSError, pa.ArrowException, KeyError, StopIteration) as error:
        raise InputError(f"meta/tasks.parquet: {error}", "the file is missing or damaged") from error


def _stats(root: Path) -> dict[str, dict[str, Any]]:
    """{} where there are none. Raises InputError when the file is damaged."""
    path = root / "meta/stats.json"
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_bytes())
        if not all(isinstance(value, dict) for value in found.values()):
            raise ValueError("it is no table of statistics")
        return found
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"meta/stats.json: {error}", "the file is damaged") from error


def json_lines(path: Path, *, required: bool = False) -> Iterator[dict[str, Any]]:
    """Rows of a JSON lines file; none where it is absent. Raises InputError naming the line that is broken."""
    if not path.is_file():
        if required:
            raise InputError(f"{path.name} is missing", "is this the root of a LeRobot dataset?")
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise InputError(f"{path.name}, line {number}: {error}", "the file is damaged") from error
            if not isinstance(row, dict):
                raise InputError(f"{path.name}, line {number} is no object", "the file is damaged")
            yield row


def as_array(column: pa.ChunkedArray) -> NDArray[Any]:
    """(T,) or (T, D) numbers; objects where a column holds something else."""
    values = column.combine_chunks()
    if pa.types.is_fixed_size_list(values.type) and not values.null_count:
        flat = values.flatten().to_numpy(zero_copy_only=False)
        return flat.reshape(len(values), -1)
    if pa.types.is_list(values.type):
        rows = values.to_pylist()
        lengths = {len(row) if row is not None else -1 for row in rows}
        return np.array(rows) if len(lengths) == 1 and -1 not in lengths else np.array(rows, dtype=object)
    return values.to_numpy(zero_copy_only=False)


def _stored(column: pa.ChunkedArray) -> Iterator[NDArray[np.uint8]]:
    """Of a column of structs of bytes and path."""
    import cv2

    for cell in column.to_pylist():
        picture = cv2.imdecode(np.frombuffer(cell["bytes"] or b"", np.uint8), cv2.IMREAD_COLOR)
        if picture is None:
            raise InputError("a picture in the table cannot be decoded", "the table holds paths, not pictures?")
        yield picture[..., ::-1].astype(np.uint8)
