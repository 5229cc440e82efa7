"""Which episodes to train on, to choose by and to test on: siblings of one trajectory are never parted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

Strategy = Literal["random", "scene", "task"]
SHARES = {"train": 0.8, "val": 0.1, "test": 0.1}
SEED = 42
ENOUGH = 5


def split(
    trajectories: Sequence[int], scenes: Sequence[str], tasks: Sequence[str], strategy: Strategy
) -> dict[str, list[int]]:
    """Names of the parts -> episode indices, ascending. trajectories, scenes, tasks: of each episode, in order; a
    trajectory has one scene and one task.

    random: trajectories are dealt; scene, task: whole scenes or tasks are, so that val and test hold some never trained
    on. As near to `SHARES` as groups allow, rounded in favour of train: a single group is all train. Of `ENOUGH` scenes
    or tasks, val and test get one each.
    """
    keys = {"random": trajectories, "scene": scenes, "task": tasks}[strategy]
    groups = list(dict.fromkeys(keys))
    dealt = [groups[i] for i in np.random.default_rng(SEED).permutation(len(groups))]
    least = int(strategy != "random" and len(groups) >= ENOUGH)
    held = {name: max(int(share * len(groups) + 1e-9), least) for name, share in SHARES.items() if name != "train"}
    part: dict[object, str] = {}
    for name, count in held.items():
        for _ in range(count):
            part[dealt.pop()] = name
    return {name: [i for i, key in enumerate(keys) if part.get(key, "train") == name] for name in SHARES}
