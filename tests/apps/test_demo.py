"""The demo capture: same seed, same bytes; a believable sensor; honest about what it is."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import cv2
import numpy as np
import pytest

from blueprint.apps.demo import make_capture
from blueprint.core.errors import InputError
from blueprint.model.artifacts import Capture, Source
from blueprint.stages.capture import CaptureConfig, capture


def digest(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_capture(tmp_path_factory.mktemp("demo") / "capture", seed=3)


def test_same_seed_gives_the_same_bytes_and_another_seed_does_not(demo: Path, tmp_path: Path) -> None:
    assert digest(make_capture(tmp_path / "again", seed=3)) == digest(demo)
    other = digest(make_capture(tmp_path / "other", seed=4))
    assert all(other[f"{kind}/000000.png"] != digest(demo)[f"{kind}/000000.png"] for kind in ("rgb", "depth", "masks"))


def test_a_folder_with_something_else_is_not_overwritten(demo: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "capture.json").write_text("{}")
    with pytest.raises(InputError, match="already holds"):
        make_capture(tmp_path / "mine", seed=3)
    with pytest.raises(InputError, match="seed 4"):
        make_capture(demo, seed=4)
    assert make_capture(demo, seed=3) == demo
    assert [path.name for path in demo.parent.iterdir()] == ["capture"]


def test_it_says_that_it_is_procedural(demo: Path) -> None:
    described = json.loads((demo / "capture.json").read_text())
    assert described["schema"] == "capture/1" and described["origin"] == "procedural" and described["licence"]
    assert "not a photograph" in (demo / "SOURCE.md").read_text().lower()


def test_the_capture_stage_reads_it_and_keeps_its_origin(demo: Path, tmp_path: Path) -> None:
    source = Source(location=str(demo), digest="-").save(tmp_path / "source")
    (tmp_path / "capture").mkdir()
    read = capture.function(source, CaptureConfig(), tmp_path / "capture")
    assert isinstance(read, Capture) and read.origin == "procedural" and read.licence == "CC0-1.0"
    assert len(read.boxes) == 5 and read.frames[0].T_world_camera is None


def test_two_objects_fit_a_panda_and_no_mask_touches_another(demo: Path) -> None:
    described = json.loads((demo / "capture.json").read_text())
    masks = cv2.imread(str(demo / "masks" / "000000.png"), cv2.IMREAD_UNCHANGED)
    objects = described["gt"]["objects"]
    assert sum(min(thing["dims_m"][:2]) < 0.075 for thing in objects) >= 2
    assert set(np.unique(masks)) == {0, *(thing["label"] for thing in objects)}
    for thing in objects:
        here = (masks == thing["label"]).astype(np.uint8)
        around = cv2.dilate(here, np.ones((7, 7), np.uint8)) > 0
        assert here.sum() > 1500 and set(np.unique(masks[around])) == {0, thing["label"]}


def test_boxes_hold_their_masks(demo: Path) -> None:
    masks = cv2.imread(str(demo / "masks" / "000000.png"), cv2.IMREAD_UNCHANGED)
    for box in json.loads((demo / "boxes.json").read_text())["boxes"]:
        x0, y0, x1, y1 = box["xyxy"]
        inside = np.zeros_like(masks, bool)
        inside[y0 : y1 + 1, x0 : x1 + 1] = True
        assert inside[masks == box["label"]].all()


def test_depth_has_the_noise_of_the_sensor_model_on_the_table(demo: Path) -> None:
    """Residual of the table plane: about Nguyen's axial sigma plus the quantisation step over sqrt(12)."""
    described = json.loads((demo / "capture.json").read_text())
    camera, T = described["camera"], np.array(described["gt"]["T_world_cam"])
    depth = cv2.imread(str(demo / "depth" / "000000.png"), cv2.IMREAD_UNCHANGED).astype(float) / 1000
    v, u = np.nonzero((depth > 0) & (cv2.imread(str(demo / "masks" / "000000.png"), cv2.IMREAD_UNCHANGED) == 0))
    z = depth[v, u]
    points = np.stack([(u - camera["cx"]) / camera["fx"] * z, (v - camera["cy"]) / camera["fy"] * z, z], 1)
    height = (points @ T[:3, :3].T + T[:3, 3])[:, 2]
    table = np.abs(height) < 0.02
    assert table.mean() > 0.5
    axial = height[table] / np.abs(T[2, :3] @ np.array([0, 0, 1]))  # plane residual seen along the optical axis
    near, far = axial[z[table] < 0.75], axial[z[table] > 0.95]
    assert 0.001 < near.std() < far.std() < 0.006
    assert 0.01 < (depth == 0).mean() < 0.2
