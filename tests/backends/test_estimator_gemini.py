"""The Gemini estimator against a client that answers as google-genai's does."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from bench.scenes.rooms import Room

from blueprint.backends.estimator_gemini import MODEL, EstimatorGemini
from blueprint.backends.simulator_mujoco import SimulatorMujoco
from blueprint.core.errors import BackendError, TransientError
from blueprint.model.materials import names
from blueprint.stages.physics import Override, PhysicsConfig, physics


class APIError(Exception):
    """As google.genai.errors.APIError: `code` is the HTTP status."""

    def __init__(self, code: int) -> None:
        super().__init__(f"{code} RESOURCE_EXHAUSTED")
        self.code = code


class Models:
    """Checks every request as the service does, then answers or raises what it was told to."""

    def __init__(self, answer: Any) -> None:
        self.answer, self.asked = answer, 0

    def generate_content(self, *, model: str, contents: list[Any], config: dict[str, Any]) -> Any:
        self.asked += 1
        assert model == MODEL
        picture, question = contents[0]["parts"]
        assert picture["inline_data"]["data"].startswith(b"\x89PNG")
        assert "material" in question["text"]
        assert set(config["response_schema"]["required"]) == set(config["response_schema"]["properties"])
        assert "steel" in config["response_schema"]["properties"]["material"]["enum"]
        if isinstance(self.answer, Exception):
            raise self.answer
        usage = types.SimpleNamespace(prompt_token_count=1000, candidates_token_count=40, thoughts_token_count=None)
        return types.SimpleNamespace(text=self.answer, usage_metadata=usage)


def said(material: str, confidence: float = 0.9) -> str:
    return json.dumps({"material": material, "confidence": confidence, "reason": "it shines"})


def estimator(answer: Any) -> EstimatorGemini:
    return EstimatorGemini(types.SimpleNamespace(models=Models(answer)))


PNG = b"\x89PNG\r\n\x1a\n"


def test_an_answer_carries_its_cost() -> None:
    made = estimator(said("steel")).estimate("thing", "", PNG, names())
    assert (made.material, made.tokens_in, made.tokens_out) == ("steel", 1000, 40)
    assert made.cost_usd == pytest.approx(1000 * 0.3e-6 + 40 * 2.5e-6)


@pytest.mark.parametrize("code", [429, 503])
def test_an_overload_may_be_tried_again(code: int) -> None:
    with pytest.raises(TransientError):
        estimator(APIError(code)).estimate("thing", "", PNG, names())


@pytest.mark.parametrize("answer", [APIError(403), None, "", "no json", "{}", '{"material": 3}', "[]"])
def test_no_usable_answer_is_an_error_and_never_a_guess(answer: Any) -> None:
    with pytest.raises(BackendError) as caught:
        estimator(answer).estimate("thing", "", PNG, names())
    assert caught.value.hint


def test_without_key_or_package_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GEMINI_API_KEY", "GOOGLE_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(BackendError, match="key"):
        EstimatorGemini().estimate("thing", "", PNG, names())
    monkeypatch.setenv("GEMINI_API_KEY", "x")
    monkeypatch.setitem(sys.modules, "google", None)
    with pytest.raises(BackendError, match="google-genai"):
        EstimatorGemini().estimate("thing", "", PNG, names())


def test_the_stage_believes_a_sure_answer_but_the_user_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = Models(said("steel"))
    monkeypatch.setattr(EstimatorGemini, "_connected", lambda self: types.SimpleNamespace(models=models))
    room = Room(tmp_path, np.random.default_rng(0))
    for x in (-0.2, 0.2):
        room.put("thing", trimesh.creation.box((0.1, 0.1, 0.1)), (x, 0.0, 0.0))
    articulation, reconstruction = room.finish()
    (tmp_path / "physics").mkdir()
    cfg = PhysicsConfig(estimator="gemini", overrides={"thing_1": Override(material="wood")})
    made = physics(articulation, reconstruction, SimulatorMujoco(), cfg, tmp_path / "physics")
    assert [item.material for item in made.objects] == ["steel", "wood"]
    assert "gemini" in made.objects[0].material_source
    assert models.asked == 1, "nobody is asked what the user has said"
    record = json.loads((tmp_path / "physics/estimates.json").read_text())
    assert record["cost_usd"] == pytest.approx(4e-4)


def test_an_unsure_answer_leaves_it_to_the_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = Models(said("steel", 0.2))
    monkeypatch.setattr(EstimatorGemini, "_connected", lambda self: types.SimpleNamespace(models=models))
    room = Room(tmp_path, np.random.default_rng(0))
    room.put("cardboard box", trimesh.creation.box((0.1, 0.1, 0.1)), (0.0, 0.0, 0.0))
    articulation, reconstruction = room.finish()
    (tmp_path / "physics").mkdir()
    made = physics(
        articulation, reconstruction, SimulatorMujoco(), PhysicsConfig(estimator="gemini"), tmp_path / "physics"
    )
    assert made.objects[0].material == "boxed goods"
