"""Bars of photographs and stereo; `python -m bench.bars_scenes photos`.

The photographs (et_toy_mv) have no measured size, so the anchor is an assumption and only what does not depend on it is
barred. Which pixels are the toy's and which are not was marked by hand.
"""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.rows import Row, captures
from blueprint.backends.reconstruction.photo_scale import metres_per_unit
from blueprint.backends.reconstruction.photo_views import DenseView, dense_views
from blueprint.backends.reconstruction.tabletop import reconstruct_views
from blueprint.backends.reconstructor_photos import ReconstructorPhotos
from blueprint.backends.reconstructor_stereo import ReconstructorStereo, metric_view
from blueprint.backends.sfm_colmap import Photo, structure_from_motion
from blueprint.core.report import reporting
from blueprint.formats import images
from blueprint.model.artifacts import Capture, Reconstruction, Source
from blueprint.model.capture import ScaleAnchor, UserBox
from blueprint.stages.capture import CaptureConfig, capture
from blueprint.stages.reconstruction import ReconstructionConfig

EYES = ((217.0, 160.0), (208.0, 272.0))  # the toy's pupils in 000005
ANCHOR = ScaleAnchor(type="points", frame="000005", pixels=EYES, size_m=0.05)
BOX = UserBox(frame="000005", label=1, name="toy", xyxy=(120, 15, 565, 350))  # loose by 5 to 15 px
MARKS: dict[str, tuple[tuple[tuple[int, int], ...], tuple[tuple[int, int], ...]]] = {
    # frame: (pixels of the toy: head, shirt, legs or hands), (pixels of the book under it and of what is behind)
    "000000": (((150, 170), (230, 170), (330, 240), (440, 250), (550, 235)), ((540, 400), (600, 200), (60, 280))),
    "000005": (((230, 110), (200, 250), (340, 110), (420, 60), (470, 270)), ((600, 150), (560, 330), (250, 400))),
    "000006": (((240, 160), (150, 200), (380, 100), (500, 100)), ((600, 200), (180, 400), (40, 60))),
}
LEAST_REGISTERED, MOST_MINUTES = 8, 10.0


def rows() -> Iterable[Row]:
    yield from photographs()
    yield from stereo()


@dataclass(frozen=True)
class Used:
    wall_s: float
    cpu_s: float


def _usage(begun: float, cpu: float) -> Used:
    return Used(time.monotonic() - begun, _cpu() - cpu)


def _cpu() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _read(name: str, out: Path, *anchors: ScaleAnchor) -> Capture:
    cfg = CaptureConfig(anchors=anchors)
    made = capture(Source(location=str(captures() / name), digest=""), cfg, out).save(out)
    assert isinstance(made, Capture)
    return made


class _Events(dict[str, dict[str, Any]]):
    """The last log line of each kind."""

    def event(self, kind: str, fields: dict[str, Any]) -> None:
        if kind == "log":
            self[fields["message"]] = fields


def photographs() -> Iterable[Row]:
    """Three barred rows; what comes without the user's box, and whether two ways to scale agree, are reported."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        begun, cpu, events = time.monotonic(), _cpu(), _Events()
        seen = _read("et_toy_mv", out / "c", ANCHOR)
        boxed = seen.model_copy(update={"boxes": (BOX,)}).bind(seen.root)
        with reporting(events):
            made = ReconstructorPhotos().reconstruct(boxed, ReconstructionConfig(boxes=BOX.file), out / "r")
        made.save(out / "r")
        used, sfm = _usage(begun, cpu), events["structure from motion"]
        yield Row(
            "photographs registered, et_toy_mv",
            f"{sfm['registered']} of {sfm['photographs']}, {sfm['error_px']:.2f} px",
            f">= {LEAST_REGISTERED} of 9",
            sfm["registered"] >= LEAST_REGISTERED,
        )
        yield _separated(made, "one user box", barred=True)
        yield Row(
            "  photographs to metric scene: wall / CPU time",
            f"{used.wall_s:.0f} s / {used.cpu_s:.0f} s",
            f"<= {MOST_MINUTES:g} min on 2 cores",
            used.wall_s <= 60 * MOST_MINUTES,
        )
        (out / "sfm").mkdir()
        photos = [Photo(f.id, seen.path(f.color), f.camera, calibrated=False) for f in seen.frames]
        views = dense_views(structure_from_motion(photos, out / "sfm"), seen)
        metres, source = metres_per_unit(views, seen, ReconstructionConfig())
        ordered = sorted(views, key=lambda view: -int((view.z > 0).sum()))
        metric = [view.metric(metres) for view in ordered]
        alone = reconstruct_views(metric, seen, ReconstructionConfig(), out / "a", scale_source=source)
        yield _separated(alone.save(out / "a"), "automatic", barred=False)
        yield _second_anchor(views, seen, made, metres)


def _separated(made: Reconstruction, how: str, *, barred: bool) -> Row:
    """Whether one instance holds every pixel marked as the toy's and none of the others."""
    largest = max(made.instances, key=lambda instance: instance.pixels)
    hits = misses = toy = other = 0
    for view in made.views:
        if view.frame not in MARKS:
            continue
        labels = images.read_labels(made.path(view.labels))
        inside, outside = (np.array(m) for m in MARKS[view.frame])
        hits += int((labels[inside[:, 1], inside[:, 0]] == largest.label).sum())
        misses += int((labels[outside[:, 1], outside[:, 0]] != 0).sum())
        toy, other = toy + len(inside), other + len(outside)
    return Row(
        f"{'' if barred else '  '}object separated, {how}: its pixels / others",
        f"{hits} of {toy} / {misses} of {other}, {len(made.instances)} instances",
        "all / none, largest instance",
        (toy > 0 and hits == toy and misses == 0) if barred else None,
    )


def _second_anchor(views: list[DenseView], seen: Capture, made: Reconstruction, metres: float) -> Row:
    """The toy's height under the first anchor, given as the second: the two must then say the same scale."""
    cfg = ReconstructionConfig()
    height = _height(made)
    known = ScaleAnchor(type="object", name="toy", axis="z", size_m=height)
    again = metres_per_unit(views, seen.model_copy(update={"anchors": (known,)}).bind(seen.root), cfg)[0]
    return Row(
        "  scale by two pixels against scale by the toy's height",
        f"{100 * abs(again / metres - 1):.1f} % apart, toy {1000 * height:.0f} mm high",
        "reported; the anchor is assumed",
        None,
    )


def _height(made: Reconstruction) -> float:
    """[m] Of the largest instance above the support: the 99.5th percentile over all views."""
    label = max(made.instances, key=lambda instance: instance.pixels).label
    heights: list[NDArray[np.float64]] = []
    for view in made.views:
        z = np.load(made.path(view.depth), allow_pickle=False)
        row, column = np.nonzero((images.read_labels(made.path(view.labels)) == label) & (z > 0))
        c, T = view.camera, np.array(view.T_world_camera)
        rays = np.stack([(column - c.cx) / c.fx, (row - c.cy) / c.fy, np.ones(len(row))], axis=1)
        heights.append((rays * z[row, column, None]) @ T[2, :3] + T[2, 3])
    return float(np.percentile(np.concatenate(heights), 99.5))


def stereo() -> Iterable[Row]:
    """motorcycle_stereo against its ground truth (Middlebury 2014, as depth)."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        seen = _read("motorcycle_stereo", out / "c")
        begun, cpu = time.monotonic(), _cpu()
        found = metric_view(seen).depth
        used = _usage(begun, cpu)
        truth = images.read_depth(captures() / "motorcycle_stereo/depth/000000.png").astype(float) / 1000
        both = (found > 0) & (truth > 0)
        error = np.abs(found - truth)[both]
        yield Row(
            "stereo, motorcycle_stereo: median error / complete / < 5 %",
            f"{1000 * np.median(error):.1f} mm ({100 * np.median(error / truth[both]):.2f} %) / "
            f"{100 * both.sum() / (truth > 0).sum():.0f} % / {100 * (error / truth[both] < 0.05).mean():.0f} %",
            f"reported; {used.cpu_s:.1f} CPU-s",
            None,
        )
        made = ReconstructorStereo().reconstruct(seen, ReconstructionConfig(), out / "r")
        yield Row("  objects found", f"{len(made.instances)}", made.scale_source, None)
