"""Shapes as triangle meshes with normals and texture coordinates. Metres, z up, standing on z = 0."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Shape:
    """vertices, normals: (N, 3); uv: (N, 2) with v = 0 in the picture's last row; faces: (F, 3) int, outward."""

    vertices: NDArray[np.float64]
    normals: NDArray[np.float64]
    uv: NDArray[np.float64]
    faces: NDArray[np.int32]

    @property
    def dims(self) -> tuple[float, float, float]:
        x, y, z = np.ptp(self.vertices, axis=0)
        return float(x), float(y), float(z)


# Atlas of a box: three columns, two rows: front right back / left top bottom.
ATLAS = {"front": (0, 0), "right": (1, 0), "back": (2, 0), "left": (0, 1), "top": (1, 1), "bottom": (2, 1)}
_AXES = {  # face: (outward, along u, along v)
    "front": ((0, -1, 0), (1, 0, 0), (0, 0, 1)),
    "right": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "back": ((0, 1, 0), (-1, 0, 0), (0, 0, 1)),
    "left": ((-1, 0, 0), (0, -1, 0), (0, 0, 1)),
    "top": ((0, 0, 1), (1, 0, 0), (0, 1, 0)),
    "bottom": ((0, 0, -1), (-1, 0, 0), (0, 1, 0)),
}


def box(x: float, y: float, z: float) -> Shape:
    """A box of these extents whose six faces address the cells of `ATLAS`."""
    half = np.array([x, y, z]) / 2
    vertices, normals, uv, faces = [], [], [], []
    for name, (outward, along_u, along_v) in _AXES.items():
        column, row = ATLAS[name]
        for su, sv in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
            corner = half * (np.array(outward) + su * np.array(along_u) + sv * np.array(along_v))
            vertices.append(corner + np.array([0.0, 0.0, half[2]]))
            normals.append(outward)
            uv.append(((column + (su + 1) / 2) / 3, 1 - (row + 1 - (sv + 1) / 2) / 2))
        first = len(vertices) - 4
        faces += [(first, first + 1, first + 2), (first, first + 2, first + 3)]
    return Shape(np.array(vertices), np.array(normals, float), np.array(uv), np.array(faces, np.int32))


def turned(profile: NDArray[np.float64], segments: int = 72) -> Shape:
    """A solid of revolution about z. profile: (P, 2) of (radius, height) from the base's centre outward and up to the
    axis again; v runs along it by arc length, u around. Corners sharper than 40 degrees get a hard edge."""
    steps = np.diff(profile, axis=0)
    length = np.linalg.norm(steps, axis=1)
    v = np.concatenate([[0.0], np.cumsum(length)]) / length.sum()
    outward = np.stack([steps[:, 1], -steps[:, 0]], 1) / length[:, None]
    angle = np.linspace(0, 2 * np.pi, segments + 1)
    turn = np.stack([np.cos(angle), np.sin(angle)], 1)
    vertices, normals, uv, faces = [], [], [], []
    for k in range(len(steps)):
        for end in (0, 1):
            other = k - 1 + 2 * end
            smooth = 0 <= other < len(steps) and float(outward[k] @ outward[other]) > np.cos(np.deg2rad(40))
            normal = outward[k] + outward[other] if smooth else outward[k]
            normal = normal / np.linalg.norm(normal)
            radius, height = profile[k + end]
            vertices.append(np.column_stack([radius * turn, np.full(len(turn), height)]))
            normals.append(np.column_stack([normal[0] * turn, np.full(len(turn), normal[1])]))
            uv.append(np.column_stack([np.linspace(0, 1, len(turn)), np.full(len(turn), v[k + end])]))
        low = 2 * k * len(turn) + np.arange(segments)
        high = low + len(turn)
        if profile[k, 0] > 0:
            faces.append(np.column_stack([low, low + 1, high + 1]))
        if profile[k + 1, 0] > 0:
            faces.append(np.column_stack([low, high + 1, high]))
    return Shape(
        np.concatenate(vertices), np.concatenate(normals), np.concatenate(uv), np.concatenate(faces).astype(np.int32)
    )


def can_profile(radius: float, height: float) -> NDArray[np.float64]:
    """A tin: base, wall, raised rims, sunk lid."""
    r, h = radius, height
    base = [(0, 0.002), (r * 0.9, 0.002), (r * 0.92, 0), (r, 0), (r, 0.003), (r * 0.985, 0.005)]
    lid = [(r * 0.985, h - 0.005), (r, h - 0.003), (r, h), (r * 0.93, h), (r * 0.9, h - 0.003), (0, h - 0.003)]
    return np.array([*base, *lid])


def bottle_profile(radius: float, height: float) -> NDArray[np.float64]:
    """A bottle with a rounded foot, sloping shoulders and a cap that continues them."""
    r, h = radius, height
    foot = [(r - 0.008 + 0.008 * np.sin(t), 0.008 - 0.008 * np.cos(t)) for t in np.linspace(0, np.pi / 2, 6)]
    shoulder = [(0.5 * r + 0.5 * r * np.cos(t), 0.6 * h + 0.22 * h * np.sin(t)) for t in np.linspace(0, np.pi / 2, 10)]
    cap = [(0.48 * r, 0.985 * h), (0.44 * r, h), (0, h)]
    return np.array([(0, 0), *foot, *shoulder, *cap])


def bowl_profile(radius: float, height: float, wall: float) -> NDArray[np.float64]:
    """A bowl with a foot ring; the inside follows the outside at the distance of the wall."""
    r, h = radius, height
    foot = 0.45 * r
    t = np.linspace(0.0, np.pi / 2, 14)
    outside = [(foot + (r - foot) * np.sin(a), 0.006 + (h - 0.006) * (1 - np.cos(a))) for a in t]
    inside = [
        ((foot + (r - foot) * np.sin(a)) - wall * np.sin(a), 0.006 + wall + (h - 0.006 - wall) * (1 - np.cos(a)))
        for a in t[::-1]
    ]
    return np.array(
        [(0, 0.002), (foot * 0.85, 0.002), (foot * 0.88, 0), (foot, 0), *outside, *inside, (0, 0.006 + wall)]
    )
