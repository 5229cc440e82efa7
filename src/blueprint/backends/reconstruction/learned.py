"""From the depth that a learned model guesses to a reconstruction; the model runs elsewhere (`learned_run`)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from blueprint.backends.completer_sam3d import complete
from blueprint.backends.protocols import ReconstructorConfig
from blueprint.backends.reconstruction import photo_scale
from blueprint.backends.reconstruction.checkpoints import LearnedModel
from blueprint.backends.reconstruction.learned_run import Ran, run_worker
from blueprint.backends.reconstruction.photo_views import DenseView, boxes_on
from blueprint.backends.reconstruction.tabletop import PosedView, reconstruct_views
from blueprint.backends.segmenter_sam import Masks, SegmenterSam, named
from blueprint.backends.sfm_colmap import Registered
from blueprint.core.errors import BackendError, InputError
from blueprint.core.report import warn
from blueprint.formats import images
from blueprint.geometry.registration import scale
from blueprint.geometry.transforms import invert
from blueprint.model.artifacts import Capture, Reconstruction
from blueprint.model.capture import Frame, ScaleAnchor

LEAST_VALID = 0.02  # share of pixels with depth


class LearnedReconstructor:
    """Base of the reconstructors whose depth a learned model guesses."""

    model: LearnedModel
    version = "1"

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._environ = environ

    def reconstruct(self, capture: Capture, cfg: ReconstructorConfig, out: Path) -> Reconstruction:
        """Raises InputError for captures it cannot take or that nothing makes metric, BackendError when the model's
        environment or weights are missing."""
        frames = _photographs(capture, self.model)
        if not self.model.chosen(cfg.checkpoints).metric:
            photo_scale.check_anchors(capture)  # before minutes are spent
        ran = run_worker(
            self.model, [(f, capture.path(f.color)) for f in frames], {"seed": cfg.seed}, cfg.checkpoints, self._environ
        )
        found = [_view(capture, frame, ran, i) for i, frame in enumerate(frames)]
        views = [view for view in found if view is not None]
        if not views:
            raise InputError(f"{self.model.title} found no depth in these pictures", "are they blank?")
        metres, source = _metres(views, capture, cfg, ran)
        posed = [view.metric(metres) for view in views]
        masks = self._masks(posed, capture, cfg)
        self.version = f"{type(self).version} ({'; '.join([ran.said, *(m.ran.said for m in masks.values())][:2])})"
        given = boxes_on(views, capture)
        if masks:
            posed = [replace(view, mask=masks[view.id].labels if view.id in masks else None) for view in posed]
            given = named(given, next(iter(masks.values())))
            cfg = cfg.model_copy(update={"masks": True, "boxes": None})
        licences = ran.licences | {k: v for m in masks.values() for k, v in m.ran.licences.items()}
        made = reconstruct_views(posed, given, cfg, out, scale_source=source, licences=licences)
        if masks:
            made = _said_by_model(made, masks)
        return self._completed(made, cfg, out)

    def _completed(self, made: Reconstruction, cfg: ReconstructorConfig, out: Path) -> Reconstruction:
        """With complete meshes, where the settings ask for them."""
        if cfg.completer is None:
            return made
        made, ran = complete(made, out, cfg, self._environ)
        self.version = f"{self.version}; {ran.said}"
        return made.model_copy(update={"licences": made.licences | ran.licences})

    def _masks(self, views: list[PosedView], capture: Capture, cfg: ReconstructorConfig) -> dict[str, Masks]:
        """View id -> masks of the segmenter that the settings name: of the views with boxes, else of the first."""
        if cfg.segmenter is None or cfg.masks:
            return {}
        drawn = {box.frame for box in capture.boxes if box.file == cfg.boxes}
        chosen = [view for view in views if view.id in drawn] if cfg.boxes else views[:1]
        return {view.id: SegmenterSam(self._environ).segment(view, capture, cfg) for view in chosen}


def _said_by_model(made: Reconstruction, masks: dict[str, Masks]) -> Reconstruction:
    """Instances say that a model drew them; names that are the user's words stay the user's."""
    scores = {label: score for one in masks.values() for label, score in one.scores.items()}
    instances = tuple(
        i.model_copy(update={"mask_source": "model", "confidence": round(i.confidence * scores.get(i.label, 1.0), 3)})
        for i in made.instances
    )
    return made.model_copy(update={"instances": instances})


def _photographs(capture: Capture, model: LearnedModel) -> Sequence[Frame]:
    if capture.kind == "scene" or not capture.frames:
        raise InputError("the capture holds no pictures", "use run.reconstructor=regen3d or import")
    if len(capture.frames) > model.most_views:
        raise InputError(
            f"{model.title} takes at most {model.most_views} photograph(s), the capture has {len(capture.frames)}",
            "give fewer, or use run.reconstructor=photos, vggt or depthanything",
        )
    return capture.frames


def _view(capture: Capture, frame: Frame, ran: Ran, index: int) -> DenseView | None:
    """The photograph at the size of its depth; None if there is too little depth. Raises BackendError."""
    depth, valid, K, T = check_views(ran, index)
    height, width = depth.shape
    if valid.mean() < LEAST_VALID:
        warn(f"frame {frame.id}: the model found hardly any depth; it is left out")
        return None
    color = images.read_color(capture.path(frame.color))
    shrink = width / color.shape[1]
    if abs(height / color.shape[0] - shrink) > 0.02 * shrink:
        raise BackendError(
            f"depth is {width}x{height} for a picture of {color.shape[1]}x{color.shape[0]}", "the worker is broken"
        )
    mask = None
    if frame.mask is not None:
        labels = images.read_labels(capture.path(frame.mask))
        mask = cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST).astype(np.uint16)
    whole = np.diag([1 / shrink, color.shape[0] / height, 1.0]) @ K
    pose = Registered(frame.id, whole, 0.0, invert(T), np.zeros(0, dtype=np.int64))
    small = np.asarray(cv2.resize(color, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    z = np.where(valid, depth, 0).astype(np.float32)
    return DenseView(frame.id, small, z, scale.Sight(K, invert(T)), pose, shrink, mask)


def check_views(
    ran: Ran, index: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64]]:
    """(depth (h, w), valid (h, w), K (3, 3), T_world_camera (4, 4)) of one view. Raises BackendError naming what is
    wrong with what the worker wrote."""
    try:
        depth = np.asarray(ran.arrays["depth"][index], dtype=np.float32)
        valid = np.asarray(ran.arrays["valid"][index], dtype=bool)
        K = np.asarray(ran.arrays["K"][index], dtype=np.float64)
        T = np.asarray(ran.arrays["T_world_camera"][index], dtype=np.float64)
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise BackendError(f"the worker's result lacks {error}", "see workers/contract.py") from error
    turn = T[:3, :3] if T.shape == (4, 4) else np.zeros((3, 3))
    wrong = {
        "depth is no picture": depth.ndim != 2 or valid.shape != depth.shape,
        "K is no camera": K.shape != (3, 3) or not np.isfinite(K).all() or not (K[0, 0] > 0 and K[1, 1] > 0),
        "the pose is no rotation": not np.allclose(turn @ turn.T, np.eye(3), atol=1e-3) or np.linalg.det(turn) < 0,
        "the pose is not finite": not np.isfinite(T).all(),
    }
    for text, is_so in wrong.items():
        if is_so:
            raise BackendError(f"the worker's result is broken: {text}", "see workers/contract.py")
    return depth, valid & np.isfinite(depth) & (depth > 0), K, T


def _metres(views: list[DenseView], capture: Capture, cfg: ReconstructorConfig, ran: Ran) -> tuple[float, str]:
    """(metres per unit, what it rests on): what the user measured before what the model guesses."""
    anchors = _in_one_view(views, capture)
    if anchors.anchors or not bool(ran.arrays.get("metric", np.array(False))):
        photo_scale.check_anchors(anchors)
        return photo_scale.metres_per_unit(views, anchors, cfg)
    warn(f"the scale is what {ran.checkpoint.name} guesses, not measured", cure="give a scale anchor")
    return 1.0, f"guessed by {ran.checkpoint.name}"


def _in_one_view(views: list[DenseView], capture: Capture) -> Capture:
    """In one view a marker cannot be triangulated, but its corners have depth: two of them are picked points."""
    if len(views) > 1 or not any(anchor.type == "marker" for anchor in capture.anchors):
        return capture
    frame = next(frame for frame in capture.frames if frame.id == views[0].id)
    color = images.read_color(capture.path(frame.color))
    anchors: list[ScaleAnchor] = []
    for anchor in capture.anchors:
        if anchor.type != "marker":
            anchors.append(anchor)
            continue
        names = [scale.dictionary_name(anchor.dictionary)] if anchor.dictionary else scale.DICTIONARIES
        seen = next((found for name in names if (found := scale.find_markers(color, name))), {})
        for corners in seen.values():
            pixels = tuple((float(x), float(y)) for x, y in corners[[0, 2]])
            diagonal = anchor.size_m * 2**0.5
            anchors.append(ScaleAnchor(type="points", size_m=diagonal, frame=frame.id, pixels=pixels))
    if not anchors:
        raise InputError("no marker is seen whole in the photograph", "give another scale anchor")
    return capture.model_copy(update={"anchors": tuple(anchors)})
