"""The Gemini articulator speaks the documented request of `models.generate_content` and checks every answer.

The client here stands for google-genai's: same call, same fields of the answer. The real service was not asked.
"""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from blueprint.backends.articulator_gemini import SCHEMA, ArticulatorGemini
from blueprint.core.backends import available, find
from blueprint.core.errors import BackendError, TransientError

GOOD = [{"name": "door", "kind": "door", "hinge": "left", "confidence": 0.9}]


class Models:
    """`client.models`: checks what a real one would refuse, then answers."""

    def __init__(self, text: str | None, error: Exception | None = None) -> None:
        self.text, self.error, self.asked = text, error, []

    def generate_content(self, *, model: str, contents: list[dict[str, Any]], config: dict[str, Any]) -> Any:
        if self.error is not None:
            raise self.error
        self.asked.append((model, contents, config))
        picture, words = contents[0]["parts"]
        assert picture["inline_data"]["mime_type"] == "image/png"
        assert isinstance(picture["inline_data"]["data"], bytes)
        assert isinstance(words["text"], str)
        assert config["response_mime_type"] == "application/json"
        assert config["response_schema"] is SCHEMA
        usage = SimpleNamespace(prompt_token_count=300, candidates_token_count=20)
        return SimpleNamespace(text=self.text, usage_metadata=usage)


class ApiError(Exception):
    """As `google.genai.errors.APIError`: carries the HTTP code."""

    def __init__(self, code: int) -> None:
        super().__init__(f"{code} refused")
        self.code = code


def gemini(text: str | None = None, error: Exception | None = None) -> ArticulatorGemini:
    return ArticulatorGemini(SimpleNamespace(models=Models(text, error)))


def test_answers_come_by_name() -> None:
    answers = gemini(json.dumps(GOOD)).inspect(b"png", "fridge", ["door", "drawer"])
    assert {name: (said.kind, said.hinge, said.confidence) for name, said in answers.items()} == {
        "door": ("door", "left", 0.9)
    }


def test_names_that_nobody_asked_for_are_dropped() -> None:
    rows = [*GOOD, {**GOOD[0], "name": "window"}]
    assert set(gemini(json.dumps(rows)).inspect(b"png", "fridge", ["door"])) == {"door"}


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "sorry",
        "{}x",
        "[1]",
        json.dumps([{**GOOD[0], "kind": "portal"}]),
        json.dumps([{**GOOD[0], "confidence": 7}]),
    ],
)
def test_answers_of_another_form_are_refused(text: str | None) -> None:
    with pytest.raises(BackendError, match="not what was asked"):
        gemini(text).inspect(b"png", "fridge", ["door"])


@pytest.mark.parametrize(
    ("code", "kind"), [(429, TransientError), (503, TransientError), (400, BackendError), (403, BackendError)]
)
def test_only_a_busy_service_is_tried_again(code: int, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        gemini(error=ApiError(code)).inspect(b"png", "fridge", ["door"])


def test_without_a_key_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GEMINI_API_KEY", raising=False)
    with pytest.raises(BackendError, match="no API key"):
        find("articulator", "gemini").load().inspect(b"png", "fridge", ["door"])
    assert "gemini" in available("articulator")
