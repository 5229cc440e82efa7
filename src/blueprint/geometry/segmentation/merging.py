"""Merge patches into objects: average-link agglomeration over border weights."""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def merge_average(
    count: int, edges: NDArray[np.int64], weight: Array, length: Array, limit: float
) -> NDArray[np.int64]:
    """Group (count,) of each patch: regions are merged, lowest mean border weight first, while it is below `limit`.

    The mean is over border length, so that one leaking pixel pair does not join two objects.
    edges: (E, 2); weight, length: (E,). Ties are broken by patch number.
    """
    near: list[dict[int, tuple[float, float]]] = [{} for _ in range(count)]
    for (a, b), w, n in zip(edges.tolist(), weight.tolist(), length.tolist(), strict=True):
        near[a][b] = near[b][a] = (w * n, n)
    group = np.arange(count)
    version = [0] * count
    queue = [(s / n, a, b, 0, 0) for a in range(count) for b, (s, n) in near[a].items() if a < b]
    heapq.heapify(queue)
    while queue:
        mean, a, b, version_a, version_b = heapq.heappop(queue)
        if version[a] != version_a or version[b] != version_b:
            continue
        if mean > limit:
            break
        group[b] = a
        version[a] += 1
        version[b] = -1
        del near[a][b]
        for c, (s, n) in near[b].items():
            if c != a:
                old = near[a].get(c, (0.0, 0.0))
                near[a][c] = near[c][a] = (old[0] + s, old[1] + n)
                del near[c][b]
        near[b] = {}
        for c, (s, n) in near[a].items():
            low, high = min(a, c), max(a, c)
            heapq.heappush(queue, (s / n, low, high, version[low], version[high]))
    return _roots(group)


def _roots(group: NDArray[np.int64]) -> NDArray[np.int64]:
    while True:
        parent = group[group]
        if (parent == group).all():
            return group
        group = parent
