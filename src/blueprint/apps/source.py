"""The user's capture as the engine's first artifact."""

from __future__ import annotations

from pathlib import Path

from blueprint.core.errors import InputError
from blueprint.core.files import digest, file_digest
from blueprint.core.run import Given
from blueprint.model.artifacts import Source


def source_of(capture: Path) -> Given:
    """A capture folder or zip file with the digest of its name and content. Raises InputError if there is none."""
    path = capture.expanduser().absolute()
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())  # what a link points to counts
        contents = {file.relative_to(path).as_posix(): file_digest(file) for file in files}
        if not contents:
            raise InputError(f"{path} is empty", "put colour and depth images there; docs/quickstart.md shows how")
    elif path.is_file():
        contents = {path.name: file_digest(path)}
    else:
        raise InputError(f"no capture at {path}", "give the folder or zip file of an RGB-D capture")
    value = digest({"name": path.name, "files": contents})
    return Given(Source(location=str(path), digest=value), value)
