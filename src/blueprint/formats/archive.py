"""Unpack a zip file from somebody else, safely."""

from __future__ import annotations

import stat
import zipfile
import zlib
from pathlib import Path

from blueprint.core.errors import InputError

MOST_FILES = 20_000
MOST_BYTES = 8 * 2**30
MOST_RATIO = 200  # deflate reaches 1000 on zeros; a depth picture rarely 20
CHUNK = 2**20


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack `archive` into `folder`; returns the folder of the capture in it (zip files often wrap one folder).

    Raises InputError for a broken archive, paths that leave the folder, links, and sizes beyond the limits; the
    sizes written in the archive are not believed, the bytes that come out are counted.
    """
    try:
        with zipfile.ZipFile(archive) as package:
            entries = [entry for entry in package.infolist() if not entry.is_dir()]
            if len(entries) > MOST_FILES:
                raise InputError(
                    f"{archive} holds {len(entries)} files; at most {MOST_FILES} are read",
                    "leave out what the capture does not use",
                )
            total = 0
            for entry in entries:
                total += _unpack_one(package, entry, archive, folder, MOST_BYTES - total)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, OSError) as error:
        raise InputError(f"{archive} is no zip file that can be read: {error}", "pack the folder again") from error
    return _capture_root(folder)


def _unpack_one(package: zipfile.ZipFile, entry: zipfile.ZipInfo, archive: Path, folder: Path, allowance: int) -> int:
    target = (folder / entry.filename).resolve()
    if not target.is_relative_to(folder.resolve()) or "\\" in entry.filename:
        raise InputError(f"{archive} holds {entry.filename!r}, which would leave the folder", "do not trust this file")
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise InputError(f"{archive} holds the link {entry.filename!r}", "pack the files themselves")
    if entry.flag_bits & 0x1:
        raise InputError(f"{archive} is encrypted", "pack it without a password")
    limit = min(allowance, MOST_RATIO * max(entry.compress_size, 1) + CHUNK)
    target.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with package.open(entry) as source, target.open("wb") as sink:
        while chunk := source.read(CHUNK):
            written += len(chunk)
            if written > limit:
                raise InputError(
                    f"{archive}: {entry.filename} unpacks to more than {limit} bytes",
                    f"at most {MOST_BYTES} bytes in all, and {MOST_RATIO} times the packed size, are unpacked",
                )
            sink.write(chunk)
    return written


def _capture_root(folder: Path) -> Path:
    """Descend while a folder holds nothing but one folder (and what operating systems add)."""
    while True:
        entries = [p for p in sorted(folder.iterdir()) if p.name != "__MACOSX" and not p.name.startswith(".")]
        if len(entries) != 1 or not entries[0].is_dir():
            return folder
        # A lone rgb/ would be an incomplete capture, and the reader says so better.
        folder = entries[0]
