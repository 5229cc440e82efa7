"""Classical reconstruction from measured depth: plane by RANSAC, objects by geometry and colour, no learned weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from blueprint.backends.protocols import ReconstructorConfig
from blueprint.backends.reconstruction.tabletop import PosedView, reconstruct_views
from blueprint.core.errors import InputError
from blueprint.formats import images
from blueprint.model.artifacts import Capture, Reconstruction
from blueprint.model.capture import Frame


class ReconstructorRgbd:
    """Finds the table and the objects on it. World: z up from the table, y along the first view."""

    name = "rgbd"
    version = "1"

    def reconstruct(self, capture: Capture, cfg: ReconstructorConfig, out: Path) -> Reconstruction:
        """Raises InputError when no table is in view or nothing stands on it, SettingsError for absent boxes, masks."""
        if capture.kind == "scene":
            raise InputError(
                "this is a model, not pictures", "--set run.reconstructor=import (regen3d for its folders)"
            )
        return reconstruct_views([_view(capture, frame) for frame in capture.frames], capture, cfg, out)


def _view(capture: Capture, frame: Frame) -> PosedView:
    """The frame in memory. Raises InputError for a photograph."""
    if frame.depth is None:
        raise InputError(f"frame {frame.id} has no depth", "photographs need another: --set run.reconstructor=photos")
    return PosedView(
        id=frame.id,
        color=images.read_color(capture.path(frame.color)),
        depth=np.load(capture.path(frame.depth), allow_pickle=False),
        camera=frame.camera,
        T_world_camera=None if frame.T_world_camera is None else np.array(frame.T_world_camera),
        mask=None if frame.mask is None else images.read_labels(capture.path(frame.mask)),
    )
