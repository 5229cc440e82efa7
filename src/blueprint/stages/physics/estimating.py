"""What objects are made of, when the settings name someone to ask."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from blueprint.core import backends
from blueprint.core.files import write_json
from blueprint.core.report import log, metric
from blueprint.model.artifacts import Articulation
from blueprint.model.materials import Material, MaterialEstimate, named, names
from blueprint.stages.physics.config import PhysicsConfig

RECORD = "estimates.json"
LEAST_CONFIDENCE = 0.5  # below this the rules decide


class Estimator(Protocol):
    """Says what an object is made of. `kind` = "estimator"; ours: gemini."""

    name: str
    version: str

    def estimate(self, text: str, category: str, picture: bytes, materials: tuple[str, ...]) -> MaterialEstimate:
        """picture: PNG; the answer is one of `materials`. Raises BackendError when no answer can be had."""
        ...


def estimates(articulation: Articulation, cfg: PhysicsConfig, out: Path) -> dict[str, tuple[Material, str]]:
    """Material and its source by object name, for those the estimator is sure of; {} when none is named.

    Objects whose material the user gave are not asked about. Answers and their cost are kept in estimates.json.
    """
    if not cfg.estimator:
        return {}
    estimator: Estimator = backends.find("estimator", cfg.estimator).load()
    found: dict[str, tuple[Material, str]] = {}
    answers: dict[str, MaterialEstimate] = {}
    for asset in articulation.objects:
        if asset.name in cfg.overrides and cfg.overrides[asset.name].material is not None:
            continue
        picture = articulation.path(asset.texture).read_bytes()
        answer = estimator.estimate(asset.text, asset.category, picture, names())
        answers[asset.name] = answer
        material = named(answer.material)
        if material is None or answer.confidence < LEAST_CONFIDENCE:
            doubt = f"{answer.material}, {answer.confidence:.2f}"
            log(f"{asset.name}: {estimator.name} is not sure ({doubt}); the rules decide")
            continue
        source = f"{estimator.name} {answer.model}, confidence {answer.confidence:.2f}: {answer.reason}"
        found[asset.name] = (material, source)
    cost = sum(answer.cost_usd for answer in answers.values())
    metric("estimator cost", cost, "USD")
    record = {name: answer.model_dump(mode="json") for name, answer in answers.items()}
    write_json(
        out / RECORD, {"estimator": f"{estimator.name} {estimator.version}", "cost_usd": cost, "objects": record}
    )
    return found
