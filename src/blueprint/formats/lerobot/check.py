"""Is a folder a sound LeRobot v3.0 dataset, its side files aligned? Answered without lerobot, from the files alone.

Each rule is one that a reader, a trainer or a merge tool relies on (lerobot 0.4.4); a rule that cannot be judged
because an earlier one failed stays silent. `make test-lerobot` asks the real library.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from blueprint.core.errors import IntegrityError
from blueprint.formats.lerobot import stats as lerobot_stats
from blueprint.formats.lerobot.sidecar import SIDECAR, misaligned
from blueprint.formats.lerobot.stats import Stats
from blueprint.formats.lerobot.writer import (
    CODEBASE_VERSION,
    INDEX_FEATURES,
    MAX_VIDEO_SECONDS,
    SUBTASK,
    SUBTASKS_PATH,
    TASKS_PATH,
)
from blueprint.formats.video.coding import VideoInfo, decode_color, probe

TIME_TOLERANCE_S = 1e-4  # lerobot's tolerance_s
_INFO_TYPES: dict[str, tuple[type, ...]] = {
    "codebase_version": (str,),
    "robot_type": (str, type(None)),
    "total_episodes": (int,),
    "total_frames": (int,),
    "total_tasks": (int,),
    "chunks_size": (int,),
    "data_files_size_in_mb": (int, float),
    "video_files_size_in_mb": (int, float),
    "fps": (int,),
    "splits": (dict,),
    "data_path": (str,),
    "video_path": (str, type(None)),
    "features": (dict,),
}
_STATS = "stats/"
_Row = dict[str, Any]  # of a table or of JSON
_Texts = dict[str, list[str]]
_SCALARS = {"float32": pa.float32(), "float64": pa.float64(), "int64": pa.int64(), "bool": pa.bool_()}


@dataclass(frozen=True)
class Finding:
    """One broken rule. where: file relative to the dataset, or the feature."""

    rule: str
    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.where}: {self.message}"


def check_dataset(root: Path, *, decode: bool = False) -> list[Finding]:
    """Every broken rule of the dataset at `root`. decode: also decode every video frame (slow, a few kHz)."""
    info, findings = _read_info(root)
    if info is None:
        return findings
    episodes, broken = _read_episodes(root)
    findings += broken
    findings += _check_features(info)
    if episodes is None or findings:
        return findings
    findings += _check_totals(info, episodes)
    texts: _Texts = {}
    for number, where in (("task_index", TASKS_PATH), (SUBTASK, SUBTASKS_PATH)):
        if number in info["features"]:
            texts[number], broken = _read_texts(root, where, number)
            findings += broken
    if (count := len(texts["task_index"])) != info["total_tasks"]:
        findings.append(Finding("tasks", TASKS_PATH, f"{count} texts, total_tasks is {info['total_tasks']}"))
    seen: dict[str, Stats] = {}
    findings += _check_data(root, info, episodes, texts, seen)
    findings += _check_videos(root, info, episodes, decode=decode)
    findings += _check_stats(root, info, seen)
    if (root / SIDECAR).is_dir():
        lengths = [row["length"] for row in episodes]
        findings += (Finding("sidecar", where, message) for where, message in misaligned(root / SIDECAR, lengths))
    return findings


# ------------------------------------------------------------------ meta


def _read_info(root: Path) -> tuple[_Row | None, list[Finding]]:
    where = "meta/info.json"
    try:
        info = json.loads((root / where).read_bytes())
    except (OSError, ValueError) as error:
        return None, [Finding("info", where, f"unreadable: {error}")]
    findings = []
    for key, types in _INFO_TYPES.items():
        if key not in info:
            findings.append(Finding("info", where, f"no {key}"))
        elif not isinstance(info[key], types) or isinstance(info[key], bool):
            findings.append(Finding("info", where, f"{key} is {info[key]!r}"))
    if findings:
        return None, findings
    if info["codebase_version"] != CODEBASE_VERSION:
        findings.append(Finding("info", where, f"codebase_version {info['codebase_version']}, not {CODEBASE_VERSION}"))
    if info["fps"] <= 0 or info["chunks_size"] <= 0:
        findings.append(Finding("info", where, "fps and chunks_size must be positive"))
    if info["splits"].get("train") != f"0:{info['total_episodes']}":
        findings.append(Finding("splits", where, f"train is {info['splits'].get('train')!r}"))
    return info, findings


def _check_features(info: _Row) -> Iterator[Finding]:
    features = info["features"]
    for name, dtype in INDEX_FEATURES.items():
        feature = features.get(name, {})
        if feature.get("dtype") != dtype or feature.get("shape") != [1]:
            yield Finding("features", name, f"must be {dtype} of shape [1]")
    for name, feature in features.items():
        shape, names = feature.get("shape"), feature.get("names")
        if "/" in name:
            yield Finding("features", name, "a name must not contain '/'")
        if not isinstance(shape, list) or not all(isinstance(n, int) and n > 0 for n in shape):
            yield Finding("features", name, f"shape is {shape!r}")
        elif feature.get("dtype") == "video":
            if len(shape) != 3 or not isinstance(names, list) or len(names) != 3 or names[2] != "channels":
                yield Finding("features", name, f"a video has shape [H, W, C] and names, not {shape} and {names}")
        elif feature.get("dtype") not in _SCALARS or len(shape) != 1:
            yield Finding("features", name, f"{feature.get('dtype')} of shape {shape} is not supported here")
        elif isinstance(names, list) and len(names) != shape[0]:
            yield Finding("features", name, f"{len(names)} names for {shape[0]} values")


def _read_episodes(root: Path) -> tuple[list[_Row] | None, list[Finding]]:
    """Their rows without statistics: those are most of it, and `_check_stats` reads them a few at a time."""
    rows: list[_Row] = []
    for path in _episode_files(root):
        try:
            with pq.ParquetFile(path) as file:
                kept = [name for name in file.schema_arrow.names if not name.startswith(_STATS)]
                rows += file.read(columns=kept).to_pylist()
        except (OSError, pa.ArrowException) as error:
            return None, [Finding("episodes", _relative(root, path), f"unreadable: {error}")]
    if not rows:
        return None, [Finding("episodes", "meta/episodes", "no episodes")]
    return rows, []


def _check_totals(info: _Row, episodes: list[_Row]) -> Iterator[Finding]:
    where = "meta/episodes"
    needed = {"episode_index", "tasks", "length", "dataset_from_index", "dataset_to_index"}
    places = ("chunk_index", "file_index")
    needed |= {f"data/{part}" for part in places}
    needed |= {f"videos/{key}/{part}" for key in _videos(info) for part in (*places, "from_timestamp", "to_timestamp")}
    for column in sorted(needed - set(episodes[0])):
        yield Finding("episodes", where, f"no column {column}")
    if [row.get("episode_index") for row in episodes] != list(range(len(episodes))):
        yield Finding("episodes", where, "episode_index is not 0, 1, 2, ...")
    if len(episodes) != info["total_episodes"]:
        yield Finding("totals", where, f"{len(episodes)} episodes, total_episodes is {info['total_episodes']}")
    frames = 0
    for row in episodes:
        length = row.get("length") or 0
        if length < 1 or (row.get("dataset_from_index"), row.get("dataset_to_index")) != (frames, frames + length):
            yield Finding("chain", where, f"episode {row.get('episode_index')} does not begin where the last ended")
            return
        frames += length
    if frames != info["total_frames"]:
        yield Finding("totals", where, f"{frames} frames, total_frames is {info['total_frames']}")


def _read_texts(root: Path, where: str, number: str) -> tuple[list[str], list[Finding]]:
    """Texts by their number (a column of this name); the text is the pandas index, and its row is its number."""
    try:
        table = pq.read_table(root / where)
        index = json.loads((table.schema.metadata or {})[b"pandas"])["index_columns"]
        texts = table.column(index[0]).to_pylist()
        numbers = table.column(number).to_pylist()
    except (OSError, pa.ArrowException, KeyError, IndexError, TypeError, ValueError) as error:
        return [], [Finding("tasks", where, f"not a pandas frame with the texts as its index: {error!r}")]
    findings = []
    if numbers != list(range(len(texts))):
        findings.append(Finding("tasks", where, f"rows are not in the order of {number}: {numbers[:5]}"))
    if len(set(texts)) != len(texts) or not all(texts):
        findings.append(Finding("tasks", where, "a text is empty or stands twice"))
    return texts, findings


# ------------------------------------------------------------------ data


def _check_data(
    root: Path, info: _Row, episodes: list[_Row], texts: _Texts, seen: dict[str, Stats]
) -> Iterator[Finding]:
    """One episode at a time is held."""
    cited = _by_file(info["data_path"], episodes, "data", {})
    for path in sorted(root.glob("data/*/*.parquet")):
        if _relative(root, path) not in cited:
            yield Finding("paths", _relative(root, path), "no episode lies in this file")
    for name, rows in cited.items():
        try:
            with pq.ParquetFile(root / name) as file:
                problems = [*_check_schema(name, info, file.schema_arrow), *_check_rows(name, rows, file.metadata)]
                yield from problems
                for group, row in enumerate(rows if not problems else ()):
                    yield from _check_columns(name, info, row, file.read_row_group(group), texts, seen)
        except (OSError, pa.ArrowException) as error:
            yield Finding("paths", name, f"unreadable: {error}")


def _check_schema(name: str, info: _Row, schema: pa.Schema) -> Iterator[Finding]:
    wanted = {key: _arrow_type(feature) for key, feature in info["features"].items() if feature["dtype"] != "video"}
    for column in schema.names:
        if column not in wanted:
            yield Finding("schema", name, f"column {column} is not among the features")
    for column, kind in wanted.items():
        if column not in schema.names:
            yield Finding("schema", name, f"no column {column}")
        elif not schema.field(column).type.equals(kind):
            yield Finding("schema", name, f"{column} is {schema.field(column).type}, not {kind}")


def _arrow_type(feature: _Row) -> pa.DataType:
    scalar, length = _SCALARS[feature["dtype"]], feature["shape"][0]
    return scalar if length == 1 else pa.list_(scalar, length)


def _check_rows(name: str, rows: list[_Row], found: pq.FileMetaData) -> Iterator[Finding]:
    expected = [row["length"] for row in rows]
    if found.num_rows != sum(expected):
        yield Finding("rows", name, f"{found.num_rows} rows for episodes of {sum(expected)} frames")
    if [found.row_group(i).num_rows for i in range(found.num_row_groups)] != expected:
        yield Finding("row groups", name, "not one row group per episode")


def _check_columns(
    name: str, info: _Row, row: _Row, table: pa.Table, texts: _Texts, seen: dict[str, Stats]
) -> Iterator[Finding]:
    """Values of one episode."""
    episode = f"episode {row['episode_index']}"
    if holes := [column for column in table.column_names if table.column(column).null_count]:
        yield Finding("values", name, f"{episode}: {', '.join(holes)} has missing values")
        return
    values = {column: _values(table, column) for column in table.column_names}
    for column, array in values.items():
        if not np.isfinite(array).all():
            yield Finding("values", name, f"{episode}: {column} has NaN or infinite values")
        stats = lerobot_stats.of_values(array)
        seen[column] = lerobot_stats.merge([seen[column], stats]) if column in seen else stats
    frame = np.arange(len(table))
    exact = {
        "index": frame + row["dataset_from_index"],
        "frame_index": frame,
        "episode_index": np.full_like(frame, row["episode_index"]),
    }
    for column, expected in exact.items():
        if not np.array_equal(values[column][:, 0], expected):
            yield Finding("index", name, f"{column} does not count as {episode} says")
    if np.abs(values["timestamp"][:, 0] - frame / info["fps"]).max() >= TIME_TOLERANCE_S:
        yield Finding("time", name, f"{episode}: timestamp is not frame_index / fps")
    for column, known in texts.items():
        if not 0 <= values[column].min() <= values[column].max() < len(known):
            yield Finding("tasks", name, f"{episode}: {column} outside 0..{len(known) - 1}")
            return
    if {texts["task_index"][i] for i in values["task_index"][:, 0].tolist()} != set(row["tasks"]):
        yield Finding("tasks", name, f"{episode} lists other tasks than its frames")


def _values(table: pa.Table, column: str) -> np.ndarray:
    """(T, D) of a column without nulls."""
    chunk = table.column(column).combine_chunks()
    flat = chunk.flatten() if pa.types.is_fixed_size_list(chunk.type) else chunk
    return flat.to_numpy(zero_copy_only=False).reshape(len(table), -1)


# ------------------------------------------------------------------ videos


def _check_videos(root: Path, info: _Row, episodes: list[_Row], *, decode: bool) -> Iterator[Finding]:
    for key, feature in _videos(info).items():
        cited = _by_file(info["video_path"] or "", episodes, f"videos/{key}", {"video_key": key})
        for path in sorted((root / "videos" / key).glob("*/*.mp4")):
            if _relative(root, path) not in cited:
                yield Finding("paths", _relative(root, path), "no episode lies in this file")
        for name, rows in cited.items():
            try:
                video = probe(root / name)
                decoded = sum(1 for _ in decode_color(root / name)) if decode else len(video.times)
            except (OSError, IntegrityError) as error:
                yield Finding("video", name, f"unreadable: {error}")
                continue
            if decoded != len(video.times):
                yield Finding("video", name, f"{decoded} of {len(video.times)} frames decode")
            yield from _check_stream(name, info["fps"], feature, video)
            yield from _check_spans(name, info["fps"], key, rows, video)


def _check_stream(name: str, fps: int, feature: _Row, video: VideoInfo) -> Iterator[Finding]:
    height, width, _ = feature["shape"]
    said = feature.get("info") or {}
    facts = {
        "codec": (video.codec, said.get("video.codec")),
        "pix_fmt": (video.pix_fmt, said.get("video.pix_fmt")),
        "width x height": ((video.width, video.height), (width, height)),
        "fps": (video.fps, Fraction(said.get("video.fps") or 0)),
        "info size": ((said.get("video.width"), said.get("video.height")), (width, height)),
    }
    for fact, (measured, stated) in facts.items():
        if measured != stated:
            yield Finding("video", name, f"{fact} is {measured}, info.json says {stated}")
    grid = np.arange(len(video.times)) / fps
    if len(grid) == 0 or np.abs(video.times - grid).max() >= TIME_TOLERANCE_S / 10:
        yield Finding("video", name, "frames are not at a constant rate from 0")


def _check_spans(name: str, fps: int, key: str, rows: list[_Row], video: VideoInfo) -> Iterator[Finding]:
    frames = sum(row["length"] for row in rows)
    if frames != len(video.times):
        yield Finding("video", name, f"{len(video.times)} frames for episodes of {frames}")
        return
    if len(rows) > 1 and frames > MAX_VIDEO_SECONDS * fps:
        yield Finding("video", name, f"longer than {MAX_VIDEO_SECONDS} s: lerobot's float32 times lose frames")
    first = 0
    for row in rows:
        span = (row[f"videos/{key}/from_timestamp"], row[f"videos/{key}/to_timestamp"])
        if not np.allclose(span, (first / fps, (first + row["length"]) / fps), rtol=0, atol=TIME_TOLERANCE_S / 10):
            yield Finding("span", name, f"episode {row['episode_index']} is said to lie at {span}")
        elif not video.keys[first]:
            yield Finding("span", name, f"episode {row['episode_index']} does not begin with a key frame")
        first += row["length"]


# ------------------------------------------------------------------ statistics


def _check_stats(root: Path, info: _Row, seen: dict[str, Stats]) -> Iterator[Finding]:
    where = "meta/stats.json"
    try:
        stats = json.loads((root / where).read_bytes())
    except (OSError, ValueError) as error:
        yield Finding("stats", where, f"unreadable: {error}")
        return
    for feature in info["features"]:
        yield from _stat_findings(where, info, feature, stats.get(feature, {}))
    for row in _episode_stats(root):
        for feature in info["features"]:
            prefix = f"{_STATS}{feature}/"
            one = {name[len(prefix) :]: value for name, value in row.items() if name.startswith(prefix)}
            yield from _stat_findings(f"episode {row['episode_index']}", info, feature, one)
    for feature, measured in seen.items():
        told = stats.get(feature, {})
        for name in ("min", "max", "mean"):
            if name in told and not np.allclose(told[name], measured[name], rtol=1e-5, atol=1e-6):
                yield Finding("stats", where, f"{feature}: {name} is not that of the data")


def _episode_stats(root: Path) -> Iterator[_Row]:
    """episode_index and statistics of every episode, some at a time; they were readable before."""
    for path in _episode_files(root):
        with pq.ParquetFile(path) as file:
            kept = [name for name in file.schema_arrow.names if name.startswith((_STATS, "episode_index"))]
            for batch in file.iter_batches(batch_size=100, columns=kept):
                yield from batch.to_pylist()


def _stat_findings(where: str, info: _Row, feature: str, stats: _Row) -> Iterator[Finding]:
    spec = info["features"][feature]
    image = spec["dtype"] == "video"
    for fault in lerobot_stats.faults(stats, (3, 1, 1) if image else tuple(spec["shape"]), image=image):
        yield Finding("stats", where, f"{feature}: {fault}")


def _episode_files(root: Path) -> list[Path]:
    return sorted(root.glob("meta/episodes/chunk-*/file-*.parquet"))


def _videos(info: _Row) -> dict[str, _Row]:
    return {name: feature for name, feature in info["features"].items() if feature.get("dtype") == "video"}


def _by_file(pattern: str, episodes: list[_Row], prefix: str, fields: dict[str, str]) -> dict[str, list[_Row]]:
    """Episodes by the file that holds them, in order."""
    files: dict[str, list[_Row]] = {}
    for row in episodes:
        place = {part: row[f"{prefix}/{part}"] for part in ("chunk_index", "file_index")}
        files.setdefault(pattern.format(**place, **fields), []).append(row)
    return files


def _relative(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()
