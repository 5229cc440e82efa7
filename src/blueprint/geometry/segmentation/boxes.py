"""Boxes around what a camera sees, and the points it sees. Pixel (u, v) covers u - 0.5 .. u + 0.5, as its centre is
an integer; COCO counts from the picture's corner, so its boxes are half a pixel greater."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from blueprint.geometry.depth import backproject
from blueprint.model.capture import Camera

Array = NDArray[np.float64]
Box = tuple[float, float, float, float]  # COCO: x, y, width, height [px], from the picture's upper left corner

NEAR_M = 0.005  # nothing nearer is projected


def visible_boxes(labels: NDArray[np.uint16]) -> dict[int, tuple[Box, int]]:
    """label -> its tight box and its number of pixels, of a picture (H, W) of labels; 0 is none."""
    areas = np.bincount(labels.ravel())
    found: dict[int, tuple[Box, int]] = {}
    for label, place in enumerate(ndimage.find_objects(labels), start=1):
        if place is not None:
            rows, columns = place
            size = (columns.stop - columns.start, rows.stop - rows.start)
            found[label] = ((float(columns.start), float(rows.start), *map(float, size)), int(areas[label]))  # type: ignore[assignment]
    return found


def amodal_box(points: Array, camera: Camera) -> Box | None:
    """Box of all of a shape, whatever hides it and wherever the picture ends; None where it reaches behind the camera.

    points: (V, 3) [m] corners of its hull, camera frame
    """
    if not len(points) or points[:, 2].min() < NEAR_M:
        return None
    u = camera.fx * points[:, 0] / points[:, 2] + camera.cx + 0.5
    v = camera.fy * points[:, 1] / points[:, 2] + camera.cy + 0.5
    return (float(u.min()), float(v.min()), float(np.ptp(u)), float(np.ptp(v)))


def sample_points(
    depth: NDArray[np.float32], camera: Camera, count: int, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """(count, 3) [m] of what a depth picture (H, W) shows, camera frame, and the flat pixel index (count,) of each.

    Pixels are drawn evenly over the picture, without repeats as long as there are enough; (0, 3) if there are none.
    """
    known = np.flatnonzero(depth)
    if not len(known):
        return np.zeros((0, 3), np.float32), known
    chosen = rng.choice(known, count, replace=len(known) < count)
    return backproject(depth, camera).reshape(-1, 3)[chosen], chosen
