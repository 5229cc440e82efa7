"""Why a stage must run: the parts of its key that changed, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from blueprint.core.store import KeyParts


def changes(old: KeyParts | None, new: KeyParts) -> tuple[str, ...]:
    """What differs from the latest result. old: its parts, or None if there is no result."""
    if old is None:
        return ("it has no result in this scene yet",)
    found = [f"input {name} changed" for name in _changed(old.inputs, new.inputs)]
    found += [
        _from_to(f"setting {new.stage}.{name}", *pair) for name, pair in _settings(old.config, new.config).items()
    ]
    found += [_from_to(name, *pair) for name, pair in _changed(old.backends, new.backends).items()]
    if old.version != new.version:
        found.append(_from_to("version of the stage", old.version, new.version))
    code = list(_changed(old.code, new.code))
    if code:
        found.append(f"code changed: {', '.join(code[:4])}{' and others' if len(code) > 4 else ''}")
    tools = _changed(old.tools, new.tools).items()
    found += [_from_to(name if ":" in name else f"package {name}", *pair) for name, pair in tools]
    return tuple(found) or ("its result was removed",)


def _changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {name: (old.get(name), new.get(name)) for name in sorted({*old, *new}) if old.get(name) != new.get(name)}


def _settings(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Like `_changed`, into nested tables."""
    found: dict[str, tuple[Any, Any]] = {}
    for name, (before, after) in _changed(old, new).items():
        if isinstance(before, dict) and isinstance(after, dict):
            found |= {f"{name}.{inner}": pair for inner, pair in _settings(before, after).items()}
        else:
            found[name] = (before, after)
    return found


def _from_to(what: str, before: Any, after: Any) -> str:
    if before is None:
        return f"{what} is new: {after}"
    if after is None:
        return f"{what} is gone: was {before}"
    return f"{what} changed from {before} to {after}"
