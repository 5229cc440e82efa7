"""What a gel fingertip with a camera behind it would see: a model from contact geometry and force, not a simulation.

The pad is an elastic foundation (K. L. Johnson, Contact Mechanics, 1985, section 4.3): pressure = stiffness x
indentation, each spot on its own. How deep the object sinks in is what makes the pressure add up to the measured normal
force; where it sinks in is the object's own shape. Shear is spread like the pressure. The picture is the dented
surface lit by three coloured lamps with dots that move with the shear, as simulators of such sensors draw it (D. F.
Gomes et al., "Generation of GelSight Tactile Images for Sim2Real Learning", RA-L 2021). Size and dots follow the
earlier system's `gelslim`; the gel's stiffness is an assumption (below): the depth scales with it, the force does not.
Left out: gel that is pushed sideways or bulges, sliding inside the contact, the optics of a real sensor.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

WIDTH, HEIGHT = 320, 240  # pixels; columns run along the finger to its tip
PITCH_M = 75e-6  # of a pixel: the pad is 24 x 18 mm
DOTS = 11  # dots per side of their grid
YOUNG_PA, THICKNESS_M = 2e5, 2.5e-3  # assumed: a soft silicone gel; no datasheet stands behind it
STIFFNESS = YOUNG_PA / THICKNESS_M  # [Pa/m] normal
SHEAR_STIFFNESS = STIFFNESS / 3  # [Pa/m]: the shear modulus of what keeps its volume is a third of Young's
NEWTONS_PER_METRE = STIFFNESS * PITCH_M**2  # force on a pixel per metre of its indentation
_LAMPS = np.array([[np.cos(a), np.sin(a), 1.0] for a in np.deg2rad([90, 210, 330])]) / np.sqrt(2)  # red, green, blue
_DOT_PX = 2.5


@dataclass(frozen=True)
class Touch:
    """One reading of a pad. Axes of the pad: x along its columns, y along its rows, z out of it.

    depth: (H, W) [m] indentation; `NEWTONS_PER_METRE` times it is the force on each pixel
    force: (3,) [N] that the object puts on the pad, z negative; dots: (DOTS^2, 2) [m] how far each dot has moved
    centroid: (2,) [m] of the pressure from the middle; area_m2: of contact
    """

    depth: NDArray[np.float32]
    force: Array
    dots: Array
    centroid: Array
    area_m2: float


def touch(gap: Array, force: Array) -> Touch:
    """gap: (H, W) [m] from a plane parallel to the pad to the object, smaller = farther in, inf = nothing there.

    Raises ValueError when there is a force and nothing to exert it.
    """
    normal = max(-float(force[2]), 0.0)
    depth = np.maximum(_plane(gap, normal / NEWTONS_PER_METRE) - gap, 0.0) if normal > 0 else np.zeros(gap.shape)
    pressing = depth > 0
    y, x = (np.indices(gap.shape) - (np.array(gap.shape)[:, None, None] - 1) / 2) * PITCH_M
    share = depth / depth.sum() if pressing.any() else depth
    shear = share[..., None] * force[:2] / (PITCH_M**2 * SHEAR_STIFFNESS)
    rows, columns = _dot_pixels()
    return Touch(
        depth=depth.astype(np.float32),
        force=force,
        dots=shear[rows, columns],
        centroid=np.array([(share * x).sum(), (share * y).sum()]),
        area_m2=float(pressing.sum()) * PITCH_M**2,
    )


def _plane(gap: Array, total: float) -> float:
    """d with sum(max(d - gap, 0)) = total, exactly: the m smallest gaps take part."""
    known = np.sort(gap[np.isfinite(gap)])
    if not len(known):
        raise ValueError("a force on the pad, but nothing in front of it")
    level = (total + np.cumsum(known)) / np.arange(1, len(known) + 1)
    inside = np.append(level[:-1] <= known[1:], True)
    return float(level[np.argmax(inside)])


def picture(reading: Touch) -> NDArray[np.uint8]:
    """(H, W, 3) what the camera behind the gel sees. Lambertian; the membrane rounds off edges of 0.15 mm."""
    surface = cv2.GaussianBlur(reading.depth, (0, 0), 2.0) / PITCH_M
    dv, du = np.gradient(surface)
    normal = np.dstack([du, dv, np.ones_like(surface)])
    normal /= np.linalg.norm(normal, axis=2, keepdims=True)
    color = np.clip(255 * (0.15 + 0.7 * normal @ _LAMPS.T), 0, 255).astype(np.uint8)
    rows, columns = _dot_pixels()
    for u, v, (dx, dy) in zip(columns, rows, reading.dots / PITCH_M, strict=True):
        centre = (round(16 * (u + dx)), round(16 * (v + dy)))  # in sixteenths of a pixel
        cv2.circle(color, centre, round(16 * _DOT_PX), (20, 20, 20), -1, cv2.LINE_AA, 4)
    return color


def _dot_pixels() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns (DOTS^2,) of the dots at rest."""
    rows, columns = ((np.arange(DOTS) + 0.5) * size / DOTS for size in (HEIGHT, WIDTH))
    grid = np.meshgrid(rows, columns, indexing="ij")
    return grid[0].ravel().astype(np.int64), grid[1].ravel().astype(np.int64)
