"""Views of known solids, drawn by our own rasteriser with depth noise: what the completion tests look at."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from blueprint.geometry.completion.evidence import View
from blueprint.geometry.completion.shapes import Prism, yaw_rotation
from blueprint.geometry.mesh import Mesh, prism_mesh
from blueprint.geometry.raycast import render_depth
from blueprint.geometry.transforms import Array
from blueprint.model.capture import Camera

CAMERA = Camera(width=320, height=240, fx=530.0, fy=530.0, cx=160.0, cy=120.0)


def look_at(eye: Array, target: Array) -> Array:
    """(4, 4) T_world_camera of an OpenCV camera at `eye` that looks at `target`, z up."""
    forward = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross(forward, [0, 0, 1.0])
    right /= np.linalg.norm(right)
    T = np.eye(4)
    T[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
    T[:3, 3] = eye
    return T


EYE = look_at(np.array([0.0, -0.75, 0.55]), np.array([0.0, 0.0, 0.06]))


def table() -> Mesh:
    return prism_mesh(Prism(np.eye(3), np.array([0, 0, -0.02]), (0.5, 0.5), 0.02))


def photographed(meshes: list[Mesh], *, eye: Array = EYE, noise_m: float = 0.001, seed: int = 0) -> View:
    """The table and the meshes on it; object k has the label k + 1 and a colour of its own."""
    rng = np.random.default_rng(seed)
    depth = render_depth(table(), CAMERA, eye)[0]
    labels = np.zeros(depth.shape, dtype=np.uint16)
    for label, mesh in enumerate(meshes, start=1):
        own = render_depth(mesh, CAMERA, eye)[0]
        labels[own < depth] = label
        depth = np.minimum(depth, own)
    noisy = depth + rng.normal(0, noise_m, depth.shape) * np.where(np.isfinite(depth), depth, 0) ** 2
    color = np.full((*depth.shape, 3), 120, dtype=np.uint8)
    for label in range(1, len(meshes) + 1):
        color[labels == label] = [60 * label % 256, 200 - 40 * label % 200, 30]
    return View(CAMERA, eye, color, np.where(np.isfinite(depth), noisy, 0).astype(np.float32), labels)


def box(x: float, y: float, z: float, *, yaw: float = 0.5, at: tuple[float, float] = (0.0, 0.0)) -> Prism:
    return Prism(yaw_rotation(yaw), np.array([*at, 0.0]), (x / 2, y / 2), z)


def cylinder(diameter: float, height: float) -> Prism:
    return Prism(np.eye(3), np.zeros(3), (diameter / 2, diameter / 2), height, 1.0)


def bottle(width: float, thickness: float, height: float) -> Prism:
    profile = (1.0, 1.0, 1.0, 1.0, 1.0, 0.95, 0.7, 0.35, 0.33)
    return Prism(yaw_rotation(0.5), np.zeros(3), (width / 2, thickness / 2), height, 0.9, profile, taper=0.3)


def bowl(diameter: float, height: float) -> Prism:
    profile = tuple(np.linspace(0.5, 1.0, 9).tolist())
    solid = cylinder(diameter, height)
    return replace(solid, profile=profile, taper=1.0, wall=0.004)
