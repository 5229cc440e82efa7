"""What a vision model says of an object's panels, asked once per side."""

from __future__ import annotations

from pathlib import Path

from blueprint.core.backends import find
from blueprint.formats.obj import TexturedMesh
from blueprint.stages.articulation.detector import Opinion


def opinion_of(model: str, text: str, mesh: TexturedMesh, texture: Path) -> Opinion | None:
    if not model:
        return None
    find("articulator", model)
    return None
