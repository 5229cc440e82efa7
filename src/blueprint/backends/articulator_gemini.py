"""What the marked panels of a picture are, asked of a Gemini model through `google-genai`, with a structured answer.

Off unless the settings name it; needs $GEMINI_API_KEY. Not run against the real service by this project: the tests
speak the documented request and answer of `models.generate_content` with a client of their own.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field, ValidationError

from blueprint.core.artifact import Model
from blueprint.core.errors import BackendError, TransientError
from blueprint.core.report import metric

MODEL = "gemini-2.5-flash"
RETRIED = (408, 429, 500, 502, 503, 504)
PROMPT = (
    "The picture shows one side of an object, called {text!r}, seen straight from the front. Red rectangles mark flat "
    "panels; each has a name. Say for every name what the panel is: door (turns about an upright edge), flap (turns "
    "about a level edge), lid (covers the top), drawer (pulls out), slide (moves sideways) or none (does not move); "
    "on which of its edges the hinge is, as you see it in the picture (none for drawers and slides); and how sure you "
    "are, from 0 to 1. If you cannot tell, say so with a low number."
)


class PanelAnswer(Model):
    """What the model says of one marked panel."""

    name: str
    kind: Literal["door", "flap", "lid", "drawer", "slide", "none"]
    hinge: Literal["left", "right", "top", "bottom", "none"]
    confidence: float = Field(ge=0, le=1)


SCHEMA: dict[str, Any] = {  # the OpenAPI subset that `response_schema` takes
    "type": "ARRAY",
    "items": {
        "type": "OBJECT",
        "properties": {
            "name": {"type": "STRING"},
            "kind": {"type": "STRING", "enum": ["door", "flap", "lid", "drawer", "slide", "none"]},
            "hinge": {"type": "STRING", "enum": ["left", "right", "top", "bottom", "none"]},
            "confidence": {"type": "NUMBER"},
        },
        "required": ["name", "kind", "hinge", "confidence"],
    },
}


class ArticulatorGemini:
    """client: an object like `google.genai.Client`; made from the environment's key when first asked."""

    name = "gemini"
    version = "1"

    def __init__(self, client: Any = None) -> None:
        self._client = client

    def inspect(self, picture_png: bytes, text: str, names: Sequence[str]) -> dict[str, PanelAnswer]:
        """name -> answer, for the names asked that were answered.

        Raises BackendError without key or package, or when the answer is not what was asked for; TransientError when
        the service is busy.
        """
        client = self._client = self._client or _connect()
        try:
            answer = client.models.generate_content(
                model=MODEL,
                contents=[
                    {"role": "user", "parts": [
                        {"inline_data": {"mime_type": "image/png", "data": picture_png}},
                        {"text": PROMPT.format(text=text) + f" The names are: {', '.join(names)}."},
                    ]}
                ],
                config={"response_mime_type": "application/json", "response_schema": SCHEMA, "temperature": 0.0},
            )  # fmt: skip
        except Exception as error:  # whatever the package raises: its error tree is not importable without it
            kind = TransientError if getattr(error, "code", None) in RETRIED else BackendError
            raise kind(f"gemini: {error}", "check GEMINI_API_KEY, or unset articulation.model") from error
        usage = getattr(answer, "usage_metadata", None)
        metric("gemini_tokens_input", float(getattr(usage, "prompt_token_count", 0) or 0))
        metric("gemini_tokens_output", float(getattr(usage, "candidates_token_count", 0) or 0))
        return _read(getattr(answer, "text", None), names)


def _read(text: str | None, names: Sequence[str]) -> dict[str, PanelAnswer]:
    try:
        answers = [PanelAnswer.model_validate(row) for row in json.loads(text or "")]
    except (ValueError, TypeError, ValidationError) as error:
        raise BackendError(f"gemini: the answer is not what was asked for: {error}", "run again") from error
    return {answer.name: answer for answer in answers if answer.name in names}


def _connect() -> Any:
    key = os.environ.get("GEMINI_API_KEY")
    if not key:
        raise BackendError("gemini: no API key", "set GEMINI_API_KEY, or unset articulation.model")
    try:
        from google import genai  # pyright: ignore[reportMissingImports, reportAttributeAccessIssue]
    except ImportError as error:
        raise BackendError(
            "gemini: the package google-genai is missing", "pip install 'blueprint-pipeline[gemini]'"
        ) from error
    return genai.Client(api_key=key)
