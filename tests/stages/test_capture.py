"""Laws of the capture stage: what it reads comes out metric and whole, what cannot be measured with is refused."""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from blueprint.core.errors import InputError
from blueprint.model.artifacts import Capture, Source
from blueprint.stages.capture import CaptureConfig, capture
from toy_table import CAMERA, Shot, shoot, write_boxes, write_capture


@pytest.fixture(scope="module")
def shot() -> Shot:
    return shoot()


@pytest.fixture
def folder(tmp_path: Path, shot: Shot) -> Path:
    return write_capture(tmp_path / "scene", shot)


def run(folder: Path, out: Path, **settings: object) -> Capture:
    return capture.function(Source(location=str(folder), digest="x"), CaptureConfig(**settings), out).save(out)  # type: ignore


def edit(folder: Path, change: Callable[[dict], object]) -> None:
    meta = json.loads((folder / "capture.json").read_text())
    change(meta)
    (folder / "capture.json").write_text(json.dumps(meta))


def test_pixels_and_metres_survive(folder: Path, shot: Shot, tmp_path: Path) -> None:
    seen = run(folder, tmp_path / "out")
    frame = seen.frames[0]
    assert frame.camera == CAMERA
    depth = np.load(seen.path(str(frame.depth)))
    assert depth.dtype == np.float32
    assert np.abs(depth - shot.depth).max() < 0.0006
    assert (np.asarray(Image.open(seen.path(frame.color))) == shot.color).all()
    assert (np.asarray(Image.open(seen.path(str(frame.mask)))) == shot.labels).all()
    assert {n.label: n.name for n in seen.names} == {1: "red_box", 2: "blue_box"}


def test_true_sizes_never_reach_the_pipeline(folder: Path, tmp_path: Path) -> None:
    assert "dims" not in run(folder, tmp_path / "out").model_dump_json()


def test_every_box_file_is_carried_under_its_name(folder: Path, shot: Shot, tmp_path: Path) -> None:
    write_boxes(folder, shot)
    write_boxes(folder, shot, "tight.json")
    boxes = run(folder, tmp_path / "out").boxes
    assert {box.file for box in boxes} == {"boxes.json", "tight.json"}
    assert len(boxes) == 4


def test_a_zip_gives_the_same_capture_as_its_folder(folder: Path, tmp_path: Path) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", folder.parent, folder.name))
    a, b = run(folder, tmp_path / "a"), run(archive, tmp_path / "b")
    assert a.model_dump() == b.model_dump()
    for frame in a.frames:
        assert a.path(str(frame.depth)).read_bytes() == b.path(str(frame.depth)).read_bytes()


def loose(folder: Path, shot: Shot) -> Path:
    (folder / "color").mkdir(parents=True)
    (folder / "depth").mkdir()
    Image.fromarray(shot.color).save(folder / "color/color_7.png")
    Image.fromarray(np.round(shot.depth * 1000).astype(np.uint16)).save(folder / "depth/depth_7.png")
    return folder


K = [[300.0, 0, 160.0], [0, 300.0, 120.0], [0, 0, 1]]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("intrinsics.json", json.dumps({"fx": 300.0, "fy": 300.0, "cx": 160.0, "cy": 120.0})),
        ("intrinsics.json", json.dumps({"K": K})),
        ("intrinsics.json", json.dumps(K)),
        ("camera.json", json.dumps({"camera_matrix": {"data": [x for row in K for x in row]}})),
        ("camera_intrinsic.json", json.dumps({"intrinsic_matrix": [x for col in zip(*K, strict=True) for x in col]})),
        ("intrinsics.json", json.dumps({"color": {"fx": 300.0, "fy": 300.0, "ppx": 160.0, "ppy": 120.0}})),
        (
            "camera_info.yaml",
            "image_width: 320\nimage_height: 240\ncamera_matrix:\n  rows: 3\n  cols: 3\n"
            "  data: [300.0, 0.0, 160.0, 0.0, 300.0, 120.0, 0.0, 0.0, 1.0]\ndistortion_model: plumb_bob\n",
        ),
        (
            "camera_info.yaml",
            "height: 240\nwidth: 320\nK: [300.0, 0.0, 160.0, 0.0, 300.0, 120.0,\n    0.0, 0.0, 1.0]\n",
        ),
    ],
)
def test_cameras_as_people_write_them(shot: Shot, tmp_path: Path, name: str, text: str) -> None:
    folder = loose(tmp_path / "scene", shot)
    (folder / name).write_text(text)
    assert run(folder, tmp_path / "out", depth_unit="mm").frames[0].camera == CAMERA


def test_intrinsics_from_the_settings(shot: Shot, tmp_path: Path) -> None:
    seen = run(loose(tmp_path / "scene", shot), tmp_path / "out", depth_unit="mm", fx=300, fy=300, cx=160, cy=120)
    assert seen.frames[0].camera == CAMERA
    assert seen.frames[0].id == "7"


def test_a_folder_without_camera_says_what_it_looked_for(shot: Shot, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"intrinsics\.json") as caught:
        run(loose(tmp_path / "scene", shot), tmp_path / "out")
    assert "capture.fx" in caught.value.hint


def test_the_depth_unit_is_inferred_only_when_it_can_be_one(shot: Shot, tmp_path: Path) -> None:
    folder = loose(tmp_path / "scene", shot)
    (folder / "intrinsics.json").write_text(json.dumps({"K": K}))
    metric = run(folder, tmp_path / "a")
    assert abs(np.median(np.load(metric.path(str(metric.frames[0].depth)))) - np.median(shot.depth)) < 0.01
    Image.fromarray(np.round(shot.depth * 5000).astype(np.uint16)).save(folder / "depth/depth_7.png")
    with pytest.raises(InputError, match="could be") as caught:
        run(folder, tmp_path / "b")
    assert "depth_unit" in caught.value.hint


def test_distortion_is_undone(shot: Shot, tmp_path: Path) -> None:
    camera = {**CAMERA.model_dump(), "dist": [0.2, 0.0, 0.0, 0.0]}
    plain = run(write_capture(tmp_path / "plain", shot), tmp_path / "a")
    bent = run(write_capture(tmp_path / "bent", shot, camera=camera), tmp_path / "b")
    before, after = (np.asarray(Image.open(c.path(c.frames[0].color))).astype(int) for c in (plain, bent))
    assert np.abs(before[120, 160] - after[120, 160]).max() < 20
    assert np.abs(before - after).mean() > 1
    assert bent.frames[0].camera == CAMERA


# ---- what is refused, and what the refusal says


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def save_depth(folder: Path, depth: np.ndarray) -> None:
    np.save(folder / "depth/000000.npy", depth)
    edit(folder, lambda meta: meta["frames"][0].update(depth="depth/000000.npy") or meta.update(depth_unit="m"))


def camera_change(**values: float) -> Callable[[Path, Shot], None]:
    return lambda folder, shot: edit(folder, lambda meta: meta["camera"].update(values))


def frame_change(**values: object) -> Callable[[Path, Shot], None]:
    return lambda folder, shot: edit(folder, lambda meta: meta["frames"][0].update(values))


def anchor_change(**values: object) -> Callable[[Path, Shot], None]:
    return lambda folder, shot: edit(folder, lambda meta: meta.update(anchors=[values]))


SHEAR = [[1, 0.4, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
MIRROR = [[-1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
REFUSED: dict[str, tuple[Callable[[Path, Shot], object], str, str]] = {
    "colour cut short": (lambda f, s: cut(f / "rgb/000000.png"), "rgb/000000.png.*(broken|cut)", "again"),
    "depth cut short": (lambda f, s: cut(f / "depth/000000.png"), "depth/000000.png.*(broken|cut)", "again"),
    "no image": (lambda f, s: (f / "rgb/000000.png").write_text("hello"), "rgb/000000.png", "PNG"),
    "depth smaller": (
        lambda f, s: Image.fromarray(np.full((120, 160), 700, np.uint16)).save(f / "depth/000000.png"),
        "160x120.*320x240",
        "aligned",
    ),
    "mask smaller": (
        lambda f, s: Image.fromarray(np.zeros((120, 160), np.uint16)).save(f / "masks/000000.png"),
        "masks/000000.png is 160x120",
        "",
    ),
    "camera of another size": (camera_change(width=640, height=480), "640x480", "scale"),
    "NaN depth": (lambda f, s: save_depth(f, np.where(s.labels == 1, np.nan, s.depth)), "NaN", "0"),
    "negative depth": (lambda f, s: save_depth(f, np.where(s.labels == 1, -1, s.depth)), "negative", "0"),
    "depth in mm said to be m": (lambda f, s: save_depth(f, s.depth * 1000), "median depth", "millimetres.*depth_unit"),
    "empty depth": (
        lambda f, s: Image.fromarray(np.zeros((240, 320), np.uint16)).save(f / "depth/000000.png"),
        "empty",
        "sensor",
    ),
    "8-bit depth": (
        lambda f, s: Image.fromarray(np.full((240, 320), 90, np.uint8)).save(f / "depth/000000.png"),
        "8-bit",
        "16-bit",
    ),
    "coloured depth": (lambda f, s: Image.fromarray(s.color).save(f / "depth/000000.png"), "axes", "raw"),
    "fx zero": (camera_change(fx=0.0), "focal", "pixels"),
    "fx in millimetres": (camera_change(fx=3.6, fy=3.6), "focal", "millimetres"),
    "fx unlike fy": (camera_change(fx=600.0), "25 %", "order"),
    "principal point outside": (camera_change(cx=900.0), "principal point", "order"),
    "cx absent": (lambda f, s: edit(f, lambda m: m["camera"].pop("cx")), "lacks cx", "camera_info"),
    "sheared pose": (frame_change(T_world_cam=SHEAR), "rigid", "T_world_cam"),
    "mirrored pose": (frame_change(T_world_cam=MIRROR), "rigid", "mirror"),
    "file absent": (lambda f, s: (f / "depth/000000.png").unlink(), "depth/000000.png, which does not exist", "copy"),
    "path leaves": (frame_change(rgb="../../secret.png"), "outside", "folder"),
    "twice the same id": (
        lambda f, s: edit(f, lambda m: m["frames"].append(m["frames"][0])),
        "appear twice: 000000",
        "own id",
    ),
    "id with a slash": (frame_change(id="../x"), "id", "letters"),
    "no frames": (lambda f, s: edit(f, lambda m: m.update(frames=[])), "no frames", "frames"),
    "no depth": (lambda f, s: edit(f, lambda m: m["frames"][0].pop("depth")), "no depth", "depth"),
    "not JSON": (lambda f, s: (f / "capture.json").write_text("{"), "capture.json is not valid JSON", "JSON"),
    "unknown kind": (lambda f, s: edit(f, lambda m: m.update(kind="lidar")), "kind 'lidar'", "rgb_multiview.*stereo"),
    "stereo without baseline": (lambda f, s: edit(f, lambda m: m.update(kind="stereo")), "baseline", "metres"),
    "anchor of unknown type": (anchor_change(type="ruler", size_m=1), r"anchors\[0\].type", "marker.*points"),
    "anchor without size": (anchor_change(type="marker"), r"anchors\[0\].size_m", "size_m"),
    "anchor of no size": (anchor_change(type="marker", size_m=-1), r"anchors\[0\].size_m", "size_m"),
    "points without frame": (anchor_change(type="points", size_m=1, pixels=[[1, 1], [2, 2]]), "frame", "pixels"),
    "points in an absent frame": (
        anchor_change(type="points", size_m=1, pixels=[[1, 1], [2, 2]], frame="nine"),
        "frame 'nine'",
        "000000",
    ),
    "object without name": (anchor_change(type="object", size_m=1), "names nothing", "name"),
    "class without prior": (anchor_change(type="class_prior", name="spoon"), "'spoon'", "chair.*size_m"),
    "unknown unit": (lambda f, s: edit(f, lambda m: m.update(depth_unit="furlong")), "furlong", "mm"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_refusal_names_the_fault_and_the_cure(folder: Path, shot: Shot, tmp_path: Path, what: str) -> None:
    spoil, message, hint = REFUSED[what]
    spoil(folder, shot)
    with pytest.raises(InputError, match=f"(?s){message}") as caught:
        run(folder, tmp_path / "out")
    assert re.search(hint, caught.value.hint, re.IGNORECASE), caught.value.hint


def test_half_posed_sequences_are_refused(folder: Path, tmp_path: Path) -> None:
    pose = np.eye(4).tolist()
    edit(folder, lambda m: m["frames"].append({**m["frames"][0], "id": "b", "T_world_cam": pose}))
    with pytest.raises(InputError, match="000000"):
        run(folder, tmp_path / "out")


def test_archives_cannot_write_outside(tmp_path: Path) -> None:
    archive = tmp_path / "evil.zip"
    with zipfile.ZipFile(archive, "w") as package:
        package.writestr("../../evil.txt", "x")
    with pytest.raises(InputError, match="leave the folder"):
        run(archive, tmp_path / "out")
    assert not (tmp_path.parent / "evil.txt").exists()


def test_archives_with_links_are_refused(tmp_path: Path) -> None:
    archive = tmp_path / "link.zip"
    entry = zipfile.ZipInfo("rgb/0.png")
    entry.external_attr = 0o120777 << 16
    with zipfile.ZipFile(archive, "w") as package:
        package.writestr(entry, "/etc/passwd")
    with pytest.raises(InputError, match="link"):
        run(archive, tmp_path / "out")


def test_archives_that_swell_are_refused(tmp_path: Path) -> None:
    archive = tmp_path / "bomb.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as package:
        package.writestr("rgb/0.png", bytes(40_000_000))
    with pytest.raises(InputError, match="unpacks to more"):
        run(archive, tmp_path / "out")


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_text("hello")
    with pytest.raises(InputError, match="no zip file"):
        run(tmp_path / "x.zip", tmp_path / "out")
