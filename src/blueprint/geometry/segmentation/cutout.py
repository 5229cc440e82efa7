"""Cut objects out of a picture along their visible edge: depth says where to look, colour where to cut.

Depth and colour of cheap sensors disagree by several pixels at edges, dark and shiny parts have no depth, and the
bottom of a bowl lies within the noise of the table. So a segment from depth is only a seed: its core is certain,
certain table is certain, and GrabCut decides between (Rother, Kolmogorov, Blake, "GrabCut", SIGGRAPH 2004).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]
Labels = NDArray[np.int32]

MARGIN_PX = 20
ITERATIONS = 3


@dataclass(frozen=True)
class Trimap:
    """What is known of one object: pixels (H, W) certainly its own, certainly not, and probably its own."""

    inside: Mask
    outside: Mask
    likely: Mask


def cut(color: NDArray[np.uint8], trimap: Trimap) -> Mask:
    """The object's pixels (H, W). color: (H, W, 3). Without pixels on both sides `likely` is returned."""
    if not (trimap.inside | trimap.likely).any() or not trimap.outside.any():
        return trimap.likely & ~trimap.outside
    open_ = ~trimap.outside
    rows, cols = np.flatnonzero(open_.any(axis=1)), np.flatnonzero(open_.any(axis=0))
    top, left = max(0, rows[0] - MARGIN_PX), max(0, cols[0] - MARGIN_PX)
    window = np.s_[top : rows[-1] + MARGIN_PX + 1, left : cols[-1] + MARGIN_PX + 1]
    mask = np.where(trimap.likely, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)[window]
    mask[trimap.outside[window]] = cv2.GC_BGD
    mask[trimap.inside[window]] = cv2.GC_FGD
    cv2.setRNGSeed(0)
    picture = np.ascontiguousarray(color[window])
    cv2.grabCut(picture, mask, (0, 0, 1, 1), np.zeros((1, 65)), np.zeros((1, 65)), ITERATIONS, cv2.GC_INIT_WITH_MASK)
    out = np.zeros(trimap.inside.shape, bool)
    out[window] = (mask == cv2.GC_FGD) | (mask == cv2.GC_PR_FGD)
    return out


def disk(radius: int) -> NDArray[np.uint8]:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)).astype(np.uint8)


def grow(mask: Mask, radius: int) -> Mask:
    return cv2.dilate(mask.astype(np.uint8), disk(radius)) > 0


def shrink(mask: Mask, radius: int) -> Mask:
    """Erosion; what lies beyond the image's border counts as inside."""
    return cv2.erode(mask.astype(np.uint8), disk(radius)) > 0


def smooth(mask: Mask, radius: int) -> Mask:
    """Close and open: no gaps and hairs narrower than the radius."""
    closed = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, disk(radius))
    return cv2.morphologyEx(closed, cv2.MORPH_OPEN, disk(radius)) > 0


def connected_to(mask: Mask, seed: Mask) -> Mask:
    """Parts of `mask` that touch `seed`."""
    count, found = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    parts = found.astype(np.int32)
    keep = np.zeros(count, bool)
    keep[np.unique(parts[seed & mask])] = True
    keep[0] = False
    return keep[parts]


def resolve(masks: list[Mask], seeds: list[Mask]) -> Labels:
    """One label image (1..) from masks that may overlap: a pixel claimed twice goes to the nearest seed."""
    labels = np.zeros(masks[0].shape, np.int32)
    nearest = np.full(masks[0].shape, np.inf, np.float32)
    for i, (mask, seed) in enumerate(zip(masks, seeds, strict=True), start=1):
        distance = cv2.distanceTransform((~seed).astype(np.uint8), cv2.DIST_L2, 5)
        take = mask & (distance < nearest)
        labels[take] = i
        nearest[take] = distance[take]
    return labels


def hull_mask(mask: Mask) -> Mask:
    """Convex hull of a mask, as a mask."""
    out = np.zeros(mask.shape, np.uint8)
    points = np.argwhere(mask)[:, ::-1].astype(np.int32)
    if len(points):
        cv2.fillConvexPoly(out, cv2.convexHull(points), 1)
    return out > 0


def fill_holes(mask: Mask) -> Mask:
    """The mask with enclosed gaps filled."""
    return np.asarray(ndimage.binary_fill_holes(mask), dtype=bool)
