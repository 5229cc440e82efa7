"""Connected parts of a depth image, cut where neighbouring readings jump."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

Labels = NDArray[np.int32]
Mask = NDArray[np.bool_]


def depth_components(mask: Mask, depth: NDArray[np.floating], jump: NDArray[np.floating]) -> Labels:
    """Label (H, W) the 8-connected parts of `mask`, cut where depth [m] differs by more than `jump` (H, W) [m]."""
    height, width = mask.shape
    index = np.cumsum(mask).reshape(mask.shape) - 1
    rows, cols = [], []
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
        here = np.s_[: height - dy, max(0, -dx) : width - max(0, dx)]
        there = np.s_[dy:, max(0, dx) : width - max(0, -dx)]
        join = mask[here] & mask[there] & (np.abs(depth[here] - depth[there]) < jump[here])
        rows.append(index[here][join])
        cols.append(index[there][join])
    row, col = np.concatenate(rows), np.concatenate(cols)
    count = int(mask.sum())
    _, part = connected_components(coo_matrix((np.ones(len(row), bool), (row, col)), (count, count)), directed=False)
    labels = np.zeros(mask.shape, np.int32)
    labels[mask] = part + 1
    return labels


def drop_small(labels: Labels, least: int) -> Labels:
    """Renumber 1.. in order of first label value; parts under `least` pixels become 0."""
    counts = np.bincount(labels.ravel())
    keep = counts >= least
    keep[0] = False
    number = np.where(keep, np.cumsum(keep), 0).astype(np.int32)
    return number[labels]
