"""Certificate: what was captured, what ran, what was measured, and what the data may be used for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import Field

from blueprint import verify
from blueprint.core.artifact import Artifact, Config
from blueprint.core.errors import IntegrityError
from blueprint.core.stage import stage
from blueprint.core.store import Receipt, damage, read_receipt
from blueprint.model.artifacts import (
    Articulation,
    Assets,
    Capture,
    Certificate,
    Dataset,
    Episodes,
    Library,
    Licences,
    Physics,
    Quality,
    Reconstruction,
    Recording,
    SimScene,
    TaskSet,
    Workcell,
)
from blueprint.model.certificate import FrameRange, Provenance, StageRun
from blueprint.model.episode import RecordedEpisode
from blueprint.stages.certificate import checks, rule
from blueprint.stages.certificate import episodes as single

SCHEMA = "blueprint/certificate/2"
FAILURES_FILE = "failures.json"
ORDER = (
    "capture",
    "reconstruction",
    "assets",
    "articulation",
    "physics",
    "simscene",
    "workcell",
    "taskset",
    "library",
    "licences",
    "episodes",
    "recording",
    "quality",
    "dataset",
)


class CertificateConfig(Config):
    """Bounds of the checks.

    support_residual_m: RMS of the table plane; depth_error_m: median of an object's surface against the depth image;
    silhouette_iou: an object's outline against its mask; drift_m, drift_deg, penetration_m: of the settle test;
    first_attempt, within_retries: share of successful episodes
    """

    support_residual_m: float = Field(default=0.008, gt=0)
    depth_error_m: float = Field(default=0.010, gt=0)
    silhouette_iou: float = Field(default=0.75, ge=0, le=1)
    drift_m: float = Field(default=0.010, gt=0)
    drift_deg: float = Field(default=5.0, gt=0)
    penetration_m: float = Field(default=0.001, gt=0)
    first_attempt: float = Field(default=0.85, ge=0, le=1)
    within_retries: float = Field(default=0.95, ge=0, le=1)


@stage(version="3", reads_receipts=True)
def certificate(
    capture: Capture,
    reconstruction: Reconstruction,
    assets: Assets,
    articulation: Articulation,
    physics: Physics,
    simscene: SimScene,
    workcell: Workcell,
    taskset: TaskSet,
    library: Library,
    licences: Licences,
    episodes: Episodes,
    recording: Recording,
    quality: Quality,
    dataset: Dataset,
    cfg: CertificateConfig,
    out: Path,
) -> Certificate:
    """Raises IntegrityError when a receipt is missing, a file is not what its receipt says, or the artifacts are not
    of one lineage. A failed check is no error: it is written down and lowers the suitability."""
    made: tuple[Artifact, ...] = (
        capture, reconstruction, assets, articulation, physics, simscene, workcell, taskset, library, licences,
        episodes, recording, quality, dataset,
    )  # fmt: skip
    receipts = {name: verified_receipt(artifact) for name, artifact in zip(ORDER, made, strict=True)}
    require_one_lineage(receipts)
    scene = (
        *checks.of_reconstruction(reconstruction, cfg.support_residual_m),
        *checks.of_assets(assets, cfg.depth_error_m, cfg.silhouette_iou),
        *checks.of_articulation(articulation),
        *checks.of_physics(physics, simscene, cfg.drift_m, cfg.drift_deg, cfg.penetration_m),
        *checks.of_episodes(workcell, taskset, episodes, cfg.first_attempt, cfg.within_retries),
        *checks.not_checked(),
    )
    measurements = (*scene, *checks.of_quality(quality), *checks.of_dataset(episodes, recording, dataset))
    sensors = rule.sensor_source(recording.sensor_source, receipts["recording"].backends.get("renderer", ""))
    engine = receipts["episodes"].backends.get("simulator", "unknown")
    terms = {term.name: term.text for one in quality.episodes for term in one.terms}
    batch = single.Batch(capture.origin, sensors, engine, measurements, frozenset(terms))
    shared: dict[str, Any] = {
        "scene": capture.name,
        "provenance": provenance(capture, receipts["capture"]),
        "terms": terms,
        "inputs": licences.inputs,
        "commercial_use": licences.commercial_use,
        "stages": tuple(stage_run(receipts[name]) for name in ORDER),
        "warnings": warnings(capture, licences, assets),
    }
    files = receipts["dataset"]
    result = certified(shared, batch, episodes, recording.episodes, quality, subject(dataset.folder, files))
    if dataset.failures is not None:
        batch = replace(batch, measurements=(*scene, *checks.of_failures(episodes, recording, dataset)))
        failed = certified(shared, batch, episodes, recording.failures, None, subject(dataset.failures, files))
        write(failed, out / FAILURES_FILE)
        result = result.model_copy(update={"failures": FAILURES_FILE})
    write(result, out / result.file)
    return result


def certified(
    shared: dict[str, Any],
    batch: single.Batch,
    episodes: Episodes,
    recorded: Sequence[RecordedEpisode],
    quality: Quality | None,
    files: dict[str, str],
) -> Certificate:
    """The certificate of one dataset. shared: what those of all datasets of a run say; quality: None = the episodes are
    failed attempts, which nobody rates and no policy but development takes; files: of the dataset, with SHA-256"""
    rated = [None] * len(recorded) if quality is None else quality.episodes
    score = None if quality is None else quality.score
    frames = sum(one.frames for one in recorded)
    verdict = rule.suitability(
        origin=batch.origin, sensor_source=batch.sensors, physics_backend=batch.engine, episodes=len(recorded),
        quality=score, measurements=batch.measurements,
    )  # fmt: skip
    failed = ("its episodes are failed attempts, not demonstrations",) if quality is None else ()
    made = Certificate(
        **shared,
        contents="failed attempts" if failed else "demonstrations",
        subject=files,
        sensor_source=batch.sensors,
        physics_backend=batch.engine,
        frames=frames_of(frames, batch.sensors, batch.engine),
        frame_count=frames,
        physics_verified=not failed and rule.physics_verified(batch.engine, len(recorded), batch.measurements),
        quality_score=score,
        episodes=tuple(single.certified(batch, episodes, recorded, rated)),
        training_suitability=rule.lower(verdict.level, "development_only") if failed else verdict.level,
        reasons=(*failed, *verdict.reasons),
        measurements=tuple(batch.measurements),
        policies=(),
    )
    said = made.model_dump(mode="json")
    return made.model_copy(update={"policies": tuple(n for n in verify.POLICIES if not verify.objections(said, n))})


def write(content: Certificate, file: Path) -> None:
    values = {"schema": SCHEMA, **content.model_dump(mode="json", exclude={"file"})}
    file.write_text(json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def verified_receipt(artifact: Artifact) -> Receipt:
    """Raises IntegrityError when there is none or a file differs from it."""
    receipt = read_receipt(artifact.root)
    found = damage(artifact.root, receipt, full=True)
    if found:
        raise IntegrityError(
            f"{receipt.stage}: {'; '.join(found[:3])}", f"delete {artifact.root} and run again: it is made anew"
        )
    return receipt


def frames_of(count: int, sensors: str, engine: str) -> tuple[FrameRange, ...]:
    """One recording by one renderer makes a dataset: one range."""
    return (FrameRange(first_frame=0, last_frame=count - 1, sensor_source=sensors, physics_backend=engine),)


def subject(folder: str, receipt: Receipt) -> dict[str, str]:
    """Every file of a dataset in this folder of the artifact, by its name below it, with its SHA-256."""
    inside = f"{folder}/"
    return {
        name.removeprefix(inside): record.sha256
        for name, record in sorted(receipt.files.items())
        if name.startswith(inside)
    }


def require_one_lineage(receipts: dict[str, Receipt]) -> None:
    """Every artifact must have been made from the very ones that are certified. Raises IntegrityError."""
    for name, receipt in receipts.items():
        for parameter, digest in receipt.parts.inputs.items():
            if parameter in receipts and receipts[parameter].files_digest != digest:
                raise IntegrityError(
                    f"{name} was made from another {parameter} than the one to be certified", "run again: blueprint run"
                )


def provenance(capture: Capture, receipt: Receipt) -> Provenance:
    return Provenance(
        capture=capture.name,
        kind=capture.kind,
        frames=len(capture.frames),
        origin=capture.origin,
        source_digest=receipt.parts.inputs.get("source", ""),
    )


def stage_run(receipt: Receipt) -> StageRun:
    return StageRun(
        stage=receipt.stage,
        key=receipt.key,
        backend=receipt.backends,
        files_digest=receipt.files_digest,
        version=receipt.parts.version,
        tools=receipt.parts.tools,
        settings=receipt.parts.config,
    )


def warnings(capture: Capture, licences: Licences, assets: Assets) -> tuple[str, ...]:
    """What a reader has to know although no check failed."""
    found = []
    if rule.is_procedural(capture.origin):
        found.append("capture is procedural, not a real scene")
    if not capture.licence:
        found.append("the capture states no licence: clear the rights before sharing data made from it")
    if not capture.origin:
        found.append("the capture does not say where it comes from")
    said = {"no": "not for commercial use", "unknown": "whether commercial use is permitted is unknown"}
    found += [
        f"{said[one.commercial]}: {one.what} {one.name}"
        for one in licences.inputs
        if one.licence and one.commercial in said
    ]
    found += [f"object {name} was dropped: {why}" for name, why in sorted(assets.dropped.items())]
    return tuple(found)
