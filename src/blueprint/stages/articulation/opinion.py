"""What a vision model says of an object's panels: asked once per side, with the panels marked in a picture."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from blueprint.core.backends import find
from blueprint.formats import images
from blueprint.formats.obj import TexturedMesh
from blueprint.geometry.articulation.panels import Panel
from blueprint.geometry.transforms import Array
from blueprint.stages.articulation.detector import Opinion, Said

SIDE_PX = 640
MARK = (220, 20, 20)


def opinion_of(model: str, text: str, mesh: TexturedMesh, texture: Path) -> Opinion | None:
    """Asks the articulator backend `model`; None for "". Raises BackendError when there is none of that name."""
    if not model:
        return None
    backend: Any = find("articulator", model).load()

    def ask(panels: Sequence[tuple[str, Panel]]) -> dict[str, Said]:
        colors = face_colors(mesh, texture)
        out: dict[str, Said] = {}
        for frame in {tuple(panel.frame.ravel().tolist()): panel.frame for _, panel in panels}.values():
            marked = [(name, panel) for name, panel in panels if np.array_equal(panel.frame, frame)]
            picture = draw_side(mesh, colors, frame, marked)
            answers = backend.inspect(picture, text, [name for name, _ in marked])
            for name, said in answers.items():
                out[name] = (said.kind, "" if said.hinge == "none" else said.hinge, said.confidence)
        return out

    return ask


def face_colors(mesh: TexturedMesh, texture: Path) -> Array:
    """(F, 3) colour at the middle of every face, 0..255; grey without a texture."""
    if mesh.uv is None:
        return np.full((len(mesh.faces), 3), 180.0)
    middle, picture = mesh.uv.mean(axis=1), images.read_color(texture)
    height, width = picture.shape[:2]
    column = np.clip((middle[:, 0] * width).astype(int), 0, width - 1)
    row = np.clip(((1 - middle[:, 1]) * height).astype(int), 0, height - 1)
    return picture[row, column].astype(float)


def draw_side(mesh: TexturedMesh, colors: Array, frame: Array, marked: Sequence[tuple[str, Panel]]) -> bytes:
    """A PNG of the side `frame`, without perspective, far faces first; every panel outlined and named."""
    corners = (mesh.vertices @ frame.T)[mesh.faces]
    low, high = corners.reshape(-1, 3).min(axis=0), corners.reshape(-1, 3).max(axis=0)
    scale = (SIDE_PX - 40) / float(np.max((high - low)[:2]))

    def pixels(points: Array) -> list[tuple[float, float]]:
        return [(20 + (x - low[0]) * scale, 20 + (high[1] - y) * scale) for x, y in points.tolist()]

    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    facing = cross[:, 2] / np.maximum(np.linalg.norm(cross, axis=1), 1e-15)
    picture = Image.new("RGB", (SIDE_PX, SIDE_PX), (255, 255, 255))
    pen = ImageDraw.Draw(picture)
    for face in np.argsort(corners[:, :, 2].mean(axis=1), kind="stable").tolist():
        if facing[face] > 1e-6:
            shade = tuple((colors[face] * (0.45 + 0.55 * facing[face])).astype(int).tolist())
            pen.polygon(pixels(corners[face, :, :2]), fill=shade)
    for name, panel in marked:
        (x0, y1), (x1, y0) = pixels(np.array([panel.rect[:2], panel.rect[2:]]))
        pen.rectangle((x0, y0, x1, y1), outline=MARK, width=3)
        pen.text((x0 + 6, y0 + 4), name, fill=MARK)
    out = io.BytesIO()
    picture.save(out, format="PNG")
    return out.getvalue()
