"""Planes in a depth image: find them, choose the one that carries the objects, stand the world on it.

A plane is (normal, offset) with `normal . p + offset = 0`, the camera on its positive side. Points are in the camera
frame (x right, y down, z forward), metres.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

CELL_M = 0.015  # grid on a plane in which its footprint and what stands on it are counted
REACH_M = 0.45  # objects stand at most this high above their support


@dataclass(frozen=True)
class Plane:
    """normal: (3,) unit, offset [m]; the camera (origin) is on the positive side."""

    normal: Array
    offset: float

    def height(self, points: NDArray[np.floating]) -> Array:
        """Signed distance [m] of points (..., 3)."""
        return np.asarray(points, dtype=float) @ self.normal + self.offset


@dataclass(frozen=True)
class SupportCandidate:
    """A plane and why it may carry the objects; all shares are of the points searched.

    own: on the plane; contact: on things that stand on it; below: just below it within its footprint
    up: cosine between the normal and the image's upward direction
    """

    plane: Plane
    own: float
    contact: float
    below: float
    up: float
    area_m2: float

    @property
    def score(self) -> float:
        """Weights as tuned on 26 captures in design/reconstruction.md: what stands on it counts, size hardly does."""
        facing_away = 1.0 if self.up < 0.1 and self.plane.normal[2] > -0.6 else 0.0
        prior = 0.25 * max(self.up, -0.3) - facing_away
        return self.unprompted + prior

    @property
    def unprompted(self) -> float:
        """The score without the guess that pictures are taken upright."""
        return min(self.own, 0.15) + 2.0 * self.contact - 2.0 * self.below


def plane_tolerance(depth: NDArray[np.floating]) -> Array:
    """Distance [m] within which a reading at `depth` [m] is on a plane: twice the noise of a cheap depth sensor."""
    return 0.004 + 0.0025 * np.asarray(depth, dtype=float) ** 2


def fit_plane(points: Array) -> Plane:
    """Least-squares plane through points (N, 3), N >= 3."""
    centre = points.mean(axis=0)
    _, vectors = np.linalg.eigh(np.cov((points - centre).T))
    return _towards_camera(vectors[:, 0], centre)


def _towards_camera(normal: Array, point: Array) -> Plane:
    normal = normal / np.linalg.norm(normal)
    offset = -float(normal @ point)
    return Plane(normal, offset) if offset >= 0 else Plane(-normal, -offset)


def ransac_plane(
    points: Array,
    rng: np.random.Generator,
    *,
    tolerance: Callable[[NDArray[np.floating]], Array] = plane_tolerance,
    iterations: int = 400,
    sample: int = 8000,
) -> Plane:
    """The plane with most points (N, 3) within `tolerance(depth)`, refined by least squares over its inliers.

    Fischler and Bolles, "Random sample consensus", CACM 24(6), 1981. Raises ValueError for fewer than 3 points.
    """
    if len(points) < 3:
        raise ValueError("a plane needs at least 3 points")
    few = points if len(points) <= sample else points[rng.choice(len(points), sample, replace=False)]
    near = tolerance(few[:, 2])
    corners = few[rng.integers(0, len(few), (iterations, 3))]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(normals, axis=1)
    keep = lengths > 1e-9
    normals, corners = normals[keep] / lengths[keep, None], corners[keep]
    offsets = -(normals * corners[:, 0]).sum(axis=1)
    counts = [int((np.abs(few @ n + d) < near).sum()) for n, d in zip(normals, offsets, strict=True)]
    best = int(np.argmax(counts))
    plane = _towards_camera(normals[best], corners[best, 0])
    for _ in range(4):
        inliers = np.abs(plane.height(points)) < tolerance(points[:, 2])
        if inliers.sum() < 3:
            break
        plane = fit_plane(points[inliers])
    return plane


def support_candidates(points: Array, rng: np.random.Generator, *, most: int = 6) -> list[SupportCandidate]:
    """Planes of a cloud (N, 3), largest first, each judged as a support."""
    rest = np.ones(len(points), dtype=bool)
    found: list[SupportCandidate] = []
    for _ in range(most):
        if rest.sum() < max(0.04 * len(points), 100):
            break
        plane = ransac_plane(points[rest], rng)
        inliers = np.abs(plane.height(points)) < 1.2 * plane_tolerance(points[:, 2])
        own = inliers & rest
        if own.sum() < 0.02 * len(points):
            break
        rest &= ~inliers
        found.append(_judge(plane, points, own))
    return found


def plane_axes(plane: Plane, forward: NDArray[np.floating]) -> tuple[Array, Array]:
    """Unit x and y axes in the plane with x cross y = normal; y is `forward` (3,) laid into the plane."""
    y = forward - (forward @ plane.normal) * plane.normal
    y = y / np.linalg.norm(y)
    return np.cross(y, plane.normal), y


def view_direction(plane: Plane) -> Array:
    """Where the camera looks along the plane: its optical axis, or the image's upward direction when it looks down."""
    axis = np.array([0.0, 0.0, 1.0])
    return axis if abs(axis @ plane.normal) < 0.95 else np.array([0.0, -1.0, 0.0])


def _judge(plane: Plane, points: Array, own: Mask) -> SupportCandidate:
    """Count what stands on the plane's footprint (reaching down to it) and what lies just below."""
    x, y = plane_axes(plane, view_direction(plane))
    cell = np.floor(np.column_stack([points @ x, points @ y]) / CELL_M).astype(int)
    low = np.percentile(cell[own], 0.5, axis=0).astype(int) - 2
    high = np.percentile(cell[own], 99.5, axis=0).astype(int) + 2
    inside = ((cell >= low) & (cell <= high)).all(axis=1)
    shape = tuple((high - low + 1).tolist())
    footprint, area = _footprint(cell[own & inside] - low, shape)
    inside = np.asarray(inside, dtype=bool)
    inside[inside] = footprint[tuple((cell[inside] - low).T)]
    height, tolerance = plane.height(points), plane_tolerance(points[:, 2])
    clear = np.maximum(0.012, 2.5 * tolerance)
    above = inside & (height > clear) & (height < REACH_M)
    # A column counts only when it reaches down to the plane: a shelf above the floor does not stand on the floor.
    lowest = np.full(shape, np.inf, dtype=np.float32)
    at = tuple((cell[above] - low).T)
    np.minimum.at(lowest, at, height[above].astype(np.float32))
    lowest = cv2.erode(lowest, np.ones((3, 3), np.uint8))
    contact = int((lowest[at] < 0.05).sum())
    below = int((inside & (height < -clear) & (height > -0.10)).sum())
    total = len(points)
    return SupportCandidate(
        plane, own.sum() / total, contact / total, below / total, float(-plane.normal[1]), area * CELL_M**2
    )


def _footprint(cells: NDArray[np.int_], shape: tuple[int, ...]) -> tuple[Mask, int]:
    """Convex hull (mask of `shape`) of the largest connected part of occupied cells (N, 2), and that part's area."""
    largest = largest_part(cells, shape)
    hull = cv2.convexHull(np.argwhere(largest)[:, ::-1].astype(np.int32))
    mask = np.zeros(shape, np.uint8)
    cv2.fillConvexPoly(mask, hull, 1)
    return mask > 0, int(largest.sum())


def largest_part(cells: NDArray[np.int_], shape: tuple[int, ...], *, bridge: int = 5) -> Mask:
    """Mask of the largest connected part of occupied cells (N, 2); gaps narrower than `bridge` cells are closed."""
    occupied = np.zeros((shape[0] + 2 * bridge, shape[1] + 2 * bridge), np.uint8)  # else closing grows at the border
    occupied[cells[:, 0] + bridge, cells[:, 1] + bridge] = 1
    occupied = cv2.morphologyEx(occupied, cv2.MORPH_CLOSE, np.ones((bridge, bridge), np.uint8))
    occupied = np.ascontiguousarray(occupied[bridge:-bridge, bridge:-bridge])
    _, labels, stats, _ = cv2.connectedComponentsWithStats(occupied, connectivity=8)
    return labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))


def support_polygon(xy: Array, *, cell_m: float = 0.01) -> Array:
    """Convex, counter-clockwise outline (K, 2) [m] of the largest connected part of points on a support (N, 2)."""
    cell = np.floor(xy / cell_m).astype(int)
    low = np.percentile(cell, 0.2, axis=0).astype(int) - 3
    high = np.percentile(cell, 99.8, axis=0).astype(int) + 3
    cell = cell[((cell >= low) & (cell <= high)).all(axis=1)] - low
    shape = tuple((high - low + 1).tolist())
    part = largest_part(cell, shape).astype(np.uint8)
    # Opening cuts off what only touches the table's height beside it: the rims of things behind its edge.
    opened = cv2.morphologyEx(part, cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5)))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(opened, connectivity=8)
    # Objects and their shadows cut a table into several parts; slivers are none.
    area = np.where(np.arange(len(stats)) > 0, stats[:, cv2.CC_STAT_AREA], 0)
    cells = np.argwhere((area >= max(0.05 * area.max(), 1))[labels] if area.any() else part > 0)
    middles = cells + 0.5
    return convex_polygon((middles + low) * cell_m)


def convex_polygon(xy: NDArray[np.floating], *, tolerance: float = 0.007) -> Array:
    """Counter-clockwise convex hull (K, 2) of points (N, 2) [m], without corners closer to it than `tolerance`."""
    hull = cv2.convexHull(xy.astype(np.float32))
    hull = cv2.approxPolyDP(hull, tolerance, True)[:, 0].astype(float)
    return hull if signed_area(hull) > 0 else hull[::-1]


def signed_area(polygon: Array) -> float:
    """Area [m^2] of a polygon (K, 2); positive when counter-clockwise (shoelace formula)."""
    x, y = polygon[:, 0], polygon[:, 1]
    return float(0.5 * (x @ np.roll(y, -1) - y @ np.roll(x, -1)))


def inside_polygon(polygon: Array, xy: NDArray[np.floating], margin: float = 0.0) -> Mask:
    """Whether points (..., 2) lie in a convex counter-clockwise polygon (K, 2) grown by `margin` [m]."""
    inside = np.ones(xy.shape[:-1], dtype=bool)
    for a, b in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        edge = b - a
        outward = np.array([edge[1], -edge[0]]) / max(float(np.hypot(*edge)), 1e-12)
        inside &= (xy - a) @ outward <= margin
    return inside


def world_from_camera(plane: Plane, origin: NDArray[np.floating]) -> Array:
    """T_world_camera (4, 4): z along the plane's normal, y where the camera looks; `origin` (3,) dropped onto the
    plane becomes the world's origin."""
    x, y = plane_axes(plane, view_direction(plane))
    rotation = np.stack([x, y, plane.normal])
    foot = origin - plane.height(origin) * plane.normal
    T = np.eye(4)
    T[:3, :3] = rotation
    T[:3, 3] = -rotation @ foot
    return T
