"""Depth by Depth Anything 3, in an environment of its own; see `learned` and docs/learned_models.md."""

from __future__ import annotations

from blueprint.backends.reconstruction.checkpoints import MODELS
from blueprint.backends.reconstruction.learned import LearnedReconstructor


class ReconstructorDepthanything(LearnedReconstructor):
    """Photographs to objects by way of depth that Depth Anything 3 guesses."""

    name = "depthanything"
    model = MODELS["depthanything"]
