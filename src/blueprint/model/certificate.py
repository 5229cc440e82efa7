"""What a certificate says."""

from __future__ import annotations

from typing import Literal

from pydantic import JsonValue

from blueprint.core.artifact import Model
from blueprint.model.episode import Check
from blueprint.model.quality import Group

Suitability = Literal["unsuitable", "development_only", "physics_verified", "production_training"]
Commercial = Literal["yes", "no", "unknown"]


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
    """Where the scene comes from. source_digest: of the user's folder as it was read."""

    capture: str
    kind: str
    frames: int
    origin: str
    source_digest: str


class LicensedInput(Model):
    """Something that the data was made from, and on what terms.

    licence: as it was stated, "" = not at all; spdx: the SPDX expression that it is, "" = none that we know
    commercial: whether the terms permit commercial use; source: who says so, or where it came from
    """

    what: Literal["capture", "asset", "checkpoint", "service", "robot", "texture"]
    name: str
    licence: str
    spdx: str = ""
    commercial: Commercial
    source: str


class TermValue(Model):
    """A quality term of one episode, see `model.quality.Term`. score: 1 at `good` and beyond, 0 at `bad`."""

    measured: float
    unit: str
    good: float
    bad: float
    score: float


class EpisodeCertificate(Model):
    """What holds for one episode of the dataset.

    episode: its index in the dataset; source: index of the `EpisodeRecord`; look: among its siblings; attempt: which
    of the record's attempts, None = the one that succeeded; frames: first and last frame in the dataset
    cause: why it failed; verified: a physics engine ran it, and its success follows from `checks`
    checks: the judge's conditions; terms: quality terms by name, groups and score as in `EpisodeQuality`
    training_suitability: what it would reach alone; reasons: why not higher, beyond those of the whole dataset
    not_checked: ids, explained among the certificate's measurements or, of terms, in its `terms`
    """

    episode: int
    source: int
    look: int
    attempt: int | None
    task: str
    first_frame: int
    last_frame: int
    sensor_source: str
    physics_backend: str
    success: bool
    cause: str | None
    verified: bool
    attempts: int
    checks: tuple[Check, ...]
    terms: dict[str, TermValue]
    groups: dict[Group, float]
    score: float | None
    training_suitability: Suitability
    reasons: tuple[str, ...]
    not_checked: tuple[str, ...]
