"""Depth images: clean them, lift them to points, estimate normals and noise.

Arrays are images: depth (H, W) float32 [m] along the optical axis, 0 = no reading; points (H, W, 3) [m] in OpenCV's
camera frame (x right, y down, z forward).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from blueprint.model.capture import Camera

Image = NDArray[np.float32]
Mask = NDArray[np.bool_]

NOISE_FLOOR_M = 0.001  # quantisation and registration error that no near distance removes


def remove_flying_pixels(depth: Image, *, relative: float = 0.02, neighbours: int = 4) -> Image:
    """Keep a reading only if at least `neighbours` of its 8 neighbours lie within `relative` of it.

    Sensors interpolate across depth edges; such pixels hang in the air between two surfaces.
    """
    padded = np.pad(depth, 1)
    height, width = depth.shape
    close = np.zeros(depth.shape, np.uint8)
    for dy in range(3):
        for dx in range(3):
            if (dy, dx) != (1, 1):
                other = padded[dy : dy + height, dx : dx + width]
                close += (other > 0) & (np.abs(other - depth) < relative * depth)
    return np.where((depth > 0) & (close >= neighbours), depth, 0).astype(np.float32)


def close_seams(depth: Image, *, relative: float = 0.01, common: float = 0.10) -> Image:
    """Fill single missing pixels between two readings that agree, in a picture full of them.

    Depth that was warped from a coarser sensor onto the colour picture has a seam every few pixels. Pictures in which
    such pixels are rarer than `common` (share of the readings) are left as they are.
    """
    out, before = depth.copy(), depth > 0
    for axis in (0, 1):
        low, high = np.roll(out, 1, axis), np.roll(out, -1, axis)
        gap = (out == 0) & (low > 0) & (high > 0) & (np.abs(low - high) < relative * np.maximum(low, high))
        edge = np.s_[[0, -1], :] if axis == 0 else np.s_[:, [0, -1]]
        gap[edge] = False
        out[gap] = (0.5 * (low + high))[gap]
    filled = (out > 0) & ~before
    return out if filled.sum() > common * before.sum() else depth


def backproject(depth: Image, camera: Camera) -> Image:
    """Points (H, W, 3) [m] of a depth image, camera frame; pixels without a reading become (0, 0, 0)."""
    u = (np.arange(camera.width, dtype=np.float32) - camera.cx) / camera.fx
    v = (np.arange(camera.height, dtype=np.float32) - camera.cy) / camera.fy
    return np.dstack([u[None, :] * depth, v[:, None] * depth, depth]).astype(np.float32)


def project(points: NDArray[np.floating], camera: Camera) -> NDArray[np.float64]:
    """Pixels (..., 2) of camera-frame points (..., 3) [m]; points behind the camera become NaN."""
    points = np.asarray(points, dtype=float)
    z = np.where(points[..., 2] > 1e-6, points[..., 2], np.nan)
    u = camera.fx * points[..., 0] / z + camera.cx
    v = camera.fy * points[..., 1] / z + camera.cy
    return np.stack([u, v], axis=-1)


def surface_normals(points: Image, valid: Mask, *, step: int = 3, sigma: float = 1.5) -> Image:
    """Unit normals (H, W, 3) towards the camera, from central differences of the smoothed points; 0 where unknown."""
    weight = cv2.GaussianBlur(valid.astype(np.float32), (0, 0), sigma)
    masked = np.where(valid[..., None], points, 0).astype(np.float32)
    smooth = cv2.GaussianBlur(masked, (0, 0), sigma) / np.maximum(weight, 1e-6)[..., None]
    along_x = np.roll(smooth, -step, 1) - np.roll(smooth, step, 1)
    along_y = np.roll(smooth, -step, 0) - np.roll(smooth, step, 0)
    normal = np.cross(along_y, along_x)
    length = np.linalg.norm(normal, axis=2, keepdims=True)
    normal = normal / np.maximum(length, 1e-12)
    normal[(normal * points).sum(2) > 0] *= -1
    normal[(weight < 0.3) | (length[..., 0] < 1e-12)] = 0
    return normal.astype(np.float32)


def depth_sigma(depth: Image, sigma_at_1m: float) -> Image:
    """Standard deviation [m] of each reading: a floor plus the square law of triangulating sensors.

    Khoshelham and Elberink, "Accuracy and resolution of Kinect depth data", Sensors 12(2), 2012, eq. 10.
    """
    return (NOISE_FLOOR_M + sigma_at_1m * depth.astype(np.float32) ** 2).astype(np.float32)


def estimate_sigma(depth: NDArray[np.floating], residual: NDArray[np.floating]) -> float:
    """Sensor noise at 1 m [m] from distances `residual` (N,) [m] of readings `depth` (N,) [m] to their plane.

    The median absolute deviation of residual / depth^2, scaled to a standard deviation (1.4826 for a Gaussian).
    """
    scaled = np.abs(residual) / np.maximum(depth, 0.05) ** 2
    return float(1.4826 * np.median(scaled))
