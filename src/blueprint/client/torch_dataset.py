"""PyTorch datasets: over a stream of episodes, and over a finished dataset."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from torch.utils.data import (  # pyright: ignore[reportMissingImports]
    DataLoader,
    Dataset,
    IterableDataset,
    get_worker_info,
)

from blueprint.client.frames import Frames, LoaderConfig, admitted
from blueprint.client.stream import Episode, EpisodeStream
from blueprint.verify import DEFAULT_POLICY

Sample = dict[str, Any]
Place = tuple[int, int, int]  # episode, look, frame


class StreamDataset(IterableDataset[Sample]):
    """Frames of the episodes of a stream, as LeRobot names them.

    A sample holds observation.state (n,) and action (horizon, n) (or (n,) for a horizon of 1) float32 [rad, m],
    action_is_pad (horizon,) bool (a horizon beyond the end repeats the last action), observation.images.CAMERA
    (3, H, W) float32 in [0, 1], task (the instruction), timestamp [s], episode_index, look_index, frame_index; and of
    `extras`, arrays of the states file such as qpos, privileged.NAME. With cameras, every look of an episode is given.

    buffer: frames among which the next one is drawn; 1 = in order. Only whole episodes are held, as many as the buffer
    touches. Workers of a DataLoader share the episodes by index. `state_dict` between two samples, given to
    `load_state_dict` of a new dataset of the same settings, makes that one go on with the very next sample. With
    workers, each worker's dataset has its own (torchdata's StatefulDataLoader asks for them).
    """

    def __init__(
        self,
        stream: EpisodeStream,
        *,
        horizon: int = 1,
        buffer: int = 1,
        seed: int = 0,
        extras: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.stream, self.horizon, self.buffer, self.extras = stream, horizon, max(1, buffer), tuple(extras)
        self._rng = np.random.default_rng(seed)
        self._next: Place = (0, 0, 0)  # the first frame that is not in the buffer yet
        self._held: list[Place] = []
        self._episodes: dict[tuple[int, int], Episode] = {}  # by episode and look

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers and strings: JSON can keep it."""
        state = {"key": self.stream.key, "next": list(self._next), "held": [list(place) for place in self._held]}
        return state | {"random": self._rng.bit_generator.state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there; the episodes in the buffer are fetched again."""
        self.stream.key = state["key"]
        self._next, *self._held = ((int(e), int(k), int(t)) for e, k, t in [state["next"], *state["held"]])
        self._rng.bit_generator.state = state["random"]
        self._episodes = {}

    def __iter__(self) -> Iterator[Sample]:
        """Go on from where the last iteration stopped; after the end of the stream, begin again."""
        for place in self._incoming():
            self._held.append(place)
            if len(self._held) >= self.buffer:
                yield self._drawn()
        while self._held:
            yield self._drawn()
        self._next = (0, 0, 0)

    def _incoming(self) -> Iterator[Place]:
        """Every frame from `_next` on, noted as taken when the next one is asked for."""
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        begin = self._next
        for episode in self.stream.follow(begin[0], wanted=lambda index: index % workers == worker):
            index, look = episode.index, episode.look
            self._episodes[index, look] = episode
            after: Place = (index + 1, 0, 0) if episode.last else (index, look + 1, 0)
            for frame in range(episode.frames):
                if (index, look, frame) >= begin:
                    self._next = (index, look, frame + 1) if frame + 1 < episode.frames else after
                    yield index, look, frame

    def _drawn(self) -> Sample:
        """Take a frame out of the buffer; the last one takes its place."""
        chosen = int(self._rng.integers(len(self._held))) if self.buffer > 1 else 0
        self._held[chosen], self._held[-1] = self._held[-1], self._held[chosen]
        place = self._held.pop()
        sample = self._sample(self._episode(*place[:2]), place[2])
        needed = {held[:2] for held in (*self._held, self._next)}
        self._episodes = {here: episode for here, episode in self._episodes.items() if here in needed}
        return sample

    def _episode(self, index: int, look: int) -> Episode:
        if (index, look) not in self._episodes:
            self._episodes[index, look] = self.stream.episode(index, look)
        return self._episodes[index, look]

    def _sample(self, episode: Episode, frame: int) -> Sample:
        arrays = episode.arrays
        rows = np.arange(frame, frame + self.horizon)
        actions = torch.from_numpy(arrays["action"][np.minimum(rows, episode.frames - 1)])
        sample: Sample = {
            "observation.state": torch.from_numpy(arrays["state"][frame].copy()),
            "action": actions if self.horizon > 1 else actions[0],
            "action_is_pad": torch.from_numpy(rows >= episode.frames),
            "task": episode.header["instruction"],
            "timestamp": torch.tensor(float(arrays["time"][frame]), dtype=torch.float32),
            "episode_index": torch.tensor(episode.index),
            "look_index": torch.tensor(episode.look),
            "frame_index": torch.tensor(frame),
        }
        for camera, images in episode.images.items():
            picture = torch.from_numpy(images[frame].copy()).permute(2, 0, 1)
            sample[f"observation.images.{camera}"] = picture.to(torch.float32) / 255.0
        for name in self.extras:
            sample[f"privileged.{name}"] = torch.from_numpy(np.array(arrays[name][frame]))
        return sample


class FrameDataset(Dataset[Sample]):
    """`Frames` as tensors, pictures transformed."""

    def __init__(self, frames: Frames) -> None:
        self.frames = frames

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> Sample:
        sample = {name: v if isinstance(v, str) else torch.as_tensor(v) for name, v in self.frames[index].items()}
        if transform := self.frames.config.transform:
            sample |= {name: transform(sample[name]) for name in self.frames.pictures}
        return sample


def create_blueprint_dataloader(
    path: Path | str,
    config: LoaderConfig | Mapping[str, Any] | None = None,
    split: str = "train",
    *,
    policy: str = DEFAULT_POLICY,
    keys: Iterable[Path | str | bytes] = (),
) -> DataLoader[Sample]:
    """Batches of a dataset (LeRobot v2.0 to v3.0) with a signed certificate; samples are those of `Frames`.

    config: see `LoaderConfig`; a mapping of its fields will do. split: train, val, test or all
    policy: the release policy that must admit the data; keys: public keys (files, or raw) that are trusted to have
    signed it, none = this user's own. Every file is hashed before the first batch; what is changed on disk afterwards
    is not noticed. Raises verify.Refused, and InputError for what the dataset does not hold.
    """
    admitted(Path(path), policy, keys)
    chosen = config if isinstance(config, LoaderConfig) else LoaderConfig(**(config or {}))
    return DataLoader(
        FrameDataset(Frames(Path(path), chosen, split)),
        batch_size=chosen.batch_size,
        shuffle=split == "train" if chosen.shuffle is None else chosen.shuffle,
        num_workers=chosen.workers,
        persistent_workers=chosen.workers > 0,
        drop_last=chosen.drop_last,
        generator=torch.Generator().manual_seed(chosen.seed),
    )
