"""Depth of a rectified pair: semi-global block matching, checked from both sides."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

BLOCK_PX = 5
NEAREST_M, FARTHEST_M = 0.2, 20.0
MOST_SEARCH = 0.4  # of the width: a wider search costs time and finds what stands before the lens
DISAGREEMENT_PX = 1  # between matching left to right and right to left
SPECKLE_PX, SPECKLE_RANGE = 100, 2  # smaller islands of depth are chance matches
LEAST_MATCHES = 20


def stereo_depth(
    left: NDArray[np.uint8], right: NDArray[np.uint8], fx: float, baseline_m: float, doffs: float = 0.0
) -> NDArray[np.float32]:
    """Depth (H, W) [m] of the left picture (H, W, 3), 0 = hidden, plain or ambiguous; a sixteenth of a pixel fine.

    fx, doffs [px]: depth = fx * baseline_m / (disparity + doffs). Hirschmueller, TPAMI 30(2), 2008, as in OpenCV.
    """
    low = int(np.floor(fx * baseline_m / FARTHEST_M - doffs))
    high = min(fx * baseline_m / NEAREST_M - doffs, low + MOST_SEARCH * left.shape[1])
    count = 16 * max(1, int(np.ceil((high - low) / 16)))
    area = 3 * BLOCK_PX**2
    matcher = cv2.StereoSGBM.create(
        minDisparity=low,
        numDisparities=count,
        blockSize=BLOCK_PX,
        P1=8 * area,
        P2=32 * area,
        disp12MaxDiff=DISAGREEMENT_PX,
        preFilterCap=31,
        uniquenessRatio=5,
        speckleWindowSize=SPECKLE_PX,
        speckleRange=SPECKLE_RANGE,
        mode=cv2.STEREO_SGBM_MODE_HH,
    )
    # OpenCV gives no disparity to the columns whose search would begin outside: they get room on both sides.
    before, after = max(0, low + count), max(0, -low)
    wide = [cv2.copyMakeBorder(p, 0, 0, before, after, cv2.BORDER_REPLICATE) for p in (left, right)]
    disparity = matcher.compute(wide[0], wide[1])[:, before : before + left.shape[1]].astype(np.float32) / 16
    column = np.arange(left.shape[1], dtype=np.float32)
    inside = (column - disparity >= 0) & (column - disparity <= left.shape[1] - 1)  # matched with padding: nothing
    valid = (disparity >= low) & inside & (disparity + doffs > 0)
    return np.where(valid, fx * baseline_m / np.where(valid, disparity + doffs, 1), 0).astype(np.float32)


def row_offset(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> tuple[float, float] | None:
    """(median |difference of rows|, median disparity) [px] of matched features; None when too few match.

    A rectified pair has the same rows, and the left camera sees everything further to the right.
    """
    orb = cv2.ORB.create(2000)
    (a, da), (b, db) = (orb.detectAndCompute(cv2.cvtColor(p, cv2.COLOR_RGB2GRAY), None) for p in (left, right))
    if da is None or db is None:
        return None
    matches = cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True).match(da, db)
    matches = sorted(matches, key=lambda m: m.distance)[: max(LEAST_MATCHES, len(matches) // 3)]
    if len(matches) < LEAST_MATCHES:
        return None
    shift = np.array([np.subtract(a[m.queryIdx].pt, b[m.trainIdx].pt) for m in matches])
    return float(np.median(np.abs(shift[:, 1]))), float(np.median(shift[:, 0]))
