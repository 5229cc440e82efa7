"""What `blueprint run --fill-gaps` changes: the settings that the quality of the last run recommends."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from blueprint.core.errors import InputError
from blueprint.core.report import log
from blueprint.core.store import Scene
from blueprint.model.artifacts import Quality


def settings_of(scene: Path, given: Sequence[str]) -> list[str]:
    """`section.key=value` of every gap that settings can fill, and twice the episodes. What the user set stays.

    Raises InputError when there was no run yet.
    """
    store = Scene.existing(scene)
    key = store.current().get("quality")
    if key is None:
        raise InputError(f"{scene} has no quality yet", "run once without --fill-gaps")
    found = Quality.load(store.folder("quality", key)).diversity
    wanted = {name: value for gap in found.gaps for name, value in gap.settings.items()}
    wanted["episodes.count"] = str(2 * max(found.episodes, 1))
    chosen = {text.partition("=")[0] for text in given}
    for gap in found.gaps:
        log(f"gap: {gap.text}")
    return [f"{name}={value}" for name, value in sorted(wanted.items()) if name not in chosen]
