"""A scene's directory on disk.

    DIR/artifacts/STAGE/KEY/   immutable once there: artifact.json, its files, receipt.json
    DIR/artifacts/STAGE/.KEY.partial   work in hand; taken up again by the next attempt at the same key
    DIR/artifacts/STAGE/.KEY.json      beside it as long as it is there: what the work depends on
    DIR/current.json           stage -> key of the latest result
    DIR/request.json           what was last asked for
    DIR/runs/                  one event log (JSON lines) per run, and the output of its stages
    DIR/.lease                 locked while a process writes here

An artifact folder appears by one rename of a folder that is whole and flushed, its receipt written last: so a folder
without `.partial` is a finished one, whatever was killed when.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from blueprint.core.artifact import Artifact, Model
from blueprint.core.errors import BusyError, InputError, IntegrityError
from blueprint.core.execute import FINISHED_FILE, whole_items
from blueprint.core.files import digest, file_digest, files_below, fsync, write_json

T = TypeVar("T", bound=Artifact)

RECEIPT_FILE = "receipt.json"
_DYING_S = 3.0  # how long children of a killed run may take to die and let go of the lease


class KeyParts(Model):
    """Everything that a result depends on; the key is the hash of this.

    code: module -> digest of its source; backends: kind -> name
    tools: package -> version; KIND:BACKEND of another package -> its version; STAGE:WHAT -> see `Config.leans_on`
    inputs: parameter -> files digest of that artifact
    """

    stage: str
    version: str
    code: dict[str, str]
    tools: dict[str, str]
    config: dict[str, Any]
    backends: dict[str, str]
    inputs: dict[str, str]

    @property
    def key(self) -> str:
        return digest(self.model_dump(mode="json"))[:20]


class FileRecord(Model):
    size: int
    sha256: str


class Receipt(Model):
    """What ran, and what came of it.

    backends: kind -> "name version", as the backend that ran calls itself; parameters: stage parameter -> input's stage
    files_digest: over names and contents of all files but this receipt: two results are the same if this is
    reasons: why it ran; finished: UTC; peak_memory_mib: of the stage's process or its largest child
    """

    stage: str
    key: str
    parts: KeyParts
    backends: dict[str, str]
    files: dict[str, FileRecord]
    files_digest: str
    reasons: tuple[str, ...]
    seconds: float
    peak_memory_mib: float
    finished: str


class Lease(Model):
    pid: int
    since: str


def read_receipt(root: Path) -> Receipt:
    """The receipt of the artifact in folder `root`. Raises IntegrityError if it is missing or unreadable."""
    path = root / RECEIPT_FILE
    try:
        return Receipt.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise IntegrityError(
            f"{path} is not a receipt: {error}", f"delete the folder {root} and run again: it is made anew"
        ) from error


def parts_of(partial: Path) -> KeyParts | None:
    """What the work in a partial folder depends on; None once it is published."""
    try:
        return KeyParts.model_validate_json(partial.with_suffix(".json").read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def describe_files(root: Path) -> dict[str, FileRecord]:
    """Size and SHA-256 of every file below `root`, the receipt excepted."""
    return {
        name: FileRecord(size=(root / name).stat().st_size, sha256=file_digest(root / name))
        for name in files_below(root)
        if name != RECEIPT_FILE
    }


def digest_files(files: dict[str, FileRecord]) -> str:
    return digest({name: record.sha256 for name, record in files.items()})


def damage(root: Path, receipt: Receipt, *, full: bool) -> list[str]:
    """What is wrong with the files of an artifact, in words. full: hash every file, not only compare sizes."""
    found = []
    for name, record in receipt.files.items():
        path = root / name
        if not path.is_file():
            found.append(f"{name} is missing")
        elif (size := path.stat().st_size) != record.size:
            found.append(f"{name} has {size} bytes, its receipt says {record.size}")
        elif full and file_digest(path) != record.sha256:
            found.append(f"{name} does not have the SHA-256 that its receipt says")
    if full:
        extra = set(files_below(root)) - set(receipt.files) - {RECEIPT_FILE}
        found += [f"{name} is in no receipt" for name in sorted(extra)]
        if digest_files(receipt.files) != receipt.files_digest or receipt.parts.key != receipt.key:
            found.append(f"{RECEIPT_FILE} contradicts itself")
    return found


class Scene:
    """The directory of one scene. Reading needs no lease; every method that writes is for its holder."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    @classmethod
    def existing(cls, root: Path) -> Scene:
        """Raises InputError when nothing was ever run there."""
        if not (root / "request.json").is_file():
            raise InputError(f"{root} is not a scene directory", "make one: blueprint run CAPTURE --scene DIR")
        return cls(root)

    def folder(self, stage: str, key: str) -> Path:
        return self.root / "artifacts" / stage / key

    def partial(self, stage: str, key: str) -> Path:
        return self.root / "artifacts" / stage / f".{key}.partial"

    def run_file(self, run: str, suffix: str) -> Path:
        return self.root / "runs" / f"{run}.{suffix}"

    def current(self) -> dict[str, str]:
        """stage -> key of the latest result that is still there."""
        keys = _read_json(self.root / "current.json") or {}
        return {stage: key for stage, key in keys.items() if (self.folder(stage, key) / RECEIPT_FILE).is_file()}

    def set_current(self, stage: str, key: str) -> None:
        keys = self.current()
        if keys.get(stage) != key:
            write_json(self.root / "current.json", keys | {stage: key})

    def receipt(self, stage: str, key: str) -> Receipt:
        return read_receipt(self.folder(stage, key))

    def made(self, stage: str, kind: type[T]) -> T:
        """The current result of a stage. Raises InputError when there is none."""
        key = self.current().get(stage)
        if key is None:
            raise InputError(f"{self.root} has no {stage} yet", "run again: blueprint run")
        return kind.load(self.folder(stage, key))

    def writer(self) -> int | None:
        """Process that holds the lease now."""
        if not (self.root / ".lease").exists():
            return None
        with (self.root / ".lease").open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return (_read_json(self.root / ".lease") or {}).get("pid")
        return None

    def request(self) -> dict[str, Any]:
        return _read_json(self.root / "request.json") or {}

    def set_request(self, request: dict[str, Any]) -> None:
        if request != self.request():
            write_json(self.root / "request.json", request)

    def open_partial(self, parts: KeyParts) -> Path:
        """The folder to work in: empty but for the finished items of an earlier attempt at the same key."""
        partial = self.partial(parts.stage, parts.key)
        partial.parent.mkdir(parents=True, exist_ok=True)
        write_json(partial.with_suffix(".json"), parts.model_dump(mode="json"))  # first: no folder without it
        partial.mkdir(exist_ok=True)
        keep = {folder for journal in partial.rglob(FINISHED_FILE) for folder in whole_items(journal)}
        _clear(partial, keep)
        return partial

    def commit(self, receipt: Receipt) -> Path:
        """Publish the partial folder of `receipt`, whose files are flushed, and make it current; returns its folder."""
        partial, folder = self.partial(receipt.stage, receipt.key), self.folder(receipt.stage, receipt.key)
        write_json(partial / RECEIPT_FILE, receipt.model_dump(mode="json"))
        partial.rename(folder)
        fsync(folder.parent)
        self.set_current(receipt.stage, receipt.key)
        partial.with_suffix(".json").unlink(missing_ok=True)
        return folder

    def discard(self, stage: str, key: str) -> None:
        """Remove an artifact in a way that never leaves half of it under its name."""
        doomed = self.partial(stage, key).with_suffix(".discarded")
        shutil.rmtree(doomed, ignore_errors=True)
        self.folder(stage, key).rename(doomed)
        shutil.rmtree(doomed)

    @contextmanager
    def lease(self) -> Iterator[None]:
        """Be the one writer. Raises BusyError, naming the holder.

        The lock belongs to the open file, so forked children hold it too: after `kill -9` it is free as soon as the
        last of them is dead, and not before.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / ".lease").open("a+") as file:
            self._lock(file.fileno())
            file.truncate(0)
            holder = Lease(pid=os.getpid(), since=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
            file.write(holder.model_dump_json())
            file.flush()
            (self.root / "runs").mkdir(exist_ok=True)
            yield

    def _lock(self, descriptor: int) -> None:
        end = time.monotonic() + _DYING_S
        while True:
            try:
                return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                holder = _read_json(self.root / ".lease") or {}
                pid = holder.get("pid")
                if (isinstance(pid, int) and _alive(pid)) or time.monotonic() > end:
                    raise BusyError(
                        f"{self.root} is being written by process {pid} since {holder.get('since')}",
                        "wait for it to end, or stop it, or use another --scene directory",
                    ) from error
                time.sleep(0.05)


def clean_up(partial: Path) -> None:
    """Remove what belongs to the engine from a folder about to be published."""
    for journal in list(partial.rglob(FINISHED_FILE)):
        journal.unlink()
    for folder in list(partial.rglob(".*.partial")):
        shutil.rmtree(folder, ignore_errors=True)


def _clear(folder: Path, keep: set[Path]) -> bool:
    """Remove everything below `folder` but the paths in `keep` and the journals beside them; True if empty after."""
    empty = True
    for path in list(folder.iterdir()):
        if path in keep or (
            path.name == FINISHED_FILE and any(kept.parent == folder and kept.exists() for kept in keep)
        ):
            empty = False
        elif path.is_dir() and not path.is_symlink():
            if _clear(path, keep):
                path.rmdir()
            else:
                empty = False
        else:
            path.unlink()
    return empty


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    stat = Path(f"/proc/{pid}/stat")  # a zombie holds no lock
    return not (stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z")


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
