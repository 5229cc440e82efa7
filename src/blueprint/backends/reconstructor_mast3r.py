"""Depth by MASt3R or DUSt3R, in an environment of its own; see `learned` and docs/learned_models.md."""

from __future__ import annotations

from blueprint.backends.reconstruction.checkpoints import MODELS
from blueprint.backends.reconstruction.learned import LearnedReconstructor


class ReconstructorMast3r(LearnedReconstructor):
    """Photographs to objects by way of depth that MASt3R or DUSt3R guesses."""

    name = "mast3r"
    model = MODELS["mast3r"]
