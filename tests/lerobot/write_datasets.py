"""Write datasets for `read_datasets.py`; runs in the project's environment: python write_datasets.py OUT

Each lies in OUT/NAME/dataset with the values that went in as OUT/NAME/reference.npz.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
import toy_episodes
from blueprint.backends.renderer_mujoco import RendererMujoco
from blueprint.formats.lerobot.stats import ColorCounter
from blueprint.formats.lerobot.writer import DatasetSpec, EpisodeData, Limits, VideoFeature, write_dataset
from blueprint.formats.video.coding import color_writer
from blueprint.stages.dataset import DatasetConfig, dataset
from blueprint.stages.recording import RecordingConfig, recording, track_name

KINDS = {
    "plain": RecordingConfig(),
    "av1": RecordingConfig(codec="av1", depth=False, segmentation=False),
    "wide": RecordingConfig(width=640, height=480, depth=False, segmentation=False),
    "full": RecordingConfig(pack="full"),
    "rough": RecordingConfig(samples=1, depth=False, segmentation=False),
}


def main(out: Path) -> None:
    shutil.rmtree(out, ignore_errors=True)
    for name, cfg in KINDS.items():
        write_toy(out / name, cfg)
    write_synthetic(out / "many_files", lengths=[7, 30, 4, 25, 12, 40, 9], limits=Limits(2, 0.01, 0.03))
    write_synthetic(out / "one_frame", lengths=[1], limits=Limits())
    # longer than float32 can address within lerobot's tolerance, had we written one file
    write_synthetic(out / "long", lengths=[6000] * 6, limits=Limits(), size=32)


def write_toy(folder: Path, cfg: RecordingConfig) -> None:
    """Through the stages; the reference is drawn again."""
    workcell = toy_episodes.make_workcell(folder / "workcell")
    taskset = toy_episodes.make_taskset(folder / "taskset")
    episodes = toy_episodes.make_episodes(folder / "episodes", workcell, taskset)
    drawn = recording.function(workcell, episodes, RendererMujoco(), cfg, folder / "recording")
    drawn.save(folder / "recording")
    dataset.function(workcell, taskset, episodes, drawn, toy_episodes.make_licences(), DatasetConfig(), folder)
    chosen = [episode for episode in episodes.episodes if episode.success]
    arrays = [np.load(episodes.path(episode.states or "")) for episode in chosen]
    values = {
        "observation.state": np.concatenate([a["state"] for a in arrays]),
        "action": np.concatenate([a["action"] for a in arrays]),
    }
    pictures = RendererMujoco().render(
        workcell.path(workcell.mjcf),
        np.concatenate([a["qpos"] for a in arrays]),
        workcell.cameras,
        cfg.width,
        cfg.height,
        depth=False,
        segmentation=False,
        samples=cfg.samples,
    )
    frames = list(pictures)
    for name in workcell.cameras:
        values[f"observation.images.{track_name(name)}"] = np.stack([frame[name].color for frame in frames])
    np.savez(folder / "reference.npz", **values)


def write_synthetic(folder: Path, lengths: list[int], limits: Limits, size: int = 96) -> None:
    """Straight through the format: every frame another picture, every value its own number."""
    key = "observation.images.front"
    folder.mkdir(parents=True)
    spec = DatasetSpec(15, "toy", ("a", "b"), ("a", "b"), (VideoFeature(key, size, size, "h264"),), ("x", "y"), limits)
    episodes, pictures, first = [], [], 0
    for index, length in enumerate(lengths):
        counter, part = ColorCounter(), folder / f"{index}.mp4"
        with color_writer(part, width=size, height=size, fps=spec.fps) as video:
            for frame in range(first, first + length):
                picture = numbered_picture(frame, size)
                video.add(picture)
                counter.add(picture)
                pictures.append(picture)
        state = np.arange(first, first + length, dtype=np.float32)[:, None] + np.array([0, 0.5], np.float32)
        episodes.append(EpisodeData(spec.tasks[index % 2], state, -state, {key: part}, {key: counter.stats()}))
        first += length
    write_dataset(folder / "dataset", spec, episodes)
    values = {
        "observation.state": np.concatenate([episode.state for episode in episodes]),
        "action": np.concatenate([episode.action for episode in episodes]),
    }
    np.savez(folder / "reference.npz", **values, **{key: np.stack(pictures)})


def numbered_picture(number: int, size: int) -> np.ndarray:
    """Grey squares that spell `number` in binary."""
    bits = [(number >> bit) & 1 for bit in range(16)]
    board = np.array(bits, np.uint8).reshape(4, 4) * 150 + 50
    return np.repeat(np.kron(board, np.ones((size // 4, size // 4), np.uint8))[..., None], 3, axis=2)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
