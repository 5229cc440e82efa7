"""Somebody else's scene as a capture: known for what it is, copied whole, nothing from outside."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
from bench.scenes import fuzz_cases, fuzz_seeds

from blueprint.core.errors import InputError
from blueprint.model.artifacts import Capture, Source
from blueprint.stages.capture import CaptureConfig, capture
from blueprint.stages.capture_scene import is_scene


def captured(place: Path, out: Path) -> Capture:
    return capture(Source(location=str(place), digest=""), CaptureConfig(), out).save(out)


@pytest.mark.parametrize("kind", ["glb", "gltf", "obj", "mjcf", "urdf", "usda", "usdc"])
def test_a_folder_of_models_is_a_scene_and_is_copied_whole(kind: str, tmp_path: Path) -> None:
    place = tmp_path / "kitchen"
    place.mkdir()
    main = fuzz_cases.SEEDS[kind](place)
    made = captured(place, tmp_path / "out")
    assert made.kind == "scene" and made.name == "kitchen" and made.frames == ()
    assert made.scene == f"scene/{main.name}"
    for file in place.rglob("*"):
        if file.is_file():
            assert made.path(f"scene/{file.relative_to(place)}").read_bytes() == file.read_bytes()


def test_a_single_file_and_a_zip_are_scenes_too(tmp_path: Path) -> None:
    place = tmp_path / "in"
    place.mkdir()
    file = fuzz_seeds.write_glb(place)
    assert captured(file, tmp_path / "a").scene == "scene/scene.glb"
    with zipfile.ZipFile(tmp_path / "given.zip", "w") as package:
        package.write(file, "kitchen/scene.glb")
    assert captured(tmp_path / "given.zip", tmp_path / "b").scene == "scene/scene.glb"


def test_a_usdz_is_unpacked_to_its_first_layer(tmp_path: Path) -> None:
    place = tmp_path / "in"
    place.mkdir()
    fuzz_cases.write_usdz(place)
    made = captured(place / "kitchen.usdz", tmp_path / "out")
    assert made.scene == "scene/kitchen/scene.usda" and made.path("scene/kitchen/props/mug.usda").is_file()


def test_pictures_are_no_scene(tmp_path: Path) -> None:
    fuzz_cases.write_rgbd(tmp_path)
    (tmp_path / "scan.obj").write_text("v 0 0 0\n")
    assert not is_scene(tmp_path)
    (tmp_path / "capture.json").rename(tmp_path / "notes.json")  # colour and depth side by side
    assert not is_scene(tmp_path)
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "IMG_1.jpg").write_bytes(b"")
    (photos / "sparse.ply").write_bytes(b"")
    assert not is_scene(photos)


def test_regen3d_folders_are_scenes(tmp_path: Path) -> None:
    for layout in ("a/regen3d", "b"):
        (tmp_path / layout / "objects/chair").mkdir(parents=True)
        (tmp_path / layout / "objects/chair/mesh.glb").write_bytes(b"glTF")
        (tmp_path / layout / "scene_info.json").write_text("{}")
    (tmp_path / "a/capture.json").write_text(
        json.dumps({"anchors": [{"type": "object", "name": "chair", "axis": "z", "size_m": 0.9}]})
    )
    a, b = (captured(tmp_path / name, tmp_path / f"out_{name}") for name in ("a", "b"))
    assert (a.kind, a.scene) == ("scene", "scene/regen3d/scene_info.json") and a.anchors[0].size_m == 0.9
    assert (b.kind, b.scene) == ("scene", "scene/scene_info.json")
    (tmp_path / "c/output/glb").mkdir(parents=True)
    (tmp_path / "c/output/glb/chair__(3, 4).glb").write_bytes(b"glTF")
    assert captured(tmp_path / "c", tmp_path / "out_c").scene == "scene/output/glb/chair__(3, 4).glb"


def test_the_main_file_is_told_or_asked_for(tmp_path: Path) -> None:
    for name in ("first.usda", "second.usda"):
        (tmp_path / name).write_text("#usda 1.0\n")
    with pytest.raises(InputError, match="which of these is the scene") as refused:
        captured(tmp_path, tmp_path.parent / "out_a")
    assert "scene.json" in refused.value.hint
    (tmp_path / "scene.json").write_text('{"main": "second.usda", "licence": "CC0-1.0"}')
    made = captured(tmp_path, tmp_path.parent / "out_b")
    assert (made.scene, made.licence) == ("scene/second.usda", "CC0-1.0")
    (tmp_path / "scene.json").write_text('{"main": "../second.usda"}')
    with pytest.raises(InputError, match="no scene file of the folder"):
        captured(tmp_path, tmp_path.parent / "out_c")


def test_links_are_refused(tmp_path: Path) -> None:
    place = tmp_path / "in"
    place.mkdir()
    fuzz_seeds.write_glb(place)
    (tmp_path / "secret.txt").write_text("secret")
    (place / "notes.txt").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(InputError, match="is a link"):
        captured(place, tmp_path / "out")
    assert not list((tmp_path / "out").rglob("notes.txt"))
