"""Several surfaces as one mesh with one picture."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from blueprint.formats.given.scene import Surface
from blueprint.formats.obj import TexturedMesh
from blueprint.geometry.mesh import quadric_collapsed

TILE_PX = 1024  # of a picture among others
PLAIN_PX = 32
MOST_PART_FACES = 60_000  # more say nothing to a simulator


def one_mesh(surfaces: Sequence[Surface]) -> tuple[TexturedMesh, NDArray[np.uint8]]:
    """All surfaces, which share a frame, as one mesh, and the picture (H, W, 3) that its uv address.

    Pictures of several materials become tiles side by side; one that repeats across a face is cut off at its edge.
    Beyond `MOST_PART_FACES` the mesh is thinned out and shows its mean colour.
    """
    offsets = np.cumsum([0, *(len(surface.vertices) for surface in surfaces)])
    vertices = np.concatenate([surface.vertices for surface in surfaces])
    faces = np.concatenate([s.faces + start for s, start in zip(surfaces, offsets, strict=False)])
    pictures: list[NDArray[np.uint8]] = []
    tile: list[int] = []
    for surface in surfaces:
        picture = _picture(surface)
        same = [i for i, other in enumerate(pictures) if np.array_equal(picture, other)]
        tile.append(same[0] if same else len(pictures))
        pictures += [] if same else [picture]
    uv = [np.full((len(s.faces), 3, 2), 0.5) if s.uv is None else s.uv for s in surfaces]
    if len(faces) > MOST_PART_FACES:
        color = np.mean([picture.mean(axis=(0, 1)) for picture in pictures], axis=0)
        vertices, faces = quadric_collapsed((vertices, faces), MOST_PART_FACES)
        plain = np.full((PLAIN_PX, PLAIN_PX, 3), color.round(), dtype=np.uint8)
        return TexturedMesh(vertices, faces, np.full((len(faces), 3, 2), 0.5)), plain
    if len(pictures) == 1:
        return TexturedMesh(vertices, faces, np.concatenate(uv)), pictures[0]
    sheet, placed = _tiled(pictures, tile, uv)
    return TexturedMesh(vertices, faces, placed), sheet


def mean_color(surface: Surface) -> tuple[int, int, int]:
    """What it looks like from afar."""
    red, green, blue = _picture(surface).mean(axis=(0, 1)).round().astype(int).tolist()
    return red, green, blue


def _picture(surface: Surface) -> NDArray[np.uint8]:
    if surface.picture is None or surface.uv is None:
        return np.full((PLAIN_PX, PLAIN_PX, 3), surface.color, dtype=np.uint8)
    return surface.picture


def _tiled(
    pictures: list[NDArray[np.uint8]], tile: list[int], uv: list[NDArray[np.float64]]
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    across = int(np.ceil(np.sqrt(len(pictures))))
    side = min(max(max(picture.shape[:2]) for picture in pictures), TILE_PX)
    side = max(min(side, 4096 // across), 4)
    sheet = np.zeros((across * side, across * side, 3), dtype=np.uint8)
    for index, picture in enumerate(pictures):
        row, column = divmod(index, across)
        fitted = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
        sheet[row * side : (row + 1) * side, column * side : (column + 1) * side] = fitted
    placed = []
    for index, corners in zip(tile, uv, strict=True):
        row, column = divmod(index, across)
        turns = np.floor(corners.min(axis=1, keepdims=True) + 1e-6)  # a face that lies in another repetition
        inside = np.clip(corners - turns, 0.5 / side, 1 - 0.5 / side)
        placed.append((inside + np.array([column, across - 1 - row])) / across)  # v counts up, rows down
    return sheet, np.concatenate(placed)
