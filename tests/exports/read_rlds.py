"""Read RLDS episodes with the real TensorFlow Datasets; runs in its own environment: python read_rlds.py FOLDER WANTED

FOLDER: NAME/1.0.0 of an export. WANTED: an .npz of all values that must come back, `SPLIT/EPISODE/steps/FIELD`. All
steps of all splits are read, by path and by name; every value must be equal. Prints a line; raises if anything differs.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import tensorflow_datasets as tfds


def main(folder: Path, wanted: dict[str, np.ndarray]) -> None:
    builder = tfds.builder_from_directory(folder)
    found = {}
    for split in builder.info.splits:
        for episode in tfds.as_numpy(builder.as_dataset(split=split)):
            steps = list(episode["steps"])
            above = f"{split}/{int(episode['episode_metadata']['episode_index'])}/steps"
            for name, value in leaves(steps[0]):
                found[f"{above}/{name}"] = np.array([dict(leaves(step))[name] for step in steps])
                assert np.asarray(value).dtype == found[f"{above}/{name}"].dtype or isinstance(value, bytes), name
    assert set(found) == set(wanted), set(found) ^ set(wanted)
    for name, values in wanted.items():
        assert np.array_equal(found[name], values), name
        assert found[name].dtype == values.dtype, (name, found[name].dtype, values.dtype)
    named = tfds.builder(folder.parent.name, data_dir=folder.parents[1])  # as OpenVLA and Octo open it
    lengths = {split: info.num_examples for split, info in named.info.splits.items()}
    assert lengths == {split: info.num_examples for split, info in builder.info.splits.items()}
    print(f"PASS tensorflow-datasets {tfds.__version__} read {lengths}, {len(wanted)} arrays equal")


def leaves(tree: dict, above: str = "") -> list[tuple[str, np.ndarray]]:
    parts = (leaves(v, f"{above}{k}/") if isinstance(v, dict) else [(above + k, v)] for k, v in tree.items())
    return [leaf for part in parts for leaf in part]


if __name__ == "__main__":
    with np.load(sys.argv[2]) as arrays:
        main(Path(sys.argv[1]), dict(arrays))
