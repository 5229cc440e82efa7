"""The files of a LeRobot dataset that grow with its episodes. Each writer holds one episode at a time in memory."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from blueprint.core.errors import IntegrityError
from blueprint.formats.video.coding import Joiner

MEGABYTE = 1024 * 1024
EPISODE_ROWS = 100  # of meta/episodes that wait for being written together


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


class DataFiles:
    """data/: one row group per episode, which makes slicing by episode cheap. pattern: with chunk_index, file_index."""

    def __init__(self, root: Path, pattern: str, rollover: Rollover) -> None:
        self._root = root
        self._pattern = pattern
        self._rollover = rollover
        self._writer: pq.ParquetWriter | None = None
        self._paths: list[Path] = []

    def add(self, columns: dict[str, NDArray[Any]]) -> tuple[int, int]:
        """Append one episode; returns its (chunk, file)."""
        return self.add_table(pa.table({name: arrow(values) for name, values in columns.items()}))

    def add_table(self, table: pa.Table) -> tuple[int, int]:
        """The same of a table as it is."""
        alone = io.BytesIO()  # its size as a file of its own bounds what it adds to a shared one
        pq.write_table(table, alone, compression="snappy")
        chunk, file, new = self._rollover.place(alone.tell())
        if new:
            self.close()
            self._paths.append(made(self._root / self._pattern.format(chunk_index=chunk, file_index=file)))
            self._writer = pq.ParquetWriter(self._paths[-1], table.schema, compression="snappy")
        assert self._writer is not None
        self._writer.write_table(table, row_group_size=len(table))
        return chunk, file

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer = None

    def read(self, column: str) -> Iterator[NDArray[Any]]:
        """One column again, (n, D) at a time, of files that are closed."""
        for path in self._paths:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(columns=[column], batch_size=65_536):
                    values = batch.column(0)
                    flat = values.flatten() if pa.types.is_fixed_size_list(values.type) else values
                    yield flat.to_numpy(zero_copy_only=False).reshape(batch.num_rows, -1)


def arrow(values: NDArray[Any]) -> pa.Array:
    """(T,) or (T, D) as a column; lerobot reads a shape of (1,) as a plain value."""
    if values.ndim == 1 or values.shape[1] == 1:
        return pa.array(values.ravel())
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(values).ravel()), values.shape[1])


class VideoFiles:
    """videos/KEY/: the episodes of one camera, joined by stream copy as they come."""

    def __init__(self, root: Path, pattern: str, key: str, fps: int, rollover: Rollover) -> None:
        self._root = root
        self._pattern = pattern
        self._key = key
        self._fps = fps
        self._rollover = rollover
        self._file: Joiner | None = None

    def add(self, part: Path, length: int) -> dict[str, Any]:
        """Append an episode's video; returns its columns of meta/episodes. Raises IntegrityError on another length."""
        chunk, file, new = self._rollover.place(part.stat().st_size, length)
        if new:
            self.close()
            place = {"video_key": self._key, "chunk_index": chunk, "file_index": file}
            self._file = Joiner(made(self._root / self._pattern.format(**place)), self._fps)
        assert self._file is not None
        first = self._file.frames
        count = self._file.add(part)
        if count != length:
            raise IntegrityError(f"{part} has {count} frames, its episode has {length}")
        span = {"from_timestamp": first / self._fps, "to_timestamp": (first + count) / self._fps}
        row = {"chunk_index": chunk, "file_index": file} | span
        return {f"videos/{self._key}/{name}": value for name, value in row.items()}

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file = None


class EpisodeRows:
    """meta/episodes/: one row per episode, its statistics included (merge and split tools need them)."""

    def __init__(self, root: Path, pattern: str, rollover: Rollover) -> None:
        self._root = root
        self._pattern = pattern
        self._rollover = rollover
        self._waiting: list[dict[str, Any]] = []
        self._writer: pq.ParquetWriter | None = None

    def add(self, row: dict[str, Any]) -> None:
        chunk, file, new = self._rollover.place(len(json.dumps(row)))
        row = row | {"meta/episodes/chunk_index": chunk, "meta/episodes/file_index": file}
        if new:
            self.close()
            path = made(self._root / self._pattern.format(chunk_index=chunk, file_index=file))
            self._writer = pq.ParquetWriter(path, pa.Table.from_pylist([row]).schema, compression="snappy")
        self._waiting.append(row)
        if len(self._waiting) == EPISODE_ROWS:
            self._flush()

    def _flush(self) -> None:
        if self._waiting and self._writer is not None:
            self._writer.write_table(pa.Table.from_pylist(self._waiting, schema=self._writer.schema))
        self._waiting = []

    def close(self) -> None:
        self._flush()
        if self._writer is not None:
            self._writer.close()
        self._writer = None


def write_tasks(path: Path, tasks: Sequence[str], number: str = "task_index") -> None:
    """lerobot looks a task up by its row and reads its text from the pandas index, so say what the index is."""
    text = number.removesuffix("_index")
    column: dict[str, Any] = {"name": number, "field_name": number, "metadata": None}
    column |= {"pandas_type": "int64", "numpy_type": "int64"}
    index: dict[str, Any] = {"name": text, "field_name": text, "metadata": None}
    index |= {"pandas_type": "unicode", "numpy_type": "object"}
    labels: dict[str, Any] = {"name": None, "field_name": None, "metadata": {"encoding": "UTF-8"}}
    labels |= {"pandas_type": "unicode", "numpy_type": "object"}
    pandas = {
        "index_columns": [text],
        "column_indexes": [labels],
        "columns": [column, index],
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.2.0",
    }
    table = pa.table({number: pa.array(range(len(tasks)), pa.int64()), text: pa.array(tasks, pa.string())})
    pq.write_table(table.replace_schema_metadata({"pandas": json.dumps(pandas)}), made(path))


def write_json(path: Path, content: dict[str, Any]) -> None:
    made(path).write_text(json.dumps(content, indent=4, allow_nan=False) + "\n")


def made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
