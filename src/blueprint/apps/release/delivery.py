"""Hand a dataset over: verified before, refused by policy, resumable, verified after, with a line in the audit log.

Targets are folders and whatever `fsspec` reaches by its address (s3://, gs://, hf://), with the package that it names.
The signed certificate is written last: where it lies, everything it names has arrived and was read back. A delivery
that was cut off goes on where it stopped; a file that is there and reads the same is not sent again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from blueprint import verify
from blueprint.core.errors import BackendError, InputError, IntegrityError
from blueprint.core.report import progress

AUDIT_FILE = "deliveries.jsonl"  # one per user, appended to, never rewritten
EXTRAS = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "hf": "huggingface_hub"}
CHUNK_BYTES = 2**20


@dataclass(frozen=True)
class Delivery:
    """files: all of the dataset; sent: those that were not there yet; keyid: of the signature"""

    target: str
    policy: str
    files: int
    sent: int
    size: int
    keyid: str


def deliver(dataset: Path, target: str, policy: str, keys: Sequence[bytes], *, audit: Path) -> Delivery:
    """keys: public keys that are trusted to have signed. audit: file that gets a line, whatever the outcome.

    Raises IntegrityError when the dataset is not what was signed or the policy refuses it, InputError for a target that
    holds another dataset, BackendError when the target cannot be written.
    """
    record: dict[str, Any] = {"dataset": str(dataset.resolve()), "target": target, "policy": policy}
    try:
        verified = verify.verify(dataset, keys, policy)
        done = _send(dataset, target, verified)
    except verify.Refused as refused:
        _note(audit, record | {"outcome": "refused", "reasons": list(refused.reasons)})
        raise IntegrityError(
            f"not delivered: {'; '.join(refused.reasons[:5])}", f"blueprint verify {dataset} --policy {policy}"
        ) from refused
    except Exception as error:
        _note(audit, record | {"outcome": "failed", "reasons": [str(error)]})
        raise
    _note(audit, record | {"outcome": "delivered", "files": done.files, "bytes": done.size, "keyid": done.keyid})
    return done


def _send(dataset: Path, target: str, verified: verify.Verified) -> Delivery:
    source = verify.envelope_of(dataset)
    with _Store.open(target) as store:
        _require_room(store, set(verified.subject), source)
        sent = size = 0
        for name, wanted in progress(sorted(verified.subject.items()), len(verified.subject), "delivery"):
            size += (dataset / name).stat().st_size
            if store.sha256(name) == wanted:
                continue
            store.put(dataset / name, name)
            sent += 1
            if store.sha256(name) != wanted:
                raise IntegrityError(
                    f"{name} does not read back as it was signed", "deliver again: nothing was released"
                )
        store.put(source, verify.ENVELOPE)
    return Delivery(target, verified.policy, len(verified.subject), sent, size, verified.keyid)


def _require_room(store: _Store, names: set[str], source: Path) -> None:
    """A target is empty, or holds a part of this very dataset: nothing of anybody else is mixed in or overwritten."""
    there = store.names()
    foreign = sorted(there - names - {verify.ENVELOPE})
    if foreign:
        raise InputError(f"the target holds other files: {', '.join(foreign[:3])}", "name an empty folder or prefix")
    if verify.ENVELOPE in there and store.sha256(verify.ENVELOPE) != verify.file_sha256(source):
        raise InputError("the target holds another dataset, certified otherwise", "name an empty folder or prefix")


@dataclass(frozen=True)
class _Store:
    """A folder of an fsspec file system. A local one is filled beside its place and renamed when it is whole."""

    system: Any
    root: str

    @staticmethod
    @contextmanager
    def open(target: str) -> Iterator[_Store]:
        """Raises BackendError when the target cannot be reached or written."""
        import fsspec

        scheme = target.partition("://")[0] if "://" in target else "file"
        try:
            system, root = fsspec.core.url_to_fs(target)
            root = root.rstrip("/")
            if scheme != "file":
                yield _Store(system, root)
                return
            place = Path(root)
            beside = place.with_name(f".{place.name}.part")
            if place.exists() and not beside.exists():
                beside = place  # whole already, or somebody else's: the caller looks
            yield _Store(system, str(beside))
            if beside != place:
                beside.rename(place)
        except (ImportError, ValueError) as error:
            package = EXTRAS.get(scheme)
            hint = f"pip install {package}" if package else f"there are: folders, {', '.join(EXTRAS)}"
            raise BackendError(f"cannot reach {target}: {error}", hint) from error
        except OSError as error:
            raise BackendError(
                f"cannot write {target}: {error}", "deliver again: it goes on where it stopped"
            ) from error

    def names(self) -> set[str]:
        found = self.system.find(self.root) if self.system.exists(self.root) else []
        return {str(path)[len(self.root) :].lstrip("/") for path in found}

    def sha256(self, name: str) -> str:
        """Read back from the target; "" if it is not there."""
        path = f"{self.root}/{name}"
        self.system.invalidate_cache()
        if not self.system.exists(path):
            return ""
        digest = hashlib.sha256()
        with self.system.open(path, "rb") as file:
            while block := file.read(CHUNK_BYTES):
                digest.update(block)
        return digest.hexdigest()

    def put(self, source: Path, name: str) -> None:
        path = f"{self.root}/{name}"
        self.system.makedirs(path.rpartition("/")[0], exist_ok=True)
        self.system.put_file(str(source), path)


def audit_file() -> Path:
    """This user's log of deliveries."""
    from blueprint.backends.signer_file import keys_folder

    return keys_folder().parent / AUDIT_FILE


def text(value: dict[str, Any]) -> str:
    return (
        f"[green]✓[/green] delivered {value['files']} files, {value['size'] / 1e6:.1f} MB ({value['sent']} sent now) "
        f"to {value['target']}, policy {value['policy']}, signed by {value['keyid'][:12]}"
    )


def _note(audit: Path, record: dict[str, Any]) -> None:
    """One line, appended and flushed. A log that cannot be written stops the delivery."""
    audit.parent.mkdir(parents=True, exist_ok=True)
    with audit.open("a") as file:
        file.write(json.dumps({"time": datetime.now(UTC).isoformat(timespec="seconds"), **record}) + "\n")
