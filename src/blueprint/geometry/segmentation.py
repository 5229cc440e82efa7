"""Separate the objects that stand on a table, in the image of one RGB-D view."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from blueprint.geometry.components import Labels, depth_components, drop_small
from blueprint.geometry.depth import depth_sigma

Mask = NDArray[np.bool_]

LEAST_HEIGHT_M = 0.007
LEAST_PIXELS = 150


@dataclass(frozen=True)
class TableView:
    """What segmentation looks at; images (H, W).

    color: (H, W, 3) uint8 RGB; depth: [m], cleaned; world: (H, W, 3) [m], z = height above the support;
    normal: (H, W, 3) in the world, 0 where unknown; sigma: [m] noise of each reading; over: above the support's outline
    """

    color: NDArray[np.uint8]
    depth: NDArray[np.float32]
    world: NDArray[np.float32]
    normal: NDArray[np.float32]
    sigma: NDArray[np.float32]
    over: Mask

    @property
    def valid(self) -> Mask:
        return self.depth > 0

    @property
    def height(self) -> NDArray[np.float32]:
        return self.world[..., 2]

    @property
    def clear(self) -> NDArray[np.float32]:
        """Height [m] above which a reading is no longer the support."""
        return np.maximum(LEAST_HEIGHT_M, 2.0 * self.sigma).astype(np.float32)


def raised(view: TableView) -> Mask:
    """Pixels measured above the support, within its outline and within reach of it."""
    mask = view.valid & view.over & (view.height > view.clear) & (view.height < 0.45)
    return cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0


def segment_automatic(view: TableView) -> Labels:
    """Label (H, W) each object 1.., 0 elsewhere."""
    jump = np.maximum(0.0072, 0.012 * view.depth)
    return drop_small(depth_components(raised(view), view.depth, jump), LEAST_PIXELS)
