"""OpenEXR pictures of half floats: three channels, ZIP compressed. Enough for normals, and opened by any EXR reader.

Layout as in "OpenEXR File Layout" (openexr.com): header attributes, a table of offsets, then blocks of 16 lines.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_START = struct.pack("<II", 20000630, 2)  # magic number; version 2: scan lines, one part
_LINES = 16  # per ZIP block
_HALF, _ZIP = 1, 3


def write_exr(path: Path, picture: NDArray[np.floating]) -> None:
    """picture: (H, W, 3), rounded to half floats (11 bits), as the channels R, G, B."""
    height, width = picture.shape[:2]
    lines = np.ascontiguousarray(picture[..., ::-1].transpose(0, 2, 1), "<f2")  # channels in order of name: B, G, R
    header = _START + _header(width, height)
    blocks = [_block(y, lines[y : y + _LINES].tobytes()) for y in range(0, height, _LINES)]
    first = len(header) + 8 * len(blocks)
    offsets = first + np.cumsum([0, *(len(block) for block in blocks[:-1])])
    path.write_bytes(header + offsets.astype("<u8").tobytes() + b"".join(blocks))


def _header(width: int, height: int) -> bytes:
    def attribute(name: str, kind: str, value: bytes) -> bytes:
        return name.encode() + b"\0" + kind.encode() + b"\0" + struct.pack("<i", len(value)) + value

    channels = b"".join(name + b"\0" + struct.pack("<iB3xii", _HALF, 0, 1, 1) for name in (b"B", b"G", b"R"))
    window = struct.pack("<4i", 0, 0, width - 1, height - 1)
    return (
        attribute("channels", "chlist", channels + b"\0")
        + attribute("compression", "compression", bytes([_ZIP]))
        + attribute("dataWindow", "box2i", window)
        + attribute("displayWindow", "box2i", window)
        + attribute("lineOrder", "lineOrder", b"\0")
        + attribute("pixelAspectRatio", "float", struct.pack("<f", 1.0))
        + attribute("screenWindowCenter", "v2f", struct.pack("<ff", 0.0, 0.0))
        + attribute("screenWindowWidth", "float", struct.pack("<f", 1.0))
        + b"\0"
    )


def _block(y: int, raw: bytes) -> bytes:
    """Even bytes before odd ones, then differences from byte to byte, then deflate: EXR's ZIP."""
    plain = np.frombuffer(raw, np.uint8)
    split = np.concatenate([plain[::2], plain[1::2]])
    delta = split.copy()
    delta[1:] = split[1:] - split[:-1] + np.uint8(128)
    packed = zlib.compress(delta.tobytes(), 4)
    if len(packed) >= len(raw):
        packed = raw
    return struct.pack("<ii", y, len(packed)) + packed
