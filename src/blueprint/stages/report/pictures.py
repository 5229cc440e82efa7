"""Pictures of the report: capture, simulation, masks, and every object on a turntable.

Every function that draws runs in a forked child (see `core.execute`), since graphics contexts do not survive a fork.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from blueprint.backends.protocols import Renderer
from blueprint.formats.images import read_color, read_labels
from blueprint.formats.obj import TexturedMesh, read_obj, write_obj
from blueprint.model.artifacts import Assets, Reconstruction
from blueprint.model.scene import ObjectAsset

Picture = NDArray[np.uint8]

# Okabe and Ito's palette for colour vision deficiencies, black left out
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#7F7FFF", "#8C564B", "#999999")
INFERRED_RGBA = (0.62, 0.45, 0.93, 1.0)


def color_of(index: int) -> str:
    return PALETTE[index % len(PALETTE)]


def rgb_of(index: int) -> tuple[int, int, int]:
    text = color_of(index)
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)


def save(picture: Picture, path: Path, quality: int = 86) -> None:
    """JPEG or WebP by the suffix; the same pixels give the same bytes."""
    Image.fromarray(picture).save(path, quality=quality)


def shrink(picture: Picture, factor: int) -> Picture:
    """Average blocks of factor x factor pixels: (H, W, C) -> (H / factor, W / factor, C)."""
    height, width = picture.shape[0] // factor, picture.shape[1] // factor
    blocks = picture[: height * factor, : width * factor].astype(np.float32)
    return np.rint(blocks.reshape(height, factor, width, factor, -1).mean(axis=(1, 3))).astype(np.uint8)


def start_of(model: Path) -> NDArray[np.float64]:
    """(1, nq) initial state of an MJCF file: its first key frame, or its defaults."""
    import mujoco

    loaded = mujoco.MjModel.from_xml_path(str(model))
    return (loaded.key_qpos[0] if loaded.nkey else loaded.qpos0)[None].copy()


def draw_view(
    renderer: Renderer, model: Path, qpos: NDArray[np.float64] | None, camera: str, size: tuple[int, int], factor: int
) -> Picture:
    """One anti-aliased picture (height, width, 3). qpos: (1, nq), None = the model's start; size: (width, height)."""
    state = start_of(model) if qpos is None else qpos
    width, height = size[0] * factor, size[1] * factor
    frames = renderer.render(model, state, (camera,), width, height, depth=False, segmentation=False)
    return shrink(next(iter(frames))[camera].color, factor)


def overlay(made: Reconstruction) -> Picture:
    """The capture with each instance tinted and outlined in its colour."""
    view = made.views[0]
    color, labels = read_color(made.path(view.color)), read_labels(made.path(view.labels))
    grey = cv2.cvtColor(cv2.cvtColor(color, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    picture = (0.55 * grey + 0.45 * color) * np.where(labels == 0, 0.62, 1.0)[..., None]
    for index, instance in enumerate(made.instances):
        here = labels == instance.label
        tint = np.array(rgb_of(index), float)
        picture[here] = 0.5 * color[here] + 0.5 * tint
        outline = cv2.morphologyEx(here.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
        picture[outline] = tint
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Turntable:
    """How an object is drawn for its card. frames: turns around the vertical; size: pixels of one frame."""

    frames: int = 24
    size: int = 240
    factor: int = 2
    elevation_deg: float = 24.0


def draw_turntable(renderer: Renderer, assets: Assets, thing: ObjectAsset, table: Turntable, folder: Path) -> None:
    """Two strips of `table.frames` frames side by side, background transparent: `turn.webp` as it looks, and
    `seen.webp` with every surface that no camera saw in violet."""
    mesh = read_obj(assets.path(thing.mesh))
    seen = np.load(assets.path(thing.seen_faces))
    texture = Image.open(assets.path(thing.texture)).convert("RGB")
    texture.save(folder / "texture.png")
    angles = 2 * np.pi * np.arange(table.frames) / table.frames
    # Names differ between the strips: MuJoCo caches files by name, and notices a change only after a second.
    for strip, parts in (("turn", {"whole": np.ones_like(seen)}), ("seen", {"observed": seen, "inferred": ~seen})):
        for name, faces in parts.items():
            if faces.any():
                write_obj(subset(mesh, faces), folder / f"{name}.obj", texture="texture.png")
        present = tuple(name for name, faces in parts.items() if faces.any())
        model = folder / f"{strip}.xml"
        model.write_text(turntable_mjcf(mesh, present, table))
        pixels = table.size * table.factor
        frames = [
            cutout(images["eye"].color, images["eye"].segmentation, table.factor)
            for images in renderer.render(
                model, angles[:, None], ("eye",), pixels, pixels, depth=False, segmentation=True
            )
        ]
        Image.fromarray(np.concatenate(frames, axis=1)).save(folder / f"{strip}.webp", quality=82, method=4)
    for scrap in sorted(path for path in folder.iterdir() if path.suffix != ".webp"):
        scrap.unlink()


def subset(mesh: TexturedMesh, faces: NDArray[np.bool_]) -> TexturedMesh:
    """The mesh of some faces only."""
    return TexturedMesh(
        mesh.vertices,
        mesh.faces[faces],
        None if mesh.uv is None else mesh.uv[faces],
        None if mesh.normals is None else mesh.normals[faces],
    )


def turntable_mjcf(mesh: TexturedMesh, parts: tuple[str, ...], table: Turntable) -> str:
    """A body on a vertical hinge in soft light, with a camera that frames it."""
    radius = float(np.linalg.norm(mesh.vertices, axis=1).max())
    fovy = 26.0
    distance = radius * 1.06 / np.sin(np.deg2rad(fovy / 2))
    e = np.deg2rad(table.elevation_deg)
    eye = (0.0, -distance * np.cos(e), distance * np.sin(e))
    root = ET.Element("mujoco")
    ET.SubElement(root, "statistic", extent=f"{2 * radius:.6f}", center="0 0 0")
    visual = ET.SubElement(root, "visual")
    ET.SubElement(visual, "headlight", ambient=".42 .42 .42", diffuse=".25 .25 .25", specular="0 0 0")
    ET.SubElement(visual, "map", znear=".5", zfar="6")
    asset = ET.SubElement(root, "asset")
    ET.SubElement(asset, "texture", name="skin", type="2d", file="texture.png")
    for textured in ("whole", "observed"):
        ET.SubElement(asset, "material", name=textured, texture="skin", specular=".12", shininess=".3")
    rgba = " ".join(map(str, INFERRED_RGBA))
    ET.SubElement(asset, "material", name="inferred", rgba=rgba, specular=".1", shininess=".3")
    world = ET.SubElement(root, "worldbody")
    for direction, level in (("-.5 .6 -1", ".42"), (".8 .5 -.5", ".18")):
        ET.SubElement(
            world, "light", directional="true", dir=direction, diffuse=f"{level} {level} {level}", castshadow="false"
        )
    ET.SubElement(
        world, "camera", name="eye", fovy=str(fovy), pos=" ".join(f"{x:.6f}" for x in eye),
        xyaxes=f"1 0 0 0 {np.sin(e):.6f} {np.cos(e):.6f}",
    )  # fmt: skip
    body = ET.SubElement(world, "body", name="thing")
    ET.SubElement(body, "joint", type="hinge", axis="0 0 1")
    ET.SubElement(body, "inertial", pos="0 0 0", mass="1", diaginertia="1 1 1")
    for part in parts:
        ET.SubElement(asset, "mesh", name=part, file=f"{part}.obj", inertia="shell")
        ET.SubElement(body, "geom", type="mesh", mesh=part, material=part, mass="0")
    return ET.tostring(root, encoding="unicode")


def cutout(color: Picture, segmentation: NDArray[np.uint16] | None, factor: int) -> Picture:
    """(H, W, 4) with the background transparent, shrunk; colour is averaged over the object only."""
    alpha = np.ones(color.shape[:2]) if segmentation is None else (segmentation > 0).astype(float)
    height, width = color.shape[0] // factor, color.shape[1] // factor

    def blocks(values: NDArray) -> NDArray:
        return values.reshape(height, factor, width, factor, -1).sum(axis=(1, 3))

    weight = blocks(alpha)
    mean = blocks(color * alpha[..., None]) / np.maximum(weight, 1)
    return np.rint(np.concatenate([mean, 255 * weight / factor**2], axis=-1)).astype(np.uint8)
