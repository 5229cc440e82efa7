"""Laws of what every reconstructor with depth ends in, on rendered tables and shelves."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from blueprint.backends.protocols import ReconstructorConfig
from blueprint.backends.reconstruction.tabletop import PosedView, reconstruct_views
from blueprint.core.errors import InputError, SettingsError
from blueprint.core.report import reporting
from blueprint.formats import images
from blueprint.geometry.transforms import invert, transform_points
from blueprint.model.artifacts import Capture, Reconstruction
from blueprint.model.capture import UserName
from toy_table import BLUE, RED, Box, Shot, shoot

EYES = ((0.0, -0.6, 0.5), (0.3, -0.5, 0.5))
BROWN = (150, 110, 70)
WALLS = (
    Box((-0.3, 0.25, 0.0), (0.3, 0.27, 0.25), BROWN),
    Box((-0.32, -0.3, 0.0), (-0.3, 0.27, 0.25), BROWN),
    Box((0.3, -0.3, 0.0), (0.32, 0.27, 0.25), BROWN),
)
NAMES = (UserName(label=1, name="red_box"), UserName(label=2, name="blue_box"))


class Heard:
    """What was said."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str]] = []

    def event(self, kind: str, fields: dict) -> None:
        self.said.append((kind, str(fields.get("message"))))


def posed(shot: Shot, name: str, **changes: object) -> PosedView:
    return replace(PosedView(name, shot.color, shot.depth, shot.camera, shot.T_world_camera), **changes)  # type: ignore[arg-type]


def rebuilt(views: list[PosedView], out: Path, **settings: object) -> Reconstruction:
    seen = Capture(name="toy", kind="rgbd_sequence", frames=(), names=NAMES)
    return reconstruct_views(views, seen, ReconstructorConfig(**settings), out).save(out)  # type: ignore[arg-type]


def labels_of(made: Reconstruction) -> list[np.ndarray]:
    return [images.read_labels(made.path(view.labels)) for view in made.views]


@pytest.fixture(scope="module")
def shots() -> list[Shot]:
    return [shoot(eye=eye, floor=-0.4, seed=i) for i, eye in enumerate(EYES)]


@pytest.fixture(scope="module")
def pair(shots: list[Shot], tmp_path_factory: pytest.TempPathFactory) -> Reconstruction:
    return rebuilt([posed(s, f"v{i}") for i, s in enumerate(shots)], tmp_path_factory.mktemp("pair"))


def test_two_views_give_one_scene(shots: list[Shot], pair: Reconstruction) -> None:
    assert len(pair.views) == 2 and len(pair.instances) == 2
    for label, truth in zip(labels_of(pair), shots, strict=True):
        for i, one in enumerate(pair.instances, start=1):
            mask, right = label == one.label, truth.labels == i
            assert (mask & right).sum() / (mask | right).sum() > 0.85
    a, b = (np.array(view.T_world_camera) for view in pair.views)
    relative = invert(shots[0].T_world_camera) @ shots[1].T_world_camera
    assert np.abs(invert(a) @ b - relative)[:3].max() < 0.01


def test_the_support_is_level_and_at_zero_in_every_view(shots: list[Shot], pair: Reconstruction) -> None:
    for view, shot in zip(pair.views, shots, strict=True):
        T = np.array(view.T_world_camera) @ invert(shot.T_world_camera)
        table = transform_points(T, np.array([[0, 0, 0], [0.2, 0, 0], [0, 0.2, 0]]))
        assert np.abs(table[:, 2]).max() < 0.004


def test_the_same_bytes_every_time(shots: list[Shot], pair: Reconstruction, tmp_path: Path) -> None:
    again = rebuilt([posed(s, f"v{i}") for i, s in enumerate(shots)], tmp_path)
    for file in sorted(p.relative_to(pair.root) for p in pair.root.rglob("*") if p.is_file()):
        assert (pair.root / file).read_bytes() == (again.root / file).read_bytes()


def test_masks_of_any_frame_are_respected_and_carried(shots: list[Shot], tmp_path: Path) -> None:
    views = [posed(shots[0], "bare"), posed(shots[1], "marked", mask=shots[1].labels)]
    made = rebuilt(views, tmp_path, masks=True)
    assert [(i.name, i.text_source) for i in made.instances] == [("red_box", "user"), ("blue_box", "user")]
    for view, label in zip(made.views, labels_of(made), strict=True):
        truth = shots[0 if view.frame == "bare" else 1].labels
        assert view.frame == "bare" or (label == truth).all()
        for i in (1, 2):
            assert ((label == i) & (truth == i)).sum() / ((label == i) | (truth == i)).sum() > 0.7


def test_no_masks_anywhere_is_said(shots: list[Shot], tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no mask"):
        rebuilt([posed(s, f"v{i}") for i, s in enumerate(shots)], tmp_path, masks=True)


def test_inverted_poses_are_refused_with_the_reason(shots: list[Shot], tmp_path: Path) -> None:
    views = [posed(s, f"v{i}", T_world_camera=invert(s.T_world_camera)) for i, s in enumerate(shots)]
    with pytest.raises(InputError, match="contradict") as caught:
        rebuilt(views, tmp_path)
    assert "T_world_cam" in caught.value.hint


def test_views_that_do_not_belong_together_are_refused(shots: list[Shot], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rough = rng.uniform(0.5, 2.0, (12, 16)).repeat(20, 0).repeat(20, 1).astype(np.float32)
    other = replace(posed(shots[1], "other"), depth=rough, T_world_camera=None)
    with pytest.raises(InputError, match="cannot be placed") as caught:
        rebuilt([posed(shots[0], "here", T_world_camera=None), other], tmp_path)
    assert "overlap" in caught.value.hint


def test_a_shelf_has_walls_that_are_no_objects(tmp_path: Path) -> None:
    eyes = ((0.0, -0.75, 0.4), (0.15, -0.7, 0.45))
    shots = [shoot((RED, BLUE, *WALLS), eye=eye, floor=-0.6, seed=i) for i, eye in enumerate(eyes)]
    made = rebuilt([posed(s, f"v{i}") for i, s in enumerate(shots)], tmp_path)
    assert len(made.statics) == 3
    assert all((made.root / part.mesh).is_file() and part.colliders for part in made.statics)
    assert {i.text.split()[0] for i in made.instances} == {"red", "blue"}
    for label, shot in zip(labels_of(made), shots, strict=True):
        assert (label[shot.labels > 2] > 0).mean() < 0.03


def test_an_empty_picture_of_the_same_place_is_subtracted(shots: list[Shot], tmp_path: Path) -> None:
    fixed = Box((-0.05, 0.2, 0.0), (0.05, 0.28, 0.1), (90, 200, 60))
    full, bare = shoot((RED, BLUE, fixed), seed=1), shoot((fixed,), seed=2)
    made = rebuilt([posed(full, "view0"), posed(bare, "empty0")], tmp_path)
    assert [view.frame for view in made.views] == ["view0"]
    assert len(made.instances) == 2
    assert (labels_of(made)[0][full.labels == 3] > 0).mean() < 0.05


def test_missing_depth_is_reported_not_invented(tmp_path: Path) -> None:
    shot = shoot()
    glass = np.where(shot.labels == 2, 0, shot.depth).astype(np.float32)
    heard = Heard()
    with reporting(heard):
        made = rebuilt([posed(shot, "v", depth=glass, mask=shot.labels)], tmp_path, masks=True)
    assert [i.confidence for i in made.instances][1] == 0.0 < made.instances[0].confidence
    assert any(kind == "warning" and text.startswith("blue_box: 100 %") for kind, text in heard.said)


def test_glass_in_an_empty_bin_is_reported_where_it_lies(tmp_path: Path) -> None:
    full, bare = shoot((RED, BLUE), seed=1), shoot((), seed=2)
    glass = np.where(full.labels == 2, bare.depth, full.depth).astype(np.float32)  # the sensor looks through it
    heard = Heard()
    with reporting(heard):
        made = rebuilt([posed(full, "view0", depth=glass), posed(bare, "empty0")], tmp_path)
    assert len(made.instances) == 1
    said = [text for kind, text in heard.said if kind == "warning" and "not in depth" in text]
    assert len(said) == 1
    x0, y0, x1, y1 = (int(n) for n in re.findall(r"\d+", said[0].split("pixels")[1])[:4])
    rows, columns = np.nonzero(full.labels == 2)
    assert abs((x0 + x1) / 2 - columns.mean()) < 12 and abs((y0 + y1) / 2 - rows.mean()) < 12
