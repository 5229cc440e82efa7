"""Depth by MoGe-2, in an environment of its own; see `learned` and docs/learned_models.md."""

from __future__ import annotations

from blueprint.backends.reconstruction.checkpoints import MODELS
from blueprint.backends.reconstruction.learned import LearnedReconstructor


class ReconstructorMoge(LearnedReconstructor):
    """Photographs to objects by way of depth that MoGe-2 guesses."""

    name = "moge"
    model = MODELS["moge"]
