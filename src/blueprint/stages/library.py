"""Library: things of elsewhere that may stand where captured ones stood, simulable by the same path as those.

A source is a scene that this product has built, or model files. A file goes through import, assets and physics by
itself, so it gets colliders, mass, friction and a pose of rest as anything captured; what moves in itself, bends or is
anchored is refused. Which asset is like which object is measured here, once; episodes draw from it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from pydantic import Field, computed_field

from blueprint.backends.protocols import ReconstructorConfig, Simulator
from blueprint.core import backends
from blueprint.core.artifact import ARTIFACT_FILE, Config
from blueprint.core.errors import BlueprintError, InputError
from blueprint.core.files import digest, file_digest, files_below
from blueprint.core.report import log, warn
from blueprint.core.stage import stage
from blueprint.core.store import Scene
from blueprint.formats.obj import read_obj
from blueprint.geometry.colliders.pieces import hull_volume
from blueprint.geometry.segmentation.naming import slug
from blueprint.model.artifacts import Articulation, Capture, Library, Physics
from blueprint.model.library import LibraryAsset, Likeness, Shape
from blueprint.model.scene import Collider, PhysicalObject
from blueprint.stages.assets import AssetsConfig, assets
from blueprint.stages.capture_scene import SUFFIXES, capture_scene, is_scene
from blueprint.stages.physics import ColliderConfig, PhysicsConfig, physics

SURE = 0.5  # a category less sure than that tells nothing
SETTLED_M, SETTLED_DEG = 0.005, 5.0  # an asset that has not come to rest within this has no pose to stand in


class AssetSource(Config):
    """path: a scene directory of this product, or its physics artifact; a model file; or a folder of model files and
    folders, each one asset (what names other files, as OBJ and glTF do, lies in a folder of its own)

    name: in records, empty = the folder's; licence: an SPDX expression, where the source does not say it itself
    """

    path: str
    name: str = ""
    licence: str = ""


class LibraryConfig(Config):
    """sources: where assets come from that `episodes.vary.objects` may put in the place of captured objects

    size_ratio: of the extents of what is similar, at most; shape_difference: of fill and convexity, where no category
    tells; colliders: of model files, as in [physics]
    """

    sources: tuple[AssetSource, ...] = ()
    size_ratio: float = Field(default=1.8, ge=1)
    shape_difference: float = Field(default=0.15, ge=0, le=1)
    colliders: ColliderConfig = ColliderConfig()
    seed: int = 0

    @computed_field
    @property
    def contents(self) -> tuple[str, ...]:
        """Digest of each source's files: a changed source is another setting."""
        return tuple(_contents(_physics_of(Path(source.path))) for source in self.sources)


@stage(version="1", timeout_s=4 * 3600.0)
def library(physics: Physics, simulator: Simulator, cfg: LibraryConfig, out: Path) -> Library:
    """Bring the sources' things in and compare them with what was captured. Raises InputError for a missing source."""
    kept: list[LibraryAsset] = []
    refused: dict[str, str] = {}
    taken = {item.asset.name for item in physics.objects}
    for source in cfg.sources:
        for made, licence in _made(source, simulator, cfg, out / ".work", refused):
            for item in made.objects:
                name = slug(f"{_named(source)}_{item.asset.name}", taken)
                if why := _unfit(item, made):
                    refused[name] = why
                    continue
                kept.append(_kept(item, made, name, _named(source), licence, out))
    shutil.rmtree(out / ".work", ignore_errors=True)
    shapes = {item.asset.name: shape_of(item, physics) for item in physics.objects if not _unfit(item, physics)}
    similar: dict[str, dict[str, Likeness]] = {}
    for captured, shape in shapes.items():
        for asset in kept:
            found = likeness(shape, asset.shape, cfg)
            if isinstance(found, Likeness):
                similar.setdefault(captured, {})[asset.name] = found
            else:
                refused[f"{asset.name} for {captured}"] = found
    if cfg.sources:
        log(f"library: {len(kept)} assets; similar ones for {len(similar)} of {len(shapes)} captured objects")
        if not similar:
            warn("no asset of the library is like any captured object: nothing will be swapped")
    return Library(assets=tuple(kept), similar=similar, refused=refused)


def likeness(captured: Shape, asset: Shape, cfg: LibraryConfig) -> Likeness | str:
    """How like they are, or why they are not similar."""
    pairs = [b / a for a, b in zip(captured.extents_m, asset.extents_m, strict=True)]
    found = Likeness(
        by="category" if captured.category and asset.category else "shape",
        size_ratio=round(max(max(ratio, 1 / ratio) for ratio in pairs), 3),
        fill=round(abs(captured.fill - asset.fill), 3),
        convexity=round(abs(captured.convexity - asset.convexity), 3),
    )
    if found.by == "category" and captured.category != asset.category:
        return f"a {asset.category} is no {captured.category}"
    if found.size_ratio > cfg.size_ratio:
        return f"{found.size_ratio:.2f} times as large or small along a side, {cfg.size_ratio:g} at most"
    if found.by == "shape" and captured.primitive != asset.primitive:
        return f"{asset.primitive or 'no ideal shape'}, not {captured.primitive or 'of none'}"
    if found.by == "shape" and max(found.fill, found.convexity) > cfg.shape_difference:
        return f"fill and convexity differ by {found.fill:.2f} and {found.convexity:.2f}"
    return found


def shape_of(item: PhysicalObject, made: Physics) -> Shape:
    """What it is compared by: the meshes' volumes and boxes, however they stand."""
    asset = item.asset
    a, b, c = sorted(asset.dims_m)
    hull = hull_volume(read_obj(made.path(asset.mesh)).vertices)
    return Shape(
        category=asset.category if asset.category_confidence >= SURE else "",
        extents_m=(a, b, c),
        primitive="" if asset.primitive is None else asset.primitive.type,
        fill=round(asset.volume_m3 / (a * b * c), 3),
        convexity=round(min(asset.volume_m3 / hull, 1.0), 3),
    )


def _unfit(item: PhysicalObject, made: Physics) -> str:
    """Why it can neither be swapped nor take another's place, or ""."""
    if item.asset.anchored or item.parts or item.soft is not None:
        return "it is anchored, soft or moves in itself"
    settled = next((one for one in made.settle.objects if one.name == item.asset.name), None)
    if settled is None or settled.drift_m > SETTLED_M or settled.drift_deg > SETTLED_DEG:
        return "it did not come to rest by itself"
    return ""


def _kept(item: PhysicalObject, made: Physics, name: str, source: str, licence: str, out: Path) -> LibraryAsset:
    """The asset with its files below `out`/NAME."""
    shape = shape_of(item, made)
    (out / name).mkdir()

    def brought(file: str, as_name: str) -> str:
        shutil.copyfile(made.path(file), out / name / as_name)
        return f"{name}/{as_name}"

    asset = item.asset.model_copy(
        update={
            "name": name,
            "mesh": brought(item.asset.mesh, "visual.obj"),
            "texture": brought(item.asset.texture, "texture.png"),
            "seen_faces": "",
        }
    )
    colliders = tuple(
        one if one.mesh is None else Collider(mesh=brought(one.mesh, f"{index:03d}.obj"))
        for index, one in enumerate(item.colliders)
    )
    item = item.model_copy(update={"asset": asset, "colliders": colliders})
    sha256 = file_digest(out / name / "visual.obj")
    return LibraryAsset(name=name, source=source, licence=licence, sha256=sha256, shape=shape, item=item)


# ------------------------------------------------------------------ sources


def _made(
    source: AssetSource, simulator: Simulator, cfg: LibraryConfig, work: Path, refused: dict[str, str]
) -> Iterator[tuple[Physics, str]]:
    """What a source holds, as physics made it, with its licence; files that cannot be used go to `refused`."""
    path = Path(source.path)
    place = _physics_of(path)
    if (place / ARTIFACT_FILE).is_file():
        yield Physics.load(place), source.licence or _licence_of(path)
        return
    if not path.exists():
        raise InputError(f"library.sources: there is nothing at {path}", "give a scene directory, a file or a folder")
    entries = [path] if path.is_file() else sorted(path.iterdir())
    usable = [one for one in entries if (one.is_dir() or one.suffix.lower() in SUFFIXES) and is_scene(one)]
    if not usable:
        raise InputError(f"library.sources: no model in {path}", "each file or folder in it is one asset")
    for number, entry in enumerate(usable):
        try:
            yield _built(entry, simulator, cfg, work / slug(f"{number} {path.name}", set()), source.licence)
        except BlueprintError as error:
            refused[f"{_named(source)}/{entry.name}"] = error.message.splitlines()[0]


def _built(entry: Path, simulator: Simulator, cfg: LibraryConfig, work: Path, licence: str) -> tuple[Physics, str]:
    """A model file through the stages of a capture, alone on a table."""
    taken = capture_scene(entry, "", (), work / "capture").bind(work / "capture")
    importer = backends.find("reconstructor", "import").load()
    read = importer.reconstruct(taken, ReconstructorConfig(), _folder(work / "reconstruction"))
    read = read.bind(work / "reconstruction")
    whole = assets(taken, read, AssetsConfig(), _folder(work / "assets"))
    things = Articulation(objects=whole.objects).bind(work / "assets")
    settings = PhysicsConfig(colliders=cfg.colliders, seed=cfg.seed)
    made = physics(things, read, simulator, settings, _folder(work / "physics"))
    return made.bind(work / "physics"), taken.licence or licence


def _folder(path: Path) -> Path:
    path.mkdir(parents=True)
    return path


def _physics_of(path: Path) -> Path:
    """The physics artifact of a scene directory; any other place as it is. Raises InputError for a scene without."""
    if not (path / "request.json").is_file():
        return path
    key = Scene(path).current().get("physics")
    if key is None:
        raise InputError(f"the scene {path} has no physics yet", "run it first: blueprint run ... --until physics")
    return Scene(path).folder("physics", key)


def _licence_of(path: Path) -> str:
    """Of the capture that a scene was built from; "" = it does not say."""
    key = Scene(path).current().get("capture") if (path / "request.json").is_file() else None
    return "" if key is None else Capture.load(Scene(path).folder("capture", key)).licence


def _named(source: AssetSource) -> str:
    return source.name or Path(source.path).resolve().stem


def _contents(place: Path) -> str:
    if place.is_file():
        return file_digest(place)
    return digest({name: file_digest(place / name) for name in files_below(place)}) if place.is_dir() else ""
