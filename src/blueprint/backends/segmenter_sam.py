"""Masks by SAM 1, 2 or 3 in an environment of its own (BLUEPRINT_SAM_PYTHON), for the learned reconstructors.

Asked for by `reconstruction.segmenter = "sam"`. In the user's boxes where the settings name some; by words where
`reconstruction.words` has some (SAM 3 only); else everything. What is not in a box is kept if it stands on the support.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from blueprint.backends.protocols import ReconstructorConfig
from blueprint.backends.reconstruction.checkpoints import MODELS
from blueprint.backends.reconstruction.learned_run import Ran, run_worker
from blueprint.backends.reconstruction.tabletop import PosedView
from blueprint.core.errors import BackendError, InputError
from blueprint.geometry import depth as depths
from blueprint.geometry.table.support import find_support, table_view
from blueprint.model.artifacts import Capture
from blueprint.model.capture import UserName

Mask = NDArray[np.bool_]

LEAST_SHARE, MOST_SHARE = 0.0005, 0.3  # of the picture: less is a speck, more is the table or the wall
LEAST_STANDING = 0.6  # share of a mask's measured pixels that rise above the support
RISE_M = 0.01
LEAST_SCORE = 0.5
LEAST_FREE = 0.5  # of a mask not yet covered by larger ones: parts of an object are left to the whole


@dataclass(frozen=True)
class Masks:
    """labels (H, W), 0 = background; names: label -> text; scores: label -> what the model thinks of the mask."""

    labels: NDArray[np.uint16]
    names: dict[int, str]
    scores: dict[int, float]
    ran: Ran


class SegmenterSam:
    """Masks of one view."""

    name = "sam"
    version = "1"

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._environ = environ

    def segment(self, view: PosedView, capture: Capture, cfg: ReconstructorConfig) -> Masks:
        """view: at the size of its depth; capture: with boxes in the pixels of the whole picture.

        Raises BackendError without SAM's environment or weights, InputError when nothing is found.
        """
        frame = next(frame for frame in capture.frames if frame.id == view.id)
        boxes = [box for box in capture.boxes if box.file == cfg.boxes and box.frame == view.id]
        words = list(cfg.words)
        more: dict[str, Any] = {"seed": cfg.seed, "boxes": [list(box.xyxy) for box in boxes]}
        if not boxes:
            more["words"] = words
        ran = run_worker(MODELS["sam"], [(frame, capture.path(frame.color))], more, cfg.checkpoints, self._environ)
        masks, scores, prompts = _read(ran, (frame.camera.height, frame.camera.width))
        masks = [_resized(mask, view.depth.shape) for mask in masks]
        if boxes:
            order = list(range(len(masks)))
            names = {box.label: box.name for box in boxes}
            numbers = [boxes[prompt].label for prompt in prompts]
        else:
            order = [i for i in _standing(view, masks, cfg.seed) if scores[i] >= LEAST_SCORE]
            numbers = [i + 1 for i in range(len(masks))]
            names = {numbers[i]: words[prompts[i]] for i in order if words and 0 <= prompts[i] < len(words)}
        labels = _painted([(numbers[i], masks[i]) for i in order], view.depth.shape)
        found = [int(label) for label in np.unique(labels[labels > 0])]
        if not found:
            raise InputError(f"SAM finds nothing that stands on the support in frame {view.id}", "draw boxes")
        known = {numbers[i]: scores[i] for i in order}
        return Masks(labels, {k: v for k, v in names.items() if k in found}, {k: known[k] for k in found}, ran)


def named(capture: Capture, masks: Masks) -> Capture:
    """The capture with the masks' names instead of its own."""
    return capture.model_copy(update={"names": tuple(UserName(label=k, name=v) for k, v in masks.names.items())})


def _read(ran: Ran, size: tuple[int, int]) -> tuple[list[Mask], list[float], list[int]]:
    """Raises BackendError when the worker broke the contract. size: (height, width) of the picture."""
    try:
        masks = np.asarray(ran.arrays["masks"], dtype=bool)
        scores = np.asarray(ran.arrays["scores"], dtype=float)
        prompts = np.asarray(ran.arrays["prompts"], dtype=int)
    except (KeyError, ValueError, TypeError) as error:
        raise BackendError(f"SAM's worker wrote no masks: {error}", "see workers/sam.py") from error
    if masks.shape[1:] != size or not len(masks) == len(scores) == len(prompts):
        raise BackendError(f"SAM's masks are {masks.shape}, the picture is {size}", "see workers/sam.py")
    return list(masks), scores.tolist(), prompts.tolist()


def _resized(mask: Mask, shape: tuple[int, ...]) -> Mask:
    size = (shape[1], shape[0])
    return np.asarray(cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)) > 0


def _standing(view: PosedView, masks: list[Mask], seed: int) -> list[int]:
    """Which masks rise above the support, the largest first."""
    points = depths.backproject(view.depth, view.camera)
    support = find_support(points, view.depth, np.random.default_rng(seed), f"frame {view.id}")
    table = table_view(view.color, view.depth, points, support)
    high = (table.height > RISE_M) & table.over
    kept = []
    for i, mask in enumerate(masks):
        measured = mask & table.valid
        if LEAST_SHARE < mask.mean() < MOST_SHARE and measured.any() and high[measured].mean() > LEAST_STANDING:
            kept.append(i)
    return sorted(kept, key=lambda i: -int(masks[i].sum()))


def _painted(masks: list[tuple[int, Mask]], shape: tuple[int, ...]) -> NDArray[np.uint16]:
    """(H, W): each pixel has the label of the first mask that covers it; masks mostly covered already are dropped."""
    labels = np.zeros(shape, dtype=np.uint16)
    for label, mask in masks:
        free = mask & (labels == 0)
        if mask.any() and free.sum() > LEAST_FREE * mask.sum():
            labels[free] = label
    return labels
