"""Handles of mugs and jugs: found as what is thin beside a body, modelled as a bent tube."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import manifold3d
import numpy as np

from blueprint.geometry.completion.evidence import Mask, View, back_project, connected
from blueprint.geometry.completion.shapes import Prism
from blueprint.geometry.mesh import Mesh, is_closed, stacked_rings
from blueprint.geometry.raycast import project
from blueprint.geometry.transforms import Array

THIN_SHARE = 0.3  # of the mask's smaller side: what is thinner is no body
LEAST_SHARE, LARGEST_SHARE = 0.02, 0.3  # of the mask's area that a handle covers
LEAST_POINTS = 40
NARROW = 0.6  # [rad] spread of the directions in which a handle's points lie, seen from the axis
REACH_M = (0.008, 0.08)  # how far handles stand out
TUBE_M = (0.003, 0.012)  # radius of a handle's tube
SQUARENESS = 0.7  # exponent of a superellipse: 1 = round, 0 = square
AROUND, ALONG = 12, 20


@dataclass(frozen=True)
class Thin:
    """views: as they were, what is thin labelled as another object in front; masks: (H, W) of it in each view."""

    views: tuple[View, ...]
    masks: tuple[Mask, ...]


def thin_parts(views: tuple[View, ...], label: int) -> Thin | None:
    """The views without what is thin beside the object's body; None where nothing of the kind shows."""
    masks = [_thin(view.labels == label) for view in views]
    if not any(mask.any() for mask in masks):
        return None
    other = 1 + max(int(view.labels.max()) for view in views)
    split = tuple(
        replace(view, labels=np.where(mask, other, view.labels).astype(view.labels.dtype))
        for view, mask in zip(views, masks, strict=True)
    )
    return Thin(split, tuple(masks))


def _thin(mask: Mask) -> Mask:
    """What an opening of the mask with its holes takes away beside the largest part it leaves."""
    none = np.zeros_like(mask)
    if mask.sum() < 400:
        return none
    v, u = np.nonzero(mask)
    size = int(THIN_SHARE * min(np.ptp(v), np.ptp(u))) | 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    parts = connected(
        cv2.morphologyEx(np.pad(mask, size).astype(np.uint8), cv2.MORPH_OPEN, disc)[size:-size, size:-size] > 0
    )
    if not parts.any():
        return none
    body = parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))
    rest = connected(mask & (cv2.dilate(body.astype(np.uint8), np.ones((5, 5), np.uint8)) == 0))
    if not rest.any():
        return none
    largest = rest == 1 + int(np.argmax(np.bincount(rest.ravel())[1:]))
    return largest if LEAST_SHARE < largest.sum() / mask.sum() < LARGEST_SHARE else none


def with_handle(body: Prism, mesh: Mesh, thin: Thin) -> tuple[Mesh, float] | None:
    """The body with a handle through the thin parts' points, and the handle's direction [rad]; None where the points
    are not those of a handle: too few, all around, or beyond what handles reach. Closed.
    """
    cloud = np.concatenate([_points(view, mask) for view, mask in zip(thin.views, thin.masks, strict=True)])
    if len(cloud) < LEAST_POINTS:
        return None
    offset = (cloud - body.base)[:, :2]
    yaw = float(np.arctan2(*np.median(offset, axis=0)[::-1]))
    out = np.array([np.cos(yaw), np.sin(yaw)])
    across = np.abs(np.arctan2(offset @ [-out[1], out[0]], offset @ out))
    near = across < NARROW
    if near.mean() < 0.8:
        return None
    reach, height = (offset @ out)[near], cloud[near, 2] - body.base[2]
    (low, high), far = np.percentile(height, [2, 98]), float(np.percentile(reach, 99))
    radii = body.sections(np.clip(np.array([low, high]), 0, body.height))[0]
    if not REACH_M[0] < far - radii.mean() < REACH_M[1] or high - low < 2 * TUBE_M[0]:
        return None
    ends = radii - 0.5 * body.wall
    tube = 0.004
    for _ in range(3):
        path = _path(ends, (low + tube, high - tube), far - tube)
        tube = float(np.clip(_width(path, body, yaw, thin) / 2, *TUBE_M))
        tube = min(tube, (high - low) / 4)
    handle = _tube(_path(ends, (low + tube, high - tube), far - tube), tube)
    turn = np.array([[out[0], -out[1], 0], [out[1], out[0], 0], [0, 0, 1.0]])
    joined = _union(mesh, (handle[0] @ turn.T + body.base, handle[1]))
    return (joined, yaw) if is_closed(joined) else None


def _points(view: View, mask: Mask) -> Array:
    v, u = np.nonzero(mask & (view.depth > 0))
    return back_project(view, v, u)


def _path(ends: Array, heights: tuple[float, float], far: float) -> Array:
    """(ALONG, 3) half a squarish oval in the xz plane, from the upper end on the body to the lower."""
    angle = np.linspace(np.pi / 2, -np.pi / 2, ALONG)
    out, up = np.abs(np.cos(angle)) ** SQUARENESS, np.sign(angle) * np.abs(np.sin(angle)) ** SQUARENESS
    middle, half = sum(heights) / 2, (heights[1] - heights[0]) / 2
    root = np.interp(up, [-1, 1], ends)
    return np.stack([root + (far - root) * out, np.zeros(ALONG), middle + half * up], axis=1)


def _width(path: Array, body: Prism, yaw: float, thin: Thin) -> float:
    """Mean width [m] of the thin parts in the pictures: their area over the length of the path drawn there."""
    turn = np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1.0]])
    points, found = path @ turn.T + body.base, []
    for view, mask in zip(thin.views, thin.masks, strict=True):
        if mask.any():
            pixels, depth = project(view.camera, view.T_world_camera, points)
            length = float(np.linalg.norm(np.diff(pixels, axis=0), axis=1).sum())
            found.append(mask.sum() / max(length, 1.0) * float(np.median(depth)) / view.camera.fx)
    return float(np.median(found))


def _tube(path: Array, radius: float) -> Mesh:
    """Closed round tube along a path (K, 3) in the xz plane."""
    along = np.gradient(path, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    side = np.array([0.0, 1.0, 0.0])
    angle = np.linspace(0, 2 * np.pi, AROUND, endpoint=False)
    rings = [
        point
        + radius
        * (np.cos(angle)[:, None] * np.cross(side, t) + np.sin(angle)[:, None] * np.cross(t, np.cross(side, t)))
        for point, t in zip(path, along, strict=True)
    ]
    return stacked_rings(np.stack(rings))


def _union(a: Mesh, b: Mesh) -> Mesh:
    solids = [manifold3d.Manifold(manifold3d.Mesh64(v.astype(np.float64), f.astype(np.uint64))) for v, f in (a, b)]
    out = (solids[0] + solids[1]).to_mesh64()
    return np.asarray(out.vert_properties[:, :3], dtype=float), np.asarray(out.tri_verts, dtype=np.int64)
