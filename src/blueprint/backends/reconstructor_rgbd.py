"""Classical reconstruction from measured depth: planes by RANSAC, objects by geometry and colour; no learned weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from blueprint.backends.protocols import ReconstructorConfig
from blueprint.core.errors import InputError
from blueprint.core.report import log
from blueprint.formats import images
from blueprint.geometry import depth as depths
from blueprint.geometry import planes
from blueprint.geometry.segmentation import TableView, raised, segment_automatic
from blueprint.geometry.support_texture import PlaneView, plane_texture
from blueprint.geometry.transforms import invert, matrix_to_rows, transform_points
from blueprint.model.artifacts import Capture, Reconstruction
from blueprint.model.capture import Frame
from blueprint.model.scene import CameraView, Instance, Support

LEAST_AREA_M2 = 0.01
THICKNESS_M = 0.02


class ReconstructorRgbd:
    """`reconstruct` finds the table in the first frame, and the objects on it."""

    name = "rgbd"
    version = "1"

    def reconstruct(self, capture: Capture, cfg: ReconstructorConfig, out: Path) -> Reconstruction:
        rng = np.random.default_rng(cfg.seed)
        first = capture.frames[0]
        color = images.read_color(capture.path(first.color))
        depth = depths.remove_flying_pixels(np.load(capture.path(first.depth), allow_pickle=False))
        points = depths.backproject(depth, first.camera)
        support = find_support(points, depth, rng, capture.path(first.depth).name)
        view = table_view(color, depth, points, support)
        labels = segment_automatic(view)
        instances = tuple(
            Instance(
                name=f"object_{i}",
                label=i,
                text=f"object {i}",
                text_source="rule",
                mask_source="auto",
                pixels=int((labels == i).sum()),
                confidence=0.5,
            )
            for i in range(1, int(labels.max()) + 1)
        )
        if not instances:
            raise InputError("nothing stands on the table", "is the right surface in view?")
        images.write_color(out / "color" / f"{first.id}.png", color)
        images.write_depth(out / "depth" / f"{first.id}.npy", depth)
        images.write_labels(out / "labels" / f"{first.id}.png", labels)
        T = support.T_world_camera
        free = (labels == 0) & view.valid & (np.abs(view.height) < 2 * view.clear) & ~raised(view)
        texture = plane_texture(support.polygon, [PlaneView(color, free, first.camera, T)])
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
                polygon=tuple((float(x), float(y)) for x, y in support.polygon),
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


from dataclasses import dataclass  # noqa: E402


@dataclass(frozen=True)
class FoundSupport:
    """polygon (K, 2) [m] world; T_world_camera (4, 4)"""

    T_world_camera: NDArray[np.float64]
    polygon: NDArray[np.float64]
    residual_m: float
    sigma_at_1m: float


def find_support(
    points: NDArray[np.float32], depth: NDArray[np.float32], rng: np.random.Generator, name: str
) -> FoundSupport:
    valid = (depth > 0) & (depth < 2.5)
    cloud = points[valid].astype(float)
    candidates = planes.support_candidates(cloud, rng)
    if not candidates:
        raise InputError(f"{name} shows no plane", "the picture must show part of the table")
    best = max(candidates, key=lambda c: c.score)
    log("support candidates", scores=[round(c.score, 3) for c in candidates])
    height = best.plane.height(cloud)
    on = np.abs(height) < planes.plane_tolerance(cloud[:, 2])
    T = planes.world_from_camera(best.plane, np.median(cloud[on], axis=0))
    polygon = planes.support_polygon(transform_points(T, cloud[on])[:, :2])
    middle = (polygon.min(axis=0) + polygon.max(axis=0)) / 2
    T[:2, 3] -= middle
    polygon = polygon - middle
    return FoundSupport(
        T, polygon, float(np.sqrt((height[on] ** 2).mean())), depths.estimate_sigma(cloud[on, 2], height[on])
    )


def table_view(
    color: NDArray[np.uint8], depth: NDArray[np.float32], points: NDArray[np.float32], support: FoundSupport
) -> TableView:
    T = support.T_world_camera
    world = transform_points(T, points).astype(np.float32)
    normal = (depths.surface_normals(points, depth > 0) @ T[:3, :3].T).astype(np.float32)
    return TableView(
        color=color,
        depth=depth,
        world=world,
        normal=normal,
        sigma=depths.depth_sigma(depth, support.sigma_at_1m),
        over=planes.inside_polygon(support.polygon, world[..., :2], 0.01) & (depth > 0),
    )
