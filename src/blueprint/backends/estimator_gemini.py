"""What objects are made of, by Gemini: one request per object, a structured answer, its cost recorded.

Never used unless `physics.estimator = "gemini"` says so. The picture and the name of each object leave the machine.
"""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from blueprint.backends.gemini import MODEL, ask, connect, not_asked, version
from blueprint.model.materials import MaterialEstimate

NONE_OF_THESE = "none of these"

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
        return version()

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
        answer = ask(self._connected(), question, schema, picture=picture)
        try:
            fields = answer.content
            return MaterialEstimate(
                material=fields["material"],
                confidence=min(max(float(fields["confidence"]), 0.0), 1.0),
                reason=str(fields["reason"])[:200],
                model=MODEL,
                tokens_in=answer.tokens_in,
                tokens_out=answer.tokens_out,
                cost_usd=answer.cost_usd,
            )
        except (ValueError, TypeError, KeyError, ValidationError) as error:
            raise not_asked(error) from error

    def _connected(self) -> Any:
        if self._client is None:
            self._client = connect("estimator", "physics.estimator = ''")
        return self._client
