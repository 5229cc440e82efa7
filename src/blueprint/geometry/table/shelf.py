"""Bins and shelves: upright walls around the support, found as planes that bound it and face inwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull

from blueprint.geometry.mesh import Mesh
from blueprint.geometry.table.planes import convex_polygon, inside_polygon, signed_area
from blueprint.geometry.transforms import Array

Mask = NDArray[np.bool_]

UPRIGHT = 0.22  # largest vertical share of a wall's normal: bins widen upwards by up to 12 deg
NEAR_M = 0.20  # from the support's outline to a wall: the back of a shelf's floor is often not measured
FOOT_M = 0.03  # a wall is seen at least so far down
HIGHEST_M = 0.6  # of what is searched for walls
THIN_M = 0.008  # grid that evens out how densely surfaces were seen
ON_WALL_M = 0.012
SAME_WAY = 0.85  # cosine
TRIALS = 300
MOST_PLANES = 8
LEAST_HEIGHT_M = 0.04
LEAST_SPAN = 0.5  # of the support's extent along a wall
LEAST_FILL = 0.3  # of a wall's rectangle that was seen as wall
MOST_BEYOND = 0.3  # of the support's area, behind a wall
LEAST_WALLS = 2
FLOOR_M, FLOOR_SIGMA_M = 0.015, 0.004  # how far off the support a reading may lie, and what bends it as a whole
WALL_SIGMA, LEANING = float(np.deg2rad(2.5)), 0.05  # of walls from the upright; beyond, a surface leans
BOARD_M = 0.01
CLEARANCE_M = 0.002  # between measured surface and board: walls bulge


@dataclass(frozen=True)
class Wall:
    """normal: (3,) unit, inwards; normal . p + offset = 0 on it; along: (3,) unit, horizontal, in the wall;
    span: first and last position along it [m]; top_m: its height.
    """

    normal: Array
    offset: float
    along: Array
    span: tuple[float, float]
    top_m: float

    def distance(self, points: NDArray[np.floating]) -> Array:
        """Signed distance [m] of points (..., 3), positive inside."""
        return np.asarray(points, dtype=float) @ self.normal + self.offset


def find_walls(points: Array, normals: Array, polygon: Array, rng: np.random.Generator) -> tuple[Wall, ...]:
    """The walls around a support; none when fewer than two bound it, as on a table.

    points, normals: (N, 3) world frame, of everything but the objects where those are known; polygon: (K, 2) outline
    of the support
    """
    candidates = upright(points, normals, polygon)
    rest = np.ones(len(candidates[0]), bool)
    found: list[Wall] = []
    for _ in range(MOST_PLANES):
        p, n = candidates[0][rest], candidates[1][rest]
        if len(p) < 100:
            break
        on = _largest_plane(p, n, rng)
        wall = _wall(p[on], n[on], polygon)
        if wall is not None:
            found.append(wall)
        rest[np.flatnonzero(rest)[on]] = False
    walls: list[Wall] = []
    for wall in found:
        if not any(_before(wall, other) for other in found) and all(_facing(wall, other) for other in walls):
            walls.append(wall)
    return tuple(walls) if len(walls) >= LEAST_WALLS and _turned(walls) else ()


def upright(points: Array, normals: Array, polygon: Array) -> tuple[Array, Array]:
    """Points of upright surfaces near the support, one per grid cell."""
    keep = (np.abs(normals[:, 2]) < UPRIGHT) & (points[:, 2] > 0.01) & (points[:, 2] < HIGHEST_M)
    keep &= inside_polygon(polygon, points[:, :2], NEAR_M)
    p, n = points[keep], normals[keep]
    _, first = np.unique(np.floor(p / THIN_M).astype(np.int64), axis=0, return_index=True)
    return p[first], n[first]


def true_up(points: Array, normals: Array, polygon: Array) -> Array:
    """(3,) unit: up, as the support and the upright surfaces around it together say; arrays as in `find_walls`.

    A small or half measured floor leaves its tilt open. Then walls and boxes, which stand upright, decide: weighted
    least squares over the two angles of tilt, with outliers (what leans) weighed down.
    """
    on = (np.abs(points[:, 2]) < FLOOR_M) & (normals[:, 2] > 0.9) & inside_polygon(polygon, points[:, :2])
    n = upright(points, normals, polygon)[1]
    if on.sum() < 50 or len(n) < 50:
        return np.array([0.0, 0.0, 1.0])
    floor = np.cov(points[on, :2].T) / FLOOR_SIGMA_M**2
    tilt = np.zeros(2)
    for _ in range(8):
        weight = 1.0 / (1.0 + ((n[:, 2] + n[:, :2] @ tilt) / LEANING) ** 2)
        weight /= weight.sum() * WALL_SIGMA**2
        tilt = np.linalg.solve(floor + n[:, :2].T @ (weight[:, None] * n[:, :2]), -n[:, :2].T @ (weight * n[:, 2]))
    up = np.array([*tilt, 1.0])
    return up / np.linalg.norm(up)


def _largest_plane(p: Array, n: Array, rng: np.random.Generator) -> NDArray[np.intp]:
    """Indices of the largest set of points (N, 3) on one plane; a point and its normal make a hypothesis."""
    best = np.zeros(0, np.intp)
    for i in rng.integers(0, len(p), TRIALS).tolist():
        on = np.flatnonzero((np.abs((p - p[i]) @ n[i]) < ON_WALL_M) & (n @ n[i] > SAME_WAY))
        best = on if len(on) > len(best) else best
    for _ in range(3):
        middle = p[best].mean(axis=0)
        normal = np.linalg.svd(p[best] - middle, full_matrices=False)[2][2]
        normal = normal if normal @ n[best].mean(axis=0) > 0 else -normal
        on = np.flatnonzero((np.abs((p - middle) @ normal) < ON_WALL_M) & (n @ normal > SAME_WAY))
        if len(on) < 50:
            break
        best = on
    return best


def _wall(p: Array, n: Array, polygon: Array) -> Wall | None:
    """The wall that points (N, 3) make up, if it bounds the support."""
    if len(p) < 50:
        return None
    middle = p.mean(axis=0)
    normal = np.linalg.svd(p - middle, full_matrices=False)[2][2]
    normal = normal if normal @ n.mean(axis=0) > 0 else -normal
    if abs(normal[2]) > UPRIGHT:
        return None
    along = np.cross([0.0, 0.0, 1.0], normal)
    along /= np.linalg.norm(along)
    low, high = np.percentile(p @ along, [1, 99])
    wall = Wall(normal, -float(normal @ middle), along, (float(low), float(high)), float(np.percentile(p[:, 2], 98)))
    extent = np.ptp(polygon @ along[:2])
    cells = np.unique(np.floor(np.column_stack([p @ along, p[:, 2]]) / (2 * THIN_M)).astype(int), axis=0)
    fill = len(cells) * (2 * THIN_M) ** 2 / max((high - low) * wall.top_m, 1e-6)
    bounds = _beyond(wall, polygon) < MOST_BEYOND and wall.top_m > LEAST_HEIGHT_M
    bounds &= float(np.percentile(p[:, 2], 2)) < FOOT_M
    return wall if bounds and high - low > LEAST_SPAN * extent and fill > LEAST_FILL else None


def _beyond(wall: Wall, polygon: Array) -> float:
    """Share of the support's area that lies behind the wall's foot."""
    inside = clipped(polygon, wall)
    return 1.0 if len(inside) < 3 else 1.0 - signed_area(inside) / signed_area(polygon)


def clipped(polygon: Array, wall: Wall) -> Array:
    """The part (K, 2) of a convex polygon before the wall's foot. Sutherland and Hodgman, CACM 17(1), 1974."""
    side = polygon @ wall.normal[:2] + wall.offset
    out: list[Array] = []
    for a, b, da, db in zip(polygon, np.roll(polygon, -1, axis=0), side, np.roll(side, -1), strict=True):
        if da >= 0:
            out.append(a)
        if (da >= 0) != (db >= 0):
            out.append(a + (b - a) * da / (da - db))
    return np.array(out)


def _before(wall: Wall, other: Wall) -> bool:
    """Whether another wall stands behind this one: then this is the side of something inside."""
    if other is wall or wall.normal @ other.normal < 0.9:
        return False
    return float(other.distance(_middle(wall))) > 2 * ON_WALL_M


def _middle(wall: Wall) -> Array:
    return foot(wall, sum(wall.span) / 2) + np.array([0, 0, wall.top_m / 2])


def _facing(a: Wall, b: Wall) -> bool:
    """Whether each stands before the other, as in a container; the sides of a box turn away from each other."""
    return min(float(a.distance(_middle(b))), float(b.distance(_middle(a)))) > -0.02


def _turned(walls: list[Wall]) -> bool:
    """Whether the walls do not all face one way: one room wall behind a table is no container."""
    return any(a.normal @ b.normal < 0.5 for a in walls for b in walls)


def board(wall: Wall) -> Mesh:
    """The wall as a board [m], world frame: from the support up to its top, its inner face where it was measured."""
    corners = []
    for depth in (-CLEARANCE_M, -CLEARANCE_M - BOARD_M):
        for s in wall.span:
            for z in (0.0, wall.top_m):
                foot = s * wall.along + [0, 0, z]
                level = np.array([*wall.normal[:2], 0.0]) / np.hypot(*wall.normal[:2])
                corners.append(foot + level * (depth - float(wall.distance(foot))) / float(level @ wall.normal))
    vertices = np.array(corners)
    hull = ConvexHull(vertices)
    faces = hull.simplices.astype(np.int64)
    middle = vertices.mean(axis=0)
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    inwards = (np.cross(b - a, c - a) * (a - middle)).sum(axis=1) < 0
    faces[inwards] = faces[inwards][:, ::-1]
    return vertices, faces


def behind_walls(walls: Sequence[Wall], world: NDArray[np.float32], sigma: NDArray[np.float32]) -> Mask:
    """Pixels (H, W) that show a wall, or what lies beyond it; of what leans on one, what stands clear of it is kept."""
    out = np.zeros(world.shape[:2], bool)
    for wall in walls:
        out |= wall.distance(world) < np.maximum(ON_WALL_M, 2 * sigma)
    return out


def enclosed(polygon: Array, walls: Sequence[Wall]) -> Array:
    """The support's outline (K, 2) grown to the walls' feet, without what lies behind them."""
    feet = [foot(wall, s)[:2] for wall in walls for s in wall.span]
    polygon = convex_polygon(np.concatenate([polygon, feet]))
    for wall in walls:
        polygon = clipped(polygon, wall)
    return convex_polygon(polygon)


def foot(wall: Wall, s: float) -> Array:
    """(3,) where the wall meets the support, `s` along it [m]."""
    level = np.array([*wall.normal[:2], 0.0])
    return s * wall.along - level * wall.offset / float(level @ level)
