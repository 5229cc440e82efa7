"""Laws of the reconstruction stage, on a rendered table and, where there are captures, on a real one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bench.rows import captures
from bench.spine.masks import match, score

from blueprint.backends.reconstructor_rgbd import ReconstructorRgbd
from blueprint.core.errors import InputError, SettingsError
from blueprint.formats import images
from blueprint.geometry.depth import backproject
from blueprint.geometry.table import planes
from blueprint.geometry.transforms import transform_points
from blueprint.model.artifacts import Capture, Reconstruction, Source
from blueprint.stages.capture import CaptureConfig, capture
from blueprint.stages.reconstruction import ReconstructionConfig, reconstruction
from toy_table import BLUE, RED, Shot, shoot, write_boxes, write_capture


def captured(folder: Path, shot: Shot) -> Capture:
    source = write_capture(folder / "scene", shot)
    write_boxes(source, shot)
    out = folder / "capture"
    return capture.function(Source(location=str(source), digest="x"), CaptureConfig(), out).save(out)  # type: ignore


def rebuilt(seen: Capture, out: Path, **settings: object) -> Reconstruction:
    cfg = ReconstructionConfig(**settings)  # type: ignore[arg-type]
    return reconstruction.function(seen, ReconstructorRgbd(), cfg, out).save(out)  # type: ignore[return-value]


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> tuple[Shot, Capture, Reconstruction]:
    folder = tmp_path_factory.mktemp("toy")
    shot = shoot()
    seen = captured(folder, shot)
    return shot, seen, rebuilt(seen, folder / "auto")


def test_points_of_the_table_lie_at_z_zero_and_tops_at_their_height(toy: tuple) -> None:
    shot, _, made = toy
    view = made.views[0]
    world = transform_points(view.T_world_camera, backproject(np.load(made.path(view.depth)), view.camera))
    valid = np.load(made.path(view.depth)) > 0
    table = valid & (shot.labels == 0) & (np.linalg.norm(world[..., :2], axis=2) < 0.2)
    assert abs(np.median(world[table][:, 2])) < 0.001
    for i, box in ((1, RED), (2, BLUE)):
        assert np.percentile(world[valid & (shot.labels == i)][:, 2], 97) == pytest.approx(box.high[2], abs=0.005)


def test_the_support_is_complete(toy: tuple) -> None:
    _, _, made = toy
    polygon = np.array(made.support.polygon)
    assert planes.signed_area(polygon) > 0.2
    assert made.support.residual_m < 0.003
    assert 0.5 < made.support.seen_fraction < 1
    x0, y0, x1, y1 = made.support.texture_bounds
    assert (polygon >= [x0 - 1e-6, y0 - 1e-6]).all() and (polygon <= [x1 + 1e-6, y1 + 1e-6]).all()
    texture = images.read_color(made.path(str(made.support.texture)))
    assert texture.shape[1] / texture.shape[0] == pytest.approx((x1 - x0) / (y1 - y0), rel=0.02)
    red = (texture[..., 0].astype(int) - texture[..., 2]) > 100
    assert red.mean() < 0.002  # the objects are not painted on the table


def test_instances_match_the_label_image(toy: tuple) -> None:
    shot, _, made = toy
    labels = images.read_labels(made.path(made.views[0].labels))
    assert {i.label for i in made.instances} == set(np.unique(labels[labels > 0]).tolist())
    assert all(i.pixels == (labels == i.label).sum() for i in made.instances)
    assert min(match(labels, shot.labels).values()) > 0.9
    assert {i.text for i in made.instances} == {"red object 1", "blue object 2"}
    assert len({i.name for i in made.instances}) == len(made.instances)


def test_the_result_is_the_same_bytes_every_time(toy: tuple, tmp_path: Path) -> None:
    _, seen, made = toy
    again = rebuilt(seen, tmp_path / "again")
    files = sorted(p.relative_to(made.root) for p in made.root.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(again.root) for p in again.root.rglob("*") if p.is_file())
    assert all((made.root / f).read_bytes() == (again.root / f).read_bytes() for f in files)


def test_masks_are_taken_as_they_are(toy: tuple, tmp_path: Path) -> None:
    shot, seen, _ = toy
    made = rebuilt(seen, tmp_path / "masks", masks=True)
    assert (images.read_labels(made.path(made.views[0].labels)) == shot.labels).all()
    assert [(i.name, i.text, i.text_source, i.mask_source) for i in made.instances] == [
        ("red_box", "red box", "user", "mask"),
        ("blue_box", "blue box", "user", "mask"),
    ]


def test_boxes_give_names_and_labels(toy: tuple, tmp_path: Path) -> None:
    shot, seen, _ = toy
    made = rebuilt(seen, tmp_path / "boxes", boxes="boxes.json")
    labels = images.read_labels(made.path(made.views[0].labels))
    assert [(i.name, i.label, i.mask_source) for i in made.instances] == [("thing_1", 1, "box"), ("thing_2", 2, "box")]
    assert all(value > 0.9 for value in match(labels, shot.labels).values())


def test_absent_boxes_and_masks_are_named(toy: tuple, tmp_path: Path) -> None:
    _, seen, _ = toy
    with pytest.raises(SettingsError, match=r"tight\.json") as caught:
        rebuilt(seen, tmp_path / "a", boxes="tight.json")
    assert "boxes.json" in caught.value.hint
    bare = seen.model_copy(update={"frames": (seen.frames[0].model_copy(update={"mask": None}),)}).bind(seen.root)
    with pytest.raises(SettingsError, match="no mask"):
        rebuilt(bare, tmp_path / "b", masks=True)


def test_an_empty_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing stands on the table"):
        rebuilt(captured(tmp_path, shoot(())), tmp_path / "out")


def test_a_picture_without_a_plane_is_refused(tmp_path: Path) -> None:
    shot = shoot(())
    rough = np.random.default_rng(0).uniform(0.5, 2.0, (12, 16)).repeat(20, 0).repeat(20, 1).astype(np.float32)
    broken = Shot(shot.color, rough, shot.labels, shot.T_world_camera)
    with pytest.raises(InputError):
        rebuilt(captured(tmp_path, broken), tmp_path / "out")


@pytest.mark.skipif(not (captures() / "posecnn_ycb_2").is_dir(), reason="needs the real captures beside the checkout")
def test_a_real_table_is_taken_apart() -> None:
    result = score("posecnn_ycb_2", ReconstructionConfig())
    assert np.mean(list(result.iou.values())) > 0.72
    assert len(result.iou) <= result.found <= len(result.iou) + 2
