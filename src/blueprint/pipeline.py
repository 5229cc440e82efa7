"""The product, in order. Each stage's signature says what it needs and what it makes."""

from __future__ import annotations

from blueprint.core.stage import Stage
from blueprint.stages.assets import assets
from blueprint.stages.capture import capture
from blueprint.stages.physics import physics
from blueprint.stages.reconstruction import reconstruction
from blueprint.stages.simscene import simscene
from blueprint.stages.workcell import workcell

STAGES: tuple[Stage, ...] = (
    capture,
    reconstruction,
    assets,
    physics,
    simscene,
    workcell,
)
