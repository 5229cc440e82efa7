"""Was this very run done before, and does everything it made still stand? Then nothing needs to be looked at again.

Planning imports every stage, which takes seconds; this takes a tenth of one. It compares all that a plan depends on:
the capture, the request, the settings file, the user's robots, the environment, our source, every package. Where
anything differs the plan decides, so this can only save time.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from blueprint.backends.robots.sheet import own_robots
from blueprint.core.code import PACKAGE
from blueprint.core.errors import IntegrityError
from blueprint.core.files import digest, file_digest, files_below, write_json
from blueprint.core.settings import EDITS, ENVIRONMENT, settings_file
from blueprint.core.store import Receipt, Scene, damage


def fingerprint(
    capture_digest: str,
    sets: Sequence[str],
    until: str | None,
    scene: Path,
    config: Path | None,
    environ: Mapping[str, str] = os.environ,
) -> str:
    """Hash of all that decides what a run does and whether it has anything to do."""
    file = settings_file(config, scene)
    return digest(
        {
            "capture": capture_digest,
            "sets": list(sets),
            "until": until,
            "file": file_digest(file) if file else None,
            "edits": file_digest(scene / EDITS) if (scene / EDITS).is_file() else None,
            "robots": own_robots(),
            "environment": {name: environ.get(name) for name in ENVIRONMENT},
            "source": {name: file_digest(PACKAGE / name) for name in files_below(PACKAGE) if "__pycache__" not in name},
            "packages": sorted(f"{found.name} {found.version}" for found in metadata.distributions()),
            "python": platform.python_version(),
        }
    )


def remember(scene: Scene, print_of_all: str, receipts: Sequence[Receipt], outputs: Sequence[Path]) -> None:
    value = {
        "fingerprint": print_of_all,
        "stages": [[receipt.stage, receipt.key] for receipt in receipts],
        "outputs": _stamps(outputs),
    }
    write_json(_file(scene), value)


def forget(scene: Scene) -> None:
    _file(scene).unlink(missing_ok=True)


def recall(scene: Scene, print_of_all: str) -> tuple[list[Receipt], list[Path]] | None:
    """Receipts and outputs of the same run, done before; None unless all of it still stands."""
    try:
        value = json.loads(_file(scene).read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    current = scene.current()
    if value["fingerprint"] != print_of_all or any(current.get(s) != key for s, key in value["stages"]):
        return None
    try:
        receipts = [scene.receipt(stage, key) for stage, key in value["stages"]]
    except IntegrityError:  # the plan will see it too, and make the result anew
        return None
    if any(damage(scene.folder(receipt.stage, receipt.key), receipt, full=False) for receipt in receipts):
        return None
    outputs = [Path(name) for name in value["outputs"]]
    return (receipts, outputs) if _stamps(outputs) == value["outputs"] else None


def _stamps(outputs: Sequence[Path]) -> dict[str, Any]:
    """What tells that an output was not touched: a link's target, the size and time of each file."""
    found: dict[str, Any] = {}
    for path in outputs:
        if path.is_symlink():
            found[str(path)] = f"{path.readlink()} {path.exists()}"
        elif path.is_dir():
            links = {link.name: f"{link.readlink()} {link.exists()}" for link in path.iterdir() if link.is_symlink()}
            stats = {name: (path / name).stat() for name in files_below(path)}
            found[str(path)] = links | {name: [stat.st_size, stat.st_mtime_ns] for name, stat in stats.items()}
        else:
            stat = path.stat() if path.exists() else None
            found[str(path)] = [stat.st_size, stat.st_mtime_ns] if stat else None
    return found


def _file(scene: Scene) -> Path:
    return scene.root / "settled.json"
