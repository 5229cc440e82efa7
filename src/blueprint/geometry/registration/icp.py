"""Bring depth views of one scene onto each other: point-to-plane ICP, with the checks that keep it honest.

Poses (4, 4) map camera points into the sequence's own world.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree
from scipy.spatial.transform import Rotation

from blueprint.geometry import depth as depths
from blueprint.geometry.table.planes import plane_tolerance
from blueprint.geometry.transforms import Array, invert, rotation_angle, transform_points
from blueprint.model.capture import Camera

SAMPLES = 2500  # points per view in ICP
REACHES_M = (0.04, 0.04, 0.03, 0.03, 0.02, 0.02, 0.012, 0.012, 0.012, 0.012)  # of correspondences, step by step
JUDGE_M = 0.02  # distance at which a point counts as unexplained
NORMALS_AGREE = 0.7  # cosine
LEAST_OVERLAP = 0.15  # of a view's points, to refine it
WEAK_SHARE = 0.01  # of the strongest constraint: motions held less than this are not made (they would slide)
MOST_SHIFT_M, MOST_TURN = 0.06, float(np.deg2rad(6))  # beyond, a refinement contradicts the given pose
SWEEPS = 3
SEE_THROUGH_M = 0.03
PRIOR_TURN, PRIOR_SHIFT_M = float(np.deg2rad(1.0)), 0.015  # how far off calibrated poses are: design/reconstruction.md
INDEPENDENT_SHARE = 0.01  # of the points: neighbours share their error
RIDING_SHARE, RIDING_SPREAD, MOST_RIDING = 0.6, 0.015, 0.3


@dataclass(frozen=True)
class DepthView:
    """grey (H, W) uint8; depth (H, W) [m], cleaned, 0 = none."""

    grey: NDArray[np.uint8]
    depth: NDArray[np.float32]
    camera: Camera


@dataclass(frozen=True)
class Cloud:
    """points (N, 3) [m] and their unit normals (N, 3)."""

    points: Array
    normals: Array

    def moved(self, T: Array) -> Cloud:
        return Cloud(transform_points(T, self.points), self.normals @ T[:3, :3].T)


@dataclass(frozen=True)
class Aligned:
    """T: the pose (4, 4) found; cost: mean point-to-plane distance [m], unexplained points counting JUDGE_M;
    overlap: share of the points with a counterpart; held: how many of the six motions the shapes determine.
    """

    T: Array
    cost: float
    overlap: float
    held: int


@dataclass(frozen=True)
class Refined:
    """T: pose (4, 4), refined or as given; before_m, after_m: `Aligned.cost`; moved_m; refused: why it was left."""

    T: Array
    before_m: float
    after_m: float
    moved_m: float
    refused: str = ""


def sample_cloud(view: DepthView, rng: np.random.Generator, count: int = SAMPLES) -> Cloud:
    """Points of a view, camera frame, drawn so that every direction of surface is represented.

    Rusinkiewicz and Levoy, "Efficient variants of the ICP algorithm", 3DIM 2001, section 3.1 (normal-space sampling).
    """
    points = depths.backproject(view.depth, view.camera)
    normals = depths.surface_normals(points, view.depth > 0)
    known = (view.depth > 0) & (np.abs(normals).sum(axis=2) > 0) & (view.depth < 4.0)
    p, n = points[known].astype(float), normals[known].astype(float)
    if len(p) <= count:
        return Cloud(p, n)
    bucket = ((n + 1) * 2.999).astype(np.intp) @ np.array([36, 6, 1])
    weight = 1.0 / np.bincount(bucket)[bucket] ** 0.7
    chosen = np.sort(rng.choice(len(p), count, replace=False, p=weight / weight.sum()))
    return Cloud(p[chosen], n[chosen])


def align(
    source: Cloud, target: Cloud, T: Array, reaches: Sequence[float] = REACHES_M, *, given: Array | None = None
) -> Aligned:
    """Move `source` from the pose T onto `target` by point-to-plane ICP. given: a calibrated pose to stay close to.

    Chen and Medioni, "Object modelling by registration of multiple range images", IVC 10(3), 1992. Motions that the
    surfaces do not determine are not made: Zhang, Kaess, Singh, "On degeneracy of optimization-based state
    estimation problems", ICRA 2016.
    """
    tree, held = KDTree(target.points), 6
    for reach in reaches:
        moved = source.moved(T)
        near, distance, index = _pairs(moved, target, tree, reach)
        if near.sum() < 50:
            break
        p, n = moved.points[near], target.normals[index[near]]
        step, held = _plane_step(p, n, distance[near], None if given is None else T @ invert(given))
        T = step @ T
    cost, overlap = _judge(source.moved(T), target, tree)
    return Aligned(T, cost, overlap, held)


def _pairs(
    moved: Cloud, target: Cloud, tree: KDTree, reach: float
) -> tuple[NDArray[np.bool_], Array, NDArray[np.intp]]:
    """Which points have a counterpart, the signed distance (N,) to its plane [m], and its index (N,)."""
    distance, index = tree.query(moved.points, distance_upper_bound=reach)
    found = np.isfinite(distance)
    index = np.where(found, index, 0)
    found &= (moved.normals * target.normals[index]).sum(axis=1) > NORMALS_AGREE
    return found, ((moved.points - target.points[index]) * target.normals[index]).sum(axis=1), index


def _judge(moved: Cloud, target: Cloud, tree: KDTree) -> tuple[float, float]:
    found, distance, _ = _pairs(moved, target, tree, JUDGE_M)
    return float(np.where(found, np.abs(distance), JUDGE_M).mean()), float(found.mean())


def _plane_step(p: Array, n: Array, distance: Array, deviation: Array | None) -> tuple[Array, int]:
    """The rigid motion (4, 4) that best brings points (N, 3) onto their planes, and how many of its six axes hold.

    deviation: (4, 4) from the calibrated pose so far; then a prior on it takes the place of unheld axes
    """
    middle = p.mean(axis=0)
    size = float(np.sqrt(((p - middle) ** 2).sum(axis=1).mean()))
    rows = np.hstack([np.cross((p - middle) / size, n), n])  # turns in units of the cloud's size weigh like shifts
    scale = max(1.4826 * float(np.median(np.abs(distance))), 1e-4)
    weight = 1.0 / (1.0 + (distance / (2 * scale)) ** 2)
    A, b = rows.T @ (weight[:, None] * rows), rows.T @ (weight * -distance)
    values, vectors = np.linalg.eigh(A)
    strong = values > WEAK_SHARE * values[-1]
    if deviation is None:
        x = vectors[:, strong] @ ((vectors.T @ b)[strong] / values[strong])
    else:
        prior = np.repeat([PRIOR_TURN * size, PRIOR_SHIFT_M], 3) ** -2
        so_far = transform_points(invert(deviation), middle)
        off = np.concatenate([Rotation.from_matrix(deviation[:3, :3]).as_rotvec() * size, middle - so_far])
        gain = INDEPENDENT_SHARE / scale**2
        x = np.linalg.solve(gain * A + np.diag(prior), gain * b - prior * off)
    step = np.eye(4)
    step[:3, :3] = Rotation.from_rotvec(x[:3] / size).as_matrix()
    step[:3, 3] = middle + x[3:] - step[:3, :3] @ middle
    return step, int(strong.sum())


def refine_poses(clouds: Sequence[Cloud], poses: Sequence[Array], *, calibrated: bool = True) -> list[Refined]:
    """Each view against all the others, the first one fixed, a few sweeps; a worse or far-off result is refused.

    calibrated: the poses come from a calibration and are near the truth, not from matched features
    """
    T = [pose.copy() for pose in poses]
    for _ in range(SWEEPS if len(clouds) > 2 else 1):
        for i in range(1, len(clouds)):
            others = _joined(clouds, T, i)
            found = align(clouds[i], others, T[i], REACHES_M[2:], given=poses[i] if calibrated else None)
            T[i] = T[i] if _objection(found, None, poses[i]) else found.T
    return [_verdict(clouds, poses, T, i) for i in range(len(clouds))]


def _verdict(clouds: Sequence[Cloud], poses: Sequence[Array], T: list[Array], i: int) -> Refined:
    others = _joined(clouds, T, i)
    before = align(clouds[i], others, poses[i], ())
    after = align(clouds[i], others, T[i], ())
    objection = _objection(after, before, poses[i]) if i else ""
    moved = float(np.linalg.norm(centre_shift(clouds[i], poses[i], T[i])))
    if objection:
        return Refined(poses[i], before.cost, before.cost, 0.0, objection)
    return Refined(T[i], before.cost, after.cost, moved)


def _joined(clouds: Sequence[Cloud], T: Sequence[Array], without: int) -> Cloud:
    moved = [cloud.moved(pose) for k, (cloud, pose) in enumerate(zip(clouds, T, strict=True)) if k != without]
    return Cloud(np.concatenate([c.points for c in moved]), np.concatenate([c.normals for c in moved]))


def centre_shift(cloud: Cloud, T_from: Array, T_to: Array) -> Array:
    """How far the middle of the cloud moves: a turn about the camera shifts what it sees."""
    middle = cloud.points.mean(axis=0)
    return transform_points(T_to, middle) - transform_points(T_from, middle)


def _objection(found: Aligned, before: Aligned | None, given: Array) -> str:
    """Why a refinement is not to be trusted; empty when it is."""
    if found.overlap < LEAST_OVERLAP:
        return f"only {100 * found.overlap:.0f} % of it overlaps other views"
    shift, turn = float(np.linalg.norm(found.T[:3, 3] - given[:3, 3])), rotation_angle(given, found.T)
    if turn > MOST_TURN or shift > MOST_SHIFT_M + 0.5 * turn:
        return f"it would move by {100 * shift:.1f} cm, {np.rad2deg(turn):.1f} deg"
    if before is not None and found.cost > before.cost + 1e-5:
        return f"the residual would grow from {1000 * before.cost:.2f} to {1000 * found.cost:.2f} mm"
    return ""


def see_through(view: DepthView, T_view: Array, other: DepthView, T_other: Array) -> tuple[int, int]:
    """How many of the points of `view` does `other` see right through, and of how many does it measure the place.

    Nearly none when poses and depth are right: a surface cannot be there and not be there.
    """
    step = np.s_[::4, ::4]
    points = depths.backproject(view.depth, view.camera)[step][view.depth[step] > 0]
    local = transform_points(invert(T_other) @ T_view, points)
    u, v, inside = pixels_of(local, other.camera)
    seen, z = other.depth[v, u], local[inside, 2]
    compared = seen > 0
    through = compared & (seen - z > SEE_THROUGH_M + 2 * plane_tolerance(z))
    return int(through.sum()), int(compared.sum())


def pixels_of(local: Array, camera: Camera) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.bool_]]:
    """Nearest pixels (u, v) of those camera-frame points (N, 3) that fall into the picture, and which do."""
    uv = np.nan_to_num(depths.project(local, camera), nan=-1e6)
    inside = ((uv > -0.5) & (uv < [camera.width - 0.51, camera.height - 0.51])).all(axis=1) & (local[:, 2] > 0.05)
    u, v = np.rint(uv[inside]).astype(np.intp).T
    return u, v, inside


def contradiction(views: Sequence[DepthView], poses: Sequence[Array]) -> float:
    """Share of the surface measured by one view and looked at by another that the other sees through; all pairs."""
    counts = [
        see_through(views[i], poses[i], views[j], poses[j])
        for i in range(len(views))
        for j in range(len(views))
        if i != j
    ]
    return sum(c[0] for c in counts) / max(sum(c[1] for c in counts), 1)


def riding(views: Sequence[DepthView]) -> NDArray[np.bool_]:
    """Pixels (H, W) that show the same distance in nearly every view: a gripper or mount that moves with the camera.

    None are when pictures differ in size, there are fewer than four, or most of the picture stands still.
    """
    nothing = np.zeros(views[0].depth.shape, bool)
    if len(views) < 4 or len({view.depth.shape for view in views}) > 1:
        return nothing
    stack = np.stack([view.depth for view in views])
    count = (stack > 0).sum(axis=0)
    stack = np.sort(np.where(stack > 0, stack, np.inf), axis=0)
    last = np.maximum(count - 1, 0)
    low, high = (
        np.take_along_axis(stack, np.asarray(at, dtype=np.intp)[None], axis=0)[0]
        for at in (np.floor(0.1 * last), np.ceil(0.9 * last))
    )
    still = (count >= RIDING_SHARE * len(views)) & (high < (1 + RIDING_SPREAD) * low)
    still = cv2.morphologyEx(still.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    if still.mean() > MOST_RIDING:
        return nothing
    return cv2.dilate(still, np.ones((15, 15), np.uint8)) > 0
