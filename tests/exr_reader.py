"""Reads what `blueprint.formats.exr` writes, step by step as the format's page says: another hand on the same bytes."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np

LINES = 16  # of a ZIP block


def read_exr(path: Path) -> np.ndarray:
    """(H, W, 3) float16 of the channels R, G, B."""
    data = path.read_bytes()
    assert struct.unpack_from("<II", data) == (20000630, 2)
    attributes, at = {}, 8
    while data[at]:
        name, kind = data[at:].split(b"\0", 2)[:2]
        at += len(name) + len(kind) + 2
        size = struct.unpack_from("<i", data, at)[0]
        attributes[name.decode()] = data[at + 4 : at + 4 + size]
        at += 4 + size
    assert attributes["compression"] == b"\3" and attributes["lineOrder"] == b"\0"
    assert [c[:1] for c in (attributes["channels"][i : i + 18] for i in (0, 18, 36))] == [b"B", b"G", b"R"]
    left, top, right, bottom = struct.unpack("<4i", attributes["dataWindow"])
    width, height = right - left + 1, bottom - top + 1
    offsets = np.frombuffer(data, "<u8", -(-height // LINES), at + 1).tolist()
    lines = []
    for y, offset in zip(range(top, height, LINES), offsets, strict=True):
        first, size = struct.unpack_from("<ii", data, offset)
        assert first == y
        packed, raw = data[offset + 8 : offset + 8 + size], 6 * width * min(LINES, height - y)
        lines.append(packed if size == raw else unpacked(packed, raw))
    assert offset + 8 + size == len(data)
    return np.frombuffer(b"".join(lines), "<f2").reshape(height, 3, width).transpose(0, 2, 1)[..., ::-1]


def unpacked(packed: bytes, size: int) -> bytes:
    delta = np.frombuffer(zlib.decompress(packed), np.uint8).copy()
    delta[1:] -= np.uint8(128)
    split = np.cumsum(delta, dtype=np.uint8)
    plain = np.empty(size, np.uint8)
    plain[::2], plain[1::2] = split[: -(-size // 2)], split[-(-size // 2) :]
    return plain.tobytes()
