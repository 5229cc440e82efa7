"""Depth by VGGT, in an environment of its own; see `learned` and docs/learned_models.md."""

from __future__ import annotations

from blueprint.backends.reconstruction.checkpoints import MODELS
from blueprint.backends.reconstruction.learned import LearnedReconstructor


class ReconstructorVggt(LearnedReconstructor):
    """Photographs to objects by way of depth that VGGT guesses."""

    name = "vggt"
    model = MODELS["vggt"]
