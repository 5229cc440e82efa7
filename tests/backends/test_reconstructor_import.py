"""Imported scenes: what becomes an object, what stays fixed, and our own scenes come back as they were."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from bench.scenes import cabinet, fuzz, fuzz_cases, fuzz_seeds

import toys
from blueprint.backends.protocols import ReconstructorConfig
from blueprint.backends.reconstruction.import_objects import things_of
from blueprint.backends.reconstruction.import_support import find_ground
from blueprint.backends.reconstructor_import import ReconstructorImport, read_scene
from blueprint.core.errors import InputError
from blueprint.formats.given.scene import GivenBody, GivenJoint, GivenScene, Surface
from blueprint.formats.obj import TexturedMesh, read_obj, write_obj
from blueprint.geometry.colliders.pieces import prism
from blueprint.geometry.mesh import grid_box
from blueprint.geometry.transforms import pose_to_matrix, transform_points
from blueprint.model.artifacts import Capture, Physics, Reconstruction, SimScene
from blueprint.model.scene import Instance, SettleTest, Support
from blueprint.stages.capture_scene import capture_scene
from blueprint.stages.physics import TABLE_FILE
from blueprint.stages.simscene import SimSceneConfig, simscene


def imported(place: Path, out: Path) -> Reconstruction:
    seen = capture_scene(place, "", (), out / "c").save(out / "c")
    (out / "r").mkdir()
    return ReconstructorImport().reconstruct(seen, ReconstructorConfig(), out / "r").save(out / "r")


def seed(kind: str, folder: Path) -> Reconstruction:
    (folder / "in").mkdir(parents=True)
    fuzz_cases.SEEDS[kind](folder / "in")
    return imported(folder / "in", folder)


def extents(made: Reconstruction, instance: Instance) -> tuple[np.ndarray, np.ndarray]:
    """(low, high) in the world of all parts."""
    assert instance.given is not None
    T = pose_to_matrix(instance.given.pose)
    points = [transform_points(T, read_obj(made.path(part.mesh)).vertices) for part in instance.given.parts]
    return np.concatenate(points).min(axis=0), np.concatenate(points).max(axis=0)


@pytest.mark.parametrize("kind", ["glb", "obj", "mjcf", "usda"])
def test_objects_stand_on_the_table_at_zero(kind: str, tmp_path: Path) -> None:
    made = seed(kind, tmp_path)
    by_name = {instance.name.removesuffix("_1"): instance for instance in made.instances}
    for name, (size, centre) in fuzz_seeds.parts().items():
        if name == "table":
            assert name not in by_name
            continue
        low, high = extents(made, by_name[name])
        assert high - low == pytest.approx(size, abs=1e-4)
        assert (low + high) / 2 == pytest.approx((*centre[:2], size[2] / 2), abs=1e-4)
        assert by_name[name].text_source == "file" and by_name[name].category
    polygon = np.array(made.support.polygon)
    assert np.ptp(polygon, axis=0) == pytest.approx(fuzz_seeds.TABLE[:2], abs=1e-5)
    edges = np.roll(polygon, -1, axis=0) - polygon
    assert (
        np.cross(np.column_stack([edges, np.zeros(4)]), np.roll(np.column_stack([edges, np.zeros(4)]), -1, axis=0))[
            :, 2
        ]
        > 0
    ).all()
    assert made.support.thickness_m == pytest.approx(fuzz_seeds.TABLE[2]) and made.views == ()


@pytest.mark.parametrize("kind", ["mjcf", "usda", "urdf"])
def test_a_cabinet_keeps_its_door(kind: str, tmp_path: Path) -> None:
    (cabinet,) = (i for i in seed(kind, tmp_path).instances if i.category == "cabinet")
    given = cabinet.given
    assert given is not None and given.anchored is True
    hinge = next(joint for joint in given.joints if joint.name == "hinge")
    names = [part.name for part in given.parts]
    assert names[0] == hinge.parent == "cabinet" and hinge.child == "door" and hinge.source == "asset"
    assert abs(hinge.axis[2]) == pytest.approx(1) and np.ptp(hinge.limits) > 1.4
    assert hinge.origin[0] == pytest.approx(-0.2 if kind == "urdf" else -0.1, abs=1e-6)


def test_our_own_scene_comes_back(tmp_path: Path) -> None:
    """Masses, poses and sizes to 1e-3, from each of the three files."""
    made: SimScene = toys.make_simscene(tmp_path / "ours")
    for file in (made.mjcf, made.usd, made.glb):
        place = tmp_path / file.replace(".", "_")
        place.mkdir()
        shutil.copytree(made.root / "assets", place / "assets")
        shutil.copyfile(made.path(file), place / file)
        again = imported(place, tmp_path / f"again_{file}")
        found = {instance.name: instance for instance in again.instances}
        assert set(found) == {body.name for body in made.bodies}
        for body in made.bodies:
            given = found[body.name].given
            assert given is not None
            assert given.pose.position == pytest.approx(body.pose.position, abs=1e-3), file
            low, high = extents(again, found[body.name])
            T = pose_to_matrix(body.pose)
            reach = np.abs(T[:3, :3]) @ np.array(body.dims_m)
            assert (high - low <= reach + 1e-3).all() and (high - low >= 0.5 * reach).all()
            if file != made.glb:  # which carries no physics
                assert given.mass_kg == pytest.approx(body.mass_kg, rel=1e-3), file


def test_our_own_cabinet_comes_back_with_its_joints(tmp_path: Path) -> None:
    files = tmp_path / "inputs/physics"
    item = cabinet.make_cabinet(files)
    square = np.array([[-0.9, -0.9], [0.9, -0.9], [0.9, 0.9], [-0.9, 0.9]])
    write_obj(TexturedMesh(*prism(square, -0.03, 0.0)), files / TABLE_FILE)
    numbers = {"seconds": 0, "max_drift_m": 0, "max_drift_deg": 0, "max_penetration_m": 0}
    settle = SettleTest.model_validate({"simulator": "none", "objects": (), "passed": True, **numbers})
    physics = Physics(objects=(item,), settle=settle).save(files)
    support = Support(
        polygon=tuple((x, y) for x, y in square.tolist()),
        residual_m=0.0,
        thickness_m=0.03,
        texture=None,
        texture_bounds=(-0.9, -0.9, 0.9, 0.9),
        seen_fraction=0.0,
    )
    found = Reconstruction(views=(), support=support, instances=(), depth_sigma_m=0.0, up_source="file")
    made = simscene(found.save(tmp_path / "inputs/r"), physics, SimSceneConfig(), tmp_path / "s").save(tmp_path / "s")
    T = pose_to_matrix(item.pose)
    for file in (made.mjcf, made.usd):
        (tmp_path / "s/scene.json").write_text(json.dumps({"main": file}))
        (again,) = imported(tmp_path / "s", tmp_path / f"again_{file}").instances
        given = again.given
        assert given is not None and given.anchored is True and len(given.joints) == len(item.parts)
        back = pose_to_matrix(given.pose)
        for part in item.parts:
            joint = next(j for j in given.joints if j.name.removeprefix("cabinet_") == part.joint.name)
            assert joint.type == part.joint.type and joint.limits == pytest.approx(part.joint.limits, abs=1e-3)
            axis, meant = back[:3, :3] @ joint.axis, T[:3, :3] @ part.joint.axis
            assert axis == pytest.approx(meant, abs=1e-3)
            off = transform_points(back, joint.origin) - transform_points(T, part.joint.origin)
            if joint.type == "revolute":  # a slide may start anywhere
                assert np.linalg.norm(np.cross(off, meant)) < 1e-3
            mass = next(p.mass_kg for p in given.parts if p.name == joint.child)
            assert mass == pytest.approx(part.mass_kg.value, rel=1e-3)


def box_body(name: str, at: tuple[float, float, float], size: float = 0.1, fixed: bool | None = None) -> GivenBody:
    T = np.eye(4)
    T[:3, 3] = at
    return GivenBody(name, T, (Surface(*grid_box(size, size, size)),), fixed=fixed)


def test_fixed_joints_make_one_piece_and_a_reversed_joint_turns_the_other_way() -> None:
    bodies = (box_body("base", (0, 0, 0)), box_body("panel", (0.1, 0, 0)), box_body("knob", (0.2, 0, 0)))
    joints = (
        GivenJoint("glue", "fixed", 1, 2),
        GivenJoint("anchor", "fixed", -1, 0),
        GivenJoint("hinge", "revolute", 2, 0, (0, 0, 1), (0.05, 0, 0), (0, 1)),
    )
    (thing,), _ = things_of(GivenScene(bodies, joints, "m", "z"))
    assert [piece.name for piece in thing.pieces] == ["base", "panel"]
    assert thing.joints[0].axis == (0, 0, -1) and thing.anchored is True and len(thing.world) > 0


def test_a_door_on_the_world_gets_a_mount_and_says_so() -> None:
    joint = GivenJoint("hinge", "revolute", -1, 0, (0, 0, 1), (-0.05, 0, 0), (0, 1))
    (thing,), notes = things_of(GivenScene((box_body("door", (0, 0, 0)),), (joint,), "m", "z"))
    assert [piece.mount for piece in thing.pieces] == [True, False] and thing.anchored is True
    assert "mount" in notes[0]


def test_walls_are_fixed_and_things_are_not() -> None:
    wall = GivenBody("wall_north", np.eye(4), (Surface(*grid_box(4.0, 0.1, 2.5)),))
    things, _ = things_of(GivenScene((wall, box_body("mug", (0, 0, 0)), box_body("x17", (1, 0, 0))), (), "m", "z"))
    assert [thing.kind for thing in things] == ["static", "object", "object"]


def test_what_can_be_lifted_says_where_zero_is() -> None:
    """A cabinet on the floor beside a table: the mug on the table decides."""
    floor = GivenBody("floor", np.eye(4), (Surface(*grid_box(4.0, 4.0, 0.02)),), fixed=True)
    table = box_body("table", (0, 0, 0.5), 0.6, fixed=True)
    cabinet = box_body("cabinet", (1, 1, 0.26), 0.5)
    for mug_z, height in ((0.85, 0.8), (0.06, 0.01)):
        bodies = (floor, table, cabinet, box_body("mug", (0, 0 if mug_z > 0.5 else 0.9, mug_z), 0.1, fixed=False))
        things, _ = things_of(GivenScene(bodies, (), "m", "z"))
        assert find_ground(things).height == pytest.approx(height)


def test_pictures_are_not_imported(tmp_path: Path) -> None:
    photo = Capture(name="a", kind="rgb", frames=()).save(tmp_path)
    with pytest.raises(InputError, match="holds pictures"):
        ReconstructorImport().reconstruct(photo, ReconstructorConfig(), tmp_path)


def test_a_reader_that_crashes_is_an_input_error(tmp_path: Path) -> None:
    """Prims nested 100,000 deep end USD's parser with a segmentation fault."""
    depth = 100_000
    (tmp_path / "in").mkdir()
    (tmp_path / "in/deep.usda").write_text("#usda 1.0\n" + 'def "a"\n{\n' * depth + "}\n" * depth)
    with pytest.raises(InputError) as refused:
        imported(tmp_path / "in", tmp_path)
    assert refused.value.hint


# ------------------------------------------------------------------ a fast part of bench/scenes/fuzz.py

FAST = (
    "cut glb main 0.5", "flip usdc main 3", "cut usda aux 0.5", "flip rgbd aux 1", "number mjcf nan 0",
    "number urdf inf 1", "missing urdf", "noise usdc", "escape usd reference ../canary",
    "escape usd texture ABS/canary", "escape mjcf model ABS/canary",
    "escape obj texture ../canary", "escape gltf buffer ABS/canary", "link usda",
    "zip entry a/../../canary.obj", "usdz bomb", "bomb mjcf replicate nested", "bomb urdf outer entity",
    "bomb gltf no data", "circle usd sublayer", "circle gltf", "deep gltf nodes 300", "no such place",
)  # fmt: skip


@pytest.mark.parametrize("case", fuzz.named(lambda name: name in FAST), ids=lambda case: case.name)
def test_bad_input_is_refused_or_read_and_nothing_else(case: fuzz_cases.Case) -> None:
    verdict = fuzz.judge(case)
    assert verdict.ending in ("read", "refused"), verdict
    assert verdict.leaks == ()


def test_the_canary_is_missed_when_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The suite can fail: a reader that opens a file outside is caught, in Python and in C++."""
    from blueprint.backends import reconstructor_import

    def careless(root: Path, main: Path) -> GivenScene:
        import mujoco

        if main.suffix == ".xml":
            mujoco.MjModel.from_xml_path(str(main))
        else:
            (root.parents[2] / "canary.txt").read_bytes()
        return read_scene(root, main)

    monkeypatch.setattr(reconstructor_import, "read_scene", careless)

    def write(folder: Path) -> Path:
        target = folder.parent / "canary.xml"
        (folder / "scene.xml").write_text(f'<mujoco><include file="{target}"/></mujoco>')
        return folder

    assert fuzz.judge(fuzz_cases.Case("python", fuzz_seeds.write_glb)).leaks
    assert fuzz.judge(fuzz_cases.Case("c++", write)).leaks


def test_the_fuzz_suite_is_large_enough() -> None:
    assert len(fuzz.all_cases()) >= 300
