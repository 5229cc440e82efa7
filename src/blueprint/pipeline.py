"""The product, in order. Each stage's signature says what it needs and what it makes."""

from __future__ import annotations

from blueprint.core.stage import Stage
from blueprint.stages.assets import assets
from blueprint.stages.capture import capture
from blueprint.stages.reconstruction import reconstruction

STAGES: tuple[Stage, ...] = (
    capture,
    reconstruction,
    assets,
)
