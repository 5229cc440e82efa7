"""The smallest motions that end a set of contacts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
SWEEPS = 60


@dataclass(frozen=True)
class Push:
    """Object b shall move away from object a by `depth` [m] along the unit normal (3,); -1 = something fixed."""

    a: int
    b: int
    normal: Array
    depth: float


def smallest_shift(count: int, pushes: Sequence[Push]) -> Array:
    """(count, 3) translations [m] of least total squared length with normal . (b - a) >= depth for every push.

    Projected Gauss-Seidel on the dual. Where pushes contradict each other (a thing wedged between two that are fixed)
    there is no such motion; then none moves farther than the deepest push, and the next round sees what is left.
    """
    shift = np.zeros((count, 3))
    merged = _strongest(pushes)
    force = np.zeros(len(merged))
    for _ in range(SWEEPS):
        for k, push in enumerate(merged):
            free = (push.a >= 0) + (push.b >= 0)
            gained = push.normal @ ((shift[push.b] if push.b >= 0 else 0.0) - (shift[push.a] if push.a >= 0 else 0.0))
            more = max(-force[k], (push.depth - gained) / free)
            force[k] += more
            if push.a >= 0:
                shift[push.a] -= more * push.normal
            if push.b >= 0:
                shift[push.b] += more * push.normal
    limit = max((push.depth for push in merged), default=0.0) * 1.5
    length = np.linalg.norm(shift, axis=1, keepdims=True)
    return shift * np.minimum(1.0, limit / np.maximum(length, 1e-12))


def _strongest(pushes: Sequence[Push]) -> list[Push]:
    """Of pushes between the same two in nearly the same direction, the deepest; in a fixed order."""
    kept: list[Push] = []
    for push in sorted(pushes, key=lambda p: (-p.depth, p.a, p.b, *p.normal.tolist())):
        if not any(k.a == push.a and k.b == push.b and k.normal @ push.normal > 0.95 for k in kept):
            kept.append(push)
    return kept
