"""Articulation: what opens and slides, cut into parts with joints."""

from __future__ import annotations

import shutil
from pathlib import Path

from blueprint.core.artifact import Config
from blueprint.core.stage import stage
from blueprint.model.artifacts import Articulation, Assets


class ArticulationConfig(Config):
    """Settings section `articulation`."""


@stage(version="1")
def articulation(assets: Assets, cfg: ArticulationConfig, out: Path) -> Articulation:
    """Joints that the assets came with are kept."""
    shutil.copytree(assets.path("objects"), out / "objects", dirs_exist_ok=True)
    return Articulation(objects=assets.objects)
