"""Bars of segmentation: instance masks against the captures' hand-drawn ones; `python -m bench.spine.masks`."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from bench.rows import Row, captures
from blueprint.backends.reconstructor_rgbd import ReconstructorRgbd
from blueprint.core.errors import BlueprintError
from blueprint.formats import images
from blueprint.model.artifacts import Source
from blueprint.stages.capture import CaptureConfig, capture
from blueprint.stages.reconstruction import ReconstructionConfig, reconstruction

BARRED = ("posecnn_ycb_1", "posecnn_ycb_2", "posecnn_ycb_3")
OTHERS = (
    "sixdof_cheezit",
    "sixdof_green_bowl",
    "sixdof_mustard",
    "sixdof_red_mug",
    "sixdof_white_bowl",
    "apc_shelf_seq",
)


@dataclass(frozen=True)
class Score:
    """IoU of each object of one capture, by name; found: number of instances; refused: message instead."""

    capture: str
    iou: dict[str, float]
    found: int
    refused: str = ""


def rows() -> list[Row]:
    """The two barred rows, and one INFO row per capture and mode."""
    table: list[Row] = []
    for title, cfg, least_mean, least_share in (
        ("automatic", ReconstructionConfig(), 0.72, 0.85),
        ("one user box per object", ReconstructionConfig(boxes="boxes.json"), 0.82, 0.95),
    ):
        scores = [score(name, cfg) for name in BARRED]
        iou = np.array([value for s in scores for value in s.iou.values()])
        mean, share = float(iou.mean()), float((iou > 0.5).mean())
        table.append(
            Row(
                f"masks, {title}: mean IoU / share > 0.5",
                f"{mean:.3f} / {100 * share:.1f} % of {len(iou)}",
                f">= {least_mean} / >= {100 * least_share:.0f} %",
                mean >= least_mean and share >= least_share,
            )
        )
        boxed = [name for name in OTHERS if cfg.boxes is None or (captures() / name / cfg.boxes).is_file()]
        table += [_info(title, s) for s in [*scores, *(score(name, cfg) for name in boxed)]]
    return table


def _info(title: str, s: Score) -> Row:
    each = s.refused or ", ".join(f"{name} {value:.2f}" for name, value in s.iou.items())
    mean = f"{np.mean(list(s.iou.values())):.3f}, {s.found} instances" if s.iou else "refused"
    return Row(f"  {title}, {s.capture}", mean, each, None)


def score(name: str, cfg: ReconstructionConfig) -> Score:
    """Run capture and reconstruction of one capture and compare the first view's labels with its masks."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        seen = capture(Source(location=str(captures() / name), digest=""), CaptureConfig(), out / "c").save(out / "c")
        truth = images.read_labels(seen.path(seen.frames[0].mask or ""))
        names = {n.label: n.name for n in seen.names}
        wanted = {label: names.get(label, str(label)) for label in np.unique(truth[truth > 0]).tolist()}
        try:
            made = reconstruction(seen, ReconstructorRgbd(), cfg, out / "r").save(out / "r")
        except BlueprintError as error:
            return Score(name, dict.fromkeys(wanted.values(), 0.0), 0, error.message)
        labels = images.read_labels(made.path(made.views[0].labels))
        matched = match(labels, truth)
        return Score(name, {wanted[k]: v for k, v in matched.items()}, len(made.instances))


def match(labels: NDArray[np.integer], truth: NDArray[np.integer]) -> dict[int, float]:
    """IoU over all pixels of each true label with the instance that the Hungarian assignment gives it."""
    true, found = (np.unique(image[image > 0]).tolist() for image in (truth, labels))
    iou = np.zeros((len(true), max(len(found), 1)))
    for i, a in enumerate(true):
        for j, b in enumerate(found):
            both, either = ((truth == a) & (labels == b)).sum(), ((truth == a) | (labels == b)).sum()
            iou[i, j] = both / either
    best = np.zeros(len(true))
    row, column = linear_sum_assignment(-iou)
    best[row] = iou[row, column]
    return dict(zip(true, best.tolist(), strict=True))


if __name__ == "__main__":
    for row in rows():
        print(row)
