"""Whether the arm can move along a path without touching anything, for certain and between the checks too.

Between two checked configurations a point of the arm leaves the chord between its two positions by at most
`bend = (sum |dq|)^2 R / 8` (its acceleration per unit of path is bounded by (sum |dq|)^2 times its distance R to the
farthest axis). Two bodies whose distance is d0 at one end and d1 at the other therefore stay apart if d0 + d1 exceeds
their chord by 2 bend. Intervals for which that is not known are halved.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from blueprint.skills.collision import CollisionWorld

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

STEP_M = 0.035  # of the swiftest point between first checks: what `SIGHT_M` of free space allows, and a little less
SHORTEST_M = 1e-3  # an interval shorter than this that is not certain counts as blocked
SLACK_M = 5e-4  # MuJoCo's distances between convex shapes are exact to this


@dataclass(frozen=True)
class Sight:
    """The arm's G geoms in a configuration, and what is near them.

    position: (G, 3), turn: (G, 3, 3) of each geom; near: (C, 2) pairs of geoms, as positions among the G, the second -1
    when it is of the scene; distance: (C,) [m]
    """

    position: Array
    turn: Array
    near: Ints
    distance: Array


def blocked_at(world: CollisionWorld, rows: Array, opening: float) -> float | None:
    """Where the polyline through `rows` (M, n) is not certain to be free, in rows (2.5: halfway from row 2 to 3).

    None when nothing can touch anywhere on it.
    """
    at = _first_checks(rows, world.levers)
    intervals = list(itertools.pairwise(at))
    seen: dict[float, Sight] = {}
    while intervals:
        ends = np.array(intervals)
        known = sorted(set(ends.flat))
        for s in known:
            if s not in seen:
                sight = world.sight(_configuration(rows, s), opening)
                if sight is None:
                    return s
                seen[s] = sight
        steps = np.array([_configuration(rows, b) - _configuration(rows, a) for a, b in intervals])
        left, right = np.searchsorted(known, ends).T
        unsure = np.flatnonzero(~_certain(world, [seen[s] for s in known], left, right, steps))
        lengths = np.linalg.norm(steps * world.levers, axis=1)
        middles = ends.mean(axis=1)
        short = [i for i in unsure if lengths[i] < SHORTEST_M]
        if short:
            return float(middles[short[0]])
        intervals = [half for i in unsure for half in ((ends[i, 0], middles[i]), (middles[i], ends[i, 1]))]
    return None


def _first_checks(rows: Array, levers: Array) -> list[float]:
    lengths = np.linalg.norm(np.diff(rows, axis=0) * levers, axis=1)
    counts = np.maximum(1, np.ceil(lengths / STEP_M)).astype(int)
    inner = [i + k / count for i, count in enumerate(counts.tolist()) for k in range(count)]
    return [*inner, float(len(rows) - 1)]


def _configuration(rows: Array, s: float) -> Array:
    i = min(int(s), len(rows) - 2)
    return rows[i] + (s - i) * (rows[i + 1] - rows[i])


def _certain(world: CollisionWorld, sights: list[Sight], left: Ints, right: Ints, steps: Array) -> NDArray[np.bool_]:
    """(K,) for each interval, from sight `left` (K,) to sight `right` (K,), whether nothing can touch inside it."""
    position, turn = np.array([s.position for s in sights]), np.array([s.turn for s in sights])
    bend = np.abs(steps).sum(axis=1) ** 2 * world.reach / 8
    scene = np.full(position.shape[:2], world.sight_m)
    pairs: dict[tuple[int, int], Array] = {}
    for i, sight in enumerate(sights):
        for (a, b), distance in zip(sight.near.tolist(), sight.distance.tolist(), strict=True):
            if b < 0:
                scene[i, a] = min(scene[i, a], distance)
            else:
                column = pairs.setdefault((a, b), np.full(len(sights), 2 * world.sight_m))
                column[i] = min(column[i], distance)
    needed = _chords(position, turn, left, right, world.radii) + 2 * (bend[:, None] + SLACK_M)
    certain = (scene[left] + scene[right] > needed).all(axis=1)
    for (a, b), distance in pairs.items():
        frame = turn[:, a].transpose(0, 2, 1)
        relative = (frame @ (position[:, b] - position[:, a])[:, :, None])[..., 0]
        chord = _chords(relative, frame @ turn[:, b], left, right, world.radii[b])
        certain &= distance[left] + distance[right] > chord + 2 * (bend + SLACK_M)
    return certain


def _chords(position: Array, turn: Array, left: Ints, right: Ints, radii: Array | float) -> Array:
    """How far any point of a body is displaced between two of its poses (N, ..., 3), (N, ..., 3, 3)."""
    shift = np.linalg.norm(position[right] - position[left], axis=-1)
    trace = (turn[left] * turn[right]).sum(axis=(-2, -1))
    return shift + radii * np.sqrt(np.maximum(0.0, 3.0 - trace))
