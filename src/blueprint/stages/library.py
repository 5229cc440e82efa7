"""Library: things of elsewhere that may stand where captured ones stood, made simulable by the same path as those.

A source is a scene that this product has built, or model files: each goes through import, assets and physics by itself.
What moves in itself, bends or is anchored is refused. Which is like which is measured here; episodes draw from it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field, computed_field

from blueprint.backends.protocols import ReconstructorConfig, Simulator
from blueprint.core import backends
from blueprint.core.artifact import ARTIFACT_FILE, Config
from blueprint.core.errors import BlueprintError, InputError
from blueprint.core.files import digest, file_digest
from blueprint.core.stage import stage
from blueprint.core.store import Scene
from blueprint.formats.obj import read_obj
from blueprint.geometry.colliders.pieces import hull_volume
from blueprint.geometry.segmentation.naming import slug
from blueprint.model.artifacts import Articulation, Capture, Library, Physics
from blueprint.model.scene import LibraryAsset, PhysicalObject
from blueprint.model.variation import Swap
from blueprint.stages.assets import AssetsConfig, assets
from blueprint.stages.capture_scene import SUFFIXES, capture_scene, is_scene
from blueprint.stages.physics import PhysicsConfig, physics
from blueprint.stages.simscene import body_of

SURE = 0.5  # a category less sure than that tells nothing
SETTLED_M = 0.005  # what drifts further has no pose of rest to stand in


class Shape(NamedTuple):
    """sizes: of its box [m], ascending; fill, convexity: its volume over its box's, over its hull's"""

    category: str
    shape: str
    sizes: tuple[float, ...]
    fill: float
    convexity: float


class LibraryConfig(Config):
    """sources: name -> scene directory, or its physics artifact; a model file; a folder in which each file or folder is
    an asset; licences: of sources that state none

    size_ratio: between extents of similar things; shape_difference: of fill and convexity where no category tells
    """

    sources: dict[str, str] = Field(default_factory=dict)
    licences: dict[str, str] = Field(default_factory=dict)
    size_ratio: float = Field(default=1.8, ge=1)
    shape_difference: float = Field(default=0.15, ge=0, le=1)
    seed: int = 0

    @computed_field
    @property
    def contents(self) -> tuple[str, ...]:
        """Of each source: other files are other settings."""
        places = [_place(Path(path), "physics") for path in self.sources.values()]
        files = [{str(f.relative_to(p)): f for f in (p, *sorted(p.rglob("*"))) if f.is_file()} for p in places]
        return tuple(digest({name: file_digest(file) for name, file in some.items()}) for some in files)


@stage(version="1", timeout_s=4 * 3600.0)
def library(physics: Physics, simulator: Simulator, cfg: LibraryConfig, out: Path) -> Library:
    """Bring in what the sources hold, and compare it with what was captured. Raises InputError for a missing source."""
    kept, refused, similar = list[LibraryAsset](), dict[str, str](), dict[str, dict[str, Swap]]()
    taken = {item.asset.name for item in physics.objects}
    for source in cfg.sources:
        for number, (made, licence) in enumerate(_made(source, cfg, simulator, out / ".work", refused)):
            for kind in ("objects", "colliders"):
                shutil.copytree(made.path(kind), out / source / str(number) / kind)
            for item in made.objects:
                name = slug(f"{source}_{item.asset.name}", taken)
                if why := _unfit(item, made):
                    refused[name] = why
                    continue
                kept.append(LibraryAsset(name=name, folder=f"{source}/{number}", body=body_of(item), item=item))
                said = {"asset": name, "source": source, "text": item.asset.text, "category": item.asset.category}
                said |= {"licence": licence, "sha256": file_digest(made.path(item.asset.mesh))}
                for other in (one for one in physics.objects if not _unfit(one, physics)):
                    found = likeness(shape_of(other, physics), shape_of(item, made), cfg)
                    if isinstance(found, str):
                        refused[f"{name} for {other.asset.name}"] = found
                    else:
                        similar.setdefault(other.asset.name, {})[name] = Swap(**said, **found)
    shutil.rmtree(out / ".work", ignore_errors=True)
    return Library(assets=tuple(kept), similar=similar, refused=refused)


def shape_of(item: PhysicalObject, made: Physics) -> Shape:
    """However it stands; a category only where it is sure."""
    asset, (a, b, c) = item.asset, sorted(item.asset.dims_m)
    known, kind = asset.category_confidence >= SURE, asset.primitive
    fill, hull = asset.volume_m3 / (a * b * c), hull_volume(read_obj(made.path(asset.mesh)).vertices)
    return Shape(asset.category * known, kind.type if kind else "no ideal", (a, b, c), fill, asset.volume_m3 / hull)


def likeness(captured: Shape, asset: Shape, cfg: LibraryConfig) -> dict[str, Any] | str:
    """`by`, `size_ratio`, `fill` and `convexity` of a swap, or why they are not similar."""
    known = bool(captured.category and asset.category)
    ratio = round(max(max(a / b, b / a) for a, b in zip(captured.sizes, asset.sizes, strict=True)), 3)
    fill, convexity = round(abs(captured.fill - asset.fill), 3), round(abs(captured.convexity - asset.convexity), 3)
    if known and captured.category != asset.category:
        return f"{asset.category}, not {captured.category}"
    if ratio > cfg.size_ratio:
        return f"{ratio:.2f} times as large or small along a side, {cfg.size_ratio:g} at most"
    if not known and captured.shape != asset.shape:
        return f"{asset.shape} shape, not {captured.shape}"
    if not known and max(fill, convexity) > cfg.shape_difference:
        return f"fill and convexity differ by {fill:.2f} and {convexity:.2f}"
    return {"by": "category" if known else "shape", "size_ratio": ratio, "fill": fill, "convexity": convexity}


def _unfit(item: PhysicalObject, made: Physics) -> str:
    """Why it can neither be swapped nor take another's place, or ""."""
    if item.asset.anchored or item.parts or item.soft is not None:
        return "it is anchored, soft or moves in itself"
    drifts = [one.drift_m for one in made.settle.objects if one.name == item.asset.name]
    return "" if drifts and drifts[0] <= SETTLED_M else "it did not come to rest by itself"


def _made(
    source: str, cfg: LibraryConfig, simulator: Simulator, work: Path, refused: dict[str, str]
) -> Iterator[tuple[Physics, str]]:
    """What a source holds, as physics made it, and its licence; files that cannot be used go to `refused`."""
    path, licence = Path(cfg.sources[source]), cfg.licences.get(source, "")
    if (place := _place(path, "physics")) != path or (path / ARTIFACT_FILE).is_file():
        own = Capture.load(_place(path, "capture")).licence if place != path else ""
        yield Physics.load(place), own or licence
        return
    entries = sorted(path.iterdir()) if path.is_dir() else [path]
    usable = [one for one in entries if (one.is_dir() or one.suffix.lower() in SUFFIXES) and is_scene(one)]
    if not usable:
        raise InputError(f"library.sources.{source}: no model at {path}", "give a scene directory, a file or a folder")
    importer = backends.find("reconstructor", "import").load()
    for folder, entry in ((work / source / str(k), entry) for k, entry in enumerate(usable)):
        try:
            taken = capture_scene(entry, "", (), folder / "capture").bind(folder / "capture")
            (folder / "read").mkdir()
            read = importer.reconstruct(taken, ReconstructorConfig(), folder / "read").bind(folder / "read")
            whole = assets(taken, read, AssetsConfig(), folder / "assets")
            things = Articulation(objects=whole.objects).bind(folder / "assets")
            made = physics(things, read, simulator, PhysicsConfig(seed=cfg.seed), folder / "physics")
        except BlueprintError as error:
            refused[f"{source}/{entry.name}"] = error.message.splitlines()[0]
            continue
        yield made.bind(folder / "physics"), taken.licence or licence


def _place(path: Path, name: str) -> Path:
    """Folder of a stage's artifact in a scene directory; any other place as it is. Raises InputError without one."""
    if not (path / "request.json").is_file():
        return path
    if (key := Scene(path).current().get(name)) is None:
        raise InputError(f"the scene {path} has no {name} yet", f"run it first: blueprint run ... --until {name}")
    return Scene(path).folder(name, key)
