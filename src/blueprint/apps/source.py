"""The user's capture as the engine's first artifact."""

from __future__ import annotations

from pathlib import Path

from blueprint.core.errors import InputError
from blueprint.core.files import digest, file_digest
from blueprint.core.run import Given
from blueprint.model.artifacts import Source


def source_of(capture: Path) -> Given:
    """A capture folder or file with the digest of its name and content. Raises InputError if there is none."""
    path = capture.expanduser().absolute()
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        contents = {file.relative_to(path).as_posix(): _content(file, path.resolve()) for file in files}
        if not contents:
            raise InputError(f"{path} is empty", "put colour and depth images there; docs/quickstart.md shows how")
    elif path.is_file():
        contents = {path.name: file_digest(path)}
    else:
        raise InputError(
            f"no capture at {path}", "give the folder or zip file of a capture, or a USD, GLB, URDF or MJCF file"
        )
    value = digest({"name": path.name, "files": contents})
    return Given(Source(location=str(path), digest=value), value)


def _content(file: Path, root: Path) -> str:
    """Digest of what a link points to. Raises InputError where that lies outside: nothing beyond `root` is read."""
    if not file.resolve().is_relative_to(root):
        raise InputError(f"{file} is a link that leads out of the capture", "copy the file itself into the folder")
    return file_digest(file)
