"""A stage is a plain typed function from artifacts to one artifact; its signature is its declaration.

    @stage(version="1")
    def physics(assets: Assets, simulator: Simulator, cfg: PhysicsConfig, out: Path) -> Physics: ...

A parameter of an Artifact type is an input, one of a Config type is the stage's settings section, one of a Protocol
type is the backend that the settings name, and a `Path` is the output folder.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from blueprint.core.artifact import Artifact, Config


@dataclass(frozen=True)
class Stage:
    """What a signature says. `function` is the plain function; calling the stage calls it."""

    name: str
    function: Callable[..., Artifact]
    version: str
    timeout_s: float
    retries: int
    inputs: dict[str, type[Artifact]]
    config: tuple[str, type[Config]] | None
    backends: dict[str, type]
    out: str
    makes: type[Artifact]
    reads_receipts: bool = False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)


def stage(
    *, version: str, timeout_s: float = 3600.0, retries: int = 1, reads_receipts: bool = False
) -> Callable[[Callable[..., Artifact]], Stage]:
    """Declare a stage. version: raise it when the stage's results change for the same inputs.

    reads_receipts: its result depends on its inputs' receipts too, so it runs again when one of them was made anew,
    even if the files came out the same.
    """

    def declare(function: Callable[..., Artifact]) -> Stage:
        return replace(read_signature(function, version, timeout_s, retries), reads_receipts=reads_receipts)

    return declare


def read_signature(function: Callable[..., Artifact], version: str, timeout_s: float, retries: int) -> Stage:
    """Raises TypeError when a parameter is none of artifact, config, protocol or path."""
    hints = typing.get_type_hints(function)
    makes = hints.pop("return", None)
    if not (inspect.isclass(makes) and issubclass(makes, Artifact)):
        raise TypeError(f"stage {function.__name__} must return an Artifact type, not {makes}")
    inputs: dict[str, type[Artifact]] = {}
    backends: dict[str, type] = {}
    config: tuple[str, type[Config]] | None = None
    out = ""
    for name, hint in hints.items():
        if inspect.isclass(hint) and issubclass(hint, Artifact):
            inputs[name] = hint
        elif inspect.isclass(hint) and issubclass(hint, Config):
            config = (name, hint)
        elif hint is Path:
            out = name
        elif getattr(hint, "_is_protocol", False):
            backends[name] = hint
        else:
            raise TypeError(
                f"stage {function.__name__}: parameter {name}: {hint} is no artifact, config, protocol or Path"
            )
    if not out:
        raise TypeError(f"stage {function.__name__} has no Path parameter for its output folder")
    return Stage(function.__name__, function, version, timeout_s, retries, inputs, config, backends, out, makes)
