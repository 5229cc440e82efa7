"""`.npz` archives whose arrays grow a frame at a time: what np.load reads, without holding an episode in memory."""

from __future__ import annotations

import hashlib
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from blueprint.core.errors import IntegrityError

_DATE = (1980, 1, 1, 0, 0, 0)  # of every entry, as numpy writes it: equal arrays are equal files
_LEVEL = 1  # deflate: twice as fast as numpy's 6, files a tenth larger
_CHUNK = 1 << 20


class NpzStack:
    """Arrays of one frame each, stacked along a first axis; use with `npz_stack`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.files: dict[str, IO[bytes]] = {}
        self.kinds: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {}
        self.frames = 0

    def add(self, frame: Mapping[str, NDArray[Any]]) -> None:
        """Append one frame; every frame has the same names, dtypes and shapes (ValueError otherwise)."""
        if not self.frames:
            self.kinds = {name: (value.dtype, value.shape) for name, value in frame.items()}
            self.files = {name: tempfile.TemporaryFile(dir=self._folder) for name in frame}  # noqa: SIM115
        if {name: (value.dtype, value.shape) for name, value in frame.items()} != self.kinds:
            raise ValueError(f"frame {self.frames} is unlike the first one")
        for name, value in frame.items():
            self.files[name].write(np.ascontiguousarray(value).tobytes())
        self.frames += 1


@contextmanager
def npz_stack(path: Path) -> Iterator[NpzStack]:
    """Write the archive when the block ends; nothing is written when it raises."""
    stack = NpzStack(path.parent)
    try:
        yield stack
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as archive:
            for name, (dtype, shape) in stack.kinds.items():
                entry = zipfile.ZipInfo(f"{name}.npy", _DATE)
                entry.compress_type = zipfile.ZIP_DEFLATED
                with archive.open(entry, "w", force_zip64=True) as target:
                    header = {"descr": npy.dtype_to_descr(dtype), "fortran_order": False}
                    npy.write_array_header_1_0(target, header | {"shape": (stack.frames, *shape)})
                    stack.files[name].seek(0)
                    while chunk := stack.files[name].read(_CHUNK):
                        target.write(chunk)
    finally:
        for file in stack.files.values():
            file.close()


def rows_of(path: Path) -> int:
    """Length of the first axis of the first array of an archive, from its header alone."""
    with zipfile.ZipFile(path) as archive, archive.open(archive.namelist()[0]) as member:
        npy.read_magic(member)
        return int(npy.read_array_header_1_0(member)[0][0])


def npz_frames(path: Path, *names: str) -> Iterator[dict[str, NDArray[Any]]]:
    """What `npz_stack` wrote, a frame at a time. names: of the arrays wanted, none = all. Raises IntegrityError."""
    try:
        with ExitStack() as files:
            archive = files.enter_context(zipfile.ZipFile(path))
            wanted = names or [entry.removesuffix(".npy") for entry in archive.namelist()]
            members = {name: files.enter_context(archive.open(f"{name}.npy")) for name in wanted}
            # shape, is it in Fortran's order, dtype; no other version of the header is written
            heads = {n: npy.read_array_header_1_0(m) for n, m in members.items() if npy.read_magic(m) == (1, 0)}
            for _ in range(min(shape[0] for shape, _, _ in heads.values())):
                sizes = {n: dtype.itemsize * int(np.prod(shape[1:])) for n, (shape, _, dtype) in heads.items()}
                blocks = {n: np.frombuffer(members[n].read(sizes[n]), heads[n][2]) for n in wanted}
                yield {n: block.reshape(heads[n][0][1:]) for n, block in blocks.items()}
    except (OSError, EOFError, ValueError, KeyError, IndexError, zipfile.BadZipFile, zlib.error) as error:
        raise IntegrityError(f"{path} is damaged: {error}") from error


def frames_of(path: Path, name: str, rows: NDArray[np.int64]) -> NDArray[Any]:
    """Some entries along the first axis of an array, (len(rows), ...); the others are unpacked and dropped."""
    frames = enumerate(islice(npz_frames(path, name), int(rows.max()) + 1))
    found = {row: frame[name] for row, frame in frames if row in rows}
    return np.stack([found[row] for row in rows.tolist()])


def rows_digest(rows: NDArray[Any]) -> str:
    """SHA-256 of rows as little-endian float64: equal to the last bit is equal here, and nothing else is."""
    return hashlib.sha256(np.ascontiguousarray(rows, dtype="<f8").tobytes()).hexdigest()
