"""TFRecord files of `tf.train.Example`, written without TensorFlow.

Framing: tensorflow.org/tutorials/load_data/tfrecord. Message: tensorflow/core/example/example.proto.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

LIMIT = 2**31 - 1  # [bytes] of a protobuf message
Feature = NDArray[Any] | Sequence[bytes]


def write_record(file: IO[bytes], data: bytes) -> None:
    """data: 4 bytes at least."""
    length = struct.pack("<Q", len(data))
    file.writelines((length, struct.pack("<I", _masked(length)), data, struct.pack("<I", _masked(data))))


def example(features: Mapping[str, Feature]) -> bytes:
    """The message. Whole numbers become int64, floats float32; float64, which it lacks, the bytes of each row."""
    entries = ((_field(1, name.encode()), _field(2, _feature(features[name]))) for name in sorted(features))
    return _field(1, *(_field(1, *entry) for entry in entries))


def crc32c(data: bytes) -> int:
    """Of 4 bytes at least (RFC 3720, appendix B.4). Many stretches are summed at once, then joined two by two."""
    lanes = 1 << len(data).bit_length() // 2
    padded = np.zeros(-(-len(data) // lanes) * lanes, np.uint8)  # zeros in front change nothing,
    padded[-len(data) :] = np.frombuffer(data, np.uint8)
    padded[-len(data) :][:4] ^= 0xFF  # as the start of all ones is put into the data
    table, one = np.arange(256, dtype=np.uint32), np.uint32(1)
    for _ in range(8):
        table = (table >> one) ^ (table & one) * np.uint32(0x82F63B78)
    places = np.arange(32, dtype=np.uint32)
    sums, moved = np.zeros(lanes, np.uint32), one << places  # moved: what becomes of each bit over a stretch
    for column in padded.reshape(lanes, -1).T.copy():
        sums = table[(sums ^ column) & 255] ^ (sums >> 8)
        moved = table[moved & 255] ^ (moved >> 8)
    while len(sums) > 1:
        first, moved = (np.bitwise_xor.reduce((s[:, None] >> places & one) * moved, axis=1) for s in (sums[::2], moved))
        sums = first ^ sums[1::2]
    return int(sums[0]) ^ 0xFFFFFFFF


def _masked(data: bytes) -> int:
    value = crc32c(data)
    return ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _feature(values: Feature) -> bytes:
    if isinstance(values, np.ndarray) and values.dtype == np.float64:
        values = [row.tobytes() for row in values]
    if not isinstance(values, np.ndarray):
        return _field(1, *(_field(1, value) for value in values))
    if values.dtype.kind == "f":
        return _field(2, _field(1, np.ascontiguousarray(values, "<f4").tobytes()))
    return _field(3, _field(1, b"".join(_varint(value % 2**64) for value in values.ravel().tolist())))


def _field(number: int, *parts: bytes) -> bytes:
    return b"".join([bytes([number << 3 | 2]), _varint(sum(map(len, parts))), *parts])


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])
