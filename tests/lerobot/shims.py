"""Import lerobot 0.4.4 where torch is a CPU build. Import this before lerobot.

torchvision's wheel is built for CUDA and asks at import for two operators that a CPU torch lacks, and its last
versions have no `io.VideoReader`, which lerobot's PyAV path needs. Declare the operators, and read videos with PyAV
itself behind the same three methods; lerobot's own code around them (seek, tolerance, order) stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator

import av
import torch

_operators = torch.library.Library("torchvision", "DEF")
_operators.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
_operators.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

import torchvision  # noqa: E402


class VideoReader:
    """The part of torchvision.io.VideoReader that lerobot uses."""

    def __init__(self, path: str, stream: str) -> None:
        assert stream == "video"
        self.container = av.open(path)

    def seek(self, seconds: float, keyframes_only: bool = False) -> None:
        """To the last key frame at or before `seconds`."""
        video = self.container.streams.video[0]
        self.container.seek(max(0, int((seconds - 1e-3) / video.time_base)), stream=video, backward=True)

    def __iter__(self) -> Iterator[dict]:
        for frame in self.container.decode(video=0):
            picture = torch.from_numpy(frame.to_ndarray(format="rgb24")).permute(2, 0, 1)
            yield {"data": picture, "pts": float(frame.pts * frame.time_base)}


torchvision.io.VideoReader = VideoReader
torchvision.set_video_backend = lambda backend: None
