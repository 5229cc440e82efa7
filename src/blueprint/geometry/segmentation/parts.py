"""Decide which patches belong to one object.

Objects are convex where they are one thing and meet each other in creases; so a border counts as an object's edge as
far as it is concave, more so when colour changes there too (Stein et al., "Object partitioning using local
convexity", CVPR 2014, use convexity alone). Creases within an object (handles, lids) are told from creases between
objects by what stands on the table and what cannot stand alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from blueprint.geometry.segmentation.components import Labels
from blueprint.geometry.segmentation.merging import merge_average
from blueprint.geometry.segmentation.superpixels import PatchGraph

Array = NDArray[np.float64]

CREASE_RAD = np.deg2rad(20.0)  # a crease this sharp with this contrast is an edge of weight 1
USUAL_SHARE = 1.0  # of the usual bend, that is taken off
CONTRAST = 30.0
CONTRAST_SHARE = 0.25  # prints have more contrast than edges, so colour only sways
GAP = 0.012  # depth step relative to distance that already cuts parts
PIECE = 0.7  # mean border weight up to which patches are merged into pieces
CERTAIN = 0.4  # ... up to which they are one thing beyond doubt
STANDING = 0.8  # weight that separates two pieces that both stand on the table
ATTACHED = 1.0  # ... that separates a piece from what alone could hold it up
SMALL_PX = 400
SMALL_SHARE = 0.06


def border_weight(graph: PatchGraph) -> Array:
    """(E,) evidence that a border separates two objects; 1 = a clear edge, at most 3."""
    a, b = graph.edges.T
    distance = np.maximum((graph.distance[a] + graph.distance[b]) / 2, 0.3)
    shade = 1 - CONTRAST_SHARE * (1 - np.minimum(graph.contrast / CONTRAST, 1.0))
    # Noise and curvature bend all borders alike; a crease stands out from them.
    usual = float(np.median(np.abs(graph.bend))) if len(graph.bend) else 0.0
    crease = np.clip((graph.bend - USUAL_SHARE * usual) / CREASE_RAD, 0.0, 2.0) * shade
    step = 0.8 * np.maximum(0.0, graph.gap / (GAP * distance) - 0.5)
    return np.minimum(crease + step, 3.0)


def group_patches(graph: PatchGraph, low: Array) -> NDArray[np.int64]:
    """Group (K+1,) of each patch. low: (K+1,) [m] height of each patch's lowest part above what `standing` allows;
    <= 0 means that the patch reaches down to the table."""
    count = len(graph.pixels)
    weight = border_weight(graph)
    group = merge_average(count, graph.edges, weight, graph.length, PIECE)
    while True:
        target = _absorption(graph, weight, group, low)
        if target is None:
            return group
        group[group == target[0]] = target[1]


def fine_groups(graph: PatchGraph) -> NDArray[np.int64]:
    """Group (K+1,) of each patch into pieces that are surely of one object each."""
    return merge_average(len(graph.pixels), graph.edges, border_weight(graph), graph.length, CERTAIN)


def _absorption(graph: PatchGraph, weight: Array, group: NDArray[np.int64], low: Array) -> tuple[int, int] | None:
    """(region, neighbour that takes it) for a region that is no object of its own, small ones first, if there is one.

    Two pieces of one palette are more likely one object (a tool and its battery) than two pieces of different ones.
    """
    a, b = group[graph.edges[:, 0]], group[graph.edges[:, 1]]
    across = a != b
    if not across.any():
        return None
    count = len(graph.pixels)
    code = np.minimum(a, b)[across] * count + np.maximum(a, b)[across]
    values, inverse = np.unique(code, return_inverse=True)
    length = np.bincount(inverse, graph.length[across])
    first, second = values // count, values % count
    likeness = _likeness(graph, group, first, second)
    mean = np.bincount(inverse, (weight * graph.length)[across]) / length * (1.2 - 0.75 * likeness)
    size = np.bincount(group, graph.pixels, count)
    lowest = np.full(count, np.inf)
    np.minimum.at(lowest, group, low)
    for region in sorted(set(first.tolist()) | set(second.tolist()), key=lambda r: (size[r], r)):
        mine = np.flatnonzero((first == region) | (second == region))
        other = np.where(first[mine] == region, second[mine], first[mine])
        if size[region] < max(SMALL_PX, SMALL_SHARE * size[other].max()):
            return region, int(other[np.argmax(length[mine])])
        if lowest[region] > 0 and mean[mine].min() < ATTACHED:
            return region, int(other[np.argmin(mean[mine])])
    weakest = int(np.argmin(mean))
    return (int(second[weakest]), int(first[weakest])) if mean[weakest] < STANDING else None


def _likeness(
    graph: PatchGraph, group: NDArray[np.int64], first: NDArray[np.int64], second: NDArray[np.int64]
) -> Array:
    """Share of colours that each pair of regions has in common (histogram intersection)."""
    regions, index = np.unique(group, return_inverse=True)
    palette = np.zeros((len(regions), graph.palette.shape[1]))
    np.add.at(palette, index, graph.palette)
    palette /= np.maximum(palette.sum(axis=1, keepdims=True), 1)
    place = {int(region): i for i, region in enumerate(regions)}
    pairs = [(place[int(a)], place[int(b)]) for a, b in zip(first, second, strict=True)]
    return np.array([float(np.minimum(palette[i], palette[j]).sum()) for i, j in pairs])


def label_bend(graph: PatchGraph, label: NDArray[np.int64]) -> Array:
    """(n+1,) mean bend [rad] of the borders within each label of the patches (K+1,): positive where a surface is
    hollow, as in a bowl."""
    a, b = label[graph.edges[:, 0]], label[graph.edges[:, 1]]
    within = a == b
    count = int(label.max()) + 1
    total = np.bincount(a[within], (graph.bend * graph.length)[within], count)
    return total / np.maximum(np.bincount(a[within], graph.length[within], count), 1e-9)


def consensus(runs: list[Labels]) -> Labels:
    """What most of several segmentations (H, W) of one picture hold together; labels 1.., 0 where the first has 0.

    Where patches happen to lie decides close calls; a majority over several patch sizes does so less.
    """
    codes = np.zeros(runs[0].shape, dtype=np.int64)
    for run in runs:
        codes = codes * (int(run.max()) + 1) + run
    codes[runs[0] == 0] = -1
    values, piece = np.unique(codes, return_inverse=True)
    piece = piece.reshape(codes.shape)
    apart = np.zeros((len(values), len(values)))
    for run in runs:
        label = np.zeros(len(values), dtype=np.int64)
        label[piece] = run
        apart += (label[:, None] != label[None, :]) / len(runs)
    first = 1 if values[0] == -1 else 0
    a, b = np.triu_indices(len(values) - first, 1)
    size = np.bincount(piece.ravel())[first:].astype(float)
    edges = np.stack([a, b], axis=1)
    # Average link over pairs of pixels: slivers on which the runs disagree do not chain two objects together.
    group = merge_average(len(size), edges, apart[first:, first:][a, b], size[a] * size[b], 0.5)
    group = np.concatenate([np.zeros(first, dtype=np.int64), group])
    number = group[piece] + 1
    number[runs[0] == 0] = 0
    return number.astype(np.int32)


def region_labels(graph: PatchGraph, group: NDArray[np.int64]) -> Labels:
    """Label image (H, W) of the groups, 1.. in order of group number, 0 outside the patches."""
    labels = group[graph.labels]
    labels[graph.labels == 0] = -1
    values, inverse = np.unique(labels, return_inverse=True)
    offset = 0 if values[0] == -1 else 1
    return (inverse.reshape(labels.shape) + offset).astype(np.int32)
