"""Separate the objects that stand on a table, in the image of one RGB-D view."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from blueprint.geometry.completion.hollows import close_hollows
from blueprint.geometry.segmentation.components import Labels, depth_components, drop_small
from blueprint.geometry.segmentation.cutout import (
    Trimap,
    connected_to,
    cut,
    fill_holes,
    grow,
    hull_mask,
    resolve,
    shrink,
    smooth,
)
from blueprint.geometry.segmentation.parts import consensus, fine_groups, group_patches, label_bend, region_labels
from blueprint.geometry.segmentation.superpixels import PatchGraph, patch_graph
from blueprint.geometry.table.planes import REACH_M

Mask = NDArray[np.bool_]

LEAST_HEIGHT_M = 0.007
LEAST_PIXELS = 150
WITHIN_SHARE = 0.85  # of a piece, that makes it belong to a box
LEAST_SEED_SHARE = 0.08  # of a box; with less depth than that, colour alone decides
PATCH_SIDES_PX = (8.0, 10.0, 12.0)
LEAST_PIECE_PX = 40  # slivers on which patch sizes disagree
FOOT_M = 0.05  # what is nowhere seen lower than this does not stand on the support
STANDING_M = 0.010  # what comes this close to the table's noise stands on it


@dataclass(frozen=True)
class TableView:
    """What segmentation looks at; images (H, W).

    color: (H, W, 3) uint8 RGB; depth: [m], cleaned; world: (H, W, 3) [m], z = height above the support;
    normal: (H, W, 3) in the world, 0 where unknown; sigma: [m] noise of each reading; over: within the support's
    outline; near: above it or so close that what stands there may hide the support below itself
    """

    color: NDArray[np.uint8]
    depth: NDArray[np.float32]
    world: NDArray[np.float32]
    normal: NDArray[np.float32]
    sigma: NDArray[np.float32]
    over: Mask
    near: Mask

    @property
    def valid(self) -> Mask:
        return self.depth > 0

    @property
    def height(self) -> NDArray[np.float32]:
        return self.world[..., 2]

    @property
    def clear(self) -> NDArray[np.float32]:
        """Height [m] above which a reading is no longer the support."""
        return np.maximum(LEAST_HEIGHT_M, 2.0 * self.sigma).astype(np.float32)


def step_limit(view: TableView) -> NDArray[np.float32]:
    """Depth step [m] between neighbouring pixels that separates two surfaces."""
    return np.maximum(0.0072, 0.012 * view.depth).astype(np.float32)


def raised(view: TableView) -> Mask:
    """Pixels measured above the support, within reach of it and of its outline."""
    mask = view.valid & view.near & (view.height > view.clear) & (view.height < REACH_M)
    return cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0


def segment_automatic(view: TableView) -> Labels:
    """Label (H, W) each object 1.., 0 elsewhere."""
    return refine(view, split_touching(view, own_components(view)))


def split_touching(view: TableView, components: Labels) -> Labels:
    """Cut components that are several objects along their creases."""
    if not components.any():
        return components
    runs, graphs = [], []
    for side_px in PATCH_SIDES_PX:
        graph = patch_graph(components, view.color, view.depth, view.world, view.normal, side_px=side_px)
        low = np.full(len(graph.pixels), np.inf)
        np.minimum.at(low, graph.labels.ravel(), (view.height - view.clear).ravel() - STANDING_M)
        runs.append(region_labels(graph, group_patches(graph, low)))
        graphs.append(graph)
    labels = drop_small(consensus(runs), LEAST_PIECE_PX)
    return drop_small(_close(view, graphs[1], labels), LEAST_PIXELS)


def _close(view: TableView, graph: PatchGraph, labels: Labels, *, join: bool = True) -> Labels:
    """Give hollow objects their bottom. A patch counts to the label (H, W) that has most of its pixels."""
    count = int(labels.max()) + 1
    share = np.bincount(graph.labels.ravel().astype(np.int64) * count + labels.ravel(), minlength=0)
    share = np.pad(share, (0, len(graph.pixels) * count - len(share))).reshape(-1, count)
    group = share.argmax(axis=1)
    low = ~view.valid | (np.abs(view.height) <= 1.5 * view.clear)
    return close_hollows(labels, label_bend(graph, group), view.color, view.height, low, join=join)


def own_components(view: TableView) -> Labels:
    """Parts that rise above the support, cut at depth jumps; without what stands beside the support.

    Components are grown over the whole picture first, so that furniture behind the table, of which a corner reaches
    over the outline, is known by its larger rest.
    """
    off = view.valid & (np.abs(view.height) > view.clear)
    off = cv2.morphologyEx(off.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0
    parts = depth_components(off, view.depth, step_limit(view))
    mine = raised(view)
    total = np.maximum(np.bincount(parts.ravel()), 1)
    over = np.bincount(parts[off & view.over].ravel(), minlength=len(total)) / total
    lowest = np.full(len(total), np.inf)
    np.minimum.at(lowest, parts[mine], view.height[mine])
    keep = (lowest < FOOT_M) & (over > 0.5)
    keep[0] = False
    return drop_small(np.where(mine & keep[parts], parts, 0), LEAST_PIXELS)


def segment_boxes(view: TableView, boxes: NDArray[np.floating]) -> Labels:
    """Label (H, W) i + 1 the object that box i of (K, 4) [px: x_min, y_min, x_max, y_max] was drawn around."""
    areas = [box_mask(view, box) for box in boxes]
    parts = raised_parts(view, np.any(areas, axis=0) if areas else view.over)
    seeds = seed_boxes(view, parts, areas)
    return refine(view, seeds, areas)


def box_mask(view: TableView, box: NDArray[np.floating]) -> Mask:
    """Pixels (H, W) of an inclusive box, clipped to the image."""
    x0, y0, x1, y1 = (round(float(v)) for v in box)
    mask = np.zeros(view.depth.shape, bool)
    mask[max(y0, 0) : max(y1 + 1, 0), max(x0, 0) : max(x1 + 1, 0)] = True
    return mask


def raised_parts(view: TableView, within: Mask) -> Labels:
    """Depth components of what rises above the table, wherever it stands, within a mask (H, W)."""
    mask = within & view.valid & (view.height > view.clear) & (view.height < REACH_M)
    mask = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0
    return drop_small(depth_components(mask, view.depth, step_limit(view)), 30)


def seed_boxes(view: TableView, parts: Labels, areas: list[Mask]) -> Labels:
    """Give each piece of the picture to the box it lies in; label i + 1 for box i.

    A piece in several boxes goes to the smallest of them: the user drew the small box around something in front of
    or inside the large one, and the large object shows elsewhere in its own box as well.
    """
    seeds = np.zeros(parts.shape, np.int32)
    if not parts.any():
        return seeds
    graph = patch_graph(parts, view.color, view.depth, view.world, view.normal)
    pieces = region_labels(graph, fine_groups(graph))
    pieces = _split_crossing(pieces, graph.labels, areas)
    size = np.maximum(np.bincount(pieces.ravel()), 1)
    share = np.stack([np.bincount(pieces[a], minlength=len(size)) / size for a in areas])
    area = np.array([a.sum() for a in areas])
    cost = np.where(share >= WITHIN_SHARE, area[:, None], np.inf)
    box = np.where(np.isfinite(cost.min(axis=0)), cost.argmin(axis=0) + 1, 0)
    box[0] = 0
    return _close(view, graph, box[pieces].astype(np.int32), join=False)


def _split_crossing(pieces: Labels, patches: Labels, areas: list[Mask]) -> Labels:
    """Pieces that lie in no box as a whole fall apart into their patches."""
    size = np.maximum(np.bincount(pieces.ravel()), 1)
    best = np.max([np.bincount(pieces[a], minlength=len(size)) / size for a in areas], axis=0)
    crossing = (best < WITHIN_SHARE)[pieces] & (pieces > 0)
    return np.where(crossing, patches + len(size), pieces).astype(np.int32)


def refine(view: TableView, seeds: Labels, areas: list[Mask] | None = None) -> Labels:
    """Move the outline of each seed segment to the edge that colour shows; recover parts that have no depth.

    areas: one mask (H, W) per label beyond which the object does not reach; then every label gets its pixels even
    where no seed has that label.
    """
    count = len(areas) if areas is not None else int(seeds.max())
    if not count:
        return seeds
    table = view.valid & ~grow(seeds > 0, 2) & (np.abs(view.height) < 0.8 * view.clear)
    masks, cores = [], []
    for i in range(1, count + 1):
        area = areas[i - 1] if areas is not None else None
        trimap = seed_trimap(view, seeds, i, table, area)
        mask = smooth(cut(view.color, trimap) | trimap.inside, 2) & ~trimap.outside
        core = trimap.inside if trimap.inside.any() else mask
        masks.append(connected_to(mask, core))
        cores.append(core)
    return resolve(masks, cores)


def seed_trimap(view: TableView, seeds: Labels, label: int, table: Mask, area: Mask | None) -> Trimap:
    """What the seed segments (H, W) say of the object `label`, which lies within `area`."""
    seed, others = seeds == label, (seeds > 0) & (seeds != label)
    if area is not None and seed.sum() < LEAST_SEED_SHARE * area.sum():
        outside = ~area | shrink(others, 2)
        return Trimap(inside=seed & ~outside, outside=outside, likely=(area & ~table) | seed)
    filled = fill_holes(seed)
    core = shrink(seed, 3)
    if core.sum() < 0.2 * seed.sum():
        core = shrink(seed, 1)
    if not core.any():
        core = seed
    hull = hull_mask(seed)
    outside = ~(grow(filled, 7) | (grow(filled, 18) & ~view.valid))
    outside |= shrink(others, 2)
    outside |= view.valid & (view.height < -2 * view.clear) & ~hull
    outside |= table & ~hull & ~grow(filled, 4)
    if area is not None:
        outside |= ~area
    return Trimap(
        inside=core & (area if area is not None else True),
        outside=outside & ~core,
        likely=seed | (filled & ~view.valid),
    )
