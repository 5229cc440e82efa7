"""Certificate: what was captured, what ran, what was measured, and what the data may be used for."""

from __future__ import annotations

import json
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

SCHEMA = "blueprint/certificate/1"
ORDER = (
    "capture",
    "reconstruction",
    "assets",
    "articulation",
    "physics",
    "simscene",
    "workcell",
    "taskset",
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


@stage(version="2", reads_receipts=True)
def certificate(
    capture: Capture,
    reconstruction: Reconstruction,
    assets: Assets,
    articulation: Articulation,
    physics: Physics,
    simscene: SimScene,
    workcell: Workcell,
    taskset: TaskSet,
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
        capture, reconstruction, assets, articulation, physics, simscene, workcell, taskset, episodes, recording,
        quality, dataset,
    )  # fmt: skip
    receipts = {name: verified_receipt(artifact) for name, artifact in zip(ORDER, made, strict=True)}
    require_one_lineage(receipts)
    measurements = (
        *checks.of_reconstruction(reconstruction, cfg.support_residual_m),
        *checks.of_assets(assets, cfg.depth_error_m, cfg.silhouette_iou),
        *checks.of_articulation(articulation),
        *checks.of_physics(physics, simscene, cfg.drift_m, cfg.drift_deg, cfg.penetration_m),
        *checks.of_episodes(workcell, taskset, episodes, cfg.first_attempt, cfg.within_retries),
        *checks.of_quality(quality),
        *checks.of_dataset(episodes, recording, dataset),
        *checks.not_checked(),
    )
    sensors = rule.sensor_source(recording.sensor_source, receipts["recording"].backends.get("renderer", ""))
    engine = receipts["episodes"].backends.get("simulator", "unknown")
    verdict = rule.suitability(
        origin=capture.origin,
        sensor_source=sensors,
        physics_backend=engine,
        episodes=dataset.episodes,
        quality=quality.score,
        measurements=measurements,
    )
    result = Certificate(
        scene=capture.name,
        provenance=provenance(capture, receipts["capture"], workcell),
        subject=subject(dataset, receipts["dataset"]),
        sensor_source=sensors,
        physics_backend=engine,
        frames=frames_of(dataset, sensors, engine),
        frame_count=dataset.frames,
        physics_verified=rule.physics_verified(engine, dataset.episodes, measurements),
        quality_score=quality.score,
        episode_grades=tuple(one.grade for one in quality.episodes),
        training_suitability=verdict.level,
        reasons=verdict.reasons,
        measurements=measurements,
        stages=tuple(stage_run(receipts[name]) for name in ORDER),
        warnings=warnings(capture, reconstruction, assets),
    )
    content = {"schema": SCHEMA, **result.model_dump(mode="json", exclude={"file"})}
    (out / result.file).write_text(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    return result


def verified_receipt(artifact: Artifact) -> Receipt:
    """Raises IntegrityError when there is none or a file differs from it."""
    receipt = read_receipt(artifact.root)
    found = damage(artifact.root, receipt, full=True)
    if found:
        raise IntegrityError(
            f"{receipt.stage}: {'; '.join(found[:3])}", f"delete {artifact.root} and run again: it is made anew"
        )
    return receipt


def frames_of(dataset: Dataset, sensors: str, engine: str) -> tuple[FrameRange, ...]:
    """One recording by one renderer makes a dataset: one range."""
    last = dataset.frames - 1
    return (FrameRange(first_frame=0, last_frame=last, sensor_source=sensors, physics_backend=engine),)


def subject(dataset: Dataset, receipt: Receipt) -> dict[str, str]:
    """Every file of the dataset, by its name below the dataset's root, with its SHA-256."""
    inside = f"{dataset.folder}/"
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
        licence=capture.licence,
        source_digest=receipt.parts.inputs.get("source", ""),
        robot=workcell.said_of_robots("title"),
        robot_source=workcell.said_of_robots("source"),
        robot_licence=workcell.said_of_robots("licence"),
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


def warnings(capture: Capture, reconstruction: Reconstruction, assets: Assets) -> tuple[str, ...]:
    """What a reader has to know although no check failed."""
    found = []
    if rule.is_procedural(capture.origin):
        found.append("capture is procedural, not a real scene")
    if not capture.licence:
        found.append("the capture states no licence: clear the rights before sharing data made from it")
    if not capture.origin:
        found.append("the capture does not say where it comes from")
    barred = sorted(name for name, commercial in reconstruction.licences.items() if not commercial)
    found += [f"not for commercial use: {name}" for name in barred]
    found += [f"object {name} was dropped: {why}" for name, why in sorted(assets.dropped.items())]
    return tuple(found)
