"""The doctor of anybody's datasets: silent on healthy ones, of all three versions; it finds what `bench` puts in."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from bench.trust.defects import FILES, FPS, RECORDED, SIZE, Draft

from blueprint.formats.lerobot.doctor import examine
from blueprint.formats.lerobot.read import open_dataset
from blueprint.formats.video.coding import color_writer, decode_color


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Draft(np.random.default_rng(0), episodes=3).write(tmp_path_factory.mktemp("healthy") / "dataset")


def test_a_healthy_dataset_raises_no_finding(healthy: Path) -> None:
    assert examine(healthy) == []


@pytest.mark.parametrize("kind", sorted(FILES))
def test_damage_to_files_is_found(healthy: Path, tmp_path: Path, kind: str) -> None:
    shutil.copytree(healthy, tmp_path / "bad")
    FILES[kind](tmp_path / "bad", np.random.default_rng(1))
    assert examine(tmp_path / "bad")


@pytest.mark.parametrize(
    ("kind", "rule"),
    [
        ("a state that jumps for a frame", "outlier"),
        ("actions some frames late", "lag"),
        ("states in degrees", "units"),
        ("a camera that froze", "frozen"),
        ("a black camera", "dark"),
        ("pictures some frames late", "misaligned"),
        ("an episode twice", "duplicate"),
    ],
)
def test_what_was_recorded_wrongly_is_called_by_its_name(tmp_path: Path, kind: str, rule: str) -> None:
    draft = Draft(np.random.default_rng(0), episodes=3)
    RECORDED[kind](draft, np.random.default_rng(1))
    assert rule in {finding.rule for finding in examine(draft.write(tmp_path / "bad"))}


def as_v2(root: Path, source: Path, version: str) -> Path:
    """The healthy dataset in the layout of v2, written by hand from what the reader says of v3."""
    import pyarrow.parquet as pq

    dataset = open_dataset(source)
    info = dataset.info | {
        "codebase_version": version,
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
    }
    (root / "meta").mkdir(parents=True)
    (root / "meta/info.json").write_text(json.dumps(info))
    (root / "meta/tasks.jsonl").write_text(
        "".join(json.dumps({"task_index": k, "task": t}) + "\n" for k, t in dataset.tasks.items())
    )
    lines = []
    for episode in dataset.episodes():
        table = pq.read_table(episode.table)
        assert episode.rows is not None
        path = root / f"data/chunk-000/episode_{episode.index:06d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table.slice(episode.rows.start, episode.length), path)
        for key, clip in episode.clips.items():
            video = root / f"videos/chunk-000/{key}/episode_{episode.index:06d}.mp4"
            video.parent.mkdir(parents=True, exist_ok=True)
            start = round((clip.start_s or 0) * dataset.fps)
            with color_writer(video, width=SIZE, height=SIZE, fps=FPS, codec="h264", crf=None) as writer:
                for number, picture in enumerate(decode_color(clip.path)):
                    if start <= number < start + episode.length:
                        writer.add(picture)
        lines.append(
            json.dumps({"episode_index": episode.index, "tasks": list(episode.tasks), "length": episode.length})
        )
    (root / "meta/episodes.jsonl").write_text("\n".join(lines))
    return root


@pytest.mark.parametrize("version", ["v2.0", "v2.1"])
def test_older_versions_are_read_as_they_are(healthy: Path, tmp_path: Path, version: str) -> None:
    root = as_v2(tmp_path / "old", healthy, version)
    assert examine(root) == []
    (root / "data/chunk-000/episode_000001.parquet").unlink()
    assert examine(root)[0].rule == "table"


@pytest.mark.parametrize(
    "template", ["../../{episode_index}.parquet", "{episode_index.__class__}", "{0}", "/etc/passwd", "{x}"]
)
def test_no_path_leads_out_of_the_dataset(healthy: Path, tmp_path: Path, template: str) -> None:
    shutil.copytree(healthy, tmp_path / "bad")
    info = json.loads((tmp_path / "bad/meta/info.json").read_text()) | {"data_path": template}
    (tmp_path / "bad/meta/info.json").write_text(json.dumps(info))
    assert any(
        "template" in str(f) or "leads out" in str(f) or "No such file" in str(f) for f in examine(tmp_path / "bad")
    )
