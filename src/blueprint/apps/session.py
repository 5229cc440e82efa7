"""From what a user asked for to a job of the engine: the capture, the scene, the settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from blueprint.apps import settled
from blueprint.apps.outputs import publish
from blueprint.apps.source import source_of
from blueprint.apps.verdict import require_sound
from blueprint.core import backends, report, settings
from blueprint.core.artifact import Config
from blueprint.core.errors import InputError, SettingsError
from blueprint.core.run import Given, Job, plan, run
from blueprint.core.store import Scene
from blueprint.model.artifacts import Source
from blueprint.pipeline import STAGES
from blueprint.stages.recording import RecordingConfig
from blueprint.stages.workcell import WorkcellConfig

# setting outside [run] that names a backend -> its kind
NAMED = {"physics.estimator": "estimator", "articulation.model": "articulator", "tasks.proposer": "proposer"}


def open_job(given: Given, scene: Path, *, sets: Iterable[str], config: Path | None) -> Job:
    """The job that `blueprint run` does. Raises before any work if the capture or a setting is wrong."""
    source = given.artifact
    if isinstance(source, Source) and scene.absolute().is_relative_to(source.location):
        raise InputError(
            f"the scene directory {scene} lies inside the capture", "put it elsewhere: what a run makes is no capture"
        )
    chosen = settings.load(STAGES, scene=scene, config=config, sets=sets)
    settings.require_simulator(chosen)
    _require_named(chosen.sections)
    return Job(STAGES, given, Scene(scene), chosen)


def _require_named(sections: Mapping[str, Config]) -> None:
    """Raises SettingsError or BackendError for a backend, robot or camera in the settings that there is not."""
    for setting, kind in NAMED.items():
        section, _, key = setting.partition(".")
        config, known = sections.get(section), backends.available(kind)
        if config is not None and (name := getattr(config, key)) not in (
            type(config).model_fields[key].default,
            *known,
        ):
            raise SettingsError(f"{setting}: no {kind} {name!r}", f"there is: {', '.join(known)}; or leave it out")
    cell, recording = sections.get("workcell"), sections.get("recording")
    known = cell.cameras() if isinstance(cell, WorkcellConfig) else ()
    wanted = recording.cameras if isinstance(recording, RecordingConfig) else ()
    if unknown := [name for name in wanted if name not in known]:
        raise SettingsError(f"recording.cameras: no camera {unknown[0]!r}", f"there are: {', '.join(known)}")


def request_of(job: Job, sets: Iterable[str], config: Path | None) -> dict[str, Any]:
    """What `reopen` needs to look at the scene as its last run did."""
    source = job.given.artifact
    assert isinstance(source, Source)
    run = job.settings.run
    chosen = [f"run.{kind}={name}" for kind, name in (("simulator", run.simulator), ("renderer", run.renderer)) if name]
    return {
        "capture": source.location,
        "digest": source.digest,
        "sets": [*sets, *chosen],
        "config": str(config.absolute()) if config else None,
    }


def reopen(scene: Path, extra_sets: Iterable[str] = ()) -> Job:
    """The job of the scene's last run, as it would be done now. A capture that is gone counts as unchanged."""
    store = Scene.existing(scene)
    request = store.request()
    config = Path(request["config"]) if request["config"] else None
    chosen = settings.load(STAGES, scene=scene, config=config, environ={}, sets=[*request["sets"], *extra_sets])
    if Path(request["capture"]).exists():
        given = source_of(Path(request["capture"]))
    else:
        given = Given(Source(location=request["capture"], digest=request["digest"]), request["digest"])
    return Job(STAGES, given, store, chosen)


def run_and_publish(job: Job, request: dict[str, Any], until: str | None, print_of_all: str) -> list[Path]:
    """Run under the scene's lease and bring outputs/ up to date, also when a stage fails; returns the outputs.

    print_of_all: see `settled`. Raises the failed stage's error; outputs then hold what still agrees with what was
    asked for. Raises InfeasibleError when all exists but does not hold.
    """
    if job.settings.run.renderer == settings.MOCK:
        report.warn(
            "MOCK DATA: capture mode mock_dev makes up the pictures. All that is made is marked MOCK, is unsuitable "
            "for training, and no policy releases it",
            cure="for data: SENSOR_CAPTURE_MODE=mujoco",
        )
    with job.scene.lease():
        settled.forget(job.scene)
        job.scene.set_request(request)
        try:
            steps = run(job, until)
        finally:
            outputs = publish(job.scene, plan(job))
        require_sound(steps)
        settled.remember(job.scene, print_of_all, [step.receipt for step in steps if step.receipt], outputs)
    return outputs
