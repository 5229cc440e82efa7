"""Results of slow, deterministic work kept by what they are made from: $BLUEPRINT_CACHE, else ~/.cache/blueprint.

An entry is a folder named by the SHA-256 of its inputs, written beside and renamed into place; its manifest holds the
digest of every file, so a damaged entry is a miss, never a wrong result. Deleting the folder is always safe.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from blueprint.core.files import digest, file_digest, files_below, write_json
from blueprint.core.report import log
from blueprint.geometry.mesh import Mesh

MANIFEST = "manifest.json"


def folder() -> Path:
    """Where entries lie."""
    named = os.environ.get("BLUEPRINT_CACHE")
    return Path(named) if named else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "blueprint"


def mesh_key(mesh: Mesh, **settings: object) -> str:
    """Digest of a mesh and of everything else that decides the result."""
    vertices = np.ascontiguousarray(mesh[0], dtype="<f8")
    faces = np.ascontiguousarray(mesh[1], dtype="<i8")
    return digest({"vertices": vertices.tobytes().hex(), "faces": faces.tobytes().hex(), **settings})


def cached(kind: str, key: str, out: Path, make: Callable[[Path], None], *, use: bool = True) -> bool:
    """Fill the empty folder `out` by `make(out)`, or from the entry of that key; returns whether it was a hit.

    A cache that cannot be written (a full disk, a home that is not ours) costs time, never the result.
    """
    entry = folder() / kind / key[:2] / key
    if use and _whole(entry):
        for name in files_below(entry):
            if name != MANIFEST:
                (out / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(entry / name, out / name)
        return True
    make(out)
    if use:
        try:
            _keep(out, entry)
        except OSError as error:
            log(f"not cached: {error}")
    return False


def _whole(entry: Path) -> bool:
    try:
        manifest = json.loads((entry / MANIFEST).read_bytes())
        return all(file_digest(entry / name) == sha for name, sha in manifest.items())
    except (OSError, ValueError, AttributeError):
        return False


def _keep(made: Path, entry: Path) -> None:
    entry.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=".new-", dir=entry.parent))
    try:
        shutil.copytree(made, beside, dirs_exist_ok=True)
        write_json(beside / MANIFEST, {name: file_digest(beside / name) for name in files_below(beside)})
        if entry.exists():  # damaged, or another process was faster
            shutil.rmtree(entry, ignore_errors=True)
        beside.rename(entry)
    except OSError:
        shutil.rmtree(beside, ignore_errors=True)
        raise
