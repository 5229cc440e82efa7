"""Photographs to objects: structure from motion, dense depth on a CPU, scale from what the user knows."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from blueprint.backends import sfm_colmap
from blueprint.backends.protocols import ReconstructorConfig
from blueprint.backends.reconstruction import photo_scale
from blueprint.backends.reconstruction.photo_views import DenseView, boxes_on, dense_views
from blueprint.backends.reconstruction.tabletop import reconstruct_views
from blueprint.backends.sfm_colmap import Photo, SparseModel, structure_from_motion
from blueprint.core.errors import InputError
from blueprint.core.report import log, warn
from blueprint.model.artifacts import Capture, Reconstruction

LEAST_PHOTOS = 3
DOUBTFUL = 0.2  # a refined focal length this far from EXIF's says that one of them is wrong


class ReconstructorPhotos:
    """Needs a scale anchor, or camera positions in metres; without one it refuses before it computes."""

    name = "photos"
    version = "1"

    def reconstruct(self, capture: Capture, cfg: ReconstructorConfig, out: Path) -> Reconstruction:
        """Raises InputError for too few photographs, none that connect, no scale; BackendError without pycolmap."""
        if capture.kind != "rgb_multiview" or len(capture.frames) < LEAST_PHOTOS:
            raise InputError(
                f"the capture is {capture.kind} with {len(capture.frames)} picture(s); structure from motion takes "
                f"{LEAST_PHOTOS} or more photographs",
                "RGB-D: run.reconstructor=rgbd; a rectified pair: stereo; one photograph needs a learned model",
            )
        photo_scale.check_anchors(capture)
        sfm_colmap.require()
        photos = [Photo(f.id, capture.path(f.color), f.camera, f.intrinsics == "given") for f in capture.frames]
        with tempfile.TemporaryDirectory() as work:
            model = structure_from_motion(photos, Path(work))
        _report(model, capture)
        views = dense_views(model, capture)
        metres, source = photo_scale.metres_per_unit(views, capture, cfg)
        log("scale", metres_per_unit=metres, source=source)
        ordered = [view.metric(metres) for view in _best_first(views, capture, cfg)]
        return reconstruct_views(ordered, boxes_on(views, capture), cfg, out, scale_source=source)


def _report(model: SparseModel, capture: Capture) -> None:
    """Say what was left out, and where EXIF was wrong."""
    found = {view.id: view for view in model.views}
    lost = [frame.id for frame in capture.frames if frame.id not in found]
    log("structure from motion", photographs=len(capture.frames), registered=len(found), error_px=model.error_px)
    if lost:
        warn(
            f"{len(lost)} of {len(capture.frames)} photographs could not be connected: {', '.join(lost)}",
            cure="they are blurred, or show too little of what the others show",
        )
    said = {frame.id: frame.camera.fx for frame in capture.frames if frame.intrinsics == "exif" and frame.id in found}
    wrong = [id for id, focal in said.items() if abs(found[id].K[0, 0] / focal - 1) > DOUBTFUL]
    if wrong:
        warn(f"EXIF of {', '.join(wrong)}: the focal length does not fit; the refined one is used")


def _best_first(views: Sequence[DenseView], capture: Capture, cfg: ReconstructorConfig) -> list[DenseView]:
    """The view that the user drew on before others, then those with the most depth."""
    drawn = {box.frame for box in capture.boxes if box.file == cfg.boxes}
    return sorted(
        views, key=lambda v: (v.id not in drawn, not (cfg.masks and v.mask is not None), -int((v.z > 0).sum()), v.id)
    )
