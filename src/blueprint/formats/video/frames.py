"""Single frames of videos by their time: neither the file nor the frames before them are held."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray
from PIL import Image

from blueprint.core.errors import IntegrityError

OPEN = 16  # files that stay open
STILLS, STILL_WIDTH, GAP = 8, 156, 4  # of a strip [px]
NEAR_S = 1.0  # up to here, decoding on is taken to be cheaper than seeking


class VideoFrames:
    """Videos that stay open for the next frame. A forked process opens its own: a file's position cannot be shared."""

    def __init__(self) -> None:
        self._process, self._opened = 0, dict[Path, Any]()

    def at(self, path: Path, times: Sequence[float], fps: float, pixels: str = "rgb24") -> NDArray[Any]:
        """(len(times), H, W, 3) uint8, or of gray16le (len(times), H, W) uint16. times: [s] from the file's start.

        Raises IntegrityError when the file cannot be read or has no frame within half a frame of a time.
        """
        found: dict[float, NDArray[Any]] = {}
        try:
            video = self._video(path)
            decoded, last = iter(()), -np.inf
            for time in sorted(set(times)):
                if time - last > NEAR_S:
                    decoded = _from(video, time - 0.5 / fps)
                frame = next((f for f in decoded if f.time is not None and f.time > time - 0.5 / fps), None)
                if frame is None or frame.time > time + 0.5 / fps:
                    raise IntegrityError(f"{path} has no frame at {time:.4f} s")
                found[time], last = frame.to_ndarray(format=pixels), time
        except (FFmpegError, IndexError) as error:
            raise IntegrityError(f"{path} is not a readable video: {error}") from error
        return np.stack([found[time] for time in times])

    def _video(self, path: Path) -> Any:
        if self._process != os.getpid():
            self._process, self._opened = os.getpid(), {}
        video = self._opened.pop(path, None)
        if video is None:
            video = av.open(str(path))
            video.streams.video[0].thread_count = 1  # the workers are the threads
        self._opened[path] = video
        if len(self._opened) > OPEN:
            self._opened.pop(next(iter(self._opened))).close()
        return video


def _from(video: Any, time: float) -> Iterator[Any]:
    """The frames from the last key frame before `time` [s] on."""
    stream = video.streams.video[0]
    video.seek(max(int(time / stream.time_base), 0), stream=stream)
    return video.decode(stream)


def write_strip(video: Path, frames: int, fps: float, path: Path) -> None:
    """Moments of a video, the first and the last frame among them, side by side as a JPEG."""
    at = np.linspace(0, frames - 1, STILLS).round() / fps
    shown = [Image.fromarray(picture) for picture in VideoFrames().at(video, at.tolist(), fps)]
    small = [one.resize((STILL_WIDTH, round(one.height * STILL_WIDTH / one.width))) for one in shown]
    framed = [np.pad(np.asarray(one), ((0, 0), (0, GAP), (0, 0)), constant_values=255) for one in small]
    Image.fromarray(np.concatenate(framed, axis=1)).save(path, quality=86)
