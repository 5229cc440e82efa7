"""A small picture of an asset, drawn in numpy: no graphics driver, the same on every run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from blueprint.formats.obj import TexturedMesh, read_obj
from blueprint.geometry.raycast import render_depth
from blueprint.geometry.transforms import Array, transform_points
from blueprint.model.capture import Camera

SAMPLES = 2  # per pixel along each axis
FOVY_DEG, ELEVATION_DEG = 28.0, 24.0
BACKGROUND_TOP, BACKGROUND_BOTTOM = 246.0, 214.0
KEY = np.array([-0.45, -0.75, 0.9])  # light from the left, behind the camera and above: x right, y away, z up
PLAIN = np.array([168.0, 168.0, 166.0])

Piece = tuple[TexturedMesh, NDArray[np.uint8] | None]  # a mesh and its texture (H, W, 3)


def draw(pieces: Sequence[Piece], *, toward: tuple[float, float] = (0.6, -0.8), size: int = 256) -> NDArray[np.uint8]:
    """(size, size, 3) picture. toward: horizontal direction from the object to the camera."""
    vertices = np.concatenate([mesh.vertices for mesh, _ in pieces])
    starts = np.cumsum([0, *(len(mesh.vertices) for mesh, _ in pieces)])
    faces = np.concatenate([mesh.faces + start for (mesh, _), start in zip(pieces, starts, strict=False)])
    T = _look_at(vertices, np.array(toward) / np.linalg.norm(toward))
    pixels = size * SAMPLES
    focal = pixels / 2 / np.tan(np.deg2rad(FOVY_DEG) / 2)
    camera = Camera(width=pixels, height=pixels, fx=focal, fy=focal, cx=(pixels - 1) / 2, cy=(pixels - 1) / 2)
    depth, owner = render_depth((vertices, faces), camera, T)
    picture = _ground(vertices, faces, camera, T)
    seen = owner >= 0
    picture[seen] = _shade(pieces, owner[seen], _points(camera, T, depth, seen), T)
    small = picture.reshape(size, SAMPLES, size, SAMPLES, 3).mean(axis=(1, 3))
    return np.clip(small.round(), 0, 255).astype(np.uint8)


def piece(files: Path, mesh: str, texture: str | None, T: Array | None = None) -> Piece:
    """A mesh and its texture below `files`, moved by T (4, 4)."""
    solid = read_obj(files / mesh)
    if T is not None:
        normals = None if solid.normals is None else solid.normals @ T[:3, :3].T
        solid = TexturedMesh(transform_points(T, solid.vertices), solid.faces, solid.uv, normals)
    return solid, None if texture is None else read_pixels(files / texture)


def read_pixels(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as opened:
        return np.asarray(opened.convert("RGB"))


def write_thumbnail(usd: Path, picture: NDArray[np.uint8]) -> None:
    """Where USD browsers look for the picture of that file."""
    folder = usd.parent / f".thumbs/{picture.shape[1]}x{picture.shape[0]}"
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(folder / f"{usd.name}.png")


def _look_at(vertices: Array, toward: Array) -> Array:
    """(4, 4) T_world_camera from which all vertices (N, 3) are in the picture, with a margin."""
    tilt = np.deg2rad(ELEVATION_DEG)
    back = np.array([*(toward * np.cos(tilt)), np.sin(tilt)])
    right = np.cross([0.0, 0.0, 1.0], back)
    right /= np.linalg.norm(right)
    T = np.eye(4)
    T[:3, :3] = np.stack([right, np.cross(-back, right), -back], axis=1)
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    local = (vertices - (low + high) / 2) @ T[:3, :3]
    distance = float((np.abs(local[:, :2]).max(axis=1) / np.tan(np.deg2rad(FOVY_DEG) / 2) - local[:, 2]).max())
    T[:3, 3] = (low + high) / 2 + back * max(1.12 * distance, 1e-3)
    return T


def _ground(vertices: Array, faces: NDArray[np.int64], camera: Camera, T: Array) -> Array:
    """(H, W, 3) light grey, with the soft shadow of the object pressed flat onto its lowest height."""
    flat = vertices.copy()
    flat[:, 2] = vertices[:, 2].min()
    _, owner = render_depth((flat, faces), camera, T)
    mask = Image.fromarray(np.where(owner >= 0, 255, 0).astype(np.uint8))
    soft = [np.asarray(mask.filter(ImageFilter.GaussianBlur(camera.width / part)), dtype=float) for part in (60, 20)]
    shadow = 1 - (0.22 * soft[0] + 0.26 * soft[1]) / 255
    grey = np.linspace(BACKGROUND_TOP, BACKGROUND_BOTTOM, camera.height)
    return np.repeat((grey[:, None] * shadow)[..., None], 3, axis=2)


def _points(camera: Camera, T: Array, depth: Array, seen: NDArray[np.bool_]) -> Array:
    """(N, 3) world points of the seen pixels."""
    v, u = np.nonzero(seen)
    z = depth[seen]
    return transform_points(T, np.stack([(u - camera.cx) / camera.fx * z, (v - camera.cy) / camera.fy * z, z], axis=1))


def _shade(pieces: Sequence[Piece], owner: NDArray[np.int64], points: Array, T: Array) -> Array:
    """(N, 3) colours of the points (N, 3) on the faces `owner` (N,)."""
    colors, normals = np.empty((len(owner), 3)), np.empty((len(owner), 3))
    first = 0
    for mesh, texture in pieces:
        inside = (owner >= first) & (owner < first + len(mesh.faces))
        face = owner[inside] - first
        weights = _barycentric(mesh, face, points[inside])
        colors[inside] = PLAIN if texture is None or mesh.uv is None else _texels(texture, mesh.uv[face], weights)
        normals[inside] = _normals(mesh, face, weights)
        first += len(mesh.faces)
    light = T[:3, 0] * KEY[0] + T[:3, 2] * KEY[1] + np.array([0.0, 0.0, KEY[2]])
    direct = np.clip(normals @ (light / np.linalg.norm(light)), 0, 1)
    sky = 0.5 + 0.5 * normals[:, 2]
    facing = np.clip(-normals @ T[:3, 2], 0, 1)  # a weak light at the camera, so that no side is black
    return colors * np.clip(0.36 + 0.2 * sky + 0.42 * direct + 0.2 * facing, 0, 1.1)[:, None]


def _barycentric(mesh: TexturedMesh, face: NDArray[np.int64], points: Array) -> Array:
    """(N, 3) weights of the corners of each face at each point."""
    a, b, c = (mesh.vertices[mesh.faces[face, k]] for k in range(3))
    normal = np.cross(b - a, c - a)
    area = np.maximum(np.einsum("ij,ij->i", normal, normal), 1e-30)
    u = np.einsum("ij,ij->i", np.cross(c - b, points - b), normal) / area
    v = np.einsum("ij,ij->i", np.cross(a - c, points - c), normal) / area
    return np.clip(np.stack([u, v, 1 - u - v], axis=1), 0, 1)


def _normals(mesh: TexturedMesh, face: NDArray[np.int64], weights: Array) -> Array:
    a, b, c = (mesh.vertices[mesh.faces[face, k]] for k in range(3))
    flat = np.cross(b - a, c - a)
    normals = flat if mesh.normals is None else np.einsum("nk,nkd->nd", weights, mesh.normals[face])
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-20)


def _texels(texture: NDArray[np.uint8], uv: Array, weights: Array) -> Array:
    """(N, 3) nearest texels; v counts upward."""
    at = np.clip(np.einsum("nk,nkd->nd", weights, uv), 0, 1)
    height, width = texture.shape[:2]
    column = np.minimum((at[:, 0] * width).astype(int), width - 1)
    row = np.minimum(((1 - at[:, 1]) * height).astype(int), height - 1)
    return texture[row, column].astype(float)
