"""A dataset's episodes as trainers of demonstrations want them: observation, action, reward, end, words; step by step.

Nothing is made up: a reward that nobody recorded is 0, and `Demo.rewarded` says where the rewards are from.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blueprint.core.errors import InputError
from blueprint.core.report import progress
from blueprint.formats.json_file import read_json
from blueprint.formats.lerobot.read import Episode, ForeignDataset, json_lines

ACTION, OBSERVATION = "action", "observation."
REWARD, DONE, SUCCESS = "next.reward", "next.done", "next.success"
TEXT, PICTURE = ("string", "language"), ("video", "image")
_ORIGIN = ("sensor_source", "renderer", "simulator", "pack")  # of sidecar/scene.json


@dataclass(frozen=True)
class Demo:
    """An episode of T steps.

    observation: key -> (T, ...); action: (T, A); columns: the table's others, under their own names; reward, done:
    (T,); terminal: the last step ended the task, not the clock; texts: what it was told at each step; rewarded: who
    says so; part: train, val or test of `sidecar/splits.json`, train without
    """

    episode: Episode
    observation: dict[str, NDArray[Any]]
    action: NDArray[Any]
    columns: dict[str, NDArray[Any]]
    reward: NDArray[np.float32]
    done: NDArray[np.bool_]
    terminal: bool
    texts: list[str]
    rewarded: str
    part: str


def demos(dataset: ForeignDataset) -> Iterator[Demo]:
    """In order, one held at a time. Raises InputError for a dataset without actions."""
    sidecar, keys = dataset.root / "sidecar", _keys(dataset)
    numbers = [name for name in dataset.columns if dataset.features[name]["dtype"] not in (*TEXT, *PICTURE)]
    if ACTION not in numbers:
        raise InputError(f"no feature {ACTION!r}; there are: {', '.join(numbers)}", "demonstrations need actions")
    success = {row["episode_index"]: row.get("success") for row in json_lines(sidecar / "episodes.jsonl")}
    splits = read_json(sidecar / "splits.json") if (sidecar / "splits.json").is_file() else {}
    part = {index: name for name in ("train", "val", "test") for index in splits.get(name, ())}
    for episode in progress(dataset.episodes(), int(dataset.info["total_episodes"]), "convert"):
        table = dataset.table(episode)
        values = {}
        for name in numbers:  # rows of unequal length, or others than the metadata say, are the doctor's to refuse
            kind, shape = dataset.features[name]["dtype"], dataset.features[name].get("shape") or (1,)
            values[name] = np.array(table[name].tolist(), kind).reshape(episode.length, *shape)
        succeeded = bool(values[SUCCESS].flat[-1]) if SUCCESS in values else success.get(episode.index)
        done = np.arange(episode.length) == episode.length - 1
        reward, rewarded = np.zeros(episode.length, np.float32), "nobody: all 0"
        if REWARD in values:
            reward, rewarded = values[REWARD].reshape(-1).astype(np.float32), REWARD
        elif succeeded is not None:
            reward, rewarded = (done & succeeded).astype(np.float32), "success: 1 at the last step"
        if DONE in values:
            done = values[DONE].reshape(-1).astype(bool)
        yield Demo(
            episode=episode,
            observation={keys[name]: values[name] for name in values if name in keys},
            action=values[ACTION].reshape(episode.length, -1),
            columns={name: column for name, column in values.items() if name != ACTION and name not in keys},
            reward=reward,
            done=done,
            terminal=bool(done[-1]) and succeeded is not False,
            texts=[dataset.tasks[number] for number in values["task_index"].reshape(-1).tolist()],
            rewarded=rewarded,
            part=part.get(episode.index, "train"),
        )


def pictures(dataset: ForeignDataset, episode: Episode) -> dict[str, Iterator[NDArray[np.uint8]]]:
    """Key -> (H, W, 3) RGB of each step. Raises InputError for depth videos, IntegrityError for damaged ones."""
    for name in dataset.videos:
        info = dataset.features[name].get("info") or {}
        if info.get("is_depth_map") or info.get("video.is_depth_map"):
            raise InputError(f"{name} is depth coded as video", "8 bits would harm it: leave the feature out first")
    shown = {key: name for name, key in _keys(dataset).items() if dataset.features[name]["dtype"] in PICTURE}
    return {key: dataset.pictures(episode, name) for key, name in shown.items()}


def origin(dataset: ForeignDataset) -> dict[str, Any]:
    """Where it is from, as far as it says so; names of the numbers."""
    path = dataset.root / "sidecar/scene.json"
    scene = read_json(path) if path.is_file() else {}
    names = {name: dataset.features[name].get("names") for name in (ACTION, *_keys(dataset)) if name in dataset.columns}
    about = {"format": f"LeRobot {dataset.version}", "fps": dataset.fps, "robot_type": dataset.info.get("robot_type")}
    return about | {"names": names} | {key: scene[key] for key in _ORIGIN if key in scene}


def _keys(dataset: ForeignDataset) -> dict[str, str]:
    """Feature -> key, of observations: `observation.images.front` is `front_image`, `observation.state` is `state`."""
    found: dict[str, str] = {}
    for name, feature in dataset.features.items():
        if name.startswith(OBSERVATION) and feature["dtype"] not in TEXT:
            key = name.removeprefix(OBSERVATION)
            if feature["dtype"] in PICTURE:
                key = key.removeprefix("images.").removeprefix("image.") + "_image"
            found[name] = key.replace(".", "_")
    if len(set(found.values())) < len(found):
        raise InputError(f"names too alike: {', '.join(found)}", "give the features names of their own")
    return found
