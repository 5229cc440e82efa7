"""Find a backend by name. There is no default name here, no `auto` and no fallback."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from blueprint.core.errors import BackendError

PACKAGE = "blueprint.backends"


@dataclass(frozen=True)
class Backend:
    """Where an implementation stands; nothing is imported until `load`.

    release: version of the package it comes from, if that is not ours
    """

    kind: str
    name: str
    module: str
    attribute: str
    release: str = ""

    def load(self) -> Any:
        """Import and construct it. Raises BackendError when a package it needs is missing."""
        try:
            return getattr(importlib.import_module(self.module), self.attribute)()
        except ImportError as error:
            raise BackendError(
                f"{self.kind} {self.name!r} cannot run here: {error}", "blueprint doctor shows what is installed"
            ) from error


def find(kind: str, name: str, setting: str = "the setting that names it") -> Backend:
    """The backend `name` of `kind`: ours (module `<kind>_<name>`, class `<Kind><Name>`) or one that a package registers
    in the entry-point group `blueprint.backends.<kind>`. Raises BackendError naming those there are.

    setting: that names it, for the error
    """
    if name in _ours(kind):
        attribute = "".join(part.capitalize() for part in f"{kind}_{name}".split("_"))
        return Backend(kind, name, f"{PACKAGE}.{kind}_{name}", attribute)
    for entry in metadata.entry_points(group=f"{PACKAGE}.{kind}", name=name):
        release = entry.dist.version if entry.dist else ""
        return Backend(kind, name, entry.module, entry.attr, release)
    known = ", ".join(available(kind)) or "none"
    raise BackendError(f"no {kind} {name!r}; there is: {known}", f"set {setting} to one of these")


def available(kind: str) -> list[str]:
    return sorted({*_ours(kind), *(entry.name for entry in metadata.entry_points(group=f"{PACKAGE}.{kind}"))})


def kind_of(protocol: type) -> str:
    return protocol.__name__.lower()


def _ours(kind: str) -> list[str]:
    spec = importlib.util.find_spec(PACKAGE)
    folders = spec.submodule_search_locations if spec else None
    prefix = f"{kind}_"
    return [m.name.removeprefix(prefix) for m in pkgutil.iter_modules(folders) if m.name.startswith(prefix)]
