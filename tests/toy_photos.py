"""Photographs of a textured table with a printed marker and a textured box on it, ray-cast in numpy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from blueprint.model.capture import Camera
from toy_table import look_at

CAMERA = Camera(width=320, height=240, fx=300.0, fy=300.0, cx=159.5, cy=119.5)
LOW, HIGH = np.array([-0.06, -0.04, 0.0]), np.array([0.05, 0.04, 0.12])  # of the box [m]
HALF_TABLE = 0.4
MARKER_M, MARKER_AT, MARKER_ID = 0.06, (0.13, -0.05), 7  # its edge, and its corner of least x and y
DICTIONARY = "DICT_4X4_50"
PX_PER_M = 2000


@dataclass(frozen=True)
class Photograph:
    """color (H, W, 3) uint8; depth (H, W) [m]; T_world_camera (4, 4)"""

    color: np.ndarray
    depth: np.ndarray
    T_world_camera: np.ndarray


def texture(height: int, width: int, seed: int) -> np.ndarray:
    """(height, width) in 0..255: blots of several sizes."""
    rng = np.random.default_rng(seed)
    image = np.zeros((height, width), np.float32)
    for sigma in (4, 10, 25):
        noise = cv2.GaussianBlur(rng.normal(size=(height, width)).astype(np.float32), (0, 0), sigma)
        image += noise / noise.std()
    return np.clip(128 + 45 * image, 0, 255).astype(np.float32)


def _table() -> np.ndarray:
    side = round(2 * HALF_TABLE * PX_PER_M)
    image = texture(side, side, 0)
    edge = round(MARKER_M * PX_PER_M)
    printed = cv2.aruco.generateImageMarker(
        cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, DICTIONARY)), MARKER_ID, edge
    )
    x, y = (round((c + HALF_TABLE) * PX_PER_M) for c in MARKER_AT)
    margin = edge // 5
    image[y - margin : y + edge + margin, x - margin : x + edge + margin] = 255
    image[y : y + edge, x : x + edge] = printed[::-1]  # rows count with y, so that it reads right from above
    return image


TABLE = _table()
FACES = [texture(300, 300, 1 + i) for i in range(3)]


def photograph(T_world_camera: np.ndarray, camera: Camera = CAMERA, seed: int = 0, plain: bool = False) -> Photograph:
    """Each pixel is the mean of 2 x 2 rays; depth is that of its middle."""
    depth = _cast(T_world_camera, camera, 0, 0)[1]
    shades = [_cast(T_world_camera, camera, du, dv)[0] for du in (-0.25, 0.25) for dv in (-0.25, 0.25)]
    grey = np.full(depth.shape, 128.0) if plain else np.mean(shades, axis=0)
    color = grey[..., None] * [1.0, 0.9, 0.8] + np.random.default_rng(seed).normal(size=(*grey.shape, 3))
    return Photograph(np.clip(color, 0, 255).astype(np.uint8), depth, T_world_camera)


def _cast(T: np.ndarray, camera: Camera, du: float, dv: float) -> tuple[np.ndarray, np.ndarray]:
    u, v = np.meshgrid(np.arange(camera.width) + du, np.arange(camera.height) + dv)
    rays = np.dstack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones(u.shape)]) @ T[:3, :3].T
    origin = T[:3, 3]
    t = -origin[2] / rays[..., 2]
    at = origin + t[..., None] * rays
    hit = (t > 0) & (np.abs(at[..., :2]).max(axis=2) < HALF_TABLE)
    shade = np.where(hit, _look(TABLE, (at[..., 0] + HALF_TABLE) * PX_PER_M, (at[..., 1] + HALF_TABLE) * PX_PER_M), 60)
    depth = np.where(hit, t, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        a, b = (origin * -1 + corner for corner in (LOW, HIGH))
        a, b = a / rays, b / rays
    near = np.minimum(a, b)
    t, face = near.max(axis=2), near.argmax(axis=2)
    box = (t > 0) & (t < np.maximum(a, b).min(axis=2))
    at = (origin + t[..., None] * rays - LOW) * PX_PER_M
    for axis in range(3):
        x, y = (at[..., k] for k in range(3) if k != axis)
        shade = np.where(box & (face == axis), _look(FACES[axis], x, y), shade)
    return shade, np.where(box, t, depth)


def _look(image: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    grid = (np.nan_to_num(x).astype(np.float32), np.nan_to_num(y).astype(np.float32))
    return cv2.remap(image, *grid, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def orbit(count: int = 6, step_deg: float = 11.0, distance: float = 0.55) -> list[np.ndarray]:
    """T_world_camera of cameras on an arc round the box."""
    poses = []
    for i in range(count):
        angle = np.deg2rad(-90 + step_deg * (i - (count - 1) / 2))
        height = 0.38 + 0.03 * (i % 2)
        poses.append(look_at((distance * np.cos(angle), distance * np.sin(angle), height), (0.02, 0.0, 0.03)))
    return poses


@cache
def walk(count: int = 6, step_deg: float = 11.0) -> tuple[Photograph, ...]:
    """Photographs from `orbit`."""
    return tuple(photograph(T, seed=i) for i, T in enumerate(orbit(count, step_deg)))


def write_photographs(folder: Path, photos: Sequence[Photograph], **meta: object) -> Path:
    """A capture/1 folder of photographs with known intrinsics."""
    (folder / "rgb").mkdir(parents=True)
    frames = []
    for i, photo in enumerate(photos):
        Image.fromarray(photo.color).save(folder / f"rgb/{i:06d}.png")
        frames.append({"id": f"{i:06d}", "rgb": f"rgb/{i:06d}.png"})
    whole = {"kind": "rgb_multiview", "camera": CAMERA.model_dump(), "frames": frames, **meta}
    (folder / "capture.json").write_text(json.dumps(whole))
    return folder
