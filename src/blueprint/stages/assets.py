"""Separate, watertight, textured, metric objects from what the views saw of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pydantic import Field

from blueprint.core.artifact import Config, Model
from blueprint.core.errors import InfeasibleError
from blueprint.core.execute import map_items
from blueprint.core.stage import stage
from blueprint.formats import images
from blueprint.formats.obj import TexturedMesh, write_obj
from blueprint.geometry.completion.complete import Completion, complete
from blueprint.geometry.completion.evidence import View
from blueprint.geometry.completion.shapes import Prism
from blueprint.geometry.mesh import corner_normals, is_closed, volume
from blueprint.geometry.segmentation.naming import named_by_shape, shape_word
from blueprint.geometry.table.stacking import Stand, stands
from blueprint.geometry.texture import Bake, bake
from blueprint.geometry.transforms import Array, invert, matrix_to_pose, transform_points
from blueprint.model.artifacts import Assets, Capture, Reconstruction
from blueprint.model.categories import category_of
from blueprint.model.edit import KnownShape
from blueprint.model.scene import GivenModel, Instance, ObjectAsset, Primitive
from blueprint.model.spatial import Vec3
from blueprint.stages.edits import apply_known
from blueprint.stages.given_assets import given_carriers, make_given

RECORD = "object.json"


class AssetsConfig(Config):
    """Settings of the stage.

    min_pixels: smaller instances are dropped; min_height_m: flatter ones too
    max_faces: of a mesh; texture_px: side of a texture
    known: object name -> what a person knows of its shape (`blueprint edit` writes it to the scene's edits.json)
    """

    min_pixels: int = Field(default=150, ge=30)
    min_height_m: float = Field(default=0.004, gt=0)
    max_faces: int = Field(default=4000, ge=200)
    texture_px: int = Field(default=512, ge=64)
    known: dict[str, KnownShape] = Field(default_factory=dict)


class _Outcome(Model):
    """What became of one instance: an asset, or the reason why not."""

    asset: ObjectAsset | None
    reason: str


@dataclass(frozen=True)
class SensorNoise:
    """depth_sigma_m: of a reading at 1 m; base_sigma_m: of the support's height under an object [m]."""

    depth_sigma_m: float
    base_sigma_m: float


@stage(version="1")
def assets(capture: Capture, reconstruction: Reconstruction, cfg: AssetsConfig, out: Path) -> Assets:
    """Complete every instance of the reconstruction. Raises InfeasibleError when none can be kept."""
    views = read_views(reconstruction)
    names = {instance.label: instance.name for instance in reconstruction.instances if instance.given is None}
    standing = stands(views, sorted(names))
    carrying = given_carriers(reconstruction)
    noise = SensorNoise(reconstruction.depth_sigma_m, reconstruction.support.residual_m)

    def work(instance: Instance, folder: Path) -> None:
        if instance.given is not None:
            below = carrying.get(instance.name, "table")
            outcome = _given_outcome(instance, instance.given, reconstruction, views, below, folder)
        else:
            stand = standing[instance.label]
            below = names.get(stand.carrier, "table")
            outcome = make_asset(instance, views, noise, stand, below, cfg, folder)
        (folder / RECORD).write_text(outcome.model_dump_json(indent=1) + "\n")

    items = [(instance.name, instance) for instance in reconstruction.instances]
    folders = map_items(work, items, out / "objects", what="objects")
    outcomes = [_Outcome.model_validate_json((folder / RECORD).read_bytes()) for folder in folders]
    kept = tuple(outcome.asset for outcome in outcomes if outcome.asset is not None)
    if not kept:
        why = "; ".join(f"{name}: {outcome.reason}" for (name, _), outcome in zip(items, outcomes, strict=True))
        hint = "give boxes: --set reconstruction.boxes=boxes.json" if views else "nothing in the scene is an object"
        raise InfeasibleError(f"no object could be completed{': ' * bool(why)}{why[:400]}", hint)
    dropped = {name: outcome.reason for (name, _), outcome in zip(items, outcomes, strict=True) if outcome.reason}
    return Assets(objects=apply_known(called(kept), cfg.known, out), dropped=dropped)


def called(objects: Sequence[ObjectAsset]) -> tuple[ObjectAsset, ...]:
    """The objects with a category where there was none: by their text, else by their shape, which also gives those that
    nobody named a better word than `object`.
    """
    out = []
    taken = {thing.text for thing in objects if thing.text_source != "rule"}
    for thing in objects:
        guess = shape_word(thing.method, thing.dims_m, thing.volume_m3)
        text, found = thing.text, None
        if thing.text_source != "rule":
            found = category_of(text)
        elif guess is not None:
            text = named_by_shape(text, guess[0], taken)
        if found is None and guess is not None and (shaped := category_of(guess[0])) is not None:
            found = shaped[0], guess[1]
        update: dict[str, object] = {"text": text}
        if found is not None and not thing.category:
            update |= {"category": found[0].key, "category_confidence": found[1]}
        out.append(thing.model_copy(update=update))
    return tuple(out)


def _given_outcome(
    instance: Instance, given: GivenModel, made: Reconstruction, views: tuple[View, ...], below: str, folder: Path
) -> _Outcome:
    try:
        return _Outcome(asset=make_given(instance, given, made, views, below, folder), reason="")
    except ValueError as error:
        return _Outcome(asset=None, reason=str(error))


def read_views(reconstruction: Reconstruction) -> tuple[View, ...]:
    """The pictures of a reconstruction in memory. Raises InputError when one cannot be read."""
    return tuple(
        View(
            view.camera,
            np.array(view.T_world_camera),
            images.read_color(reconstruction.path(view.color)),
            np.load(reconstruction.path(view.depth), allow_pickle=False),
            images.read_labels(reconstruction.path(view.labels)),
        )
        for view in reconstruction.views
    )


def make_asset(
    instance: Instance,
    views: tuple[View, ...],
    noise: SensorNoise,
    stand: Stand,
    below: str,
    cfg: AssetsConfig,
    folder: Path,
) -> _Outcome:
    """Complete, texture and write one object, which stands on `below`, into `folder`."""
    pixels = sum(int((view.labels == instance.label).sum()) for view in views)
    if pixels < cfg.min_pixels:
        return _Outcome(asset=None, reason=f"a fragment of {pixels} pixels; at least {cfg.min_pixels} are needed")
    views = tuple(replace(view, T_world_camera=stand.level @ view.T_world_camera) for view in views)
    try:
        done = complete(
            views,
            instance.label,
            base_z=stand.base_z,
            base_sigma_m=noise.base_sigma_m,
            depth_sigma_m=noise.depth_sigma_m,
            max_faces=cfg.max_faces,
        )
    except ValueError as error:
        return _Outcome(asset=None, reason=str(error))
    if done.dims[2] < cfg.min_height_m:
        return _Outcome(asset=None, reason=f"only {1000 * done.dims[2]:.1f} mm high: not told from its support")
    if not is_closed(done.mesh):
        return _Outcome(asset=None, reason="no closed surface could be made of it")
    skin = bake(done.mesh, views, instance.label, done.symmetries, cfg.texture_px)
    return _Outcome(asset=_written(instance, done, skin, below, folder), reason="")


def _written(instance: Instance, done: Completion, skin: Bake, support: str, folder: Path) -> ObjectAsset:
    """Write mesh, texture and seen faces in the object frame."""
    local = done.mesh[0] @ done.rotation
    T = np.eye(4)
    T[:3, :3] = done.rotation
    T[:3, 3] = done.rotation @ (local.min(axis=0) + local.max(axis=0)) / 2
    vertices = transform_points(invert(T), done.mesh[0])
    normals = corner_normals((vertices, done.mesh[1]))
    write_obj(TexturedMesh(vertices, done.mesh[1], skin.uv, normals), folder / "visual.obj", "texture.png")
    images.write_color(folder / "texture.png", skin.picture)
    np.save(folder / "seen_faces.npy", skin.seen_faces)
    place = f"objects/{instance.name}"
    return ObjectAsset(
        name=instance.name,
        text=instance.text,
        text_source=instance.text_source,
        category=instance.category,
        category_confidence=instance.category_confidence,
        mesh=f"{place}/visual.obj",
        texture=f"{place}/texture.png",
        seen_faces=f"{place}/seen_faces.npy",
        dims_m=_vec3(done.dims),
        dims_sigma_m=_vec3(done.sigma),
        dims_source=tuple("inferred" if guess else "measured" for guess in done.inferred),  # type: ignore[arg-type]
        method=done.method,
        primitive=_primitive(done, T),
        pose=matrix_to_pose(T),
        seen_fraction=round(skin.seen_fraction, 4),
        confidence=round(instance.confidence * _agreement_confidence(done), 4),
        silhouette_iou=round(done.silhouette_iou, 4),
        depth_error_median_m=round(min(done.depth_error_m, 1.0), 5),
        volume_m3=volume(done.mesh),
        support=support,
    )


def _agreement_confidence(done: Completion) -> float:
    """1 when the rendered object covers its silhouette and meets its depth; 0 below IoU 0.5 or beyond 15 mm."""
    cover = np.clip((done.silhouette_iou - 0.5) / 0.4, 0, 1)
    depth = np.clip(1.2 - done.depth_error_m / 0.0125, 0, 1)
    return float(cover * depth)


def _vec3(values: Sequence[float] | Array) -> Vec3:
    return float(values[0]), float(values[1]), float(values[2])


def _primitive(done: Completion, T_world_object: Array) -> Primitive | None:
    """The ideal box or cylinder in the object frame, if that is what fits."""
    solid: Prism | None = done.solid
    if solid is None or len(solid.profile) > 1:
        return None
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = solid.rotation, solid.center
    pose = matrix_to_pose(invert(T_world_object) @ T)
    if solid.roundness < 0.05:
        return Primitive(type="box", size=(*solid.half, solid.height / 2), pose=pose)
    if solid.roundness > 0.98 and abs(solid.half[0] - solid.half[1]) < 1e-9:
        return Primitive(type="cylinder", size=(solid.half[0], solid.height / 2), pose=pose)
    return None
