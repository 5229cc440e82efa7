"""Which object stands on which: from the lowest seen points of each and the tops below them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.spatial import KDTree

from blueprint.geometry.evidence import View, back_project, surface_mask, without_strays
from blueprint.geometry.transforms import Array

RAISED_M = 0.03  # lower than this, an object stands on the support itself
NEAR_M = 0.02
GROUND_REACH_M = 0.05
GROUND_LIMIT_M = 0.008
TOP_TOLERANCE_M = 0.02  # how far above the raised object's lowest point the carrier's top may reach


@dataclass(frozen=True)
class Stand:
    """carrier: label of the object below, 0 = the support; base_z: measured height of the surface around its foot [m];
    rest_z: the height at which it is put: the support is z = 0, however the sensor bent it here.
    """

    carrier: int
    base_z: float
    rest_z: float


def stands(views: tuple[View, ...], labels: Sequence[int]) -> dict[int, Stand]:
    """What every labelled object stands on.

    An object whose lowest seen points are well above the support may just be hidden below by something in front of
    it. It stands on another one only if that one's top ends there, right under it.
    """
    clouds = {label: _cloud(views, label) for label in labels}
    out = {}
    for label in labels:
        cloud = clouds[label]
        out[label] = Stand(0, ground_height(views, label, cloud), 0.0)
        if len(cloud) < 30 or (bottom := float(np.percentile(cloud[:, 2], 2))) < RAISED_M:
            continue
        foot = cloud[cloud[:, 2] < bottom + 0.01]
        shares = {other: _carrying(foot, bottom, clouds[other]) for other in labels if other != label}
        best = max(shares, key=lambda other: shares[other], default=0)
        if best and shares[best] > 0.3:
            top = float(np.percentile(clouds[best][:, 2], 98))
            out[label] = Stand(best, min(bottom, top), min(bottom, top))
    return out


def carriers(boxes: dict[str, tuple[Array, Array]]) -> dict[str, str]:
    """Object -> the one whose top ends where it begins, judged by boxes (low, high) [m], world frame."""
    out = {}
    for name, (low, high) in boxes.items():
        shares = {}
        for other, (under, top) in boxes.items():
            overlap = np.minimum(high, top)[:2] - np.maximum(low, under)[:2]
            if other != name and abs(top[2] - low[2]) < TOP_TOLERANCE_M and low[2] > under[2] and np.all(overlap > 0):
                shares[other] = float(np.prod(overlap))
        if shares:
            out[name] = max(shares, key=lambda other: shares[other])
    return out


def _cloud(views: tuple[View, ...], label: int) -> Array:
    parts = [np.zeros((0, 3))]
    for view in views:
        v, u = np.nonzero(surface_mask(view, view.labels == label))
        step = max(1, len(v) // 3000)
        parts.append(back_project(view, v[::step], u[::step]))
    cloud = np.concatenate(parts)
    return cloud[without_strays(cloud)]


def ground_height(views: tuple[View, ...], label: int, cloud: Array) -> float:
    """Median measured height [m] of the bare support around an object; 0 where too little of it is seen.

    A fitted plane is a few millimetres off somewhere: depth cameras bend planes, and tables are not flat either.
    """
    if len(cloud) == 0:
        return 0.0
    low, high = np.percentile(cloud[:, :2], [2, 98], axis=0)
    heights = [np.zeros(0)]
    for view in views:
        mask = (view.labels == label).astype(np.uint8)
        things = cv2.dilate((view.labels > 0).astype(np.uint8), np.ones((15, 15), np.uint8)) > 0
        v, u = np.nonzero((cv2.dilate(mask, np.ones((61, 61), np.uint8)) > 0) & ~things & (view.depth > 0))
        ground = back_project(view, v, u)
        near = np.all((ground[:, :2] > low - GROUND_REACH_M) & (ground[:, :2] < high + GROUND_REACH_M), axis=1)
        heights.append(ground[near & (np.abs(ground[:, 2]) < 2 * GROUND_LIMIT_M), 2])
    every = np.concatenate(heights)
    return float(np.clip(np.median(every), -GROUND_LIMIT_M, GROUND_LIMIT_M)) if len(every) >= 300 else 0.0


def _carrying(foot: Array, bottom: float, other: Array) -> float:
    """Share of the foot's points with a point of the other object's top right below them."""
    if len(other) < 30 or np.percentile(other[:, 2], 98) > bottom + TOP_TOLERANCE_M:
        return 0.0
    top = other[np.abs(other[:, 2] - bottom) < NEAR_M]
    if len(top) < 10:
        return 0.0
    return float(np.mean(KDTree(top[:, :2]).query(foot[:, :2])[0] < NEAR_M))
