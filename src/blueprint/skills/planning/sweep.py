"""Whether the arm can move along straight lines without touching anything, for certain and between the checks too.

Between two checked configurations a point of the arm leaves the chord between its two positions by at most
`bend = sum_jk |dq_j| |dq_k| R_max(j,k) / 8`, R_k its distance to joint k: an eighth of its largest acceleration, in
which joints j and k, j before k, share the term axis_j x (axis_k x arm_k). Two bodies whose distance is d0 at one end
and d1 at the other therefore stay apart if d0 + d1 exceeds their chord by 2 bend. Intervals for which that is not known
are halved.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from blueprint.skills.planning.collision import CollisionWorld

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

STEP_M = 0.045  # between first checks, by the arm's levers; what fails is halved
SHORTEST_M = 1e-3  # an interval shorter than this that is not certain counts as blocked
SLACK_M = 5e-4  # MuJoCo's distances between convex shapes are exact to this


@dataclass(frozen=True)
class Sights:
    """What is around the arm in K configurations.

    clear: (K,) whether nothing is closer than the clearance; position: (K, G, 3), turn: (K, G, 3, 3) of its geoms
    index: (C,) configuration of each near pair; near: (C, 2) its geoms among the G, the second -1 = of the scene
    distance: (C,) [m]
    """

    clear: Bools
    position: Array
    turn: Array
    index: Ints
    near: Ints
    distance: Array

    def joined(self, more: Sights) -> Sights:
        pairs = zip(self._arrays(), more._arrays(), strict=True)
        clear, position, turn, near, distance = (np.concatenate(pair) for pair in pairs)
        index = np.concatenate([self.index, more.index + len(self.clear)])
        return Sights(clear, position, turn, index, near, distance)

    def _arrays(self) -> tuple[NDArray, ...]:
        return self.clear, self.position, self.turn, self.near, self.distance


def free(world: CollisionWorld, rows: Array, opening: float) -> bool:
    """Whether it is certain that nothing can touch anywhere on the polyline through `rows` (M, n)."""
    return not blocked(world, rows[:-1], rows[1:], opening, np.ones(len(rows) - 1, dtype=bool)).any()


def blocked(
    world: CollisionWorld, starts: Array, ends: Array, opening: float, essential: Bools, bulge: Array | None = None
) -> Bools:
    """(K,) for each straight line from `starts` to `ends` (K, n) whether it is not certain to be free.

    bulge: (K, n) how far the motion may leave each line on its way [rad], None = not at all
    essential: (K,) lines whose block makes the others not matter: they are then left False where not yet known
    """
    gaps, found = ends - starts, np.zeros(len(starts), dtype=bool)
    counts = np.maximum(1, np.ceil(np.linalg.norm(gaps * world.levers, axis=1) / STEP_M)).astype(int)
    line = np.repeat(np.arange(len(starts)), counts)
    low = np.arange(len(line)) - np.repeat(np.cumsum(counts) - counts, counts)
    low, high = low / counts[line], (low + 1) / counts[line]
    aside = np.zeros(len(starts)) if bulge is None else bulge @ world.reaches
    rows: dict[bytes, int] = {}
    sights: Sights | None = None
    while len(line):
        q = np.stack([starts[line] + share[:, None] * gaps[line] for share in (low, high)])
        q[1] = np.where(high[:, None] == 1.0, ends[line], q[1])
        keys = [row.tobytes() for row in q.reshape(-1, q.shape[2])]
        new = {key: i for i, key in reversed(list(enumerate(keys))) if key not in rows}
        order = sorted(new.values())
        more = world.look(q.reshape(-1, q.shape[2])[order], opening, essential[np.tile(line, 2)[order]])
        if len(more.clear) < len(order):
            found[line[order[len(more.clear)] % len(line)]] = True
            return found
        known = len(rows)
        rows.update((keys[i], known + k) for k, i in enumerate(order))
        sights = more if sights is None else sights.joined(more)
        left, right = np.array([rows[key] for key in keys]).reshape(2, -1)
        found[line[~(sights.clear[left] & sights.clear[right])]] = True
        steps = q[1] - q[0]
        unsure = ~_certain(world, sights, left, right, steps, aside[line]) & ~found[line]
        found[line[unsure & (np.linalg.norm(steps * world.levers, axis=1) < SHORTEST_M)]] = True
        if (found & essential).any():
            return found
        unsure &= ~found[line]
        line, low, high = np.repeat(line[unsure], 2), low[unsure], high[unsure]
        middle = (low + high) / 2
        low, high = np.stack([low, middle], axis=1).ravel(), np.stack([middle, high], axis=1).ravel()
    return found


def _certain(world: CollisionWorld, sights: Sights, left: Ints, right: Ints, steps: Array, aside: Array) -> Bools:
    """(I,) for each interval from sight `left` (I,) to sight `right` (I,) whether nothing can touch inside it.

    steps: (I, n) [rad]; aside: (I,) what the motion adds to that [m]
    """
    position, turn = sights.position, sights.turn
    turns = np.abs(steps)
    bend = (turns * (2 * np.cumsum(turns, axis=1) - turns)) @ world.reaches / 8
    slack = 2 * (bend + aside + SLACK_M)
    scene = np.full(position.shape[:2], world.sight_m)
    outside = sights.near[:, 1] < 0
    np.minimum.at(scene, (sights.index[outside], sights.near[outside, 0]), sights.distance[outside])
    needed = _chords(position, turn, left, right, world.radii) + slack[:, None]
    certain = np.asarray((scene[left] + scene[right] > needed).all(axis=1))
    index, near, apart = sights.index[~outside], sights.near[~outside], sights.distance[~outside]
    codes = near[:, 0] * position.shape[1] + near[:, 1]
    for code in set(codes.tolist()):
        a, b = divmod(code, position.shape[1])
        distance = np.full(len(position), 2 * world.sight_m)
        np.minimum.at(distance, index[codes == code], apart[codes == code])
        frame = turn[:, a].transpose(0, 2, 1)
        relative = (frame @ (position[:, b] - position[:, a])[:, :, None])[..., 0]
        chord = _chords(relative, frame @ turn[:, b], left, right, world.radii[b])
        certain = certain & (distance[left] + distance[right] > chord + slack)
    return certain


def _chords(position: Array, turn: Array, left: Ints, right: Ints, radii: Array | float) -> Array:
    """How far any point of a body is displaced between two of its poses (N, ..., 3), (N, ..., 3, 3)."""
    gap = position[right] - position[left]
    trace = np.einsum("...ij,...ij->...", turn[left], turn[right])
    return np.sqrt(np.einsum("...i,...i->...", gap, gap)) + radii * np.sqrt(np.maximum(0.0, 3.0 - trace))
