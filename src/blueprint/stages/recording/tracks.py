"""The open files of one camera in one episode: its video, depth and labels."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from blueprint.backends.protocols import Images
from blueprint.formats.arrays import NpzStack, npz_stack
from blueprint.formats.lerobot.stats import NAMES, ColorCounter
from blueprint.formats.video.coding import ColorWriter, GrayWriter, color_writer, gray_writer
from blueprint.model.episode import CameraTrack
from blueprint.stages.recording.labels import Labels

if TYPE_CHECKING:
    from blueprint.stages.recording import RecordingConfig

DEPTH_STEPS = np.float32(8192)  # per metre, in packs: 0.12 mm, which halves the files


class ColorTrack:
    """A video and its colour statistics."""

    def __init__(
        self, files: ExitStack, folder: Path, name: str, fps: int, cfg: RecordingConfig, size: tuple[int, int]
    ) -> None:
        self.name = name
        self.size = size
        self._counter = ColorCounter()
        width, height = size
        path = folder / f"{name}.mp4"
        writer = color_writer(path, width=width, height=height, fps=fps, codec=cfg.codec, crf=cfg.crf)
        self._color: ColorWriter = files.enter_context(writer)

    def add_color(self, picture: NDArray[np.uint8], *, counted: bool) -> None:
        self._color.add(picture)
        if counted:
            self._counter.add(picture)

    def summary(self, folder: str) -> CameraTrack:
        """folder: where the files will lie in the artifact."""
        stats = self._counter.stats()
        return CameraTrack(
            camera=self.name,
            video=f"{folder}/{self.name}.mp4",
            width=self.size[0],
            height=self.size[1],
            color_stats={name: tuple(stats[name].tolist()) for name in NAMES},
            color_count=self._counter.frames,
        )


class Track(ColorTrack):
    """A camera of the workcell: depth and labels too. As lossless video, in a pack as arrays."""

    def __init__(
        self, files: ExitStack, folder: Path, name: str, fps: int, cfg: RecordingConfig, labels: Labels | None
    ) -> None:
        super().__init__(files, folder, name, fps, cfg, (cfg.width, cfg.height))
        self._max_depth_m = cfg.max_depth_m
        self._labels = labels
        self._grays: dict[str, GrayWriter] = {}
        self._stacks: dict[str, NpzStack] = {}
        for kind in ("depth", "segmentation"):
            if kind not in cfg.streams:
                continue
            if cfg.pack is None:
                writer = gray_writer(folder / f"{name}.{kind}.mkv", width=cfg.width, height=cfg.height, fps=fps)
                self._grays[kind] = files.enter_context(writer)
            else:
                self._stacks[kind] = files.enter_context(npz_stack(folder / f"{name}.{kind}.npz"))

    def add(self, images: Images, *, counted: bool) -> None:
        """images: labels in the recording's values."""
        self.add_color(images.color, counted=counted)
        if "depth" in self._grays and images.depth is not None:
            self._grays["depth"].add(millimetres(images.depth, self._max_depth_m))
        if "depth" in self._stacks and images.depth is not None:
            depth = within(images.depth, self._max_depth_m)
            self._stacks["depth"].add({"depth": np.rint(depth * DEPTH_STEPS) / DEPTH_STEPS})
        if "segmentation" in self._grays and images.segmentation is not None:
            self._grays["segmentation"].add(images.segmentation)
        if "segmentation" in self._stacks and images.segmentation is not None and self._labels is not None:
            kinds = {"instance": self._labels.instance, "semantic": self._labels.category}
            self._stacks["segmentation"].add({name: lut[images.segmentation] for name, lut in kinds.items()})

    def summary(self, folder: str) -> CameraTrack:
        made = super().summary(folder)
        files = {kind: f"{folder}/{self.name}.{kind}.mkv" for kind in self._grays}
        files |= {kind: f"{folder}/{self.name}.{kind}.npz" for kind in self._stacks}
        return made.model_copy(update=files)


def within(depth: NDArray[np.float32], max_depth_m: float) -> NDArray[np.float32]:
    """Depth [m] (H, W); 0 where there is none within `max_depth_m`."""
    return np.where((depth > 0) & (depth <= max_depth_m), depth, np.float32(0))


def millimetres(depth: NDArray[np.float32], max_depth_m: float) -> NDArray[np.uint16]:
    """Depth [m] (H, W) as whole millimetres; 0 where there is none within `max_depth_m`."""
    return np.rint(within(depth, max_depth_m) * np.float32(1000)).astype(np.uint16)
