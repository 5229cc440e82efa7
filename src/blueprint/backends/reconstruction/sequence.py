"""Several depth views of one scene: which to use, where each camera stood, and whether they agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from blueprint.core.errors import InputError
from blueprint.core.report import log, warn
from blueprint.geometry import depth as depths
from blueprint.geometry.registration.depth_drift import calibrate_depth, corrected
from blueprint.geometry.registration.features import register
from blueprint.geometry.registration.icp import DepthView, Refined, contradiction, refine_poses, riding, sample_cloud
from blueprint.geometry.transforms import Array, invert, rotation_angle, transform_points
from blueprint.model.capture import Camera

MOST_VIEWS = 8  # more hardly add anything, and every stage after this one reads them all
MOST_CANDIDATES = 40
EMPTY_PREFIXES = ("bg", "background", "empty")
SAME_PLACE_M, SAME_TURN = 0.002, float(np.deg2rad(0.2))
COVER_VOXEL_M = 0.04
CONTRADICTION = 0.15  # share of surface that another view sees right through, beyond which poses are wrong
LOST_SHARE = 0.5  # of the views; when more cannot be placed, the sequence is refused


@dataclass(frozen=True)
class PosedView:
    """One metric view. id: of its frame; color (H, W, 3) uint8; depth (H, W) float32 [m], 0 = none;

    T_world_camera (4, 4) in the capture's own world, None = unknown; mask (H, W): user labels, 0 = background, or None
    """

    id: str
    color: NDArray[np.uint8]
    depth: NDArray[np.float32]
    camera: Camera
    T_world_camera: Array | None = None
    mask: NDArray[np.integer] | None = None

    @property
    def pose(self) -> Array:
        """`T_world_camera`, of a view that has one."""
        assert self.T_world_camera is not None
        return self.T_world_camera


@dataclass(frozen=True)
class Aligned:
    """views: those to use, depth cleaned, all posed in one world; empty: pictures of the same place without objects,
    by the id of the view taken from the same spot.
    """

    views: list[PosedView]
    empty: dict[str, PosedView]


def is_empty(frame_id: str) -> bool:
    """Whether a frame shows the scene without its objects, which is told by the beginning of its name."""
    return frame_id.lower().startswith(EMPTY_PREFIXES)


def clean(view: PosedView) -> PosedView:
    """Seams closed, flying pixels removed."""
    return replace(view, depth=depths.remove_flying_pixels(depths.close_seams(view.depth)))


def evenly(count: int, most: int) -> list[int]:
    """At most `most` of `count` indices, evenly spread, first and last included."""
    return sorted({round(i) for i in np.linspace(0, count - 1, min(count, most)).tolist()})


def align_views(given: Sequence[PosedView], seed: int, must: frozenset[str] = frozenset()) -> Aligned:
    """Choose, register and check. must: ids of views that the user has marked; the first of them stays first.

    Raises InputError when the views cannot be brought together.
    """
    views = [clean(view) for view in given if not is_empty(view.id)]
    empty = [clean(view) for view in given if is_empty(view.id)]
    if not views:
        raise InputError("every frame is named as an empty scene", "rename those that show objects")
    if len(views) == 1:
        T = views[0].T_world_camera
        views = [replace(views[0], T_world_camera=np.eye(4) if T is None else T)]
        return Aligned(views, _pairs(views, empty))
    still = riding([_depth_view(view) for view in views])
    if still.any():
        log(f"{100 * still.mean():.0f} % of the picture moves with the camera and is left out")
        views, empty = ([replace(v, depth=np.where(still, 0, v.depth)) for v in part] for part in (views, empty))
    if any(view.T_world_camera is None for view in views):
        views, empty = _registered(views, seed), []
    if any(view.id in must for view in views):
        views = sorted(views, key=lambda view: view.id not in must)  # stable
    views = _chosen(views, must)
    factors = _calibrated(views, seed)
    pairs = _pairs(views, empty)
    views = [_with_depth(view, *factor) for view, factor in zip(views, factors, strict=True)]
    pairs = {v.id: _with_depth(pairs[v.id], *f) for v, f in zip(views, factors, strict=True) if v.id in pairs}
    return Aligned(_refined(views, seed), pairs)


def _depth_view(view: PosedView) -> DepthView:
    grey = cv2.cvtColor(view.color, cv2.COLOR_RGB2GRAY)
    return DepthView(grey.astype(np.uint8), view.depth, view.camera)


def _with_depth(view: PosedView, gain: float, offset: float) -> PosedView:
    return (
        view if (gain, offset) == (1.0, 0.0) else replace(view, depth=corrected(_depth_view(view), gain, offset).depth)
    )


def _pairs(views: list[PosedView], empty: list[PosedView]) -> dict[str, PosedView]:
    """The empty picture taken from where each view was taken."""
    found = {}
    for view in views:
        for other in empty:
            if other.T_world_camera is None or view.depth.shape != other.depth.shape:
                continue
            near = np.linalg.norm(view.pose[:3, 3] - other.T_world_camera[:3, 3]) < SAME_PLACE_M
            if near and rotation_angle(view.pose, other.T_world_camera) < SAME_TURN:
                found.setdefault(view.id, other)
    lost = [view.id for view in empty if view.id not in {v.id for v in found.values()}]
    if lost:
        warn(f"empty pictures without a view from the same spot are not used: {', '.join(lost)}")
    return found


def _registered(views: list[PosedView], seed: int) -> list[PosedView]:
    """Poses from the pictures themselves. Raises InputError when too few views hang together."""
    views = [views[i] for i in evenly(len(views), MOST_CANDIDATES)]
    placed = register([_depth_view(view) for view in views], np.random.default_rng(seed))
    lost = [view.id for view, T in zip(views, placed, strict=True) if T is None]
    if len(lost) > LOST_SHARE * (len(views) - 1):
        raise InputError(
            f"{len(lost)} of {len(views)} views cannot be placed beside {views[0].id}: {_few(lost)}",
            "neighbouring views must overlap by half and show texture or shapes; give T_world_cam for each frame, "
            "or reconstruct one frame alone",
        )
    if lost:
        warn(f"views that could not be placed are left out: {_few(lost)}", cure="more overlap between neighbours")
    log("registered by matched features", views=len(views) - len(lost))
    return [replace(view, T_world_camera=T) for view, T in zip(views, placed, strict=True) if T is not None]


def _few(names: list[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def _chosen(views: list[PosedView], must: frozenset[str]) -> list[PosedView]:
    """The first view and those that add most surface and directions of view, in the order of the capture."""
    if len(views) <= MOST_VIEWS:
        return views
    cover = [_cover(view) for view in views]
    chosen = [0]
    seen = set(cover[0])
    preferred = [i for i, view in enumerate(views) if view.id in must]
    while len(chosen) < MOST_VIEWS:
        pool = [i for i in (preferred if len(preferred) > len(chosen) else range(len(views))) if i not in chosen]
        if not pool:
            pool = [i for i in range(len(views)) if i not in chosen]
        best = max(pool, key=lambda i: (len(cover[i] - seen), -i))
        chosen.append(best)
        seen |= cover[best]
    log(f"key views, {len(chosen)} of {len(views)}", views=[views[i].id for i in sorted(chosen)])
    return [views[i] for i in sorted(chosen)]


def _cover(view: PosedView) -> set[tuple[int, ...]]:
    """Voxels seen, each with the direction (of eight about the world's axes) from which."""
    points = depths.backproject(view.depth, view.camera)[::8, ::8]
    T = view.pose
    world = transform_points(T, points[(points[..., 2] > 0) & (points[..., 2] < 2.5)])
    octant = (world - T[:3, 3] > 0) @ [1, 2, 4]
    return set(map(tuple, np.unique(np.column_stack([world // COVER_VOXEL_M, octant]).astype(int), axis=0).tolist()))


def _calibrated(views: list[PosedView], seed: int) -> list[tuple[float, float]]:
    """Gain and offset of each view's depth; (1, 0) unless poses and depth contradict each other."""
    plain = [(1.0, 0.0)] * len(views)
    shots, poses = [_depth_view(view) for view in views], [view.pose for view in views]
    before = contradiction(shots, poses)
    if before < CONTRADICTION:
        return plain
    found = calibrate_depth(shots, poses, seed)
    after = 1.0
    if found is not None:
        after = contradiction([corrected(s, *f) for s, f in zip(shots, found, strict=True)], poses)
    if found is None or after > min(CONTRADICTION, 0.5 * before):
        inverse = contradiction(shots, [invert(T) for T in poses])
        raise InputError(
            f"depth and poses contradict each other: others see through {100 * before:.0f} % of what a view measured",
            "they agree when inverted: T_world_cam maps camera points into the world, not back"
            if inverse < CONTRADICTION
            else "poses must be T_world_cam in metres (OpenCV axes) and belong to these frames; or leave them out",
        )
    for view, (gain, offset) in zip(views, found.tolist(), strict=True):
        warn(
            f"frame {view.id}: depth contradicts the camera poses and is corrected: "
            f"{gain:.3f} * depth {1000 * offset:+.0f} mm",
            cure="calibrate the sensor's depth scale",
        )
    return [(gain, offset) for gain, offset in found.tolist()]


def _refined(views: list[PosedView], seed: int) -> list[PosedView]:
    """Poses after ICP; what was refused and why is said. Raises InputError when the views still contradict."""
    rng = np.random.default_rng(seed)
    shots = [_depth_view(view) for view in views]
    found: list[Refined] = refine_poses([sample_cloud(shot, rng) for shot in shots], [view.pose for view in views])
    for view, one in zip(views[1:], found[1:], strict=True):
        if one.refused:
            log(f"pose of frame {view.id} is left as given: {one.refused}")
    log(
        "poses refined",
        moved_mm=[round(1000 * one.moved_m, 1) for one in found],
        residual_mm=[(round(1000 * one.before_m, 2), round(1000 * one.after_m, 2)) for one in found],
    )
    poses = [one.T for one in found]
    if (share := contradiction(shots, poses)) > CONTRADICTION:
        raise InputError(
            f"the views contradict each other: {100 * share:.0f} % of what one measured, others see through",
            "things must not move between views; check depth unit and poses",
        )
    return [replace(view, T_world_camera=T) for view, T in zip(views, poses, strict=True)]
