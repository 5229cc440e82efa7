"""Metres for a model without unit: markers, picked points, camera positions.

Lengths of the model are in its own unit; a scale is metres per that unit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from blueprint.core.errors import InputError
from blueprint.geometry.transforms import invert, transform_points

DICTIONARIES = (  # tried in turn when none is named; the first two have so few bits that they are last
    "DICT_APRILTAG_36h11",
    "DICT_APRILTAG_25h9",
    "DICT_ARUCO_ORIGINAL",
    "DICT_6X6_250",
    "DICT_5X5_250",
    "DICT_4X4_250",
)
MOST_REPROJECTION_PX = 3.0
LEAST_ANGLE_DEG = 2.0  # between the rays to a corner: less says nothing of its distance
MOST_SPREAD = 0.1  # of a marker's four edges
SMALL_PX = 2000
PATCH_PX = 3  # around a picked pixel


@dataclass(frozen=True)
class Sight:
    """A pinhole view of the model. K (3, 3) [px]; T_camera_world (4, 4)"""

    K: NDArray[np.float64]
    T_camera_world: NDArray[np.float64]

    @property
    def center(self) -> NDArray[np.float64]:
        return invert(self.T_camera_world)[:3, 3]

    def rays(self, pixels: NDArray[np.floating]) -> NDArray[np.float64]:
        """Unit directions (N, 3), world frame, of pixels (N, 2)."""
        flat = np.concatenate([pixels, np.ones((len(pixels), 1))], axis=1) @ np.linalg.inv(self.K).T
        turned = flat @ self.T_camera_world[:3, :3]
        return turned / np.linalg.norm(turned, axis=1, keepdims=True)

    def project(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Pixels (N, 2) of points (N, 3)."""
        flat = transform_points(self.T_camera_world, points) @ self.K.T
        return flat[:, :2] / flat[:, 2:]


def dictionary_name(name: str) -> str:
    """As OpenCV spells it, from `4x4_50`, `DICT_4X4_50`, `tag36h11`, `apriltag_36h11`. Raises InputError."""
    known = {key for key in dir(cv2.aruco) if key.startswith("DICT_")}
    word = name.strip().upper().removeprefix("DICT_").replace("APRILTAG", "TAG").replace("TAG_", "TAG")
    for key in sorted(known):
        if word in (plain := key.upper().removeprefix("DICT_").replace("APRILTAG_", "TAG"), plain.removeprefix("TAG")):
            return key
    raise InputError(f"no marker dictionary {name!r}", f"such as {', '.join(DICTIONARIES)}")


def find_markers(color: NDArray[np.uint8], dictionary: str) -> dict[int, NDArray[np.float64]]:
    """Corners (4, 2) [px] of each marker in a picture (H, W, 3), by id; one that appears twice is left out."""
    parameters = cv2.aruco.DetectorParameters()
    # Lines fitted to the edges: corners refined one by one made edges of 30 px up to 3 % too long.
    parameters.cornerRefinementMethod = cv2.aruco.CORNER_REFINE_APRILTAG
    words = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, dictionary))
    detector = cv2.aruco.ArucoDetector(words, parameters)
    gray = cv2.cvtColor(color, cv2.COLOR_RGB2GRAY)
    up = 2 if max(gray.shape) < SMALL_PX else 1
    corners, ids, _ = detector.detectMarkers(cv2.resize(gray, None, fx=up, fy=up, interpolation=cv2.INTER_CUBIC))
    numbers = [] if ids is None else [int(number) for number in ids.ravel()]
    loops = zip(numbers, corners, strict=True)
    found = {n: np.asarray(loop, dtype=float).reshape(4, 2) for n, loop in loops if numbers.count(n) == 1}
    return {n: (loop + 0.5) / up - 0.5 for n, loop in found.items()}


def triangulate(sights: Sequence[Sight], pixels: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """The point (3,) nearest to the rays through pixels (V, 2), one of each sight; None when they do not meet."""
    rays = np.array([sight.rays(p[None])[0] for sight, p in zip(sights, pixels, strict=True)])
    if len(rays) < 2 or np.degrees(np.arccos(np.clip((rays @ rays.T).min(), -1, 1))) < LEAST_ANGLE_DEG:
        return None
    across = np.eye(3) - rays[:, :, None] * rays[:, None, :]  # removes what lies along each ray
    centers = np.array([sight.center for sight in sights])
    point = np.linalg.solve(across.sum(0), np.einsum("vij,vj->i", across, centers))
    missed = [np.linalg.norm(sight.project(point[None])[0] - p) for sight, p in zip(sights, pixels, strict=True)]
    return point if np.median(missed) < MOST_REPROJECTION_PX else None


def marker_edges(sights: Sequence[Sight], seen: Sequence[Mapping[int, NDArray[np.float64]]]) -> dict[int, float]:
    """Mean edge of each marker that two views or more place, by id. seen: of each sight, from `find_markers`"""
    edges: dict[int, float] = {}
    for marker in sorted({number for view in seen for number in view}):
        having = [i for i, view in enumerate(seen) if marker in view]
        corners = [
            triangulate([sights[i] for i in having], np.array([seen[i][marker][k] for i in having])) for k in range(4)
        ]
        if any(corner is None for corner in corners):
            continue
        loop = np.array(corners, dtype=float)
        lengths = np.linalg.norm(loop - np.roll(loop, -1, axis=0), axis=1)
        if np.ptp(lengths) < MOST_SPREAD * lengths.mean():
            edges[marker] = float(lengths.mean())
    return edges


def picked(z: NDArray[np.float32], sight: Sight, pixel: tuple[float, float]) -> NDArray[np.float64] | None:
    """The point (3,) under a pixel of a depth image (H, W), 0 = none; None when nothing near it was measured."""
    u, v = (round(x) for x in pixel)
    patch = z[max(0, v - PATCH_PX) : v + PATCH_PX + 1, max(0, u - PATCH_PX) : u + PATCH_PX + 1]
    if not (patch > 0).any():
        return None
    flat = np.linalg.inv(sight.K) @ [*pixel, 1.0]
    return transform_points(invert(sight.T_camera_world), flat * float(np.median(patch[patch > 0])))


def scale_of_centers(model: NDArray[np.float64], metric: NDArray[np.float64]) -> float:
    """Metres per unit that bring camera positions (V, 3) of the model to the metric ones: ratio of their distances."""
    a, b = (np.linalg.norm(c[:, None] - c[None], axis=2)[np.triu_indices(len(c), 1)] for c in (model, metric))
    return float(np.median(b[a > 0] / a[a > 0]))
