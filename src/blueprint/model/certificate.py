"""What a certificate says."""

from __future__ import annotations

from typing import Literal

from pydantic import JsonValue

from blueprint.core.artifact import Model

Suitability = Literal["unsuitable", "development_only", "physics_verified", "production_training"]


class Measurement(Model):
    """One check of the certificate: what was measured against which bound, by which stage.

    scope: `measured` by a run of the thing itself, `inferred` from something else, `not_checked`
    """

    id: str
    text: str
    measured: float | None
    unit: str
    bound: float | None
    comparison: Literal["<=", ">=", "==", ""]
    passed: bool | None
    scope: Literal["measured", "inferred", "not_checked"]
    stage: str


class FrameRange(Model):
    """Frames of the dataset, both ends included, and what made them, from the receipts of what ran."""

    first_frame: int
    last_frame: int
    sensor_source: str
    physics_backend: str


class StageRun(Model):
    """What a receipt says of one stage, without its clock: an artifact holds no times.

    backend: kind -> name and version of what ran; tools: package -> version; settings: the stage's section
    """

    stage: str
    key: str
    backend: dict[str, str]
    files_digest: str
    version: str = ""
    tools: dict[str, str]
    settings: dict[str, JsonValue]


class Provenance(Model):
    """Where the scene and the robot come from. source_digest: of the user's folder as it was read."""

    capture: str
    kind: str
    frames: int
    origin: str
    licence: str
    source_digest: str
    robot: str
    robot_source: str
    robot_licence: str
