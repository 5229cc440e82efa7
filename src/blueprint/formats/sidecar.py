"""What a LeRobot v3.0 dataset has no place for, in `sidecar/` beside it: depth, segmentation, poses, provenance.

The reader of the dataset ignores the folder; `README.md` in it says how the files line up with the frames.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from blueprint.core.errors import IntegrityError
from blueprint.formats.video import probe
from blueprint.model.artifacts import Episodes, Recording, Workcell
from blueprint.model.episode import EpisodeRecord, RecordedEpisode

SIDECAR = "sidecar"  # in the dataset's root

README = """# Side files

Line i of a side file belongs to `frame_index` i of the episode. `NNNNNN` is the dataset's `episode_index`.

| file | content |
|---|---|
| `depth/CAMERA/NNNNNN.mkv` | depth along the optical axis in millimetres, 0 = nothing in range |
| `segmentation/CAMERA/NNNNNN.mkv` | body of each pixel, named in `scene.json` |
| `poses/NNNNNN.parquet` | a row per frame: pose of each object, finger and camera; the skill segment |
| `scene.json` | camera intrinsics [px], names of the segmentation values, units |
| `episodes.jsonl` | a line per episode: task, goal, seed, grasp class, attempts, checks |

The Matroska files are FFV1 with 16-bit gray pixels (gray16le), without loss. Match their frames by order: the
container rounds time stamps to milliseconds.
Poses are `x, y, z [m], w, x, y, z` in the world frame (z up, origin on the table top). Camera poses map camera points
(OpenCV: x right, y down, z forward) to the world; pixel centres have integer coordinates.
Files are absent when the recording was made without them.
"""


def write_sidecar(
    root: Path,
    workcell: Workcell,
    episodes: Episodes,
    recording: Recording,
    pairs: Sequence[tuple[RecordedEpisode, EpisodeRecord]],
) -> None:
    """Write the folder `root`; the k-th of `pairs` is episode k of the dataset."""
    root.mkdir(parents=True)
    (root / "README.md").write_text(README)
    names = [track.camera for track in pairs[0][0].tracks]
    cameras = dict(zip(names, recording.cameras, strict=True))
    scene = {
        "cameras": {name: camera.model_dump() for name, camera in cameras.items()},
        "segmentation": {str(value): name for value, name in recording.segment_names.items()},
        "depth": {"unit": "mm", "invalid": 0},
        "sensor_source": recording.sensor_source,
        "renderer": recording.renderer,
        "simulator": episodes.simulator,
    }
    (root / "scene.json").write_text(json.dumps(scene, indent=1) + "\n")
    lines = []
    for index, (recorded, record) in enumerate(pairs):
        _copy_pictures(root, recording, recorded, index)
        _write_poses(root, workcell, episodes, recording, recorded, record, index)
        source = record.model_dump(mode="json", exclude={"states", "index"})
        lines.append(json.dumps({"episode_index": index, "source_episode": record.index, **source}))
    (root / "episodes.jsonl").write_text("\n".join(lines) + "\n")


def _copy_pictures(root: Path, recording: Recording, recorded: RecordedEpisode, index: int) -> None:
    for track in recorded.tracks:
        for kind, source in (("depth", track.depth), ("segmentation", track.segmentation)):
            if source is not None:
                target = root / kind / track.camera / f"{index:06d}.mkv"
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(recording.path(source), target)


def _write_poses(
    root: Path,
    workcell: Workcell,
    episodes: Episodes,
    recording: Recording,
    recorded: RecordedEpisode,
    record: EpisodeRecord,
    index: int,
) -> None:
    values = {name: value for value, name in recording.segment_names.items()}
    wanted = (*(body.name for body in workcell.bodies), *workcell.robot.gripper.finger_bodies)
    with np.load(recording.path(recorded.poses), allow_pickle=False) as arrays:
        bodies, cameras = arrays["body_poses"], arrays["camera_poses"]
    columns: dict[str, pa.Array] = {"frame_index": pa.array(np.arange(recorded.frames, dtype=np.int64))}
    columns["segment"] = pa.array(_segments(episodes, record), pa.string())
    columns |= {f"body/{name}": _pose_column(bodies[:, values[name]]) for name in wanted}
    columns |= {f"camera/{track.camera}": _pose_column(cameras[:, c]) for c, track in enumerate(recorded.tracks)}
    path = root / "poses" / f"{index:06d}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, compression="snappy")


def _segments(episodes: Episodes, record: EpisodeRecord) -> list[str]:
    with np.load(episodes.path(record.states or ""), allow_pickle=False) as arrays:
        return [episodes.segments[value] for value in arrays["segment"]]


def _pose_column(poses: NDArray[np.float64]) -> pa.Array:
    """(T, 7) -> fixed_size_list<double>[7]."""
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(poses).ravel()), 7)


def misaligned(root: Path, lengths: Sequence[int]) -> Iterator[tuple[str, str]]:
    """(file, what is wrong) of every side file that has not one entry per frame. lengths: frames of each episode."""
    for path in sorted(root.glob("poses/*.parquet")) + sorted(root.glob("*/*/*.mkv")):
        where = f"{SIDECAR}/{path.relative_to(root).as_posix()}"
        try:
            count = pq.read_metadata(path).num_rows if path.suffix == ".parquet" else len(probe(path).times)
            wanted = lengths[int(path.stem)]
        except (OSError, ValueError, IndexError, pa.ArrowException, IntegrityError) as error:
            yield where, f"unreadable, or of no episode: {error}"
            continue
        if count != wanted:
            yield where, f"{count} entries for {wanted} frames"
    for folder in sorted({path.parent for path in root.glob("*/*/*.mkv")} | {root / "poses"}):
        if (have := len(list(folder.glob("*.*")))) != len(lengths):
            yield f"{SIDECAR}/{folder.relative_to(root).as_posix()}", f"{have} files for {len(lengths)} episodes"
