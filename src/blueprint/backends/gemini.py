"""Asking Gemini through `google-genai`: one request, a structured answer, its cost.

Needs the extra `gemini` and an API key in GEMINI_API_KEY or GOOGLE_API_KEY; nothing is asked unless the settings name
it. Not run against the real service by this project: the tests speak the documented request and answer of
`models.generate_content` with a client of their own.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from blueprint.core.errors import BackendError, TransientError
from blueprint.core.report import metric

MODEL = "gemini-2.5-flash"
USD_PER_MILLION = (0.30, 2.50)  # input, output tokens of that model: Google's price list of 2025, ai.google.dev/pricing
TRANSIENT = (408, 429, 500, 502, 503, 504)
TIMEOUT_MS = 60_000


@dataclass(frozen=True)
class Answer:
    """content: the JSON that came back, of the form that was asked for only as far as the service held to it."""

    content: Any
    tokens_in: int
    tokens_out: int

    @property
    def cost_usd(self) -> float:
        return round((self.tokens_in * USD_PER_MILLION[0] + self.tokens_out * USD_PER_MILLION[1]) / 1e6, 8)


def version() -> str:
    try:
        return f"{MODEL} google-genai {metadata.version('google-genai')}"
    except metadata.PackageNotFoundError:
        return MODEL


def connect(asker: str, without: str) -> Any:
    """A google.genai.Client. asker: who wants to know; without: the setting that asks nobody.

    Raises BackendError without key or package.
    """
    key = os.environ.get("GEMINI_API_KEY") or os.environ.get("GOOGLE_API_KEY")
    if not key:
        raise BackendError(f"{asker} gemini: no API key", f"set GEMINI_API_KEY, or {without}")
    try:
        from google import genai  # pyright: ignore[reportMissingImports, reportAttributeAccessIssue]
    except ImportError as error:
        raise BackendError(f"{asker} gemini needs google-genai", "pip install 'blueprint-pipeline[gemini]'") from error
    return genai.Client(api_key=key, http_options={"timeout": TIMEOUT_MS})


def ask(client: Any, question: str, schema: dict[str, Any], *, picture: bytes | None = None) -> Answer:
    """schema: the OpenAPI subset that `response_schema` takes; picture: PNG.

    Raises TransientError for an overload; BackendError for a refusal, and for an answer that is empty or no JSON.
    """
    parts: list[dict[str, Any]] = [{"text": question}]
    if picture is not None:
        parts.insert(0, {"inline_data": {"mime_type": "image/png", "data": picture}})
    config = {"response_mime_type": "application/json", "response_schema": schema, "temperature": 0.0}
    try:
        answer = client.models.generate_content(model=MODEL, contents=[{"role": "user", "parts": parts}], config=config)
    except Exception as error:  # the package's error tree cannot be imported without it
        raise _wrapped(error) from error
    usage = getattr(answer, "usage_metadata", None)
    count = lambda key: int(getattr(usage, key, 0) or 0)  # noqa: E731
    tokens_in, tokens_out = count("prompt_token_count"), count("candidates_token_count") + count("thoughts_token_count")
    metric("gemini_tokens_input", float(tokens_in))
    metric("gemini_tokens_output", float(tokens_out))
    try:
        return Answer(json.loads(getattr(answer, "text", None) or ""), tokens_in, tokens_out)
    except ValueError as error:
        raise not_asked(error) from error


def not_asked(error: Exception) -> BackendError:
    """For an answer of another form than was asked for."""
    return BackendError(f"gemini: the answer is not what was asked for: {error}", "run again, or use the rules")


def _wrapped(error: Exception) -> BackendError | TransientError:
    code = getattr(error, "code", None)  # google.genai.errors.APIError carries the HTTP status
    if code in TRANSIENT or isinstance(error, TimeoutError):
        return TransientError(f"gemini is overloaded or out of reach ({code or error})", "run again later")
    return BackendError(f"gemini refused: {error}", "check GEMINI_API_KEY and the quota of its project")
