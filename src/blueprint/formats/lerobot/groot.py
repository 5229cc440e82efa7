"""meta/modality.json: which values of a LeRobot v2.1 dataset are an arm, a gripper, a camera, a task (Isaac-GR00T)."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

from blueprint.core.errors import InputError
from blueprint.formats.lerobot.files import write_json
from blueprint.formats.lerobot.read import ForeignDataset

STATE, ACTION, IMAGES = "observation.state", "action", "observation.images."
_GRIPPER = ("gripper", "finger")
Part = dict[str, Any]


def write_modality(root: Path, dataset: ForeignDataset) -> dict[str, Any]:
    """Returns what it wrote. Raises InputError without state, action or names of their values."""
    content = {
        "state": parts(STATE, dataset.features.get(STATE)),
        "action": parts(ACTION, dataset.features.get(ACTION)),
        "video": {key.removeprefix(IMAGES): {"original_key": key} for key in dataset.videos},
        "annotation": {"human.task_description": {"original_key": "task_index"}},
    }
    write_json(root / "meta/modality.json", content)
    return content


def parts(name: str, feature: dict[str, Any] | None) -> dict[str, Part]:
    """Runs of values as GR00T wants them, `end` excluded: arm and gripper; behind a prefix where there are more arms.

    A run of other names belongs to the gripper that follows it, as in `left_waist, ..., left_gripper`.
    """
    names = (feature or {}).get("names")
    if isinstance(names, dict) and len(names) == 1:  # {"motors": [...]}
        names = next(iter(names.values()))
    if not isinstance(names, list) or not names:
        raise InputError(f"{name} has no names of its values", "GR00T must know what is an arm and what a gripper")
    is_gripper = [any(word in str(one).lower() for word in _GRIPPER) for one in names]
    edges = [0, *(k for k in range(1, len(names)) if is_gripper[k] != is_gripper[k - 1]), len(names)]
    runs = list(pairwise(edges))
    owners = [_owner([str(one) for one in names], is_gripper, begin) for begin, _ in runs]
    several = max(Counter(is_gripper[begin] for begin, _ in runs).values()) > 1
    found: dict[str, Part] = {}
    for (begin, end), owner in zip(runs, owners, strict=True):
        kind = "gripper" if is_gripper[begin] else "arm"
        key = f"{owner}_{kind}" if several and owner else kind
        if key in found:
            key = f"{key}{sum(one.startswith(key) for one in found) + 1}"
        found[key] = {"start": begin, "end": end}
    return found


def _owner(names: list[str], is_gripper: list[bool], begin: int) -> str:
    """What stands before the word of the run's gripper, or of the next one: `robot2` of `robot2_gripper`."""
    for name, is_one in list(zip(names, is_gripper, strict=True))[begin:]:
        if is_one:
            at = min(name.lower().find(word) for word in _GRIPPER if word in name.lower())
            return name[:at].strip("_./ ")
    return ""
