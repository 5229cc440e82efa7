"""From a path of joint positions to targets at the control rate: as fast as velocity, acceleration and jerk allow.

A path is followed at the highest speed that keeps every joint's velocity and acceleration (one pass back and one forth
over its squared speed, as in Bobrow, Dubowsky and Gibson 1985). The resulting joint signals are averaged over a window
of T = 2 a / j: an average keeps velocity and acceleration within their limits, and bounds jerk by 2 a / T. It moves the
path by a T^2 / 24 at most, which is below a milliradian.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from blueprint.model.scene import RobotArm

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

FINE_S = 1e-3  # about the step at which signals are computed before they are sampled at the control rate
CURVE_SHARE = 0.7  # of the acceleration that a bend may take; the rest is left for speeding up and braking
LINE_GRID, BEND_GRID = 24, 8  # intervals per straight section and per bend
BULGE_RAD = 0.002  # how far a bend may leave the lines between the points by which it is checked


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


@dataclass(frozen=True)
class Path:
    """Straight lines in joint space between corners (W, n) [rad], with rounded corners.

    blends: (W,) share of the shorter side of each corner that a parabola replaces, at most 0.5; where it is 0, and
    at the ends, the arm stops. None = it stops at every corner.
    """

    corners: Array
    blends: Array | None = None

    def __len__(self) -> int:
        return len(self.corners)

    def sections(self) -> list[tuple[Array, Array, Array, float, int]]:
        """Parts of the path as (point, direction at it, second derivative, length, corner); corner -1 = a line.

        Derivatives are by the path's length, which is measured by the joints' Euclidean norm.
        """
        sides = np.diff(self.corners, axis=0)
        lengths = np.linalg.norm(sides, axis=1)
        directions = sides / np.maximum(lengths, 1e-12)[:, None]
        blends = np.zeros(len(self.corners)) if self.blends is None else self.blends
        cut = np.zeros(len(self.corners))
        cut[1:-1] = blends[1:-1] * np.minimum(lengths[:-1], lengths[1:])
        found, still = [], np.zeros(self.corners.shape[1])
        for k, (along, length) in enumerate(zip(directions, lengths, strict=True)):
            rest = float(length - cut[k] - cut[k + 1])
            if rest > 1e-9:
                found.append((self.corners[k] + cut[k] * along, along, still, rest, -1))
            if cut[k + 1] > 0:
                c, after = cut[k + 1], directions[k + 1]
                found.append((self.corners[k + 1] - c * along, along, (after - along) / (2 * c), 2 * c, k + 1))
        return found

    def rows(self) -> tuple[Array, Ints, Array]:
        """(M, n) points of the path; (M - 1,) the corner within whose reach each line between them is, -1 = of none;
        (M - 1, n) how far the path leaves each line [rad].

        The reach of a corner is half of its shorter side, however far it is rounded.
        """
        sides = np.diff(self.corners, axis=0)
        lengths = np.linalg.norm(sides, axis=1)
        still = np.zeros((1, self.corners.shape[1]))
        rows, corner, bulge = [self.corners[:1]], [-1], [still]
        for k in range(1, len(self.corners) - 1):
            at, half = self.corners[k], min(lengths[k - 1], lengths[k]) / 2
            before, after = half * sides[k - 1] / lengths[k - 1], half * sides[k] / lengths[k]
            cut = 0.0 if self.blends is None else 2 * float(self.blends[k])
            height = cut / 4 * np.abs(after - before)
            count = max(1, int(np.ceil(np.sqrt(height.max() / BULGE_RAD))))
            t = np.linspace(0.0, 1.0, count + 1)[:, None]
            bend = at - (1 - t) ** 2 * cut * before + t**2 * cut * after
            rows += [(at - before)[None], bend, (at + after)[None]]
            corner += [k] * (count + 2) + [-1]
            bulge += [still, np.tile(height / count**2, (count, 1)), still, still]
        return np.concatenate([*rows, self.corners[-1:]]), np.array(corner), np.concatenate(bulge)


@dataclass(frozen=True)
class _Grid:
    """A path cut into I intervals.

    lengths: (I,); first, second: (I, n) largest derivatives by the path's length; stops: (I + 1,) where it halts
    position: of (N,) lengths along the path
    """

    lengths: Array
    first: Array
    second: Array
    stops: NDArray[np.bool_]
    position: Callable[[Array], Array]


def time_waypoints(path: Array | Path, limits: Limits, fps: int) -> Array:
    """(K, n) joint targets, one per frame, along a path that starts and ends at rest.

    The state at frame 0 is the first corner; the last row is the last one. Corners (W, n) that are no `Path` are
    stopped at.
    """
    path = path if isinstance(path, Path) else Path(path)
    sections = path.sections()
    if not sections:
        return path.corners[:0]
    starts = np.cumsum([0.0, *(section[3] for section in sections)])
    points, along, second = (np.array([section[i] for section in sections]) for i in range(3))

    def position(s: Array) -> Array:
        i = np.clip(np.searchsorted(starts, s, side="right") - 1, 0, len(sections) - 1)
        t = (s - starts[i])[:, None]
        return points[i] + t * along[i] + t**2 / 2 * second[i]

    counts = [LINE_GRID if corner < 0 else BEND_GRID for *_, corner in sections]
    lengths = np.concatenate([np.full(n, section[3] / n) for n, section in zip(counts, sections, strict=True)])
    ends = along + np.array([section[3] for section in sections])[:, None] * second
    first = np.maximum(np.abs(along), np.abs(ends))  # linear in between
    meets = np.linalg.norm(along[1:] - ends[:-1], axis=1) < 1e-6
    stops = np.zeros(len(lengths) + 1, dtype=bool)
    stops[np.cumsum([0, *counts])] = [True, *~meets, True]
    grid = _Grid(lengths, np.repeat(first, counts, axis=0), np.repeat(np.abs(second), counts, axis=0), stops, position)
    targets = _timed(grid, limits, fps)
    targets[-1] = path.corners[-1]
    return targets


def time_path(path: Array, length_m: float, limits: Limits, fps: int) -> Array:
    """(K, n) joint targets, one per frame, along a dense smooth path (M, n) followed without a stop.

    length_m: how far the tool travels, for the tool speed limit
    """
    from scipy.interpolate import CubicSpline

    if np.abs(path - path[0]).max() < 1e-9:
        return path[:0]
    curve = CubicSpline(np.linspace(0.0, 1.0, len(path)), path, bc_type="natural")
    s = np.linspace(0.0, 1.0, 61)
    first, second = np.abs(curve(s, 1)), np.abs(curve(s, 2))
    stops = np.zeros(len(s), dtype=bool)
    stops[[0, -1]] = True
    most = lambda values: np.maximum(values[1:], values[:-1])  # noqa: E731
    grid = _Grid(np.diff(s), most(first), most(second), stops, curve)
    targets = _timed(grid, limits, fps, limits.tool_speed / max(length_m, 1e-6))
    targets[-1] = path[-1]
    return targets


def _timed(grid: _Grid, limits: Limits, fps: int, fastest: float = np.inf) -> Array:
    """(K, n) positions at each frame after the first. fastest: change of the path's length per second"""
    speed = np.minimum(np.sqrt(_squared_speeds(grid, limits)), fastest)
    spans = 2 * grid.lengths / (speed[:-1] + speed[1:])
    times, reached = np.cumsum([0.0, *spans]), np.cumsum([0.0, *grid.lengths])
    blur = float((2 * limits.acceleration / limits.jerk).max())
    total = float(times[-1]) + blur
    steps = int(np.ceil(1 / (fps * FINE_S)))  # fine ones per frame
    frames = int(np.ceil(total * fps))
    while True:
        dt = total / (frames * steps - 1)
        window = int(np.ceil(blur / dt))
        fine = np.minimum(np.arange(frames * steps - window + 1) * dt, times[-1])
        i = np.clip(np.searchsorted(times, fine, side="right") - 1, 0, len(spans) - 1)
        tau = fine - times[i]
        s = reached[i] + speed[i] * tau + (speed[i + 1] - speed[i]) / spans[i] * tau**2 / 2
        smooth = _averaged(grid.position(np.clip(s, 0.0, reached[-1])), window)
        excess = _excess(smooth, limits, fps * steps)
        if excess <= 1.0005:
            return smooth[steps::steps]
        frames = max(frames + 1, int(np.ceil(frames * excess)))


def _averaged(signal: Array, window: int) -> Array:
    """(L + window, n) the moving average of a signal (L, n) that rests before and after."""
    padded = np.concatenate([np.repeat(signal[:1], window, axis=0), signal, np.repeat(signal[-1:], window, axis=0)])
    sums = np.cumsum(padded - signal[0], axis=0)
    return signal[0] + (sums[window:] - sums[:-window]) / window


def _squared_speeds(grid: _Grid, limits: Limits) -> Array:
    """(I + 1,) the highest squared speeds along the path at the ends of its intervals."""
    tiny, velocity, acceleration = 1e-12, limits.velocity, limits.acceleration
    most = np.minimum(
        ((velocity / np.maximum(grid.first, tiny)) ** 2).min(axis=1),
        (CURVE_SHARE * acceleration / np.maximum(grid.second, tiny)).min(axis=1),
    )
    x = np.minimum(np.append(most, most[-1]), np.append(most[0], most))
    x[grid.stops] = 0.0
    count = len(grid.lengths)
    for order in (range(count - 1, -1, -1), range(count)):
        for i in order:
            near, far = (i + 1, i) if order.step < 0 else (i, i + 1)
            rate = ((acceleration - grid.second[i] * x[near]) / np.maximum(grid.first[i], tiny)).min()
            x[far] = min(x[far], x[near] + 2 * rate * grid.lengths[i])
    return x


def _excess(signal: Array, limits: Limits, rate: float) -> float:
    """By what factor a signal sampled at a rate [Hz] must be slowed down to keep its limits; below 1 = not at all."""
    bounds = (limits.velocity, limits.acceleration, limits.jerk)
    return max(
        float((np.abs(np.diff(signal, order, axis=0)).max(axis=0, initial=0.0) * rate**order / bound).max())
        ** (1 / order)
        for order, bound in enumerate(bounds, 1)
    )


def within(targets: Array, limits: Limits, fps: int) -> bool:
    """Whether the frame-to-frame velocity, acceleration and jerk of commands (K, n) respect the limits (1 % slack).

    The commands start and end at rest: the first and last rows count as held before and after.
    """
    held = np.concatenate([np.repeat(targets[:1], 3, axis=0), targets, np.repeat(targets[-1:], 3, axis=0)])
    bounds = (limits.velocity, limits.acceleration, limits.jerk)
    return all(
        bool((np.abs(np.diff(held, order, axis=0)) * fps**order <= 1.01 * bound).all())
        for order, bound in enumerate(bounds, 1)
    )
