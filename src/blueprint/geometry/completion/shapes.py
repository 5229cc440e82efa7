"""One parametric solid that covers boxes, cylinders, cans, bottles and bowls turned over: a prism with a profile.

Its cross-section is a rounded rectangle, scaled along its axis by a profile. Signed distances are exact for a constant
profile and first-order approximations (off by the cosine of the wall's slope) otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from blueprint.geometry.transforms import Array


@dataclass(frozen=True)
class Prism:
    """rotation: (3, 3), columns are the local axes in the world, the third is the prism's axis; base: (3,) world centre
    of the lower cap; half: half extents (x, y) of the cross-section [m]; height [m]; roundness: corner radius / smaller
    half extent, 0 = rectangle, 1 = circle or stadium; profile: scale of the longer half extent at even heights;
    taper: the shorter one is scaled by the profile to this power; lean: how far the middle of the cross-section moves
    along the longer half extent per height; wall: thickness of wall and floor of an open container [m], 0 = solid.
    """

    rotation: Array
    base: Array
    half: tuple[float, float]
    height: float
    roundness: float = 0.0
    profile: tuple[float, ...] = (1.0,)
    taper: float = 0.0
    lean: float = 0.0
    wall: float = 0.0

    def sections(self, z: Array) -> tuple[Array, Array]:
        """Half extents (x, y) of the cross-section at heights z: (N,) above the base.

        The shorter one is never longer than the longer one: necks and caps are round.
        """
        a, b = self.half
        if len(self.profile) == 1:
            return np.full_like(z, a), np.full_like(z, b)
        scale = np.interp(z / self.height, np.linspace(0, 1, len(self.profile)), self.profile)
        long = max(a, b) * scale
        short = np.minimum(min(a, b) * scale**self.taper, long)
        return (long, short) if a >= b else (short, long)

    def distance(self, points: Array) -> Array:
        """Signed distance [m] of points (..., 3), negative inside."""
        outer = self.filled_distance(points)
        return outer if self.wall == 0 else np.maximum(outer, -self.cavity().filled_distance(points))

    def cavity(self) -> Prism:
        """What an open container holds: it reaches a container's height above the rim."""
        rise, count = self.height - self.wall, len(self.profile)
        inner = max(self.half) - self.wall
        heights = np.linspace(self.wall, 2 * self.height - self.wall, 2 * count - 1) if count > 1 else np.zeros(1)
        scale = np.interp(np.minimum(heights, self.height) / self.height, np.linspace(0, 1, count), self.profile)
        profile = np.maximum(max(self.half) * scale - self.wall, 1e-4) / inner
        base = self.base + self.rotation[:, 2] * self.wall
        return Prism(self.rotation, base, (inner, inner), 2 * rise, self.roundness, tuple(profile.tolist()), taper=1.0)

    def filled_distance(self, points: Array) -> Array:
        """Signed distance [m] as if a container were full."""
        local = (points - self.base) @ self.rotation
        local = local - self.middle(local[..., 2])
        a, b = self.sections(local[..., 2])
        radius = self.roundness * np.minimum(a, b)
        qx, qy = np.abs(local[..., 0]) - a + radius, np.abs(local[..., 1]) - b + radius
        side = np.hypot(np.maximum(qx, 0), np.maximum(qy, 0)) + np.minimum(np.maximum(qx, qy), 0) - radius
        cap = np.abs(local[..., 2] - self.height / 2) - self.height / 2
        return np.hypot(np.maximum(side, 0), np.maximum(cap, 0)) + np.minimum(np.maximum(side, cap), 0)

    def middle(self, z: Array) -> Array:
        """(..., 3) where the middle of the cross-section at heights z is, as an offset from the axis."""
        offset = np.zeros((*z.shape, 3))
        offset[..., 0 if self.half[0] >= self.half[1] else 1] = self.lean * z
        return offset

    def extents(self) -> Array:
        """(3,) extents along the local axes [m]."""
        z = np.linspace(0, self.height, max(len(self.profile), 2))
        half = np.stack([*self.sections(z), np.zeros_like(z)], axis=1)
        high, low = self.middle(z) + half, self.middle(z) - half
        return np.append((high.max(axis=0) - low.min(axis=0))[:2], self.height)

    @property
    def center(self) -> Array:
        return self.base + self.rotation[:, 2] * self.height / 2

    @property
    def reach(self) -> float:
        """Radius of a sphere about `center` that holds the solid."""
        a, b = self.half[0] * max(self.profile), self.half[1] * max(self.profile)
        return float(np.sqrt(a * a + b * b + self.height**2 / 4) + abs(self.lean) * self.height)


def yaw_rotation(yaw: float) -> Array:
    """(3, 3) rotation about z by `yaw` [rad]."""
    c, s = np.cos(yaw), np.sin(yaw)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def lying_rotation(yaw: float) -> Array:
    """(3, 3): the prism's axis is horizontal at `yaw` [rad], its local x is up."""
    c, s = np.cos(yaw), np.sin(yaw)
    return np.stack([[0.0, 0.0, 1.0], [s, -c, 0.0], [c, s, 0.0]], axis=1)


def ray_clearance(solid: Prism, origins: Array, directions: Array, coarse: int = 20, fine: int = 9) -> Array:
    """(M,) smallest signed distance of `solid` along each ray [m]: 0 = tangent, positive = a miss, negative = a hit."""
    middle = np.sum((solid.center - origins) * directions, axis=1)
    step = 2 * solid.reach / (coarse - 1)
    t = middle[:, None] + np.linspace(-solid.reach, solid.reach, coarse)
    best = _along(solid, origins, directions, t)[1]
    t = best[:, None] + np.linspace(-step, step, fine)
    smallest, best = _along(solid, origins, directions, t)
    t = best[:, None] + np.linspace(-step, step, fine) * 2 / (fine - 1)
    return np.minimum(smallest, _along(solid, origins, directions, t)[0])


def _along(solid: Prism, origins: Array, directions: Array, t: Array) -> tuple[Array, Array]:
    distance = solid.filled_distance(origins[:, None] + t[:, :, None] * directions[:, None])
    index = np.argmin(distance, axis=1)
    rows = np.arange(len(t))
    return distance[rows, index], t[rows, index]


def section_outline(a: float, b: float, roundness: float, corner: int = 12) -> Array:
    """(4 * corner, 2) counter-clockwise outline of a rounded rectangle with half extents a, b."""
    radius = roundness * min(a, b)
    angles = np.linspace(0, np.pi / 2, corner)
    arc = radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    quadrants = []
    for k, (sx, sy) in enumerate(((1, 1), (-1, 1), (-1, -1), (1, -1))):
        turn = yaw_rotation(k * np.pi / 2)[:2, :2]
        quadrants.append(arc @ turn.T + [sx * (a - radius), sy * (b - radius)])
    return np.concatenate(quadrants)
