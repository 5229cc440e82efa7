"""Pieces of a video: cut out by stream copy where the coding allows it, else decoded and encoded again.

A piece is a run of frames in the order of display. It can be copied when it begins with a key frame and the packets
that follow that one in the file are exactly its frames: then nothing in it refers to a frame outside.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray

from blueprint.core.errors import IntegrityError
from blueprint.formats.video.coding import Codec, color_writer

RECODED_CRF: dict[Codec, int] = {"h264": 15, "av1": 18}  # finer than recordings: what is coded twice loses twice
_MP4 = {"fflags": "+bitexact", "movflags": "+faststart"}


@dataclass(frozen=True)
class Packets:
    """A file's packets in the order in which they are stored. pts, dts: ticks of `tick` seconds."""

    path: Path
    tick: Fraction
    header: bytes
    pts: NDArray[np.int64]
    dts: NDArray[np.int64]
    keys: NDArray[np.bool_]

    def piece(self, start_s: float, count: int) -> NDArray[np.int64]:
        """Display times [ticks] of `count` frames from `start_s` on. Raises IntegrityError when they are not there."""
        shown = np.sort(self.pts)
        steps = np.diff(shown)
        half = float(np.median(steps)) / 2 if len(steps) else 1.0
        first = int(np.searchsorted(shown, start_s / float(self.tick) - half))
        if len(shown) < first + count:
            raise IntegrityError(f"{self.path} has {len(shown) - first} frames from {start_s:g} s on, not {count}")
        return shown[first : first + count]

    def copies(self, piece: NDArray[np.int64]) -> bool:
        """Whether the piece can be cut out by stream copy."""
        at = int(np.flatnonzero(self.pts == piece[0])[0])
        return bool(self.keys[at]) and np.array_equal(np.sort(self.pts[at : at + len(piece)]), piece)

    def joins(self, fps: int) -> bool:
        """Whether the whole file can be appended to another by `video.Joiner`."""
        grid = [int(k / (fps * self.tick)) for k in range(len(self.pts))]
        exact = (1 / (fps * self.tick)).denominator == 1
        return exact and bool(self.keys[0]) and np.array_equal(self.pts, grid) and np.array_equal(self.dts, grid)


def packets(path: Path) -> Packets:
    """Raises IntegrityError when the file cannot be read."""
    try:
        with av.open(str(path)) as container:
            stream: Any = container.streams.video[0]
            found = [p for p in container.demux(stream) if p.pts is not None and p.dts is not None]
            pts, dts = (np.array([getattr(p, name) for p in found], np.int64) for name in ("pts", "dts"))
            keys = np.array([p.is_keyframe for p in found], bool)
            header = bytes(stream.codec_context.extradata or b"")
            if not len(found):
                raise IntegrityError(f"{path} holds no frame")
            return Packets(path, Fraction(stream.time_base), header, pts, dts, keys)
    except (FFmpegError, IndexError) as error:
        raise IntegrityError(f"{path} is not a readable video: {error}") from error


def cut(source: Packets, piece: NDArray[np.int64], out: Path) -> None:
    """Write the piece as an MP4 that begins at 0, its packets untouched. It must be one that `copies`."""
    start, end, left = int(piece[0]), int(piece[-1]), len(piece)
    with av.open(str(source.path)) as origin, av.open(str(out), "w", options=_MP4) as target:
        stream: Any = origin.streams.video[0]
        copied: Any = target.add_stream_from_template(stream, opaque=True)
        origin.seek(start, stream=stream)
        for packet in origin.demux(stream):
            if left == 0 or packet.pts is None or packet.dts is None:
                break
            if not start <= packet.pts <= end:
                continue
            packet.pts, packet.dts = packet.pts - start, packet.dts - start
            packet.stream = copied
            target.mux(packet)
            left -= 1
    if left:
        raise IntegrityError(f"{source.path}: {left} frames of a piece were not found", "the file's index is damaged")


def frames(source: Packets, piece: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
    """The pictures of the piece, (H, W, 3) RGB."""
    try:
        with av.open(str(source.path)) as container:
            stream: Any = container.streams.video[0]
            container.seek(int(piece[0]), stream=stream)
            for frame in container.decode(stream):
                if frame.pts is not None and frame.pts >= piece[0]:
                    yield frame.to_ndarray(format="rgb24")
                if frame.pts is not None and frame.pts >= piece[-1]:
                    return
    except FFmpegError as error:
        raise IntegrityError(f"{source.path} is not a readable video: {error}") from error


def recode(source: Packets, piece: NDArray[np.int64], out: Path, fps: int, codec: Codec) -> None:
    """Write the piece as an MP4 of our own coding. Raises IntegrityError when a frame is missing, InputError for an
    odd size."""
    pictures = frames(source, piece)
    first = next(pictures, None)
    if first is None:
        raise IntegrityError(f"{source.path}: a piece has no frame that can be decoded")
    height, width = first.shape[:2]
    count = 1
    with color_writer(out, width=width, height=height, fps=fps, codec=codec, crf=RECODED_CRF[codec]) as writer:
        writer.add(first)
        for picture in pictures:
            writer.add(picture)
            count += 1
    if count != len(piece):
        raise IntegrityError(f"{source.path}: {count} of {len(piece)} frames of a piece can be decoded")
