"""Plan and run: what is up to date, what must run and why, and running it.

A stage's key is the hash of all that its result depends on (`KeyParts`). A result with that key is reused; otherwise
the stage runs in a process of its own and the result is published under that key. Since inputs enter a key by the
digest of their contents, an equal output stops the ripple.
"""

from __future__ import annotations

import functools
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from blueprint.core import backends, code
from blueprint.core.artifact import Artifact
from blueprint.core.errors import BlueprintError, IntegrityError, SettingsError, TransientError
from blueprint.core.execute import jobs_limited
from blueprint.core.files import fsync_tree
from blueprint.core.process import Outcome, peak_memory_mib, run_child
from blueprint.core.report import emit, reporting, warn
from blueprint.core.settings import Settings
from blueprint.core.stage import Stage
from blueprint.core.store import (
    FileRecord,
    KeyParts,
    Receipt,
    Scene,
    clean_up,
    damage,
    describe_files,
    digest_files,
    read_receipt,
)
from blueprint.core.why import changes

_BACKOFF_S = 1.0

State = Literal["done", "stale", "waits"]


@dataclass(frozen=True)
class Given:
    """An artifact that no stage makes, and the digest of its content."""

    artifact: Artifact
    digest: str


@dataclass(frozen=True)
class Step:
    """One stage in the light of a scene.

    state: done (its result is there), stale (it must run), waits (an input must be made first)
    root: folder of the result when done; reasons: why it must run, in words; ran: it ran just now
    """

    stage: Stage
    state: State
    parts: KeyParts | None
    reasons: tuple[str, ...]
    root: Path | None = None
    receipt: Receipt | None = None
    ran: bool = False


@dataclass(frozen=True)
class Job:
    """What to bring about: these stages, from what is given, in this scene, with these settings."""

    stages: tuple[Stage, ...]
    given: Given
    scene: Scene
    settings: Settings


def plan(job: Job) -> list[Step]:
    """How each stage stands now. Reads only; a stage below one that must run `waits`."""
    steps: dict[type[Artifact], Step] = {}
    for stage in check_graph(job):
        steps[stage.makes] = assess(job, stage, steps)
    return list(steps.values())


def run(job: Job, until: str | None = None) -> list[Step]:
    """Bring the stages (those that `until` needs) up to date, in order. Raises the first stage's error.

    The caller holds the scene's lease. Emits stage_start, stage_done, stage_reused and stage_failed.
    """
    stages = needed_for(check_graph(job), until)
    for stage in stages:  # before any work: does what the settings name exist, and of what code is it?
        key_parts(job, stage, {})
    name = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{os.getpid()}"
    steps: dict[type[Artifact], Step] = {}
    with reporting(EventLog(job.scene.run_file(name, "jsonl"))):
        for number, stage in enumerate(stages, start=1):
            step = assess(job, stage, steps)
            if step.state == "done" and step.receipt is not None:
                job.scene.set_current(stage.name, step.receipt.key)
                emit("stage_reused", stage=stage.name, number=number, of=len(stages), key=step.receipt.key)
            else:
                emit("stage_start", stage=stage.name, number=number, of=len(stages), reasons=step.reasons)
                step = _make(job, step, steps, job.scene.run_file(name, f"{stage.name}.log"))
            steps[stage.makes] = step
    return list(steps.values())


def check_graph(job: Job) -> tuple[Stage, ...]:
    """The stages, if each input is made before it is used and each type by one stage; else TypeError."""
    made: dict[type[Artifact], str] = {type(job.given.artifact): "what is given"}
    for stage in job.stages:
        for parameter, kind in stage.inputs.items():
            if kind not in made:
                raise TypeError(f"stage {stage.name}: no earlier stage makes {parameter}: {kind.__name__}")
        if stage.makes in made:
            raise TypeError(f"stage {stage.name}: {stage.makes.__name__} is already made by {made[stage.makes]}")
        made[stage.makes] = stage.name
    return job.stages


def needed_for(stages: Sequence[Stage], until: str | None) -> tuple[Stage, ...]:
    """`until` and what it needs, in order; all stages for None."""
    if until is None:
        return tuple(stages)
    names = [stage.name for stage in stages]
    if until not in names:
        raise SettingsError(f"no stage {until!r}", f"there are: {', '.join(names)}")
    wanted: set[type[Artifact]] = {stages[names.index(until)].makes}
    for stage in reversed(stages):
        if stage.makes in wanted:
            wanted |= set(stage.inputs.values())
    return tuple(stage for stage in stages if stage.makes in wanted)


def assess(job: Job, stage: Stage, steps: dict[type[Artifact], Step]) -> Step:
    """How `stage` stands, given the steps before it."""
    digests = {type(job.given.artifact): job.given.digest}
    for kind, step in steps.items():
        if step.receipt is not None:
            key = f" {step.receipt.key}" if stage.reads_receipts else ""
            digests[kind] = step.receipt.files_digest + key
    missing = [steps[kind] for kind in stage.inputs.values() if kind not in digests]
    if missing:
        first = missing[0]
        return Step(
            stage, "waits", None, first.reasons if first.state == "waits" else (f"waits for {first.stage.name}",)
        )
    parts = key_parts(job, stage, {name: digests[kind] for name, kind in stage.inputs.items()})
    try:
        root = job.scene.folder(stage.name, parts.key)
        if root.is_dir():
            receipt = read_receipt(root)
            broken = damage(root, receipt, full=False)
            if not broken:
                return Step(stage, "done", parts, (), root, receipt)
            return Step(stage, "stale", parts, tuple(f"its result is damaged: {text}" for text in broken))
        before = job.scene.current().get(stage.name)
        old = read_receipt(job.scene.folder(stage.name, before)).parts if before else None
        return Step(stage, "stale", parts, changes(old, parts))
    except IntegrityError as error:
        return Step(stage, "stale", parts, (f"its result is damaged: {error.message.splitlines()[0]}",))


def key_parts(job: Job, stage: Stage, inputs: dict[str, str]) -> KeyParts:
    found = _backends_of(job, stage)
    modules = (stage.function.__module__, *(backend.module for backend in found.values()))
    outside = {f"{backend.kind}:{backend.name}": backend.release for backend in found.values() if backend.release}
    section = job.settings.sections[stage.name] if stage.config else None
    outside |= {f"{stage.name}:{what}": state for what, state in (section.leans_on() if section else {}).items()}
    return KeyParts(
        stage=stage.name,
        version=stage.version,
        code=code.code_digests(modules),
        tools=code.tool_versions(modules) | outside,
        config=section.model_dump(mode="json") if section else {},
        backends={backend.kind: backend.name for backend in found.values()},
        inputs=inputs,
    )


def _backends_of(job: Job, stage: Stage) -> dict[str, backends.Backend]:
    """parameter -> the backend that the settings name."""
    kinds = {parameter: backends.kind_of(protocol) for parameter, protocol in stage.backends.items()}
    return {
        parameter: backends.find(kind, job.settings.backend(kind), f"run.{kind}") for parameter, kind in kinds.items()
    }


# ------------------------------------------------------------------ running one stage


def _make(job: Job, step: Step, steps: dict[type[Artifact], Step], log: Path) -> Step:
    """Run the stage, in a process of its own per attempt, and publish its result."""
    assert step.parts is not None
    stage, key = step.stage, step.parts.key
    if job.scene.folder(stage.name, key).exists():  # damaged
        job.scene.discard(stage.name, key)
    inputs: dict[str, Artifact | Path] = {}
    for name, kind in stage.inputs.items():
        root = steps[kind].root if kind in steps else None
        inputs[name] = root if root is not None else job.given.artifact
    started = time.monotonic()
    outcome = _try(job, stage, step.parts, inputs, log)
    receipt = _receipt(step, outcome, time.monotonic() - started)
    root = job.scene.commit(receipt)
    if log.exists() and log.stat().st_size == 0:
        log.unlink()
    emit("stage_done", stage=stage.name, key=key, seconds=receipt.seconds, root=str(root))
    return Step(stage, "done", step.parts, step.reasons, root, receipt, ran=True)


def _try(job: Job, stage: Stage, parts: KeyParts, inputs: dict[str, Artifact | Path], log: Path) -> Outcome:
    """Attempts until one succeeds; a TransientError is worth another one, any other error is raised."""
    attempt = 0
    while True:
        partial = job.scene.open_partial(parts)
        work = functools.partial(_attempt, job, stage, inputs, partial)
        outcome = run_child(stage.name, work, timeout_s=stage.timeout_s, log=log)
        if outcome.error is None:
            return outcome
        if not isinstance(outcome.error, TransientError) or attempt == stage.retries:
            emit("stage_failed", stage=stage.name, error=outcome.error.message, hint=outcome.error.hint)
            raise outcome.error
        warn(f"{stage.name}: {outcome.error.message}; trying again")
        time.sleep(_BACKOFF_S * 2**attempt)
        attempt += 1


def _receipt(step: Step, outcome: Outcome, seconds: float) -> Receipt:
    assert step.parts is not None
    files = {name: FileRecord.model_validate(record) for name, record in outcome.value["files"].items()}
    return Receipt(
        stage=step.stage.name,
        key=step.parts.key,
        parts=step.parts,
        backends=outcome.value["backends"],
        files=files,
        files_digest=digest_files(files),
        reasons=step.reasons,
        seconds=round(seconds, 3),
        peak_memory_mib=outcome.value["peak_memory_mib"],
        finished=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    )


def _attempt(job: Job, stage: Stage, inputs: dict[str, Artifact | Path], partial: Path) -> dict[str, Any]:
    """In the child: load, call, save, hash. Returns what the receipt needs."""
    arguments: dict[str, Any] = {
        name: value if isinstance(value, Artifact) else stage.inputs[name].load(value) for name, value in inputs.items()
    }
    loaded = {parameter: backend.load() for parameter, backend in _backends_of(job, stage).items()}
    if stage.config:
        arguments[stage.config[0]] = job.settings.sections[stage.name]
    with jobs_limited(job.settings.run.jobs):
        artifact = stage.function(**arguments, **loaded, **{stage.out: partial})
    if not isinstance(artifact, stage.makes):
        raise BlueprintError(
            f"stage {stage.name} returned {type(artifact).__name__}, not {stage.makes.__name__}",
            "a defect of the stage",
        )
    artifact.save(partial)
    clean_up(partial)
    fsync_tree(partial)
    return {
        "files": {name: record.model_dump() for name, record in describe_files(partial).items()},
        "backends": {
            backends.kind_of(stage.backends[parameter]): f"{backend.name} {backend.version}"
            for parameter, backend in loaded.items()
        },
        "peak_memory_mib": peak_memory_mib(),
    }


class EventLog:
    """Reporter: one JSON line per event, with its time."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def event(self, kind: str, fields: dict[str, Any]) -> None:
        if kind == "tick":
            return
        line = json.dumps({"time": round(time.time(), 3), "event": kind, **fields}, default=str)
        with self._path.open("a") as file:
            file.write(line + "\n")
