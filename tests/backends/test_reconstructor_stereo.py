"""Laws of reconstruction from a stereo pair: metric by its baseline; what is no rectified pair is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from blueprint.backends.protocols import ReconstructorConfig
from blueprint.backends.reconstructor_stereo import ReconstructorStereo, metric_view
from blueprint.core.errors import InputError
from blueprint.model.artifacts import Capture, Source
from blueprint.stages.capture import CaptureConfig, capture
from toy_photos import CAMERA, HIGH, orbit, photograph

BASELINE_M = 0.06
LEFT_POSE = orbit(1, distance=0.6)[0]
LEFT = photograph(LEFT_POSE)
RIGHT_POSE = LEFT_POSE.copy()
RIGHT_POSE[:3, 3] += BASELINE_M * LEFT_POSE[:3, 0]
RIGHT = photograph(RIGHT_POSE, seed=1)


def seen(folder: Path, left: np.ndarray = LEFT.color, right: np.ndarray = RIGHT.color) -> Capture:
    source = folder / "in"
    source.mkdir()
    Image.fromarray(left).save(source / "left.png")
    Image.fromarray(right).save(source / "right.png")
    meta = {
        "kind": "stereo",
        "camera": {k: getattr(CAMERA, k) for k in ("fx", "fy", "cx", "cy")},
        "frames": [{"id": "a", "rgb": "left.png", "rgb_right": "right.png"}],
        "stereo": {"baseline_m": BASELINE_M},
    }
    (source / "capture.json").write_text(json.dumps(meta))
    made = capture.function(Source(location=str(source), digest="x"), CaptureConfig(), folder / "capture")
    assert isinstance(made, Capture)
    return made.save(folder / "capture")


def test_a_pair_becomes_a_metric_scene(tmp_path: Path) -> None:
    made = ReconstructorStereo().reconstruct(seen(tmp_path), ReconstructorConfig(), tmp_path / "out")
    made = made.save(tmp_path / "out")
    assert made.scale_source == "stereo baseline of 60 mm"
    view = made.views[0]
    pose = np.array(view.T_world_camera)
    assert pose[2, 3] == pytest.approx(LEFT_POSE[2, 3], rel=0.01)
    depth, labels = np.load(made.path(view.depth)), np.asarray(Image.open(made.path(view.labels)))
    largest = max(made.instances, key=lambda instance: instance.pixels)
    row, column = np.nonzero((labels == largest.label) & (depth > 0))
    z = depth[row, column]
    points = np.stack([(column - CAMERA.cx) / CAMERA.fx * z, (row - CAMERA.cy) / CAMERA.fy * z, z], axis=1)
    height = (points @ pose[:3, :3].T + pose[:3, 3])[:, 2]
    assert np.percentile(height, 99) == pytest.approx(HIGH[2], abs=0.006)


REFUSED: dict[str, tuple[Callable[[Path], Capture], str, str]] = {
    "swapped": (lambda f: seen(f, RIGHT.color, LEFT.color), "not the left picture", "swap"),
    "not rectified": (lambda f: seen(f, right=np.roll(RIGHT.color, 8, axis=0)), "not rectified.*8", "stereoRectify"),
    "plain": (lambda f: seen(f, np.full_like(LEFT.color, 99), np.full_like(LEFT.color, 99)), "recognised", "pattern"),
    "another size": (lambda f: seen(f, right=RIGHT.color[:, :-10].copy()), "310x240", "one size"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_rectified_pair_is_refused(tmp_path: Path, what: str) -> None:
    make, message, hint = REFUSED[what]
    with pytest.raises(InputError, match=message) as caught:
        metric_view(make(tmp_path))
    assert hint in caught.value.hint


def test_photographs_are_no_pair(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a stereo pair") as caught:
        metric_view(seen(tmp_path).model_copy(update={"stereo": None}))
    assert "baseline_m" in caught.value.hint
