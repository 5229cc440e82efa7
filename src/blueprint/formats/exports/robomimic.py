"""One HDF5 file of demonstrations, laid out as robomimic's `SequenceDataset` reads it.

Layout: robomimic 0.3 to 0.5, docs/datasets/overview. Pictures are stored without further loss. `next_obs` is a view of
`obs` one step on, so it costs nothing; what followed the last action was never seen, so there the last is repeated.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from blueprint.core.errors import BackendError, IntegrityError
from blueprint.formats.arrays import npz_frames
from blueprint.formats.exports import Converted
from blueprint.formats.exports.steps import Demo, demos, origin, pictures
from blueprint.formats.lerobot.read import ForeignDataset

RANGE = "as recorded; beyond [-1, 1] robomimic needs the normalization min_max"


def write(dataset: ForeignDataset, out: Path) -> Converted:
    """Write `out/demos.hdf5`. Raises BackendError without h5py."""
    try:
        import h5py  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise BackendError("HDF5 needs h5py", "pip install 'blueprint-pipeline[hdf5]'") from error
    done, filters, low, high = Converted(), dict[str, list[str]](), np.inf, -np.inf
    robot = str(dataset.info.get("robot_type") or "unknown")
    about: dict[str, Any] = origin(dataset) | {"next_obs": "the next step's obs; at the last step its own, repeated"}
    about["tasks"] = {f"task_{number}": text for number, text in dataset.tasks.items()}
    with h5py.File(out / "demos.hdf5", "w") as file:
        data = file.create_group("data")
        # "type" is none of robomimic's simulators: it can train on this, but has nothing to roll out in
        data.attrs["env_args"] = json.dumps({"env_name": robot, "type": "blueprint", "env_kwargs": {}})
        for demo in demos(dataset):
            name = f"demo_{demo.episode.index}"
            _write_demo(h5py, data.create_group(name), dataset, demo)
            # robomimic takes one text for all that a filter key chooses, so each text has one
            tasks = [f"task_{number}" for number in np.unique(demo.columns["task_index"])]
            for key in ("valid" if demo.part == "val" else demo.part, *tasks):
                filters.setdefault(key, []).append(name)
            low, high = np.minimum(low, demo.action.min(axis=0)), np.maximum(high, demo.action.max(axis=0))
            done.episodes, done.frames = done.episodes + 1, done.frames + demo.episode.length
        data.attrs["total"] = done.frames
        about["actions"] = {"min": np.ravel(low).tolist(), "max": np.ravel(high).tolist(), "note": RANGE}
        file["about"] = json.dumps(about)  # an attribute holds 64 KB only
        for key, names in filters.items():
            file[f"mask/{key}"] = np.array(names, dtype="S")
    return done


def _write_demo(h5py: Any, group: Any, dataset: ForeignDataset, demo: Demo) -> None:
    count = demo.episode.length
    group.attrs["num_samples"] = count
    group.attrs["lang"] = demo.texts[0]
    group.attrs["rewards_from"] = demo.rewarded
    group["actions"], group["rewards"] = demo.action, demo.reward
    group["dones"] = demo.done.astype(np.int64)
    for above, tree in (("obs", demo.observation), ("columns", demo.columns)):
        for name, values in tree.items():
            group[f"{above}/{name}"] = values
    for key, seen in pictures(dataset, demo.episode).items():
        stored = None
        for frame, picture in enumerate(seen):
            if stored is None:
                kind = {"chunks": (1, *picture.shape), "compression": "gzip", "compression_opts": 1}
                stored = group.create_dataset(f"obs/{key}", (count, *picture.shape), "u1", **kind)
            stored[frame] = picture
    for name, values in group["obs"].items():
        layout = h5py.VirtualLayout(values.shape, values.dtype)
        layout.dcpl.set_obj_track_times(False)  # no clock in the file
        source = h5py.VirtualSource(".", values.name, values.shape)
        layout[: count - 1], layout[count - 1] = source[1:], source[count - 1]
        group.create_virtual_dataset(f"next_obs/{name}", layout)
    path = dataset.root / f"sidecar/privileged_state/{demo.episode.index:06d}.npz"
    if path.is_file():  # the whole simulation, as MuJoCo flattens it
        frames = npz_frames(path, "qpos", "qvel")
        group["states"] = [np.r_[k / dataset.fps, frame["qpos"], frame["qvel"]] for k, frame in enumerate(frames)]
        group["states"].attrs["layout"] = "time [s], qpos, qvel"
        if len(group["states"]) != count:
            raise IntegrityError(f"{path} is of another length than the episode ({count})")
