"""`blueprint replay`: does an episode do again what its record says, from its actions alone?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from blueprint.backends.simulator_mujoco import SimulatorMujoco
from blueprint.core.errors import InputError, IntegrityError
from blueprint.core.store import Scene
from blueprint.formats.arrays import rows_digest
from blueprint.formats.json_file import read_json
from blueprint.formats.lerobot.read import json_lines, open_dataset
from blueprint.formats.lerobot.sidecar import SIDECAR, SIMULATION
from blueprint.model.artifacts import Episodes, Workcell
from blueprint.model.task import Task
from blueprint.model.variation import Variation
from blueprint.skills import replay as skills
from blueprint.stages.recording import load_states


@dataclass(frozen=True)
class Recorded:
    """What is known of an episode. model: its MJCF; success: what is claimed; start: (nq,); simulator: that made it

    state, action: (T, n) float32, see `Episodes`; qpos_sha256: of its states, see `rows_digest`
    """

    workcell: Workcell
    model: Path
    task: Task
    variation: Variation | None
    success: bool
    fps: int
    simulator: str
    start: NDArray[np.float64]
    state: NDArray[np.float32]
    action: NDArray[np.float32]
    qpos_sha256: str


def replay(path: Path, number: int) -> dict[str, Any]:
    """Run episode `number` of a scene directory or of a delivered dataset again. ok: the judge says what was claimed.

    equal: every state, to the last bit; largest_difference: between observed states, over all frames [rad, m]
    Raises InputError where there is no such episode, or not enough of it to run it again.
    """
    known = _of_dataset(path, number) if (path / "meta" / "info.json").is_file() else _of_scene(path, number)
    simulator = SimulatorMujoco()
    rollout = skills.rerun(
        known.workcell, known.model, known.variation, known.start, known.action, known.fps, simulator
    )
    arrays, verdict = rollout.arrays(), skills.judged(known.task, rollout)
    said = {"path": str(path), "episode": number, "task": known.task.id, "instruction": known.task.instruction}
    said |= {"frames": rollout.frames, "fps": known.fps, "recorded_by": known.simulator}
    return {
        **said,
        "simulator": f"{simulator.name} {simulator.version}",
        "equal": rows_digest(arrays["qpos"]) == known.qpos_sha256,
        "largest_difference": float(np.abs(arrays["state"] - known.state).max()),
        "claimed": known.success,
        "success": verdict.success,
        "detail": verdict.detail,
        "checks": [check.model_dump() for check in verdict.checks],
        "ok": verdict.success == known.success,
    }


def _of_scene(path: Path, number: int) -> Recorded:
    scene = Scene.existing(path)
    made, workcell = scene.made("episodes", Episodes), scene.made("workcell", Workcell)
    came_of = scene.receipt("episodes", scene.current()["episodes"]).parts.inputs["workcell"]
    if came_of != scene.receipt("workcell", scene.current()["workcell"]).files_digest:
        raise InputError(f"the episodes of {path} are not of its present workcell", "make them anew: blueprint run")
    record = next((one for one in made.episodes if one.index == number), None)
    if record is None or record.states is None:
        why = "not there" if record is None else "a failure without states"
        raise InputError(f"episode {number} is {why}", _there_are([one.index for one in made.episodes if one.states]))
    states, model = load_states(made, record.states, record.frames), made.model(record, workcell)
    rows = (states["qpos"][0], states["state"], states["action"], rows_digest(states["qpos"]))
    claims = (record.task, record.variation, record.success)
    return Recorded(workcell, model, *claims, made.fps, made.simulator, *rows)


def _of_dataset(root: Path, number: int) -> Recorded:
    side = root / SIDECAR
    said = {line.get("episode_index"): line for line in json_lines(side / "episodes.jsonl")}
    if not (side / SIMULATION).is_dir() or not all("qpos_sha256" in line for line in said.values()):
        raise InputError(f"{root} does not hold what was simulated", "replay the scene that it was made in")
    dataset = open_dataset(root)
    episode = next((one for one in dataset.episodes() if one.index == number), None)
    if episode is None or number not in said:
        raise InputError(f"episode {number} is not there", _there_are(list(said)))
    workcell, line, rows = Workcell.load(side / SIMULATION), said[number], dataset.table(episode)
    try:
        task, variation = Task.model_validate(line["task"]), Variation.model_validate(line["variation"])
        success, digest = bool(line["success"]), str(line["qpos_sha256"])
        simulator = str(read_json(side / "scene.json")["simulator"])
        state, action = (rows[name].astype(np.float32) for name in ("observation.state", "action"))
    except (KeyError, ValidationError) as error:
        raise IntegrityError(f"{side}: what is said of episode {number}: {error}", "take the original") from error
    model, rows = workcell.path(variation.mjcf or workcell.mjcf), (np.array(variation.start), state, action, digest)
    return Recorded(workcell, model, task, variation, success, round(dataset.fps), simulator, *rows)


def _there_are(numbers: Sequence[object]) -> str:
    return f"there are: {', '.join(map(str, numbers[:20]))}{', ...' if len(numbers) > 20 else ''}"


def text(value: dict[str, Any]) -> str:
    from rich.markup import escape

    words, equal = {True: "a success", False: "no success"}, value["equal"]
    how = "equal to the last bit" if equal else f"not equal: arms differ by up to {value['largest_difference']:.2g}"
    said = words[value["success"]] + (f" ({value['detail']})" if value["detail"] else "")
    what = f"{value['task']}, {value['frames']} frames at {value['fps']} Hz"
    lines = (
        (None, f"episode {value['episode']}: {what}, its actions run again by {value['simulator']}"),
        (equal, f"states: {how}; recorded by {value['recorded_by']}"),
        (value["ok"], f"the judge: {said}; recorded as {words[value['claimed']]}"),
    )
    marks = {None: "", True: "[green]✓[/green] ", False: "[red]✗[/red] "}
    return "\n".join(marks[good] + escape(line) for good, line in lines)
