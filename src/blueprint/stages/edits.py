"""A person's corrections: of the label images after reconstruction, of the shapes after completion."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from blueprint.core.errors import SettingsError
from blueprint.formats import images
from blueprint.formats.obj import TexturedMesh, read_obj, write_obj
from blueprint.geometry import depth as depths
from blueprint.geometry.completion.evidence import View
from blueprint.geometry.mesh import corner_normals, volume
from blueprint.geometry.segmentation import naming
from blueprint.geometry.segmentation.objects import segment_boxes
from blueprint.geometry.segmentation.relabel import carried, cut_mask
from blueprint.geometry.table.support import FoundSupport, table_view, to_size, working_image
from blueprint.geometry.transforms import Array, pose_to_matrix
from blueprint.model.artifacts import Reconstruction
from blueprint.model.edit import Cut, Draw, Edit, KnownShape, Merge, Remove, Rename
from blueprint.model.scene import DimSource, Instance, ObjectAsset, Primitive
from blueprint.model.spatial import Pose

HINT = "blueprint edit DIR shows the names; edits are applied in order, each to the names that the ones before left"


def edited(made: Reconstruction, edits: Sequence[Edit], out: Path) -> Reconstruction:
    """The reconstruction in `out` with its label images rewritten. Raises SettingsError for an unknown name."""
    if not edits:
        return made
    work = _Edited(made, out)
    for edit in edits:
        work.apply(edit)
    return work.finished()


class _Edited:
    """A reconstruction being edited: its views in memory, its instances by name."""

    def __init__(self, made: Reconstruction, out: Path) -> None:
        self._made, self._out = made, out
        self._instances = {instance.name: instance for instance in made.instances}
        self._views = [
            View(
                view.camera,
                np.array(view.T_world_camera),
                images.read_color(out / view.color),
                np.load(out / view.depth, allow_pickle=False),
                images.read_labels(out / view.labels).copy(),
            )
            for view in made.views
        ]

    def apply(self, edit: Edit) -> None:
        steps: dict[type, Callable[..., None]] = {
            Remove: self._remove, Merge: self._merge, Cut: self._cut, Draw: self._draw, Rename: self._rename,
        }  # fmt: skip
        steps[type(edit)](edit)

    def finished(self) -> Reconstruction:
        """Label images written, pixels counted anew; who has none left is gone, given models excepted."""
        kept = []
        for instance in self._instances.values():
            pixels = sum(int((view.labels == instance.label).sum()) for view in self._views) if instance.label else 0
            if pixels or instance.given is not None:
                kept.append(instance.model_copy(update={"pixels": pixels}))
        for view, entry in zip(self._views, self._made.views, strict=True):
            images.write_labels(self._out / entry.labels, view.labels.astype(np.int32))
        return self._made.model_copy(update={"instances": tuple(kept)})

    # -------------------------------------------------------------- operations

    def _remove(self, edit: Remove) -> None:
        self._paint(self._instance(edit.object).label, 0)
        del self._instances[edit.object]

    def _merge(self, edit: Merge) -> None:
        first, *others = [self._instance(name) for name in edit.objects]
        for other in others:
            self._paint(other.label, first.label)
            del self._instances[other.name]

    def _cut(self, edit: Cut) -> None:
        whole = self._instance(edit.object)
        masks = cut_mask(self._views, whole.label, self._view(edit.frame), edit.line)
        total = sum(int((view.labels == whole.label).sum()) for view in self._views)
        if not 0 < sum(int(mask.sum()) for mask in masks) < total:
            raise SettingsError(
                f"the line in frame {edit.frame} leaves {edit.object} whole", "draw it across the object"
            )
        self._add(edit.name or whole.text, whole, masks)

    def _draw(self, edit: Draw) -> None:
        source = self._view(edit.frame)
        work = working_image(source.color, source.depth, source.camera)
        made = self._made
        support = FoundSupport(
            source.T_world_camera, np.array(made.support.polygon), made.support.residual_m, made.depth_sigma_m
        )
        seen = table_view(work.color, work.depth, depths.backproject(work.depth, work.camera), support)
        labels = segment_boxes(seen, work.scale * np.array([edit.xyxy]))
        mask = to_size(labels, source.camera.width, source.camera.height) == 1
        if not mask.any():
            raise SettingsError(
                f"nothing was found in the box around {edit.name!r}", "draw it looser around the object"
            )
        masks = carried(self._views, source, mask)
        self._add(edit.name, None, masks)

    def _rename(self, edit: Rename) -> None:
        instance = self._instance(edit.object)
        name = naming.slug(edit.name, set(self._instances) - {instance.name})
        named = {"name": name, "text": edit.name.replace("_", " "), "text_source": "user", "category": ""}
        renamed = instance.model_copy(update=named)
        self._instances = {
            renamed.name if old == edit.object else old: renamed if old == edit.object else other
            for old, other in self._instances.items()
        }

    # -------------------------------------------------------------- parts of them

    def _instance(self, name: str) -> Instance:
        if name not in self._instances:
            raise SettingsError(f"an edit names no object {name!r}; there is: {', '.join(self._instances)}", HINT)
        return self._instances[name]

    def _view(self, frame: str) -> View:
        frames = [view.frame for view in self._made.views]
        if frame not in frames:
            raise SettingsError(f"an edit names no frame {frame!r}; there is: {', '.join(frames) or 'none'}", HINT)
        return self._views[frames.index(frame)]

    def _paint(self, label: int, new: int) -> None:
        for view in self._views:
            if label:
                view.labels[view.labels == label] = new

    def _add(self, text: str, like: Instance | None, masks: Sequence[np.ndarray]) -> None:
        label = 1 + max((instance.label for instance in self._instances.values()), default=0)
        name = naming.slug(text, set(self._instances))
        for view, mask in zip(self._views, masks, strict=True):
            view.labels[mask] = label
        source = like.mask_source if like else "box"
        confidence = like.confidence if like else 1.0
        self._instances[name] = Instance(
            name=name,
            label=label,
            text=text.replace("_", " "),
            text_source="user",
            mask_source=source,
            pixels=0,
            confidence=confidence,
        )


# ------------------------------------------------------------------ shapes


def known(asset: ObjectAsset, shape: KnownShape, out: Path) -> ObjectAsset:
    """The asset with the extents that a person measured: its mesh is stretched to them, its foot stays where it was.

    With a primitive its surface is drawn onto that ideal shape, texture and all.
    """
    dims = np.array(asset.dims_m)
    target = dims.copy()
    for axis, size in shape.size_m.items():
        target[int(np.argmax(dims)) if axis == "longest" else "xyz".index(axis)] = size
    mesh = read_obj(out / asset.mesh)
    scale = target / dims
    vertices = mesh.vertices * scale
    if shape.primitive is not None:
        vertices = _onto_ideal(vertices, shape.primitive, target)
    stretched = TexturedMesh(vertices, mesh.faces, mesh.uv, corner_normals((vertices, mesh.faces)))
    write_obj(stretched, out / asset.mesh, Path(asset.texture).name)
    ideal = _ideal(shape.primitive, target) if shape.primitive else _scaled(asset.primitive, scale)
    sources: list[DimSource] = list(asset.dims_source)
    sigma = list(asset.dims_sigma_m)
    for axis in np.flatnonzero(np.abs(target - dims) > 0).tolist() + [i for i in range(3) if "xyz"[i] in shape.size_m]:
        sources[axis], sigma[axis] = "given", 0.0
    return asset.model_copy(
        update={
            "dims_m": tuple(target.tolist()),
            "dims_sigma_m": tuple(sigma),
            "dims_source": tuple(sources),
            "pose": _on_same_foot(asset.pose, target - dims),
            "primitive": ideal,
            "volume_m3": volume((vertices, mesh.faces)),
            "method": f"{asset.method}; sizes by a person: {', '.join(sorted(shape.size_m)) or 'none'}",
        }
    )


def apply_known(assets: Sequence[ObjectAsset], shapes: Mapping[str, KnownShape], out: Path) -> tuple[ObjectAsset, ...]:
    """Raises SettingsError for a shape of an object that is not there."""
    names = [asset.name for asset in assets]
    for name in shapes:
        if name not in names:
            raise SettingsError(f"assets.known names no object {name!r}; there is: {', '.join(names)}", HINT)
    return tuple(known(a, shapes[a.name], out) if a.name in shapes else a for a in assets)


def _on_same_foot(pose: Pose, grown: Array) -> Pose:
    """Raised by half of what it grew along the world's vertical."""
    rise = float(np.abs(pose_to_matrix(pose)[2, :3]) @ grown) / 2
    x, y, z = pose.position
    return pose.model_copy(update={"position": (x, y, z + rise)})


def _onto_ideal(vertices: Array, kind: str, dims: Array) -> Array:
    """Every vertex (V, 3) moved along its ray from the centre to the surface of the ideal shape."""
    unit = vertices / (dims / 2)
    size = np.hypot(unit[:, 0], unit[:, 1]) if kind == "cylinder" else np.abs(unit[:, :2]).max(axis=1)
    size = np.maximum(size, np.abs(unit[:, 2]))
    return vertices / np.maximum(size, 1e-6)[:, None]


def _ideal(kind: str, dims: Array) -> Primitive:
    if kind == "box":
        return Primitive(type="box", size=tuple((dims / 2).tolist()), pose=Pose(position=(0.0, 0.0, 0.0)))
    radius = float(dims[:2].mean() / 2)
    return Primitive(type="cylinder", size=(radius, float(dims[2] / 2)), pose=Pose(position=(0.0, 0.0, 0.0)))


def _scaled(ideal: Primitive | None, scale: Array) -> Primitive | None:
    """None where a stretched ideal shape is none any more."""
    if ideal is None or np.allclose(scale, 1.0):
        return ideal
    size = np.array(ideal.size)
    if ideal.type == "box" and np.allclose(ideal.pose.quat_wxyz, (1, 0, 0, 0), atol=1e-6):
        return ideal.model_copy(update={"size": tuple((size * scale).tolist())})
    if ideal.type == "cylinder" and np.isclose(scale[0], scale[1]):
        return ideal.model_copy(update={"size": (float(size[0] * scale[0]), float(size[1] * scale[2]))})
    return None
