"""Laws of reading photographs and stereo pairs: what is known of the camera and of scale is kept and marked."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from blueprint.core.errors import InputError
from blueprint.model.artifacts import Capture, Source
from blueprint.model.capture import ScaleAnchor
from blueprint.stages.capture import CaptureConfig, capture

EXIF_35MM, EXIF_FOCAL, EXIF_PLANE_X, EXIF_UNIT, EXIF_WIDTH, ORIENTATION = 0xA405, 0x920A, 0xA20E, 0xA210, 0xA002, 0x112


def run(folder: Path, out: Path, **settings: object) -> Capture:
    return capture.function(Source(location=str(folder), digest="x"), CaptureConfig(**settings), out).save(out)  # type: ignore


def photographs(folder: Path, count: int = 6, exif: dict[int, float] | None = None, orientation: int = 1) -> Path:
    folder.mkdir(parents=True)
    picture = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    note = Image.Exif()
    note[ORIENTATION] = orientation
    for tag, value in (exif or {}).items():
        note.get_ifd(0x8769)[tag] = value
    for i in range(count):
        Image.fromarray(picture).save(folder / f"IMG_{i + 9}.jpg", exif=note)
    return folder


def test_a_folder_of_photographs_is_a_capture(tmp_path: Path) -> None:
    seen = run(photographs(tmp_path / "a b"), tmp_path / "out")
    assert seen.kind == "rgb_multiview"
    assert [f.id for f in seen.frames] == [f"IMG_{i}" for i in range(9, 15)]  # 9 before 10
    assert all(f.depth is None and f.intrinsics == "guessed" for f in seen.frames)


def test_one_photograph_is_a_capture_of_its_own_kind(tmp_path: Path) -> None:
    assert run(photographs(tmp_path / "one", 1), tmp_path / "out").kind == "rgb"


@pytest.mark.parametrize("count", [2, 4, 101])
def test_too_few_and_too_many_photographs_are_refused(tmp_path: Path, count: int) -> None:
    with pytest.raises(InputError, match=f"{count} photographs") as caught:
        run(photographs(tmp_path / "few", count), tmp_path / "out")
    assert re.search("10 to 30|sharpest", caught.value.hint)


@pytest.mark.parametrize(
    ("exif", "focal"),
    [
        ({EXIF_35MM: 28}, 28 / np.hypot(36, 24) * 100),
        # a sensor of 800 px at 100 px/mm is 8 mm wide; a 6 mm lens sees it with 0.75 of the picture's width
        ({EXIF_FOCAL: 6.0, EXIF_PLANE_X: 1000.0, EXIF_UNIT: 3, EXIF_WIDTH: 800}, 60.0),
        ({EXIF_FOCAL: 6.0, EXIF_PLANE_X: 2540.0, EXIF_UNIT: 2, EXIF_WIDTH: 800}, 60.0),
    ],
)
def test_exif_gives_the_focal_length(tmp_path: Path, exif: dict[int, float], focal: float) -> None:
    frame = run(photographs(tmp_path / "a", exif=exif), tmp_path / "out").frames[0]
    assert frame.intrinsics == "exif"
    assert frame.camera.fx == frame.camera.fy == pytest.approx(focal, rel=1e-3)


def test_a_focal_length_that_no_lens_has_is_not_believed(tmp_path: Path) -> None:
    assert run(photographs(tmp_path / "a", exif={EXIF_35MM: 9000}), tmp_path / "o").frames[0].intrinsics == "guessed"


def test_photographs_stand_upright(tmp_path: Path) -> None:
    frame = run(photographs(tmp_path / "a", orientation=6), tmp_path / "out").frames[0]
    assert (frame.camera.width, frame.camera.height) == (60, 80)


def test_intrinsics_beside_the_photographs_are_given(tmp_path: Path) -> None:
    folder = photographs(tmp_path / "a")
    (folder / "intrinsics.json").write_text(json.dumps({"fx": 90.0, "fy": 90.0, "cx": 40.0, "cy": 30.0}))
    frame = run(folder, tmp_path / "out").frames[0]
    assert (frame.intrinsics, frame.camera.fx) == ("given", 90.0)


def test_anchors_come_from_the_capture_the_settings_and_the_earlier_system(tmp_path: Path) -> None:
    folder = photographs(tmp_path / "a")
    (folder / "anchors.json").write_text(json.dumps([{"type": "class_prior", "name": "Chair"}]))
    (folder / "metric_metadata.json").write_text(json.dumps({"known_heights": [{"object_id": "mug", "height_m": 0.1}]}))
    given = ScaleAnchor(type="marker", size_m=0.05)
    anchors = run(folder, tmp_path / "out", anchors=(given,)).anchors
    assert [(a.type, a.name, a.size_m) for a in anchors] == [
        ("class_prior", "Chair", 1.0),
        ("object", "mug", 0.1),
        ("marker", "", 0.05),
    ]


def test_an_anchor_of_the_settings_is_checked_too(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"capture\.anchors\[0\].*pixels"):
        run(photographs(tmp_path / "a"), tmp_path / "out", anchors=(ScaleAnchor(type="points", size_m=1.0),))


def stereo(folder: Path, **pair: float) -> Path:
    photographs(folder, 2)
    camera = {"fx": 90.0, "fy": 90.0, "cx": 40.0, "cy": 30.0}
    frame = {"id": "s", "rgb": "IMG_9.jpg", "rgb_right": "IMG_10.jpg", "depth": "absent.png"}
    meta = {"kind": "stereo", "camera": camera, "frames": [frame], "stereo": pair}
    (folder / "capture.json").write_text(json.dumps(meta))
    return folder


def test_a_stereo_pair_is_two_photographs_and_a_baseline(tmp_path: Path) -> None:
    seen = run(stereo(tmp_path / "a", baseline_m=0.1, doffs_px=3.0), tmp_path / "out")
    assert seen.kind == "stereo"
    assert seen.stereo is not None
    assert (seen.stereo.left, seen.stereo.right, seen.stereo.baseline_m, seen.stereo.doffs) == ("s", "s_right", 0.1, 3)
    assert [f.camera.cx for f in seen.frames] == [40.0, 43.0]  # doffs = cx right - cx left
    assert all(f.depth is None for f in seen.frames)  # depth beside a pair is a reference, not an input


@pytest.mark.parametrize("baseline", [0.0, -0.1, 193.0])
def test_a_baseline_that_cannot_be_is_refused(tmp_path: Path, baseline: float) -> None:
    with pytest.raises(InputError, match="baseline_m"):
        run(stereo(tmp_path / "a", baseline_m=baseline), tmp_path / "out")


def test_a_stereo_pair_without_intrinsics_is_refused(tmp_path: Path) -> None:
    folder = stereo(tmp_path / "a", baseline_m=0.1)
    meta = json.loads((folder / "capture.json").read_text())
    (folder / "capture.json").write_text(json.dumps({**meta, "camera": None}))
    with pytest.raises(InputError, match="lacks fx"):
        run(folder, tmp_path / "out")
