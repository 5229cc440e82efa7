"""A scene whose episodes are made slowly, by a process of its own, through the engine's own folders and journal.

python toy_stream.py DIR COUNT SECONDS_PER_EPISODE [SIMULATOR]
"""

from __future__ import annotations

import functools
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from blueprint.core.artifact import Artifact
from blueprint.core.execute import map_items
from blueprint.core.store import KeyParts, Receipt, Scene, clean_up, describe_files, digest_files
from blueprint.model.artifacts import Capture, Episodes, TaskSet
from blueprint.model.capture import Camera, Frame
from blueprint.model.episode import Attempt, EpisodeRecord
from blueprint.model.task import Goal, Task

TASKS = tuple(
    Task(id=f"lift-{name}", object=name, goal=Goal(family="lift", height_m=0.1), instruction=f"lift the {name}")
    for name in ("can", "box")
)
FAILED = 2  # this one never succeeds
FRAMES, STATES = 5, 8


def parts_of(stage: str, **config: Any) -> KeyParts:
    return KeyParts(stage=stage, version="1", code={}, tools={}, config=config, backends={}, inputs={})


def publish(scene: Scene, made: Artifact, parts: KeyParts) -> None:
    """Into the partial folder of its key, and out of it."""
    partial = scene.partial(parts.stage, parts.key)
    made.save(partial)
    clean_up(partial)
    files = describe_files(partial)
    nothing = {"backends": {}, "reasons": (), "seconds": 0, "peak_memory_mib": 0, "finished": ""}
    digest = digest_files(files)
    scene.commit(Receipt(stage=parts.stage, key=parts.key, parts=parts, files=files, files_digest=digest, **nothing))


def frames_of(index: int) -> dict[str, np.ndarray]:
    rows = np.arange(FRAMES, dtype=np.float32)[:, None] + 100 * index + np.zeros(STATES, np.float32)
    return {"time": np.arange(FRAMES) / 15, "state": rows, "action": rows + 0.5, "qpos": rows.astype(float)}


def make(gate: Path, index: int, folder: Path) -> None:
    while gate.exists() and int(gate.read_text() or 0) <= index:
        time.sleep(0.05)
    good = index != FAILED
    attempt = Attempt(success=good, cause=None if good else "dropped", detail="", checks=(), seconds=1)
    states = f"episodes/{index:06d}/states.npz" if good else None
    np.savez_compressed(folder / "states.npz", **frames_of(index))  # type: ignore[arg-type]
    record = EpisodeRecord(
        index=index,
        task=TASKS[index % 2],
        seed=0,
        success=good,
        attempts=(attempt,),
        states=states,
        frames=FRAMES if good else 0,
        grasp_class="top",
    )
    (folder / "record.json").write_text(record.model_dump_json())


def begin(root: Path, count: int, simulator: str = "mujoco") -> Scene:
    """Everything before the episodes."""
    scene = Scene(root)
    camera = Camera(width=4, height=4, fx=4, fy=4, cx=2, cy=2)
    frames = (Frame(id="a", color="a.png", camera=camera),)
    with scene.lease():
        sets = [f"run.simulator={simulator}", f"episodes.count={count}"]
        scene.set_request({"capture": "/nowhere", "digest": "0", "sets": sets, "config": None})
        if "tasks" not in scene.current():
            publish(scene, Capture(name="toy", kind="rgb", frames=frames, origin="a real table"), parts_of("capture"))
            publish(scene, TaskSet(tasks=TASKS, refused={}), parts_of("tasks"))
    return scene


def produce(scene: Scene, count: int, simulator: str = "mujoco") -> None:
    """The episodes stage as the engine runs it."""
    parts = parts_of("episodes", count=count)
    with scene.lease():
        out = scene.open_partial("episodes", parts.key)
        items = [(f"{index:06d}", index) for index in range(count)]
        folders = map_items(
            functools.partial(make, scene.root / "gate"), items, out / "episodes", what="episodes", jobs=2
        )
        records = [EpisodeRecord.model_validate_json((folder / "record.json").read_bytes()) for folder in folders]
        for folder in folders:
            (folder / "record.json").unlink()
        names = tuple(map(str, range(STATES)))
        made = Episodes(
            fps=15, simulator=f"{simulator} 1", segments=("reach",), state_names=names, episodes=tuple(records)
        )
        publish(scene, made, parts)


if __name__ == "__main__":
    where, number = Path(sys.argv[1]), int(sys.argv[2])
    produce(begin(where, number), number)
