"""Certificate: what was captured, what ran, what was measured, and what the data may be used for."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from pydantic import Field

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
        capture, reconstruction, assets, articulation, physics, simscene, workcell, taskset, licences, episodes,
        recording, quality, dataset,
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
    terms = single.term_texts(quality)
    batch = single.Batch(capture.origin, sensors, engine, measurements, frozenset(terms))
    verdict = rule.suitability(
        origin=capture.origin, sensor_source=sensors, physics_backend=engine, episodes=dataset.episodes,
        quality=quality.score, measurements=measurements,
    )  # fmt: skip
    result = Certificate(
        failures=None if dataset.failures is None else FAILURES_FILE,
        scene=capture.name,
        provenance=provenance(capture, receipts["capture"], workcell),
        subject=subject(dataset.folder, receipts["dataset"]),
        sensor_source=sensors,
        physics_backend=engine,
        frames=frames_of(dataset.frames, sensors, engine),
        frame_count=dataset.frames,
        physics_verified=rule.physics_verified(engine, dataset.episodes, measurements),
        quality_score=quality.score,
        episodes=tuple(single.certified(batch, episodes, recording.episodes, quality.episodes)),
        terms=terms,
        inputs=licences.inputs,
        commercial_use=licences.commercial_use,
        training_suitability=verdict.level,
        reasons=verdict.reasons,
        measurements=measurements,
        stages=tuple(stage_run(receipts[name]) for name in ORDER),
        warnings=warnings(capture, licences, assets),
    )
    write(result, out / result.file)
    if dataset.failures is not None:
        batch = replace(batch, measurements=(*scene, *checks.of_failures(episodes, recording, dataset)))
        files = subject(dataset.failures, receipts["dataset"])
        write(of_failures(result, batch, episodes, recording, files), out / FAILURES_FILE)
    return result


def of_failures(
    made: Certificate, batch: single.Batch, episodes: Episodes, recording: Recording, files: dict[str, str]
) -> Certificate:
    """The certificate of the attempts that failed: nothing in it is verified, and no policy but development takes it.

    made: the demonstrations' certificate; files: of the failures' dataset
    """
    frames = sum(one.frames for one in recording.failures)
    verdict = batch.verdict(None, ())
    return made.model_copy(
        update={
            "failures": None,
            "contents": "failed attempts",
            "subject": files,
            "frames": frames_of(frames, batch.sensors, batch.engine),
            "frame_count": frames,
            "physics_verified": False,
            "quality_score": None,
            "episodes": tuple(single.certified(batch, episodes, recording.failures, [None] * len(recording.failures))),
            "training_suitability": rule.lower(verdict.level, "development_only"),
            "reasons": ("its episodes are failed attempts, not demonstrations", *verdict.reasons),
            "measurements": tuple(batch.measurements),
        }
    )


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


def provenance(capture: Capture, receipt: Receipt, workcell: Workcell) -> Provenance:
    return Provenance(
        capture=capture.name,
        kind=capture.kind,
        frames=len(capture.frames),
        origin=capture.origin,
        source_digest=receipt.parts.inputs.get("source", ""),
        robot=workcell.said_of_robots("title"),
        robot_source=workcell.said_of_robots("source"),
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
