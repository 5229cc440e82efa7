"""Frames of a finished dataset for training: verified first, then read one by one, as NumPy arrays."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blueprint import verify
from blueprint.core.errors import InputError
from blueprint.formats.arrays import frames_of
from blueprint.formats.lerobot.read import Episode, open_dataset
from blueprint.formats.video.frames import VideoFrames

TOLERANCE_S = 1e-4  # lerobot's, of a delta against the frame rate
ALL = "all"  # the split that holds every episode
SIDES = {"depth": "depth", "segmentation": "instance"}  # kind -> its array in a data pack


@dataclass(frozen=True)
class LoaderConfig:
    """What a sample holds, and how samples come.

    horizon: actions of a sample, from the present one on; 1 = the present one without an axis of its own
    deltas: name in the sample -> seconds from the present, multiples of a frame; as lerobot's `delta_timestamps`
    cameras: names, None = all; depth, segmentation: also those of the sidecar
    transform: what is done to each picture tensor, (3, H, W) or (K, 3, H, W) float32 in [0, 1], e.g. of torchvision
    shuffle: None = of train only; seed: of order and transforms; workers: processes that read and decode
    """

    batch_size: int = 32
    horizon: int = 16
    deltas: Mapping[str, Sequence[float]] = field(default_factory=dict)
    cameras: Sequence[str] | None = None
    depth: bool = False
    segmentation: bool = False
    transform: Callable[[Any], Any] | None = None
    shuffle: bool | None = None
    seed: int = 0
    workers: int = 0
    drop_last: bool = False


def admitted(dataset: Path, policy: str, keys: Iterable[Path | str | bytes]) -> verify.Verified:
    """keys: public keys (files, or raw) that are trusted to have signed; none = this user's own, where there is one.

    Raises verify.Refused unless every file is what was signed and the policy admits the data.
    """
    from blueprint.backends.signer_file import OWN_KEY, keys_folder

    own = (keys_folder() / OWN_KEY).with_suffix(".pub")
    given = list(keys) or ([own] if own.is_file() else [])
    raw = [key if isinstance(key, bytes) else verify.read_public_key(Path(key)) for key in given]
    return verify.verify(dataset, raw, policy)


class Frames:
    """The frames of one split of a dataset on disk (LeRobot v2.0 to v3.0), by number; call `admitted` before. Tables
    are held in memory, pictures decoded as they are asked for. stats: meta/stats.json, of all splits.

    A sample holds what the tables do (observation.state (n,), action (horizon, n) float32 [rad, m], timestamp [s],
    episode_index, frame_index, ...), task (the instruction), pictures by their LeRobot names (3, H, W) float32 in
    [0, 1], observation.depth.CAMERA (1, H, W) float32 [m], 0 = nothing, and observation.segmentation.CAMERA (H, W)
    int64, named in sidecar/scene.json. What has deltas gets a first axis, and NAME_is_pad (K,) bool: beyond an
    episode's ends its first or last frame is repeated.
    """

    def __init__(self, root: Path, config: LoaderConfig, split: str = "train") -> None:
        """split: a part of sidecar/splits.json, or "all". Raises InputError for one that is not there or empty."""
        self.config, self._dataset, self._videos = config, open_dataset(root), VideoFrames()
        self.stats, path = self._dataset.stats, root / "sidecar" / "splits.json"
        stored = json.loads(path.read_bytes()) if path.is_file() else {}
        parts = {name: part for name, part in stored.items() if isinstance(part, list)}
        self._episodes = [
            replace(one, stats={})
            for one in self._dataset.episodes()
            if split == ALL or one.index in parts.get(split, ())
        ]
        if not self._episodes:
            raise InputError(f"{root} has no episode in split {split!r}", f"there are: {', '.join([*parts, ALL])}")
        self._tables = [self._numbers(one) for one in self._episodes]
        self._ends = np.cumsum([one.length for one in self._episodes])
        readers: dict[str, Any] = {key: partial(self._picture, key) for key in self._chosen(self._dataset.videos)}
        for kind in (kind for kind in SIDES if getattr(config, kind)):
            folders = sorted((root / "sidecar" / kind).glob("*"))
            if not folders:
                raise InputError(f"{root} has no {kind}", "settings: recording.depth, recording.segmentation")
            for folder in self._chosen([str(path) for path in folders]):
                readers[f"observation.{kind}.{Path(folder).name}"] = partial(self._side, Path(folder), kind)
        self._pictures, self._offsets = readers, self._offsets_of({*self._tables[0], *readers})

    @property
    def pictures(self) -> tuple[str, ...]:
        """Names of the colour pictures of a sample."""
        return tuple(name for name in self._pictures if name in self._dataset.videos)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Raises IndexError beyond the last frame, IntegrityError when a picture cannot be read."""
        if not 0 <= index < len(self):
            raise IndexError(f"frame {index} of {len(self)}")
        number = int(np.searchsorted(self._ends, index, side="right"))
        episode, table = self._episodes[number], self._tables[number]
        frame = int(index - (self._ends[number] - episode.length))
        sample: dict[str, Any] = {"task": self._dataset.tasks[int(table["task_index"][frame])]}
        readers = {name: values.__getitem__ for name, values in table.items()}
        readers |= {name: partial(read, episode) for name, read in self._pictures.items()}
        for name, read in readers.items():
            if name not in self._offsets:
                sample[name] = read(np.array([frame]))[0]
                continue
            rows = frame + self._offsets[name]
            sample[name] = read(rows.clip(0, episode.length - 1))
            sample[f"{name}_is_pad"] = (rows < 0) | (rows >= episode.length)
        return sample

    def _numbers(self, episode: Episode) -> dict[str, NDArray[Any]]:
        """The columns that are numbers, real ones as float32."""
        if any(self._dataset.features[name]["dtype"] == "image" for name in self._dataset.columns):
            raise InputError("pictures in the tables are not read", "only those in videos are")
        table = self._dataset.table(episode)
        if any(len(values) != episode.length for values in table.values()):
            raise InputError(f"episode {episode.index} has not {episode.length} rows", "blueprint check tells more")
        numbers = {name: values for name, values in table.items() if values.dtype.kind in "fiub"}
        return {name: v.astype(np.float32) if v.dtype.kind == "f" else v for name, v in numbers.items()}

    def _chosen(self, there: Sequence[str]) -> list[str]:
        """Those of the cameras asked for; a camera's name is what follows the last dot, or the last slash."""
        cameras = {re.split(r"[./]", key)[-1]: key for key in there}
        wanted = cameras if self.config.cameras is None else self.config.cameras
        if missing := set(wanted) - set(cameras):
            raise InputError(f"no camera {', '.join(sorted(missing))}", f"it has: {', '.join(cameras)}")
        return [cameras[name] for name in wanted]

    def _offsets_of(self, known: set[str]) -> dict[str, NDArray[np.int64]]:
        """Name -> frames from the present."""
        fps, found = self._dataset.fps, {}
        if self.config.horizon > 1 and "action" in known:
            found["action"] = np.arange(self.config.horizon)
        for name, seconds in self.config.deltas.items():
            frames = np.asarray(seconds, np.float64) * fps
            if name not in known:
                raise InputError(f"deltas of {name!r}, which no sample holds", f"it holds: {', '.join(sorted(known))}")
            if (np.abs(frames - frames.round()) > TOLERANCE_S * fps).any():
                raise InputError(f"deltas of {name}: {list(seconds)} s", f"give multiples of a frame, 1/{fps:g} s")
            found[name] = frames.round().astype(np.int64)
        return found

    def _picture(self, key: str, episode: Episode, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        clip, fps = episode.clips[key], self._dataset.fps
        pictures = self._videos.at(clip.path, ((clip.start_s or 0.0) + rows / fps).tolist(), fps)
        return pictures.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)

    def _side(self, folder: Path, kind: str, episode: Episode, rows: NDArray[np.int64]) -> NDArray[Any]:
        path, fps = folder / f"{episode.index:06d}.npz", self._dataset.fps
        if path.is_file():
            values, unit = frames_of(path, SIDES[kind], rows), 1
        else:
            video = path.with_suffix(".mkv")
            values, unit = self._videos.at(video, (rows / fps).tolist(), fps, "gray16le"), 1000  # mm
        return (values / unit).astype(np.float32)[:, None] if kind == "depth" else values.astype(np.int64)
