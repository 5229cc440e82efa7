"""Place views without poses: features matched between pictures, lifted by depth, checked by geometry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from blueprint.geometry import depth as depths
from blueprint.geometry.registration.icp import (
    LEAST_OVERLAP,
    MOST_SHIFT_M,
    REACHES_M,
    Cloud,
    DepthView,
    align,
    centre_shift,
    contradiction,
    sample_cloud,
)
from blueprint.geometry.table.planes import plane_tolerance
from blueprint.geometry.transforms import Array

FEATURES, RATIO, LEAST_MATCHES = 2500, 0.8, 12
TRIALS = 1000
MOST_THROUGH = 0.15
LONE_OVERLAP, LONE_THROUGH = 0.7, 0.03  # what geometry alone must reach to place a view without features


def register(views: Sequence[DepthView], rng: np.random.Generator) -> list[Array | None]:
    """Poses (4, 4) in the frame of one of the views; None for what cannot be placed beside it.

    That view is the first, unless more hang together with the middle or the last one.
    """
    clouds = [sample_cloud(view, rng) for view in views]
    marks = [_features(view) for view in views]
    best: list[Array | None] = []
    for root in dict.fromkeys((0, len(views) // 2, len(views) - 1)):
        placed = _grown(views, clouds, marks, root, rng)
        if _placed(placed) > _placed(best):
            best = placed
        if _placed(best) > len(views) / 2:
            break
    return best


def _placed(poses: list[Array | None]) -> int:
    return sum(T is not None for T in poses)


def _grown(
    views: Sequence[DepthView], clouds: list[Cloud], marks: list[_Marks], root: int, rng: np.random.Generator
) -> list[Array | None]:
    """Place each view beside its nearest placed neighbour in time, or else any that holds it, until no more can be."""
    placed: list[Array | None] = [np.eye(4) if i == root else None for i in range(len(views))]
    waiting = sorted((i for i in range(len(views)) if i != root), key=lambda i: abs(i - root))
    while waiting:
        for i in waiting:
            known = sorted((j for j, T in enumerate(placed) if T is not None), key=lambda j: abs(i - j))
            for j in known:
                T_ji, T_j = _pair(views, clouds, marks, j, i, rng), placed[j]
                if T_ji is not None and T_j is not None:
                    placed[i] = T_j @ T_ji
                    break
        still = [i for i in waiting if placed[i] is None]
        if len(still) == len(waiting):
            break
        waiting = still
    return placed


@dataclass(frozen=True)
class _Marks:
    """Image features with depth: descriptors (N, 128) float32 and camera points (N, 3) [m]."""

    descriptors: NDArray[np.float32]
    points: Array


def _features(view: DepthView) -> _Marks:
    found, descriptors = cv2.SIFT_create(nfeatures=FEATURES, contrastThreshold=0.02).detectAndCompute(view.grey, None)  # pyright: ignore
    if descriptors is None:
        return _Marks(np.zeros((0, 128), np.float32), np.zeros((0, 3)))
    uv = np.rint(np.array([mark.pt for mark in found])).astype(int)
    u, v = uv[:, 0].clip(0, view.camera.width - 1), uv[:, 1].clip(0, view.camera.height - 1)
    keep = (view.depth[v, u] > 0) & (view.depth[v, u] < 5.0)
    return _Marks(descriptors[keep], depths.backproject(view.depth, view.camera)[v, u][keep].astype(float))


def _pair(
    views: Sequence[DepthView], clouds: list[Cloud], marks: list[_Marks], j: int, i: int, rng: np.random.Generator
) -> Array | None:
    """T_ji by features, else by geometry alone from where view j stood; None when neither is certain."""
    T = match_rigid(marks[j], marks[i], rng)
    by_features = T is not None
    if T is not None:
        found = align(clouds[i], clouds[j], T)
        near = np.linalg.norm(centre_shift(clouds[i], T, found.T)) < MOST_SHIFT_M
        T = found.T if near and found.overlap >= LEAST_OVERLAP else T
    elif abs(i - j) == 1:
        found = align(clouds[i], clouds[j], np.eye(4), (0.10, 0.10, 0.08, 0.06, *REACHES_M))
        T = found.T if found.overlap > LONE_OVERLAP and found.held == 6 else None
    if T is None:
        return None
    through = contradiction([views[i], views[j]], [T, np.eye(4)])
    return T if through < (MOST_THROUGH if by_features else LONE_THROUGH) else None


def match_rigid(marks_b: _Marks, marks_a: _Marks, rng: np.random.Generator) -> Array | None:
    """T_ba from matched features by RANSAC over triples; None for fewer than `LEAST_MATCHES` that agree.

    Lowe, "Distinctive image features from scale-invariant keypoints", IJCV 60(2), 2004 (ratio test).
    """
    if min(len(marks_a.points), len(marks_b.points)) < LEAST_MATCHES:
        return None
    pairs = cv2.BFMatcher(cv2.NORM_L2).knnMatch(marks_a.descriptors, marks_b.descriptors, k=2)
    good = [m for m, second in pairs if m.distance < RATIO * second.distance]
    if len(good) < LEAST_MATCHES:
        return None
    a, b = marks_a.points[[m.queryIdx for m in good]], marks_b.points[[m.trainIdx for m in good]]
    tolerance = 3 * plane_tolerance(b[:, 2])
    triples = rng.integers(0, len(a), (TRIALS, 3))
    R, t = _kabsch(a[triples], b[triples])
    miss = np.linalg.norm(np.einsum("kij,nj->kni", R, a) + t[:, None] - b, axis=2)
    inliers = miss[np.argmax((miss < tolerance).sum(axis=1))] < tolerance
    for _ in range(3):
        if inliers.sum() < LEAST_MATCHES:
            return None
        R, t = _kabsch(a[inliers][None], b[inliers][None])
        inliers = np.linalg.norm(a @ R[0].T + t[0] - b, axis=1) < tolerance
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = R[0], t[0]
    return T


def _kabsch(a: Array, b: Array) -> tuple[Array, Array]:
    """Rotations (K, 3, 3) and shifts (K, 3) that best map a (K, N, 3) onto b. Kabsch, Acta Cryst. A32, 1976."""
    mean_a, mean_b = a.mean(axis=1), b.mean(axis=1)
    U, _, Vt = np.linalg.svd(np.einsum("kni,knj->kij", b - mean_b[:, None], a - mean_a[:, None]))
    flip = np.ones((len(a), 3))
    flip[:, 2] = np.sign(np.linalg.det(U @ Vt))
    R = (U * flip[:, None]) @ Vt
    return R, mean_b - np.einsum("kij,kj->ki", R, mean_a)
