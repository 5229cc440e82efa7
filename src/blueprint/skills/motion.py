"""Collision-free joint paths (OMPL RRT-Connect) and their jerk-limited timing (Ruckig), sampled at the control rate.

Nothing here looks at a clock: planning ends after a number of checks and simplification after a number of steps, so the
same seed gives the same path on a slow machine.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from blueprint.model.scene import RobotArm

Array = NDArray[np.float64]
Valid = Callable[[Array], bool]

STEP_RAD = 0.02  # between collision checks along a path: at most 1.5 cm at the hand of a stretched arm
PLANNER_CALLS = 1500  # iterations of RRT-Connect before giving up
RANGE_RAD = 0.6  # longest tree edge
SIMPLIFY_STEPS = 60


@dataclass(frozen=True)
class Limits:
    """Joint limits used for timing: (n,) velocity [rad/s], acceleration [rad/s^2], jerk [rad/s^3]; tool speed [m/s]."""

    velocity: Array
    acceleration: Array
    jerk: Array
    tool_speed: float

    @staticmethod
    def of(robot: RobotArm, share: float, tool_speed: float) -> Limits:
        """A share of the datasheet's velocity; acceleration and jerk are kept lower still, as people teach robots."""
        return Limits(
            share * np.array(robot.velocity_limits),
            0.5 * share * np.array(robot.acceleration_limits),
            0.04 * share * np.array(robot.jerk_limits),
            tool_speed,
        )


def seed_planner(seed: int) -> None:
    """Make OMPL's randomness start from `seed`. Once per process, before its first plan."""
    from ompl import util

    util.setLogLevel(util.LOG_NONE)
    util.RNG.setSeed(1 + seed % (2**31 - 2))


def straight(start: Array, goal: Array, valid: Valid) -> bool:
    """Whether the straight line in joint space is valid, coarse checks first: most invalid lines fail early."""
    count = max(2, int(np.ceil(np.abs(goal - start).max() / STEP_RAD)) + 1)
    order = np.argsort([_bit_reversed(i) for i in range(count)], kind="stable")
    share = np.linspace(0.0, 1.0, count)
    return all(valid(start + share[i] * (goal - start)) for i in order)


def _bit_reversed(i: int) -> float:
    """Van der Corput sequence in base 2."""
    value, base = 0.0, 0.5
    while i:
        value, base, i = value + base * (i & 1), base / 2, i >> 1
    return value


def plan(start: Array, goal: Array, lower: Array, upper: Array, valid: Valid) -> Array | None:
    """(W, n) waypoints of a collision-free path, or None. The straight line is tried first."""
    if not valid(goal) or not valid(start):
        return None
    if straight(start, goal, valid):
        return np.stack([start, goal])
    found = _rrt_connect(start, goal, lower, upper, valid)
    if found is None:
        return None
    path = _shortcut(found, valid)
    checked = all(straight(a, b, valid) for a, b in itertools.pairwise(path))
    return path if checked else None


def _rrt_connect(start: Array, goal: Array, lower: Array, upper: Array, valid: Valid) -> Array | None:
    from ompl import base, geometric

    n = len(start)
    space = base.RealVectorStateSpace(n)
    bounds = base.RealVectorBounds(n)
    for i in range(n):
        bounds.setLow(i, float(lower[i]))
        bounds.setHigh(i, float(upper[i]))
    space.setBounds(bounds)
    setup = geometric.SimpleSetup(space)
    setup.setStateValidityChecker(lambda state: valid(np.array([state[i] for i in range(n)])))
    information = setup.getSpaceInformation()
    information.setStateValidityCheckingResolution(STEP_RAD / space.getMaximumExtent())
    first, last = space.allocState(), space.allocState()
    for i in range(n):
        first[i], last[i] = float(start[i]), float(goal[i])
    setup.setStartAndGoalStates(first, last)
    planner = geometric.RRTConnect(information)
    planner.setRange(RANGE_RAD)
    setup.setPlanner(planner)
    setup.setup()
    calls = 0

    def enough() -> bool:
        nonlocal calls
        calls += 1
        return calls > PLANNER_CALLS

    planner.solve(base.PlannerTerminationCondition(enough))
    if not setup.getProblemDefinition().hasExactSolution():
        return None
    path = setup.getSolutionPath()
    geometric.PathSimplifier(information).partialShortcutPath(path, SIMPLIFY_STEPS, SIMPLIFY_STEPS)
    return np.array([[state[i] for i in range(n)] for state in path.getStates()])


def _shortcut(path: Array, valid: Valid) -> Array:
    """Drop every waypoint that a straight line can skip, greedily from the start."""
    kept, at = [path[0]], 0
    while at < len(path) - 1:
        reach = next(k for k in range(len(path) - 1, at, -1) if k == at + 1 or straight(path[at], path[k], valid))
        kept.append(path[reach])
        at = reach
    return np.array(kept)


def time_waypoints(path: Array, limits: Limits, fps: int) -> Array:
    """(K, n) joint targets, one per frame, along straight lines between waypoints with a stop at each.

    The state at frame 0 is `path[0]`; the last row is `path[-1]`. All joints move in phase, so the lines stay straight.
    """
    rows = [_line_targets(a, b, limits, fps) for a, b in itertools.pairwise(path)]
    return np.concatenate([r for r in rows if len(r)]) if any(map(len, rows)) else path[:0]


def _line_targets(start: Array, goal: Array, limits: Limits, fps: int) -> Array:
    reach = np.abs(goal - start)
    if reach.max() < 1e-6:
        return np.zeros((0, len(start)))
    with np.errstate(divide="ignore"):
        velocity, acceleration, jerk = (
            float((limit / reach).min()) for limit in (limits.velocity, limits.acceleration, limits.jerk)
        )
    share = _profile(velocity, acceleration, jerk, fps)
    return start + share[:, None] * (goal - start)


def time_path(path: Array, length_m: float, limits: Limits, fps: int) -> Array:
    """(K, n) joint targets, one per frame, along a dense smooth path (M, n) followed without a stop.

    length_m: how far the tool travels, for the tool speed limit
    """
    from scipy.interpolate import CubicSpline

    curve = CubicSpline(np.linspace(0.0, 1.0, len(path)), path, bc_type="natural")
    s = np.linspace(0.0, 1.0, 60)
    reach = np.maximum(np.abs(curve(s, 1)).max(axis=0), 1e-9)
    velocity = min(float((limits.velocity / reach).min()), limits.tool_speed / max(length_m, 1e-6))
    acceleration, jerk = float((limits.acceleration / reach).min()), float((limits.jerk / reach).min())
    while True:
        targets = curve(_profile(velocity, acceleration, jerk, fps))
        if within(np.concatenate([path[:1], targets]), limits, fps):
            return targets
        velocity, acceleration, jerk = velocity / 1.2, acceleration / 1.44, jerk / 1.728


def within(targets: Array, limits: Limits, fps: int) -> bool:
    """Whether frame-to-frame joint speeds and their changes respect the limits (1 % numerical slack)."""
    speed = np.diff(targets, axis=0) * fps
    change = np.diff(speed, axis=0, prepend=0.0 * speed[:1]) * fps
    return bool(
        (np.abs(speed) <= 1.01 * limits.velocity).all() and (np.abs(change) <= 1.01 * limits.acceleration).all()
    )


def _profile(velocity: float, acceleration: float, jerk: float, fps: int) -> Array:
    """(K,) position at each frame of the fastest jerk-limited motion from 0 to 1; ends with exactly 1."""
    import ruckig

    generator, given, motion = ruckig.Ruckig(1), ruckig.InputParameter(1), ruckig.Trajectory(1)
    given.current_position, given.target_position = [0.0], [1.0]
    given.max_velocity, given.max_acceleration, given.max_jerk = [velocity], [acceleration], [jerk]
    generator.calculate(given, motion)
    count = max(1, int(np.ceil(motion.duration * fps - 1e-6)))
    times = np.arange(1, count + 1) / fps
    share = np.array([motion.at_time(min(t, motion.duration))[0][0] for t in times])
    share[-1] = 1.0
    return share
