"""RLDS episodes as TensorFlow Datasets keeps them: TFRecord files, `features.json` and `dataset_info.json`.

`tfds.load("NAME", data_dir="OUT")`, NAME being OUT's own name. Steps hold the fields of RLDS (Ramos et al. 2021),
metadata are those of TFDS 4.9. Pictures are PNG: they lose nothing that the video still had.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from blueprint.core.errors import InputError
from blueprint.formats.exports import Converted
from blueprint.formats.exports.steps import Demo, demos, origin, pictures
from blueprint.formats.exports.tfrecord import LIMIT, Feature, example, write_record
from blueprint.formats.lerobot.read import ForeignDataset

VERSION = "1.0.0"
SHARD = 200 * 2**20  # [bytes] after which a new file begins
_PNG = b"\x89PNG"  # no text in UTF-8 begins so
_CLASS = "tensorflow_datasets.core.features."
Tree = dict[str, Any]  # field -> its values at every step, or a tree of its own


def write(dataset: ForeignDataset, out: Path) -> Converted:
    """Write `out/NAME/1.0.0`. Raises InputError for an episode too long for one record (2 GB)."""
    name = re.sub(r"\W+", "_", out.name).strip("_").lower()
    name = name if name[:1].isalpha() else f"dataset_{name}"
    folder = out / name / VERSION
    folder.mkdir(parents=True)
    shards: dict[str, list[list[int]]] = {}  # split -> sizes of the records in each file
    features, done, rewarded = {}, Converted(), set[str]()
    for demo in demos(dataset):
        steps, path = _steps(dataset, demo), demo.episode.table.relative_to(dataset.root).as_posix()
        about = {"file_path": [path.encode()], "episode_index": np.array([demo.episode.index])}
        record = example(_flat({"steps": steps, "episode_metadata": about}))
        if len(record) > LIMIT:
            size = f"episode {demo.episode.index} takes {len(record) / 1e9:.1f} GB"
            raise InputError(size, "TensorFlow reads records up to 2 GB: take another format")
        files = shards.setdefault(demo.part, [[]])
        if files[-1] and sum(files[-1]) + len(record) > SHARD:
            files.append([])
        files[-1].append(len(record))
        with (folder / f"{demo.part}.{len(files)}").open("ab") as file:
            write_record(file, record)
        sequence = {"feature": _described(steps), "length": "-1"}
        whole = {"pythonClassName": f"{_CLASS}dataset_feature.Dataset", "sequence": sequence}
        features = _dict({"episode_metadata": _described(about), "steps": whole})
        rewarded.add(demo.rewarded)
        done.episodes, done.frames = done.episodes + 1, done.frames + demo.episode.length
    for split, files in shards.items():  # names hold the number of files
        for index in range(len(files)):
            path = folder / f"{name}-{split}.tfrecord-{index:05d}-of-{len(files):05d}"
            (folder / f"{split}.{index + 1}").rename(path)
    told = json.dumps(origin(dataset) | {"rewards_from": sorted(rewarded)})
    info = {
        "name": name,
        "version": VERSION,
        "description": f"Converted from LeRobot, see README.md. {told}",
        "fileFormat": "tfrecord",
        "splits": [_split(split, shards[split]) for split in sorted(shards)],
    }
    (folder / "dataset_info.json").write_text(json.dumps(info, indent=2) + "\n")
    (folder / "features.json").write_text(json.dumps(features, indent=2) + "\n")
    return done


def _split(name: str, files: list[list[int]]) -> Tree:
    return {
        "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
        "name": name,
        "numBytes": str(sum(map(sum, files))),
        "shardLengths": [str(len(sizes)) for sizes in files],
    }


def _steps(dataset: ForeignDataset, demo: Demo) -> Tree:
    import cv2

    encode = lambda picture: cv2.imencode(".png", picture[..., ::-1])[1].tobytes()  # noqa: E731
    png = {key: [encode(picture) for picture in seen] for key, seen in pictures(dataset, demo.episode).items()}
    at = np.arange(demo.episode.length)
    last = at == demo.episode.length - 1
    return {
        "observation": png | demo.observation,
        "action": demo.action,
        "reward": demo.reward,
        "discount": np.ones(len(at), np.float32),
        "is_first": at == 0,
        "is_last": last,
        "is_terminal": last & demo.terminal,
        "language_instruction": [text.encode() for text in demo.texts],
        "columns": {name.replace(".", "_"): values for name, values in demo.columns.items()},
    }


def _flat(tree: Tree, above: str = "") -> dict[str, Feature]:
    """As an Example holds it: `steps/observation/state`."""
    found: dict[str, Feature] = {}
    for name, value in tree.items():
        found |= _flat(value, f"{above}{name}/") if isinstance(value, dict) else {above + name: value}
    return found


def _described(value: Any) -> Tree:
    """As `features.json` describes it."""
    if isinstance(value, dict):
        return _dict({name: _described(below) for name, below in value.items()})
    if isinstance(value, np.ndarray):
        encoding = "bytes" if value.dtype == np.float64 else "none"
        shape = {"dimensions": [str(size) for size in value.shape[1:]]}
        tensor = {"dtype": value.dtype.name, "encoding": encoding, "shape": shape}
        return {"pythonClassName": f"{_CLASS}tensor_feature.Tensor", "tensor": tensor}
    if value[0].startswith(_PNG):
        size = [str(int.from_bytes(value[0][at : at + 4])) for at in (20, 16)]
        image = {"dtype": "uint8", "encodingFormat": "png", "shape": {"dimensions": [*size, "3"]}}
        return {"pythonClassName": f"{_CLASS}image_feature.Image", "image": image}
    return {"pythonClassName": f"{_CLASS}text_feature.Text", "text": {}}


def _dict(fields: Tree) -> Tree:
    return {"pythonClassName": f"{_CLASS}features_dict.FeaturesDict", "featuresDict": {"features": fields}}
