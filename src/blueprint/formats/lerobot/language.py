"""LeRobot v3.0 with language columns, as lerobot 0.6 reads them. lerobot 0.4 cannot open such a dataset.

`language_persistent` holds what is being said of an episode and since when, the same list in each of its frames:
here the subtasks. `language_events` holds what is said at single frames: here nothing. Names, types and rules are
those of lerobot's `datasets/language.py` (0.6).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from blueprint.core.errors import InputError
from blueprint.formats.exports import Converted
from blueprint.formats.lerobot.convert import convert
from blueprint.formats.lerobot.files import write_json
from blueprint.formats.lerobot.read import INFO, ForeignDataset
from blueprint.formats.lerobot.writer import SUBTASK, SUBTASKS_PATH

PERSISTENT, EVENTS = "language_persistent", "language_events"
_EVENT: list[tuple[str, pa.DataType]] = [
    ("role", pa.string()),
    ("content", pa.string()),
    ("style", pa.string()),
    ("camera", pa.string()),
    ("tool_calls", pa.list_(pa.string())),
]
_PERSISTENT = [*_EVENT[:3], ("timestamp", pa.float32()), *_EVENT[3:]]


def write(dataset: ForeignDataset, out: Path) -> Converted:
    """Raises InputError for a dataset that does not tell its subtasks."""
    if SUBTASK not in dataset.features:
        raise InputError(f"the dataset has no {SUBTASK}", "there is nothing to say of its frames")
    texts = pq.read_table(dataset.root / SUBTASKS_PATH).column("subtask").to_pylist()
    if dataset.version == "v3.0":
        for name in ("meta", "data", "videos"):
            if (dataset.root / name).is_dir():
                shutil.copytree(dataset.root / name, out / name)
        done = Converted(int(dataset.info["total_episodes"]), int(dataset.info["total_frames"]))
    else:
        done = convert(dataset, out, "v3.0")
        shutil.copyfile(dataset.root / SUBTASKS_PATH, out / SUBTASKS_PATH)
    for path in sorted(out.glob("data/*/*.parquet")):
        whole = path.with_suffix(".told")
        with pq.ParquetFile(path) as file:
            groups = [_told(file.read_row_group(k), texts) for k in range(file.num_row_groups)]
        with pq.ParquetWriter(whole, groups[0].schema, compression="snappy") as writer:
            for group in groups:  # one episode each
                writer.write_table(group, row_group_size=len(group))
        whole.replace(path)
    info = json.loads((out / INFO).read_bytes())
    info["features"] |= {name: {"dtype": "language", "shape": [1], "names": None} for name in (PERSISTENT, EVENTS)}
    write_json(out / INFO, info)
    return done


def _told(table: pa.Table, texts: Sequence[str]) -> pa.Table:
    """One episode's rows with both columns."""
    rows: list[dict[str, Any]] = []
    last = None
    for number, time in zip(table.column(SUBTASK).to_pylist(), table.column("timestamp").to_pylist(), strict=True):
        if number != last:
            rows.append({"role": "assistant", "content": texts[number], "style": "subtask", "timestamp": time})
        last = number
    persistent = pa.array([rows] * len(table), pa.list_(pa.struct(_PERSISTENT)))
    events = pa.array([[]] * len(table), pa.list_(pa.struct(_EVENT)))
    return table.append_column(PERSISTENT, persistent).append_column(EVENTS, events)
