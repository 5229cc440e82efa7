"""What objects are made of, by Gemini: one request per object, a structured answer, its cost recorded.

Needs the extra `gemini` (google-genai) and an API key in GEMINI_API_KEY or GOOGLE_API_KEY; never used unless
`physics.estimator = "gemini"` says so. The picture and the name of each object leave the machine.
"""

from __future__ import annotations

import json
import os
from importlib import metadata
from typing import Any

from pydantic import ValidationError

from blueprint.core.errors import BackendError, TransientError
from blueprint.model.materials import MaterialEstimate

MODEL = "gemini-2.5-flash"
USD_PER_MILLION = (0.30, 2.50)  # input, output tokens of that model: Google's price list of 2025, ai.google.dev/pricing
TRANSIENT = (408, 429, 500, 502, 503, 504)
NONE_OF_THESE = "none of these"
TIMEOUT_MS = 60_000

PROMPT = """The picture shows the surface of one object, as a texture or a photograph. Its name: {text!r}. Its \
category: {category!r}. Which material of the list describes the whole object best, contents included? Answer \
{none!r} if none does. confidence: 0..1, how sure you are; reason: at most 20 words."""


class EstimatorGemini:
    """client: as google.genai.Client makes it; None = made at the first question."""

    name = "gemini"

    def __init__(self, client: Any = None) -> None:
        self._client = client

    @property
    def version(self) -> str:
        try:
            return f"{MODEL} google-genai {metadata.version('google-genai')}"
        except metadata.PackageNotFoundError:
            return MODEL

    def estimate(self, text: str, category: str, picture: bytes, materials: tuple[str, ...]) -> MaterialEstimate:
        """picture: PNG. Raises BackendError without key, package or a usable answer, TransientError for an overload."""
        schema = {
            "type": "OBJECT",
            "properties": {
                "material": {"type": "STRING", "enum": [*materials, NONE_OF_THESE]},
                "confidence": {"type": "NUMBER"},
                "reason": {"type": "STRING"},
            },
            "required": ["material", "confidence", "reason"],
        }
        question = PROMPT.format(text=text, category=category or "unknown", none=NONE_OF_THESE)
        parts = [{"inline_data": {"mime_type": "image/png", "data": picture}}, {"text": question}]
        config = {"response_mime_type": "application/json", "response_schema": schema, "temperature": 0.0}
        try:
            answer = self._connected().models.generate_content(
                model=MODEL, contents=[{"role": "user", "parts": parts}], config=config
            )
        except BackendError:
            raise
        except Exception as error:
            raise _wrapped(error) from error
        return _read(answer)

    def _connected(self) -> Any:
        if self._client is None:
            key = os.environ.get("GEMINI_API_KEY") or os.environ.get("GOOGLE_API_KEY")
            if not key:
                raise BackendError("estimator gemini: no API key", "set GEMINI_API_KEY, or physics.estimator = ''")
            try:
                from google import genai  # pyright: ignore[reportMissingImports, reportAttributeAccessIssue]
            except ImportError as error:
                raise BackendError(
                    "estimator gemini needs google-genai", "pip install 'blueprint-pipeline[gemini]'"
                ) from error
            self._client = genai.Client(api_key=key, http_options={"timeout": TIMEOUT_MS})
        return self._client


def _wrapped(error: Exception) -> BackendError | TransientError:
    code = getattr(error, "code", None)  # google.genai.errors.APIError carries the HTTP status
    if code in TRANSIENT or isinstance(error, TimeoutError):
        return TransientError(f"Gemini is overloaded or out of reach ({code or error})", "run again later")
    return BackendError(f"Gemini refused: {error}", "check GEMINI_API_KEY and the quota of its project")


def _read(answer: Any) -> MaterialEstimate:
    """Raises BackendError for an answer that is empty (blocked) or not what was asked for."""
    usage = getattr(answer, "usage_metadata", None)
    tokens_in = int(getattr(usage, "prompt_token_count", 0) or 0)
    tokens_out = sum(int(getattr(usage, key, 0) or 0) for key in ("candidates_token_count", "thoughts_token_count"))
    cost = (tokens_in * USD_PER_MILLION[0] + tokens_out * USD_PER_MILLION[1]) / 1e6
    try:
        fields = json.loads(answer.text or "")
        return MaterialEstimate(
            material=fields["material"],
            confidence=min(max(float(fields["confidence"]), 0.0), 1.0),
            reason=str(fields["reason"])[:200],
            model=MODEL,
            tokens_in=tokens_in,
            tokens_out=tokens_out,
            cost_usd=round(cost, 8),
        )
    except (ValueError, TypeError, KeyError, ValidationError) as error:
        raise BackendError(
            f"Gemini's answer is not what was asked for: {error}", "run again, or use the rules"
        ) from error
