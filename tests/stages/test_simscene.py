"""The scene's three files say the same, and the capture's camera sees what it saw."""

from __future__ import annotations

from pathlib import Path

import mujoco
import numpy as np
import pytest
import trimesh
from bench.spine.parity import disagreement, faults, static_colliders_of_usd, units
from pxr import Gf, Usd, UsdGeom

import toys
from blueprint.backends.simulator_mujoco import SimulatorMujoco
from blueprint.geometry.transforms import invert, transform_points
from blueprint.model.artifacts import Physics, Reconstruction, SimScene
from blueprint.stages.simscene import SimSceneConfig, simscene


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
