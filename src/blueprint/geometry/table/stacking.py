"""Which object stands on which: from the lowest seen points of each and the tops below them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.spatial import KDTree
from scipy.spatial.transform import Rotation

from blueprint.geometry.completion.evidence import View, back_project, surface_mask, without_strays
from blueprint.geometry.transforms import Array

RAISED_M = 0.03  # lower than this, an object stands on the support itself
NEAR_M = 0.02
GROUND_REACH_M = 0.15  # how far around an object the support is looked at
GROUND_LIMIT_M = 0.016  # what is further from the fitted plane is not the support
STEEPEST = 0.08  # a surface that falls more than this against the fitted plane is something else
LEAST_GROUND = 1000  # points, and how far they must spread both ways, for a slope to be told
LEAST_SPREAD_M = 0.03
TOP_TOLERANCE_M = 0.02  # how far above the raised object's lowest point the carrier's top may reach


@dataclass(frozen=True)
class Stand:
    """carrier: label of the object below, 0 = the support; base_z: height of the surface that it stands on [m];
    level: (4, 4) puts the measured support around its foot at z = 0 and keeps the foot's x and y: one plane for a whole
    scene is a few millimetres or degrees off somewhere, where the sensor bent it or it took in what lies beyond.
    """

    carrier: int
    base_z: float
    level: Array


def stands(views: tuple[View, ...], labels: Sequence[int]) -> dict[int, Stand]:
    """What every labelled object stands on.

    An object whose lowest seen points are well above the support may just be hidden below by something in front of
    it. It stands on another one only if that one's top ends there, right under it.
    """
    clouds = {label: _cloud(views, label) for label in labels}
    out = {}
    for label in labels:
        cloud = clouds[label]
        out[label] = Stand(0, 0.0, level_ground(views, label, cloud))
        if len(cloud) < 30 or (bottom := float(np.percentile(cloud[:, 2], 2))) < RAISED_M:
            continue
        foot = cloud[cloud[:, 2] < bottom + 0.01]
        shares = {other: _carrying(foot, bottom, clouds[other]) for other in labels if other != label}
        best = max(shares, key=lambda other: shares[other], default=0)
        if best and shares[best] > 0.3:
            top = float(np.percentile(clouds[best][:, 2], 98))
            out[label] = Stand(best, min(bottom, top), np.eye(4))
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


def level_ground(views: tuple[View, ...], label: int, cloud: Array) -> Array:
    """(4, 4) that levels the bare support around an object; the identity where too little of it is seen."""
    if len(cloud) == 0:
        return np.eye(4)
    low, high = np.percentile(cloud[:, :2], [2, 98], axis=0)
    parts = [np.zeros((0, 3))]
    for view in views:
        mask = (view.labels == label).astype(np.uint8)
        things = cv2.dilate((view.labels > 0).astype(np.uint8), np.ones((15, 15), np.uint8)) > 0
        around = cv2.dilate(mask, np.ones((181, 181), np.uint8)) > 0
        v, u = np.nonzero(around & ~things & (view.depth > 0))
        ground = back_project(view, v, u)
        near = np.all((ground[:, :2] > low - GROUND_REACH_M) & (ground[:, :2] < high + GROUND_REACH_M), axis=1)
        parts.append(ground[near & (np.abs(ground[:, 2]) < GROUND_LIMIT_M)])
    ground, foot = np.concatenate(parts), np.append((low + high) / 2, 0.0)
    if len(ground) < LEAST_GROUND:
        return np.eye(4)
    slopes, height = _plane(ground - foot)
    if np.linalg.svd(np.cov(ground[:, :2].T), compute_uv=False)[1] < LEAST_SPREAD_M**2:
        slopes, height = np.zeros(2), float(np.median(ground[:, 2]))
    if np.linalg.norm(slopes) > STEEPEST:
        return np.eye(4)
    T = np.eye(4)
    T[:3, :3] = Rotation.align_vectors([[0.0, 0.0, 1.0]], [[-slopes[0], -slopes[1], 1.0]])[0].as_matrix()
    T[:3, 3] = foot - T[:3, :3] @ (foot + np.array([0.0, 0.0, height]))
    return T


def _plane(points: Array, rounds: int = 10) -> tuple[Array, float]:
    """Slopes (2,) and height [m] of z = slopes @ xy + height, with little weight for what is more than 3 mm off."""
    design = np.column_stack([points[:, :2], np.ones(len(points))])
    weight = np.ones(len(points))
    found = np.zeros(3)
    for _ in range(rounds):
        found = np.linalg.lstsq(design * weight[:, None], points[:, 2] * weight, rcond=None)[0]
        weight = 1 / (1 + ((points[:, 2] - design @ found) / 0.003) ** 2)
    return np.asarray(found[:2], dtype=float), float(found[2])


def _carrying(foot: Array, bottom: float, other: Array) -> float:
    """Share of the foot's points with a point of the other object's top right below them."""
    if len(other) < 30 or np.percentile(other[:, 2], 98) > bottom + TOP_TOLERANCE_M:
        return 0.0
    top = other[np.abs(other[:, 2] - bottom) < NEAR_M]
    if len(top) < 10:
        return 0.0
    return float(np.mean(KDTree(top[:, :2]).query(foot[:, :2])[0] < NEAR_M))
