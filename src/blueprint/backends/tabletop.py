"""From metric views to support, cameras and instances: where every reconstructor with depth ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from blueprint.backends.protocols import ReconstructorConfig
from blueprint.core.errors import InputError, SettingsError
from blueprint.core.report import warn
from blueprint.formats import images
from blueprint.geometry import depth as depths
from blueprint.geometry import naming
from blueprint.geometry.segmentation import TableView, segment_automatic, segment_boxes
from blueprint.geometry.support import (
    FoundSupport,
    carrying_polygon,
    find_support,
    support_pixels,
    table_view,
    to_size,
    working_image,
)
from blueprint.geometry.support_texture import PlaneView, plane_texture
from blueprint.geometry.transforms import matrix_to_rows
from blueprint.model.artifacts import Capture, Reconstruction
from blueprint.model.capture import Camera, UserBox
from blueprint.model.scene import CameraView, Instance, Support

THICKNESS_M = 0.02  # of the slab that stands for the table; its underside is not seen


@dataclass(frozen=True)
class PosedView:
    """One metric view. id: of its frame; color (H, W, 3) uint8; depth (H, W) float32 [m], 0 = none;

    T_world_camera (4, 4) in the capture's own world, None = unknown; mask (H, W): user labels, 0 = background, or None
    """

    id: str
    color: NDArray[np.uint8]
    depth: NDArray[np.float32]
    camera: Camera
    T_world_camera: NDArray[np.float64] | None = None
    mask: NDArray[np.integer] | None = None


@dataclass(frozen=True)
class Segments:
    """labels (H, W); for each label its user's name, if any, and where the mask comes from."""

    labels: NDArray[np.int32]
    names: dict[int, str]
    source: str


def reconstruct_views(
    views: Sequence[PosedView],
    capture: Capture,
    cfg: ReconstructorConfig,
    out: Path,
    *,
    scale_source: str = "depth sensor",
    licences: Mapping[str, bool] | None = None,
    up_hint: NDArray[np.float64] | None = None,
) -> Reconstruction:
    """Find the support and the objects on it; write what `Reconstruction` lists into `out`.

    World of the result: z up from the support, y along the first view. capture: for its boxes and names
    up_hint: (3,) up in the capture's own world, where it is known
    Raises InputError when no support is in view or nothing stands on it, SettingsError for absent boxes, masks.
    """
    first = views[0]
    if len(views) > 1:
        warn(f"{len(views)} views; only {first.id} is used", cure="sequences are being built")
    depth = depths.remove_flying_pixels(first.depth)
    work = working_image(first.color, depth, first.camera)
    points = depths.backproject(work.depth, work.camera)
    support = find_support(points, work.depth, np.random.default_rng(cfg.seed), f"frame {first.id}")
    view = table_view(work.color, work.depth, points, support)
    segments = _segment(capture, first, view, work.scale, cfg)
    labels = to_size(segments.labels, first.camera.width, first.camera.height)
    instances = name_instances(segments, labels, view)
    if not instances:
        raise InputError(
            f"nothing stands on the table in frame {first.id}",
            "objects must rise at least 1 cm above it; or draw a box around each: reconstruction.boxes=boxes.json",
        )
    images.write_color(out / "color" / f"{first.id}.png", first.color)
    images.write_depth(out / "depth" / f"{first.id}.npy", depth)
    images.write_labels(out / "labels" / f"{first.id}.png", labels)
    return Reconstruction(
        views=(_view(first, support),),
        support=_support(support, view, segments.labels, first, out),
        instances=instances,
        depth_sigma_m=support.sigma_at_1m,
        up_source="normal of the support plane",
        scale_source=scale_source,
        licences=dict(licences or {}),
    )


def _view(view: PosedView, support: FoundSupport) -> CameraView:
    return CameraView(
        frame=view.id,
        camera=view.camera,
        T_world_camera=matrix_to_rows(support.T_world_camera),
        color=f"color/{view.id}.png",
        depth=f"depth/{view.id}.npy",
        labels=f"labels/{view.id}.png",
    )


def _support(found: FoundSupport, view: TableView, labels: NDArray[np.int32], frame: PosedView, out: Path) -> Support:
    """The support with its texture, which is written to `out`. labels: (h, w) of `view`; frame: the whole picture."""
    polygon = carrying_polygon(found.polygon, view, labels)
    free = to_size(support_pixels(view, labels), frame.camera.width, frame.camera.height) > 0
    texture = plane_texture(polygon, [PlaneView(frame.color, free, frame.camera, found.T_world_camera)])
    images.write_color(out / "support.png", texture.image)
    return Support(
        polygon=tuple((float(x), float(y)) for x, y in polygon),
        residual_m=found.residual_m,
        thickness_m=THICKNESS_M,
        texture="support.png",
        texture_bounds=texture.bounds,
        seen_fraction=texture.seen,
    )


def _segment(capture: Capture, frame: PosedView, view: TableView, scale: float, cfg: ReconstructorConfig) -> Segments:
    """Masks before boxes before automatic, as the settings ask. scale: of `view` relative to the frame."""
    if cfg.masks:
        if frame.mask is None:
            raise SettingsError(f"reconstruction.masks is set, but frame {frame.id} has no mask", "add it, or unset it")
        names = {name.label: name.name for name in capture.names}
        labels = frame.mask.astype(np.int32)
        return Segments(to_size(labels, view.depth.shape[1], view.depth.shape[0]), names, "mask")
    if cfg.boxes is None:
        return Segments(segment_automatic(view), {}, "auto")
    boxes = _boxes(capture, frame, cfg.boxes)
    found = segment_boxes(view, scale * np.array([box.xyxy for box in boxes]))
    number = np.array([0, *(box.label for box in boxes)], dtype=np.int32)
    return Segments(number[found], {box.label: box.name for box in boxes}, "box")


def _boxes(capture: Capture, frame: PosedView, file: str) -> tuple[UserBox, ...]:
    boxes = tuple(box for box in capture.boxes if box.file == file and box.frame == frame.id)
    if not boxes:
        others = sorted({box.file for box in capture.boxes})
        raise SettingsError(
            f"reconstruction.boxes={file}: the capture has no boxes of that file for frame {frame.id}",
            f"box files of this capture: {', '.join(others) or 'none'}",
        )
    return boxes


def name_instances(segments: Segments, labels: NDArray[np.int32], view: TableView) -> tuple[Instance, ...]:
    """An Instance per label that has pixels; unique slugs; a user's name as text, else one by rule.

    labels: (H, W) of the whole frame, in which pixels are counted
    """
    instances: list[Instance] = []
    taken: set[str] = set()
    for label in np.unique(segments.labels[segments.labels > 0]).tolist():
        mask = segments.labels == label
        given = segments.names.get(label)
        text = given.replace("_", " ") if given else naming.describe(view.color[mask], label)
        name = naming.slug(given or f"object_{label}", taken)
        taken.add(name)
        instances.append(
            Instance(
                name=name,
                label=label,
                text=text,
                text_source="user" if given else "rule",
                mask_source=segments.source,  # type: ignore[arg-type]
                pixels=int((labels == label).sum()),
                confidence=confidence(mask, view),
            )
        )
    return tuple(instances)


def confidence(mask: NDArray[np.bool_], view: TableView) -> float:
    """In [0, 1]: share of the mask that was measured above the table; masks without depth are guesses."""
    measured = mask & view.valid & (view.height > 0.5 * view.clear)
    return round(float(measured.sum() / max(int(mask.sum()), 1)), 3)
