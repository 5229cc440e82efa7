"""What the views say about one object: surface points, outline rays, and rays that pass it by."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import KDTree

from blueprint.geometry.transforms import Array, transform_points
from blueprint.model.capture import Camera

Mask = NDArray[np.bool_]

OCCLUSION_GAP_M = 0.01  # only a neighbour this far behind the object leaves the border to the object
RAY_FIELDS = ("origins", "directions", "pixel_m", "normals")
MASK_GAP_PX = 15  # automatic masks leave gaps of up to half of this between an object and what hides it
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
    """origins, directions: (M, 3) world frame, unit directions; pixel_m: (M,) size of a pixel at the object [m];
    normals: (M, 2) outward normal of the outline in the picture (u, v), zero for rays that are not on an outline.
    """

    origins: Array
    directions: Array
    pixel_m: Array
    normals: Array


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
    """Pixels of `mask` whose depth belongs to a main connected surface (>= 8 % of the readings), borders left out.

    Near a border the depth of foreground and background mixes, by up to the size of the sensor's matching window.
    """
    valid = mask & (view.depth > 0)
    for width in (7, 5, 3):
        inner = cv2.erode(mask.astype(np.uint8), np.ones((width, width), np.uint8)) > 0
        if (valid & inner).sum() > max(100, 0.6 * valid.sum()):
            valid &= inner
            break
    if not valid.any():
        return valid
    return valid & _large_parts(view.depth, valid, share=0.08)


def connected(mask: Mask, *, diagonal: bool = False) -> NDArray[np.int32]:
    """Connected parts of a mask of any dimension, numbered from 1; 0 = outside."""
    parts = np.zeros(mask.shape, dtype=np.int32)
    ndimage.label(mask, structure=np.ones((3,) * mask.ndim) if diagonal else None, output=parts)
    return parts


def _large_parts(depth: NDArray[np.float32], valid: Mask, share: float) -> Mask:
    """Connected parts of `valid` without depth jumps that hold at least `share` of its pixels."""
    filled = np.where(valid, depth, 0).astype(np.float32)
    high = ndimage.maximum_filter(filled, 3)
    low = -ndimage.maximum_filter(np.where(valid, -depth, -np.inf).astype(np.float32), 3)
    smooth = valid & (high - low < DEPTH_JUMP * np.maximum(depth, 1e-6))
    parts = connected(smooth, diagonal=True)
    if not smooth.any():
        return valid
    size = np.bincount(parts.ravel())
    size[0] = 0
    keep = size >= min(share * smooth.sum(), size.max())
    kept = keep[parts] & smooth
    return valid & (cv2.dilate(kept.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0)


def gather(views: tuple[View, ...], label: int, *, base_z: float, points: int = 500, rays: int = 180) -> Evidence:
    """Collect the evidence about the object `label`, without points below `base_z` + 3 mm: they may be the table."""
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
    distance = KDTree(_every(cloud, 4000)).query(cloud, k=8)[0][:, -1]
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
    return view.depth[nearest(valid)]


def nearest(known: Mask) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Row and column (H, W) of the nearest known pixel of every pixel."""
    index = np.asarray(ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True))
    return index[0], index[1]


def _outline_rays(view: View, mask: Mask, typical: float) -> Rays:
    """Rays through the borders between mask pixels and their outer neighbours, where nothing nearer hides them."""
    height, width = mask.shape
    own = object_depth(view, mask)
    hidden = hiding(view, mask, own)
    mask = outer_shape(mask)
    v, u = np.nonzero(mask & (cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) == 0))
    found: list[Array] = []
    for dv, du in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        nv, nu = v + dv, u + du
        inside = (nv >= 0) & (nv < height) & (nu >= 0) & (nu < width)
        nv, nu = np.clip(nv, 0, height - 1), np.clip(nu, 0, width - 1)
        border = inside & ~mask[nv, nu] & ~hidden[nv, nu]
        found.append(np.stack([u[border] + du / 2, v[border] + dv / 2], axis=1).astype(np.float64))
    pixels = np.concatenate(found)
    return _rays(view, pixels, typical, _outward(mask, pixels))


def outer_shape(mask: Mask) -> Mask:
    """The mask with narrow gaps and holes filled: holes are missing depth or handles, which no solid here models."""
    closed = cv2.morphologyEx(np.pad(mask, 8).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8))[8:-8, 8:-8]
    return mask | np.asarray(ndimage.binary_fill_holes(closed), dtype=bool)


def _outward(mask: Mask, pixels: Array) -> Array:
    """(M, 2) unit normals of the mask's border, smoothed over a few pixels."""
    soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 3.0)
    slopes = [-cv2.Sobel(soft, cv2.CV_32F, dx, 1 - dx) for dx in (1, 0)]
    u, v = np.floor(pixels).astype(int).T
    normals = np.stack([slope[v, u] for slope in slopes], axis=1).astype(float)
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)


def hiding(view: View, mask: Mask, own: NDArray[np.float32]) -> Mask:
    """Pixels near the object where another object stands in front of it, touches it, or has no depth at all.

    The support is nearer than the object too wherever it lies before it, but it hides nothing.
    """
    box = _around(
        mask, 20 + int(0.4 * max(np.ptp(np.nonzero(mask)[0]), np.ptp(np.nonzero(mask)[1]))) if mask.any() else 0
    )
    hidden = np.zeros_like(mask)
    labels = view.labels[box]
    for label in np.unique(labels[(labels > 0) & ~mask[box]]).tolist():
        other = np.zeros_like(mask)
        other[box] = (labels == label) & ~mask[box]
        readings = (view.labels == label) & (view.depth > 0)
        if not readings.any():
            hidden |= other
            continue
        hidden |= other & (object_depth(view, readings) < own + OCCLUSION_GAP_M)
    return cv2.dilate(hidden.astype(np.uint8), np.ones((MASK_GAP_PX, MASK_GAP_PX), np.uint8)) > 0


def _around(mask: Mask, pad: int) -> tuple[slice, slice]:
    """The box of the mask, `pad` pixels wider."""
    v, u = np.nonzero(mask)
    if len(v) == 0:
        return slice(0, 0), slice(0, 0)
    return slice(max(0, v.min() - pad), v.max() + pad + 1), slice(max(0, u.min() - pad), u.max() + pad + 1)


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


def _rays(view: View, pixels: Array, typical: float, normals: Array | None = None) -> Rays:
    directions = pixel_directions(view.camera, pixels[:, 0], pixels[:, 1]) @ view.T_world_camera[:3, :3].T
    origins = np.broadcast_to(view.T_world_camera[:3, 3], directions.shape).copy()
    size = np.full(len(pixels), typical / (0.5 * (view.camera.fx + view.camera.fy)))
    return Rays(origins, directions / np.linalg.norm(directions, axis=1, keepdims=True), size,
                np.zeros_like(pixels) if normals is None else normals)  # fmt: skip


def _every(array: Array, limit: int) -> Array:
    """About `limit` rows, evenly taken."""
    return array[:: max(1, -(-len(array) // limit))]


def _join(parts: list[Rays], limit: int) -> Rays:
    if not parts:
        return Rays(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0), np.zeros((0, 2)))
    joined = [np.concatenate([getattr(part, name) for part in parts]) for name in RAY_FIELDS]
    return Rays(*(_every(array, limit) for array in joined))
