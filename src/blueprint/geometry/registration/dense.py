"""Dense depth of photographs whose cameras are known: plane sweep, semi-global smoothing, agreement between views.

A cost volume is (D, H, W): one slice per plane parallel to the picture, equally spaced in inverse depth. Lengths are in
the unit of the cameras' positions, whatever it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from blueprint.geometry.transforms import invert, transform_points

Image = NDArray[np.float32]

WINDOW_PX = 9
LEAST_STD = 1.0  # grey levels: below, a window is noise, and its correlation says nothing
STEP_COST, JUMP_COST = 0.04, 0.6  # of one plane, and of any more, in units of 1 - correlation
BEST_ANGLE_DEG, ANGLE_SPREAD_DEG = 10.0, 8.0  # between two views of a point: less is imprecise, more looks different
LEAST_COMMON = 15  # points that two views must share to be matched
LEAST_CORRELATION = 0.2
AGREEMENT = 0.015  # relative difference of depth within which two views agree


@dataclass(frozen=True)
class PhotoView:
    """gray (H, W) float32; K (3, 3); T_camera_world (4, 4); points: index of each sparse point that it sees"""

    gray: Image
    K: NDArray[np.float64]
    T_camera_world: NDArray[np.float64]
    points: NDArray[np.int64]


@dataclass(frozen=True)
class Depth:
    """z (H, W) along the optical axis; score (H, W): correlation with the best other views, in [-1, 1]"""

    z: Image
    score: Image


def neighbours(views: Sequence[PhotoView], index: int, points: NDArray[np.float64], count: int) -> list[int]:
    """The other views that show the same points (of points (N, 3)) from a useful angle, best first."""
    one = views[index]
    ranked: list[tuple[float, int]] = []
    for j, other in enumerate(views):
        common = np.intersect1d(one.points, other.points)
        if j == index or len(common) < LEAST_COMMON:
            continue
        rays = [points[common] - invert(v.T_camera_world)[:3, 3] for v in (one, other)]
        a, b = (ray / np.linalg.norm(ray, axis=1, keepdims=True) for ray in rays)
        angle = np.degrees(np.median(np.arccos(np.clip((a * b).sum(1), -1, 1))))
        ranked.append((len(common) * float(np.exp(-(((angle - BEST_ANGLE_DEG) / ANGLE_SPREAD_DEG) ** 2))), j))
    return [j for _, j in sorted(ranked, key=lambda entry: (-entry[0], entry[1]))[:count]]


def depth_range(view: PhotoView, points: NDArray[np.float64]) -> tuple[float, float]:
    """(nearest, farthest) depth worth searching, from the sparse points that the view sees."""
    z = transform_points(view.T_camera_world, points[view.points])[:, 2]
    low, high = np.percentile(z, [1, 99])
    return 0.8 * float(low), 1.25 * float(high)


def sweep(view: PhotoView, sources: Sequence[PhotoView], near: float, far: float, planes: int = 128) -> Depth:
    """Depth of every pixel by comparing it with the sources on each of so many planes.

    Collins, "A space-sweep approach to true multi-image matching", CVPR 1996, with normalised correlation, the mean of
    the two best sources (the others may be hidden), and the smoothing of `aggregate`.
    """
    inverse = np.linspace(1 / near, 1 / far, planes)
    volume = _correlations(view, sources, 1 / inverse)
    total = aggregate(1 - volume)
    best = total.argmin(axis=0)
    inner = np.clip(best, 1, planes - 2)
    left, middle, right = (np.take_along_axis(total, (inner + k)[None], 0)[0] for k in (-1, 0, 1))
    curve = left - 2 * middle + right
    offset = np.clip((left - right) / (2 * np.maximum(curve, 1e-6)), -0.5, 0.5)  # vertex of the parabola
    place = np.where(best == inner, inner + offset, best)
    z = 1 / (inverse[0] + (inverse[-1] - inverse[0]) * place / (planes - 1))
    score = np.take_along_axis(volume, best[None], 0)[0]
    return Depth(z.astype(np.float32), np.where((best == 0) | (best == planes - 1), -1, score).astype(np.float32))


def _correlations(view: PhotoView, sources: Sequence[PhotoView], depths: NDArray[np.float64]) -> Image:
    """(D, H, W) mean of the two best normalised cross-correlations of each pixel's window, in [-1, 1]."""
    height, width = view.gray.shape
    mean, std = _moments(view.gray)
    volume = np.empty((len(depths), height, width), np.float32)
    towards_rays = np.linalg.inv(view.K)
    relative = [source.T_camera_world @ invert(view.T_camera_world) for source in sources]
    ones = [np.ones(source.gray.shape, np.uint8) for source in sources]
    for i, z in enumerate(depths):
        best = np.full((2, height, width), -1, np.float32)
        for source, T, one in zip(sources, relative, ones, strict=True):
            plane = T[:3, :3].copy()
            plane[:, 2] += T[:3, 3] / z  # the plane z = const of this view
            H = source.K @ plane @ towards_rays
            flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            warped = cv2.warpPerspective(source.gray, H, (width, height), flags=flags)
            seen = cv2.warpPerspective(one, H, (width, height), flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP)
            other_mean, other_std = _moments(warped.astype(np.float32))
            product = cv2.boxFilter(warped * view.gray, -1, (WINDOW_PX, WINDOW_PX))
            correlation = (product - mean * other_mean) / (std * other_std)
            correlation[seen == 0] = -1
            best[1] = np.maximum(best[1], np.minimum(best[0], correlation))
            best[0] = np.maximum(best[0], correlation)
        volume[i] = best.mean(axis=0) if len(sources) > 1 else best[0]
    return volume


def _moments(image: Image) -> tuple[Image, Image]:
    """Mean and standard deviation in the window around each pixel."""
    mean = cv2.boxFilter(image, -1, (WINDOW_PX, WINDOW_PX))
    variance = cv2.boxFilter(image * image, -1, (WINDOW_PX, WINDOW_PX)) - mean * mean
    return mean.astype(np.float32), np.sqrt(np.maximum(variance, LEAST_STD**2)).astype(np.float32)


def aggregate(cost: Image) -> Image:
    """Sum over four directions of the cheapest paths to each pixel and plane; cost and result (D, H, W).

    Hirschmueller, "Stereo processing by semiglobal matching and mutual information", TPAMI 30(2), 2008, eq. 13.
    """
    total = np.zeros_like(cost)
    _paths(cost, total)
    turned = np.ascontiguousarray(cost.transpose(0, 2, 1))
    other = np.zeros_like(turned)
    _paths(turned, other)
    return total + other.transpose(0, 2, 1)


def _paths(cost: Image, total: Image) -> None:
    """Add to `total` the costs of paths down and up the rows; a row is done at once."""
    rows = cost.shape[1]
    for order in (range(rows), range(rows - 1, -1, -1)):
        path = np.zeros_like(cost[:, 0])
        for row in order:
            least = path.min(axis=0)
            step = np.minimum(path, least + JUMP_COST)
            np.minimum(step[1:], path[:-1] + STEP_COST, out=step[1:])
            np.minimum(step[:-1], path[1:] + STEP_COST, out=step[:-1])
            step += cost[:, row] - least
            total[:, row] += step
            path = step


def agree(
    views: Sequence[PhotoView], depths: Mapping[int, Depth], index: int, others: Sequence[int], least: int = 2
) -> Image:
    """Depth (H, W) of one view where at least `least` others measured the same surface, averaged with them; else 0."""
    view, own = views[index], depths[index]
    height, width = own.z.shape
    u, v = np.meshgrid(np.arange(width), np.arange(height))
    rays = np.dstack([u, v, np.ones_like(u)]) @ np.linalg.inv(view.K).T
    world = transform_points(invert(view.T_camera_world), rays * own.z[..., None])
    votes = np.zeros(own.z.shape, int)
    ratio = np.ones(own.z.shape)
    for j in others:
        there = transform_points(views[j].T_camera_world, world)
        z = np.maximum(there[..., 2], 1e-9)
        column, row = (np.rint(p / z).astype(int) for p in np.moveaxis(there @ views[j].K.T, 2, 0)[:2])
        inside = (there[..., 2] > 0) & (column >= 0) & (row >= 0)
        inside &= (column < depths[j].z.shape[1]) & (row < depths[j].z.shape[0])
        column, row = np.where(inside, column, 0), np.where(inside, row, 0)
        quotient = depths[j].z[row, column] / z
        same = inside & (np.abs(quotient - 1) < AGREEMENT) & (depths[j].score[row, column] > LEAST_CORRELATION)
        votes += same
        ratio += np.where(same, quotient, 0)
    good = (votes >= least) & (own.score > LEAST_CORRELATION)
    good = cv2.morphologyEx(good.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0
    return np.where(good, own.z * ratio / (votes + 1), 0).astype(np.float32)
