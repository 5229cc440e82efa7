"""Depth of photographs whose cameras structure from motion found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from blueprint.backends.reconstruction.tabletop import PosedView
from blueprint.backends.sfm_colmap import Registered, SparseModel
from blueprint.core.errors import InputError
from blueprint.core.report import progress
from blueprint.formats import images
from blueprint.geometry.registration import dense
from blueprint.geometry.registration.scale import Sight
from blueprint.geometry.transforms import invert
from blueprint.model.artifacts import Capture
from blueprint.model.capture import Camera, Frame

LONGEST_PX = 640  # of the pictures that depth is computed for
SOURCES = 4  # other views that a view is compared with
WITNESSES = 6  # other views that may confirm its depth
LEAST_SHARE = 0.03  # of the pixels of a view: less depth is of no use


@dataclass(frozen=True)
class DenseView:
    """A photograph through an ideal lens, made smaller by `scale`, in the unit of the model.

    color (H, W, 3); z (H, W), 0 = none; sight: its camera; pose: of the whole photograph; mask (H, W) or None
    """

    id: str
    color: NDArray[np.uint8]
    z: NDArray[np.float32]
    sight: Sight
    pose: Registered
    scale: float
    mask: NDArray[np.integer] | None

    def metric(self, metres: float) -> PosedView:
        """The view in metres. metres: per unit of the model"""
        height, width = self.z.shape
        K, T = self.sight.K, invert(self.sight.T_camera_world)
        T[:3, 3] *= metres
        camera = Camera(width=width, height=height, fx=K[0, 0], fy=K[1, 1], cx=K[0, 2], cy=K[1, 2])
        depth = (self.z * metres).astype(np.float32)
        return PosedView(self.id, self.color, depth, camera, T_world_camera=T, mask=self.mask)


def dense_views(model: SparseModel, capture: Capture) -> list[DenseView]:
    """Every registered photograph that got enough depth. Raises InputError if none did."""
    frames = {frame.id: frame for frame in capture.frames}
    flat = [_ideal(pose, frames[pose.id], capture) for pose in model.views]
    photos = [_photo(view) for view in flat]
    near = [dense.neighbours(photos, i, model.points, WITNESSES) for i in range(len(photos))]
    used = [i for i in range(len(photos)) if len(near[i]) >= 2]
    swept = {
        i: dense.sweep(photos[i], [photos[j] for j in near[i][:SOURCES]], *dense.depth_range(photos[i], model.points))
        for i in progress(used, len(used), "reconstruction: dense depth")
    }
    made = [replace(flat[i], z=dense.agree(photos, swept, i, [j for j in near[i] if j in swept])) for i in used]
    made = [view for view in made if (view.z > 0).mean() >= LEAST_SHARE]
    if not made:
        raise InputError(
            "no photograph got depth: the surfaces look alike everywhere, or shine",
            "put a printed sheet under the objects, avoid glass and mirrors, light evenly",
        )
    return made


def _photo(view: DenseView) -> dense.PhotoView:
    gray = cv2.cvtColor(view.color, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return dense.PhotoView(gray, view.sight.K, view.sight.T_camera_world, view.pose.points)


def _ideal(pose: Registered, frame: Frame, capture: Capture) -> DenseView:
    """The photograph without distortion, at most LONGEST_PX; no depth yet."""
    color = images.read_color(capture.path(frame.color))
    mask = images.read_labels(capture.path(frame.mask)) if frame.mask else None
    height, width = color.shape[:2]
    scale = min(1.0, LONGEST_PX / max(height, width))
    size = (round(width * scale), round(height * scale))
    K = pose.K * scale
    K[:2, 2] += 0.5 * (scale - 1)  # the origin is the middle of the first pixel
    K[2, 2] = 1
    # Averaged to size first: a map that shrinks by itself would skip pixels.
    small = cv2.resize(color, size, interpolation=cv2.INTER_AREA)
    u, v = cv2.initUndistortRectifyMap(K, np.array([pose.k1, 0, 0, 0]), np.eye(3), K, size, cv2.CV_32FC1)
    straight = cv2.remap(small, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).astype(np.uint8)
    if mask is not None:
        mask = cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST_EXACT)
        mask = cv2.remap(mask, u, v, cv2.INTER_NEAREST).astype(np.uint16)
    empty = np.zeros((size[1], size[0]), np.float32)
    return DenseView(frame.id, straight, empty, Sight(K, pose.T_camera_world), pose, scale, mask)


def boxes_on(views: Sequence[DenseView], capture: Capture) -> Capture:
    """The capture with its boxes in the pixels of the views."""
    scale = {view.id: view.scale for view in views}
    boxes = tuple(
        box.model_copy(update={"xyxy": tuple(scale[box.frame] * x for x in box.xyxy)})
        for box in capture.boxes
        if box.frame in scale
    )
    return capture.model_copy(update={"boxes": boxes})
