"""A small LeRobot dataset straight through the format, for tests of the writer and of the check."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from blueprint.formats.lerobot.stats import ColorCounter
from blueprint.formats.lerobot.writer import DatasetSpec, EpisodeData, Limits, VideoFeature, write_dataset
from blueprint.formats.video.coding import color_writer

KEY = "observation.images.front"
FPS = 15
SIZE = 48
LENGTHS = (5, 8, 3)
TASKS = ("push the box", "lift the can")
SUBTASKS = ("reach for it", "hold still")


def make_episodes(folder: Path, lengths: tuple[int, ...] = LENGTHS) -> list[EpisodeData]:
    folder.mkdir(parents=True, exist_ok=True)
    episodes = []
    for index, length in enumerate(lengths):
        rng = np.random.default_rng(index)
        counter, path = ColorCounter(), folder / f"{index}.mp4"
        with color_writer(path, width=SIZE, height=SIZE, fps=FPS) as video:
            for _ in range(length):
                picture = rng.integers(0, 256, (SIZE // 8, SIZE // 8, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
                video.add(picture)
                counter.add(picture)
        state = rng.normal(size=(length, 3)).astype(np.float32)
        said = [SUBTASKS[frame >= 2] for frame in range(length)]
        task, stats = TASKS[(index + 1) % 2], {KEY: counter.stats()}
        episodes.append(EpisodeData(task, state, state + 1, {KEY: path}, stats, subtasks=said))
    return episodes


def make_spec(limits: Limits | None = None) -> DatasetSpec:
    names = ("x", "y", "gripper")
    videos = (VideoFeature(KEY, SIZE, SIZE, "h264"),)
    return DatasetSpec(FPS, "toy", names, names, videos, TASKS, limits or Limits(), subtasks=SUBTASKS)


def make_dataset(folder: Path, limits: Limits | None = None, lengths: tuple[int, ...] = LENGTHS) -> Path:
    root = folder / "dataset"
    write_dataset(root, make_spec(limits), make_episodes(folder / "parts", lengths))
    return root
