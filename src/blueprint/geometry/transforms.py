"""Rigid transforms: 4x4 matrices for computing, `Pose` for storing."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from blueprint.model.spatial import Matrix4, Pose

Array = NDArray[np.float64]


def pose_to_matrix(pose: Pose) -> Array:
    """(4, 4) homogeneous matrix of a pose."""
    T = np.eye(4)
    T[:3, :3] = Rotation.from_quat(pose.quat_wxyz, scalar_first=True).as_matrix()
    T[:3, 3] = pose.position
    return T


def matrix_to_pose(T: ArrayLike) -> Pose:
    """Pose of a (4, 4) rigid matrix; the quaternion's real part is not negative."""
    T = np.asarray(T, dtype=float)
    quat = Rotation.from_matrix(T[:3, :3]).as_quat(canonical=True, scalar_first=True)
    return Pose(position=tuple(T[:3, 3].tolist()), quat_wxyz=tuple(quat.tolist()))


def matrix_to_rows(T: ArrayLike) -> Matrix4:
    """The (4, 4) matrix as nested tuples, for a model."""
    rows = np.asarray(T, dtype=float).tolist()
    return (tuple(rows[0]), tuple(rows[1]), tuple(rows[2]), tuple(rows[3]))  # type: ignore[return-value]


def invert(T: ArrayLike) -> Array:
    """Inverse of a (4, 4) rigid matrix."""
    T = np.asarray(T, dtype=float)
    out = np.eye(4)
    out[:3, :3] = T[:3, :3].T
    out[:3, 3] = -T[:3, :3].T @ T[:3, 3]
    return out


def transform_points(T: ArrayLike, points: ArrayLike) -> Array:
    """Apply a (4, 4) matrix to points (..., 3) [m]."""
    T = np.asarray(T, dtype=float)
    return np.asarray(points, dtype=float) @ T[:3, :3].T + T[:3, 3]


def rotation_angle(T_a: ArrayLike, T_b: ArrayLike) -> float:
    """Angle [rad] between the rotations of two (4, 4) matrices."""
    relative = np.asarray(T_a)[:3, :3].T @ np.asarray(T_b)[:3, :3]
    return float(Rotation.from_matrix(relative).magnitude())
