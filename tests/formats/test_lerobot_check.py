"""The check finds every defect put into a sound dataset."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from blueprint.formats.lerobot.check import check_dataset
from blueprint.formats.video.coding import color_writer
from formats.lerobot_toys import FPS, KEY, SIZE, make_dataset

DATA = "data/chunk-000/file-000.parquet"
EPISODES = "meta/episodes/chunk-000/file-000.parquet"
VIDEO = f"videos/{KEY}/chunk-000/file-000.mp4"

Defect = Callable[[Path], None]
DEFECTS: dict[str, tuple[str, Defect]] = {}  # name -> rule that must speak, what breaks


def defect(rule: str) -> Callable[[Defect], Defect]:
    def register(breaks: Defect) -> Defect:
        DEFECTS[breaks.__name__] = (rule, breaks)
        return breaks

    return register


def edit_json(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def edit_table(path: Path, change: Callable[[dict[str, list]], Any]) -> None:
    """Change columns as lists and write them back with the same types, episode by episode."""
    file = pq.ParquetFile(path)
    table = file.read()
    groups = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
    columns = {name: table.column(name).to_pylist() for name in table.column_names}
    change(columns)
    edited = pa.table({name: pa.array(values, table.schema.field(name).type) for name, values in columns.items()})
    with pq.ParquetWriter(path, edited.schema) as writer:
        first = 0
        for rows in groups:
            writer.write_table(edited.slice(first, rows))
            first += rows


@defect("tasks")
def subtasks_are_missing(root: Path) -> None:
    (root / "meta/subtasks.parquet").unlink()


@defect("tasks")
def a_subtask_has_no_text(root: Path) -> None:
    edit_table(root / DATA, lambda columns: columns["subtask_index"].__setitem__(0, 2))


@defect("info")
def info_is_missing(root: Path) -> None:
    (root / "meta/info.json").unlink()


@defect("info")
def fps_is_a_float(root: Path) -> None:
    edit_json(root / "meta/info.json", lambda info: info.update(fps=15.0))


@defect("info")
def version_is_old(root: Path) -> None:
    edit_json(root / "meta/info.json", lambda info: info.update(codebase_version="v2.1"))


@defect("splits")
def split_is_short(root: Path) -> None:
    edit_json(root / "meta/info.json", lambda info: info.update(splits={"train": "0:2"}))


@defect("totals")
def total_frames_is_wrong(root: Path) -> None:
    edit_json(root / "meta/info.json", lambda info: info.update(total_frames=17))


@defect("features")
def names_do_not_fit_the_shape(root: Path) -> None:
    edit_json(root / "meta/info.json", lambda info: info["features"]["action"].update(names=["x", "y"]))


@defect("features")
def feature_name_has_a_slash(root: Path) -> None:
    feature = {"dtype": "float32", "shape": [1], "names": None}
    edit_json(root / "meta/info.json", lambda info: info["features"].update({"observation/state": feature}))


@defect("features")
def timestamp_is_not_a_feature(root: Path) -> None:
    edit_json(root / "meta/info.json", lambda info: info["features"].pop("timestamp"))


@defect("schema")
def column_is_not_declared(root: Path) -> None:
    table = pq.read_table(root / DATA)
    pq.write_table(table.append_column("extra", pa.array([0.0] * len(table))), root / DATA, row_group_size=len(table))


@defect("schema")
def column_has_another_type(root: Path) -> None:
    table = pq.read_table(root / DATA)
    place = table.column_names.index("timestamp")
    pq.write_table(table.set_column(place, "timestamp", table.column("timestamp").cast(pa.float64())), root / DATA)


@defect("schema")
def vector_length_is_not_fixed(root: Path) -> None:
    table = pq.read_table(root / DATA)
    loose = pa.array(table.column("action").to_pylist(), pa.list_(pa.float32()))
    pq.write_table(table.set_column(table.column_names.index("action"), "action", loose), root / DATA)


@defect("row groups")
def row_groups_are_not_episodes(root: Path) -> None:
    pq.write_table(pq.read_table(root / DATA), root / DATA)


@defect("values")
def state_has_a_nan(root: Path) -> None:
    edit_table(root / DATA, lambda columns: columns["observation.state"][3].__setitem__(1, float("nan")))


@defect("index")
def index_jumps(root: Path) -> None:
    edit_table(root / DATA, lambda columns: columns["index"].__setitem__(4, 40))


@defect("time")
def timestamp_is_off(root: Path) -> None:
    edit_table(root / DATA, lambda columns: columns["timestamp"].__setitem__(2, 2 / FPS + 0.01))


@defect("tasks")
def task_does_not_exist(root: Path) -> None:
    edit_table(root / DATA, lambda columns: columns["task_index"].__setitem__(0, 5))


@defect("tasks")
def episode_lists_another_task(root: Path) -> None:
    edit_table(root / EPISODES, lambda columns: columns["tasks"].__setitem__(0, ["push the box"]))


@defect("tasks")
def tasks_lack_their_pandas_index(root: Path) -> None:
    path = root / "meta/tasks.parquet"
    pq.write_table(pq.read_table(path).replace_schema_metadata(None), path)


@defect("tasks")
def tasks_are_in_another_order(root: Path) -> None:
    path = root / "meta/tasks.parquet"
    pq.write_table(pq.read_table(path).take([1, 0]), path)


@defect("chain")
def episodes_overlap(root: Path) -> None:
    edit_table(root / EPISODES, lambda columns: columns["dataset_from_index"].__setitem__(1, 4))


@defect("paths")
def data_file_is_missing(root: Path) -> None:
    (root / DATA).unlink()


@defect("paths")
def a_stray_file_lies_among_the_data(root: Path) -> None:
    shutil.copy(root / DATA, root / "data/chunk-000/file-001.parquet")


@defect("video")
def video_is_missing(root: Path) -> None:
    (root / VIDEO).unlink()


@defect("video")
def video_is_truncated(root: Path) -> None:
    (root / VIDEO).write_bytes((root / VIDEO).read_bytes()[:-3000])


@defect("video")
def video_has_a_frame_too_few(root: Path) -> None:
    with color_writer(root / VIDEO, width=SIZE, height=SIZE, fps=FPS) as video:
        for _ in range(15):
            video.add(np.zeros((SIZE, SIZE, 3), np.uint8))


@defect("video")
def video_has_another_rate(root: Path) -> None:
    with color_writer(root / VIDEO, width=SIZE, height=SIZE, fps=30) as video:
        for _ in range(16):
            video.add(np.zeros((SIZE, SIZE, 3), np.uint8))


@defect("video")
def video_has_another_codec(root: Path) -> None:
    edit_json(root / "meta/info.json", lambda info: info["features"][KEY]["info"].update({"video.codec": "av1"}))


@defect("span")
def video_span_is_shifted(root: Path) -> None:
    edit_table(root / EPISODES, lambda columns: columns[f"videos/{KEY}/from_timestamp"].__setitem__(1, 0.2))


@defect("span")
def episode_begins_between_key_frames(root: Path) -> None:
    with color_writer(root / VIDEO, width=SIZE, height=SIZE, fps=FPS) as video:
        for _ in range(16):
            video.add(np.zeros((SIZE, SIZE, 3), np.uint8))


@defect("stats")
def stats_are_missing(root: Path) -> None:
    (root / "meta/stats.json").unlink()


@defect("stats")
def stats_lack_a_quantile(root: Path) -> None:
    edit_json(root / "meta/stats.json", lambda stats: stats["action"].pop("q99"))


@defect("stats")
def stats_are_of_other_data(root: Path) -> None:
    edit_json(root / "meta/stats.json", lambda stats: stats["action"]["max"].__setitem__(0, 9.0))


@defect("stats")
def colour_stats_have_another_shape(root: Path) -> None:
    edit_json(root / "meta/stats.json", lambda stats: stats[KEY].update(mean=[0.5, 0.5, 0.5]))


@defect("stats")
def std_is_negative(root: Path) -> None:
    edit_json(root / "meta/stats.json", lambda stats: stats["action"]["std"].__setitem__(0, -1.0))


@defect("stats")
def an_episode_has_impossible_stats(root: Path) -> None:
    edit_table(root / EPISODES, lambda columns: columns["stats/action/q50"][1].__setitem__(0, 1e6))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("sound"))


@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_is_found(sound: Path, tmp_path: Path, name: str) -> None:
    root = tmp_path / "dataset"
    shutil.copytree(sound, root)
    assert check_dataset(root, decode=True) == []
    rule, breaks = DEFECTS[name]
    breaks(root)
    findings = check_dataset(root, decode=True)
    assert rule in {finding.rule for finding in findings}, [str(finding) for finding in findings]


def test_an_empty_folder_is_no_dataset(tmp_path: Path) -> None:
    assert [finding.rule for finding in check_dataset(tmp_path)] == ["info"]
