"""A small server that lends this machine's reconstructors to others over HTTP (protocol 1, docs/service.md).

    BLUEPRINT_SERVICE_TOKEN=... blueprint serve rgbd --folder jobs --host 0.0.0.0 --port 8790

The HTTP side stores uploads and never looks into them; a worker process (`service_worker`) does the jobs.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, Request
from fastapi import Path as FromPath
from fastapi.responses import FileResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from blueprint.apps.serving.service_worker import FINISHED, JobFolder, StoredJob, job_folders
from blueprint.core import backends
from blueprint.core.errors import SettingsError
from blueprint.formats import service as wire

_SLOWEST_CHUNK_S = 60.0
_MOST_UPLOADS = 4  # at the same time
_RESTART_S = 0.3
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class ServiceOptions:
    """folder: where jobs live; token: what clients must bear, "" = nobody is asked (loopback only)

    terms, commercial: of use of the results, as clients write them into their licences; keep: finished jobs that stay
    """

    folder: Path
    token: str = ""
    terms: str = "the operator's own machine"
    commercial: bool = True
    most_queued: int = 16
    most_upload_bytes: int = wire.MOST_UPLOAD_BYTES
    job_timeout_s: float = 3600.0
    keep: int = 20


@dataclass
class _Service:
    options: ServiceOptions
    offers: tuple[wire.Offer, ...]
    uploads: int = 0

    def job(self, name: str) -> JobFolder:
        return JobFolder(self.options.folder / "jobs" / name)

    def open_jobs(self) -> int:
        states = (job.read() for job in job_folders(self.options.folder))
        return sum(state is not None and state.status not in FINISHED for state in states)


def _service(request: Request) -> _Service:
    return request.app.state.service


def _authorise(
    service: Annotated[_Service, Depends(_service)],
    given: Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))],
) -> None:
    token = service.options.token
    if token and not hmac.compare_digest((given.credentials if given else "").encode(), token.encode()):
        raise HTTPException(
            401, "give the service's token: Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"}
        )


def _found(
    service: Annotated[_Service, Depends(_service)],
    job_id: Annotated[str, FromPath(pattern="^[0-9a-f]{32}$")],
) -> tuple[JobFolder, StoredJob]:
    job = service.job(job_id)
    state = job.read()
    if state is None:
        raise HTTPException(404, f"no job {job_id}")
    return job, state


Here = Annotated[_Service, Depends(_service)]
Found = Annotated[tuple[JobFolder, StoredJob], Depends(_found)]
_ZIP_BODY = {"content": {wire.ZIP: {"schema": {"type": "string", "format": "binary"}}}}

router = APIRouter(prefix=wire.PREFIX)
jobs = APIRouter(
    prefix="/jobs", dependencies=[Depends(_authorise)], responses={401: {"description": "no or a wrong token"}}
)


@router.get("/health")
def health(service: Here) -> wire.Health:
    """What this service offers and how busy it is."""
    options = service.options
    return wire.Health(
        protocol=wire.PROTOCOL,
        release=metadata.version("blueprint-pipeline"),
        reconstructors=service.offers,
        terms=options.terms,
        commercial=options.commercial,
        queued=service.open_jobs(),
        most_queued=options.most_queued,
        most_upload_bytes=options.most_upload_bytes,
    )


@jobs.post(
    "",
    status_code=202,
    response_model=wire.Job,
    openapi_extra={"requestBody": {"required": True, **_ZIP_BODY}},
    responses={
        400: {"description": "the body is not what X-Content-SHA256 says"},
        409: {"description": "the idempotency key belongs to another upload"},
        413: {"description": "too large"},
        429: {"description": "the queue is full; see Retry-After"},
    },
)
async def submit(
    service: Here,
    request: Request,
    key: Annotated[str, Header(alias=wire.KEY_HEADER, min_length=16, max_length=200)],
    sha256: Annotated[str, Header(alias=wire.SHA_HEADER, pattern="^[0-9a-f]{64}$")],
) -> StoredJob:
    """Submit a zip of request.json and capture/. The same key and body again give the same job; a failed or cancelled
    one begins anew."""
    if service.uploads >= _MOST_UPLOADS or service.open_jobs() >= service.options.most_queued:
        raise HTTPException(429, "the queue is full", {"Retry-After": "2"})
    service.uploads += 1
    folder = Path(tempfile.mkdtemp(dir=service.options.folder, prefix="upload-"))
    try:
        upload = JobFolder(folder)
        await _receive(request, upload.upload, service.options.most_upload_bytes, sha256)
        return _enter(service, upload, wire.job_id(key), sha256)  # no await inside: two uploads cannot cross
    finally:
        service.uploads -= 1
        shutil.rmtree(folder, ignore_errors=True)


@jobs.get("/{job_id}", response_model=wire.Job)
def status(found: Found) -> StoredJob:
    """How the job stands."""
    return found[1]


@jobs.get(
    "/{job_id}/result",
    response_class=FileResponse,
    responses={200: _ZIP_BODY, 409: {"description": "the job is not done"}},
)
def result(found: Found) -> FileResponse:
    """A zip of the Reconstruction artifact; its size and digest stand in the job."""
    job, state = found
    if state.status != "done" or state.result is None:
        raise HTTPException(409, f"the job is {state.status}")
    return FileResponse(job.result, media_type=wire.ZIP, headers={wire.SHA_HEADER: state.result.sha256})


@jobs.delete("/{job_id}", response_model=wire.Job)
def cancel(found: Found) -> StoredJob:
    """Stop a job that is queued or running; forget one that is finished."""
    job, state = found
    job.cancel()
    if state.status in FINISHED:
        shutil.rmtree(job.root, ignore_errors=True)
    return job.read() or state


router.include_router(jobs)


async def _receive(request: Request, file: Path, most: int, sha256: str) -> None:
    """Stream the body to `file`; sizes are counted, not believed."""
    size, digest = 0, hashlib.sha256()
    stream = request.stream().__aiter__()
    with file.open("wb") as sink:
        while True:
            try:
                piece = await asyncio.wait_for(anext(stream), _SLOWEST_CHUNK_S)
            except StopAsyncIteration:
                break
            except TimeoutError:
                raise HTTPException(408, f"nothing came for {_SLOWEST_CHUNK_S:g} s") from None
            size += len(piece)
            if size > most:
                raise HTTPException(413, f"at most {most} bytes are taken")
            digest.update(piece)
            sink.write(piece)
    if digest.hexdigest() != sha256:
        raise HTTPException(400, f"the body is not what {wire.SHA_HEADER} says: it was damaged on the way")


def _enter(service: _Service, upload: JobFolder, name: str, sha256: str) -> StoredJob:
    """Publish the upload as a queued job, unless that job is there already."""
    job = service.job(name)
    state = job.read()
    if state is not None and state.status not in ("failed", "cancelled"):
        if state.request_sha256 != sha256:
            raise HTTPException(409, "this idempotency key belongs to another upload")
        return state
    if state is not None:
        shutil.rmtree(job.root)
    made = upload.write(StoredJob(id=name, status="queued", request_sha256=sha256))
    job.root.parent.mkdir(exist_ok=True)
    upload.root.rename(job.root)
    return made


# ------------------------------------------------------------------ the app


def create_app(reconstructors: Sequence[str], options: ServiceOptions) -> FastAPI:
    """The service of these reconstructors. Raises BackendError for one that cannot run here."""
    if not reconstructors or "service" in reconstructors:
        raise SettingsError(
            f"a service cannot offer {', '.join(reconstructors) or 'nothing'}", "name a local one: rgbd"
        )
    offers = tuple(wire.Offer(name=n, version=backends.find("reconstructor", n).load().version) for n in reconstructors)
    options.folder.mkdir(parents=True, exist_ok=True)
    app = FastAPI(
        title="Blueprint reconstruction service",
        version=wire.PROTOCOL,
        openapi_url=f"{wire.PREFIX}/openapi.json",
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
        lifespan=_lifespan,
    )
    app.state.service = _Service(options, offers)
    app.include_router(router)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    service: _Service = app.state.service
    for leftover in service.options.folder.glob("upload-*"):  # cut short when the service died
        shutil.rmtree(leftover, ignore_errors=True)
    keeper = asyncio.create_task(_keep_working(service))
    try:
        yield
    finally:
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)


async def _keep_working(service: _Service) -> None:
    """A worker process, and another one when it dies."""
    options = service.options
    numbers = (options.job_timeout_s, options.keep, os.getpid())
    command = [sys.executable, "-m", "blueprint.apps.serving.service_worker", str(options.folder), *map(str, numbers)]
    while True:
        worker = subprocess.Popen([*command, *(offer.name for offer in service.offers)])
        try:
            while worker.poll() is None:
                await asyncio.sleep(_RESTART_S)
        finally:
            worker.kill()  # its child dies with it; the job is queued again at the next start
            worker.wait()


def serve(names: Sequence[str], host: str, port: int, options: ServiceOptions) -> None:
    """Serve until interrupted. Raises SettingsError when strangers could reach a service without a token."""
    if not options.token and host not in _LOOPBACK:
        raise SettingsError(f"the service would listen on {host} without a token", "export BLUEPRINT_SERVICE_TOKEN=...")
    import uvicorn

    uvicorn.run(create_app(names, options), host=host, port=port)
