"""What a robot could be asked to do in a scene, suggested by Gemini; every suggestion is checked before it is a task.

Never used unless `tasks.proposer = "gemini"` says so. Names, sizes and places of the objects leave the machine, no
picture does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from blueprint.backends.gemini import ask, connect, not_asked, version
from blueprint.model.scene import SceneBody
from blueprint.model.task import Family, SuggestedTask

PROMPT = """A robot arm with a gripper stands at a table. On it are these objects, in metres, z up: {objects}
The robot can do these things, each with an object and, where the sentence says so, a target or a joint: {abilities}
Suggest {count} different useful tasks that a person at home or at work could ask for, of one to four steps. For every \
task give the instruction as one short sentence that names each object by what it is called, and its steps in order, \
with names exactly as in the lists and "" for a target or joint that a step has not."""


class ProposerGemini:
    """client: as google.genai.Client makes it; None = made at the first question."""

    name = "gemini"

    def __init__(self, client: Any = None) -> None:
        self._client = client

    @property
    def version(self) -> str:
        return version()

    def suggest(
        self, bodies: Sequence[SceneBody], abilities: Mapping[Family, str], count: int
    ) -> tuple[tuple[SuggestedTask, ...], float]:
        """At most `count` suggestions, and what they cost [USD]. abilities: family -> a sentence that tells what it is.

        Raises BackendError without key, package or a usable answer, TransientError for an overload.
        """
        if self._client is None:
            self._client = connect("proposer", 'tasks.proposer = "rules"')
        objects = [
            {
                "name": body.name,
                "called": body.text,
                "category": body.category,
                "size": [round(side, 3) for side in body.dims_m],
                "position": [round(x, 3) for x in body.pose.position],
                "joints": list(body.joints),
            }
            for body in bodies
        ]
        question = PROMPT.format(objects=json.dumps(objects), abilities=json.dumps(dict(abilities)), count=count)
        answer = ask(self._client, question, _schema(bodies, abilities))
        try:
            rows = [SuggestedTask.model_validate(row) for row in answer.content]
        except (TypeError, ValidationError) as error:
            raise not_asked(error) from error
        return tuple(rows[:count]), answer.cost_usd


def _schema(bodies: Sequence[SceneBody], abilities: Mapping[Family, str]) -> dict[str, Any]:
    """The OpenAPI subset that `response_schema` takes; an enum may hold no empty string, so targets are plain text."""
    step = {
        "type": "OBJECT",
        "properties": {
            "family": {"type": "STRING", "enum": [*abilities]},
            "object": {"type": "STRING", "enum": [body.name for body in bodies]},
            "target": {"type": "STRING"},
            "joint": {"type": "STRING"},
        },
        "required": ["family", "object", "target", "joint"],
    }
    task = {
        "type": "OBJECT",
        "properties": {"instruction": {"type": "STRING"}, "steps": {"type": "ARRAY", "items": step}},
        "required": ["instruction", "steps"],
    }
    return {"type": "ARRAY", "items": task}
