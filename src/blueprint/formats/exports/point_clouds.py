"""A coloured, labelled point cloud per frame, PLY (binary), world frame, metres, z up; beside it states and actions.

The clouds are those of the data pack, else they are drawn from depth, evenly over the pictures.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blueprint.core.errors import InputError
from blueprint.formats.exports import Converted
from blueprint.formats.exports.steps import demos, pictures
from blueprint.formats.lerobot.read import Episode, ForeignDataset
from blueprint.formats.lerobot.sidecar_read import Sidecar
from blueprint.geometry.segmentation.boxes import sample_points
from blueprint.geometry.transforms import pose_to_matrix, transform_points
from blueprint.model.packs import POINTS
from blueprint.model.spatial import Pose

Cloud = Mapping[str, NDArray[Any]]  # points, colors, instance, camera, normals: (N,) or (N, 3)
PROPERTIES = {"points": "x y z", "normals": "nx ny nz", "colors": "red green blue"}  # others: their own names
TYPES = {"f4": "float", "u1": "uchar", "i4": "int"}  # those that Open3D knows: no ushort


def write(dataset: ForeignDataset, out: Path) -> Converted:
    """`episode_NNNNNN/FFFFFF.ply`, `episode_NNNNNN/frames.jsonl`, `labels.json`. Raises InputError without clouds and
    without depth of a camera that is calibrated and posed."""
    sidecar, done, packed = Sidecar(dataset), Converted(), None
    for demo in demos(dataset):
        folder = out / f"episode_{demo.episode.index:06d}"
        folder.mkdir()
        packed = sidecar.point_cloud(demo.episode)
        clouds = packed or _drawn(dataset, sidecar, demo.episode)
        columns = {**demo.observation, "action": demo.action, **demo.columns}
        with (folder / "frames.jsonl").open("w") as lines:
            for k, cloud in enumerate(clouds):
                (folder / f"{k:06d}.ply").write_bytes(ply(cloud))
                row = {"file": f"{k:06d}.ply", "task": demo.texts[k]}
                lines.write(json.dumps(row | {name: values[k].tolist() for name, values in columns.items()}) + "\n")
        done.episodes, done.frames = done.episodes + 1, done.frames + demo.episode.length
    (out / "labels.json").write_text(json.dumps(sidecar.labels(cloud=packed is not None), indent=1) + "\n")
    return done


def ply(cloud: Cloud) -> bytes:
    """Points that are NaN (nothing was seen) are left out."""
    seen = np.flatnonzero(np.isfinite(cloud["points"]).all(axis=1))
    columns: dict[str, NDArray[Any]] = {}
    for name, values in cloud.items():
        values = values.astype("i4") if values.dtype == "u2" else values
        columns |= zip(PROPERTIES.get(name, name).split(), np.atleast_2d(values[seen].T), strict=True)
    properties = [f"property {TYPES[values.dtype.str[1:]]} {name}" for name, values in columns.items()]
    head = f"ply\nformat binary_little_endian 1.0\ncomment world frame, z up, metres\nelement vertex {len(seen)}"
    rows = np.rec.fromarrays(list(columns.values()), dtype=[(name, values.dtype) for name, values in columns.items()])
    return "\n".join([head, *properties, "end_header\n"]).encode() + rows.tobytes()


def _drawn(dataset: ForeignDataset, sidecar: Sidecar, episode: Episode) -> Iterator[Cloud]:
    """As many points a frame as the fullest pack has, or as many as there are pixels with depth."""
    lenses, poses, views = sidecar.cameras(episode), sidecar.poses(episode), {}
    for key, frames in pictures(dataset, episode).items():
        name = key.removesuffix("_image")
        depth = sidecar.depth(name, episode)
        if depth is not None and name in lenses and f"camera/{name}" in poses:
            views[name] = (depth, frames, sidecar.segmentation(name, episode))
    if not views:
        what = f"episode {episode.index} has no point cloud, and no depth of a camera whose place is known"
        raise InputError(what, "record with depth, e.g. --set recording.pack=plus")
    labelled = all(labels is not None for _, _, labels in views.values())
    for k in range(episode.length):
        parts: list[Cloud] = []
        for c, (name, (depths, frames, labels)) in enumerate(views.items()):
            depth, picture, pose = next(depths), next(frames).reshape(-1, 3), poses[f"camera/{name}"][k]
            count = min(POINTS["full"] // len(views), int(np.count_nonzero(depth)))
            points, chosen = sample_points(depth, lenses[name], count, np.random.default_rng([episode.index, k, c]))
            points = transform_points(pose_to_matrix(Pose(position=pose[:3], quat_wxyz=pose[3:])), points)
            part = {"points": points.astype("f4"), "colors": picture[chosen], "camera": np.full(len(chosen), c, "u1")}
            parts.append(part | ({"instance": next(labels).ravel()[chosen]} if labels and labelled else {}))
        yield {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
