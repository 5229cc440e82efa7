"""Complete an object from what was seen of it: try families of solids, keep the one that explains the pictures."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from scipy.optimize import least_squares

from blueprint.geometry.completion.carving import carved
from blueprint.geometry.completion.evidence import Evidence, View, gather
from blueprint.geometry.completion.families import bottles, containers, families
from blueprint.geometry.completion.fitting import (
    HOPELESS_COST,
    OUTLINE_SUPPORT,
    POINT_SUPPORT,
    SURFACE_SIGMA_M,
    Fit,
    Noise,
    best_fit,
    dims_sigma,
)
from blueprint.geometry.completion.handles import Thin, thin_parts, with_handle
from blueprint.geometry.completion.shapes import Prism, yaw_rotation
from blueprint.geometry.mesh import Mesh, prism_mesh
from blueprint.geometry.raycast import render_depth
from blueprint.geometry.transforms import Array

UP = np.array([0.0, 0.0, 1.0])
PARAMETER_COST = 4.6  # ln(100): the Bayesian information criterion for the assumed number of independent readings
FREEFORM_COST = 2.2  # mean squared residual above which no ideal shape explains the object
NEARLY_ROUND = 50.0  # things that are almost round are round: smeared depth makes ovals
LEAST_IOU, CLEAR_IOU = 0.75, 0.88  # of an ideal shape that fits, and of one whose mask or depth has flaws
LARGEST_DEPTH_ERROR_M = 0.008
# What the fit does not know of: the scale error of an uncalibrated depth camera (a few per cent at 1 m), rounded edges,
# recessed lids, the plane's own error.
SCALE_SIGMA = 0.04
FLOOR_SIGMA_M = 0.0025
EXTRAPOLATED_SIGMA = 0.3  # of the part of an extent in which no surface point was seen
# How far the pose (x, y, yaw) of a fit may be off for the depth's sake [m, m, rad]; steps for derivatives.
POSE_SIGMA = np.array([0.01, 0.01, 0.05])
POSE_STEP = np.array([2e-4, 2e-4, 2e-3])
GUESSED_SHARE = 0.15  # a dimension that the data alone hold worse than this (relative sigma) is a guess
HANDLE_SIGMA_M = 0.004  # of how far a handle stands out
FREEFORM_SIGMA = 0.06
FREEFORM_DEPTH_SIGMA = 0.25


@dataclass(frozen=True)
class Completion:
    """mesh: world frame, closed; rotation: (3, 3) object axes in the world; dims, sigma: (3,) along them [m];
    inferred: (3,) which of them are guesses; solid: the ideal shape, if one fits; symmetries: (4, 4) world maps of the
    shape onto itself; silhouette_iou, depth_error_m: the mesh rendered into the views against what they saw.
    """

    mesh: Mesh
    method: str
    rotation: Array
    dims: Array
    sigma: Array
    inferred: tuple[bool, bool, bool]
    solid: Prism | None
    symmetries: tuple[Array, ...]
    silhouette_iou: float
    depth_error_m: float


def complete(
    views: tuple[View, ...],
    label: int,
    *,
    base_z: float,
    base_sigma_m: float = 0.0,
    depth_sigma_m: float,
    max_faces: int,
) -> Completion:
    """Raises ValueError when fewer than 30 surface points were seen.

    base_z: of the surface that the object stands on [m]; base_sigma_m: how well that is known (the foot itself is never
    seen), which adds to the sigma of every height
    """
    evidence = gather(views, label, base_z=base_z)
    if len(evidence.points) < 30:
        raise ValueError(f"only {len(evidence.points)} surface points were seen")
    noise = Noise(depth_sigma_m)
    thin = thin_parts(views, label)
    if thin is not None and (vessel := _vessel(thin, views, label, base_z, noise, base_sigma_m)) is not None:
        return vessel
    for best in ideals(evidence, base_z, noise)[:3]:
        if best.cost > HOPELESS_COST:
            continue
        ideal = _ideal(best, evidence, views, label, base_sigma_m)
        fits = best.cost / (POINT_SUPPORT + OUTLINE_SUPPORT) < FREEFORM_COST
        if ideal.silhouette_iou > (LEAST_IOU if fits else CLEAR_IOU) and ideal.depth_error_m < LARGEST_DEPTH_ERROR_M:
            return ideal
    return _freeform(evidence, views, label, base_z, max_faces)


def ideals(evidence: Evidence, base_z: float, noise: Noise) -> list[Fit]:
    """The best fit of each family, most plausible first. Families that could not win any more are not tried."""
    found: list[Fit] = []
    for group in [*families(evidence, base_z), bottles(evidence, base_z)]:
        # what a family costs however well it fits: the plainer ones come first and often settle the matter
        floor = PARAMETER_COST * len(group[0].start) + group[0].rarity if group else np.inf
        if found and min(map(evidence_cost, found)) < floor:
            continue
        found.append(best_fit(group, evidence, noise, patience=50 if group[0].name == "bottle" else 12))
    return sorted(found, key=evidence_cost)


def evidence_cost(found: Fit) -> float:
    """What the data and the complexity of the shape speak against it (Bayesian information criterion)."""
    a, b = found.solid.half
    oval = a != b and found.solid.roundness > 0.8 and max(a, b) < 1.3 * min(a, b)
    return found.cost + PARAMETER_COST * len(found.parameters) + found.model.rarity + (NEARLY_ROUND if oval else 0.0)


def _ideal(best: Fit, evidence: Evidence, views: tuple[View, ...], label: int, base_sigma_m: float) -> Completion:
    solid = _moved_onto(best.solid, evidence)
    mesh = prism_mesh(solid)
    axes = solid.rotation
    order = [0, 1, 2]
    if best.model.name == "lying_cylinder":
        axes = np.stack([axes[:, 2], np.cross(UP, axes[:, 2]), UP], axis=1)
    dims = np.ptp(mesh[0] @ axes, axis=0)
    if dims[1] > dims[0]:
        axes, order = np.stack([axes[:, 1], -axes[:, 0], axes[:, 2]], axis=1), [1, 0, 2]
    dims = dims[order]
    hidden = _extrapolated(solid, evidence, axes, dims)
    fitted, free = dims_sigma(best)[order], dims_sigma(best, free=True)[order]
    sigma = np.sqrt(fitted**2 + FLOOR_SIGMA_M**2 + (SCALE_SIGMA * dims) ** 2 + (EXTRAPOLATED_SIGMA * hidden) ** 2)
    sigma[2] = np.hypot(sigma[2], base_sigma_m)
    guessed = (free > GUESSED_SHARE * dims) | (hidden > 0.5 * dims)
    iou, error = agreement(mesh, views, label)
    inferred = (bool(guessed[0]), bool(guessed[1]), bool(guessed[2]))
    return Completion(mesh, best.model.name, axes, dims, sigma, inferred, solid, _symmetries(mesh, axes), iou, error)


def _vessel(
    thin: Thin, views: tuple[View, ...], label: int, base_z: float, noise: Noise, base_sigma_m: float
) -> Completion | None:
    """What is round and has a handle is an open vessel: its body from the views without the handle, then the handle.

    None where that does not explain what was seen.
    """
    evidence = gather(thin.views, label, base_z=base_z)
    starts = containers(evidence, base_z)
    if len(evidence.points) < 30 or not starts:
        return None
    best = best_fit(starts[-1:], evidence, noise, patience=50)
    if best.cost / (POINT_SUPPORT + OUTLINE_SUPPORT) > FREEFORM_COST:
        return None
    body = _ideal(best, evidence, thin.views, label, base_sigma_m)
    if body.solid is None or body.silhouette_iou < CLEAR_IOU or body.depth_error_m > LARGEST_DEPTH_ERROR_M:
        return None
    found = with_handle(body.solid, body.mesh, thin)
    if found is None:
        return None
    mesh, yaw = found
    axes = yaw_rotation(yaw)
    dims, sigma = np.ptp(mesh[0] @ axes, axis=0), body.sigma + np.array([HANDLE_SIGMA_M, 0.0, 0.0])
    iou, error = agreement(mesh, views, label)
    across = _symmetries(mesh, axes)[2:3]
    return Completion(mesh, "container with handle", axes, dims, sigma, (False, False, False), None, across, iou, error)


def _moved_onto(solid: Prism, evidence: Evidence) -> Prism:
    """The solid where its surface meets the measured points best, moved and turned on its support only.

    The fit allows for a bias of the depth, which is right for sizes; but what depth there is, is where things stand.
    """

    def moved(p: Array) -> Prism:
        base, turn = solid.base + np.array([p[0], p[1], 0.0]), yaw_rotation(p[2])
        return replace(solid, base=base, rotation=turn @ solid.rotation)

    def residuals(p: Array) -> Array:
        return np.append(moved(p).distance(evidence.points) / SURFACE_SIGMA_M, p / POSE_SIGMA)

    def slopes(p: Array) -> Array:
        base = residuals(p)
        return np.stack([(residuals(p + h * e) - base) / h for h, e in zip(POSE_STEP, np.eye(3), strict=True)], axis=1)

    found = least_squares(residuals, np.zeros(3), jac=slopes, loss="soft_l1", x_scale=100 * POSE_STEP, max_nfev=20)  # pyright: ignore[reportArgumentType]
    return moved(found.x)


def _extrapolated(solid: Prism, evidence: Evidence, axes: Array, dims: Array) -> Array:
    """(3,) how much of each extent holds no surface point [m]; nothing where a round shape or the support says it."""
    if solid.roundness == 1.0 and solid.half[0] == solid.half[1]:
        return np.zeros(3)
    low, high = np.percentile(evidence.points @ axes, [1, 99], axis=0)
    return np.maximum(dims - (high - low), 0) * [1, 1, 0]


def _freeform(evidence: Evidence, views: tuple[View, ...], label: int, base_z: float, max_faces: int) -> Completion:
    mesh = carved(evidence, views, label, base_z=base_z, max_faces=max_faces)
    _, (_, _), angle_deg = cv2.minAreaRect((mesh[0][:, :2] * 1000).astype(np.float32))
    axes = yaw_rotation(float(np.deg2rad(angle_deg)))
    dims = np.ptp(mesh[0] @ axes, axis=0)
    if dims[1] > dims[0]:
        axes = np.stack([axes[:, 1], -axes[:, 0], axes[:, 2]], axis=1)
        dims = dims[[1, 0, 2]]
    view = (evidence.points.mean(axis=0) - evidence.outline.origins.mean(axis=0))[:2]
    along = np.abs(view @ axes[:2, :2]) / np.linalg.norm(view)
    inferred = (bool(along[0] > 0.7), bool(along[1] > 0.7), False)
    sigma = dims * np.where(inferred, FREEFORM_DEPTH_SIGMA, FREEFORM_SIGMA) + 0.002
    mirrors = _symmetries(mesh, axes)
    behind = mirrors[1:2] if along[0] > along[1] else mirrors[2:3]
    iou, error = agreement(mesh, views, label)
    return Completion(mesh, "carved", axes, dims, sigma, inferred, None, behind, iou, error)


def _symmetries(mesh: Mesh, axes: Array) -> tuple[Array, ...]:
    """Half a turn about the vertical through the middle (text stays readable), then mirrors of x, y and z."""
    middle = axes @ (np.min(mesh[0] @ axes, axis=0) + np.max(mesh[0] @ axes, axis=0)) / 2
    maps = []
    for signs in ((-1, -1, 1), (-1, 1, 1), (1, -1, 1), (1, 1, -1)):
        T = np.eye(4)
        T[:3, :3] = axes @ np.diag(signs) @ axes.T
        T[:3, 3] = middle - T[:3, :3] @ middle
        maps.append(T)
    return tuple(maps)


def agreement(mesh: Mesh, views: tuple[View, ...], label: int) -> tuple[float, float]:
    """Silhouette IoU and median absolute depth error [m] of the mesh in the views that see the object.

    Pixels where another surface stands in front of the mesh are no evidence and are left out.
    """
    both = union = 0
    errors = []
    for view in views:
        mask = view.labels == label
        if not mask.any():
            continue
        depth, face = render_depth(mesh, view.camera, view.T_world_camera)
        hit = face >= 0
        hidden = hit & ~mask & (view.depth > 0) & (view.depth < depth - 0.01)
        hidden |= hit & ~mask & (view.depth == 0) & (view.labels > 0)
        shown = hit & ~hidden
        both, union = both + int((shown & mask).sum()), union + int((shown | mask).sum())
        common = shown & mask & (view.depth > 0)
        errors.append(np.abs(depth[common] - view.depth[common]))
    every = np.concatenate(errors) if errors else np.zeros(0)
    return both / max(union, 1), float(np.median(every)) if len(every) else float("inf")
