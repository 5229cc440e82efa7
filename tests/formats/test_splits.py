"""Splits: everything in exactly one part, siblings together, shares as promised."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blueprint.formats.lerobot.splits import SHARES, split

episodes = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 3)), min_size=1, max_size=40, unique_by=lambda e: e[0])


@given(trajectories=episodes, strategy=st.sampled_from(["random", "scene", "task"]))
def test_every_episode_is_in_one_part_and_siblings_are_together(trajectories: list, strategy: str) -> None:
    of_episode = [number for number, siblings in trajectories for _ in range(siblings)]
    tasks = [f"task {number % 5}" for number in of_episode]
    scenes = [f"scene {number % 7}" for number in of_episode]
    parts = split(of_episode, scenes, tasks, strategy)  # type: ignore[arg-type]
    assert sorted(i for part in parts.values() for i in part) == list(range(len(of_episode)))
    assert parts["train"] and all(part == sorted(part) for part in parts.values())
    where = {i: name for name, part in parts.items() for i in part}
    for keys in (of_episode, {"random": of_episode, "scene": scenes, "task": tasks}[strategy]):
        assert all(len({where[i] for i in where if keys[i] == key}) == 1 for key in set(keys))


@given(count=st.integers(1, 300))
def test_shares_are_of_the_trajectories(count: int) -> None:
    parts = split(list(range(count)), ["y"] * count, ["x"] * count, "random")
    assert {name: len(part) for name, part in parts.items() if name != "train"} == {
        name: int(SHARES[name] * count + 1e-9) for name in ("val", "test")
    }


def test_a_split_is_the_same_every_time_and_shuffled() -> None:
    parts = split(list(range(50)), ["y"] * 50, ["x"] * 50, "random")
    assert parts == split(list(range(50)), ["y"] * 50, ["x"] * 50, "random")
    assert parts["test"] != list(range(45, 50))


@pytest.mark.parametrize("strategy", ["scene", "task"])
def test_what_is_tested_on_was_never_trained_on(strategy: str) -> None:
    scenes, tasks = [str(k % 8) for k in range(40)], [str(k // 4) for k in range(40)]
    parts = split(list(range(40)), scenes, tasks, strategy)  # type: ignore[arg-type]
    keys = scenes if strategy == "scene" else tasks
    seen = {keys[k] for k in parts["train"]}
    assert not seen & {keys[k] for k in parts["val"] + parts["test"]}
    assert parts["val"] and parts["test"]  # although of 8 scenes a tenth is none
