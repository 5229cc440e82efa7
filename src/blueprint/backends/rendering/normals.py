"""Surface normals of a drawn picture, from its depth."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from blueprint.model.capture import Camera


def normals_of_depth(depth: NDArray[np.float32], camera: Camera) -> NDArray[np.float32]:
    """(H, W, 3) unit normals in the camera frame (OpenCV), towards the camera; 0 where there is no depth.

    The tangents are differences of the points seen by neighbouring pixels, on that side of the pixel where inverse
    depth bends less: it is linear in the picture on a plane (Hoppe et al. 1992 fit a plane instead), so a plane's
    normal is exact up to its border. depth: (H, W) [m], 0 = none
    """
    known = depth > 0
    inverse = np.where(known, 1.0 / np.where(known, depth, 1.0), np.nan)
    # plane n . p = d seen along (x, y, 1): 1 / z = (n_x x + n_y y + n_z) / d
    a = _slope(inverse, axis=1) * camera.fx
    b = _slope(inverse, axis=0) * camera.fy
    v, u = np.mgrid[0 : camera.height, 0 : camera.width]
    c = inverse - a * (u - camera.cx) / camera.fx - b * (v - camera.cy) / camera.fy
    normal = np.stack([a, b, c], axis=-1)
    normal = np.where(np.isfinite(normal).all(axis=-1, keepdims=True), normal, 0.0)
    length = np.linalg.norm(normal, axis=-1, keepdims=True)
    return (-normal / np.where(length > 0, length, 1.0)).astype(np.float32)


def _slope(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Derivative per pixel along `axis`, from the side that bends less; nan where neither side has two readings."""
    step = np.diff(values, axis=axis)
    bend = np.abs(np.diff(step, axis=axis))
    after = _padded(step, axis, 0, 1)
    before = _padded(step, axis, 1, 0)
    bend_after = _padded(bend, axis, 0, 2)
    bend_before = _padded(bend, axis, 2, 0)
    rough_after, rough_before = (np.where(np.isnan(bend), np.inf, bend) for bend in (bend_after, bend_before))
    chosen = np.where(rough_after <= rough_before, after, before)
    # strips two pixels wide bend nowhere: any neighbour will do
    return np.where(np.isnan(chosen), np.where(np.isnan(after), before, after), chosen)


def _padded(values: NDArray[np.float64], axis: int, before: int, after: int) -> NDArray[np.float64]:
    width = [(0, 0), (0, 0)]
    width[axis] = (before, after)
    return np.pad(values, width, constant_values=np.nan)
