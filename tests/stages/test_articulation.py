"""The articulation stage: files on disk, kept joints, doubts, a user's word, a model's word."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from bench.scenes.articulation_shapes import Specimen, specimens
from PIL import Image

from blueprint.core.errors import BackendError
from blueprint.formats.obj import TexturedMesh, read_obj, write_obj
from blueprint.model.artifacts import Articulation, Assets
from blueprint.model.scene import Joint, ObjectAsset, Part
from blueprint.model.spatial import Pose
from blueprint.stages.articulation import ArticulationConfig, PanelChoice, articulation, opinion

SET = {s.name: s for s in specimens(seed=12, rounds=1)}
RED, BLUE = (200, 40, 40), (40, 40, 200)


def asset_of(specimen: Specimen, folder: Path, name: str = "thing", text: str | None = None) -> ObjectAsset:
    """The specimen written as the assets stage writes: most of its texture red, a strip blue."""
    place = folder / "objects" / name
    place.mkdir(parents=True)
    picture = np.full((64, 64, 3), RED, dtype=np.uint8)
    picture[:8] = BLUE
    Image.fromarray(picture).save(place / "texture.png")
    low, size = specimen.vertices.min(axis=0), np.ptp(specimen.vertices, axis=0)
    uv = ((specimen.vertices - low) / size)[specimen.faces][:, :, [0, 2]]
    write_obj(TexturedMesh(specimen.vertices, specimen.faces, uv), place / "visual.obj", "texture.png")
    np.save(place / "seen_faces.npy", np.ones(len(specimen.faces), dtype=bool))
    dx, dy, dz = size.tolist()
    return ObjectAsset(
        name=name,
        text=specimen.text if text is None else text,
        mesh=f"objects/{name}/visual.obj",
        texture=f"objects/{name}/texture.png",
        seen_faces=f"objects/{name}/seen_faces.npy",
        dims_m=(dx, dy, dz),
        dims_sigma_m=(0.0, 0.0, 0.0),
        dims_source=("given", "given", "given"),
        method="bench",
        primitive=None,
        pose=Pose(position=(0.0, 0.0, dz / 2), quat_wxyz=(1.0, 0.0, 0.0, 0.0)),
        seen_fraction=1.0,
        confidence=1.0,
        silhouette_iou=1.0,
        depth_error_median_m=0.0,
        volume_m3=0.1,
        support="table",
    )


def run(asset: ObjectAsset, folder: Path, **settings: object) -> Articulation:
    assets = Assets(objects=(asset,), dropped={}).save(folder)
    out = folder.parent / "out"
    out.mkdir(exist_ok=True)
    return articulation(assets, ArticulationConfig(**settings), out).save(out)  # type: ignore[arg-type]


def test_a_cabinet_with_doors_and_a_drawer_gets_all_of_them(tmp_path: Path) -> None:
    made = run(asset_of(SET["mixed_0_whole"], tmp_path / "in", text="sideboard"), tmp_path / "in")
    thing = made.objects[0]
    assert sorted(joint.type for joint in thing.joints) == ["prismatic", "revolute", "revolute"]
    assert thing.parts[0].name == "body"
    assert {joint.child for joint in thing.joints} == {part.name for part in thing.parts[1:]}
    assert thing.anchored
    assert all(joint.evidence for joint in thing.joints)
    for part in thing.parts:
        mesh = read_obj(made.path(part.mesh))
        assert mesh.uv is not None
        assert made.path(part.texture or "").is_file()
        assert "map_Kd ../texture.png" in made.path(part.mesh).with_suffix(".mtl").read_text()


def test_new_faces_have_the_median_colour(tmp_path: Path) -> None:
    made = run(asset_of(SET["one_door_0_whole"], tmp_path / "in", text="cabinet"), tmp_path / "in")
    body = read_obj(made.path(made.objects[0].parts[0].mesh))
    assert body.uv is not None
    constant = np.ptp(body.uv, axis=1).max(axis=1) < 1e-6
    assert constant.sum() > 8  # the room behind the door
    assert np.all(body.uv[constant][:, 0, 1] < 56 / 64)  # red, not the blue strip


def test_joints_of_the_asset_are_kept(tmp_path: Path) -> None:
    asset = asset_of(SET["one_door_0"], tmp_path / "in")
    joint = Joint(
        name="own", type="revolute", parent="a", child="b", axis=(0, 0, 1), origin=(0, 0, 0), limits=(0, 1),
        confidence=1.0, source="asset",
    )  # fmt: skip
    parts = (Part(name="a", mesh=asset.mesh), Part(name="b", mesh=asset.mesh))
    kept = run(asset.model_copy(update={"joints": (joint,), "parts": parts}), tmp_path / "in").objects[0]
    assert kept.joints == (joint,)
    assert kept.parts == parts


@pytest.mark.parametrize("name", ["rigid_0_whole", "rigid_3", "rigid_7"])
def test_what_does_not_open_passes_unchanged(tmp_path: Path, name: str) -> None:
    asset = asset_of(SET[name], tmp_path / "in")
    made = run(asset, tmp_path / "in")
    assert made.objects == (asset,)
    assert made.path(asset.mesh).is_file()


def test_what_is_not_sure_is_a_doubt_and_no_joint(tmp_path: Path) -> None:
    made = run(asset_of(SET["one_door_0"], tmp_path / "in", text=""), tmp_path / "in", min_confidence=0.99)
    assert not made.objects[0].joints
    assert "confidence" in made.doubts["thing"]


def test_a_user_can_fix_a_panel_or_the_whole_object(tmp_path: Path) -> None:
    asset = asset_of(SET["one_door_0"], tmp_path / "in", text="cabinet")
    assert run(asset, tmp_path / "in").objects[0].joints
    choice = {"thing/door": PanelChoice(kind="none")}
    assert not run(asset, tmp_path / "in", panels=choice).objects[0].joints
    assert not run(asset, tmp_path / "in", fixed=("thing",)).objects[0].joints


def test_a_user_can_say_what_a_panel_is(tmp_path: Path) -> None:
    asset = asset_of(SET["one_door_0"], tmp_path / "in", text="cabinet")
    choice = {"thing/door": PanelChoice(kind="flap", hinge="bottom")}
    joint = run(asset, tmp_path / "in", panels=choice).objects[0].joints[0]
    assert joint.source == "user"
    assert abs(joint.axis[2]) < 1e-6


def test_a_model_is_asked_with_a_picture_of_the_marked_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Model:
        def inspect(self, picture: bytes, text: str, names: list[str]):
            asked.append((picture, text, names))
            return {name: SimpleNamespace(kind="door", hinge="none", confidence=0.9) for name in names}

    monkeypatch.setattr(opinion, "find", lambda kind, name: SimpleNamespace(load=Model))
    asset = asset_of(SET["one_door_0"], tmp_path / "in", text="cabinet")
    joint = run(asset, tmp_path / "in", model="toy").objects[0].joints[0]
    picture, text, names = asked[0]
    assert picture.startswith(b"\x89PNG")
    assert (text, names) == ("cabinet", ["door"])
    assert joint.source == "model"
    assert joint.evidence[0].startswith("model: door")


def test_a_model_that_is_not_there_stops_the_stage(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="no articulator 'nobody'"):
        run(asset_of(SET["one_door_0"], tmp_path / "in"), tmp_path / "in", model="nobody")
