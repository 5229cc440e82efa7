"""Laws of the assets stage on models that came complete; completion itself has its own tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import trimesh

from blueprint.core.errors import InfeasibleError
from blueprint.formats import images
from blueprint.formats.obj import TexturedMesh, read_obj, write_obj
from blueprint.geometry.mesh import corner_normals, is_closed
from blueprint.geometry.transforms import matrix_to_pose, pose_to_matrix, transform_points
from blueprint.model.artifacts import Assets, Capture, Reconstruction
from blueprint.model.scene import GivenModel, Instance, Joint, Part, Support
from blueprint.stages.assets import AssetsConfig, assets, called

TILT = trimesh.transformations.rotation_matrix(np.pi / 2, (1, 0, 0))  # a frame whose y points up


def cuboid(size: tuple[float, float, float], at: tuple[float, float, float]) -> TexturedMesh:
    body = trimesh.creation.box(size, transform=trimesh.transformations.translation_matrix(at))
    mesh = np.asarray(body.vertices, dtype=float), np.asarray(body.faces, dtype=np.int64)
    return TexturedMesh(*mesh, np.full((len(mesh[1]), 3, 2), 0.5), corner_normals(mesh))


def reconstruction(folder: Path, instances: tuple[Instance, ...]) -> Reconstruction:
    support = Support(
        polygon=((-1, -1), (1, -1), (1, 1), (-1, 1)), residual_m=0.0, thickness_m=0.02, texture=None,
        texture_bounds=(-1, -1, 1, 1), seen_fraction=1.0,
    )  # fmt: skip
    return Reconstruction(
        views=(), support=support, instances=instances, depth_sigma_m=0.0, up_source="file", scale_source="file"
    ).save(folder)


def instance(name: str, given: GivenModel, text: str = "") -> Instance:
    return Instance(
        name=name, label=0, text=text or name, text_source="file", mask_source="given", pixels=0, confidence=1.0,
        given=given,
    )  # fmt: skip


def given(folder: Path, name: str, parts: dict[str, TexturedMesh], T: np.ndarray, **known: object) -> GivenModel:
    place = folder / "given" / name
    place.mkdir(parents=True)
    rows = []
    for index, (part, mesh) in enumerate(parts.items()):
        write_obj(mesh, place / f"{part}.obj", f"{part}.png")
        images.write_color(place / f"{part}.png", np.full((4, 4, 3), 40 + 100 * index, dtype=np.uint8))
        rows.append(Part(name=part, mesh=f"given/{name}/{part}.obj", texture=f"given/{name}/{part}.png"))
    return GivenModel(parts=tuple(rows), pose=matrix_to_pose(T), source="test", **known)  # type: ignore[arg-type]


def made(folder: Path, *instances: Instance) -> Assets:
    scene = reconstruction(folder, instances)
    capture = Capture(name="t", kind="scene", frames=())
    out = folder / "assets"
    out.mkdir()
    return assets.function(capture, scene, AssetsConfig(), out).save(out)  # type: ignore[return-value]


def at(x: float, y: float, z: float) -> np.ndarray:
    return trimesh.transformations.translation_matrix((x, y, z))


def test_a_given_model_stands_where_the_file_says_with_its_joint(tmp_path: Path) -> None:
    """World points of parts, joint axis and joint origin are those of the file, in whatever frame it gave them."""
    parts = {"body": cuboid((0.4, 0.6, 0.3), (0.2, 0.3, 0.1)), "door": cuboid((0.38, 0.58, 0.02), (0.2, 0.3, 0.26))}
    joint = Joint(
        name="hinge", type="revolute", parent="body", child="door", axis=(0, 1, 0), origin=(0.01, 0.3, 0.25),
        limits=(0.0, 1.5), confidence=1.0, source="asset",
    )  # fmt: skip
    T = at(0.5, 0.1, 0.0) @ TILT
    model = given(tmp_path, "cabinet", parts, T, joints=(joint,), mass_kg=7.0)
    scene = made(tmp_path, instance("cabinet", model))
    (found,) = scene.objects
    pose = pose_to_matrix(found.pose)
    for part in found.parts:
        world = transform_points(pose, read_obj(scene.path(part.mesh)).vertices)
        true = transform_points(T, parts[part.name].vertices)
        assert np.allclose(np.sort(world, axis=0), np.sort(true, axis=0), atol=1e-6)
    (moved,) = found.joints
    assert np.allclose(transform_points(pose, moved.origin), transform_points(T, joint.origin), atol=1e-6)
    assert np.allclose(pose[:3, :3] @ moved.axis, T[:3, :3] @ joint.axis, atol=1e-9)
    assert pose[2, 2] == pytest.approx(1), "z is up as it stood"
    assert np.linalg.det(pose[:3, :3]) == pytest.approx(1)
    assert found.dims_m == pytest.approx((0.4, 0.32, 0.6))
    whole = read_obj(scene.path(found.mesh))
    assert whole.vertices.min(axis=0) + whole.vertices.max(axis=0) == pytest.approx(np.zeros(3), abs=1e-6)
    assert is_closed((whole.vertices, whole.faces))
    assert found.dims_source == ("given", "given", "given")
    assert found.mass_kg == 7.0
    assert np.load(scene.path(found.seen_faces)).all()


def test_parts_keep_their_own_colours_in_the_picture_of_the_whole(tmp_path: Path) -> None:
    parts = {"low": cuboid((0.1, 0.1, 0.1), (0, 0, 0.05)), "top": cuboid((0.05, 0.05, 0.1), (0, 0, 0.15))}
    scene = made(tmp_path, instance("thing", given(tmp_path, "thing", parts, np.eye(4))))
    whole = read_obj(scene.path(scene.objects[0].mesh))
    picture = images.read_color(scene.path(scene.objects[0].texture))
    assert whole.uv is not None
    middle = whole.uv.mean(axis=1)
    size = np.array(picture.shape[1::-1])
    column, row = (np.stack([middle[:, 0], 1 - middle[:, 1]], axis=1) * size).astype(int).T
    assert picture[row[:12]].shape[0] == 12
    assert set(picture[row[:12], column[:12], 0].tolist()) == {40}
    assert set(picture[row[12:], column[12:], 0].tolist()) == {140}


def test_an_open_model_is_closed_and_that_is_told(tmp_path: Path) -> None:
    mesh = cuboid((0.1, 0.1, 0.1), (0, 0, 0.05))
    keep = mesh.vertices[mesh.faces][:, :, 2].min(axis=1) < 0.09
    shell = TexturedMesh(mesh.vertices, mesh.faces[keep], mesh.uv[keep], None)  # type: ignore[index]
    scene = made(tmp_path, instance("tub", given(tmp_path, "tub", {"body": shell}, np.eye(4))))
    (found,) = scene.objects
    whole = read_obj(scene.path(found.mesh))
    assert is_closed((whole.vertices, whole.faces))
    assert "thickened" in found.method
    assert found.volume_m3 < 0.5 * 0.001


def test_what_stands_on_something_names_it(tmp_path: Path) -> None:
    low = instance("shelf", given(tmp_path, "shelf", {"b": cuboid((0.5, 0.5, 0.3), (0, 0, 0.15))}, np.eye(4)))
    high = instance("mug", given(tmp_path, "mug", {"b": cuboid((0.1, 0.1, 0.1), (0, 0, 0.05))}, at(0.1, 0, 0.3)))
    beside = instance("pot", given(tmp_path, "pot", {"b": cuboid((0.1, 0.1, 0.1), (0, 0, 0.05))}, at(0.7, 0, 0.3)))
    scene = made(tmp_path, low, high, beside)
    assert {item.name: item.support for item in scene.objects} == {"shelf": "table", "mug": "shelf", "pot": "table"}
    assert scene.objects[1].primitive is not None


def test_a_part_cannot_name_a_file_outside_its_folder(tmp_path: Path) -> None:
    model = given(tmp_path, "thing", {"body": cuboid((0.1, 0.1, 0.1), (0, 0, 0.05))}, np.eye(4))
    evil = model.model_copy(update={"parts": (model.parts[0].model_copy(update={"name": "../../../evil"}),)})
    scene = made(tmp_path, instance("thing", evil))
    assert not list(tmp_path.rglob("evil*.obj")) or all(
        scene.path("objects") in path.parents for path in tmp_path.rglob("evil*.obj")
    )


def test_a_model_without_a_surface_is_dropped_and_said(tmp_path: Path) -> None:
    flat = TexturedMesh(np.zeros((3, 3)), np.array([(0, 1, 2)]))
    with pytest.raises(InfeasibleError, match="no surface"):
        made(tmp_path, instance("nothing", given(tmp_path, "nothing", {"body": flat}, np.eye(4))))


def test_every_object_gets_a_category_from_its_name_or_else_from_its_shape(tmp_path: Path) -> None:
    named = instance("a", given(tmp_path, "a", {"b": cuboid((0.1, 0.1, 0.1), (0, 0, 0.05))}, np.eye(4)), "coffee mug")
    known = instance("k", given(tmp_path, "k", {"b": cuboid((0.1, 0.1, 0.1), (0, 0, 0.05))}, at(1, 0, 0)), "mug")
    known = known.model_copy(update={"category": "vase", "category_confidence": 0.3})
    scene = made(tmp_path, named, known)
    assert [(thing.text, thing.category) for thing in scene.objects] == [("coffee mug", "mug"), ("mug", "vase")]
    rule = scene.objects[0].model_copy(
        update={"text": "red object 1", "text_source": "rule", "category": "", "method": "container"}
    )
    bowl = rule.model_copy(update={"dims_m": (0.16, 0.16, 0.06)})
    (found,) = called((bowl,))
    assert (found.text, found.category, found.category_confidence) == ("red bowl", "bowl", 0.7)
