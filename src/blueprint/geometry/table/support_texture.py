"""A picture of the support looking straight down, from views that see it past the objects."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from blueprint.geometry.completion.fill import fill_unseen
from blueprint.geometry.depth import project
from blueprint.geometry.table.planes import inside_polygon
from blueprint.geometry.transforms import invert, transform_points
from blueprint.model.capture import Camera

MOST_SIDE = 768
TEXEL_M = 0.001


@dataclass(frozen=True)
class PlaneView:
    """One view of the support: color (H, W, 3) uint8; free (H, W): pixels that show the support itself."""

    color: NDArray[np.uint8]
    free: NDArray[np.bool_]
    camera: Camera
    T_world_camera: NDArray[np.float64]


@dataclass(frozen=True)
class PlaneTexture:
    """image: (h, w, 3) uint8, row 0 = largest y; bounds: x_min, y_min, x_max, y_max [m]; seen: share of the polygon."""

    image: NDArray[np.uint8]
    bounds: tuple[float, float, float, float]
    seen: float


def plane_texture(polygon: NDArray[np.float64], views: list[PlaneView]) -> PlaneTexture:
    """Project the views onto z = 0 over the polygon (K, 2) [m]; what no view saw is filled from what was seen."""
    (x0, y0), (x1, y1) = polygon.min(axis=0), polygon.max(axis=0)
    texel = max(TEXEL_M, max(x1 - x0, y1 - y0) / MOST_SIDE)
    width, height = (max(2, int(np.ceil(d / texel))) for d in (x1 - x0, y1 - y0))
    x = x0 + (np.arange(width) + 0.5) * (x1 - x0) / width
    y = y1 - (np.arange(height) + 0.5) * (y1 - y0) / height
    xy = np.stack(np.meshgrid(x, y), axis=-1)
    image, seen = _sample(np.dstack([xy, np.zeros(xy.shape[:2])]), views)
    inside = inside_polygon(polygon, xy)
    share = float(seen[inside].mean()) if inside.any() else 0.0
    bounds = (float(x0), float(y0), float(x1), float(y1))
    return PlaneTexture(fill_unseen(image, seen), bounds, share)


def _sample(points: NDArray[np.float64], views: list[PlaneView]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Colour of each point (h, w, 3) from the first view that sees it."""
    image = np.zeros((*points.shape[:2], 3), np.uint8)
    seen = np.zeros(points.shape[:2], bool)
    for view in views:
        uv = project(transform_points(invert(view.T_world_camera), points), view.camera).astype(np.float32)
        uv = np.nan_to_num(uv, nan=-1e4)
        u, v = np.ascontiguousarray(uv[..., 0]), np.ascontiguousarray(uv[..., 1])
        color = cv2.remap(view.color, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        free = cv2.remap(view.free.astype(np.uint8) * 255, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        take = (free > 250) & ~seen
        image[take] = color[take]
        seen |= take
    return image, seen
