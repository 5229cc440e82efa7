"""Reconstruction: where the support, the cameras and the objects are."""

from __future__ import annotations

from pathlib import Path

from blueprint.backends.protocols import Reconstructor, ReconstructorConfig
from blueprint.core.stage import stage
from blueprint.model.artifacts import Capture, Reconstruction


class ReconstructionConfig(ReconstructorConfig):
    """Settings section `reconstruction`; the fields are those every reconstructor reads."""


@stage(version="1")
def reconstruction(
    capture: Capture, reconstructor: Reconstructor, cfg: ReconstructionConfig, out: Path
) -> Reconstruction:
    """Raises InputError when no table is found or nothing stands on it."""
    return reconstructor.reconstruct(capture, cfg, out)
