"""Find the table in a depth image, stand the world on it, and look at the picture from there."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from blueprint.core.errors import InputError
from blueprint.core.report import log, warn
from blueprint.geometry import depth as depths
from blueprint.geometry.segmentation.cutout import grow
from blueprint.geometry.segmentation.objects import TableView, raised
from blueprint.geometry.table import planes
from blueprint.geometry.transforms import transform_points
from blueprint.model.capture import Camera

LEAST_TABLE_M2 = 0.01
FARTHEST_M = 2.5  # beyond, the noise of table-top sensors hides what stands on a table
HALO_PX = 5  # colour and depth disagree by as much at edges
NEAR_M = 0.08  # an object at the table's edge hides at most this much of the table behind its own foot
FACING_UP = 0.3
SAME_PLANE_COSINE, SAME_PLANE_M = 0.985, 0.03  # 10 deg: glancing views and small floors
LIKELY_COSINE, LIKELY_BONUS, GRAVITY_BONUS = 0.75, 0.5, 5.0
LEVEL_COSINE = 0.9  # a surface at the table's height that is steeper than 25 deg is not the table
WORKING_WIDTH = 640  # widths between the limits are worked on as they are; others are resampled to this
WORKING_LIMITS = (480, 800)


@dataclass(frozen=True)
class RgbdImage:
    """color (H, W, 3) uint8; depth (H, W) [m], 0 = none; scale: width relative to the picture it was made from."""

    color: NDArray[np.uint8]
    depth: NDArray[np.float32]
    camera: Camera
    scale: float = 1.0


def working_image(color: NDArray[np.uint8], depth: NDArray[np.float32], camera: Camera) -> RgbdImage:
    """The picture at about VGA width, so that radii in pixels mean the same for every sensor, and times are alike."""
    if WORKING_LIMITS[0] <= camera.width <= WORKING_LIMITS[1]:
        return RgbdImage(color, depth, camera)
    scale = WORKING_WIDTH / camera.width
    size = (WORKING_WIDTH, round(camera.height * scale))
    smaller = cv2.resize(color, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    nearest = cv2.resize(depth, size, interpolation=cv2.INTER_NEAREST_EXACT)  # no readings between two surfaces
    resized = Camera(
        width=size[0],
        height=size[1],
        fx=camera.fx * scale,
        fy=camera.fy * scale,
        cx=(camera.cx + 0.5) * scale - 0.5,
        cy=(camera.cy + 0.5) * scale - 0.5,
    )
    return RgbdImage(smaller.astype(np.uint8), nearest.astype(np.float32), resized, scale)


def to_size(labels: NDArray[np.integer] | NDArray[np.bool_], width: int, height: int) -> NDArray[np.int32]:
    """Labels or masks (h, w) at another size, by the nearest pixel."""
    image = labels.astype(np.float32)  # exact for labels below 2^24
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_NEAREST_EXACT).astype(np.int32)


@dataclass(frozen=True)
class FoundSupport:
    """T_world_camera (4, 4) of the first frame; polygon (K, 2) [m], world; residual_m: RMS; sigma_at_1m [m]: noise"""

    T_world_camera: NDArray[np.float64]
    polygon: NDArray[np.float64]
    residual_m: float
    sigma_at_1m: float


def find_support(
    points: NDArray[np.float32], depth: NDArray[np.float32], rng: np.random.Generator, where: str
) -> FoundSupport:
    """The plane that carries the objects, from the points (H, W, 3) [m] of one frame. Raises InputError."""
    near = (depth > 0) & (depth < FARTHEST_M)
    cloud = points[near].astype(float)
    candidates = planes.support_candidates(cloud, rng) if len(cloud) > 1000 else []
    if not candidates:
        raise InputError(
            f"{where} shows no flat surface within {FARTHEST_M} m",
            "the table must be in view, nearer than that, and not of glass or mirror",
        )
    best = max(candidates, key=lambda c: c.score)
    log("support planes", scores=[round(float(c.score), 3) for c in candidates])
    if best.up < FACING_UP and best.plane.normal[2] < -0.6:
        warn(f"{where}: the support faces the camera and is taken for a table seen from above, not for a wall")
    height = best.plane.height(cloud)
    on = np.abs(height) < planes.plane_tolerance(cloud[:, 2])
    T = planes.world_from_camera(best.plane, np.median(cloud[on], axis=0))
    level = depths.surface_normals(points, depth > 0)[near] @ best.plane.normal > LEVEL_COSINE
    polygon = planes.support_polygon(transform_points(T, cloud[on & level])[:, :2])
    middle = (polygon.min(axis=0) + polygon.max(axis=0)) / 2
    T[:2, 3] -= middle
    if planes.signed_area(polygon) < LEAST_TABLE_M2:
        raise InputError(
            f"the only flat surface in {where} that could carry objects measures "
            f"{1e4 * planes.signed_area(polygon):.0f} cm2",
            "show more of the table: at least a hand's breadth around the objects",
        )
    residual = float(np.sqrt((height[on] ** 2).mean()))
    return FoundSupport(T, polygon - middle, residual, depths.estimate_sigma(cloud[on, 2], height[on]))


def find_common_support(
    points: list[NDArray[np.float32]],
    poses: list[NDArray[np.float64]],
    rng: np.random.Generator,
    up: NDArray[np.float64] | None = None,
) -> FoundSupport:
    """The plane that most views take for the support, measured by all. Raises InputError.

    points: (H, W, 3) [m] of each view, own camera frame; poses: (4, 4) into the first view's camera frame; up: (3,)
    there, where gravity is known
    """
    clouds = [p[(p[..., 2] > 0) & (p[..., 2] < FARTHEST_M)].astype(float) for p in points]
    likely = -np.sum([T[:3, 1] for T in poses], axis=0)  # pictures are taken upright, more or less
    likely /= max(float(np.linalg.norm(likely)), 1e-9)
    bonus = LIKELY_BONUS if up is None else GRAVITY_BONUS
    votes = [_votes(cloud, T, rng, likely if up is None else up, bonus) for cloud, T in zip(clouds, poses, strict=True)]
    every = [vote for view in votes for vote in view]
    if not every:
        raise InputError(f"no view shows a flat surface within {FARTHEST_M} m", "the table or floor must be in view")
    best = max(
        every, key=lambda vote: sum(max((v.score for v in view if v.agrees(vote)), default=0.0) for view in votes)
    )
    log("support planes", views=len(points), agreeing=sum(any(v.agrees(best) for v in view) for view in votes))
    shared = _shared(points, poses)
    plane = best.plane
    for width in (2.0, 1.5, 1.0, 1.0):
        on = shared.on(plane, width) & (shared.normals @ plane.normal > LEVEL_COSINE)
        if on.sum() < 100:
            break
        fitted = planes.fit_plane(shared.points[on])
        plane = fitted if fitted.normal @ plane.normal > 0 else planes.Plane(-fitted.normal, -fitted.offset)
    return _measured(plane, shared)


def levelled(
    found: FoundSupport,
    up: NDArray[np.float64],
    points: list[NDArray[np.float32]],
    poses: list[NDArray[np.float64]],
) -> FoundSupport:
    """The support tilted so that `up` (3,), given in its own world, points up; arrays as in `find_common_support`."""
    shared = _shared(points, poses)
    T = found.T_world_camera
    near = shared.points[shared.on(planes.Plane(T[2, :3], float(T[2, 3])))]
    normal = T[:3, :3].T @ up
    return _measured(planes.Plane(normal, -float(np.median(near @ normal))), shared)


@dataclass(frozen=True)
class _Shared:
    """What all views measured: points, normals (N, 3) in the common frame; reach: (N,) distance of each reading [m]."""

    points: NDArray[np.float64]
    normals: NDArray[np.float64]
    reach: NDArray[np.float64]

    def on(self, plane: planes.Plane, width: float = 1.0) -> NDArray[np.bool_]:
        return np.abs(plane.height(self.points)) < width * planes.plane_tolerance(self.reach)


def _shared(points: list[NDArray[np.float32]], poses: list[NDArray[np.float64]]) -> _Shared:
    parts = []
    for p, T in zip(points, poses, strict=True):
        near = (p[..., 2] > 0) & (p[..., 2] < FARTHEST_M)
        normal = depths.surface_normals(p, p[..., 2] > 0)[near].astype(float)
        parts.append((transform_points(T, p[near]), normal @ T[:3, :3].T, p[near][:, 2].astype(float)))
    return _Shared(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


@dataclass(frozen=True)
class _Vote:
    """A support candidate in the common frame. middle: (3,) of its points; score: >= 0"""

    plane: planes.Plane
    middle: NDArray[np.float64]
    score: float

    def agrees(self, other: _Vote) -> bool:
        same = self.plane.normal @ other.plane.normal > SAME_PLANE_COSINE
        return bool(same and abs(other.plane.height(self.middle)) < SAME_PLANE_M)


def _votes(
    cloud: NDArray[np.float64], T: NDArray[np.float64], rng: np.random.Generator, up: NDArray[np.float64], bonus: float
) -> list[_Vote]:
    """The candidates of one view; `bonus` for those that face `up` (3,)."""
    if len(cloud) <= 1000:
        return []
    votes = []
    for one in planes.support_candidates(cloud, rng):
        normal = T[:3, :3] @ one.plane.normal
        offset = one.plane.offset - float(normal @ T[:3, 3])
        on = np.abs(one.plane.height(cloud)) < planes.plane_tolerance(cloud[:, 2])
        middle = transform_points(T, np.median(cloud[on], axis=0))
        score = one.unprompted + (bonus if normal @ up > LIKELY_COSINE else 0.0)
        votes.append(_Vote(planes.Plane(normal, offset), middle, max(score, 0.0)))
    return votes


def _measured(plane: planes.Plane, shared: _Shared) -> FoundSupport:
    """World, outline and residual of a plane in the common frame. Raises InputError for a scrap of a plane."""
    on = shared.on(plane)
    if on.sum() < 100:
        raise InputError("the views do not agree on a surface that carries the objects", "show more of it")
    T = planes.world_from_camera(plane, np.median(shared.points[on], axis=0))
    level = on & (shared.normals @ plane.normal > LEVEL_COSINE)
    polygon = planes.support_polygon(transform_points(T, shared.points[level])[:, :2])
    middle = (polygon.min(axis=0) + polygon.max(axis=0)) / 2
    T[:2, 3] -= middle
    height = plane.height(shared.points[level])
    sigma = depths.estimate_sigma(shared.reach[level], height)
    return FoundSupport(T, polygon - middle, float(np.sqrt((height**2).mean())), sigma)


def table_view(
    color: NDArray[np.uint8], depth: NDArray[np.float32], points: NDArray[np.float32], support: FoundSupport
) -> TableView:
    """The frame as segmentation looks at it. points: (H, W, 3) [m], camera frame."""
    T = support.T_world_camera
    world = transform_points(T, points).astype(np.float32)
    normal = (depths.surface_normals(points, depth > 0) @ T[:3, :3].T).astype(np.float32)
    return TableView(
        color=color,
        depth=depth,
        world=world,
        normal=normal,
        sigma=depths.depth_sigma(depth, support.sigma_at_1m),
        over=planes.inside_polygon(support.polygon, world[..., :2]) & (depth > 0),
        near=planes.inside_polygon(support.polygon, world[..., :2], NEAR_M) & (depth > 0),
    )


def carrying_polygon(polygon: NDArray[np.float64], view: TableView, labels: NDArray[np.int32]) -> NDArray[np.float64]:
    """The outline (K, 2) [m] grown to hold what was seen of every object: it stands, so there is table below it."""
    seen = (labels > 0) & view.valid & view.near
    return planes.convex_polygon(np.concatenate([polygon, view.world[seen][:, :2]]))


def support_pixels(view: TableView, labels: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Pixels (H, W) that show the support itself, clear of the objects' blurred edges."""
    flat = view.valid & view.over & (np.abs(view.height) < view.clear)
    return flat & ~grow((labels > 0) | raised(view), HALO_PX)
