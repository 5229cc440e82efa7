"""What travels between a reconstruction service and its client: the messages of protocol 1, and zip files.

A request is a zip of `request.json` (`Request`) and `capture/` (a Capture artifact with its files); a result is a zip
of a Reconstruction artifact with its files. docs/service.md is the protocol.
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from blueprint.core.artifact import ARTIFACT_FILE, Artifact
from blueprint.core.errors import InputError
from blueprint.core.files import file_digest, files_below
from blueprint.formats.archive import unpack

A = TypeVar("A", bound=Artifact)

PROTOCOL = "1"
PREFIX = f"/v{PROTOCOL}"
REQUEST_FILE = "request.json"
ZIP = "application/zip"
KEY_HEADER = "Idempotency-Key"
SHA_HEADER = "X-Content-SHA256"
MOST_UPLOAD_BYTES = 4 * 2**30
MOST_RESULT_BYTES = 4 * 2**30
_TEXT = (".obj", ".mtl", ".json")  # worth deflating; arrays of zeros would look like a bomb to who unpacks
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the zip format's earliest date

Status = Literal["queued", "running", "done", "failed", "cancelled"]


class Message(BaseModel):
    """A message: a later minor version may add fields, which are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Request(Message):
    """What to do with the capture. config: fields of `ReconstructorConfig`."""

    protocol: Literal["1"] = "1"
    reconstructor: str
    config: dict[str, Any] = Field(default_factory=dict)


class Progress(Message):
    what: str
    done: int
    total: int


class Failure(Message):
    """type: a class of core/errors.py that says whose fault it is."""

    type: str
    message: str
    hint: str = ""


class ResultFile(Message):
    size: int = Field(ge=1)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Job(Message):
    """A job as `GET /v1/jobs/{id}` shows it. version: of the reconstructor that ran; request_sha256: of the upload."""

    id: str = Field(pattern=r"^[0-9a-f]{16,64}$")
    status: Status
    request_sha256: str
    reconstructor: str = ""
    version: str = ""
    progress: Progress | None = None
    warnings: tuple[str, ...] = ()
    error: Failure | None = None
    result: ResultFile | None = None


class Offer(Message):
    name: str
    version: str


class Health(Message):
    """What the service is. terms: of use of what it makes; commercial: whether they permit commercial use."""

    protocol: str
    release: str
    reconstructors: tuple[Offer, ...]
    terms: str
    commercial: bool
    queued: int
    most_queued: int
    most_upload_bytes: int


def pack(folder: Path, archive: Path, *, below: str = "", extra: dict[str, bytes] | None = None) -> ResultFile:
    """Zip all files of `folder` under `below`, and `extra` texts: equal content gives equal bytes."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(archive, "w") as package:
        for name, text in sorted((extra or {}).items()):
            package.writestr(zipfile.ZipInfo(name, _EPOCH), text)
        for name in files_below(folder):
            entry = zipfile.ZipInfo(f"{below}{name}", _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED if name.endswith(_TEXT) else zipfile.ZIP_STORED
            entry.file_size = (folder / name).stat().st_size
            with (folder / name).open("rb") as source, package.open(entry, "w") as sink:
                while chunk := source.read(2**20):
                    sink.write(chunk)
    return ResultFile(size=archive.stat().st_size, sha256=file_digest(archive))


def read_request(archive: Path, folder: Path) -> Request:
    """Unpack an upload: the capture lies in `folder`/capture. Raises InputError for whatever is not one."""
    root = _unpack(archive, folder)
    file = root / REQUEST_FILE
    try:
        request = Request.model_validate_json(file.read_bytes())
    except (OSError, ValidationError) as error:
        raise InputError(f"the upload holds no {REQUEST_FILE} of protocol {PROTOCOL}: {error}") from error
    if not (root / "capture" / ARTIFACT_FILE).is_file():
        raise InputError(f"the upload holds no capture/{ARTIFACT_FILE}", "see docs/service.md")
    return request


def read_result(archive: Path, folder: Path, kind: type[A]) -> A:
    """Unpack a result into `folder`. Raises InputError or IntegrityError for whatever is not one."""
    root = _unpack(archive, folder)
    if root != folder:
        raise InputError(f"the result holds no {ARTIFACT_FILE} at its root", "the service does not keep to protocol 1")
    return kind.load(root)


def job_id(key: str) -> str:
    """The id is made of the idempotency key, so the same key always finds the same job."""
    return hashlib.sha256(key.encode()).hexdigest()[:32]


def _unpack(archive: Path, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return unpack(archive, folder)
    except (zlib.error, zipfile.BadZipFile, EOFError, ValueError) as error:
        raise InputError(f"the archive is broken: {error}", "send it again") from error
