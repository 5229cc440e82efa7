"""What a colour and a depth sensor add to clean pictures, at the level of published error models.

axial and lateral noise of structured light: C. V. Nguyen, S. Izadi, D. Lovell, "Modeling Kinect Sensor Noise for
    Improved 3D Reconstruction and Tracking", 3DIMPVT 2012 (sigma_z = 0.0012 + 0.0019 (z - 0.4)^2 [m], plus an angle
    term; neighbours about 0.8 px away)
noise of disparity, so of z growing with z^2: K. Khoshelham, S. Oude Elberink, "Accuracy and Resolution of Kinect Depth
    Data for Indoor Mapping Applications", Sensors 12(2), 2012
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from blueprint.model.variation import SensorNoise

LATERAL_PX = 0.8
EDGE_SHARE = 0.03  # a step in depth of more than this share of it is an edge
GRAZING = np.deg2rad(75.0)  # of incidence: beyond it readings start to fail


def noisy_color(color: NDArray[np.uint8], noise: SensorNoise, rng: np.random.Generator) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 with photon and read noise."""
    if noise.shot == 0.0 and noise.read == 0.0:
        return color
    return quantised(with_photon_noise(color / np.float32(255), noise.shot, noise.read, rng))


def noisy_depth(
    depth: NDArray[np.float32], noise: SensorNoise, focal_px: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """(H, W) float32 [m], 0 = no reading: noise of disparity, and readings missing at edges and grazing angles.

    depth: clean, 0 where there is none; focal_px: of the camera, which tells how steep a surface is
    """
    known = depth > 0
    z = depth.astype(np.float64)
    if noise.depth > 0:
        z = z + noise.depth * z**2 * correlated(z.shape, rng)
    if noise.depth_dropout > 0:
        fragile = jumps(depth, 1) | (incidence(depth, focal_px) > GRAZING)
        known &= ~(fragile & (rng.uniform(size=z.shape) < noise.depth_dropout))
    return np.where(known, np.maximum(z, 0.0), 0.0).astype(np.float32)


# ------------------------------------------------------------------ the parts


def with_photon_noise(color: NDArray, shot: float, read: float, rng: np.random.Generator) -> NDArray:
    """Colours in [0, 1]; shot: standard deviation at full brightness, growing with its root; read: everywhere."""
    return color + rng.standard_normal(color.shape) * np.sqrt(read**2 + shot**2 * np.clip(color, 0, 1))


def quantised(color: NDArray) -> NDArray[np.uint8]:
    return np.clip(np.rint(255 * color), 0, 255).astype(np.uint8)


def correlated(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
    """(H, W) of unit variance: correlation windows of a matcher make neighbouring errors alike."""
    noise = cv2.GaussianBlur(rng.standard_normal(shape), (0, 0), 0.8)
    return noise / noise.std()


def shifted(depth: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float64]:
    """Lateral noise: each pixel reads a neighbour about 0.8 px away (Nguyen et al., fig. 5)."""
    height, width = depth.shape
    v, u = np.mgrid[:height, :width]
    dv, du = np.rint(LATERAL_PX * rng.standard_normal((2, height, width))).astype(int)
    return depth[np.clip(v + dv, 0, height - 1), np.clip(u + du, 0, width - 1)].astype(np.float64)


def jumps(depth: NDArray[np.float32], reach: int) -> NDArray[np.bool_]:
    """Pixels within `reach` of a step in depth of more than 3 %."""
    kernel = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    return cv2.dilate(depth, kernel) - cv2.erode(depth, kernel) > EDGE_SHARE * depth


def incidence(depth: NDArray[np.float32], focal_px: float) -> NDArray[np.float64]:
    """(H, W) [rad] angle between ray and surface normal, near the optical axis: tan = |grad z| f / z."""
    dv, du = np.gradient(depth.astype(np.float64))
    return np.arctan2(np.hypot(du, dv) * focal_px, np.maximum(depth, 1e-6))
