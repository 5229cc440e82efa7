"""A rectified stereo pair to objects: semi-global matching makes it one RGB-D view."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from blueprint.backends.protocols import ReconstructorConfig
from blueprint.backends.reconstruction.tabletop import PosedView, reconstruct_views
from blueprint.core.errors import InputError
from blueprint.core.report import log
from blueprint.formats import images
from blueprint.geometry.registration.dense_stereo import row_offset, stereo_depth
from blueprint.model.artifacts import Capture, Reconstruction
from blueprint.model.capture import Frame

MOST_ROW_OFFSET_PX = 2.0  # more, and matching along rows compares different things
LEAST_SHARE = 0.1  # of the pixels that must get depth


class ReconstructorStereo:
    """Metric by its baseline. World: z up from the table, y along the left view."""

    name = "stereo"
    version = "1"

    def reconstruct(self, capture: Capture, cfg: ReconstructorConfig, out: Path) -> Reconstruction:
        """Raises InputError for a pair that is not rectified, swapped or plain, and as `reconstruct_views` does."""
        view = metric_view(capture)
        assert capture.stereo is not None  # metric_view refuses it
        source = f"stereo baseline of {1000 * capture.stereo.baseline_m:g} mm"
        return reconstruct_views([view], capture, cfg, out, scale_source=source)


def metric_view(capture: Capture) -> PosedView:
    """The left picture with depth. Raises InputError."""
    frames = {frame.id: frame for frame in capture.frames}
    pair = capture.stereo
    if pair is None or pair.left not in frames or pair.right not in frames:
        raise InputError(
            f"the capture is {capture.kind}, not a stereo pair",
            'kind "stereo" with "stereo": {"baseline_m": ...} and "rgb_right"; RGB-D: run.reconstructor=rgbd',
        )
    left, right = frames[pair.left], frames[pair.right]
    colors = [images.read_color(capture.path(frame.color)) for frame in (left, right)]
    _check_pair(colors[0], colors[1], left, right, pair.doffs)
    depth = stereo_depth(colors[0], colors[1], left.camera.fx, pair.baseline_m, pair.doffs)
    share = float((depth > 0).mean())
    log("stereo depth", share=round(share, 3), baseline_m=pair.baseline_m)
    if share < LEAST_SHARE:
        raise InputError(
            f"only {100 * share:.0f} % of the pair could be matched",
            "plain or shining surfaces cannot be: project a pattern, add texture, light evenly, check the exposure",
        )
    mask = images.read_labels(capture.path(left.mask)) if left.mask else None
    T = None if left.T_world_camera is None else np.array(left.T_world_camera)
    return PosedView(left.id, colors[0], depth, left.camera, T_world_camera=T, mask=mask)


def _check_pair(a: NDArray[np.uint8], b: NDArray[np.uint8], left: Frame, right: Frame, doffs: float) -> None:
    if a.shape != b.shape:
        raise InputError(
            f"{left.id} is {a.shape[1]}x{a.shape[0]}, {right.id} is {b.shape[1]}x{b.shape[0]}",
            "a rectified pair has pictures of one size",
        )
    offset = row_offset(a, b)
    if offset is None:
        raise InputError(
            f"{left.id} and {right.id} show nothing that could be recognised in both",
            "are they one pair? plain surfaces need a projected pattern",
        )
    rows, disparity = offset
    if rows > MOST_ROW_OFFSET_PX:
        raise InputError(
            f"the pair is not rectified: the same things lie {rows:.1f} rows apart",
            "rectify with the calibration first (cv2.stereoRectify, ROS: image_rect)",
        )
    if disparity + doffs <= 0:
        raise InputError(
            f"{left.id} is not the left picture of the pair: things lie {-disparity - doffs:.1f} px too far left in it",
            "swap the two pictures, or correct stereo.doffs_px",
        )
