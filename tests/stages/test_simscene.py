"""The scene's three files say the same, and the capture's camera sees what it saw."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest
import trimesh
from bench.scenes import cabinet
from bench.spine.parity import disagreement, faults, static_colliders_of_usd, units
from bench.usd_simulated import model_of
from pxr import Gf, Usd, UsdGeom, UsdPhysics

import toys
from blueprint.backends.simulator_mujoco import SimulatorMujoco
from blueprint.core.report import reporting
from blueprint.formats.obj import TexturedMesh, write_obj
from blueprint.formats.usd.simready_check import check_asset
from blueprint.geometry.colliders.pieces import prism
from blueprint.geometry.transforms import invert, transform_points
from blueprint.model.artifacts import Physics, Reconstruction, SimScene
from blueprint.model.scene import SettleTest, Sourced, Support
from blueprint.model.spatial import Pose
from blueprint.stages.physics import TABLE_FILE
from blueprint.stages.simscene import SimSceneConfig, is_floor, simscene


class Listener:
    """Collects warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def event(self, kind: str, fields: dict[str, Any]) -> None:
        if kind == "warning":
            self.warnings.append(fields["message"])


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> SimScene:
    return toys.make_simscene(tmp_path_factory.mktemp("simscene"))


def test_usd_and_mjcf_agree(scene: SimScene) -> None:
    worst = disagreement(scene.path(scene.usd), scene.path(scene.mjcf))
    assert set(worst) >= {"mass", "pose", "center", "inertia", "friction", "colliders", "bodies"}
    assert max(worst.values()) < 1e-4, worst


def test_usd_is_valid(scene: SimScene) -> None:
    usd = scene.path(scene.usd)
    assert faults(usd) == []
    assert units(usd) == ("Z", 1.0, 1.0)
    assert static_colliders_of_usd(usd) == 2  # table and floor


def test_the_bodies_are_those_of_the_files(scene: SimScene) -> None:
    model = mujoco.MjModel.from_xml_path(str(scene.path(scene.mjcf)))
    usd_stage = Usd.Stage.Open(str(scene.path(scene.usd)))
    for body in scene.bodies:
        assert model.body(body.name).mass[0] == pytest.approx(body.mass_kg, rel=1e-6)
        assert usd_stage.GetPrimAtPath(body.prim_path).IsValid()


def test_the_compiled_scene_holds_still(scene: SimScene) -> None:
    simulation = SimulatorMujoco().open(scene.path(scene.mjcf))
    before = simulation.qpos.reshape(-1, 7)
    simulation.advance(np.zeros(0), 2.0)
    assert np.abs(simulation.qpos.reshape(-1, 7) - before)[:, :3].max() < 1e-3


def test_the_scene_can_move_as_a_whole(scene: SimScene, tmp_path: Path) -> None:
    """Nothing in it names a place outside."""
    assert str(scene.root) not in scene.path(scene.mjcf).read_text()
    assert str(scene.root) not in scene.path(scene.usd).read_text()
    moved = tmp_path / "elsewhere"
    scene.root.rename(moved)
    try:
        mujoco.MjModel.from_xml_path(str(moved / scene.mjcf))
        assert Usd.Stage.Open(str(moved / scene.usd)).GetPrimAtPath("/World/Objects/bowl/Visual").IsA(UsdGeom.Mesh)
    finally:
        moved.rename(scene.root)


def test_any_slug_is_a_prim(scene: SimScene, tmp_path: Path) -> None:
    physics = Physics.load(scene.root / "inputs/physics")
    can = next(item for item in physics.objects if item.asset.name == "soup_can")
    named = can.model_copy(update={"asset": can.asset.model_copy(update={"name": "005-tomato.soup"})})
    alone = physics.model_copy(update={"objects": (named,)}).bind(physics.root)
    reconstruction = Reconstruction.load(scene.root / "inputs/physics/inputs/reconstruction")
    made = simscene(reconstruction, alone, SimSceneConfig(), tmp_path)
    assert made.bodies[0].prim_path == "/World/Objects/_005_tomato_soup"
    assert max(disagreement(tmp_path / made.usd, tmp_path / made.mjcf).values()) < 1e-4
    assert faults(tmp_path / made.usd) == []


def test_glb_shows_every_object_where_it_stands(scene: SimScene) -> None:
    loaded = trimesh.load(scene.path(scene.glb))
    assert set(loaded.geometry) == {"table", *(body.name for body in scene.bodies)}
    assert all(part.visual.material.baseColorTexture is not None for part in loaded.geometry.values())
    for body in scene.bodies:
        T, _ = loaded.graph[body.name]
        x, y, z = body.pose.position
        np.testing.assert_allclose(T[:3, 3], (x, z, -y), atol=1e-6)  # y up


def test_both_cameras_project_as_the_photograph(scene: SimScene) -> None:
    """A point of the world falls on the same pixel by the capture's calibration and by the USD camera."""
    point = np.array([0.1, 0.05, 0.08])
    capture = scene.cameras[0]
    assert capture.name == "capture"
    x, y, z = transform_points(invert(capture.T_world_camera), point)
    view = capture.camera
    expected = (view.fx * x / z + view.cx, view.fy * y / z + view.cy)
    usd_stage = Usd.Stage.Open(str(scene.path(scene.usd)))
    frustum = UsdGeom.Camera(usd_stage.GetPrimAtPath("/World/Cameras/capture")).GetCamera().frustum
    ndc = (frustum.ComputeViewMatrix() * frustum.ComputeProjectionMatrix()).Transform(Gf.Vec3d(*point))
    pixel = ((ndc[0] + 1) / 2 * view.width - 0.5, (1 - ndc[1]) / 2 * view.height - 0.5)
    assert pixel == pytest.approx(expected, abs=0.01)


def test_render_lies_on_the_photograph(scene: SimScene) -> None:
    """MuJoCo's view from the capture's camera covers the objects' pixels, principal point included."""
    reconstruction = Reconstruction.load(scene.root / "inputs/physics/inputs/reconstruction")
    labels = np.array(toys.Image.open(reconstruction.path(reconstruction.views[0].labels)))
    model = mujoco.MjModel.from_xml_path(str(scene.path(scene.mjcf)))
    data = mujoco.MjData(model)
    mujoco.mj_resetDataKeyframe(model, data, 0)
    mujoco.mj_forward(model, data)
    with mujoco.Renderer(model, toys.CAMERA.height, toys.CAMERA.width) as renderer:
        renderer.enable_segmentation_rendering()
        renderer.update_scene(data, "capture")
        geoms = renderer.render()[..., 0]
    for instance in reconstruction.instances:
        geom = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_GEOM, f"{instance.name}_visual")
        drawn, seen = geoms == geom, labels == instance.label
        assert (drawn & seen).sum() / (drawn | seen).sum() > 0.93, instance.name


def test_same_inputs_give_the_same_files(scene: SimScene, tmp_path: Path) -> None:
    physics = Physics.load(scene.root / "inputs/physics")
    reconstruction = Reconstruction.load(scene.root / "inputs/physics/inputs/reconstruction")
    again = simscene(reconstruction, physics, SimSceneConfig(), tmp_path)
    assert again.model_dump() == scene.model_dump()
    for file in sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()):
        assert (tmp_path / file).read_bytes() == (scene.root / file).read_bytes(), file


# ------------------------------------------------------------------ what opens, bends and stands fixed


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> SimScene:
    """An anchored cabinet, a free one, a cloth and a wall; nobody took a photograph of them."""
    root = tmp_path_factory.mktemp("furnished")
    files = root / "inputs/physics"
    away = {"pose": Pose(position=(0.0, 0.6, 0.3))}
    objects = (
        cabinet.make_cabinet(files),
        cabinet.make_cabinet(files, "second", anchored=False).model_copy(update=away),
        cabinet.make_soft(files, 2, (0.45, 0.0, 0.01)),
    )
    square = np.array([[-0.9, -0.9], [0.9, -0.9], [0.9, 0.9], [-0.9, 0.9]])
    write_obj(TexturedMesh(*prism(square, -0.03, 0.0)), files / TABLE_FILE)
    settle = SettleTest(
        simulator="none", seconds=0, objects=(), max_drift_m=0, max_drift_deg=0, max_penetration_m=0, passed=True
    )
    physics = Physics(objects=objects, statics=(cabinet.make_wall(files),), settle=settle).save(files)
    support = Support(
        polygon=tuple((x, y) for x, y in square.tolist()),
        residual_m=0.0,
        thickness_m=0.03,
        texture=None,
        texture_bounds=(-0.9, -0.9, 0.9, 0.9),
        seen_fraction=0.0,
    )
    found = Reconstruction(views=(), support=support, instances=(), depth_sigma_m=0.0, up_source="file")
    found = found.save(root / "inputs/reconstruction")
    return simscene(found, physics, SimSceneConfig(), root).save(root)


def test_a_scene_nobody_photographed_has_the_scene_camera_alone(furnished: SimScene) -> None:
    assert [camera.name for camera in furnished.cameras] == ["scene"]
    model = mujoco.MjModel.from_xml_path(str(furnished.path(furnished.mjcf)))
    assert model.ncam == 1


def test_the_bodies_say_what_moves(furnished: SimScene) -> None:
    model = mujoco.MjModel.from_xml_path(str(furnished.path(furnished.mjcf)))
    by_name = {body.name: body for body in furnished.bodies}
    assert by_name["cabinet"].anchored and not by_name["second"].anchored
    for name in ("cabinet", "second"):
        body = by_name[name]
        assert body.joints == (f"{name}_drawer_slide", f"{name}_door_hinge")
        assert all(model.joint(joint).id >= 0 for joint in body.joints)
        assert model.body_subtreemass[model.body(name).id] == pytest.approx(body.mass_kg)
        free = model.jnt_type[model.body_jntadr[model.body(name).id]] == mujoco.mjtJoint.mjJNT_FREE
        assert bool(free and model.body_jntnum[model.body(name).id]) is not body.anchored


def test_usd_says_the_same_of_what_moves(furnished: SimScene) -> None:
    """A model built from nothing but the USD has the MJCF's bodies, masses, places and joints."""
    usd = furnished.path(furnished.usd)
    assert faults(usd) == []
    assert all(check_asset(path) == [] for path in usd.parent.glob("assets/simready/*/simready_usd/*.usda"))
    ours, theirs = mujoco.MjModel.from_xml_path(str(furnished.path(furnished.mjcf))), model_of(usd)
    for name in ("cabinet", "cabinet_door", "cabinet_drawer", "second", "second_door", "second_drawer"):
        assert theirs.body(name).mass[0] == pytest.approx(ours.body(name).mass[0], rel=1e-6)
        states = []
        for model in (ours, theirs):
            data = mujoco.MjData(model)
            if model is ours:
                mujoco.mj_resetDataKeyframe(model, data, 0)
            mujoco.mj_kinematics(model, data)
            states.append((data.body(name).xpos.copy(), data.body(name).xmat.copy()))
        np.testing.assert_allclose(states[0][0], states[1][0], atol=1e-6)
        np.testing.assert_allclose(states[0][1], states[1][1], atol=1e-6)
    usd_stage = Usd.Stage.Open(str(usd))
    for prim in usd_stage.Traverse():
        if prim.IsA(UsdPhysics.RevoluteJoint) or prim.IsA(UsdPhysics.PrismaticJoint):
            there = ours.joint(prim.GetDisplayName())
            child = theirs.joint(int(theirs.body_jntadr[theirs.body(ours.body(there.bodyid[0]).name).id]))
            np.testing.assert_allclose(child.range, there.range, rtol=1e-6)
            np.testing.assert_allclose(child.axis, there.axis, atol=1e-6)
            np.testing.assert_allclose(child.damping, there.damping, rtol=1e-6)


def test_nvidias_validator_accepts_the_whole_scene(furnished: SimScene, tmp_path: Path) -> None:
    """As delivered: SimReady wants a file that has its grandparent folder's name in its own."""
    command = Path(sys.executable).with_name("simready-validate")
    if not command.exists():
        pytest.skip("simready-validate is not installed (extra `simready`)")
    shutil.copytree(furnished.path("assets"), tmp_path / "scene/usd/assets")
    shutil.copytree(furnished.path(".thumbs"), tmp_path / "scene/usd/.thumbs")
    file = shutil.copy(furnished.path(furnished.usd), tmp_path / "scene/usd/scene.usda")
    profile = ["--profile", "Robotics-Prop", "--version", "4.0.0"]
    run = subprocess.run([command, *profile, file], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stdout


def test_an_anchored_cabinet_is_fixed_where_it_stands(furnished: SimScene) -> None:
    """A joint to the world has its frame in the world: it must not pull the cabinet to the origin."""
    usd_stage = Usd.Stage.Open(str(furnished.path(furnished.usd)))
    joint = UsdPhysics.Joint(usd_stage.GetPrimAtPath("/World/Objects/cabinet/joints/fixed_base"))
    np.testing.assert_allclose(joint.GetLocalPos0Attr().Get(), (0.0, 0.0, 0.3), atol=1e-7)
    assert not usd_stage.GetPrimAtPath("/World/Objects/second/joints/fixed_base")


def test_glb_nests_what_moves_below_what_carries_it(furnished: SimScene) -> None:
    loaded = trimesh.load(furnished.path(furnished.glb))
    assert loaded.graph.transforms.parents["cabinet_door"] == "cabinet"
    assert {"wall", "table", "cloth", "cabinet", "cabinet_drawer", "second_door"} <= set(loaded.geometry)
    assert loaded.bounds[1][1] == pytest.approx(1.0, abs=1e-6)  # the wall's top: y is up


def test_every_rigid_object_has_a_urdf_and_a_soft_one_a_deformable(furnished: SimScene) -> None:
    assets = furnished.path("assets")
    assert sorted(path.name for path in (assets / "urdf").iterdir()) == ["cabinet.urdf", "second.urdf"]
    assert sorted(path.name for path in (assets / "simready").iterdir()) == ["cabinet", "second"]
    assert (assets / "soft/cloth.usda").is_file()


def test_an_asset_with_a_fault_is_reported(scene: SimScene, tmp_path: Path) -> None:
    physics = Physics.load(scene.root / "inputs/physics")
    can = next(item for item in physics.objects if item.asset.name == "soup_can")
    heavy = can.model_copy(update={"mass_kg": Sourced(value=1e6, source="a slip of the pen")})
    alone = physics.model_copy(update={"objects": (heavy,)}).bind(physics.root)
    reconstruction = Reconstruction.load(scene.root / "inputs/physics/inputs/reconstruction")
    told = Listener()
    with reporting(told):
        simscene(reconstruction, alone, SimSceneConfig(), tmp_path)
    assert any("density" in message for message in told.warnings)


def test_a_support_as_wide_as_a_room_is_the_floor() -> None:
    square = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    assert is_floor(1.2 * square)
    assert not is_floor(0.9 * square)
    assert not is_floor(square * [3.0, 0.4])  # a long counter
