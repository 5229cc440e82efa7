"""One set of labels for several views: segments of different pictures that cover the same surface are one object.

Every view is segmented for itself; then segments vote. What most views agree on stays, what fewer saw otherwise (two
objects run together, one cut in pieces) is taken apart or joined after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from blueprint.geometry.registration.icp import pixels_of
from blueprint.geometry.segmentation.objects import TableView, raised
from blueprint.geometry.table.planes import plane_tolerance
from blueprint.geometry.transforms import Array, invert, transform_points
from blueprint.model.capture import Camera

Labels = NDArray[np.int32]

SAMPLES = 500  # points of a segment
LEAST_VISIBLE = 0.25  # share of a segment that another view must see to have a say
SAME = 0.5  # mutual cover of two segments of one object
INSIDE = 0.7  # share of a segment that lies within another
WITHIN = 0.5  # share of a segment inside accepted objects, beyond which it says nothing new
REACH_M = 0.012  # a pixel belongs to the object whose surface is so near
LEAST_PIECE_PX = 60
LEAST_PIXELS = 100  # of an object, per view of the sequence
FLAT_M = 0.015
IGNORED = 0.3  # cover below which a view that sees the place knows nothing of the object


@dataclass(frozen=True)
class LabelView:
    """A view as segmented. labels (H, W): 1.., 0 = none; camera, T_world_camera: of `view`"""

    view: TableView
    camera: Camera
    T_world_camera: Array
    labels: Labels


@dataclass(frozen=True)
class _Segment:
    """home: index of its view; points: (N, 3) [m] world; pixels: its size."""

    home: int
    label: int
    points: Array
    pixels: int


def fuse_labels(views: Sequence[LabelView]) -> list[Labels]:
    """The labels (H, W) of each view, renumbered 1.. so that a number means the same object everywhere."""
    segments = [s for i, view in enumerate(views) for s in _segments(view, i)]
    if not segments:
        return [view.labels for view in views]
    cover = _cover(views, segments)
    accepted = _accepted(views, segments, cover)
    number = np.zeros((len(views), 1 + max(s.label for s in segments)), np.int32)
    for k, group in enumerate(accepted, start=1):
        for s in group:
            number[s.home, s.label] = k
    kept = [number[i][view.labels] for i, view in enumerate(views)]
    return compact(carry(views, kept))


def carry(views: Sequence[LabelView], kept: Sequence[Labels]) -> list[Labels]:
    """Give what rises above the support, and has no label in `kept`, that of the labelled surface it lies on."""
    cloud, label = _labelled(views, kept)
    if not len(cloud):
        return [k.copy() for k in kept]
    tree = KDTree(cloud)
    out = []
    for view, labels in zip(views, kept, strict=True):
        free = (labels == 0) & view.view.valid & ((view.labels > 0) | raised(view.view))
        distance, index = tree.query(view.view.world[free], distance_upper_bound=REACH_M)
        found = np.isfinite(distance)
        more = labels.copy()
        more[free] = np.where(found, label[np.where(found, index, 0)], 0)
        out.append(_without_crumbs(more, labels))
    return out


def compact(labels: list[Labels]) -> list[Labels]:
    """Numbers without gaps, in ascending order of the old ones."""
    used = np.unique(np.concatenate([np.unique(image) for image in labels]))
    used = used[used > 0]
    number = np.zeros(int(used.max(initial=0)) + 1, np.int32)
    number[used] = np.arange(1, len(used) + 1)
    return [number[image] for image in labels]


def _segments(view: LabelView, home: int) -> list[_Segment]:
    found = []
    for label in np.unique(view.labels[view.labels > 0]).tolist():
        mask = (view.labels == label) & view.view.valid
        points = view.view.world[mask].astype(float)
        if len(points) >= 30:
            found.append(_Segment(home, label, points[:: max(1, len(points) // SAMPLES)], int(mask.sum())))
    return found


def _cover(views: Sequence[LabelView], segments: list[_Segment]) -> Array:
    """(S, S) share of segment i that segment j of another view covers; -1 where that view cannot tell."""
    place = {(s.home, s.label): k for k, s in enumerate(segments)}
    cover = np.full((len(segments), len(segments)), -1.0)
    for i, segment in enumerate(segments):
        for j, view in enumerate(views):
            if j == segment.home:
                continue
            seen = _labels_at(view, segment.points)
            if len(seen) < LEAST_VISIBLE * len(segment.points):
                continue
            for label in np.unique(view.labels[view.labels > 0]).tolist():
                if (j, label) in place:
                    cover[i, place[j, label]] = (seen == label).mean()
    return cover


def _labels_at(view: LabelView, points: Array) -> Labels:
    """Labels of those world points (N, 3) that the view sees: its depth there is theirs."""
    local = transform_points(invert(view.T_world_camera), points)
    u, v, inside = pixels_of(local, view.camera)
    z = local[inside, 2]
    visible = np.abs(view.view.depth[v, u] - z) < 0.01 + 2 * plane_tolerance(z)
    return view.labels[v[visible], u[visible]]


def _accepted(views: Sequence[LabelView], segments: list[_Segment], cover: Array) -> list[list[_Segment]]:
    """Groups of segments that are one object each: strongest first, without those that lie within stronger ones."""
    mutual = np.minimum(cover, cover.T) >= SAME
    joined = _joined(segments, cover, mutual)
    mutual[joined] = mutual[:, joined] = False
    count, part = connected_components(coo_matrix(mutual), directed=False)
    kept = [(s, p) for s, p, j in zip(segments, part, joined, strict=True) if not j]
    groups = [group for k in range(count) if (group := [s for s, p in kept if p == k])]
    groups.sort(key=lambda g: (len({s.home for s in g}), sum(s.pixels for s in g)), reverse=True)
    accepted: list[list[_Segment]] = []
    tree: KDTree | None = None
    for group in groups:
        points = np.concatenate([s.points for s in group])
        if tree is not None and (tree.query(points, distance_upper_bound=REACH_M)[0] < np.inf).mean() > WITHIN:
            continue
        if sum(s.pixels for s in group) < LEAST_PIXELS * len(views) or _denied(views, group, points):
            continue
        accepted.append(group)
        tree = KDTree(np.concatenate([s.points for g in accepted for s in g]))
    accepted.sort(key=lambda g: (g[0].home, g[0].label))
    return accepted


def _joined(segments: list[_Segment], cover: Array, mutual: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(S,) which segments run several objects together: more views see two or more inside it than see it whole."""
    home = np.array([s.home for s in segments])
    out = np.zeros(len(segments), bool)
    for k in range(len(segments)):
        others = [j for j in np.unique(home).tolist() if j != home[k]]
        parts = [int(((home == j) & (cover[:, k] > INSIDE)).sum()) for j in others]
        whole = [bool(mutual[k, home == j].any()) for j in others]
        out[k] = sum(p >= 2 for p in parts) > sum(w and p < 2 for w, p in zip(whole, parts, strict=True))
    return out


def _denied(views: Sequence[LabelView], group: list[_Segment], points: Array) -> bool:
    """Whether more views look at the place and see nothing there than see the object; as many are enough if it is flat,
    which is what noise looks like."""
    homes = {s.home for s in group}
    against = 0
    for j, view in enumerate(views):
        if j not in homes:
            seen = _labels_at(view, points)
            against += len(seen) > 0.6 * len(points) and (seen > 0).mean() < IGNORED
    flat = float(np.percentile(points[:, 2], 90)) < FLAT_M
    return against > len(homes) or (flat and against == len(homes))


def _labelled(views: Sequence[LabelView], kept: Sequence[Labels]) -> tuple[Array, Labels]:
    """World points (N, 3) of labelled pixels, thinned, and their labels (N,)."""
    points, labels = [np.zeros((0, 3))], [np.zeros(0, np.int32)]
    for view, image in zip(views, kept, strict=True):
        mask = (image > 0) & view.view.valid
        mask[1::2] = False
        mask[:, 1::2] = False
        points.append(view.view.world[mask].astype(float))
        labels.append(image[mask])
    return np.concatenate(points), np.concatenate(labels)


def _without_crumbs(labels: Labels, before: Labels) -> Labels:
    """Without the parts that were added and are too small to be a surface."""
    out = before.copy()
    for label in np.unique(labels[(labels > 0) & (before == 0)]).tolist():
        added = ((labels == label) & (before == 0)).astype(np.uint8)
        added = np.asarray(cv2.morphologyEx(added, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))) * (before == 0)
        _, parts, stats, _ = cv2.connectedComponentsWithStats(added.astype(np.uint8), connectivity=8)
        keep = stats[:, cv2.CC_STAT_AREA] >= LEAST_PIECE_PX
        keep[0] = False
        out[keep[parts]] = label
    return out
