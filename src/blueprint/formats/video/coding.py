"""Videos: colour as H.264 or AV1 in MP4, depth and segmentation lossless as FFV1 in Matroska.

Every file has a constant frame rate, starts at 0 and is made by one encoder thread without wall-clock or random
fields, so that equal frames give equal bytes. Colour is encoded in closed groups of two frames without reordering:
episodes join by stream copy and any frame is at most one frame from a key frame.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
from av.error import FFmpegError
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray

from blueprint.core.errors import InputError, IntegrityError

os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 writes its settings to stderr for every file: errors only

Codec = Literal["h264", "av1"]

# crf: lerobot's default for AV1; x264's own default quality for H.264 (formats of the LeRobot v3.0 reader)
DEFAULT_CRF: dict[str, int] = {"h264": 23, "av1": 30}
# mbtree=0, rc-lookahead=0: with them one video in sixty came out different on a loaded machine
# ultrafast with cabac: against veryfast, a third less time, files 30-40 % larger, SSIM 0.001 lower at equal crf
_X264 = "scenecut=0:open-gop=0:threads=1:mbtree=0:rc-lookahead=0:cabac=1"
_ENCODERS: dict[str, tuple[str, dict[str, str]]] = {
    "h264": ("libx264", {"preset": "ultrafast", "g": "2", "bf": "0", "x264-params": _X264}),
    # lp=1: one thread; pred-struct=1: low delay, frames leave in display order; irefresh-type=2: closed groups
    "av1": ("libsvtav1", {"preset": "10", "g": "2", "svtav1-params": "lp=1:pred-struct=1:irefresh-type=2"}),
}
_PIX_FMT = "yuv420p"
_BITEXACT = {"fflags": "+bitexact"}
_MP4 = {**_BITEXACT, "movflags": "+faststart"}
_SMPTE170M = 6  # BT.601 for 525 lines: what decoders assume of small untagged pictures, here said aloud


@dataclass(frozen=True)
class VideoInfo:
    """What a container and its packets say.

    times: presentation time of each frame [s], ascending; keys: which of them are key frames
    """

    codec: str
    pix_fmt: str
    width: int
    height: int
    fps: Fraction
    times: NDArray[np.float64]
    keys: NDArray[np.bool_]


class ColorWriter:
    """Encodes RGB frames; use with `color_writer`."""

    def __init__(self, container: Any, stream: Any) -> None:
        self._container = container
        self._stream = stream

    def add(self, frame: NDArray[np.uint8]) -> None:
        """frame: (H, W, 3) uint8 RGB."""
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        picture = picture.reformat(format=_PIX_FMT, dst_colorspace=Colorspace.ITU601, dst_color_range=ColorRange.MPEG)
        self._container.mux(self._stream.encode(picture))


class GrayWriter:
    """Encodes 16-bit frames without loss; use with `gray_writer`."""

    def __init__(self, container: Any, stream: Any) -> None:
        self._container = container
        self._stream = stream

    def add(self, frame: NDArray[np.uint16]) -> None:
        """frame: (H, W) uint16."""
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="gray16le")
        self._container.mux(self._stream.encode(picture))


@contextmanager
def color_writer(
    path: Path, *, width: int, height: int, fps: int, codec: Codec = "h264", crf: int | None = None
) -> Iterator[ColorWriter]:
    """Open an MP4 for `width` x `height` pixels. Raises InputError for an odd size (chroma is halved)."""
    if width % 2 or height % 2:
        raise InputError(f"video size {width}x{height} is odd", "choose an even width and height")
    encoder, options = _ENCODERS[codec]
    quality = {"crf": str(DEFAULT_CRF[codec] if crf is None else crf)}
    with av.open(str(path), "w", options=_MP4) as container:
        stream: Any = container.add_stream(encoder, rate=fps, options={**options, **quality})
        stream.width, stream.height, stream.pix_fmt = width, height, _PIX_FMT
        stream.thread_count = 1
        context = stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = _SMPTE170M
        context.color_range = ColorRange.MPEG
        yield ColorWriter(container, stream)
        container.mux(stream.encode())


@contextmanager
def gray_writer(path: Path, *, width: int, height: int, fps: int) -> Iterator[GrayWriter]:
    """Open a Matroska file of lossless 16-bit frames."""
    with av.open(str(path), "w", format="matroska", options=_BITEXACT) as container:
        stream: Any = container.add_stream("ffv1", rate=fps, options={"level": "3", "g": "1", "slicecrc": "1"})
        stream.width, stream.height, stream.pix_fmt = width, height, "gray16le"
        stream.thread_count = 1
        yield GrayWriter(container, stream)
        container.mux(stream.encode())


def decode_color(path: Path) -> Iterator[NDArray[np.uint8]]:
    """Yield every frame as (H, W, 3) uint8 RGB. Raises IntegrityError when the file cannot be read."""
    yield from _decode(path, "rgb24")


def decode_gray(path: Path) -> Iterator[NDArray[np.uint16]]:
    """Yield every frame as (H, W) uint16. Raises IntegrityError when the file cannot be read."""
    yield from _decode(path, "gray16le")


def _decode(path: Path, pixel_format: str) -> Iterator[NDArray[Any]]:
    try:
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                yield frame.to_ndarray(format=pixel_format)
    except (FFmpegError, IndexError) as error:
        raise IntegrityError(f"{path} is not a readable video: {error}") from error


def probe(path: Path) -> VideoInfo:
    """Read headers and packets, decode nothing. Raises IntegrityError when the file cannot be read."""
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            found = [(float(p.pts * p.time_base), p.is_keyframe) for p in container.demux(stream) if p.pts is not None]
            times, keys = np.array([time for time, _ in found]), np.array([key for _, key in found], bool)
            order = np.argsort(times, kind="stable")
            context = stream.codec_context
            return VideoInfo(
                codec={"libdav1d": "av1"}.get(context.name, context.codec.canonical_name),
                pix_fmt=str(context.pix_fmt),
                width=context.width,
                height=context.height,
                fps=Fraction(stream.average_rate or 0),
                times=times[order],
                keys=keys[order],
            )
    except (FFmpegError, IndexError) as error:
        raise IntegrityError(f"{path} is not a readable video: {error}") from error


class Joiner:
    """Appends MP4 files to `out` by stream copy: frame k of the whole is exactly k / fps seconds into it."""

    def __init__(self, out: Path, fps: int) -> None:
        self._target: Any = av.open(str(out), "w", options=_MP4)
        self._fps = fps
        self._stream: Any = None
        self._header = b""
        self._first: Path | None = None
        self.frames = 0

    def add(self, part: Path) -> int:
        """Returns the part's number of frames. Raises IntegrityError when it is of another encoding or rate, or does
        not begin at 0."""
        with av.open(str(part)) as source:
            origin: Any = source.streams.video[0]
            header = bytes(origin.codec_context.extradata or b"")
            if self._stream is None:
                self._stream = self._target.add_stream_from_template(origin, opaque=True)  # AV1's decoder is no encoder
                self._header, self._first = header, part
            elif header != self._header:
                raise IntegrityError(f"{part} is encoded differently from {self._first}", "record the episodes again")
            count = _copy_packets(source, origin, self._target, self._stream, self.frames, self._fps, part)
        self.frames += count
        return count

    def close(self) -> None:
        self._target.close()


def _copy_packets(source: Any, origin: Any, target: Any, stream: Any, first: int, fps: int, part: Path) -> int:
    """Append one file's packets after `first` frames; returns how many."""
    tick = 1 / (Fraction(fps) * origin.time_base)
    count = 0
    for packet in source.demux(origin):
        if packet.dts is None:
            continue
        if packet.pts != packet.dts or packet.pts != count * tick or (count == 0 and not packet.is_keyframe):
            raise IntegrityError(f"{part}: frame {count} is out of order or off the {fps} Hz grid")
        packet.pts = packet.dts = int((first + count) * tick)
        packet.duration = int(tick)
        packet.stream = stream
        target.mux(packet)
        count += 1
    return count
