"""Read datasets with the real lerobot 0.4.4; runs in its own environment: python read_datasets.py ROOT...

Every frame of small datasets (of large ones, a spread of them) must come back with its values, time, task and picture;
windows over time (delta_timestamps) must pad at the ends of episodes; lerobot's own tool must merge a dataset with
itself. A `reference.npz` beside a ROOT holds what was written: states must be equal, pictures close to those drawn.
Prints a line per dataset; exit 1 if any fails.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
import traceback
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = os.environ["TQDM_DISABLE"] = "1"

import av
import numpy as np
import pandas as pd
import shims  # noqa: F401  must come before lerobot
import torch
from lerobot.datasets.dataset_tools import merge_datasets
from lerobot.datasets.lerobot_dataset import CODEBASE_VERSION, LeRobotDataset

MAX_FRAMES = 1500
MAX_MERGED_FRAMES = 500
MIN_PSNR_DB = 30.0


def main(roots: list[str]) -> int:
    logging.disable(logging.WARNING)  # that torchcodec is absent, for every dataset
    failed = 0
    for root in map(Path, roots):
        try:
            print(f"PASS {root}: {read(root)}")
        except Exception:  # noqa: BLE001  whatever the reader raises is a failed dataset
            failed += 1
            print(f"FAIL {root}\n{traceback.format_exc()}")
    if not roots:
        print("FAIL no dataset given")
    return 1 if failed or not roots else 0


def read(root: Path) -> str:
    assert CODEBASE_VERSION == "v3.0"
    info = json.loads((root / "meta/info.json").read_text())
    fps = info["fps"]
    dataset = open_dataset(root)
    assert len(dataset) == info["total_frames"], (len(dataset), info["total_frames"])
    assert dataset.num_episodes == info["total_episodes"]
    assert dataset.meta.total_tasks == info["total_tasks"] == len(dataset.meta.tasks)
    cameras = list(dataset.meta.camera_keys)
    signals = (name for name in info["features"] if name.startswith("observation.") and name not in cameras)
    vectors = ["action", *signals]
    assert set(dataset.meta.stats) == set(info["features"]), "statistics of every feature"
    rows = pd.concat([pd.read_parquet(path) for path in sorted(root.glob("data/*/*.parquet"))]).set_index("index")
    told = root / "meta/subtasks.parquet"
    subtasks = pd.read_parquet(told) if told.exists() else None
    frames = np.unique(np.linspace(0, len(dataset) - 1, min(len(dataset), MAX_FRAMES)).round().astype(int))
    videos = VideoFrames(root, dataset)
    reference = load_reference(root)
    psnr = []
    for i in frames.tolist():
        item = dataset[i]
        row, episode = rows.loc[i], dataset.meta.episodes[int(item["episode_index"])]
        assert item["index"] == i and item["frame_index"] == i - episode["dataset_from_index"]
        assert abs(float(item["timestamp"]) - int(item["frame_index"]) / fps) < 1e-4
        assert [item["task"]] == episode["tasks"], (item["task"], episode["tasks"])
        if subtasks is not None:
            assert item["subtask"] == subtasks.index[int(row["subtask_index"])]
        for name in vectors:
            assert torch.equal(item[name].reshape(-1), torch.from_numpy(np.array(row[name]).reshape(-1))), name
            if name in reference:
                assert np.array_equal(item[name].numpy(), reference[name][i]), f"{name} is not what was recorded"
        for camera in cameras:
            picture = (item[camera] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
            assert picture.shape == tuple(info["features"][camera]["shape"])
            assert np.array_equal(picture, videos.frame(camera, int(item["episode_index"]), int(item["frame_index"])))
            if camera in reference:  # not the tactile pads
                error = np.mean((picture.astype(float) - reference[camera][i]) ** 2)
                psnr.append(10 * np.log10(255**2 / max(error, 1e-9)))
    if reference:
        assert min(psnr) >= MIN_PSNR_DB, f"worst frame {min(psnr):.1f} dB"
    read_windows(root, dataset, cameras, fps)
    if len(dataset) <= MAX_MERGED_FRAMES:
        merge_with_itself(dataset, cameras)
    batch = next(iter(torch.utils.data.DataLoader(dataset, batch_size=min(8, len(dataset)))))
    assert all(batch[camera].ndim == 4 for camera in cameras)
    quality = f", pictures {min(psnr):.1f} dB at worst" if psnr else ""
    return f"{dataset.num_episodes} episodes, {len(frames)} of {len(dataset)} frames read{quality}"


def open_dataset(root: Path, **kwargs) -> LeRobotDataset:
    return LeRobotDataset("local/dataset", root=root, video_backend="pyav", **kwargs)


def load_reference(root: Path) -> dict[str, np.ndarray]:
    path = root.parent / "reference.npz"
    return dict(np.load(path)) if path.exists() else {}


class VideoFrames:
    """Frames by plain decoding from the start of each file, to hold lerobot's seeking against."""

    def __init__(self, root: Path, dataset: LeRobotDataset) -> None:
        self._root, self._dataset = root, dataset
        self._path: dict[str, Path] = {}
        self._frames: dict[str, list[np.ndarray]] = {}

    def frame(self, camera: str, episode: int, frame: int) -> np.ndarray:
        meta = self._dataset.meta
        path = self._root / meta.get_video_file_path(episode, camera)
        if self._path.get(camera) != path:
            with av.open(str(path)) as container:
                self._frames[camera] = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
            self._path[camera] = path
        first = round(meta.episodes[episode][f"videos/{camera}/from_timestamp"] * meta.fps)
        return self._frames[camera][first + frame]


def read_windows(root: Path, plain: LeRobotDataset, cameras: list[str], fps: int) -> None:
    """The frame before and the two after, at the ends and in the middle of episodes."""
    offsets = {"action": [0.0, 1 / fps, 2 / fps]} | {camera: [-1 / fps, 0.0] for camera in cameras}
    dataset = open_dataset(root, delta_timestamps=offsets)
    for episode in range(min(dataset.num_episodes, 20)):
        meta = dataset.meta.episodes[episode]
        first, last = meta["dataset_from_index"], meta["dataset_to_index"] - 1
        for i in sorted({first, (first + last) // 2, last}):
            item = dataset[i]
            follows = [min(i + k, last) for k in range(3)]
            assert item["action_is_pad"].tolist() == [i + k > last for k in range(3)]
            assert torch.equal(item["action"], torch.stack([plain[j]["action"] for j in follows]))
            for camera in cameras:
                assert item[f"{camera}_is_pad"].tolist() == [i == first, False]
                before = plain[max(i - 1, first)][camera]
                assert torch.equal(item[camera], torch.stack([before, plain[i][camera]]))


def merge_with_itself(dataset: LeRobotDataset, cameras: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        merge_datasets([dataset, dataset], output_repo_id="local/twice", output_dir=Path(folder) / "twice")
        twice = open_dataset(Path(folder) / "twice")
        assert (len(twice), twice.num_episodes) == (2 * len(dataset), 2 * dataset.num_episodes)
        for i in (0, len(dataset) - 1):
            one, other = dataset[i], twice[len(dataset) + i]
            assert one["task"] == other["task"]
            assert all(torch.equal(one[name], other[name]) for name in ("observation.state", *cameras))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
