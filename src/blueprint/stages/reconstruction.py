"""Reconstruction: where the support, the cameras and the objects are."""

from __future__ import annotations

from pathlib import Path

from blueprint.backends.protocols import Reconstructor, ReconstructorConfig
from blueprint.core.stage import stage
from blueprint.model.artifacts import Capture, Reconstruction
from blueprint.model.edit import Edit
from blueprint.stages.edits import edited


class ReconstructionConfig(ReconstructorConfig):
    """The fields that every reconstructor reads, and `edits`: a person's corrections, applied in order to what it found
    (`blueprint edit` writes them to the scene's edits.json)."""

    edits: tuple[Edit, ...] = ()


@stage(version="1")
def reconstruction(
    capture: Capture, reconstructor: Reconstructor, cfg: ReconstructionConfig, out: Path
) -> Reconstruction:
    """Raises InputError when no table is found or nothing stands on it."""
    return edited(reconstructor.reconstruct(capture, cfg, out), cfg.edits, out)
