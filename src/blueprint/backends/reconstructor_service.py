"""Reconstruction by somebody else's machine: a lab's GPU server or a commercial service that speaks protocol 1.

Environment: BLUEPRINT_SERVICE_URL (https://host[:port][/base]), BLUEPRINT_SERVICE_TOKEN (bearer token),
BLUEPRINT_SERVICE_TIMEOUT_S (for the whole job, 3000), BLUEPRINT_SERVICE_PATIENCE_S (how long it may not answer at all,
120). Setting `reconstruction.remote`: which of the service's reconstructors. docs/service.md is the protocol.

Only that address is ever asked: redirects are refused, and no address that the service sends is followed.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import httpx
from pydantic import ValidationError

from blueprint.backends.protocols import ReconstructorConfig
from blueprint.core import errors
from blueprint.core.errors import BackendError, BlueprintError, InputError, IntegrityError, TransientError
from blueprint.core.files import digest, file_digest
from blueprint.core.report import emit, log, warn
from blueprint.formats import service as wire
from blueprint.model.artifacts import Capture, Reconstruction

M = TypeVar("M", bound=wire.Message)

_CONNECT_S, _READ_S = 10.0, 30.0
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.25, 8.0
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})  # every request here may be sent twice
_MOST_MESSAGE_BYTES = 2**20
_DOWNLOADS = 4
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class ReconstructorService:
    """Packs the capture, submits it, waits, and takes the Reconstruction. A broken run resumes the same job."""

    name = "service"
    version = "1"

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._environ = environ

    def reconstruct(self, capture: Capture, cfg: ReconstructorConfig, out: Path) -> Reconstruction:
        """Raises BackendError when the service is not set up or refuses, TransientError when it cannot be reached for
        too long, IntegrityError for a result that is not whole, and whatever error the remote reconstructor raised."""
        with _Line(self._environ) as line, tempfile.TemporaryDirectory() as folder:
            health = line.ask("GET", "/health", wire.Health)
            offer = _choose(health, cfg.remote)
            upload = Path(folder, "request.zip")
            known = set(ReconstructorConfig.model_fields)  # the stage's own settings are applied here, afterwards
            request = wire.Request(reconstructor=offer.name, config=cfg.model_dump(mode="json", include=known))
            texts = {wire.REQUEST_FILE: request.model_dump_json().encode()}
            packed = wire.pack(capture.root, upload, below="capture/", extra=texts)
            if packed.size > health.most_upload_bytes:
                raise InputError(
                    f"the capture is {packed.size} bytes; the service takes {health.most_upload_bytes}",
                    "choose fewer frames, or raise the service's limit",
                )
            key = digest([packed.sha256, offer.name, offer.version])  # a newer reconstructor is another job
            job = _wait(line, _submit(line, key, upload, packed))
            made = _fetch(line, job, Path(folder))
            for path in sorted(made.root.iterdir()):
                shutil.move(path, out / path.name)
            with suppress(BlueprintError):  # it forgets by itself in the end
                line.send("DELETE", f"/jobs/{job.id}")
        ran = f"{job.reconstructor} {job.version}, blueprint {health.release}, at {line.origin}"
        self.version = f"{type(self).version} ({ran})"  # what the receipt says ran
        licences = made.licences | {f"remote reconstruction by {ran}: {health.terms}": health.commercial}
        return made.model_copy(update={"licences": licences}).bind(out)


def _choose(health: wire.Health, wanted: str) -> wire.Offer:
    if health.protocol != wire.PROTOCOL:
        raise BackendError(f"the service speaks protocol {health.protocol}, this client {wire.PROTOCOL}", "update one")
    names = [offer.name for offer in health.reconstructors]
    if not wanted and len(names) == 1:
        return health.reconstructors[0]
    if wanted not in names:
        what = f"no reconstructor {wanted!r}" if wanted else "several reconstructors, and none is chosen for you"
        raise BackendError(f"the service has {what}", f"reconstruction.remote = one of: {', '.join(names)}")
    return health.reconstructors[names.index(wanted)]


def _submit(line: _Line, key: str, upload: Path, packed: wire.ResultFile) -> wire.Job:
    """The job of that key: one already under way, else a new one."""
    found = line.send("GET", f"/jobs/{wire.job_id(key)}", also=(404,))
    if found.status_code == 200:
        job = line.read(found, wire.Job)
        if job.status not in ("failed", "cancelled") and job.request_sha256 == packed.sha256:
            log(f"service: resuming job {job.id} ({job.status})")
            return job
    headers = {wire.KEY_HEADER: key, wire.SHA_HEADER: packed.sha256, "Content-Type": wire.ZIP}
    job = line.read(line.send("POST", "/jobs", headers=headers, upload=upload), wire.Job)
    if job.request_sha256 != packed.sha256:
        raise IntegrityError("the service has another upload under our key", "it does not keep to protocol 1")
    return job


def _wait(line: _Line, job: wire.Job) -> wire.Job:
    """Poll until the job is done; its progress and warnings are passed on. Raises what failed over there."""
    pause, seen = _FIRST_WAIT_S, 0
    while job.status in ("queued", "running"):
        time.sleep(min(pause, line.left_s))
        pause = min(1.5 * pause, _LONGEST_WAIT_S)
        if line.left_s <= 0:
            line.give_up(job.id)
        job = line.ask("GET", f"/jobs/{job.id}", wire.Job)
        if job.progress is not None:
            emit("progress", **job.progress.model_dump())
        for text in job.warnings[seen:]:
            warn(f"service: {text}")
        seen = len(job.warnings)
    if job.status == "done":
        return job
    failure = job.error or wire.Failure(type="BackendError", message=f"job {job.id} was {job.status}")
    kind = getattr(errors, failure.type, BackendError)
    known = isinstance(kind, type) and issubclass(kind, BlueprintError)
    raise (kind if known else BackendError)(f"the service says: {failure.message}", failure.hint)


def _fetch(line: _Line, job: wire.Job, folder: Path) -> Reconstruction:
    """Download, check size and digest, unpack, check that every file named is there."""
    if job.result is None or job.result.size > wire.MOST_RESULT_BYTES:
        raise IntegrityError(f"the service offers no result of at most {wire.MOST_RESULT_BYTES} bytes for job {job.id}")
    archive = folder / "result.zip"
    for attempt in range(_DOWNLOADS):
        line.send("GET", f"/jobs/{job.id}/result", sink=archive, most=job.result.size)
        if archive.stat().st_size == job.result.size and file_digest(archive) == job.result.sha256:
            break
        warn(f"service: download {attempt + 1} of the result is damaged; fetching it again")
    else:
        raise IntegrityError(
            f"the result of job {job.id} does not have the digest that the service promised, {_DOWNLOADS} times",
            "something between here and the service alters data: try without a proxy",
        )
    made = wire.read_result(archive, folder / "result", Reconstruction)
    missing = [name for name in _named_files(made) if not made.path(name).is_file()]
    if missing:
        raise IntegrityError(
            f"the service's result lacks {', '.join(missing[:5])}", "the remote reconstructor is broken"
        )
    return made


def _named_files(made: Reconstruction) -> Iterator[str]:
    for view in made.views:
        yield from (view.color, view.depth, view.labels)
    given = [part for i in made.instances if i.given for part in i.given.parts]
    for part in (*given, *made.statics):
        yield part.mesh
        if part.texture:
            yield part.texture
    for static in made.statics:
        yield from static.colliders
    if made.support.texture:
        yield made.support.texture


class _Line:
    """The connection to the one service that the environment names. Retries what may succeed when tried again."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        url = environ.get("BLUEPRINT_SERVICE_URL", "").rstrip("/")
        parts = urlsplit(url)
        token = environ.get("BLUEPRINT_SERVICE_TOKEN", "")
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.username:
            raise BackendError(
                "reconstructor 'service' needs BLUEPRINT_SERVICE_URL, the address of a reconstruction service",
                "export BLUEPRINT_SERVICE_URL=https://host:port (no user, no query); see docs/service.md",
            )
        near = parts.hostname in _LOOPBACK
        if token and parts.scheme == "http" and not near:
            raise BackendError(f"the token would cross the network in clear text to {parts.hostname}", "use https://")
        self.origin = f"{parts.scheme}://{parts.netloc}"
        self._patience_s = _seconds(environ, "BLUEPRINT_SERVICE_PATIENCE_S", 120.0)
        self._end = time.monotonic() + _seconds(environ, "BLUEPRINT_SERVICE_TIMEOUT_S", 3000.0)
        self._client = httpx.Client(
            base_url=url + wire.PREFIX,
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=httpx.Timeout(_READ_S, connect=_CONNECT_S),
            follow_redirects=False,
            trust_env=not near,  # a proxy does not lead to this machine
        )

    def __enter__(self) -> _Line:
        return self

    def __exit__(self, *exc: object) -> None:
        self._client.close()

    @property
    def left_s(self) -> float:
        return max(0.0, self._end - time.monotonic())

    def ask(self, method: str, path: str, kind: type[M]) -> M:
        return self.read(self.send(method, path), kind)

    def read(self, response: httpx.Response, kind: type[M]) -> M:
        try:
            return kind.model_validate_json(response.content)
        except ValidationError as error:
            raise BackendError(
                f"{self.origin} answers something that is no {kind.__name__} of protocol 1: {error.errors()[0]['msg']}",
                "is BLUEPRINT_SERVICE_URL the address of a reconstruction service?",
            ) from error

    def send(
        self,
        method: str,
        path: str,
        *,
        headers: dict[str, str] | None = None,
        upload: Path | None = None,
        sink: Path | None = None,
        most: int = _MOST_MESSAGE_BYTES,
        also: tuple[int, ...] = (),
    ) -> httpx.Response:
        """One request, again after a passing fault until patience ends. sink: file for the body; most: bytes of it."""
        started, pause = time.monotonic(), _FIRST_WAIT_S
        while True:
            asked = pause
            try:
                response = self._once(method, path, headers or {}, upload, sink, most)
                if response.status_code not in _TRANSIENT:
                    return self._judge(response, also)
                trouble = f"answers {response.status_code}: {_detail(response)}"
                asked = _retry_after(response, pause)
                if response.status_code == 429:
                    started = time.monotonic()  # it is there and busy: only the job's own deadline counts
            except httpx.TransportError as error:
                trouble = f"cannot be reached: {error or type(error).__name__}"
                if "CERTIFICATE" in trouble:
                    raise BackendError(f"{self.origin} {trouble}", "install its certificate authority") from error
            if time.monotonic() - started + asked > self._patience_s or self.left_s <= asked:
                raise TransientError(
                    f"{self.origin} {trouble}", "run again: the job over there goes on, and is resumed"
                )
            log(f"service: {trouble}; trying again")
            time.sleep(asked)
            pause = min(2 * pause, _LONGEST_WAIT_S)

    def give_up(self, job: str) -> None:
        with suppress(BlueprintError):
            self.send("DELETE", f"/jobs/{job}", also=(404,))
        raise BackendError("the service did not finish the job in time", "raise BLUEPRINT_SERVICE_TIMEOUT_S")

    def _once(
        self, method: str, path: str, headers: dict[str, str], upload: Path | None, sink: Path | None, most: int
    ) -> httpx.Response:
        """The body is read by pieces, so neither its size nor a trickle of it can hold this process."""
        if upload is not None:
            headers = headers | {"Content-Length": str(upload.stat().st_size)}
        body = _pieces(upload) if upload is not None else None
        with self._client.stream(method, path.lstrip("/"), content=body, headers=headers) as response:
            good = response.status_code == 200 and sink is not None
            limit, size, kept = (most if good else _MOST_MESSAGE_BYTES), 0, b""
            with (sink if good and sink is not None else Path(os.devnull)).open("wb") as file:
                for piece in response.iter_bytes():
                    size += len(piece)
                    if size > limit:
                        raise IntegrityError(f"{self.origin} sends more than the {limit} bytes that are due")
                    if self.left_s <= 0:
                        raise TransientError(f"{self.origin} sends too slowly", "raise BLUEPRINT_SERVICE_TIMEOUT_S")
                    kept = kept if good else kept + piece
                    file.write(piece)
            return httpx.Response(response.status_code, headers=dict(_plain(response)), content=kept)

    def _judge(self, response: httpx.Response, also: tuple[int, ...]) -> httpx.Response:
        """The response, if it is good. Raises the error that the status means."""
        code = response.status_code
        if response.is_success or code in also:
            return response
        if 300 <= code < 400:
            raise BackendError(f"{self.origin} redirects elsewhere", "set BLUEPRINT_SERVICE_URL to the final address")
        if code in (401, 403):
            raise BackendError(f"{self.origin} refuses the token", "set BLUEPRINT_SERVICE_TOKEN to the service's token")
        text = f"{self.origin} answers {code}: {_detail(response)}"
        if code == 413:
            raise InputError(text, "choose fewer frames, or raise the service's limit")
        if code == 404:
            raise TransientError(text, "the job is gone, or this is no reconstruction service; run again to resubmit")
        raise BackendError(text, "see the service's log")


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(2**18):
            yield piece


def _plain(response: httpx.Response) -> Iterator[tuple[str, str]]:
    """The headers that still hold once the body is decoded."""
    return ((k, v) for k, v in response.headers.items() if k.lower() in ("retry-after", "content-type"))


def _retry_after(response: httpx.Response, pause: float) -> float:
    text = response.headers.get("retry-after", "")
    return min(max(float(text), pause), 60.0) if text.isdigit() else pause


def _detail(response: httpx.Response) -> str:
    try:
        return str(response.json()["detail"])[:300]
    except (ValueError, KeyError, TypeError):
        return response.text[:300]


def _seconds(environ: Mapping[str, str], variable: str, default: float) -> float:
    text = environ.get(variable, "")
    try:
        value = float(text) if text else default
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise BackendError(f"{variable}={text!r} is no number of seconds", f"e.g. {variable}={default:g}")
    return value
