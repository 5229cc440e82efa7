"""Bars of completion: published sizes of boxes, cans and bottles against ours; `python -m bench.spine.sizes`."""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.rows import Row, captures
from bench.spine.masks import match
from blueprint.backends.reconstructor_rgbd import ReconstructorRgbd
from blueprint.formats import images
from blueprint.model.artifacts import Source
from blueprint.model.scene import ObjectAsset
from blueprint.stages.assets import AssetsConfig, assets
from blueprint.stages.capture import CaptureConfig, capture
from blueprint.stages.reconstruction import ReconstructionConfig, reconstruction

BARRED = ("posecnn_ycb_1", "posecnn_ycb_2", "posecnn_ycb_3")
LARGEST_MEAN_ERROR = 0.07
LEAST_COVERED = 0.90


@dataclass(frozen=True)
class Size:
    """Sorted extents [m] of one object: (3,) published, ours, and our sigma; asset None when it was not kept."""

    capture: str
    name: str
    published: np.ndarray
    ours: np.ndarray
    sigma: np.ndarray
    asset: ObjectAsset | None

    @property
    def error(self) -> np.ndarray:
        return np.abs(self.ours - self.published) / self.published

    @property
    def covered(self) -> np.ndarray:
        return np.abs(self.ours - self.published) <= 2 * self.sigma


def rows(names: tuple[str, ...] = BARRED) -> list[Row]:
    """Two barred rows, and one INFO row per object. A missing object counts as 100 % off and not covered."""
    sizes = [size for name in names for size in measure(name)]
    error = np.concatenate([size.error for size in sizes])
    covered = np.concatenate([size.covered for size in sizes])
    return [
        Row(
            "sizes of boxes, cans, bottles: mean error",
            f"{100 * error.mean():.2f} % of {len(error)} dimensions",
            f"<= {100 * LARGEST_MEAN_ERROR:.0f} %",
            bool(error.mean() <= LARGEST_MEAN_ERROR),
        ),
        Row(
            "sizes: published within 2 sigma",
            f"{100 * covered.mean():.1f} % (mean sigma {1000 * np.mean([s.sigma for s in sizes]):.1f} mm)",
            f">= {100 * LEAST_COVERED:.0f} %",
            bool(covered.mean() >= LEAST_COVERED),
        ),
        *[_info(size) for size in sizes],
    ]


def _info(size: Size) -> Row:
    if size.asset is None:
        return Row(f"  {size.capture}, {size.name}", "not kept", "", None)
    ours = " x ".join(f"{1000 * d:.0f}±{1000 * s:.0f}" for d, s in zip(size.ours, size.sigma, strict=True))
    published = " x ".join(f"{1000 * d:.0f}" for d in size.published)
    text = f"published {published}, {size.asset.method}, error {100 * size.error.mean():.1f} %"
    return Row(f"  {size.capture}, {size.name}", ours, text, None)


def measure(name: str) -> list[Size]:
    """Capture, reconstruction (with the user's boxes) and assets of one capture; its boxes, cans and bottles."""
    truth = json.loads((captures() / name / "capture.json").read_text())["gt"]["objects"]
    published = {row["label"]: row for row in truth if row["dims_m"] and row["name"] != "bowl"}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        seen = capture(Source(location=str(captures() / name), digest=""), CaptureConfig(), out / "c").save(out / "c")
        cfg = ReconstructionConfig(boxes="boxes.json")
        scene = reconstruction(seen, ReconstructorRgbd(), cfg, out / "r").save(out / "r")
        (out / "a").mkdir()
        made = assets(seen, scene, AssetsConfig(), out / "a")
        found = by_truth(images.read_labels(scene.path(scene.views[0].labels)), seen.path(seen.frames[0].mask or ""))
    named = {instance.label: instance.name for instance in scene.instances}
    kept = {asset.name: asset for asset in made.objects}
    return [_size(name, row, kept.get(named.get(found.get(label, -1), ""))) for label, row in published.items()]


def by_truth(labels: np.ndarray, mask: Path) -> dict[int, int]:
    """True label -> the found label that overlaps it best."""
    truth = images.read_labels(mask)
    out = {}
    for label in match(labels, truth):
        inside = labels[(truth == label) & (labels > 0)]
        if len(inside):
            out[label] = int(np.bincount(inside).argmax())
    return out


def _size(capture_name: str, row: dict, asset: ObjectAsset | None) -> Size:
    published = np.sort(np.array(row["dims_m"], dtype=float))
    if asset is None:
        return Size(capture_name, row["name"], published, np.zeros(3), np.zeros(3), None)
    order = np.argsort(asset.dims_m)
    ours, sigma = np.array(asset.dims_m)[order], np.array(asset.dims_sigma_m)[order]
    return Size(capture_name, row["name"], published, ours, sigma, asset)


if __name__ == "__main__":
    for line in rows(tuple(sys.argv[1:]) or BARRED):
        print(line)
