"""A structured-light RGB-D sensor at the level of its published error models: see `geometry.sensor_noise`.

Its baseline is 75 mm, its focal length 580 px, its steps of disparity 1/8 px (Khoshelham and Oude Elberink 2012).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from blueprint.apps.procedural.room import Shot
from blueprint.geometry.sensor_noise import correlated, jumps, quantised, shifted, with_photon_noise

BASELINE_FOCAL = 0.075 * 580.0  # m px
DISPARITY_STEP = 1 / 8  # px
MAX_RANGE = 3.5  # m
GRAZING = np.deg2rad(82.0)  # beyond it hardly any of the pattern comes back


def measured_depth(shot: Shot, rng: np.random.Generator) -> NDArray[np.uint16]:
    """(H, W) uint16 [mm], 0 = no reading."""
    z = shifted(shot.depth, rng)
    theta = np.minimum(np.arccos(np.clip(shot.cos_incidence, 0, 1)), GRAZING)
    slope = theta**2 / (np.pi / 2 - theta) ** 2
    sigma = 0.0012 + 0.0019 * (z - 0.4) ** 2 + 0.0001 / np.sqrt(z) * slope
    z = np.maximum(z + sigma * correlated(z.shape, rng), 0.05)
    disparity = np.rint(BASELINE_FOCAL / z / DISPARITY_STEP) * DISPARITY_STEP
    z = BASELINE_FOCAL / np.maximum(disparity, DISPARITY_STEP)
    z = with_flying_pixels(z, shot.depth, rng)
    z[missing(shot, rng)] = 0
    return np.rint(1000 * z).astype(np.uint16)


def with_flying_pixels(z: NDArray[np.float64], truth: NDArray[np.float32], rng: np.random.Generator) -> NDArray:
    """At some edge pixels the beam hits both surfaces and the reading lies between them."""
    near, far = cv2.erode(truth, np.ones((3, 3))), cv2.dilate(truth, np.ones((3, 3)))
    flying = jumps(truth, 1) & (rng.uniform(size=z.shape) < 0.12)
    between = near + rng.uniform(size=z.shape) * (far - near)
    return np.where(flying, between, z)


def missing(shot: Shot, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Shadow of the projector, edges, grazing surfaces, range."""
    edge = jumps(shot.depth, 1) & (rng.uniform(size=shot.depth.shape) < 0.45)
    # At a step in depth the normal is an artefact of differencing, so only smooth surfaces count as grazing.
    grazing = (np.arccos(np.clip(shot.cos_incidence, 0, 1)) > GRAZING) & ~jumps(shot.depth, 1)
    patchy = cv2.GaussianBlur(rng.standard_normal(shot.depth.shape), (0, 0), 1.5)
    speckle = patchy > 3.4 * patchy.std()
    return projector_shadow(shot.depth) | edge | grazing | speckle | (shot.depth > MAX_RANGE)


def projector_shadow(depth: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Pixels that the projector, one baseline to the right, cannot see: a nearer surface covers their column."""
    seen_at = np.arange(depth.shape[1]) - BASELINE_FOCAL / depth
    nearest = np.minimum.accumulate(seen_at[:, ::-1], axis=1)[:, ::-1]
    return seen_at > nearest + 1.0


def photographed(shot: Shot, rng: np.random.Generator) -> NDArray[np.uint8]:
    """(H, W, 3) uint8: a little lens blur, vignette, photon and read noise, as a webcam-class colour sensor has."""
    color = cv2.GaussianBlur(shot.color.astype(np.float32), (0, 0), 0.55)
    height, width = color.shape[:2]
    v, u = np.mgrid[:height, :width]
    radius2 = ((u - width / 2) ** 2 + (v - height / 2) ** 2) / (width / 2) ** 2
    color = color * (1 - 0.13 * radius2)[..., None]
    return quantised(with_photon_noise(color, 0.011, 0.006, rng))
