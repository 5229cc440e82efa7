"""Laws of the training score: no record is believed, copies add nothing, starts are everywhere, labels explain."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import toy_episodes
from blueprint.model.spatial import Pose
from blueprint.stages.quality import training

RNG = np.random.default_rng(0)


def test_success_is_what_the_states_show_not_what_the_record_says(tmp_path: Path) -> None:
    workcell = toy_episodes.make_workcell(tmp_path / "workcell")
    taskset = toy_episodes.make_taskset(tmp_path / "taskset")
    claimed = toy_episodes.make_episodes(tmp_path / "episodes", workcell, taskset)
    successes = [record for record in claimed.episodes if record.success]
    assert successes and not any(training.confirmed(workcell, claimed, record) for record in successes)


def episode(index: int, path: np.ndarray, task: str = "a") -> tuple[Any, Any]:
    return SimpleNamespace(index=index, task=SimpleNamespace(id=task)), SimpleNamespace(resampled=path)


def test_copies_are_counted_once_and_tasks_apart() -> None:
    paths = [np.cumsum(RNG.normal(0, 0.01, (32, 3)), axis=0) for _ in range(3)]
    shown = [*paths, *(path + RNG.normal(0, 1e-4, path.shape) for path in paths)]
    pairs = [episode(k, path, "a" if k < 5 else "b") for k, path in enumerate(shown)]
    found = training.distinct([record for record, _ in pairs], {record.index: path for record, path in pairs})
    assert found == {"a": 3, "b": 1}


def starts(places: np.ndarray, degrees: np.ndarray) -> np.ndarray:
    half = np.deg2rad(degrees) / 2
    zero = np.zeros_like(half)
    return np.column_stack([places, zero + 0.1, np.cos(half), zero, zero, np.sin(half)])


def test_the_wider_episodes_start_the_more_is_covered() -> None:
    captured, region = Pose(position=(0.5, 0.2, 0.1)), (0.03, 20.0)
    unit = RNG.uniform(-1, 1, (400, 3))
    shares = [
        training._covered(captured, starts([0.5, 0.2] + unit[:, :2] * 0.03 * width, unit[:, 2] * 20 * width), region)
        for width in (0.0, 0.3, 1.0)
    ]
    assert shares[0] < 0.1 and shares[0] < shares[1] < 0.6 and shares[2] > 0.99


def test_turns_are_those_against_the_captured_pose() -> None:
    turned = Pose(position=(0.0, 0.0, 0.1), quat_wxyz=(np.cos(0.5), 0.0, 0.0, np.sin(0.5)))
    same, other = (
        training._covered(turned, starts(np.zeros((1, 2)), np.array([d])), (0.03, 20.0)) for d in (57.3, 0.0)
    )
    assert same > 0 and other == 0


@pytest.mark.parametrize("late", [-6, 0, 5])
@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_a_servos_lag_is_no_fault_noise_is_error_and_delay_is_delay(
    monkeypatch: pytest.MonkeyPatch, noise: float, late: int
) -> None:
    command = 0.4 * np.sin(np.arange(200)[:, None] * np.linspace(0.05, 0.2, 7))
    state = command.copy()
    for t in range(1, len(state)):  # a first-order servo
        state[t] = state[t - 1] + 0.6 * (command[t - 1] - state[t - 1])
    told = np.roll(command, late, axis=0)
    told = told[12:-12] + RNG.normal(0, noise, told[12:-12].shape)
    monkeypatch.setattr(training, "_states", lambda *_: {"state": state[12:-12], "action": told})
    monkeypatch.setattr(training, "joint_columns", lambda _: list(range(7)))
    episodes = SimpleNamespace(fps=15)
    error, delay = training.label_faults(None, episodes, [None])  # type: ignore[arg-type,list-item]
    assert error < 0.005 if noise == 0 else 0.03 < error < 0.06
    assert delay == pytest.approx(max(0, late - 1) / 15 if late >= 0 else -late / 15 - 0.2, abs=1.1 / 15)
    assert delay == 0 or late
