"""What a LeRobot v3.0 dataset has no place for, in `sidecar/` beside it: depth, segmentation, poses, provenance.

The reader of the dataset ignores the folder; `README.md` in it says how the files line up with the frames.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from importlib import resources
from itertools import groupby
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from blueprint.core.errors import IntegrityError
from blueprint.core.store import RECEIPT_FILE
from blueprint.formats.arrays import rows_digest, rows_of
from blueprint.formats.lerobot.splits import SEED, Strategy, split
from blueprint.formats.video.coding import probe
from blueprint.geometry.tactile import NEWTONS_PER_METRE, PITCH_M
from blueprint.model.artifacts import Episodes, Recording, Workcell
from blueprint.model.episode import EpisodeRecord, RecordedEpisode

SIDECAR = "sidecar"  # in the dataset's root
SIMULATION = "simulation"  # in the sidecar: all that `blueprint replay` needs besides the rows of an episode


def write_sidecar(
    root: Path,
    workcell: Workcell,
    episodes: Episodes,
    recording: Recording,
    pairs: Sequence[tuple[RecordedEpisode, EpisodeRecord]],
    strategy: Strategy = "random",
) -> None:
    """Write the folder `root`; the k-th of `pairs` is episode k of the dataset."""
    root.mkdir(parents=True)
    text = resources.files("blueprint.formats.lerobot").joinpath("sidecar.md").read_text()
    text = text.replace("NEWTONS", f"{NEWTONS_PER_METRE:.4g}").replace("PITCH", f"{PITCH_M:.3g}")
    (root / "README.md").write_text(text)
    names = [track.camera for track in pairs[0][0].tracks]
    cameras = dict(zip(names, recording.cameras, strict=True))
    scene = {
        "pack": recording.pack,
        "streams": recording.streams,
        "cameras": {name: camera.model_dump() for name, camera in cameras.items()},
        "segmentation": {str(value): name for value, name in recording.segment_names.items()},
        "instances": {str(value): kind.model_dump() for value, kind in enumerate(recording.instances)},
        "categories": dict(enumerate(dict.fromkeys(kind.category for kind in recording.instances))),
        "depth": {"unit": "mm" if recording.pack is None else "m", "invalid": 0},
        "sensor_source": recording.sensor_source,
        "renderer": recording.renderer,
        "simulator": episodes.simulator,
    }
    (root / "scene.json").write_text(json.dumps(scene, indent=1) + "\n")
    with (root / "episodes.jsonl").open("w") as lines:
        for index, (recorded, record) in enumerate(pairs):
            _copy_sides(root, recording, recorded, index)
            with np.load(episodes.path(states_of(recorded, record)), allow_pickle=False) as states:
                segments, qpos = [episodes.segments[value] for value in states["segment"]], states["qpos"]
            _write_poses(root, workcell, recording, recorded, segments, index)
            said = {**_line(index, recorded, record, segments), "qpos_sha256": rows_digest(qpos)}
            lines.write(json.dumps(said) + "\n")
    _write_simulation(root / SIMULATION, workcell, episodes, pairs)
    records = [record for _, record in pairs]
    drawn = [record.variation for record in records]
    scenes = [str((v.absent, sorted(v.scaled.items()), sorted(v.swapped.items()))) if v else "" for v in drawn]
    parts = split([recorded.index for recorded, _ in pairs], scenes, [record.task.id for record in records], strategy)
    (root / "splits.json").write_text(json.dumps({"strategy": strategy, "seed": SEED, **parts}) + "\n")


def _line(index: int, recorded: RecordedEpisode, record: EpisodeRecord, segments: list[str]) -> dict[str, Any]:
    source = record.model_dump(mode="json", exclude={"states": True, "index": True})
    if record.mjcf:
        source["variation"]["mjcf"] = Path(record.mjcf).name  # as it lies in `SIMULATION`
    spans, first = [], 0
    for name, run in groupby(segments):
        length = len(list(run))
        spans.append({"name": name, "from_frame": first, "to_frame": first + length})
        first += length
    own = {} if recorded.attempt is None else {"success": False, "attempt": recorded.attempt}
    look = None if recorded.look is None else recorded.look.model_dump(mode="json")
    places = {"episode_index": index, "source_episode": record.index, "trajectory_index": recorded.index}
    return {**places, "look_index": recorded.look_index, **source, **own, "segments": spans, "look": look}


def states_of(recorded: RecordedEpisode, record: EpisodeRecord) -> str:
    """The states file of what was recorded: the record's own, or that of one of its failed attempts.

    Raises IntegrityError when the record has none.
    """
    states = record.states if recorded.attempt is None else record.attempts[recorded.attempt].states
    if states is None:
        raise IntegrityError(f"episode {record.index} has no states")
    return states


def _copy_sides(root: Path, recording: Recording, recorded: RecordedEpisode, index: int) -> None:
    sides = dict(recorded.sides)
    for track in recorded.tracks:
        for kind, source in (("depth", track.depth), ("segmentation", track.segmentation)):
            if source is not None:
                sides[f"{kind}/{track.camera}"] = source
    for kind, source in sides.items():
        path = recording.path(source)
        target = root / kind / f"{index:06d}{path.suffix if path.is_file() else ''}"
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copyfile if path.is_file() else shutil.copytree)(path, target)


def _write_poses(
    root: Path, workcell: Workcell, recording: Recording, recorded: RecordedEpisode, segments: list[str], index: int
) -> None:
    values = {name: value for value, name in recording.segment_names.items()}
    fingers = [name for arm in workcell.robots for name in arm.gripper.finger_bodies]
    wanted = (*(body.name for body in workcell.bodies if body.name in values), *fingers)
    with np.load(recording.path(recorded.poses), allow_pickle=False) as arrays:
        bodies = {name: arrays[name] for name in arrays.files}
    columns: dict[str, pa.Array] = {"frame_index": pa.array(np.arange(recorded.frames, dtype=np.int64))}
    columns["segment"] = pa.array(segments, pa.string())
    if "object_poses" in recording.streams:
        for column in ("body", "velocity", "acceleration"):
            rows = bodies.get("body_poses" if column == "body" else f"body_{column}")
            if rows is not None:
                columns |= {f"{column}/{name}": _list_column(rows[:, values[name]]) for name in wanted}
    if "extrinsics" in recording.streams:
        cameras = bodies["camera_poses"]
        columns |= {f"camera/{track.camera}": _list_column(cameras[:, c]) for c, track in enumerate(recorded.tracks)}
    path = root / "poses" / f"{index:06d}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, compression="snappy")


def _write_simulation(
    root: Path, workcell: Workcell, episodes: Episodes, pairs: Sequence[tuple[RecordedEpisode, EpisodeRecord]]
) -> None:
    """The workcell, and the models of episodes with other objects, beside one folder of assets."""
    shutil.copytree(workcell.root, root, ignore=shutil.ignore_patterns(RECEIPT_FILE))
    for model in sorted({record.mjcf for _, record in pairs if record.mjcf}):
        path = episodes.path(model)
        shutil.copyfile(path, root / path.name)
        if (assets := path.parent / "assets").is_dir():
            shutil.copytree(assets, root / "assets", dirs_exist_ok=True)


def _list_column(rows: NDArray[np.float64]) -> pa.Array:
    """(T, D) -> fixed_size_list<double>[D]."""
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(rows).ravel()), rows.shape[1])


def misaligned(root: Path, lengths: Sequence[int]) -> Iterator[tuple[str, str]]:
    """(file, what is wrong) of every side file that has not one entry per frame. lengths: frames of each episode."""
    folders: dict[Path, int] = {root / "poses": 0}
    for path in sorted((*root.glob("*/[0-9]*"), *root.glob("*/*/[0-9]*"))):
        inside = path.relative_to(root).parts
        if inside[0] == SIMULATION or (len(inside) == 3 and inside[1].isdigit()):
            continue  # of no episode; a frame of a folder that was counted
        folders[path.parent] = folders.get(path.parent, 0) + 1
        where = f"{SIDECAR}/{path.relative_to(root).as_posix()}"
        try:
            wanted = lengths[int(path.stem)]
            count = _entries(path)
        except (OSError, ValueError, KeyError, IndexError, BadZipFile, pa.ArrowException, IntegrityError) as error:
            yield where, f"unreadable, or of no episode: {error}"
            continue
        if count not in (None, wanted):
            yield where, f"{count} entries for {wanted} frames"
    for folder, have in sorted(folders.items()):
        if have != len(lengths):
            yield f"{SIDECAR}/{folder.relative_to(root).as_posix()}", f"{have} files for {len(lengths)} episodes"


def _entries(path: Path) -> int | None:
    """Frames that a side file holds; None = it has no entry per frame."""
    if path.is_dir():
        return len(list(path.iterdir()))
    if path.suffix == ".mkv":
        return len(probe(path).times)
    if path.suffix == ".npz":
        return rows_of(path)
    if path.suffix == ".json":
        content = json.loads(path.read_bytes())
        frames = content.get("images", content.get("frames"))
        return None if frames is None else len(frames)
    if path.suffix == ".parquet":
        return pq.read_metadata(path).num_rows if path.parent.name == "poses" else None
    return None
