"""Artifacts and settings: the frozen models that stages take and give."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, PrivateAttr, ValidationError

from blueprint.core.errors import IntegrityError

ARTIFACT_FILE = "artifact.json"


class Model(BaseModel):
    """A frozen value: unknown fields and NaN are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Config(Model):
    """Settings section of one stage."""

    def leans_on(self) -> dict[str, str]:
        """What the settings name that lies outside the scene and no package pins: what it is -> its state, as a text.

        It is part of the stage's key. Never raises: what is gone is a state, too.
        """
        return {}


class Artifact(Model):
    """What a stage makes: a small JSON model plus the files in its folder, named by relative paths."""

    _root: Path | None = PrivateAttr(default=None)

    @property
    def root(self) -> Path:
        if self._root is None:
            raise ValueError(f"{type(self).__name__} is not bound to a folder: save or load it first")
        return self._root

    def path(self, relative: str) -> Path:
        """Absolute path of one of the artifact's files; refuses to leave the folder."""
        path = (self.root / relative).resolve()
        if not path.is_relative_to(self.root.resolve()):
            raise IntegrityError(f"{type(self).__name__} names a file outside its folder: {relative}")
        return path

    def save(self, root: Path) -> Self:
        """Write `artifact.json` (canonical: sorted keys, no NaN) into `root`; returns self bound to it."""
        root.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, indent=1, allow_nan=False)
        (root / ARTIFACT_FILE).write_text(text + "\n")
        return self.bind(root)

    def bind(self, root: Path) -> Self:
        self._root = root
        return self

    @classmethod
    def load(cls, root: Path) -> Self:
        """Read `root/artifact.json`. Raises IntegrityError when it is missing or does not fit the model."""
        try:
            return cls.model_validate_json((root / ARTIFACT_FILE).read_bytes()).bind(root)
        except (OSError, ValidationError) as error:
            raise IntegrityError(f"{root / ARTIFACT_FILE} is not a {cls.__name__}: {error}") from error
