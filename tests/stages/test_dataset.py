"""Dataset: what was recorded, as LeRobot reads it, with side files that line up."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import toy_episodes
from blueprint.backends.renderer_mujoco import RendererMujoco
from blueprint.core.errors import IntegrityError
from blueprint.formats.lerobot.card import _metadata
from blueprint.formats.lerobot.check import check_dataset
from blueprint.formats.lerobot.doctor import examine
from blueprint.formats.lerobot.writer import Summary
from blueprint.formats.video.coding import decode_color, decode_gray
from blueprint.model.artifacts import Dataset, Episodes, Recording, TaskSet, Workcell
from blueprint.skills.wording import subtask
from blueprint.stages.dataset import DatasetConfig, dataset
from blueprint.stages.recording import RecordingConfig, recording

Inputs = tuple[Workcell, TaskSet, Episodes, Recording]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    folder = tmp_path_factory.mktemp("inputs")
    workcell = toy_episodes.make_workcell(folder / "workcell")
    taskset = toy_episodes.make_taskset(folder / "taskset")
    episodes = toy_episodes.make_episodes(folder / "episodes", workcell, taskset, lengths=(6, 4, 9))
    cfg = RecordingConfig(width=64, height=64)
    out = folder / "recording"
    return workcell, taskset, episodes, recording.function(workcell, episodes, RendererMujoco(), cfg, out).save(out)


def make(inputs: Inputs, out: Path, **settings: object) -> Dataset:
    return dataset.function(*inputs, toy_episodes.make_licences(), DatasetConfig.model_validate(settings), out).save(
        out
    )


@pytest.fixture(scope="module")
def made(inputs: Inputs, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make(inputs, tmp_path_factory.mktemp("dataset"))


def test_the_check_finds_nothing(made: Dataset) -> None:
    assert check_dataset(made.path(made.folder), decode=True) == []
    assert (made.episodes, made.frames, made.fps) == (3, 19, 15)
    assert made.tasks == ("lift the red box", "lift the blue box")


def test_states_and_actions_are_those_of_the_successful_episodes(made: Dataset, inputs: Inputs) -> None:
    rows = pq.read_table(made.path(f"{made.folder}/data/chunk-000/file-000.parquet"))
    episodes = inputs[2]
    states = [np.load(episodes.path(e.states or "")) for e in episodes.episodes if e.success]
    for column, key in (("observation.state", "state"), ("action", "action")):
        expected = np.concatenate([arrays[key] for arrays in states])
        np.testing.assert_array_equal(np.array(rows[column].to_pylist(), np.float32), expected)
    info = json.loads(made.path(f"{made.folder}/meta/info.json").read_text())
    assert info["features"]["action"]["names"] == list(toy_episodes.STATE_NAMES)
    assert info["robot_type"] == "toy_arm"


def test_every_frame_says_what_the_robot_does(made: Dataset, inputs: Inputs) -> None:
    rows = pq.read_table(made.path(f"{made.folder}/data/chunk-000/file-000.parquet"))
    texts = pq.read_table(made.path(f"{made.folder}/meta/subtasks.parquet"))["subtask"].to_pylist()
    segments = [
        (toy_episodes.SEGMENTS[i], record.task.instruction.removeprefix("lift "))
        for record in inputs[2].episodes
        if record.success
        for i in np.load(inputs[2].path(record.states or ""))["segment"]
    ]
    said = [texts[i] for i in rows["subtask_index"].to_pylist()]
    assert said == [subtask(segment, about.removeprefix("the ")) for segment, about in segments]
    assert len(set(said)) == len(texts) > 1


@pytest.mark.parametrize("lie", ["none", "numbers", "still", "fell"])
def test_the_doctor_finds_failures_that_are_called_successes(made: Dataset, tmp_path: Path, lie: str) -> None:
    root = tmp_path / "dataset"
    shutil.copytree(made.path(made.folder), root)
    lines = [json.loads(line) for line in (root / "sidecar/episodes.jsonl").read_text().splitlines()]
    if lie == "numbers":
        bad = {"name": "end", "measured": 3.0, "bound": 1.0, "comparison": "<=", "passed": True}
        lines[1]["attempts"][-1]["checks"].append(bad)
    path = root / "sidecar/poses/000001.parquet"
    poses, body = pq.read_table(path), f"body/{lines[1]['task']['object']}"
    rows = np.array(poses[body].to_pylist())
    if lie == "still":
        rows[:] = rows[0]
    if lie == "fell":
        rows[-1] = rows[0]
    column = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), 7)
    pq.write_table(poses.set_column(poses.column_names.index(body), body, column), path)
    (root / "sidecar/episodes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = [finding.where for finding in examine(root, pictures=False) if finding.rule == "success"]
    assert found == ([] if lie == "none" else ["episode 1"])


def test_side_files_line_up_with_the_frames(made: Dataset, inputs: Inputs) -> None:
    root = made.path(f"{made.folder}/sidecar")
    episodes, drawn = inputs[2], inputs[3]
    lines = [json.loads(line) for line in (root / "episodes.jsonl").read_text().splitlines()]
    assert [line["source_episode"] for line in lines] == [0, 2, 3]
    for line, recorded in zip(lines, drawn.episodes, strict=True):
        name = f"{line['episode_index']:06d}"
        poses = pq.read_table(root / "poses" / f"{name}.parquet")
        assert poses["frame_index"].to_pylist() == list(range(recorded.frames))
        states = np.load(episodes.path(episodes.episodes[line["source_episode"]].states or ""))
        height = np.array(poses[f"body/{line['task']['object']}"].to_pylist())[:, 2]
        assert np.ptp(height) > 0.1, "the toy's object floats up"
        assert poses["segment"].to_pylist() == [toy_episodes.SEGMENTS[i] for i in states["segment"]]
        for camera in made.cameras:
            depth = list(decode_gray(root / "depth" / camera / f"{name}.mkv"))
            assert len(depth) == recorded.frames
    scene = json.loads((root / "scene.json").read_text())
    assert set(scene["cameras"]) == set(made.cameras)
    labels = np.unique(next(decode_gray(root / "segmentation/scene/000000.mkv")))
    assert {"red_box", "blue_box"} <= {scene["segmentation"][str(value)] for value in labels}


def test_videos_are_the_recorded_ones_to_the_bit(made: Dataset, inputs: Inputs) -> None:
    drawn = inputs[3]
    for c, camera in enumerate(made.cameras):
        path = made.path(f"{made.folder}/videos/observation.images.{camera}/chunk-000/file-000.mp4")
        apart = [frame for e in drawn.episodes for frame in decode_color(drawn.path(e.tracks[c].video))]
        np.testing.assert_array_equal(np.stack(list(decode_color(path))), np.stack(apart))


def test_two_datasets_are_equal_in_bytes(made: Dataset, inputs: Inputs, tmp_path: Path) -> None:
    make(inputs, tmp_path)
    files = [path.relative_to(made.root) for path in sorted(made.root.rglob("*")) if path.is_file()]
    assert len(files) > 20
    for file in files:
        assert (tmp_path / file).read_bytes() == (made.root / file).read_bytes(), file


def test_the_card_says_that_the_data_is_simulated_and_whose_licence_binds(inputs: Inputs, tmp_path: Path) -> None:
    made = make(inputs, tmp_path, licence="cc-by-4.0", licence_note="Captured by the Toy Lab.")
    card = made.path(f"{made.folder}/README.md").read_text()
    assert card.startswith('---\nlicense: "cc-by-4.0"\n')
    assert "sensor_source: mujoco" in card and "Captured by the Toy Lab." in card
    assert "| lift the red box | 1 |" in card and "| lift the blue box | 2 |" in card


def test_the_card_shows_every_task_and_camera(made: Dataset, inputs: Inputs) -> None:
    root, drawn = made.path(made.folder), inputs[3]
    strips = re.findall(r"\| (.+) \| (.+) \| !\[stills\]\((.+)\) \|", (root / "README.md").read_text())
    assert {text for text, _, _ in strips} == set(made.tasks) and {name for _, name, _ in strips} == set(made.cameras)
    for number, (_, camera, file) in enumerate(strips):
        with Image.open(root / file) as strip:
            assert strip.size == (8 * 160, 156 * drawn.height // drawn.width)
            shown = np.asarray(strip, float)
        track = next(t for t in drawn.episodes[0].tracks if t.camera == camera)
        if number == 0 or camera != made.cameras[0]:  # of the first episode
            frames = list(decode_color(drawn.path(track.video)))
            for frame, still in ((frames[0], shown[:, :154]), (frames[-1], shown[:, -160:-6])):
                assert np.abs(frame.mean((0, 1)) - still.mean((0, 1))).max() < 2


@pytest.mark.parametrize(
    ("licence", "front"),
    [
        ("Apache-2.0", {"license": "apache-2.0"}),
        ("GPL-3.0-or-later", {"license": "gpl-3.0"}),
        ("ODC-By-1.0", {"license": "odc-by"}),
        ("other", {"license": "other"}),
        ("LicenseRef-Lab", {"license": "other", "license_name": "licenseref-lab"}),
    ],
)
def test_licences_are_those_that_hubs_know(licence: str, front: dict[str, str]) -> None:
    found = _metadata("toy", licence, None, Summary(1, 999))
    assert {name: value for name, value in found.items() if name.startswith("license")} == front
    assert found["size_categories"] == ["n<1K"] and "extra_gated_prompt" not in found


def test_a_gated_card_asks_who_wants_access(inputs: Inputs, tmp_path: Path) -> None:
    """Read as the Hub's own package reads it, where that is installed."""
    made = make(inputs, tmp_path, gated=True, gated_prompt='Only for "research": say who you are.', licence="CC-BY-4.0")
    card = made.path(f"{made.folder}/README.md").read_text()
    lines = dict(line.split(": ", 1) for line in card.split("---\n")[1].splitlines())
    assert json.loads(lines["extra_gated_prompt"]) == 'Only for "research": say who you are.'
    assert "text" in json.loads(lines["extra_gated_fields"]).values()
    hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")
    data = hub.DatasetCard(card).data.to_dict()
    assert data == {name: json.loads(value) for name, value in lines.items()}


def test_croissant_names_every_file_and_column(made: Dataset) -> None:
    root = made.path(made.folder)
    found = json.loads((root / "croissant.json").read_bytes())
    files = {one["@id"]: one["sha256"] for one in found["distribution"] if one["@type"] == "cr:FileObject"}
    assert files == {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in ("meta", "data", "videos")
        for path in (root / folder).rglob("*")
        if path.is_file()
    }
    fields = {one["@id"]: {field["name"]: field for field in one["field"]} for one in found["recordSet"]}
    table = pq.read_table(root / "data/chunk-000/file-000.parquet")
    assert set(fields["frames"]) == set(table.column_names)
    assert set(fields["episodes"]) <= set(pq.read_table(root / "meta/episodes/chunk-000/file-000.parquet").column_names)


def test_mlcroissant_reads_the_tables(made: Dataset) -> None:
    mlc = pytest.importorskip("mlcroissant", reason="mlcroissant is not installed")
    root = made.path(made.folder)
    read = mlc.Dataset(jsonld=str(root / "croissant.json"))  # raises for what is not valid
    assert not read.metadata.ctx.issues.errors
    table = pq.read_table(root / "data/chunk-000/file-000.parquet").to_pylist()
    for row, record in zip(table, read.records("frames"), strict=True):
        assert row == {name.removeprefix("frames/"): np.asarray(value).tolist() for name, value in record.items()}
    assert [one["episodes/length"] for one in read.records("episodes")] == [
        sum(row["episode_index"] == k for row in table) for k in range(made.episodes)
    ]


def test_a_recording_of_other_episodes_is_refused(inputs: Inputs, tmp_path: Path) -> None:
    workcell, taskset, episodes, drawn = inputs
    longer = episodes.episodes[0].model_copy(update={"frames": 7})
    other = episodes.model_copy(update={"episodes": (longer, *episodes.episodes[1:])}).bind(episodes.root)
    with pytest.raises(IntegrityError, match="recorded episode 0"):
        make((workcell, taskset, other, drawn), tmp_path)


def test_a_task_that_is_not_in_the_set_is_refused(inputs: Inputs, tmp_path: Path) -> None:
    workcell, taskset, episodes, drawn = inputs
    fewer = taskset.model_copy(update={"tasks": taskset.tasks[:1]}).bind(taskset.root)
    with pytest.raises(IntegrityError, match="lift the blue box"):
        make((workcell, fewer, episodes, drawn), tmp_path)


@pytest.mark.parametrize("kind", ["short", "missing", "surplus"])
def test_the_check_finds_side_files_that_do_not_line_up(made: Dataset, tmp_path: Path, kind: str) -> None:
    root = tmp_path / "dataset"
    shutil.copytree(made.path(made.folder), root)
    depth = root / "sidecar/depth/scene"
    if kind == "short":
        shutil.copy(depth / "000001.mkv", depth / "000000.mkv")
    elif kind == "missing":
        (depth / "000002.mkv").unlink()
    else:
        shutil.copy(depth / "000001.mkv", depth / "000003.mkv")
    assert {finding.rule for finding in check_dataset(root)} == {"sidecar"}
