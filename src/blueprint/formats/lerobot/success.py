"""Do episodes that call themselves successes show one? Asked of what lies beside a dataset of ours: numbers and poses.

A dataset without such a sidecar says nothing of what stood around the robot: there nobody can tell.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from blueprint.core.errors import InputError
from blueprint.formats.lerobot.read import as_array, json_lines
from blueprint.formats.lerobot.sidecar import SIDECAR
from blueprint.model.episode import holds

Array = NDArray[np.float64]

# families whose object is carried, pushed or drawn: it cannot stay where it was
MOVED = ("lift", "place_region", "place_beside", "place_on", "place_into", "stack", "push", "pull", "insert", "carry")
MOVED_M = 0.005
LIFTED = 0.5  # of the height asked for: the body's origin may rise less than its lowest point when it tilts
BESIDE_M = 0.05  # the origin of a body may lie so far from the middle of its outline


def false_successes(root: Path) -> Iterator[tuple[int, str]]:
    """(episode, why it is none) of those that say `success`. Lines that cannot be read are another rule's."""
    path = root / SIDECAR / "episodes.jsonl"
    if not path.is_file():
        return
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            said = json.loads(line)
            if said.get("success"):
                why = _against_its_numbers(said) or _against_its_poses(root, said)
                if why:
                    yield int(said["episode_index"]), why
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, OSError, pa.ArrowException):
            continue


def trajectories(root: Path) -> dict[int, int]:
    """Episode -> its trajectory, where the dataset says that it is drawn under looks. {} where it cannot be read."""
    try:
        lines = list(json_lines(root / SIDECAR / "episodes.jsonl"))
        return {line["episode_index"]: line["trajectory_index"] for line in lines if line.get("look") is not None}
    except (InputError, KeyError):
        return {}


def _against_its_numbers(said: dict[str, Any]) -> str:
    """The first condition of the judge that does not hold."""
    for check in said["attempts"][-1]["checks"] if said.get("attempts") else ():
        measured, bound = float(check["measured"]), float(check["bound"])
        if not (check["passed"] and holds(measured, check["comparison"], bound)):
            return f"{check['name']} is {measured:.4g}, must be {check['comparison']} {bound:.4g}"
    return ""


def _against_its_poses(root: Path, said: dict[str, Any]) -> str:
    """What the recorded poses of the task's object show that no success of its family can."""
    goal, name = said["task"]["goal"], said["task"]["object"]
    table = pq.read_table(root / SIDECAR / f"poses/{said['episode_index']:06d}.parquet")
    if goal["family"] not in MOVED or goal.get("steps") or f"body/{name}" not in table.column_names:
        return ""
    places: Array = as_array(table.column(f"body/{name}"))[:, :3].astype(float)
    moved = float(np.linalg.norm(places - places[0], axis=1).max())
    if moved < MOVED_M:
        return f"{name} never moved by more than {1000 * moved:.1f} mm"
    if goal["family"] == "lift" and (rise := places[-1, 2] - places[0, 2]) < LIFTED * goal["height_m"]:
        return f"{name} ends {100 * rise:.1f} cm above its start, the goal asks for {100 * goal['height_m']:.1f} cm"
    if goal["family"] == "place_region" and goal.get("center"):
        off = float(np.linalg.norm(places[-1, :2] - np.array(goal["center"])))
        if off > goal["radius_m"] + BESIDE_M:
            return (
                f"{name} ends {100 * off:.1f} cm from the region's middle, {100 * goal['radius_m']:.1f} cm are allowed"
            )
    return ""
