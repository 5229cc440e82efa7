"""Changes to label images (H, W) that a person asks for, carried to every view of the same scene."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from blueprint.geometry.completion.evidence import View
from blueprint.geometry.depth import backproject
from blueprint.geometry.transforms import Array, transform_points

Labels = NDArray[np.integer]
SAME_PLACE_M = 0.012  # two views' readings of one surface lie within this of each other


def cut_mask(views: Sequence[View], label: int, source: View, line: Sequence[float]) -> list[NDArray[np.bool_]]:
    """Per view the pixels (H, W) of `label` that lie left of a line of `source`'s picture.

    line: x0, y0, x1, y1 [px]. The line and the camera's centre span a plane, which divides the other views too.
    Pixels without depth there stay with the larger side.
    """
    camera, T = source.camera, source.T_world_camera
    a, b = (np.array([(x - camera.cx) / camera.fx, (y - camera.cy) / camera.fy, 1.0]) for x, y in (line[:2], line[2:]))
    normal = T[:3, :3] @ np.cross(a, b)  # y points down: left of the line is where this is positive
    return [_left_of(view, label, normal, T[:3, 3], own=view is source) for view in views]


def _left_of(view: View, label: int, normal: Array, eye: Array, *, own: bool) -> NDArray[np.bool_]:
    mask = view.labels == label
    v, u = np.nonzero(mask)
    rays = np.stack([(u - view.camera.cx) / view.camera.fx, (v - view.camera.cy) / view.camera.fy], axis=1)
    rays = np.concatenate([rays, np.ones((len(u), 1))], axis=1)
    depth = view.depth[v, u].astype(float)
    known = depth > 0
    if own:  # the sign does not depend on the depth
        depth, known = np.ones_like(depth), np.ones_like(known)
    side = (transform_points(view.T_world_camera, rays * depth[:, None]) - eye) @ normal < 0
    side[~known] = bool(side[known].mean() > 0.5) if known.any() else False
    out = np.zeros_like(mask)
    out[v, u] = side
    return out


def carried(views: Sequence[View], source: View, mask: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
    """The same surface in every view: pixels (H, W) whose reading lies on what `mask` covers in `source`."""
    tree = KDTree(_world(source)[mask & (source.depth > 0)])
    found = []
    for view in views:
        if view is source or tree.n == 0:
            found.append(mask if view is source else np.zeros(view.depth.shape, bool))
            continue
        near = np.zeros(view.depth.shape, bool)
        valid = view.depth > 0
        near[valid] = np.isfinite(tree.query(_world(view)[valid], distance_upper_bound=SAME_PLACE_M)[0])
        found.append(near)
    return found


def _world(view: View) -> Array:
    """(H, W, 3) [m]."""
    return transform_points(view.T_world_camera, backproject(view.depth, view.camera).astype(float))
