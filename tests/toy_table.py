"""A table with boxes on it, ray-cast in numpy, and captures written from it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from blueprint.model.capture import Camera

CAMERA = Camera(width=320, height=240, fx=300.0, fy=300.0, cx=160.0, cy=120.0)


@dataclass(frozen=True)
class Box:
    """Axis-aligned in the world. low, high: corners [m]; color: RGB"""

    low: tuple[float, float, float]
    high: tuple[float, float, float]
    color: tuple[int, int, int]


RED = Box((-0.15, -0.05, 0.0), (-0.07, 0.03, 0.12), (200, 40, 40))
BLUE = Box((0.05, -0.02, 0.0), (0.13, 0.06, 0.08), (40, 60, 200))


@dataclass(frozen=True)
class Shot:
    """color (H, W, 3) uint8; depth (H, W) [m]; labels (H, W), box i + 1; T_world_camera (4, 4)"""

    color: np.ndarray
    depth: np.ndarray
    labels: np.ndarray
    T_world_camera: np.ndarray
    camera: Camera = field(default=CAMERA)


def look_at(eye: tuple[float, float, float], target: tuple[float, float, float] = (0.0, 0.0, 0.03)) -> np.ndarray:
    """T_world_camera (4, 4) of an OpenCV camera at `eye` that looks at `target`, its x axis level."""
    z = np.subtract(target, eye) / np.linalg.norm(np.subtract(target, eye))
    x = np.cross(z, [0.0, 0.0, 1.0])
    x /= np.linalg.norm(x)
    T = np.eye(4)
    T[:3, :3] = np.stack([x, np.cross(z, x), z], axis=1)
    T[:3, 3] = eye
    return T


def shoot(
    boxes: tuple[Box, ...] = (RED, BLUE),
    *,
    eye: tuple[float, float, float] = (0.01, -0.6, 0.5),
    half_table: float = 0.4,
    noise: float = 0.001,
    floor: float = -0.7,
    seed: int = 0,
) -> Shot:
    """Table |x|, |y| < half_table at z = 0 above a floor; `noise` is the depth's standard deviation at 1 m."""
    rng = np.random.default_rng(seed)
    T = look_at(eye)
    u, v = np.meshgrid(np.arange(CAMERA.width), np.arange(CAMERA.height))
    rays = np.dstack([(u - CAMERA.cx) / CAMERA.fx, (v - CAMERA.cy) / CAMERA.fy, np.ones(u.shape)]) @ T[:3, :3].T
    origin = T[:3, 3]
    depth = np.full(u.shape, np.inf)
    color = np.zeros((*u.shape, 3))
    labels = np.zeros(u.shape, np.uint16)
    for level, half, base in ((floor, np.inf, (90, 90, 90)), (0.0, half_table, (170, 140, 100))):
        t = (level - origin[2]) / rays[..., 2]
        at = origin + t[..., None] * rays
        hit = (t > 0) & (t < depth) & (np.abs(at[..., :2]).max(axis=2) < half)
        depth[hit] = t[hit]
        color[hit] = np.add(base, 12 * np.sin(60 * at[hit][:, :1]))
    for i, box in enumerate(boxes, start=1):
        with np.errstate(divide="ignore", invalid="ignore"):
            a, b = (np.subtract(corner, origin) / rays for corner in (box.low, box.high))
        near, far = np.minimum(a, b), np.maximum(a, b)
        t = near.max(axis=2)
        hit = (t > 0) & (t < far.min(axis=2)) & (t < depth)
        face = near.argmax(axis=2)[hit]
        depth[hit] = t[hit]
        color[hit] = np.multiply(np.asarray(box.color), np.array([0.8, 0.65, 1.0])[face][:, None])
        labels[hit] = i
    depth[~np.isfinite(depth)] = 0
    depth = np.where(depth > 0, depth + rng.normal(size=depth.shape) * noise * depth**2, 0)
    color = np.clip(color + rng.normal(size=color.shape) * 3, 0, 255)
    return Shot(color.astype(np.uint8), depth.astype(np.float32), labels, T)


def write_capture(folder: Path, shot: Shot, **overrides: object) -> Path:
    """A capture/1 folder of one frame; `overrides` replace top-level fields of capture.json."""
    for name in ("rgb", "depth", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    Image.fromarray(shot.color).save(folder / "rgb/000000.png")
    Image.fromarray(np.round(shot.depth * 1000).astype(np.uint16)).save(folder / "depth/000000.png")
    Image.fromarray(shot.labels).save(folder / "masks/000000.png")
    camera = {k: getattr(shot.camera, k) for k in ("width", "height", "fx", "fy", "cx", "cy")}
    meta = {
        "schema": "capture/1",
        "name": "toy",
        "kind": "rgbd",
        "camera": camera,
        "frames": [{"id": "000000", "rgb": "rgb/000000.png", "depth": "depth/000000.png", "mask": "masks/000000.png"}],
        "gt": {"objects": [{"label": 1, "name": "red_box", "dims_m": [1, 2, 3]}, {"label": 2, "name": "blue_box"}]},
        "depth_unit": "mm(uint16)",
    }
    (folder / "capture.json").write_text(json.dumps({**meta, **overrides}))
    return folder


def write_boxes(folder: Path, shot: Shot, name: str = "boxes.json") -> None:
    """boxes/1: a box loose by 3 pixels around every label."""
    boxes = []
    for label in np.unique(shot.labels[shot.labels > 0]).tolist():
        rows, cols = np.nonzero(shot.labels == label)
        xyxy = [int(cols.min()) - 3, int(rows.min()) - 3, int(cols.max()) + 3, int(rows.max()) + 3]
        boxes.append({"label": label, "name": f"thing_{label}", "xyxy": xyxy})
    (folder / name).write_text(json.dumps({"schema": "boxes/1", "frame": "000000", "boxes": boxes}))
