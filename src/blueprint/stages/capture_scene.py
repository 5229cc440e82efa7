"""A capture that is somebody else's scene: found out, copied whole below scene/, its main file named.

A file `scene.json` beside the models may say which is the main one, their unit and what is up:
{"main": "kitchen.usda", "unit": "cm", "up": "y", "licence": "CC-BY-4.0"}.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

from blueprint.core.errors import InputError
from blueprint.formats.anchors import checked, read_anchors
from blueprint.formats.archive import unpack
from blueprint.formats.json_file import of, read_json
from blueprint.model.artifacts import Capture
from blueprint.model.capture import ScaleAnchor

FOLDER = "scene"
SETTINGS = "scene.json"
USD = (".usda", ".usd", ".usdc")
MESHES = (".glb", ".gltf", ".obj", ".stl", ".ply", ".dae")
SUFFIXES = (*USD, ".usdz", ".xml", ".urdf", *MESHES)
KINDS = (USD, (".usdz",), (".xml",), (".urdf",), (".glb", ".gltf"), (".obj",), (".stl", ".ply", ".dae"))
MAIN_STEMS = ("scene", "main", "world", "stage", "model", "mobility", "robot")
SENSOR = ("capture.json", "rgb", "color", "colour", "depth", "images", "intrinsics.json", "camera.json")
PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".npy")
REGEN3D = (("regen3d/scene_info.json", "regen3d/objects"), ("scene_info.json", "objects"))
NATIVE = ("output/glb", "glb")  # 3D-RE-GEN's own tree
MOST_FILES = 20_000
MOST_BYTES = 4 * 2**30


def is_scene(place: Path) -> bool:
    """Whether a folder or single file holds models rather than pictures of a sensor."""
    if not place.is_dir():
        return place.is_file() and place.suffix.lower() in SUFFIXES
    if _regen3d(place) is not None or (place / SETTINGS).is_file():
        return True
    if any((place / name).exists() for name in SENSOR):
        return False
    pictures = [path.name.lower() for path in place.iterdir() if path.suffix.lower() in PICTURES]
    scans = (".ply",) if pictures else ()  # a point cloud beside photographs is a by-product
    models = (path for path in _files(place) if path.suffix.lower() not in scans)
    return not any("depth" in name for name in pictures) and any(_is_model(path) for path in models)


def capture_scene(place: Path, name: str, anchors: tuple[ScaleAnchor, ...], out: Path) -> Capture:
    """Copy the scene at `place` (folder or file) below `out`/scene. name: of the scene, empty = the place's own.
    anchors: what makes a reconstructed scene metric, in addition to those of its own files.

    Raises InputError for links, more than `MOST_FILES` files or `MOST_BYTES`, and where no main file can be told.
    """
    target = out / FOLDER
    target.mkdir(parents=True)
    if place.is_file():
        shutil.copyfile(_checked([place], place.parent)[0], target / place.name)
    else:
        _copy(place, target)
    main = _main_file(target, place.name)
    if main.suffix.lower() == ".usdz":
        main = _unpacked(main)
    return Capture(
        name=name or place.stem,
        kind="scene",
        frames=(),
        scene=main.relative_to(out).as_posix(),
        anchors=(*_anchors(target), *(checked(a, f"capture.anchors[{i}]") for i, a in enumerate(anchors))),
        licence=str(of(_said(target), "licence") or ""),
        origin=f"imported: {main.relative_to(target).as_posix()}",
    )


def _anchors(folder: Path) -> tuple[ScaleAnchor, ...]:
    file = folder / "capture.json"
    meta = read_json(file) if file.is_file() else {}
    return read_anchors(folder, file, meta if isinstance(meta, dict) else {})


def _said(folder: Path) -> object:
    return read_json(folder / SETTINGS) if (folder / SETTINGS).is_file() else {}


def _files(folder: Path) -> Iterator[Path]:
    """What a person put there; operating systems and version control add hidden files."""
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if not any(part.startswith(".") or part == "__MACOSX" for part in parts) and (
            path.is_symlink() or path.is_file()
        ):
            yield path


def _checked(files: list[Path], root: Path) -> list[Path]:
    for path in files:
        if path.is_symlink() or not path.resolve().is_relative_to(root.resolve()):
            raise InputError(f"{path} is a link", "copy the files themselves into the folder; no link is followed")
    total = sum(path.stat().st_size for path in files)
    if len(files) > MOST_FILES or total > MOST_BYTES:
        raise InputError(
            f"the scene has {len(files)} files of {total} bytes in all",
            f"at most {MOST_FILES} files and {MOST_BYTES} bytes are read; leave out what the scene does not use",
        )
    return files


def _copy(place: Path, target: Path) -> None:
    for path in _checked(list(_files(place)), place):
        copy = target / path.relative_to(place)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)


def _regen3d(folder: Path) -> Path | None:
    """The file by which a reconstruction of Regen3D or 3D-RE-GEN is known."""
    for info, objects in REGEN3D:
        if (folder / info).is_file() and (folder / objects).is_dir():
            return folder / info
    found = [path for place in NATIVE for path in sorted((folder / place).rglob("*.glb")) if "__(" in path.name]
    found += sorted((folder / "output/glb").rglob("*.glb"))
    return found[0] if found else None


def _main_file(folder: Path, name: str) -> Path:
    """The file to open: as scene.json says, else one on top with a telling name, else by kind (USD first) and depth."""
    said = of(_said(folder), "main")
    if said is not None:
        main = (folder / str(said)).resolve()
        if not main.is_relative_to(folder.resolve()) or not main.is_file() or main.suffix.lower() not in SUFFIXES:
            raise InputError(f"{SETTINGS} names {said!r}, which is no scene file of the folder", "a path inside it")
        return folder.resolve() / main.relative_to(folder.resolve())
    regen = _regen3d(folder)
    if regen is not None:
        return regen
    models = [path for path in _files(folder) if _is_model(path)]
    top = [p for p in models if p.parent == folder and p.stem.lower() in (*MAIN_STEMS, Path(name).stem.lower())]
    models = top or models
    for kind in KINDS:
        found = [path for path in models if path.suffix.lower() in kind]
        if found:
            return _most_likely(found, folder, name, meshes=kind[0] in MESHES)
    raise InputError(f"{name} holds no scene", f"files that are read: {', '.join(SUFFIXES)}; see docs/import.md")


def _most_likely(found: list[Path], folder: Path, name: str, *, meshes: bool) -> Path:
    """The uppermost; of several the one with a telling name. Meshes without one are read together, the first first."""
    least = min(len(path.relative_to(folder).parts) for path in found)
    upper = [path for path in found if len(path.relative_to(folder).parts) == least]
    for stem in (*MAIN_STEMS, Path(name).stem.lower()):
        named = [path for path in upper if path.stem.lower() == stem]
        if named:
            return named[0]
    if len(upper) == 1 or meshes:
        return upper[0]
    names = ", ".join(path.name for path in upper[:8])
    raise InputError(f"which of these is the scene? {names}", f'write {SETTINGS}: {{"main": "{upper[0].name}"}}')


def _is_model(path: Path) -> bool:
    """By suffix; an XML file is one only if it is MJCF."""
    if path.suffix.lower() != ".xml":
        return path.suffix.lower() in SUFFIXES
    if path.is_symlink():
        return False
    with path.open("rb") as file:
        return b"<mujoco" in file.read(4096)


def _unpacked(package: Path) -> Path:
    """A USDZ file is a zip file whose first entry is the main layer."""
    folder = package.with_suffix("")
    if folder.exists():
        folder = package.with_name(f"{package.stem}_usdz")
    folder.mkdir()
    unpack(package, folder)
    with zipfile.ZipFile(package) as opened:
        layers = [info.filename for info in opened.infolist() if info.filename.lower().endswith(USD)]
    package.unlink()
    if not layers:
        raise InputError(f"{package.name} holds no USD layer", "its first file must be .usda, .usdc or .usd")
    return folder / layers[0]
