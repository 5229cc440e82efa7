"""From metric views to support, cameras and instances: where every reconstructor with depth ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from blueprint.backends.protocols import ReconstructorConfig
from blueprint.backends.reconstruction.sequence import Aligned, PosedView, align_views
from blueprint.backends.reconstruction.unseen import say_unexplained, say_unseen
from blueprint.core.errors import InputError, SettingsError
from blueprint.core.report import log
from blueprint.formats import images
from blueprint.formats.obj import TexturedMesh, write_obj
from blueprint.geometry import depth as depths
from blueprint.geometry.segmentation import naming
from blueprint.geometry.segmentation.label_fusion import LabelView, carry, compact, fuse_labels
from blueprint.geometry.segmentation.objects import TableView, refine, segment_automatic, segment_boxes
from blueprint.geometry.table.shelf import Wall, behind_walls, board, enclosed, find_walls, true_up
from blueprint.geometry.table.support import (
    FoundSupport,
    RgbdImage,
    carrying_polygon,
    find_common_support,
    find_support,
    levelled,
    support_pixels,
    table_view,
    to_size,
    working_image,
)
from blueprint.geometry.table.support_texture import PlaneView, plane_texture
from blueprint.geometry.transforms import Array, invert, matrix_to_rows, transform_points
from blueprint.model.artifacts import Capture, Reconstruction
from blueprint.model.capture import UserBox
from blueprint.model.scene import CameraView, Instance, StaticPart, Support

__all__ = ["PosedView", "reconstruct_views"]

THICKNESS_M = 0.02  # of the slab that stands for the table; its underside is not seen


@dataclass(frozen=True)
class Segments:
    """labels (H, W); for each label its user's name, if any, and where the mask comes from."""

    labels: NDArray[np.int32]
    names: dict[int, str]
    source: str


@dataclass(frozen=True)
class Look:
    """A view on the found support. work: at working size; table: as segmentation sees it; support: with its pose."""

    frame: PosedView
    work: RgbdImage
    table: TableView
    support: FoundSupport


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
    Raises InputError when views do not fit together, no support is in view or nothing stands on it, SettingsError for
    absent boxes, masks.
    """
    marked = _marked(views, capture, cfg)
    aligned = align_views(views, cfg.seed, marked)
    looks, walls = _looks(aligned, cfg, up_hint)
    segments = _segment_all(capture, looks, cfg, marked)
    labels = [_full(look, one.labels) for look, one in zip(looks, segments, strict=True)]
    instances = name_instances(segments, labels, [look.table for look in looks])
    if not instances:
        raise InputError(
            f"nothing stands on the table in frame {looks[0].frame.id}",
            "objects must rise at least 1 cm above it; or draw a box around each: reconstruction.boxes=boxes.json",
        )
    say_unseen(instances, labels, [look.frame.depth for look in looks])
    for look, image in zip(looks, labels, strict=True):
        if empty := aligned.empty.get(look.frame.id):
            say_unexplained(look.frame.id, look.frame.color, empty.color, on_support(look), image)
    for look, image in zip(looks, labels, strict=True):
        images.write_color(out / "color" / f"{look.frame.id}.png", look.frame.color)
        images.write_depth(out / "depth" / f"{look.frame.id}.npy", look.frame.depth)
        images.write_labels(out / "labels" / f"{look.frame.id}.png", image)
    return Reconstruction(
        views=tuple(_view(look) for look in looks),
        support=_support(looks, [one.labels for one in segments], walls, out),
        instances=instances,
        statics=_statics(walls, out),
        depth_sigma_m=looks[0].support.sigma_at_1m,
        up_source="normal of the support plane" if up_hint is None else "gravity as given",
        scale_source=scale_source,
        licences=dict(licences or {}),
    )


def _marked(views: Sequence[PosedView], capture: Capture, cfg: ReconstructorConfig) -> frozenset[str]:
    """Ids of the views that carry the marks (masks or boxes) which the settings ask for. Raises SettingsError."""
    ids = {view.id for view in views}
    if cfg.masks:
        found = frozenset(view.id for view in views if view.mask is not None)
        if not found:
            where = f"frame {views[0].id} has" if len(views) == 1 else "the frames have"
            raise SettingsError(f"reconstruction.masks is set, but {where} no mask", "add it, or unset it")
        return found
    if cfg.boxes is None:
        return frozenset()
    found = frozenset(box.frame for box in capture.boxes if box.file == cfg.boxes and box.frame in ids)
    if not found:
        others = sorted({box.file for box in capture.boxes})
        raise SettingsError(
            f"reconstruction.boxes={cfg.boxes}: the capture has no boxes of that file for "
            f"frame{'s' if len(views) > 1 else ''} {', '.join(view.id for view in views[:6])}",
            f"box files of this capture: {', '.join(others) or 'none'}",
        )
    return found


def _looks(
    aligned: Aligned, cfg: ReconstructorConfig, up_hint: NDArray[np.float64] | None
) -> tuple[list[Look], tuple[Wall, ...]]:
    """The views on their common support, and the walls around it."""
    frames = aligned.views
    works = [working_image(frame.color, frame.depth, frame.camera) for frame in frames]
    points = [depths.backproject(work.depth, work.camera) for work in works]
    T_first = frames[0].pose
    poses = [invert(T_first) @ frame.pose for frame in frames]
    rng = np.random.default_rng(cfg.seed)
    if len(frames) == 1 and up_hint is None:
        found = find_support(points[0], works[0].depth, rng, f"frame {frames[0].id}")
    else:
        up = None if up_hint is None else T_first[:3, :3].T @ (up_hint / np.linalg.norm(up_hint))
        found = find_common_support(points, poses, rng, up)
    looks = _seen_from(frames, works, points, poses, found)
    surface = _surface(looks, aligned.empty)
    walls = find_walls(*surface, found.polygon, np.random.default_rng(cfg.seed))
    if walls and len(frames) > 1:
        up = true_up(*surface, found.polygon)
        found = levelled(found, up, points, poses)
        log("the support is levelled by what stands upright", tilt_deg=round(float(np.rad2deg(np.arccos(up[2]))), 2))
        looks = _seen_from(frames, works, points, poses, found)
        walls = find_walls(*_surface(looks, aligned.empty), found.polygon, np.random.default_rng(cfg.seed))
    if walls:
        log("the support is enclosed", walls=len(walls), heights_m=[round(wall.top_m, 3) for wall in walls])
        inner = enclosed(found.polygon, walls)
        looks = [_inside(look, inner, walls) for look in looks]
    return [_without_empty(look, aligned.empty.get(look.frame.id)) for look in looks], walls


def _seen_from(
    frames: list[PosedView],
    works: list[RgbdImage],
    points: list[NDArray[np.float32]],
    poses: list[Array],
    found: FoundSupport,
) -> list[Look]:
    """Each view above the support. poses: into the first view's camera frame."""
    looks = []
    for frame, work, point, T in zip(frames, works, points, poses, strict=True):
        support = replace(found, T_world_camera=found.T_world_camera @ T)
        looks.append(Look(frame, work, table_view(work.color, work.depth, point, support), support))
    return looks


def _surface(looks: list[Look], empty: Mapping[str, PosedView]) -> tuple[Array, Array]:
    """Points and normals (N, 3), world frame, of all views without marked objects, or of the empty pictures."""
    points, normals = [], []
    for look in looks:
        frame = empty.get(look.frame.id, look.frame)
        T = look.support.T_world_camera
        camera = depths.backproject(frame.depth, frame.camera)
        n = depths.surface_normals(camera, frame.depth > 0)
        known = (frame.depth > 0) & (np.abs(n).sum(axis=2) > 0)
        if frame.mask is not None:
            known &= frame.mask == 0
        points.append(transform_points(T, camera[known]))
        normals.append(n[known] @ T[:3, :3].T)
    return np.concatenate(points), np.concatenate(normals)


def _inside(look: Look, polygon: Array, walls: tuple[Wall, ...]) -> Look:
    """The view with the walls taken for support: what is on or behind them is no object."""
    inner = replace(look.support, polygon=polygon)
    points = depths.backproject(look.work.depth, look.work.camera)
    table = table_view(look.work.color, look.work.depth, points, inner)
    return _as_support(Look(look.frame, look.work, table, inner), behind_walls(walls, table.world, table.sigma))


def on_support(look: Look) -> NDArray[np.bool_]:
    """Pixels (H, W) of the frame that look at the support's outline, whatever stands there."""
    camera, T = look.frame.camera, invert(look.support.T_world_camera)
    polygon = look.support.polygon
    local = transform_points(T, np.column_stack([polygon, np.zeros(len(polygon))]))
    out = np.zeros((camera.height, camera.width), np.uint8)
    if (local[:, 2] > 0.05).all():
        cv2.fillConvexPoly(out, np.rint(depths.project(local, camera)).astype(np.int32), 1)
    return out > 0


def _as_support(look: Look, mask: NDArray[np.bool_]) -> Look:
    world = look.table.world.copy()
    world[mask, 2] = 0
    table = replace(look.table, world=world, over=look.table.over & ~mask, near=look.table.near & ~mask)
    return replace(look, table=table)


def _without_empty(look: Look, empty: PosedView | None) -> Look:
    """What looks the same without the objects is none of them."""
    if empty is None:
        return look
    before = working_image(empty.color, empty.depth, empty.camera)
    both = (before.depth > 0) & (look.work.depth > 0)
    nearer = before.depth - look.work.depth
    inside = both & look.table.over
    noise = 1.4826 * float(np.median(np.abs(nearer[inside]))) if inside.any() else 0.0  # of two pictures alike
    limit = np.maximum(0.005, 4 * noise * look.work.depth / max(float(np.median(look.work.depth[both])), 1e-6))
    look = _as_support(look, both & (np.abs(nearer) < limit))
    world = look.table.world.copy()
    thing = both & (nearer > limit) & look.table.over
    world[thing, 2] = np.maximum(world[thing, 2], look.table.clear[thing] + 0.001)  # however the floor is bent there
    return replace(look, table=replace(look.table, world=world))


def _segment_all(
    capture: Capture, looks: list[Look], cfg: ReconstructorConfig, marked: frozenset[str]
) -> list[Segments]:
    """Labels of every view; a number means the same object in all."""
    if len(looks) == 1:
        return [_segment(capture, looks[0], cfg)]
    segments = [
        _segment(capture, look, cfg)
        if not marked or look.frame.id in marked
        else Segments(np.zeros(look.table.depth.shape, np.int32), {}, "box" if cfg.boxes else "mask")
        for look in looks
    ]
    views = [
        LabelView(look.table, look.work.camera, look.support.T_world_camera, one.labels)
        for look, one in zip(looks, segments, strict=True)
    ]
    if not marked:
        return [Segments(labels, {}, "auto") for labels in fuse_labels(views)]
    names = {label: name for one in segments for label, name in one.names.items()}
    carried = carry(views, [one.labels for one in segments])
    return [
        replace(one, labels=one.labels if look.frame.id in marked else _sharp(look.table, labels), names=names)
        for look, one, labels in zip(looks, segments, carried, strict=True)
    ]


def _sharp(view: TableView, labels: NDArray[np.int32]) -> NDArray[np.int32]:
    """Carried labels with their outlines moved to the edges of this picture."""
    used = np.unique(labels[labels > 0])
    if not len(used):
        return labels
    return np.concatenate([[0], used]).astype(np.int32)[refine(view, compact([labels])[0])]


def _full(look: Look, labels: NDArray[np.int32] | NDArray[np.bool_]) -> NDArray[np.int32]:
    return to_size(labels, look.frame.camera.width, look.frame.camera.height)


def _view(look: Look) -> CameraView:
    frame = look.frame
    return CameraView(
        frame=frame.id,
        camera=frame.camera,
        T_world_camera=matrix_to_rows(look.support.T_world_camera),
        color=f"color/{frame.id}.png",
        depth=f"depth/{frame.id}.npy",
        labels=f"labels/{frame.id}.png",
    )


def _support(looks: list[Look], labels: list[NDArray[np.int32]], walls: tuple[Wall, ...], out: Path) -> Support:
    """The support with its texture, which is written to `out`. labels: (h, w) at working size."""
    found = looks[0].support
    polygon = found.polygon
    for look, image in zip(looks, labels, strict=True):
        polygon = carrying_polygon(polygon, look.table, image)
    planes = [
        PlaneView(
            look.frame.color,
            _full(look, support_pixels(look.table, image)) > 0,
            look.frame.camera,
            look.support.T_world_camera,
        )
        for look, image in zip(looks, labels, strict=True)
    ]
    texture = plane_texture(polygon, planes)
    images.write_color(out / "support.png", texture.image)
    return Support(
        polygon=tuple((float(x), float(y)) for x, y in polygon),
        residual_m=found.residual_m,
        thickness_m=THICKNESS_M,
        texture="support.png",
        texture_bounds=texture.bounds,
        seen_fraction=texture.seen,
    )


def _statics(walls: tuple[Wall, ...], out: Path) -> tuple[StaticPart, ...]:
    """Boards where walls were measured, written below `out`; each is convex, so its mesh is its collider."""
    parts = []
    for k, wall in enumerate(walls, start=1):
        file = f"statics/wall_{k}/board.obj"
        (out / file).parent.mkdir(parents=True, exist_ok=True)
        write_obj(TexturedMesh(*board(wall)), out / file)
        parts.append(StaticPart(name=f"wall_{k}", text="wall of the container", mesh=file, colliders=(file,)))
    return tuple(parts)


def _segment(capture: Capture, look: Look, cfg: ReconstructorConfig) -> Segments:
    """Masks before boxes before automatic, as the settings ask."""
    frame, view = look.frame, look.table
    if cfg.masks and frame.mask is not None:
        names = {name.label: name.name for name in capture.names}
        labels = frame.mask.astype(np.int32)
        return Segments(to_size(labels, view.depth.shape[1], view.depth.shape[0]), names, "mask")
    if cfg.boxes is None:
        return Segments(segment_automatic(view), {}, "auto")
    boxes = _boxes(capture, frame.id, cfg.boxes)
    found = segment_boxes(view, look.work.scale * np.array([box.xyxy for box in boxes]))
    number = np.array([0, *(box.label for box in boxes)], dtype=np.int32)
    return Segments(number[found], {box.label: box.name for box in boxes}, "box")


def _boxes(capture: Capture, frame: str, file: str) -> tuple[UserBox, ...]:
    return tuple(box for box in capture.boxes if box.file == file and box.frame == frame)


def name_instances(
    segments: list[Segments], labels: list[NDArray[np.int32]], views: list[TableView]
) -> tuple[Instance, ...]:
    """An Instance per label that has pixels; unique slugs; a user's name as text, else one by rule.

    labels: (H, W) of each whole frame, in which pixels are counted
    """
    instances: list[Instance] = []
    taken: set[str] = set()
    for label in sorted({int(n) for one in segments for n in np.unique(one.labels[one.labels > 0])}):
        masks = [one.labels == label for one in segments]
        best = max(range(len(masks)), key=lambda i: (int(masks[i].sum()), -i))
        given = segments[best].names.get(label)
        text = given.replace("_", " ") if given else naming.describe(views[best].color[masks[best]], label)
        name = naming.slug(given or f"object_{label}", taken)
        taken.add(name)
        instances.append(
            Instance(
                name=name,
                label=label,
                text=text,
                text_source="user" if given else "rule",
                mask_source=segments[best].source,  # type: ignore[arg-type]
                pixels=sum(int((image == label).sum()) for image in labels),
                confidence=confidence(masks, views),
            )
        )
    return tuple(instances)


def confidence(masks: list[NDArray[np.bool_]], views: list[TableView]) -> float:
    """In [0, 1]: share of the masks that was measured above the table; masks without depth are guesses."""
    measured = sum(int((m & v.valid & (v.height > 0.5 * v.clear)).sum()) for m, v in zip(masks, views, strict=True))
    return round(float(measured / max(sum(int(m.sum()) for m in masks), 1)), 3)
