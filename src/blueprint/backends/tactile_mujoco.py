"""Readings of tactile fingertips from stored states: the shapes that MuJoCo lets touch, under the forces it finds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull, QhullError

from blueprint.backends.anatomy_mujoco import geom_points
from blueprint.backends.signals_mujoco import Arm, Signals, arm_of, compiled
from blueprint.geometry.tactile import HEIGHT, PITCH_M, WIDTH, Touch, touch
from blueprint.model.scene import RobotArm

Array = NDArray[np.float64]

COARSE = 8  # pixels between two rays (0.6 mm); the shape between them is interpolated
BACK_M = 0.02  # rays start this far behind the pad
AROUND = 2.0  # MuJoCo names a flat contact by its corners, which may lie outside the pad: up to this many half widths
FACING = 0.7  # cosine between a contact's normal and the pad's: what presses on it, not on the finger's sides


def touches(model: Path, qpos: Array, felt: Signals, robots: Sequence[RobotArm]) -> Iterator[tuple[Touch, ...]]:
    """One tuple per state of qpos (T, nq): a reading per finger body, arm by arm, in the order of `gripper_force`.

    The pad lies around the tool point on the inside of the finger, its columns along the tool's z, its rows along
    the tool's x. felt: the signals of these states
    """
    import mujoco

    mj_model = compiled(model)
    data: Any = mujoco.MjData(mj_model)
    hulls: dict[int, Array] = {}
    arms = [arm_of(mj_model, robot) for robot in robots]
    for t, row in enumerate(qpos):
        data.qpos[:] = row
        mujoco.mj_kinematics(mj_model, data)
        yield tuple(_reading(mj_model, data, arm, finger, felt, t, hulls) for arm in arms for finger in arm.fingers)


def _reading(
    model: Any, data: Any, arm: Arm, finger: frozenset[int], felt: Signals, t: int, hulls: dict[int, Array]
) -> Touch:
    tool = data.site_xpos[arm.site]
    _, y, z = data.site_xmat[arm.site].reshape(3, 3).T
    side = np.sign((data.xpos[min(finger)] - tool) @ y)
    axes = np.stack([z, side * np.cross(z, y), -side * y])  # rows: the pad's x, y and z, right-handed
    load = felt.contacts.at(t).upon(finger, arm.gripper)
    local = (load.position - tool) @ axes.T
    half = np.array([WIDTH, HEIGHT]) * PITCH_M / 2
    pressing = (np.abs(local[:, :2]) < AROUND * half).all(axis=1) & (load.normal @ axes[2] < -FACING)
    if not pressing.any():
        return touch(np.full((HEIGHT, WIDTH), np.inf), np.zeros(3))
    start = tool + axes[2] * local[pressing, 2].mean()  # the pad's surface, where it touches
    gap = _gap(model, data, set(load.by[pressing].tolist()), start, axes, hulls)
    for u, v in (np.clip(local[pressing, :2] + half, 0, 2 * half - PITCH_M) / PITCH_M).astype(int):
        if not np.isfinite(gap[v, u]):  # a corner between the rays
            gap[v, u] = 0.0
    return touch(gap, axes @ load.force[pressing].sum(axis=0))


def _gap(model: Any, data: Any, bodies: set[int], start: Array, axes: Array, hulls: dict[int, Array]) -> Array:
    """(HEIGHT, WIDTH) [m] from the plane through `start` to the bodies' colliders, along the pad's z."""
    rows, columns = np.arange(COARSE / 2, HEIGHT, COARSE), np.arange(COARSE / 2, WIDTH, COARSE)
    v, u = np.meshgrid((rows - HEIGHT / 2) * PITCH_M, (columns - WIDTH / 2) * PITCH_M, indexing="ij")
    origins = (start - BACK_M * axes[2] + u[..., None] * axes[0] + v[..., None] * axes[1]).reshape(-1, 3)
    nearest = np.full(len(origins), np.inf)
    reach = np.hypot(WIDTH, HEIGHT) * PITCH_M / 2
    for geom in np.flatnonzero(np.isin(model.geom_bodyid, list(bodies))):
        collides = model.geom_contype[geom] or model.geom_conaffinity[geom]
        near = np.linalg.norm(data.geom_xpos[geom] - start) < model.geom_rbound[geom] + reach + BACK_M
        if collides and near:
            nearest = np.minimum(nearest, _distances(model, data, int(geom), origins, axes[2], hulls))
    far = np.where(np.isfinite(nearest), nearest - BACK_M, BACK_M).reshape(len(rows), len(columns))
    fine = cv2.resize(far, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
    return np.where(fine < BACK_M / 2, fine, np.inf)


def _distances(model: Any, data: Any, geom: int, origins: Array, along: Array, hulls: dict[int, Array]) -> Array:
    """(N,) [m] from each origin to the geom's surface, inf where the ray misses it."""
    import mujoco

    position, rotation = data.geom_xpos[geom], data.geom_xmat[geom]
    kind = model.geom_type[geom]
    if kind != mujoco.mjtGeom.mjGEOM_MESH:
        size = model.geom_size[geom]
        found = [mujoco.mju_rayGeom(position, rotation, size, origin, along, kind, None) for origin in origins]
        return np.array([np.inf if distance < 0 else distance for distance in found])
    if geom not in hulls:
        hulls[geom] = _half_spaces(geom_points(model, geom))
    frame = rotation.reshape(3, 3)
    local, direction = (origins - position) @ frame, along @ frame
    outward, offset = hulls[geom][:, :3], hulls[geom][:, 3]
    slope, height = outward @ direction, local @ outward.T + offset  # height > 0: outside of this face
    with np.errstate(divide="ignore", invalid="ignore"):
        cut = -height / slope
    enter = np.where(slope < 0, cut, -np.inf).max(axis=1)
    leave = np.where(slope > 0, cut, np.inf).min(axis=1)
    passes = ((slope == 0) & (height > 0)).any(axis=1)
    return np.where((enter <= leave) & (leave >= 0) & ~passes, enter, np.inf)


def _half_spaces(points: Array) -> Array:
    """(F, 4) outward normal and offset of every face of the hull: MuJoCo lets meshes touch as their hulls."""
    try:
        return ConvexHull(points).equations
    except QhullError:
        return ConvexHull(points, qhull_options="QJ").equations  # flat: joggled to have a volume
