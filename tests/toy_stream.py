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
from blueprint.formats.video.coding import color_writer
from blueprint.model.artifacts import Capture, Episodes, Recording, TaskSet
from blueprint.model.capture import Camera, Frame
from blueprint.model.episode import TRACKS_FILE, Attempt, CameraTrack, EpisodeRecord, RecordedEpisode, folders_of
from blueprint.model.task import Goal, Task

TASKS = tuple(
    Task(id=f"lift-{name}", object=name, goal=Goal(family="lift", height_m=0.1), instruction=f"lift the {name}")
    for name in ("can", "box")
)
FAILED = 2  # this one never succeeds
FRAMES, STATES = 5, 8


def parts_of(stage: str, backends: dict[str, str] | None = None, inputs: Any = None, **config: Any) -> KeyParts:
    return KeyParts(
        stage=stage, version="1", code={}, tools={}, config=config, backends=backends or {}, inputs=inputs or {}
    )


def publish(scene: Scene, made: Artifact, parts: KeyParts) -> None:
    """Into the partial folder of its key, and out of it."""
    partial = scene.partial(parts.stage, parts.key)
    made.save(partial)
    clean_up(partial)
    files = describe_files(partial)
    nothing = {"backends": parts.backends, "reasons": (), "seconds": 0, "peak_memory_mib": 0, "finished": ""}
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
    parts = parts_of("episodes", {"simulator": simulator}, count=count)
    with scene.lease():
        out = scene.open_partial(parts)
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


def color_of(index: int, look: int) -> tuple[int, int, int]:
    return (20 + 20 * index, 200 - 100 * look, 60)


def draw(item: tuple[int, int], looks: int, folder: Path) -> None:
    """The pictures of one look of an episode: `episode.json` and `scene.mp4`, as the recording stage leaves them."""
    index, look = item
    stats = dict.fromkeys(("min", "max", "mean", "std"), (0.0, 0.0, 0.0))
    with color_writer(folder / "scene.mp4", width=32, height=16, fps=15) as film:
        for _ in range(FRAMES):
            film.add(np.full((16, 32, 3), color_of(index, look), np.uint8))
    where = f"episodes/{folders_of(index, looks)[look]}"
    track = CameraTrack(
        camera="scene", video=f"{where}/scene.mp4", width=32, height=16, color_stats=stats, color_count=1
    )
    done = RecordedEpisode(index=index, look_index=look, frames=FRAMES, tracks=(track,), poses=f"{where}/poses.npz")
    (folder / TRACKS_FILE).write_text(done.model_dump_json())


def begin_recording(scene: Scene, looks: int, renderer: str = "raster") -> tuple[KeyParts, Path]:
    """What the engine prepares for the recording of the scene's current episodes."""
    digest = scene.receipt("episodes", scene.current()["episodes"]).files_digest
    parts = parts_of("recording", {"renderer": renderer}, {"episodes": digest}, looks=looks)
    return parts, scene.open_partial(parts)


def record(scene: Scene, parts: KeyParts, out: Path, *indices: int) -> None:
    """The looks of these episodes, through the engine's own items."""
    looks = parts.config["looks"]
    items = [(folders_of(index, looks)[look], (index, look)) for index in indices for look in range(looks)]
    map_items(lambda item, folder: draw(item, looks, folder), items, out / "episodes", what="recording", jobs=1)


def end_recording(scene: Scene, parts: KeyParts, out: Path, *indices: int) -> None:
    names = [name for index in indices for name in folders_of(index, parts.config["looks"])]
    made = [RecordedEpisode.model_validate_json((out / "episodes" / name / TRACKS_FILE).read_bytes()) for name in names]
    size = {"fps": 15, "width": 32, "height": 16, "codec": "h264"}
    words = {"renderer": "raster 1", "sensor_source": "mujoco", "segment_names": {}}
    publish(scene, Recording(**size, **words, episodes=tuple(made)), parts)


if __name__ == "__main__":
    where, number = Path(sys.argv[1]), int(sys.argv[2])
    produce(begin(where, number), number)
