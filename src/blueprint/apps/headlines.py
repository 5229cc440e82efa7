"""What to say of a stage's result in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from blueprint.core.artifact import ARTIFACT_FILE


def headline(stage: str, root: str) -> str:
    """One line on the artifact in folder `root`; empty for a stage without one."""
    say = _SAY.get(stage)
    return say(json.loads((Path(root) / ARTIFACT_FILE).read_bytes())) if say else ""


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def _episodes(artifact: dict[str, Any]) -> str:
    episodes = artifact["episodes"]
    good = sum(e["success"] for e in episodes)
    first = sum(e["success"] and len(e["attempts"]) == 1 for e in episodes)
    return f"{good} of {_count(len(episodes), 'episode')} succeeded, {first} at the first attempt"


def _settle(artifact: dict[str, Any]) -> str:
    settle = artifact["settle"]
    drift = f"{settle['max_drift_m'] * 1000:.1f} mm, {settle['max_drift_deg']:.1f} deg in {settle['seconds']:g} s"
    return f"{_count(len(artifact['objects']), 'object')}; left alone they move {drift}"


def _joints(artifact: dict[str, Any]) -> str:
    moving = [item for item in artifact["objects"] if item["joints"]]
    return f"{_count(sum(len(item['joints']) for item in moving), 'joint')} in {_count(len(moving), 'object')}"


def _certificate(artifact: dict[str, Any]) -> str:
    bounded = [m for m in artifact["measurements"] if m["passed"] is not None]
    passed = sum(m["passed"] for m in bounded)
    return f"{artifact['training_suitability']}; {passed} of {_count(len(bounded), 'check')} passed"


_SAY: dict[str, Callable[[dict[str, Any]], str]] = {
    "capture": lambda a: f"{a['name']}: {_count(len(a['frames']), 'frame')}",
    "reconstruction": lambda a: f"{_count(len(a['instances']), 'object')}; up from {a['up_source']}",
    "assets": lambda a: _count(len(a["objects"]), "mesh", "meshes"),
    "articulation": _joints,
    "physics": _settle,
    "simscene": lambda a: _count(len(a["bodies"]), "body", "bodies"),
    "workcell": lambda a: (
        f"{a['robot']['title']}; reaches {sum(a['reachable'].values())} of {_count(len(a['reachable']), 'object')}"
    ),
    "tasks": lambda a: f"{_count(len(a['tasks']), 'task')}, {len(a['refused'])} refused",
    "library": lambda a: (
        f"{_count(len(a['assets']), 'asset')}, similar to {_count(len(a['similar']), 'object')}"
        if a["assets"]
        else "no assets to swap in"
    ),
    "licences": lambda a: f"commercial use: {a['commercial_use']}, of {_count(len(a['inputs']), 'input')}",
    "episodes": _episodes,
    "recording": lambda a: f"{_count(len(a['episodes']), 'episode')} at {a['width']}x{a['height']}, {a['fps']} fps",
    "dataset": lambda a: f"{_count(a['episodes'], 'episode')}, {_count(a['frames'], 'frame')}",
    "quality": lambda a: (
        f"score {a['score']:.2f} of 1; {_count(len(a['diversity']['gaps']), 'gap')} in what they cover"
    ),
    "certificate": _certificate,
}
