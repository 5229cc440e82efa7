"""Bars of instance masks on the masked RGB-D captures; `python -m bench.bars_scenes masks`.

Barred: hand-drawn masks (posecnn_ycb_*) and those of isolated objects (sixdof_*). The masks of apc_shelf_seq are a
network's prediction, so that capture is only reported. Overlap and boundary: precision, recall and F of Xie et al.,
"Unseen Object Instance Segmentation for Robotic Environments", IEEE T-RO 2021, section V.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from bench.rows import Row, captures
from bench.spine.masks import match
from blueprint.backends.reconstructor_rgbd import ReconstructorRgbd
from blueprint.core.errors import BlueprintError
from blueprint.formats import images
from blueprint.model.artifacts import Source
from blueprint.stages.capture import CaptureConfig, capture
from blueprint.stages.reconstruction import ReconstructionConfig, reconstruction

BARRED = ("posecnn_ycb_1", "posecnn_ycb_2", "posecnn_ycb_3", "sixdof_cheezit", "sixdof_green_bowl", "sixdof_mustard",
          "sixdof_red_mug", "sixdof_white_bowl")  # fmt: skip
REPORTED = ("apc_shelf_seq",)
MODES = (("automatic", None, 0.75, 0.88), ("one user box per object", "boxes.json", 0.85, 0.96))
BOUNDARY_SHARE = 0.003  # of the picture's diagonal: how far apart boundaries may be and still meet

Labels = NDArray[np.integer]


@dataclass(frozen=True)
class Score:
    """iou: per true object, by name; overlap, boundary: (precision, recall, F); found: instances; refused: message."""

    capture: str
    iou: dict[str, float]
    overlap: tuple[float, float, float]
    boundary: tuple[float, float, float]
    found: int
    refused: str = ""


def rows() -> Iterable[Row]:
    """A barred row per mode, one for the UOIS figures, and one INFO row per capture."""
    for title, boxes, least_mean, least_share in MODES:
        cfg = ReconstructionConfig(boxes=boxes)
        scores = [score(name, cfg) for name in BARRED]
        iou = np.array([value for s in scores for value in s.iou.values()])
        mean, share = float(iou.mean()), float((iou > 0.5).mean())
        yield Row(
            f"masks, {title}: mean IoU / share > 0.5",
            f"{mean:.3f} / {100 * share:.1f} % of {len(iou)}",
            f">= {least_mean} / >= {100 * least_share:.0f} %",
            mean >= least_mean and share >= least_share,
        )
        measured = " / ".join(
            f"{np.mean([getattr(s, kind)[2] for s in scores]):.3f}" for kind in ("overlap", "boundary")
        )
        yield Row(f"masks, {title}: UOIS overlap F / boundary F", measured, "mean over captures", None)
        others = [score(name, cfg) for name in REPORTED if boxes is None or (captures() / name / boxes).is_file()]
        yield from (_info(title, s) for s in [*scores, *others])


def _info(title: str, s: Score) -> Row:
    if s.refused:
        return Row(f"  {title}, {s.capture}", "refused", s.refused, None)
    each = ", ".join(f"{name} {value:.2f}" for name, value in s.iou.items())
    uois = " ".join(f"{value:.2f}" for value in (*s.overlap, *s.boundary))
    return Row(f"  {title}, {s.capture}", f"{np.mean(list(s.iou.values())):.3f}, {s.found} found; {uois}", each, None)


def score(name: str, cfg: ReconstructionConfig) -> Score:
    """Capture and reconstruction of one capture; the first view's labels against its masks. A refusal scores 0."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        seen = capture(Source(location=str(captures() / name), digest=""), CaptureConfig(), out / "c").save(out / "c")
        truth = images.read_labels(seen.path(seen.frames[0].mask or ""))
        names = {row.label: row.name for row in seen.names}
        wanted = {label: names.get(label, str(label)) for label in np.unique(truth[truth > 0]).tolist()}
        try:
            made = reconstruction(seen, ReconstructorRgbd(), cfg, out / "r").save(out / "r")
        except BlueprintError as error:
            return Score(name, dict.fromkeys(wanted.values(), 0.0), (0, 0, 0), (0, 0, 0), 0, error.message)
        labels = images.read_labels(made.path(made.views[0].labels))
        iou = {wanted[label]: value for label, value in match(labels, truth).items()}
        return Score(name, iou, *uois(labels, truth), len(made.instances))


def uois(labels: Labels, truth: Labels) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """(precision, recall, F) of overlap and of boundary, instances assigned by their F of overlap (Hungarian)."""
    found, true = ([image == k for k in np.unique(image[image > 0])] for image in (labels, truth))
    score_of = np.array([[2 * (a & b).sum() / (a.sum() + b.sum()) for b in true] for a in found]).reshape(
        len(found), len(true)
    )
    pairs = list(zip(*linear_sum_assignment(-score_of), strict=True))
    overlap = _f([(found[i] & true[j]).sum() for i, j in pairs], None, found, true)
    edges = [_edge(mask) for mask in found], [_edge(mask) for mask in true]
    wide = [_widened(edge) for edge in edges[0]], [_widened(edge) for edge in edges[1]]
    hits = [(edges[0][i] & wide[1][j]).sum() for i, j in pairs]
    reached = [(edges[1][j] & wide[0][i]).sum() for i, j in pairs]
    return overlap, _f(hits, reached, *edges)


def _f(hits: list, reached: list | None, found: list, true: list) -> tuple[float, float, float]:
    precision = float(sum(hits) / max(sum(mask.sum() for mask in found), 1))
    recall = float(sum(hits if reached is None else reached) / max(sum(mask.sum() for mask in true), 1))
    return precision, recall, 2 * precision * recall / max(precision + recall, 1e-9)


def _edge(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return mask & (cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) == 0)


def _widened(edge: NDArray[np.bool_]) -> NDArray[np.bool_]:
    reach = int(np.ceil(BOUNDARY_SHARE * np.hypot(*edge.shape)))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    return cv2.dilate(edge.astype(np.uint8), disc) > 0
