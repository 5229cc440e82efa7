"""Close bowls and cups: their bottom lies within the noise of the table, and their inside and outside look like two.

What lies at the height of the table but between walls of one colour, and looks like them and not like the table, is
the bottom of a container. A hollow surface and a wall in front of it that end at the same height are its inside and
its outside.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from blueprint.geometry.segmentation.cutout import grow, hull_mask

Mask = NDArray[np.bool_]
Labels = NDArray[np.int32]

HOLLOW_RAD = np.deg2rad(-3.0)  # mean bend: bowls reach -3 deg through their rim, solid things lie below
RIM_M = 0.015
RING_PX = 30
BINS = 16
LIKE_SHARE = 0.6
LEAST_FILL = 0.02  # of the region's area


def close_hollows(
    labels: Labels,
    bend: NDArray[np.float64],
    color: NDArray[np.uint8],
    height: NDArray[np.float32],
    low: Mask,
    *,
    join: bool = True,
) -> Labels:
    """Add bottoms and, with `join`, unite insides with outsides; in the result (H, W) some numbers may be missing.

    bend: (n+1,) mean bend [rad] of each label; height: (H, W) [m]; low: (H, W) pixels at the table or without depth
    """
    lab = cv2.cvtColor(color, cv2.COLOR_RGB2LAB).astype(np.uint8)
    table = low & ~grow(labels > 0, 3)
    out = labels.copy()
    for inner in np.argsort(-bend[1:], kind="stable") + 1:
        if not join or bend[inner] < HOLLOW_RAD or not (out == inner).any():
            continue
        for outer in _same_rim(out, int(inner), height):
            pair = (out == inner) | (out == outer)
            touch = (grow(out == inner, 3) & (out == outer)).any()
            if touch or _bottom(pair, out, lab, low, table).any():
                out[out == outer] = inner
    for label in np.unique(out[out > 0]):
        if bend[label] < HOLLOW_RAD:
            continue
        out[_bottom(out == label, out, lab, low, table)] = label
    return out


def _same_rim(labels: Labels, inner: int, height: NDArray[np.float32]) -> list[int]:
    """Other labels that end at the height at which `inner` ends and stand in front of it (below it in the image)."""
    mine = labels == inner
    top, middle = np.percentile(height[mine], 95), np.argwhere(mine).mean(axis=0)
    hull = grow(hull_mask(mine), RING_PX)
    found = []
    for other in np.unique(labels[hull & (labels > 0)]):
        theirs = labels == other
        level = abs(np.percentile(height[theirs], 95) - top) < RIM_M
        if other != inner and level and np.argwhere(theirs).mean(axis=0)[0] > middle[0]:
            found.append(int(other))
    return found


def _bottom(region: Mask, labels: Labels, lab: NDArray[np.uint8], low: Mask, table: Mask) -> Mask:
    """Pixels within the region's outline, at the table's height, that look like the region; empty when few do."""
    hull = hull_mask(region)
    between = hull & low & (labels == 0) & ~region
    if between.sum() < LEAST_FILL * region.sum():
        return np.zeros_like(region)
    ring = grow(hull, RING_PX) & ~grow(hull, 3) & table
    if ring.sum() < 50:
        return np.zeros_like(region)
    like = color_odds(lab, region, ring) > 0
    like = ndimage.median_filter(like.astype(np.uint8), 5) > 0
    count, parts = cv2.connectedComponents(between.astype(np.uint8), connectivity=4)
    size = np.bincount(parts.ravel(), minlength=count)
    share = np.bincount(parts[like], minlength=count) / np.maximum(size, 1)
    keep = (share > LIKE_SHARE) & (size >= LEAST_FILL * region.sum())
    keep[0] = False
    return keep[parts]


def color_odds(lab: NDArray[np.uint8], ours: Mask, theirs: Mask) -> NDArray[np.float64]:
    """(H, W) log-odds that a colour is from `ours` rather than `theirs`, from smoothed histograms; equal priors."""
    step = 256 // BINS
    code = (lab // step).astype(np.int64)
    index = (code[..., 0] * BINS + code[..., 1]) * BINS + code[..., 2]

    def density(mask: Mask) -> NDArray[np.float64]:
        histogram = np.bincount(index[mask], minlength=BINS**3).reshape(BINS, BINS, BINS).astype(float)
        smooth = ndimage.gaussian_filter(histogram, 1.0, mode="nearest")
        return smooth.ravel() / max(float(smooth.sum()), 1e-9) + 1e-5

    return np.log(density(ours) / density(theirs))[index]
