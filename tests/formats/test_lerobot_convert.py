"""Conversion: what goes there and back is what it was; nothing is lost or touched, nothing broken is copied."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
from bench.trust.conversion import round_trip
from bench.trust.defects import CAMERAS, FILES, FPS, RECORDED, Draft

from blueprint.apps.release.convert import convert_dataset
from blueprint.core.errors import InputError, IntegrityError
from blueprint.core.files import file_digest, files_below
from blueprint.formats.lerobot.check import check_dataset
from blueprint.formats.lerobot.doctor import examine
from blueprint.formats.lerobot.groot import parts
from blueprint.formats.lerobot.read import open_dataset
from blueprint.formats.video.coding import decode_color
from blueprint.formats.video.cut import cut, frames, packets
from formats.lerobot_toys import LENGTHS, SUBTASKS, make_dataset


def hashes(root: Path) -> dict[str, str]:
    return {name: file_digest(root / name) for name in files_below(root)}


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Draft(np.random.default_rng(0), episodes=3).write(tmp_path_factory.mktemp("healthy") / "dataset")


@pytest.fixture(scope="module")
def old(healthy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("old") / "dataset"
    convert_dataset(healthy, out, "v2.1")
    return out


def changed(root: Path, name: str, change: Callable[[dict], None]) -> None:
    content = json.loads((root / name).read_text())
    change(content)
    (root / name).write_text(json.dumps(content))


def test_there_and_back_is_the_same(healthy: Path, tmp_path: Path) -> None:
    before = hashes(healthy)
    assert {law: fault for law, fault in round_trip(healthy, tmp_path / "work") if fault} == {}
    assert hashes(healthy) == before


def test_the_old_layout_is_that_of_v21(old: Path) -> None:
    info = json.loads((old / "meta/info.json").read_text())
    assert (info["codebase_version"], info["total_videos"], info["total_chunks"]) == ("v2.1", 6, 1)
    assert not {"data_files_size_in_mb", "video_files_size_in_mb"} & set(info)
    for index in range(3):
        assert (old / f"data/chunk-000/episode_{index:06d}.parquet").is_file()
        assert all((old / f"videos/chunk-000/{key}/episode_{index:06d}.mp4").is_file() for key in CAMERAS)
    lines = [json.loads(line) for line in (old / "meta/episodes_stats.jsonl").read_text().splitlines()]
    assert [line["episode_index"] for line in lines] == [0, 1, 2]
    for key in CAMERAS:
        assert np.shape(lines[0]["stats"][key]["mean"]) == (3, 1, 1)
        assert len(lines[0]["stats"][key]["count"]) == 1


def test_the_card_says_that_no_signature_covers_the_copy(healthy: Path, tmp_path: Path) -> None:
    root, out = shutil.copytree(healthy, tmp_path / "mine"), tmp_path / "out"
    (root / "sidecar/poses").mkdir(parents=True)
    (root / "sidecar/poses/000000.txt").write_text("1 2 3")
    (root / "certificate.dsse.json").write_text("{}")
    (root / "meta/subtasks.parquet").write_bytes(b"theirs")
    (root / "README.md").write_text("---\nlicense: mit\n---\n# Mine\n")
    convert_dataset(root, out, "v2.1")
    card = (out / "README.md").read_text()
    assert card.startswith("---\nlicense: mit\n---\n")
    assert "does not cover this copy" in card
    assert "# Mine" in card
    assert not (out / "certificate.dsse.json").exists()
    assert (out / "meta/subtasks.parquet").read_bytes() == b"theirs"
    assert (out / "sidecar/poses/000000.txt").read_text() == "1 2 3"


def test_the_oldest_version_gets_the_statistics_it_lacks(healthy: Path, old: Path, tmp_path: Path) -> None:
    shutil.copytree(old, tmp_path / "v20")
    (tmp_path / "v20/meta/episodes_stats.jsonl").unlink()
    changed(tmp_path / "v20", "meta/info.json", lambda info: info.update(codebase_version="v2.0"))
    done = convert_dataset(tmp_path / "v20", tmp_path / "new", "v3.0")
    assert set(CAMERAS) < set(done["computed"])
    assert check_dataset(tmp_path / "new", decode=True) == []
    told, found = open_dataset(healthy).stats, open_dataset(tmp_path / "new").stats
    for name in ("observation.state", "action"):
        assert all(np.allclose(told[name][key], found[name][key], atol=1e-9) for key in told[name])
    for name in CAMERAS:  # the originals were counted before they were coded
        assert np.allclose(told[name]["mean"], found[name]["mean"], atol=0.01)


def test_statistics_that_are_there_are_kept(old: Path, tmp_path: Path) -> None:
    shutil.copytree(old, tmp_path / "mine")
    path = tmp_path / "mine/meta/episodes_stats.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        line["stats"] = {
            name: {key: value for key, value in stats.items() if not key.startswith("q")}
            for name, stats in line["stats"].items()
        }
        line["stats"]["action"]["std"] = [float("nan")] * 8  # as some writers leave it
        line["stats"][CAMERAS[0]]["mean"] = [[[0.125]], [[0.25]], [[0.5]]]  # no picture of ours has this one
    path.write_text("\n".join(json.dumps(line) for line in lines))
    convert_dataset(tmp_path / "mine", tmp_path / "new", "v3.0")
    for episode in open_dataset(tmp_path / "new").episodes():
        assert np.ravel(episode.stats[CAMERAS[0]]["mean"]).tolist() == [0.125, 0.25, 0.5]
        assert np.shape(episode.stats[CAMERAS[0]]["q99"]) == (3, 1, 1)
        assert np.isfinite(episode.stats["action"]["std"]).all()


@pytest.mark.parametrize("kind", ["a row twice", "a table cut off", "a video cut off", "a video that is missing"])
def test_what_is_broken_is_refused(healthy: Path, tmp_path: Path, kind: str) -> None:
    shutil.copytree(healthy, tmp_path / "bad")
    FILES[kind](tmp_path / "bad", np.random.default_rng(1))
    with pytest.raises(InputError, match="broken"):
        convert_dataset(tmp_path / "bad", tmp_path / "out", "v2.1")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad"]


def test_strange_values_are_the_data_own(tmp_path: Path) -> None:
    draft = Draft(np.random.default_rng(0), episodes=2)
    RECORDED["states in degrees"](draft, np.random.default_rng(1))
    root = draft.write(tmp_path / "odd")
    assert examine(root)
    convert_dataset(root, tmp_path / "out", "v2.1")
    assert {finding.rule for finding in examine(tmp_path / "out")} == {finding.rule for finding in examine(root)}


def test_nothing_is_overwritten_or_written_into_the_source(healthy: Path, tmp_path: Path) -> None:
    before = hashes(healthy)
    for out, text in ((tmp_path, "exists"), (healthy / "out", "lies in"), (tmp_path / "out", "is v3.0")):
        with pytest.raises(InputError, match=text):
            convert_dataset(healthy, out, "v3.0" if text.startswith("is") else "v2.1")
    assert hashes(healthy) == before


def test_a_failure_leaves_nothing_behind(healthy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("blueprint.apps.release.convert.fsync_tree", full)
    with pytest.raises(OSError, match="space"):
        convert_dataset(healthy, tmp_path / "out", "v2.1")
    assert list(tmp_path.iterdir()) == []


def test_groot_knows_arm_and_gripper(healthy: Path, tmp_path: Path) -> None:
    convert_dataset(healthy, tmp_path / "groot", "groot")
    modality = json.loads((tmp_path / "groot/meta/modality.json").read_text())
    wanted = {"arm": {"start": 0, "end": 7}, "gripper": {"start": 7, "end": 8}}
    assert modality["state"] == modality["action"] == wanted
    assert modality["video"] == {key.rpartition(".")[2]: {"original_key": key} for key in CAMERAS}
    assert modality["annotation"] == {"human.task_description": {"original_key": "task_index"}}
    stats = json.loads((tmp_path / "groot/meta/stats.json").read_text())
    assert {"mean", "std", "min", "max", "q01", "q99"} <= set(stats["action"])
    assert examine(tmp_path / "groot") == []


@pytest.mark.parametrize(
    ("names", "keys"),
    [
        (["robot_joint1", "robot_joint2", "robot_gripper", "robot2_joint1", "robot2_gripper"],
         {"robot_arm": (0, 2), "robot_gripper": (2, 3), "robot2_arm": (3, 4), "robot2_gripper": (4, 5)}),
        (["j1.pos", "j2.pos", "gripper.pos"], {"arm": (0, 2), "gripper": (2, 3)}),
        (["a", "gripper", "b", "gripper"], {"arm": (0, 1), "gripper": (1, 2), "arm2": (2, 3), "gripper2": (3, 4)}),
        (["left_finger", "right_finger"], {"gripper": (0, 2)}),
        (["x", "y"], {"arm": (0, 2)}),
    ],
)  # fmt: skip
def test_parts_cover_every_value_once(names: list[str], keys: dict[str, tuple[int, int]]) -> None:
    found = parts("action", {"names": names})
    assert {key: (part["start"], part["end"]) for key, part in found.items()} == keys


def test_groot_needs_names() -> None:
    with pytest.raises(InputError, match="no names"):
        parts("action", {"names": None})


# ------------------------------------------------------------------ videos of others


def coded(path: Path, pictures: list[np.ndarray], **options: str) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "18", "threads": "1", **options})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    return Draft(np.random.default_rng(5), episodes=1).pictures[0][CAMERAS[0]][:40]


@pytest.mark.parametrize("bf", ["0", "3"])
def test_a_piece_is_cut_exactly_or_not_at_all(tmp_path: Path, pictures: list[np.ndarray], bf: str) -> None:
    """Whether a piece `copies` is decided from packets alone; wherever it does, the copy decodes to the same."""
    path = coded(tmp_path / "all.mp4", pictures, g="8", bf=bf)
    whole, source, copied = list(decode_color(path)), packets(path), 0
    for start in range(0, 33):
        for count in (1, 5, 8, 16):
            if start + count > len(pictures):
                continue
            piece = source.piece(start / FPS, count)
            wanted = whole[start : start + count]
            assert all(np.array_equal(a, b) for a, b in zip(frames(source, piece), wanted, strict=True))
            if source.copies(piece):
                cut(source, piece, tmp_path / "cut.mp4")
                assert np.array_equal(list(decode_color(tmp_path / "cut.mp4")), wanted)
                assert packets(tmp_path / "cut.mp4").piece(0.0, count)[0] == 0
                copied += 1
            else:
                assert start % 8 or bf != "0"
    assert copied >= 5


def test_what_cannot_be_cut_is_coded_again_and_said(healthy: Path, tmp_path: Path) -> None:
    """An episode begins between key frames: its camera is coded again, the other one is not."""
    shutil.copytree(healthy, tmp_path / "theirs")
    path = next((tmp_path / "theirs/videos" / CAMERAS[0]).glob("*/*.mp4"))
    before = list(decode_color(path))
    path.unlink()
    coded(path, before, g="250", bf="2", **{"x264-params": "scenecut=0"})
    done = convert_dataset(tmp_path / "theirs", tmp_path / "out", "v2.1")
    assert done["recoded"] == [CAMERAS[0]]
    assert "**coded again**" in (tmp_path / "out/README.md").read_text()
    first = 0
    for episode in open_dataset(tmp_path / "out").episodes():
        for shown, wanted in zip(
            decode_color(episode.clips[CAMERAS[0]].path), before[first : first + episode.length], strict=True
        ):
            assert np.abs(shown.astype(int) - wanted).mean() < 6
        first += episode.length
    assert examine(tmp_path / "out") == []


def test_videos_that_cannot_be_joined_are_coded_again(old: Path, tmp_path: Path) -> None:
    shutil.copytree(old, tmp_path / "theirs")
    path = tmp_path / f"theirs/videos/chunk-000/{CAMERAS[1]}/episode_000001.mp4"
    before = list(decode_color(path))
    path.unlink()
    coded(path, before, g="10", bf="2")
    done = convert_dataset(tmp_path / "theirs", tmp_path / "out", "v3.0")
    assert done["recoded"] == [CAMERAS[1]]
    assert check_dataset(tmp_path / "out", decode=True) == []


def test_a_piece_that_is_not_there_is_an_error(tmp_path: Path, pictures: list[np.ndarray]) -> None:
    path = coded(tmp_path / "all.mp4", pictures[:10], g="2", bf="0")
    with pytest.raises(IntegrityError, match="not 8"):
        packets(path).piece(5 / FPS, 8)


@pytest.mark.parametrize("over", ["v3.0", "v2.1"])
def test_the_language_flavour_says_what_happens_from_when_on(tmp_path: Path, over: str) -> None:
    root = make_dataset(tmp_path)
    if over != "v3.0":
        convert_dataset(root, tmp_path / "older", over)
        root = tmp_path / "older"
    convert_dataset(root, tmp_path / "told", "v3.0-language")
    told = open_dataset(tmp_path / "told")
    assert {told.features[name]["dtype"] for name in ("language_persistent", "language_events")} == {"language"}
    rows = pq.read_table(tmp_path / "told/data/chunk-000/file-000.parquet").to_pylist()
    for row in rows:
        begun = [one["content"] for one in row["language_persistent"] if one["timestamp"] <= row["timestamp"]]
        assert begun[-1] == SUBTASKS[row["subtask_index"]]
        assert row["language_events"] == []
    assert pq.ParquetFile(tmp_path / "told/data/chunk-000/file-000.parquet").num_row_groups == len(LENGTHS)
