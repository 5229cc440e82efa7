"""What the views say about one object: surface points, outline rays, and rays that pass it by."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from blueprint.geometry.transforms import Array, transform_points
from blueprint.model.capture import Camera

Mask = NDArray[np.bool_]

OCCLUSION_GAP_M = 0.015  # a neighbour nearer than this hides the outline: it is not the object's own border
DEPTH_JUMP = 0.02  # relative; neighbours in depth further apart belong to different surfaces


@dataclass(frozen=True)
class View:
    """One calibrated RGB-D view. color: (H, W, 3) uint8 RGB; depth: (H, W) [m], 0 = none; labels: (H, W), 0 = none."""

    camera: Camera
    T_world_camera: Array
    color: NDArray[np.uint8]
    depth: NDArray[np.float32]
    labels: NDArray[np.uint16]


@dataclass(frozen=True)
class Rays:
    """origins, directions: (M, 3) world frame, unit directions; pixel_m: (M,) size of a pixel at the object [m]."""

    origins: Array
    directions: Array
    pixel_m: Array


@dataclass(frozen=True)
class Evidence:
    """points: (N, 3) [m] world frame, on the visible surface; range_m: (N,) their distance along the optical axis.

    outline: rays that touch the object (its silhouette where nothing hides it); free: rays that miss it.
    """

    points: Array
    range_m: Array
    outline: Rays
    free: Rays


def pixel_directions(camera: Camera, u: Array, v: Array) -> Array:
    """(N, 3) directions with z = 1 in the camera frame; the centre of a pixel has integer coordinates."""
    return np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones_like(u)], axis=-1)


def back_project(view: View, v: NDArray[np.intp], u: NDArray[np.intp]) -> Array:
    """(N, 3) world points of pixels with depth."""
    z = view.depth[v, u].astype(float)
    return transform_points(
        view.T_world_camera, pixel_directions(view.camera, u.astype(float), v.astype(float)) * z[:, None]
    )


def surface_mask(view: View, mask: Mask) -> Mask:
    """Pixels of `mask` whose depth belongs to a main connected surface (>= 8 % of the readings), borders left out."""
    inner = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    valid = mask & (view.depth > 0)
    if (valid & inner).sum() > 100:
        valid &= inner
    if not valid.any():
        return valid
    return valid & _large_parts(view.depth, valid, share=0.08)


def _large_parts(depth: NDArray[np.float32], valid: Mask, share: float) -> Mask:
    """Connected parts of `valid` without depth jumps that hold at least `share` of its pixels."""
    filled = np.where(valid, depth, 0).astype(np.float32)
    high = ndimage.maximum_filter(filled, 3)
    low = -ndimage.maximum_filter(np.where(valid, -depth, -np.inf).astype(np.float32), 3)
    smooth = valid & (high - low < DEPTH_JUMP * np.maximum(depth, 1e-6))
    parts, count = ndimage.label(smooth, structure=np.ones((3, 3)))
    if count == 0:
        return valid
    size = np.bincount(parts.ravel(), minlength=count + 1)
    size[0] = 0
    keep = size >= min(share * smooth.sum(), size.max())
    kept = keep[parts] & smooth
    return valid & (cv2.dilate(kept.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0)


def gather(views: tuple[View, ...], label: int, *, base_z: float, points: int = 1500, rays: int = 320) -> Evidence:
    """Collect the evidence about the object `label`. Points below `base_z` + 3 mm are left out: they may be the table."""
    parts = [_gather_view(view, view.labels == label, base_z) for view in views if (view.labels == label).sum() > 30]
    cloud = np.concatenate([part[0] for part in parts]) if parts else np.zeros((0, 3))
    reach = np.concatenate([part[1] for part in parts]) if parts else np.zeros(0)
    keep = without_strays(cloud)
    cloud, reach = _every(cloud[keep], points), _every(reach[keep], points)
    return Evidence(cloud, reach, _join([part[2] for part in parts], rays), _join([part[3] for part in parts], rays))


def without_strays(cloud: Array) -> Mask:
    """Points whose 8th neighbour is not much farther than usual."""
    if len(cloud) < 50:
        return np.ones(len(cloud), dtype=bool)
    distance = cKDTree(_every(cloud, 4000)).query(cloud, k=8)[0][:, -1]
    return distance < 3 * np.median(distance) + 0.002


def _gather_view(view: View, mask: Mask, base_z: float) -> tuple[Array, Array, Rays, Rays]:
    v, u = np.nonzero(surface_mask(view, mask))
    cloud = back_project(view, v, u)
    above = cloud[:, 2] > base_z + 0.003
    cloud, reach = cloud[above], view.depth[v, u][above].astype(float)
    typical = float(np.median(reach)) if len(reach) else 1.0
    return cloud, reach, _outline_rays(view, mask, typical), _free_rays(view, mask, typical)


def object_depth(view: View, mask: Mask) -> NDArray[np.float32]:
    """(H, W) depth of the nearest reading of the object, spread over the whole picture (holes and outside filled)."""
    valid = mask & (view.depth > 0)
    if not valid.any():
        return np.zeros_like(view.depth)
    index = ndimage.distance_transform_edt(~valid, return_distances=False, return_indices=True)
    return view.depth[tuple(index)]


def _outline_rays(view: View, mask: Mask, typical: float) -> Rays:
    """Rays through the borders between mask pixels and their outer neighbours, where nothing nearer hides the border."""
    height, width = mask.shape
    own = object_depth(view, mask)
    hidden = hiding(view, mask, own)
    v, u = np.nonzero(mask & (cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) == 0))
    found: list[Array] = []
    for dv, du in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        nv, nu = v + dv, u + du
        inside = (nv >= 0) & (nv < height) & (nu >= 0) & (nu < width)
        nv, nu = np.clip(nv, 0, height - 1), np.clip(nu, 0, width - 1)
        border = inside & ~mask[nv, nu] & ~hidden[nv, nu]
        found.append(np.stack([u[border] + du / 2, v[border] + dv / 2], axis=1))
    return _rays(view, np.concatenate(found), typical)


def hiding(view: View, mask: Mask, own: NDArray[np.float32]) -> Mask:
    """Pixels near the object at which something nearer than it stands (or a labelled object of unknown depth)."""
    nearest = np.where(view.depth > 0, view.depth, np.inf).astype(np.float32)
    nearest = ndimage.minimum_filter(np.where(mask, np.inf, nearest).astype(np.float32), 7)
    other = (view.labels > 0) & ~mask
    unknown = other & ~np.isfinite(nearest)
    # the support in front of the object is nearer too, but it hides nothing: only labelled or raised things do
    return unknown | ((nearest < own - OCCLUSION_GAP_M) & (cv2.dilate(other.astype(np.uint8), np.ones((5, 5))) > 0))


def _free_rays(view: View, mask: Mask, typical: float) -> Rays:
    """Rays through background pixels around the object: it is not there."""
    v, u = np.nonzero(mask)
    if len(v) == 0:
        return _rays(view, np.zeros((0, 2)), typical)
    pad = 20 + int(0.4 * max(np.ptp(v), np.ptp(u)))
    step = max(2, (np.ptp(v) + np.ptp(u) + 4 * pad) // 60)
    grid_v, grid_u = np.mgrid[max(0, v.min() - pad) : min(mask.shape[0], v.max() + pad) : step,
                              max(0, u.min() - pad) : min(mask.shape[1], u.max() + pad) : step]  # fmt: skip
    grid_v, grid_u = grid_v.ravel(), grid_u.ravel()
    around = cv2.dilate(mask.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    own = object_depth(view, mask)
    farther = (view.depth > own) | (view.depth == 0)
    free = (view.labels == 0) & ~around & farther & ~hiding(view, mask, own)
    keep = free[grid_v, grid_u]
    return _rays(view, np.stack([grid_u[keep], grid_v[keep]], axis=1).astype(float), typical)


def _rays(view: View, pixels: Array, typical: float) -> Rays:
    directions = pixel_directions(view.camera, pixels[:, 0], pixels[:, 1]) @ view.T_world_camera[:3, :3].T
    origins = np.broadcast_to(view.T_world_camera[:3, 3], directions.shape).copy()
    size = np.full(len(pixels), typical / (0.5 * (view.camera.fx + view.camera.fy)))
    return Rays(origins, directions / np.linalg.norm(directions, axis=1, keepdims=True), size)


def _every(array: Array, limit: int) -> Array:
    """About `limit` rows, evenly taken."""
    return array[:: max(1, -(-len(array) // limit))]


def _join(parts: list[Rays], limit: int) -> Rays:
    if not parts:
        return Rays(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0))
    joined = [np.concatenate([getattr(part, name) for part in parts]) for name in ("origins", "directions", "pixel_m")]
    return Rays(*(_every(array, limit) for array in joined))
