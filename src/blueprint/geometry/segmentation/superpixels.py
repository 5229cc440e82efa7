"""Small patches of one colour, direction and place, and the graph of their borders."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.segmentation import slic

Labels = NDArray[np.int32]
Array = NDArray[np.float64]

PATCH_PX = 9  # side of a patch: large enough to average the noise of normals, small enough for a thin handle
LIGHTNESS = 0.6  # lightness counts less than hue: a box has a bright and a dark side


@dataclass(frozen=True)
class PatchGraph:
    """Patches 1..K (index 0 is unused) and borders between patches of the same part.

    labels: (H, W); pixels (K+1,); centre (K+1, 3) [m] world; normal (K+1, 3); lab (K+1, 3); distance (K+1,) [m]
    edges (E, 2), a < b; length (E,) [px]; bend (E,) angle [rad] between the normals, positive on concave borders;
    gap (E,) median depth step [m]; contrast (E,) CIE76 difference, lightness weighted down
    palette (K+1, 512): pixels of each patch per colour bin
    """

    labels: Labels
    pixels: Array
    centre: Array
    normal: Array
    lab: Array
    distance: Array
    edges: NDArray[np.int64]
    length: Array
    bend: Array
    gap: Array
    contrast: Array
    palette: Array


def patch_graph(
    parts: Labels,
    color: NDArray[np.uint8],
    depth: NDArray[np.float32],
    world: NDArray[np.float32],
    normal: NDArray[np.float32],
    *,
    side_px: float = PATCH_PX,
) -> PatchGraph:
    """Patches within the labelled `parts` (H, W); they do not cross from part to part."""
    lab = cv2.cvtColor(color, cv2.COLOR_RGB2LAB).astype(np.float32)
    labels = _patches(parts, lab, world, normal, side_px)
    count = int(labels.max()) + 1
    pixels = np.maximum(np.bincount(labels.ravel(), minlength=count).astype(float), 1)

    def mean(image: NDArray[np.floating]) -> Array:
        channels = image.reshape(labels.size, -1)
        sums = [np.bincount(labels.ravel(), channels[:, i], count) for i in range(channels.shape[1])]
        return np.stack(sums, axis=1) / pixels[:, None]

    direction = mean(normal)
    direction /= np.maximum(np.linalg.norm(direction, axis=1, keepdims=True), 1e-9)
    centre, colors = mean(world), mean(lab)
    edges, length, gap = _borders(labels, parts, depth)
    a, b = edges.T
    between = centre[a] - centre[b]
    angle = np.arccos(np.clip((direction[a] * direction[b]).sum(axis=1), -1, 1))
    bend = np.where(((direction[a] - direction[b]) * between).sum(axis=1) < 0, angle, -angle)
    contrast = np.linalg.norm((colors[a] - colors[b]) * [LIGHTNESS, 1, 1], axis=1)
    return PatchGraph(
        labels=labels,
        pixels=pixels,
        centre=centre,
        normal=direction,
        lab=colors,
        distance=mean(depth)[:, 0],
        edges=edges,
        length=length,
        bend=bend,
        gap=gap,
        contrast=contrast,
        palette=_palette(labels, lab),
    )


def _palette(labels: Labels, lab: NDArray[np.float32]) -> Array:
    """(K+1, 512) pixels of each patch per colour bin of 32 levels a side."""
    bins = (lab / 32).astype(np.int64)
    code = (bins[..., 0] * 8 + bins[..., 1]) * 8 + bins[..., 2]
    count = int(labels.max()) + 1
    counts = np.bincount((labels.astype(np.int64) * 512 + code).ravel(), minlength=count * 512)
    return counts.reshape(count, 512).astype(float)


def _patches(
    parts: Labels, lab: NDArray[np.float32], world: NDArray[np.float32], normal: NDArray[np.float32], side_px: float
) -> Labels:
    """SLIC (Achanta et al., PAMI 34(11), 2012) over colour, direction and place, renumbered so as to respect parts."""
    mask = parts > 0
    if not mask.any():
        return np.zeros(parts.shape, np.int32)
    features = np.dstack([lab / 255 * 1.5, normal * 0.6, world / 0.05]).astype(np.float64)
    patches = slic(
        features,
        n_segments=max(4, int(mask.sum() / side_px**2)),
        compactness=0.6,
        mask=mask,
        channel_axis=2,
        convert2lab=False,
        enforce_connectivity=True,
        start_label=1,
    )
    code = np.where(mask, patches.astype(np.int64) * (int(parts.max()) + 1) + parts, 0)
    values, index = np.unique(code, return_inverse=True)
    offset = 0 if values[0] == 0 else 1
    return (index.reshape(parts.shape) + offset).astype(np.int32)


def _borders(labels: Labels, parts: Labels, depth: NDArray[np.float32]) -> tuple[NDArray[np.int64], Array, Array]:
    """Pairs of touching patches of one part, their border length [px] and median depth step [m]."""
    height, width = labels.shape
    firsts, seconds, steps = [], [], []
    for dy, dx in ((0, 1), (1, 0), (0, 2), (2, 0)):
        a, b = labels[: height - dy, : width - dx], labels[dy:, dx:]
        same = parts[: height - dy, : width - dx] == parts[dy:, dx:]
        border = (a != b) & (a > 0) & (b > 0) & same
        firsts.append(np.minimum(a, b)[border])
        seconds.append(np.maximum(a, b)[border])
        steps.append(np.abs(depth[: height - dy, : width - dx] - depth[dy:, dx:])[border])
    count = int(labels.max()) + 1
    code = np.concatenate(firsts).astype(np.int64) * count + np.concatenate(seconds)
    step = np.concatenate(steps)
    order = np.lexsort((step, code))
    code, step = code[order], step[order]
    values, start, length = np.unique(code, return_index=True, return_counts=True)
    keep = length >= 3
    values, start, length = values[keep], start[keep], length[keep]
    median = step[start + length // 2] if len(start) else np.zeros(0)
    edges = np.stack([values // count, values % count], axis=1)
    return edges, length.astype(float), median.astype(float)
