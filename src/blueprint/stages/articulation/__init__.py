"""Articulation: what opens and slides, cut into parts with joints."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from blueprint.core.artifact import Config, Model
from blueprint.core.report import warn
from blueprint.core.stage import stage
from blueprint.formats import images
from blueprint.formats.obj import TexturedMesh, read_obj, write_obj
from blueprint.geometry.cutting import Textured
from blueprint.geometry.mesh import corner_normals
from blueprint.geometry.transforms import Array
from blueprint.model.artifacts import Articulation, Assets
from blueprint.model.categories import Category, category_of, named_category
from blueprint.model.scene import Joint, ObjectAsset, Part
from blueprint.model.spatial import Vec3
from blueprint.stages.articulation.detector import Found, Knowledge, Moving, detect
from blueprint.stages.articulation.opinion import opinion_of

FURNITURE_M = 0.5  # what opens and is at least this large stands where it is, if its category says nothing
BODY = "body"


class PanelChoice(Model):
    """What a user says of a panel. hinge: its side, seen from in front of the panel; `none`: it does not move."""

    kind: Literal["none", "door", "flap", "lid", "drawer", "slide"]
    hinge: Literal["", "left", "right", "top", "bottom"] = ""


class ArticulationConfig(Config):
    """Settings of the stage.

    min_confidence: a joint is made when type and axis are this sure; the rest goes to `doubts`
    fixed: objects (names) that have no joint; panels: "OBJECT/PANEL" (names as in `doubts` and parts) -> what it is
    model: a vision model to ask, an `articulator` backend (`gemini`); "" = none
    """

    min_confidence: float = Field(default=0.6, gt=0, le=1)
    fixed: tuple[str, ...] = ()
    panels: dict[str, PanelChoice] = Field(default_factory=dict)
    model: str = ""


@stage(version="2")
def articulation(assets: Assets, cfg: ArticulationConfig, out: Path) -> Articulation:
    """Find what moves in every object, cut it off and hang it on joints that open without touching.

    Joints that an asset came with are kept. Raises BackendError when the model named cannot be asked.
    """
    shutil.copytree(assets.path("objects"), out / "objects", dirs_exist_ok=True)
    objects, doubts = [], {}
    for asset in assets.objects:
        if asset.joints or asset.name in cfg.fixed:
            rigid = asset.model_copy(update={"joints": (), "parts": ()})
            objects.append(rigid if asset.name in cfg.fixed else asset)
            continue
        found = _detect(asset, out, cfg)
        if found.doubts:
            doubts[asset.name] = "; ".join(found.doubts)
            warn(f"{asset.name}: {doubts[asset.name]}")
        objects.append(_jointed(asset, found, out))
    return Articulation(objects=tuple(objects), doubts=doubts)


def _detect(asset: ObjectAsset, out: Path, cfg: ArticulationConfig) -> Found:
    category, sureness = category_for(asset)
    if category is not None and category.soft != "none":
        return Found(None, (), ())
    mesh = read_obj(out / asset.mesh)
    prefix = f"{asset.name}/"
    choices = {
        key.removeprefix(prefix): (choice.kind, choice.hinge)
        for key, choice in cfg.panels.items()
        if key.startswith(prefix)
    }
    known = Knowledge(
        category,
        sureness,
        choices,
        opinion_of(cfg.model, asset.text, mesh, out / asset.texture),
        _median_texel(mesh, out / asset.texture),
        cfg.min_confidence,
    )
    return detect((mesh.vertices, mesh.faces), mesh.uv, known)


def category_for(asset: ObjectAsset) -> tuple[Category | None, float]:
    """The category that the asset carries, or that its text names."""
    if asset.category and (known := named_category(asset.category)) is not None:
        return known, asset.category_confidence or 1.0
    return category_of(asset.text) or (None, 0.0)


def _median_texel(mesh: TexturedMesh, texture: Path) -> tuple[float, float]:
    """UV of the face whose colour is nearest to the median over all faces: what cut faces are given."""
    if mesh.uv is None:
        return 0.0, 0.0
    middle = mesh.uv.mean(axis=1)
    picture = images.read_color(texture)
    height, width = picture.shape[:2]
    column = np.clip((middle[:, 0] * width).astype(int), 0, width - 1)
    row = np.clip(((1 - middle[:, 1]) * height).astype(int), 0, height - 1)
    colors = picture[row, column].astype(float)
    best = int(np.argmin(np.abs(colors - np.median(colors, axis=0)).sum(axis=1)))
    return float(middle[best, 0]), float(middle[best, 1])


# ------------------------------------------------------------------ written


def _jointed(asset: ObjectAsset, found: Found, out: Path) -> ObjectAsset:
    """The asset with its parts written beside its mesh, the base first."""
    if found.base is None:
        return asset
    folder = out / Path(asset.mesh).parent / "parts"
    folder.mkdir(exist_ok=True)
    pieces = [(BODY, found.base), *((moving.name, moving.surface) for moving in found.moving)]
    parts = tuple(_write(name, piece, folder, asset) for name, piece in pieces)
    category = category_for(asset)[0]
    large = max(asset.dims_m) >= FURNITURE_M
    return asset.model_copy(
        update={
            "parts": parts,
            "joints": tuple(joint_of(moving) for moving in found.moving),
            "anchored": asset.anchored or (large if category is None else category.anchored),
            "primitive": None,
        }
    )


def _write(name: str, piece: Textured, folder: Path, asset: ObjectAsset) -> Part:
    texture = asset.texture if piece.uv is not None else None
    beside = None if texture is None else f"../{Path(texture).name}"
    write_obj(TexturedMesh(*piece.mesh, piece.uv, corner_normals(piece.mesh)), folder / f"{name}.obj", beside)
    return Part(name=name, mesh=f"{Path(asset.mesh).parent}/parts/{name}.obj", texture=texture)


def joint_of(moving: Moving) -> Joint:
    """The joint of a part, named after it."""
    verdict = moving.verdict
    evidence = list(verdict.evidence)
    if not moving.swept:
        evidence.append("not swept: a piece of it is not closed")
    elif moving.upper - moving.lower < 0.999 * moving.wanted:
        evidence.append(f"opens {100 * (moving.upper - moving.lower) / moving.wanted:.0f} % of its usual way")
    else:
        evidence.append("swept free over its range")
    return Joint(
        name=f"{moving.name}_{'hinge' if verdict.joint == 'revolute' else 'slide'}",
        type=verdict.joint,
        parent=BODY,
        child=moving.name,
        axis=_vec3(verdict.axis),
        origin=_vec3(verdict.origin),
        limits=(round(moving.lower, 6), round(moving.upper, 6)),
        confidence=round(verdict.confidence, 3),
        source=verdict.source,
        evidence=tuple(evidence),
    )


def _vec3(values: Array) -> Vec3:
    x, y, z = np.round(values, 9).tolist()
    return x, y, z
