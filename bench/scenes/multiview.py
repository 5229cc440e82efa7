"""Bar: several views make a better scene than one; `python -m bench.bars_scenes multiview`.

What is compared: the objects that the assets stage completes from all key views, and from one of them alone (the one
that shows most of the objects) with support, labels and everything else the same. What is measured: F-score at 1 cm
between the objects drawn into a view and the depth that was measured there: recall = share of the object pixels
(network masks, or what differs from the empty bin) explained by a drawn object, precision = share of the drawn pixels
that a reading confirms. apc_shelf_seq: in the seven views that took no part. arc_bin_two_view has only two views: each
alone is judged in the other, both together in both, so the fused scene has seen its judges. What each view alone says
of itself is reported beside it: there it is better than the fused scene, which must agree with two sensors.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.rows import Row, captures
from blueprint.backends.reconstruction.sequence import is_empty
from blueprint.backends.reconstructor_rgbd import ReconstructorRgbd
from blueprint.core.errors import BlueprintError
from blueprint.formats import images
from blueprint.formats.obj import read_obj
from blueprint.geometry.depth import close_seams, project, remove_flying_pixels
from blueprint.geometry.raycast import render_depth
from blueprint.geometry.transforms import invert, pose_to_matrix, transform_points
from blueprint.model.artifacts import Assets, Capture, Reconstruction, Source
from blueprint.model.capture import Camera, Frame
from blueprint.stages.assets import AssetsConfig, assets
from blueprint.stages.capture import CaptureConfig, capture
from blueprint.stages.reconstruction import ReconstructionConfig, reconstruction

TOLERANCE_M = 0.01
DIFFERS_M = 0.01  # from the empty bin
TABLES = ("slambook_room_seq", "tum_desk_pair")


@dataclass(frozen=True)
class Judge:
    """A view to be judged in: depth (H, W) [m]; things (H, W): pixels that show objects."""

    camera: Camera
    T_world_camera: NDArray[np.float64]
    depth: NDArray[np.float32]
    things: NDArray[np.bool_]


@dataclass(frozen=True)
class Result:
    """precision, recall over all judges; seen: mean seen fraction of the objects; objects: how many."""

    precision: float
    recall: float
    seen: float
    objects: int

    @property
    def f(self) -> float:
        return 2 * self.precision * self.recall / max(self.precision + self.recall, 1e-9)

    def __str__(self) -> str:
        return (
            f"F {self.f:.3f} (P {self.precision:.3f} R {self.recall:.3f}), {self.objects} objects, seen {self.seen:.2f}"
        )


def rows() -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        yield from _shelf(Path(folder) / "shelf")
        yield from _bin(Path(folder) / "bin")
        for name in TABLES:
            yield _table(name, Path(folder) / name)


def _shelf(out: Path) -> Iterator[Row]:
    seen = _captured("apc_shelf_seq", out / "c")
    used = seen.model_copy(update={"frames": seen.frames[::2]}).bind(seen.root)
    made = reconstruction(used, ReconstructorRgbd(), ReconstructionConfig(), out / "r").save(out / "r")
    first = next(frame for frame in used.frames if frame.id == made.views[0].frame)
    T = np.array(made.views[0].T_world_camera) @ invert(np.array(first.T_world_camera))
    judges = [_marked(seen, frame, T) for frame in seen.frames[1::2]]
    one = max(range(len(made.views)), key=lambda i: _object_pixels(made, i))
    single = _judged(_completed(_only(made, one), used, out / "single"), judges)
    fused = _judged(_completed(made, used, out / "fused"), judges)
    yield Row(
        "multiview, apc_shelf_seq: 8 views against 1, in 7 held out",
        f"F {single.f:.3f} -> {fused.f:.3f}",
        "fused > single",
        fused.f > single.f,
    )
    yield Row("  fused", str(fused), f"{len(made.statics)} walls", None)
    yield Row(f"  frame {made.views[one].frame} alone", str(single), "", None)


def _bin(out: Path) -> Iterator[Row]:
    seen = _captured("arc_bin_two_view", out / "c")
    made = reconstruction(seen, ReconstructorRgbd(), ReconstructionConfig(), out / "r").save(out / "r")
    judges = [_differing(seen, made, i) for i in range(len(made.views))]
    alone = [_completed(_only(made, i), seen, out / f"single{i}") for i in range(2)]
    unseen = [_judged(objects, [judges[1 - i]]) for i, objects in enumerate(alone)]
    fused = _judged(_completed(made, seen, out / "fused"), judges)
    best = max(result.f for result in unseen)
    yield Row(
        "multiview, arc_bin_two_view: from where one view did not look",
        f"F {best:.3f} -> {fused.f:.3f}",
        "fused > single",
        fused.f > best,
    )
    yield Row("  fused, in both views", str(fused), f"{len(made.statics)} walls", None)
    for i, result in enumerate(unseen):
        yield Row(f"  frame {made.views[i].frame} alone, in the other", str(result), "", None)
        yield Row(f"  frame {made.views[i].frame} alone, in itself", str(_judged(alone[i], [judges[i]])), "", None)


def _table(name: str, out: Path) -> Row:
    seen = _captured(name, out / "c")
    try:
        made = reconstruction(seen, ReconstructorRgbd(), ReconstructionConfig(), out / "r").save(out / "r")
    except BlueprintError as error:
        return Row(f"  {name}", "refused", error.message, None)
    return Row(f"  {name}", f"{len(made.views)} views, {len(made.instances)} instances", "", None)


def _captured(name: str, out: Path) -> Capture:
    return capture(Source(location=str(captures() / name), digest=""), CaptureConfig(), out).save(out)


def _only(made: Reconstruction, index: int) -> Reconstruction:
    return made.model_copy(update={"views": (made.views[index],)}).bind(made.root)


def _object_pixels(made: Reconstruction, index: int) -> int:
    return int((images.read_labels(made.path(made.views[index].labels)) > 0).sum())


def _completed(made: Reconstruction, seen: Capture, out: Path) -> Assets:
    return assets(seen, made, AssetsConfig(), out).save(out)


def _marked(seen: Capture, frame: Frame, T: NDArray[np.float64]) -> Judge:
    """Object pixels are those of the network's masks. T: world of the reconstruction from the capture's own."""
    depth = remove_flying_pixels(close_seams(np.load(seen.path(str(frame.depth)), allow_pickle=False)))
    mask = images.read_labels(seen.path(str(frame.mask))) > 0
    return Judge(frame.camera, T @ np.array(frame.T_world_camera), depth, mask & (depth > 0))


def _differing(seen: Capture, made: Reconstruction, index: int) -> Judge:
    """Object pixels are those within the bin that are nearer than in the empty picture from the same spot."""
    view = made.views[index]
    raw = {frame.id: np.load(seen.path(str(frame.depth)), allow_pickle=False) for frame in seen.frames}
    pose = {frame.id: frame.T_world_camera for frame in seen.frames}
    empty = next(raw[i] for i in raw if is_empty(i) and pose[i] == pose[view.frame])
    things = (raw[view.frame] > 0) & (empty > 0) & (empty - raw[view.frame] > DIFFERS_M)
    things = cv2.morphologyEx(things.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0  # speckle
    depth = np.load(made.path(view.depth), allow_pickle=False)
    T = np.array(view.T_world_camera)
    floor = transform_points(invert(T), np.pad(np.array(made.support.polygon), ((0, 0), (0, 1))))
    inside = np.zeros(depth.shape, np.uint8)
    cv2.fillConvexPoly(inside, np.rint(project(floor, view.camera)).astype(np.int32), 1)
    return Judge(view.camera, T, depth, things & (depth > 0) & (inside > 0))


def _judged(objects: Assets, judges: list[Judge]) -> Result:
    right = drawn = explained = wanted = 0
    meshes = []
    for one in objects.objects:
        mesh = read_obj(objects.path(one.mesh))
        meshes.append((transform_points(pose_to_matrix(one.pose), mesh.vertices), mesh.faces))
    for judge in judges:
        depth = np.full(judge.depth.shape, np.inf)
        for mesh in meshes:
            depth = np.minimum(depth, render_depth(mesh, judge.camera, judge.T_world_camera)[0])
        shown = np.isfinite(depth) & (judge.depth > 0)
        hidden = shown & (judge.depth < depth - TOLERANCE_M) & judge.things  # behind another object: no evidence
        near = shown & (np.abs(depth - judge.depth) < TOLERANCE_M)
        right, drawn = right + int(near.sum()), drawn + int((shown & ~hidden).sum())
        explained, wanted = explained + int((near & judge.things).sum()), wanted + int(judge.things.sum())
    seen = float(np.mean([one.seen_fraction for one in objects.objects]))
    return Result(right / max(drawn, 1), explained / max(wanted, 1), seen, len(objects.objects))
