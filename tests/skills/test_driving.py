"""A hand that moves a part slows before the part arrives, and never stops within one frame."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from blueprint.skills.joints.strokes import BRAKING, _drive

Array = NDArray[np.float64]


@dataclass
class Hand:
    """Commands of one joint, which the part follows `lag` frames later."""

    fps: int
    lag: int
    rows: list[float] = field(default_factory=lambda: [0.0])

    def run(self, segment: str, targets: Array, opening: float) -> None:
        self.rows.extend(targets[:, 0].tolist())

    @property
    def qpos(self) -> float:
        return self.rows[max(len(self.rows) - 1 - self.lag, 0)]


class Part:
    def value(self, qpos: float) -> float:
        return qpos


def driven(fps: int, lag_s: float, stop: float) -> Array:
    hand: Any = Hand(fps, round(lag_s * fps))
    part: Any = Part()
    targets = np.linspace(0, 1, fps + 1)[1:, None]  # a second, at an even speed
    _drive(hand, "move", part, targets, 0.0, lambda value: value >= stop)
    return np.array(hand.rows)


@pytest.mark.parametrize("fps", [15, 30, 60])
def test_it_brakes_over_several_frames(fps: int) -> None:
    rows = driven(fps, 0.1, stop=0.6)
    speeds = np.diff(rows, append=rows[-1]) * fps
    assert rows[-1] < 0.8  # stopped early
    assert np.abs(np.diff(speeds)).max() * fps <= BRAKING + 1e-9


@pytest.mark.parametrize("fps", [15, 30, 60])
def test_it_goes_less_too_far_than_the_arm_lags(fps: int) -> None:
    lag = round(0.1 * fps) / fps
    assert driven(fps, 0.1, stop=0.6)[-1] - 0.6 < lag  # as far as a stop in one frame goes too far


def test_the_whole_way_is_gone_where_nothing_arrives() -> None:
    rows = driven(15, 0.0, stop=2.0)
    assert rows[-1] == 1.0
    assert np.allclose(np.diff(rows), 1 / 15)


def test_nothing_moves_where_it_has_arrived() -> None:
    assert len(driven(15, 0.0, stop=-1.0)) <= 2
