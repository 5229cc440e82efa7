"""Collision-free motions of an arm from one configuration to another: a straight line, else RRT-Connect.

Distances between configurations are metres that the arm's farthest point moves (joint angles times levers). The search
looks at a path only every few centimetres, since most errors it makes that way are seen by `sweep.blocked`, which
certifies the whole path at the end. A path that fails there is planned again with closer checks. Nothing looks at a
clock: the search ends after a number of nodes, and equal arguments give equal paths.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from blueprint.skills.planning.collision import CollisionWorld
from blueprint.skills.planning.motion import Path
from blueprint.skills.planning.sweep import blocked

Array = NDArray[np.float64]

# distance between checks of the search, and berth it gives the scene beyond the clearance [m], in turn
TRIALS = ((0.09, 0.01), (0.05, 0.005), (0.05, 0.01), (0.03, 0.005), (0.03, 0.0), (0.02, 0.0), (0.01, 0.0), (0.01, 0.0))
TRIES = 400  # to grow a tree, before all is begun anew with other samples and closer checks
BACK_M, BACK_STEPS = 0.1, 3  # in which, and how often, the hand is drawn back
DAMPING = 0.01  # of the inverse Jacobian near singular configurations
RANGE_M = 0.5  # longest tree edge
SHORTCUTS = 6
NEAR_ROOM = 0.25  # by this share of the joint ranges
NEAR = 0.7  # share of samples drawn around start and goal: most detours are short
BLENDS = (0.5, 0.25, 0.1, 0.0)  # share of the shorter side at a corner that is rounded off


@dataclass
class _Search:
    """One query, in coordinates scaled to metres. world: the scene placed; step: between checks [m]"""

    world: CollisionWorld
    opening: float
    step: float
    levers: Array = field(init=False)
    lower: Array = field(init=False)
    upper: Array = field(init=False)

    def __post_init__(self) -> None:
        self.levers = self.world.levers
        self.lower, self.upper = self.world.cell.arm_range.T * self.levers

    def clear(self, x: Array) -> bool:
        return self.world.clear(x / self.levers, self.opening)

    def free(self, a: Array, b: Array) -> bool:
        """Whether the checks strictly between a and b pass, the middle first, then the quarters."""
        gap = b - a
        count = int(np.ceil(np.sqrt(gap @ gap) / self.step))
        return all(self.clear(a + (k / count) * gap) for k in _spread(count))


@lru_cache(maxsize=256)
def _spread(count: int) -> tuple[int, ...]:
    """1 .. count - 1, in the order in which they fill the gap most evenly (van der Corput)."""
    bits = max(1, (count - 1).bit_length())
    return tuple(sorted(range(1, count), key=lambda k: int(f"{k:0{bits}b}"[::-1], 2)))


def plan(world: CollisionWorld, start: Array, goal: Array, opening: float, *, seed: int = 0) -> Path | None:
    """A path certain to be free of collisions, with rounded corners, or None if none was found.

    world: with the scene placed; start, goal: (n,) [rad]; opening: of the gripper [m]
    """
    if not world.clear(start, opening) or not world.clear(goal, opening):
        return None
    a, b = start * world.levers, goal * world.levers
    for attempt, (step, berth) in enumerate(TRIALS):
        search = _Search(world, opening, step)
        rng = np.random.default_rng([seed, attempt])
        with world.berth(berth):
            if berth and not (search.clear(a) and search.clear(b)):
                continue
            corners = np.stack([a, b]) if search.free(a, b) else _rrt_connect(search, a, b, rng)
            if corners is None:
                continue
            corners = _shortened(search, corners, rng) / world.levers
        corners[0], corners[-1] = start, goal
        path = _certified(world, corners, opening)
        if path is not None:
            return path
    return None


def _certified(world: CollisionWorld, corners: Array, opening: float) -> Path | None:
    """The path along corners (W, n), each rounded as far as that is certain to be free; None if a line is not."""
    blends = np.array([0.0, *[BLENDS[0]] * (len(corners) - 2), 0.0])
    again: NDArray[np.int64] | None = None
    while True:
        rows, corner, bulge = Path(corners, blends).rows()
        check = np.ones(len(corner), dtype=bool) if again is None else np.isin(corner, again)
        k = corner[check]
        bad = np.unique(k[blocked(world, rows[:-1][check], rows[1:][check], opening, k < 0, bulge[check])])
        if not len(bad):
            return Path(corners, blends)
        if (bad < 0).any() or (blends[bad] == 0.0).any():
            return None
        blends[bad] = [BLENDS[BLENDS.index(blend) + 1] for blend in blends[bad]]
        again = bad


class _Tree:
    """Nodes (N, n) in metres, each with the index of its parent."""

    def __init__(self, root: Array) -> None:
        self.nodes = np.empty((2 * TRIES + BACK_STEPS + 1, len(root)))
        self.parents = [-1]
        self.tries = 0
        self.nodes[0] = root

    def nearest(self, x: Array) -> int:
        gap = self.nodes[: len(self.parents)] - x
        return int(np.einsum("ij,ij->i", gap, gap).argmin())

    def add(self, x: Array, parent: int) -> int:
        self.nodes[len(self.parents)] = x
        self.parents.append(parent)
        return len(self.parents) - 1

    def branch(self, index: int) -> list[Array]:
        """Nodes from this one to the root."""
        found = []
        while index >= 0:
            found.append(self.nodes[index].copy())
            index = self.parents[index]
        return found

    def grow(self, search: _Search, x: Array, most: float = np.inf) -> tuple[int, bool] | None:
        """Go straight from the nearest node towards x, at most so far, until something is in the way.

        The new node and whether it is x; None where not even the first step is free.
        """
        self.tries += 1
        index = self.nearest(x)
        start = self.nodes[index]
        gap = x - start
        length = float(np.sqrt(gap @ gap))
        if length == 0.0:
            return index, True
        goal, whole = (x, True) if length <= most else (start + gap * (most / length), False)
        count = int(np.ceil(min(length, most) / search.step))
        for k in range(1, count + 1):
            if not search.clear(start + (k / count) * (goal - start)):
                before = start + ((k - 1) / count) * (goal - start)
                return None if k == 1 else (self.add(before, index), False)
        return self.add(goal, index), whole


def _rrt_connect(search: _Search, start: Array, goal: Array, rng: np.random.Generator) -> Array | None:
    """(W, n) corners by RRT-Connect (Kuffner and LaValle, ICRA 2000), each tree begun by drawing the hand back."""
    a, b, forward = _Tree(start), _Tree(goal), True
    for tree in (a, b):
        for x in _drawn_back(search, tree.nodes[0]):
            tree.add(x, len(tree.parents) - 1)
    home = np.array(search.world.cell.robot.home) * search.levers
    first = [b.nodes[len(b.parents) - 1], a.nodes[len(a.parents) - 1], home, home]
    room = NEAR_ROOM * (search.upper - search.lower)
    low = np.maximum(np.minimum(start, goal) - room, search.lower)
    high = np.minimum(np.maximum(start, goal) + room, search.upper)
    while a.tries < TRIES:
        if a.tries < 2:
            x, most = first[2 * a.tries + (not forward)], np.inf
        else:
            near = rng.random() < NEAR
            x, most = rng.uniform(low, high) if near else rng.uniform(search.lower, search.upper), RANGE_M
        new = a.grow(search, x, most)
        met = None if new is None else b.grow(search, a.nodes[new[0]])
        if new is not None and met is not None and met[1]:
            corners = np.array([*a.branch(new[0])[::-1], *b.branch(met[0])[1:]])
            return corners if forward else corners[::-1]
        a, b, forward = b, a, not forward
    return None


def _drawn_back(search: _Search, x: Array) -> list[Array]:
    """Configurations that draw the tool back against its approach, step by step, until something is in the way."""
    found: list[Array] = []
    for _ in range(BACK_STEPS):
        joints = x / search.levers
        jacobian, back = search.world.jacobian(joints)
        wanted = np.concatenate([-BACK_M * back, np.zeros(3)])
        step = jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + DAMPING * np.eye(6), wanted)
        to = np.clip((joints + step) * search.levers, search.lower, search.upper)
        if not (search.clear(to) and search.free(x, to)):
            break
        found.append(to)
        x = to
    return found


def _shortened(search: _Search, corners: Array, rng: np.random.Generator) -> Array:
    """(V, n) the path without detours: straight lines between far corners, then between random points of it."""
    corners = _skipped(search, corners)
    for _ in range(SHORTCUTS):
        if len(corners) < 3:
            return corners
        lengths = np.linalg.norm(np.diff(corners, axis=0), axis=1)
        at = np.concatenate([[0.0], np.cumsum(lengths)])
        s, t = np.sort(rng.uniform(0.0, at[-1], 2))
        i, j = (int(np.searchsorted(at, u, side="right")) - 1 for u in (s, t))
        if i == j:
            continue
        p, q = (corners[k] + (u - at[k]) / lengths[k] * (corners[k + 1] - corners[k]) for k, u in ((i, s), (j, t)))
        if search.clear(p) and search.clear(q) and search.free(p, q):
            corners = np.array([*corners[: i + 1], p, q, *corners[j + 1 :]])
    return _skipped(search, corners)


def _skipped(search: _Search, corners: Array) -> Array:
    """Drop every corner that a straight line can skip, greedily from the start."""
    kept, at = [corners[0]], 0
    while at < len(corners) - 1:
        ahead = range(len(corners) - 1, at, -1)
        at = next(k for k in ahead if k == at + 1 or search.free(corners[at], corners[k]))
        kept.append(corners[at])
    return np.array(kept)
