"""Laws of timing: within velocity, acceleration and jerk, exactly from start to end, no needless stop."""

from __future__ import annotations

import numpy as np
import pytest

from blueprint.skills.planning import motion
from blueprint.skills.planning.motion import Limits, Path

LIMITS = Limits(
    velocity=0.6 * np.array([2.175] * 4 + [2.61] * 3),
    acceleration=0.3 * np.array([15.0, 7.5, 10.0, 12.5, 15.0, 20.0, 20.0]),
    jerk=0.024 * np.array([7500.0, 3750.0, 5000.0, 6250.0, 7500.0, 10000.0, 10000.0]),
    tool_speed=0.25,
)
HALF_TURN = np.array([2.0, 1.5, 2.0, 1.5, 2.0, 1.5, 2.0])


def corners(rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.uniform(-HALF_TURN, HALF_TURN, (count, 7))


def blends(count: int, share: float) -> np.ndarray:
    return np.array([0.0, *[share] * (count - 2), 0.0])


@pytest.mark.parametrize("fps", [15, 30, 480])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5])
def test_velocity_acceleration_and_jerk_stay_within_the_limits(fps: int, share: float) -> None:
    rng = np.random.default_rng(2)
    for count in (2, 3, 5):
        path = Path(corners(rng, count), blends(count, share))
        targets = motion.time_waypoints(path, LIMITS, fps)
        np.testing.assert_array_equal(targets[-1], path.corners[-1])
        held = np.concatenate([np.repeat(path.corners[:1], 3, axis=0), targets, np.repeat(targets[-1:], 3, axis=0)])
        for order, bound in enumerate((LIMITS.velocity, LIMITS.acceleration, LIMITS.jerk), 1):
            rate = np.abs(np.diff(held, order, axis=0)) * fps**order
            assert (rate <= 1.001 * bound).all(), order


def test_dense_paths_keep_the_limits_and_the_tool_speed() -> None:
    s = np.linspace(0, 1, 9)[:, None]
    path = 0.4 * s * np.array([1.0, -0.5, 0.2, 0.7, 0.1, -0.3, 0.4]) + 0.05 * np.sin(4 * s)
    for length in (0.05, 0.5):
        targets = motion.time_path(path, length, LIMITS, 30)
        np.testing.assert_array_equal(targets[-1], path[-1])
        assert motion.within(np.concatenate([path[:1], targets]), LIMITS, 30)
        assert len(targets) / 30 >= length / LIMITS.tool_speed
        assert len(targets) / 30 < length / LIMITS.tool_speed + 2.0


def test_the_limits_are_used() -> None:
    """A long motion of one joint takes the time of the jerk-limited profile, and at most two frames more."""
    path = np.zeros((2, 7))
    path[1, 1] = 2.0
    v, a, j = LIMITS.velocity[1], LIMITS.acceleration[1], LIMITS.jerk[1]
    best = 2.0 / v + v / a + a / j
    frames = len(motion.time_waypoints(path, LIMITS, 60))
    assert best <= frames / 60 + 1e-9 <= best + 0.1


def test_rounded_corners_are_passed_without_a_stop_and_sooner() -> None:
    rng = np.random.default_rng(5)
    for _ in range(10):
        path = corners(rng, 4)
        stopping = motion.time_waypoints(path, LIMITS, 60)
        blended = motion.time_waypoints(Path(path, blends(4, 0.5)), LIMITS, 60)
        assert len(blended) < 0.97 * len(stopping)
        speed = np.linalg.norm(np.diff(blended, axis=0), axis=1) * 60
        assert speed[10:-10].min() > 0.1
        stops = np.linalg.norm(np.diff(stopping, axis=0), axis=1) * 60
        assert stops[10:-10].min() < 0.1


def test_the_timed_motion_follows_the_path_that_was_checked() -> None:
    rng = np.random.default_rng(6)
    for _ in range(5):
        path = Path(corners(rng, 4), blends(4, 0.25))
        dense = np.concatenate(
            [p + s * d + s**2 / 2 * c for p, d, c, length, _ in path.sections() for s in np.linspace(0, length, 400)]
        ).reshape(-1, 7)
        targets = motion.time_waypoints(path, LIMITS, 240)
        off = [np.abs(dense - row).max(axis=1).min() for row in targets]
        assert max(off) < 0.006  # the grid's own spacing is up to 0.005


def test_no_motion_takes_no_time() -> None:
    still = np.ones((2, 7))
    assert len(motion.time_waypoints(still, LIMITS, 15)) == 0
    assert len(motion.time_path(np.ones((5, 7)), 0.0, LIMITS, 15)) == 0


def test_within_tells_a_jerk_that_is_too_high() -> None:
    ramp = np.zeros((20, 7))
    ramp[:, 0] = 0.5 * LIMITS.velocity[0] * np.arange(20) / 480
    assert not motion.within(ramp, LIMITS, 480)
