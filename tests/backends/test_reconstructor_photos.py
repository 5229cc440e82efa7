"""Laws of reconstruction from photographs: metric by an anchor, repeatable, and refused with a cure otherwise."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from blueprint.backends.protocols import ReconstructorConfig
from blueprint.backends.reconstruction import photo_scale
from blueprint.backends.reconstruction.photo_views import DenseView, boxes_on, dense_views
from blueprint.backends.reconstructor_photos import ReconstructorPhotos
from blueprint.backends.sfm_colmap import Photo, Registered, SparseModel, structure_from_motion
from blueprint.core.errors import BackendError, InputError
from blueprint.core.report import reporting
from blueprint.geometry.registration.scale import Sight
from blueprint.geometry.transforms import invert
from blueprint.model.artifacts import Capture, Source
from blueprint.model.capture import UserBox
from blueprint.stages.capture import CaptureConfig, capture
from toy_photos import CAMERA, HIGH, MARKER_M, Photograph, orbit, photograph, walk, write_photographs

MARKER = {"type": "marker", "size_m": MARKER_M, "dictionary": "4x4_50"}
needs_pycolmap = pytest.mark.skipif(importlib.util.find_spec("pycolmap") is None, reason="needs the extra `photos`")
CFG = ReconstructorConfig()


class Warnings(list[str]):
    def event(self, kind: str, fields: dict) -> None:
        if kind == "warning":
            self.append(fields["message"])


def seen(folder: Path, photos: Sequence[Photograph] | None = None, **meta: object) -> Capture:
    return read(write_photographs(folder / "in", photos or walk(), **meta), folder / "capture")


def read(folder: Path, out: Path) -> Capture:
    made = capture.function(Source(location=str(folder), digest="x"), CaptureConfig(), out)
    assert isinstance(made, Capture)
    return made.save(out)


# ---- structure from motion


@pytest.mark.slow
@needs_pycolmap
def test_photographs_become_a_metric_scene(tmp_path: Path) -> None:
    shot = seen(tmp_path, walk()[:5], anchors=[MARKER])
    made = ReconstructorPhotos().reconstruct(shot, CFG, tmp_path / "out").save(tmp_path / "out")
    assert len(made.views) == 5
    assert "marker" in made.scale_source
    assert "60 mm" in made.scale_source
    view = made.views[0]
    pose = np.array(view.T_world_camera)
    true = orbit()[int(view.frame)]
    assert pose[2, 3] == pytest.approx(true[2, 3], rel=0.02)  # cameras are above, at their height in metres
    depth = np.load(made.path(view.depth))
    truth = walk()[int(view.frame)].depth
    both = (depth > 0) & (truth > 0)
    assert both.sum() > 0.5 * (truth > 0).sum()
    assert np.median(np.abs(depth[both] / truth[both] - 1)) < 0.01
    assert max(instance.pixels for instance in made.instances) > 5000  # the box stands out


@needs_pycolmap
def test_structure_from_motion_is_repeatable_and_refines_a_guessed_focal_length(tmp_path: Path) -> None:
    shot = seen(tmp_path)
    wrong = CAMERA.model_copy(update={"fx": 345.0, "fy": 345.0})
    photos = [Photo(f.id, shot.path(f.color), wrong, False) for f in shot.frames[:4]]
    models = []
    for name in "ab":
        (tmp_path / name).mkdir()
        models.append(structure_from_motion(photos, tmp_path / name))
    one, two = models
    assert len(one.views) == 4
    assert (one.points == two.points).all()
    assert one.views[0].K[0, 0] == pytest.approx(CAMERA.fx, rel=0.05)


@needs_pycolmap
def test_photographs_of_nothing_are_refused(tmp_path: Path) -> None:
    photos = tuple(photograph(T, seed=i, plain=True) for i, T in enumerate(orbit(3)))
    with pytest.raises(InputError, match="0 of 3 photographs") as caught:
        ReconstructorPhotos().reconstruct(seen(tmp_path, photos, anchors=[MARKER]), CFG, tmp_path / "out")
    assert "newspaper" in caught.value.hint


# ---- refusals before anything is computed


def test_without_a_scale_nothing_is_computed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no scale") as caught:
        ReconstructorPhotos().reconstruct(seen(tmp_path), CFG, tmp_path / "out")
    assert all(word in caught.value.hint for word in ("marker", "object", "points", "class_prior", "anchors"))


def test_too_few_photographs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"2 picture.* 3 or more"):
        ReconstructorPhotos().reconstruct(seen(tmp_path, walk()[:2], anchors=[MARKER]), CFG, tmp_path / "out")


def test_an_unknown_dictionary_is_refused_first(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'qr'"):
        ReconstructorPhotos().reconstruct(
            seen(tmp_path, anchors=[{**MARKER, "dictionary": "qr"}]), CFG, tmp_path / "out"
        )


def test_without_pycolmap_the_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BackendError, match="pycolmap") as caught:
        ReconstructorPhotos().reconstruct(seen(tmp_path, anchors=[MARKER]), CFG, tmp_path / "out")
    assert "blueprint-pipeline[photos]" in caught.value.hint


# ---- scale, with cameras and depth as they truly are, in a unit of 5 per metre


UNIT = 5.0


def views(unit: float = UNIT) -> list[DenseView]:
    K = np.array([[CAMERA.fx, 0, CAMERA.cx], [0, CAMERA.fy, CAMERA.cy], [0, 0, 1]])
    made = []
    for i, photo in enumerate(walk()[:3]):
        T = photo.T_world_camera.copy()
        T[:3, 3] *= unit
        pose = Registered(f"{i:06d}", K, 0.0, invert(T), np.zeros(0, np.int64))
        z = (unit * photo.depth).astype(np.float32)
        made.append(DenseView(pose.id, photo.color, z, Sight(K, invert(T)), pose, 1.0, None))
    return made


def scaled(folder: Path, *anchors: dict, boxes: list | None = None, frames: list | None = None) -> tuple[float, str]:
    shot = seen(folder, anchors=list(anchors), **({"frames": frames} if frames else {}))
    if boxes:
        (folder / "in" / "boxes.json").write_text(json.dumps({"frame": "000002", "boxes": boxes}))
        shot = read(folder / "in", folder / "again")
    return photo_scale.metres_per_unit(views(), shot, CFG)


def pixel(point: list[float], index: int = 2) -> list[float]:
    T = invert(walk()[index].T_world_camera)
    x, y, z = T[:3, :3] @ point + T[:3, 3]
    return [CAMERA.fx * x / z + CAMERA.cx, CAMERA.fy * y / z + CAMERA.cy]


POINTS = {
    "type": "points",
    "frame": "000002",
    "pixels": [pixel([-0.2, -0.1, 0]), pixel([0.1, -0.1, 0])],
    "size_m": 0.3,
}


@pytest.mark.parametrize(
    ("anchor", "says"),
    [
        (MARKER, "marker"),
        ({"type": "marker", "size_m": MARKER_M}, "DICT_4X4"),
        (POINTS, "two points 300 mm apart in 000002"),
        ({"type": "object", "name": "box", "axis": "z", "size_m": float(HIGH[2])}, "known size of box"),
        ({"type": "class_prior", "name": "carton", "size_m": float(HIGH[2])}, "a guess"),
    ],
)
def test_every_anchor_finds_the_unit(tmp_path: Path, anchor: dict, says: str) -> None:
    metres, source = scaled(tmp_path, anchor)
    assert metres == pytest.approx(1 / UNIT, rel=0.03)
    assert says in source


def test_a_box_drawn_by_the_user_says_which_object(tmp_path: Path) -> None:
    corners = np.array([pixel([x, y, z]) for x in (-0.06, 0.05) for y in (-0.04, 0.04) for z in (0, 0.12)])
    xyxy = [*(corners.min(axis=0) - 4), *(corners.max(axis=0) + 4)]
    boxes = [{"label": 1, "name": "My_Box", "xyxy": xyxy}]
    metres, _ = scaled(tmp_path, {"type": "object", "name": "my box", "axis": "z", "size_m": 0.12}, boxes=boxes)
    assert metres == pytest.approx(1 / UNIT, rel=0.03)


def test_camera_positions_are_a_scale(tmp_path: Path) -> None:
    frames = [
        {"id": f"{i:06d}", "rgb": f"rgb/{i:06d}.png", "T_world_cam": p.T_world_camera.tolist()}
        for i, p in enumerate(walk())
    ]
    metres, source = scaled(tmp_path, frames=frames)
    assert metres == pytest.approx(1 / UNIT)
    assert "camera positions" in source


def test_the_surest_anchor_counts_and_a_contradiction_is_said(tmp_path: Path) -> None:
    warnings = Warnings()
    with reporting(warnings):
        metres, source = scaled(tmp_path, {**POINTS, "size_m": 0.45}, MARKER)
    assert metres == pytest.approx(1 / UNIT, rel=0.03)
    assert "marker" in source
    (said,) = [text for text in warnings if text.startswith("two points")]
    assert float(said.split(" times ")[0].split()[-1]) == pytest.approx(1.5, rel=0.03)


def test_an_anchor_that_is_not_seen_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"(?i)DICT_APRILTAG_36h11.*seen") as caught:
        scaled(tmp_path, {"type": "marker", "size_m": 0.05, "dictionary": "36h11"})
    assert "points" in caught.value.hint


def test_points_without_depth_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no depth was found"):
        scaled(tmp_path, {**POINTS, "pixels": [[2, 2], [100, 200]]})


def test_boxes_follow_the_pictures_size(tmp_path: Path) -> None:
    box = UserBox(frame="000002", label=1, name="a", xyxy=(10, 20, 30, 40))
    lost = box.model_copy(update={"frame": "not_registered"})
    small = [replace(view, scale=0.5) for view in views()]
    boxes = boxes_on(small, seen(tmp_path).model_copy(update={"boxes": (box, lost)})).boxes
    assert [b.xyxy for b in boxes] == [(5, 10, 15, 20)]


def test_views_without_common_points_are_refused(tmp_path: Path) -> None:
    model = SparseModel(tuple(view.pose for view in views()), np.zeros((0, 3)), 0.0)
    with pytest.raises(InputError, match="no photograph got depth") as caught:
        dense_views(model, seen(tmp_path))
    assert "printed" in caught.value.hint
