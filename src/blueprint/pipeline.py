"""The product, in order. Each stage's signature says what it needs and what it makes."""

from __future__ import annotations

from blueprint.core.stage import Stage
from blueprint.stages.articulation import articulation
from blueprint.stages.assets import assets
from blueprint.stages.capture import capture
from blueprint.stages.certificate import certificate
from blueprint.stages.dataset import dataset
from blueprint.stages.episodes import episodes
from blueprint.stages.library import library
from blueprint.stages.licences import licences
from blueprint.stages.physics import physics
from blueprint.stages.quality import quality
from blueprint.stages.reconstruction import reconstruction
from blueprint.stages.recording import recording
from blueprint.stages.report import report
from blueprint.stages.simscene import simscene
from blueprint.stages.tasks import tasks
from blueprint.stages.workcell import workcell

STAGES: tuple[Stage, ...] = (
    capture,
    reconstruction,
    assets,
    articulation,
    physics,
    simscene,
    workcell,
    tasks,
    library,
    licences,
    episodes,
    recording,
    quality,
    dataset,
    certificate,
    report,
)
