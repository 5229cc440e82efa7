"""Metres of a model from photographs: which anchor counts, and how it is measured."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from blueprint.backends.protocols import ReconstructorConfig
from blueprint.backends.reconstruction.photo_views import DenseView
from blueprint.core.errors import InputError
from blueprint.core.report import warn
from blueprint.formats import images
from blueprint.geometry import depth as depths
from blueprint.geometry.registration import scale
from blueprint.geometry.segmentation.objects import TableView, raised, segment_boxes
from blueprint.geometry.table.support import find_common_support, table_view
from blueprint.geometry.transforms import invert
from blueprint.model.artifacts import Capture
from blueprint.model.capture import ScaleAnchor, UserBox

ORDER = ("marker", "points", "object", "class_prior")  # the surest first
USUAL_DISTANCE_M = 0.8  # at which a table top is photographed: where measuring an object begins
SUPPORT_VIEWS = 5  # that agree on the plane under an object
ROUNDS = 3  # segmentation knows metres, so the scale it gives is fed back to it
DISAGREEMENT = 0.1
LEAST_PIXELS = 100  # of an object that is measured
GAP_PX = 9
WAYS = (
    'an ArUco or AprilTag marker of known edge in the scene ({"type": "marker", "size_m": 0.05}), the size of one '
    'object ({"type": "object", "name": "mug", "axis": "z", "size_m": 0.095}), the distance of two points of a picture '
    '({"type": "points", "frame": "...", "pixels": [[x, y], [x, y]], "size_m": 0.21}) or, as the last resort, a usual '
    'height ({"type": "class_prior", "name": "chair"}), in "anchors" of capture.json, anchors.json beside the '
    "photographs or the setting capture.anchors"
)


def check_anchors(capture: Capture) -> None:
    """Raises InputError when nothing can make the capture metric, before minutes are spent on it."""
    if not capture.anchors and not _posed(capture):
        raise InputError("photographs have no scale, and nothing in this capture gives one", f"give {WAYS}")
    for anchor in capture.anchors:
        if anchor.dictionary:
            scale.dictionary_name(anchor.dictionary)


def metres_per_unit(views: Sequence[DenseView], capture: Capture, cfg: ReconstructorConfig) -> tuple[float, str]:
    """(metres per unit of the model, what it rests on). The surest source counts; others that contradict it are named.

    Raises InputError when no source could be measured, saying why of each.
    """
    found: list[tuple[float, str]] = []
    why: list[str] = []
    if _posed(capture):
        found.append(_from_poses(views, capture))
    for anchor in sorted(capture.anchors, key=lambda a: ORDER.index(a.type)):
        try:
            found.append(_measured(anchor, views, capture, cfg))
        except InputError as error:
            why.append(error.message)
    if not found:
        raise InputError(f"no scale anchor could be measured: {'; '.join(why)}", f"give {WAYS}")
    for metres, source in found[1:]:
        if abs(metres / found[0][0] - 1) > DISAGREEMENT:
            warn(f"{source} says {metres / found[0][0]:.2f} times the size that {found[0][1]} says; the latter counts")
    for reason in why:
        warn(f"a scale anchor is not used: {reason}")
    return found[0]


def _measured(
    anchor: ScaleAnchor, views: Sequence[DenseView], capture: Capture, cfg: ReconstructorConfig
) -> tuple[float, str]:
    if anchor.type == "marker":
        return _from_markers(anchor, views, capture)
    if anchor.type == "points":
        return _from_points(anchor, views)
    metres = _from_object(anchor, views, capture, cfg)
    if anchor.type == "class_prior":
        warn(f"scale is a guess: a {anchor.name} is usually {anchor.size_m:g} m high", cure="measure anything")
        return metres, f"class prior, a guess: usual height of a {anchor.name}, {anchor.size_m:g} m"
    return metres, f"known size of {anchor.name} ({anchor.axis}), {1000 * anchor.size_m:g} mm"


def _posed(capture: Capture) -> bool:
    return all(frame.T_world_camera is not None for frame in capture.frames)


def _from_poses(views: Sequence[DenseView], capture: Capture) -> tuple[float, str]:
    given = {frame.id: np.array(frame.T_world_camera)[:3, 3] for frame in capture.frames}
    model, metric = (np.array(c) for c in ([v.sight.center for v in views], [given[v.id] for v in views]))
    return scale.scale_of_centers(model, metric), f"{len(views)} camera positions of the capture"


# ------------------------------------------------------------------ markers and points


def _from_markers(anchor: ScaleAnchor, views: Sequence[DenseView], capture: Capture) -> tuple[float, str]:
    files = {frame.id: capture.path(frame.color) for frame in capture.frames}
    names = [scale.dictionary_name(anchor.dictionary)] if anchor.dictionary else list(scale.DICTIONARIES)
    colors = [images.read_color(files[view.id]) for view in views]
    for name in names:
        seen = [
            {k: _ideal_pixels(view, corners) for k, corners in scale.find_markers(color, name).items()}
            for view, color in zip(views, colors, strict=True)
        ]
        edges = scale.marker_edges([view.sight for view in views], seen)
        if edges:
            count = sum(any(k in edges for k in view) for view in seen)
            source = f"{len(edges)} marker(s) {name} of {1000 * anchor.size_m:g} mm in {count} photographs"
            return anchor.size_m / float(np.median(list(edges.values()))), source
    raise InputError(f"no marker of {', '.join(names)} is seen whole in two photographs or more")


def _ideal_pixels(view: DenseView, corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where corners (4, 2) of the whole photograph are in the view."""
    bent = np.array([view.pose.k1, 0, 0, 0])
    return cv2.undistortPoints(corners[:, None], view.pose.K, bent, P=view.sight.K).reshape(-1, 2).astype(float)


def _from_points(anchor: ScaleAnchor, views: Sequence[DenseView]) -> tuple[float, str]:
    view = next((view for view in views if view.id == anchor.frame), None)
    if view is None:
        raise InputError(f"frame {anchor.frame} of the picked points was not connected with the others")
    points: list[NDArray[np.float64]] = []
    for pixel in _ideal_pixels(view, np.array(anchor.pixels, dtype=float)).tolist():
        point = scale.picked(view.z, view.sight, (pixel[0], pixel[1]))
        if point is None:
            raise InputError(f"no depth was found at one of the points picked in {anchor.frame}: pick one with texture")
        points.append(point)
    length = float(np.linalg.norm(points[1] - points[0]))
    return anchor.size_m / length, f"two points {1000 * anchor.size_m:g} mm apart in {anchor.frame}"


# ------------------------------------------------------------------ the size of an object


def _from_object(anchor: ScaleAnchor, views: Sequence[DenseView], capture: Capture, cfg: ReconstructorConfig) -> float:
    """Metres per unit from the object's extent above the common support, measured in one view."""
    boxes = [box for box in capture.boxes if _same_name(box.name, anchor.name)]
    drawn = [(view, box) for box in boxes for view in views if view.id == box.frame]
    most = max(views, key=lambda view: int((view.z > 0).sum()))
    view, box = drawn[0] if drawn else (most, None)
    others = [view, *(other for other in views if other is not view)][:SUPPORT_VIEWS]
    metres = USUAL_DISTANCE_M / float(np.median(view.z[view.z > 0]))
    for _ in range(ROUNDS):
        seen = [other.metric(metres) for other in others]
        clean = [depths.remove_flying_pixels(one.depth) for one in seen]
        points = [depths.backproject(z, one.camera) for z, one in zip(clean, seen, strict=True)]
        poses = [invert(seen[0].pose) @ one.pose for one in seen]
        support = find_common_support(points, poses, np.random.default_rng(cfg.seed))
        table = table_view(seen[0].color, clean[0], points[0], support)
        metres *= anchor.size_m / _extent(_object_points(table, box, view.scale, anchor), anchor.axis)
    return metres


def _same_name(a: str, b: str) -> bool:
    return a.replace("_", " ").strip().lower() == b.replace("_", " ").strip().lower()


def _object_points(table: TableView, box: UserBox | None, shrink: float, anchor: ScaleAnchor) -> NDArray[np.float64]:
    """(N, 3) [provisional m] of the object in the box, or of the only large thing on the support."""
    labels = segment_boxes(table, shrink * np.array([box.xyxy])) if box else _things(table)
    counts = np.bincount(labels.ravel(), minlength=3)
    counts[0] = 0
    ranked = np.sort(counts)[::-1]
    if ranked[0] < LEAST_PIXELS:
        raise InputError(f"the object {anchor.name!r} was not found on the support")
    if not box and ranked[1] > 0.5 * ranked[0]:
        raise InputError(f"which object is {anchor.name!r}? draw a box with that name (boxes.json)")
    return table.world[(labels == counts.argmax()) & table.valid].astype(float)


def _things(table: TableView) -> NDArray[np.int32]:
    """Label (H, W) what stands on the support, whole: things that touch are one, gaps in the depth do not part them."""
    mask = raised(table).astype(np.uint8)
    joined = cv2.connectedComponents(cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((GAP_PX, GAP_PX), np.uint8)))[1]
    return np.where(mask > 0, joined, 0).astype(np.int32)


def _extent(points: NDArray[np.float64], axis: str) -> float:
    """[m] Of points (N, 3), world frame: z above the support; x the longer, y the shorter side seen from above."""
    height = float(np.percentile(points[:, 2], 99.5))
    if axis == "z":
        return height
    flat = points[:, :2] - np.median(points[:, :2], axis=0)
    distance = np.linalg.norm(flat, axis=1)
    flat = flat[distance < 2 * np.percentile(distance, 90)]  # a few stray points would turn and stretch the rectangle
    _, sides, _ = cv2.minAreaRect(np.ascontiguousarray(flat, dtype=np.float32))
    return {"x": max(sides), "y": min(sides), "longest": max(height, *sides)}[axis]
