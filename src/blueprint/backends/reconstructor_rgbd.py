"""Classical reconstruction from measured depth: plane by RANSAC, objects by geometry and colour, no learned weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from blueprint.backends.protocols import ReconstructorConfig
from blueprint.core.errors import InputError, SettingsError
from blueprint.core.report import log
from blueprint.formats import images
from blueprint.geometry import depth as depths
from blueprint.geometry import naming, planes
from blueprint.geometry.cutout import grow
from blueprint.geometry.segmentation import TableView, raised, segment_automatic, segment_boxes
from blueprint.geometry.support_texture import PlaneView, plane_texture
from blueprint.geometry.transforms import matrix_to_rows, transform_points
from blueprint.model.artifacts import Capture, Reconstruction
from blueprint.model.capture import Frame, UserBox
from blueprint.model.scene import CameraView, Instance, Support

LEAST_TABLE_M2 = 0.01
FARTHEST_M = 2.5  # beyond, the noise of table-top sensors hides what stands on a table
HALO_PX = 5  # colour and depth disagree by as much at edges
NEAR_M = 0.08  # an object at the table's edge hides at most this much of the table behind its own foot
LEVEL_COSINE = 0.9  # a surface at the table's height that is steeper than 25 deg is not the table
THICKNESS_M = 0.02  # of the slab that stands for the table; its underside is not seen


@dataclass(frozen=True)
class FoundSupport:
    """T_world_camera (4, 4) of the first frame; polygon (K, 2) [m], world; residual_m: RMS; sigma_at_1m [m]: noise"""

    T_world_camera: NDArray[np.float64]
    polygon: NDArray[np.float64]
    residual_m: float
    sigma_at_1m: float


@dataclass(frozen=True)
class Segments:
    """labels (H, W); for each label its user's name, if any, and where the mask comes from."""

    labels: NDArray[np.int32]
    names: dict[int, str]
    source: str


class ReconstructorRgbd:
    """Finds the table in the first frame and the objects on it. World: z up from the table, y along the view."""

    name = "rgbd"
    version = "1"

    def reconstruct(self, capture: Capture, cfg: ReconstructorConfig, out: Path) -> Reconstruction:
        """Raises InputError when no table is in view or nothing stands on it, SettingsError for absent boxes, masks."""
        first = capture.frames[0]
        color = images.read_color(capture.path(first.color))
        depth = depths.remove_flying_pixels(np.load(capture.path(first.depth), allow_pickle=False))
        points = depths.backproject(depth, first.camera)
        support = find_support(points, depth, np.random.default_rng(cfg.seed), f"frame {first.id}")
        view = table_view(color, depth, points, support)
        segments = _segment(capture, first, view, cfg)
        instances = name_instances(segments, view)
        if not instances:
            raise InputError(
                f"nothing stands on the table in frame {first.id}",
                "objects must rise at least 1 cm above it; or draw a box around each: reconstruction.boxes=boxes.json",
            )
        images.write_color(out / "color" / f"{first.id}.png", color)
        images.write_depth(out / "depth" / f"{first.id}.npy", depth)
        images.write_labels(out / "labels" / f"{first.id}.png", segments.labels)
        T = support.T_world_camera
        polygon = carrying_polygon(support.polygon, view, segments.labels)
        texture = plane_texture(polygon, [PlaneView(color, support_pixels(view, segments.labels), first.camera, T)])
        images.write_color(out / "support.png", texture.image)
        return Reconstruction(
            views=(
                CameraView(
                    frame=first.id,
                    camera=first.camera,
                    T_world_camera=matrix_to_rows(T),
                    color=f"color/{first.id}.png",
                    depth=f"depth/{first.id}.npy",
                    labels=f"labels/{first.id}.png",
                ),
            ),
            support=Support(
                polygon=tuple((float(x), float(y)) for x, y in polygon),
                residual_m=support.residual_m,
                thickness_m=THICKNESS_M,
                texture="support.png",
                texture_bounds=texture.bounds,
                seen_fraction=texture.seen,
            ),
            instances=instances,
            depth_sigma_m=support.sigma_at_1m,
            up_source="normal of the support plane",
        )


def find_support(
    points: NDArray[np.float32], depth: NDArray[np.float32], rng: np.random.Generator, where: str
) -> FoundSupport:
    """The plane that carries the objects, from the points (H, W, 3) [m] of one frame. Raises InputError."""
    near = (depth > 0) & (depth < FARTHEST_M)
    cloud = points[near].astype(float)
    candidates = planes.support_candidates(cloud, rng) if len(cloud) > 1000 else []
    if not candidates:
        raise InputError(
            f"{where} shows no flat surface within {FARTHEST_M} m",
            "the table must be in view, nearer than that, and not of glass or mirror",
        )
    best = max(candidates, key=lambda c: c.score)
    log("support planes", scores=[round(float(c.score), 3) for c in candidates])
    height = best.plane.height(cloud)
    on = np.abs(height) < planes.plane_tolerance(cloud[:, 2])
    T = planes.world_from_camera(best.plane, np.median(cloud[on], axis=0))
    level = depths.surface_normals(points, depth > 0)[near] @ best.plane.normal > LEVEL_COSINE
    polygon = planes.support_polygon(transform_points(T, cloud[on & level])[:, :2])
    middle = (polygon.min(axis=0) + polygon.max(axis=0)) / 2
    T[:2, 3] -= middle
    if planes.signed_area(polygon) < LEAST_TABLE_M2:
        raise InputError(
            f"the only flat surface in {where} that could carry objects measures "
            f"{1e4 * planes.signed_area(polygon):.0f} cm2",
            "show more of the table: at least a hand's breadth around the objects",
        )
    residual = float(np.sqrt((height[on] ** 2).mean()))
    return FoundSupport(T, polygon - middle, residual, depths.estimate_sigma(cloud[on, 2], height[on]))


def table_view(
    color: NDArray[np.uint8], depth: NDArray[np.float32], points: NDArray[np.float32], support: FoundSupport
) -> TableView:
    """The frame as segmentation looks at it. points: (H, W, 3) [m], camera frame."""
    T = support.T_world_camera
    world = transform_points(T, points).astype(np.float32)
    normal = (depths.surface_normals(points, depth > 0) @ T[:3, :3].T).astype(np.float32)
    return TableView(
        color=color,
        depth=depth,
        world=world,
        normal=normal,
        sigma=depths.depth_sigma(depth, support.sigma_at_1m),
        over=planes.inside_polygon(support.polygon, world[..., :2]) & (depth > 0),
        near=planes.inside_polygon(support.polygon, world[..., :2], NEAR_M) & (depth > 0),
    )


def carrying_polygon(polygon: NDArray[np.float64], view: TableView, labels: NDArray[np.int32]) -> NDArray[np.float64]:
    """The outline (K, 2) [m] grown to hold what was seen of every object: it stands, so there is table below it."""
    seen = (labels > 0) & view.valid & view.near
    return planes.convex_polygon(np.concatenate([polygon, view.world[seen][:, :2]]))


def support_pixels(view: TableView, labels: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Pixels (H, W) that show the support itself, clear of the objects' blurred edges."""
    flat = view.valid & view.over & (np.abs(view.height) < view.clear)
    return flat & ~grow((labels > 0) | raised(view), HALO_PX)


def _segment(capture: Capture, frame: Frame, view: TableView, cfg: ReconstructorConfig) -> Segments:
    """Masks before boxes before automatic, as the settings ask."""
    if cfg.masks:
        if frame.mask is None:
            raise SettingsError(f"reconstruction.masks is set, but frame {frame.id} has no mask", "add it, or unset it")
        labels = images.read_labels(capture.path(frame.mask)).astype(np.int32)
        names = {name.label: name.name for name in capture.names}
        return Segments(labels, names, "mask")
    if cfg.boxes is None:
        return Segments(segment_automatic(view), {}, "auto")
    boxes = _boxes(capture, frame, cfg.boxes)
    found = segment_boxes(view, np.array([box.xyxy for box in boxes]))
    number = np.array([0, *(box.label for box in boxes)], dtype=np.int32)
    return Segments(number[found], {box.label: box.name for box in boxes}, "box")


def _boxes(capture: Capture, frame: Frame, file: str) -> tuple[UserBox, ...]:
    boxes = tuple(box for box in capture.boxes if box.file == file and box.frame == frame.id)
    if not boxes:
        others = sorted({box.file for box in capture.boxes})
        raise SettingsError(
            f"reconstruction.boxes={file}: the capture has no boxes of that file for frame {frame.id}",
            f"box files of this capture: {', '.join(others) or 'none'}",
        )
    return boxes


def name_instances(segments: Segments, view: TableView) -> tuple[Instance, ...]:
    """An Instance per label that has pixels; unique slugs; a user's name as text, else one by rule."""
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
                pixels=int(mask.sum()),
                confidence=confidence(mask, view),
            )
        )
    return tuple(instances)


def confidence(mask: NDArray[np.bool_], view: TableView) -> float:
    """In [0, 1]: share of the mask that was measured above the table; masks without depth are guesses."""
    measured = mask & view.valid & (view.height > 0.5 * view.clear)
    return round(float(measured.sum() / max(int(mask.sum()), 1)), 3)
