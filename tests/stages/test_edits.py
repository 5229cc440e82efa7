"""What a person's edits do to a reconstruction and to shapes."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import toys
from blueprint.core.errors import SettingsError
from blueprint.formats import images
from blueprint.formats.obj import read_obj
from blueprint.geometry.mesh import is_closed
from blueprint.geometry.transforms import pose_to_matrix, transform_points
from blueprint.model.artifacts import Reconstruction
from blueprint.model.edit import Cut, Draw, Edit, KnownShape, Merge, Remove, Rename
from blueprint.stages.edits import apply_known, edited


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Reconstruction:
    return toys.make_reconstruction(tmp_path_factory.mktemp("reconstruction"))


def after(made: Reconstruction, out: Path, *edits: Edit) -> tuple[Reconstruction, np.ndarray]:
    """The edited reconstruction and its label image."""
    shutil.copytree(made.root, out, dirs_exist_ok=True)
    done = edited(made, edits, out)
    return done, images.read_labels(out / done.views[0].labels)


def label_of(made: Reconstruction, name: str) -> int:
    return next(instance.label for instance in made.instances if instance.name == name)


def before(made: Reconstruction) -> np.ndarray:
    return images.read_labels(made.path(made.views[0].labels))


def test_removed_objects_are_background(made: Reconstruction, tmp_path: Path) -> None:
    done, labels = after(made, tmp_path, Remove(object="soup_can"))
    assert "soup_can" not in [instance.name for instance in done.instances]
    was = before(made)
    np.testing.assert_array_equal(labels, np.where(was == label_of(made, "soup_can"), 0, was))


def test_a_cut_parts_an_object_at_the_line_and_a_merge_joins_it_again(made: Reconstruction, tmp_path: Path) -> None:
    box = label_of(made, "cracker_box")
    u = np.nonzero(before(made) == box)[1]
    middle = float(np.median(u))
    cut = Cut(object="cracker_box", frame="0000", line=(middle, 0, middle, 239), name="right half")
    done, labels = after(made, tmp_path / "cut", cut)
    new = next(instance for instance in done.instances if instance.name == "right_half")
    assert np.nonzero(labels == new.label)[1].min() >= middle >= np.nonzero(labels == box)[1].max() - 1
    assert new.pixels + next(i.pixels for i in done.instances if i.name == "cracker_box") == len(u)
    _, joined = after(made, tmp_path / "both", cut, Merge(objects=("cracker_box", "right_half")))
    np.testing.assert_array_equal(joined, before(made))


def test_a_drawn_box_finds_what_was_removed(made: Reconstruction, tmp_path: Path) -> None:
    was = before(made) == label_of(made, "cracker_box")
    v, u = np.nonzero(was)
    box = Draw(frame="0000", xyxy=(u.min() - 3, v.min() - 3, u.max() + 3, v.max() + 3), name="crackers")
    done, labels = after(made, tmp_path, Remove(object="cracker_box"), box)
    found = labels == label_of(done, "crackers")
    assert (found & was).sum() / (found | was).sum() > 0.8


def test_a_new_name_is_the_users(made: Reconstruction, tmp_path: Path) -> None:
    done, _ = after(made, tmp_path, Rename(object="bowl", name="salad bowl"))
    named = next(instance for instance in done.instances if instance.name == "salad_bowl")
    assert (named.text, named.text_source) == ("salad bowl", "user")


@pytest.mark.parametrize(
    "edit",
    [
        Remove(object="ghost"),
        Cut(object="bowl", frame="9", line=(0, 0, 1, 1)),
        Cut(object="bowl", frame="0000", line=(0, 0, 0, 9)),
        Draw(frame="0000", xyxy=(-90, -90, -50, -50), name="nothing"),
    ],
)
def test_an_edit_that_cannot_be_done_says_why(made: Reconstruction, tmp_path: Path, edit: Edit) -> None:
    with pytest.raises(SettingsError) as caught:
        after(made, tmp_path, edit)
    assert caught.value.hint


def test_a_known_size_is_kept_exactly_and_the_foot_stays(tmp_path: Path) -> None:
    assets = toys.make_assets(tmp_path)
    old = next(asset for asset in assets.objects if asset.name == "cracker_box")
    (new,) = (
        a
        for a in apply_known(assets.objects, {old.name: KnownShape(size_m={"z": 0.25})}, tmp_path)
        if a.name == old.name
    )
    mesh = read_obj(tmp_path / new.mesh)
    np.testing.assert_allclose(np.ptp(mesh.vertices, axis=0), [*old.dims_m[:2], 0.25], atol=1e-6)
    assert new.dims_source[2] == "given" and new.dims_sigma_m[2] == 0
    assert new.primitive is not None and new.primitive.size[2] == pytest.approx(0.125)
    assert is_closed((mesh.vertices, mesh.faces))
    assert foot(tmp_path, new) == pytest.approx(old.pose.position[2] - old.dims_m[2] / 2, abs=1e-6)


def test_a_shape_drawn_onto_a_cylinder_is_one(tmp_path: Path) -> None:
    assets = toys.make_assets(tmp_path)
    shapes = apply_known(assets.objects, {"mustard_bottle": KnownShape(primitive="cylinder")}, tmp_path)
    bottle = next(asset for asset in shapes if asset.name == "mustard_bottle")
    vertices = read_obj(tmp_path / bottle.mesh).vertices / (np.array(bottle.dims_m) / 2)
    size = np.maximum(np.hypot(vertices[:, 0], vertices[:, 1]), np.abs(vertices[:, 2]))
    np.testing.assert_allclose(size, 1, atol=1e-4)


def test_a_shape_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="ghost"):
        apply_known(toys.make_assets(tmp_path).objects, {"ghost": KnownShape(primitive="box")}, tmp_path)


def foot(root: Path, asset) -> float:
    return float(transform_points(pose_to_matrix(asset.pose), read_obj(root / asset.mesh).vertices)[:, 2].min())
