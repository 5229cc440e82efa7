"""Depth that contradicts known camera poses: find each camera's error from the surfaces that several views share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.spatial import KDTree

from blueprint.geometry.registration.icp import NORMALS_AGREE, Cloud, DepthView, sample_cloud
from blueprint.geometry.transforms import Array

REACHES_M = (0.15, 0.15, 0.12, 0.12, 0.09, 0.06, 0.04, 0.03, 0.03, 0.02, 0.02)
PRIOR = np.array([0.2, 0.1])  # standard deviations of gain and offset [m] of an uncalibrated sensor
SURFACE_SIGMA_M = 0.005
MOST_GAIN, MOST_OFFSET_M = 0.4, 0.15


def calibrate_depth(views: Sequence[DepthView], poses: Sequence[Array], seed: int) -> Array | None:
    """Gain and offset (V, 2) per view: true depth = gain * depth + offset [m]; None when nothing sensible comes out.

    The poses (4, 4) are taken as exact: known motion makes depth observable. Gauss-Newton on point-to-plane distances
    between all pairs of views, with a weak prior on depth being right.
    """
    found = np.tile([1.0, 0.0], (len(views), 1))
    for reach in REACHES_M:
        clouds = [
            sample_cloud(corrected(view, *known), np.random.default_rng(seed))
            for view, known in zip(views, found, strict=True)
        ]
        step = _step(clouds, poses, found, reach)
        if step is None:
            return None
        found += step
    if (np.abs(found - [1.0, 0.0]) > [MOST_GAIN, MOST_OFFSET_M]).any():
        return None
    return found


def corrected(view: DepthView, gain: float, offset: float) -> DepthView:
    """The view with depth = gain * depth + offset where it has a reading."""
    depth = np.where(view.depth > 0, gain * view.depth + offset, 0)
    return replace(view, depth=np.maximum(depth, 0).astype(np.float32))


def _step(clouds: list[Cloud], poses: Sequence[Array], found: Array, reach: float) -> Array | None:
    """(V, 2) change of gain and offset; None when the views share too little."""
    count = len(clouds)
    A = np.diag(np.tile(PRIOR**-2, count))
    b = (([1.0, 0.0] - found) / PRIOR**2).ravel()
    moved = [cloud.moved(T) for cloud, T in zip(clouds, poses, strict=True)]
    trees = [KDTree(cloud.points) for cloud in moved]
    shared = 0
    for i in range(count):
        for j in range(count):
            if i == j:
                continue
            distance, index = trees[j].query(moved[i].points, distance_upper_bound=reach)
            near = np.flatnonzero(np.isfinite(distance))
            index = np.asarray(index)[near]
            normal = moved[j].normals[index]
            agree = (moved[i].normals[near] * normal).sum(axis=1) > NORMALS_AGREE
            near, index, normal = near[agree], index[agree], normal[agree]
            if len(near) < 50:
                continue
            shared += len(near)
            r = ((moved[i].points[near] - moved[j].points[index]) * normal).sum(axis=1)
            J = np.zeros((len(near), 2 * count))
            J[:, 2 * i : 2 * i + 2] = _slope(clouds[i].points[near], poses[i], normal, found[i])
            J[:, 2 * j : 2 * j + 2] = -_slope(clouds[j].points[index], poses[j], normal, found[j])
            scale = max(1.4826 * float(np.median(np.abs(r))), SURFACE_SIGMA_M)
            weight = 1.0 / (SURFACE_SIGMA_M**2 * (1.0 + (r / (2 * scale)) ** 2))
            A += J.T @ (weight[:, None] * J)
            b -= J.T @ (weight * r)
    return np.linalg.solve(A, b).reshape(-1, 2).astype(np.float64) if shared else None


def _slope(points: Array, T: Array, normal: Array, known: Array) -> Array:
    """(N, 2) how the distance along `normal` changes with gain and offset. points: camera frame, as corrected now."""
    along = (normal @ T[:3, :3] * points).sum(axis=1) / points[:, 2]
    measured = (points[:, 2] - known[1]) / known[0]
    return np.stack([along * measured, along], axis=1)
