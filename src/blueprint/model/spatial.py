"""Vectors and poses as plain values. Metres, right-handed, z up, quaternions wxyz."""

from __future__ import annotations

from blueprint.core.artifact import Model

Vec2 = tuple[float, float]
Vec3 = tuple[float, float, float]
Quat = tuple[float, float, float, float]
Matrix4 = tuple[
    tuple[float, float, float, float],
    tuple[float, float, float, float],
    tuple[float, float, float, float],
    tuple[float, float, float, float],
]


class Pose(Model):
    """T_ab as position [m] and unit quaternion (w, x, y, z): maps points of frame b into frame a."""

    position: Vec3 = (0.0, 0.0, 0.0)
    quat_wxyz: Quat = (1.0, 0.0, 0.0, 0.0)
