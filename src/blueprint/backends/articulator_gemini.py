"""What the marked panels of a picture are, asked of a Gemini model; off unless the settings name it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field, ValidationError

from blueprint.backends.gemini import ask, connect, not_asked
from blueprint.core.artifact import Model

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
        self._client = self._client or connect("articulator", "unset articulation.model")
        question = PROMPT.format(text=text) + f" The names are: {', '.join(names)}."
        answer = ask(self._client, question, SCHEMA, picture=picture_png)
        try:
            answers = [PanelAnswer.model_validate(row) for row in answer.content]
        except (TypeError, ValidationError) as error:
            raise not_asked(error) from error
        return {answer.name: answer for answer in answers if answer.name in names}
