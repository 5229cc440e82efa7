"""The process of a reconstruction service that does the jobs, one after the other, each in a child of its own.

It speaks with the HTTP side through files only, so either may die and come back:

    FOLDER/jobs/ID/request.zip   the upload        FOLDER/jobs/ID/job.json   how it stands (`StoredJob`)
    FOLDER/jobs/ID/cancel        stop, please      FOLDER/jobs/ID/result.zip, log
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from blueprint.backends.protocols import ReconstructorConfig
from blueprint.core import backends
from blueprint.core.errors import SettingsError
from blueprint.core.files import write_json
from blueprint.core.process import run_child
from blueprint.core.report import reporting
from blueprint.core.store import Scene
from blueprint.formats import service as wire
from blueprint.model.artifacts import Capture

_ATTEMPTS = 3  # a job that takes the worker down with it is not tried for ever
_SAVE_EVERY_S = 0.5
_MOST_WARNINGS = 100
_TICK_S = 0.1

FINISHED = ("done", "failed", "cancelled")


class StoredJob(wire.Job):
    """attempts: how often it was begun."""

    attempts: int = 0


class JobFolder:
    """One job on the disk."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.upload = root / "request.zip"
        self.result = root / "result.zip"

    def read(self) -> StoredJob | None:
        """None when there is no such job. A job that was cancelled in the queue is cancelled at once."""
        try:
            job = StoredJob.model_validate_json((self.root / "job.json").read_bytes())
        except (OSError, ValidationError):
            return None
        if job.status == "queued" and (self.root / "cancel").exists():
            return job.model_copy(update={"status": "cancelled"})
        return job

    def write(self, job: StoredJob) -> StoredJob:
        write_json(self.root / "job.json", job.model_dump(mode="json"))
        return job

    def cancel(self) -> None:
        (self.root / "cancel").touch()

    @property
    def cancelled(self) -> bool:
        return (self.root / "cancel").exists() or not self.root.exists()


def job_folders(folder: Path) -> list[JobFolder]:
    """In the order in which they came."""
    found = [JobFolder(path.parent) for path in (folder / "jobs").glob("*/job.json")]
    return sorted(found, key=lambda job: (job.upload.stat().st_mtime_ns if job.upload.exists() else 0, job.root.name))


def work(folder: Path, names: tuple[str, ...], timeout_s: float, keep: int, parent: int) -> None:
    """Do what is queued until `parent` is gone. keep: finished jobs whose results stay."""
    with Scene(folder).lease():
        for job in job_folders(folder):
            state = job.read()
            if state is not None and state.status == "running":  # the worker before this one died
                job.write(state.model_copy(update={"status": "queued", "progress": None}))
        while os.getppid() == parent:
            queued = [job for job in job_folders(folder) if _is(job, "queued")]
            with suppress(_Stopped, FileNotFoundError):  # deleted meanwhile
                _do(queued[0], names, timeout_s, parent) if queued else time.sleep(_TICK_S)
            for job in [job for job in job_folders(folder) if _is(job, *FINISHED)][:-keep]:
                shutil.rmtree(job.root, ignore_errors=True)


def _is(job: JobFolder, *statuses: str) -> bool:
    state = job.read()
    return state is not None and state.status in statuses


def _do(job: JobFolder, names: tuple[str, ...], timeout_s: float, parent: int) -> None:
    state = job.read()
    if state is None:
        return
    update: dict[str, Any]
    if state.attempts >= _ATTEMPTS:
        failure = wire.Failure(type="BackendError", message=f"the service died {_ATTEMPTS} times over this job")
        job.write(state.model_copy(update={"status": "failed", "error": failure}))
        return
    state = job.write(state.model_copy(update={"status": "running", "attempts": state.attempts + 1}))
    watch = _Watch(job, state, parent)
    try:
        with reporting(watch):
            outcome = run_child(
                "reconstruction", lambda: _reconstruct(job, names), timeout_s=timeout_s, log=job.root / "log"
            )
    except _Stopped:
        if os.getppid() == parent:
            job.write(watch.state.model_copy(update={"status": "cancelled", "progress": None}))
        raise
    finally:
        shutil.rmtree(job.root / "work", ignore_errors=True)
    if outcome.error is None:
        update = {"status": "done", **outcome.value, "result": wire.ResultFile(**outcome.value["result"])}
    else:
        error = outcome.error
        failure = wire.Failure(type=type(error).__name__, message=error.message, hint=error.hint)
        update = {"status": "failed", "error": failure}
    job.write(watch.state.model_copy(update={"progress": None, **update}))


def _reconstruct(job: JobFolder, names: tuple[str, ...]) -> dict[str, Any]:
    """In the child: the whole job. Nothing of the upload is looked at before this point."""
    folder = job.root / "work"
    shutil.rmtree(folder, ignore_errors=True)
    request = wire.read_request(job.upload, folder / "in")
    if request.reconstructor not in names:
        raise SettingsError(f"no reconstructor {request.reconstructor!r} here", f"there is: {', '.join(names)}")
    try:
        cfg = ReconstructorConfig.model_validate(request.config)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        raise SettingsError(
            f"the request's setting {name} does not fit: {first['msg']}", "are both up to date?"
        ) from error
    reconstructor = backends.find("reconstructor", request.reconstructor).load()
    out = folder / "out"
    out.mkdir(parents=True)
    reconstructor.reconstruct(Capture.load(folder / "in" / "capture"), cfg, out).save(out)
    result = wire.pack(out, folder / "result.zip")
    (folder / "result.zip").rename(job.result)
    return {
        "reconstructor": request.reconstructor,
        "version": str(reconstructor.version),
        "result": result.model_dump(),
    }


class _Stopped(Exception):
    """The job was cancelled, or the service ends."""


class _Watch:
    """Reporter: writes progress and warnings into the job's state; stops the job when it is cancelled."""

    def __init__(self, job: JobFolder, state: StoredJob, parent: int) -> None:
        self.job, self.state, self.parent = job, state, parent
        self._written, self._when = state, time.monotonic()

    def event(self, kind: str, fields: dict[str, Any]) -> None:
        if kind == "progress":
            progress = wire.Progress.model_validate(fields)
            self.state = self.state.model_copy(update={"progress": progress})
        elif kind == "warning" and len(self.state.warnings) < _MOST_WARNINGS:
            warnings = (*self.state.warnings, str(fields["message"])[:500])
            self.state = self.state.model_copy(update={"warnings": warnings})
        elif self.job.cancelled or os.getppid() != self.parent:
            raise _Stopped  # on its way out, run_child kills the child
        elif self.state is not self._written and time.monotonic() - self._when > _SAVE_EVERY_S:
            self._written, self._when = self.job.write(self.state), time.monotonic()


if __name__ == "__main__":
    work(Path(sys.argv[1]), tuple(sys.argv[5:]), float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
