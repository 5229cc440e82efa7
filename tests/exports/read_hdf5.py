"""Read demonstrations with robomimic's SequenceDataset, in an environment of its own: python read_hdf5.py FILE WANTED

WANTED: an .npz of all values that must come back, `FILTER/EPISODE/obs/KEY` and so on. Windows over time are read of
every step, batches by torch's loader. Prints a line; raises if anything differs.
"""

from __future__ import annotations

import inspect
import sys

import numpy as np
import robomimic
import robomimic.utils.obs_utils as obs_utils
import torch
from robomimic.utils.dataset import SequenceDataset

WINDOW, STACK = 3, 2


def main(path: str, wanted: dict[str, np.ndarray]) -> None:
    filters = sorted({name.split("/")[0] for name in wanted})
    keys = sorted({name.split("/")[3] for name in wanted if name.split("/")[2] == "obs"})
    pictures = [key for key in keys if key.endswith("_image")]
    specs = {"low_dim": [key for key in keys if key not in pictures], "rgb": pictures}
    obs_utils.initialize_obs_utils_with_obs_specs({"obs": specs, "goal": {}})
    for chosen in filters:
        dataset = opened(path, keys, chosen)
        demos = {int(name.split("/")[1]) for name in wanted if name.startswith(f"{chosen}/")}
        assert set(dataset.demos) == {f"demo_{demo}" for demo in demos}
        read_windows(dataset, {name.removeprefix(f"{chosen}/"): v for name, v in wanted.items()}, keys, sorted(demos))
        batch = next(iter(torch.utils.data.DataLoader(dataset, batch_size=4, shuffle=True)))
        assert all(batch["obs"][key].dtype == torch.uint8 and batch["obs"][key].ndim == 5 for key in pictures)
    print(f"PASS robomimic {robomimic.__version__} read {', '.join(filters)}")


def opened(path: str, keys: list[str], chosen: str) -> SequenceDataset:
    kwargs = {"frame_stack": STACK, "seq_length": WINDOW, "load_next_obs": True, "filter_by_attribute": chosen}
    if "action_keys" in inspect.signature(SequenceDataset).parameters:  # since 0.4
        kwargs |= {"action_keys": ["actions"], "action_config": {"actions": {"normalization": None}}}
    return SequenceDataset(path, keys, dataset_keys=["actions", "rewards", "dones"], **kwargs)


def read_windows(dataset: SequenceDataset, wanted: dict[str, np.ndarray], keys: list[str], demos: list[int]) -> None:
    """What lies before the first step and behind the last one is padded with those."""
    first = 0
    for demo in demos:
        count = len(wanted[f"{demo}/actions"])
        for step in {0, count // 2, max(count - 2, 0), count - 1}:
            item = dataset[first + step]
            rows = np.clip(np.arange(step - STACK + 1, step + WINDOW), 0, count - 1)
            for name in ("actions", "rewards", "dones"):
                assert np.array_equal(item[name], wanted[f"{demo}/{name}"][rows]), name
            for key in keys:
                values = wanted[f"{demo}/obs/{key}"]
                assert np.array_equal(item["obs"][key], values[rows]), key
                assert np.array_equal(item["next_obs"][key], values[np.minimum(rows + 1, count - 1)]), key
        first += count
    assert first == len(dataset)


if __name__ == "__main__":
    with np.load(sys.argv[2]) as arrays:
        main(sys.argv[1], dict(arrays))
