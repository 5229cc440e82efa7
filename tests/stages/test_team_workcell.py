"""Laws of teams: one arm is as it ever was; two stand apart, reach the same objects, and act as one vector."""

from __future__ import annotations

from pathlib import Path

import mujoco
import numpy as np
import pytest

from blueprint.backends.simulator_mujoco import SimulatorMujoco
from blueprint.geometry.transforms import matrix_to_rows
from blueprint.model.artifacts import SimScene, Workcell
from blueprint.model.scene import SceneCamera, SettleTest
from blueprint.skills.cell import Cell
from blueprint.skills.mounting import FOOT_M, TEAM_GAP_M
from blueprint.skills.rollout import Rollout
from blueprint.stages.workcell import WorkcellConfig, workcell
from toy_cell import make_workcell
from toys import CAMERA, T_world_camera

FPS = 15


@pytest.fixture(scope="module")
def simscene(tmp_path_factory: pytest.TempPathFactory) -> SimScene:
    """The toys on a slab that two arms can share, over a floor."""
    folder = tmp_path_factory.mktemp("simscene")
    single = make_workcell(folder / "single")
    spec = mujoco.MjSpec.from_file(str(folder / "single/scene/scene.xml"))
    spec.geom("table").size = [0.8, 0.6, 0.015]
    spec.worldbody.add_geom(name="floor", type=mujoco.mjtGeom.mjGEOM_PLANE, size=[2, 2, 0.1], pos=[0, 0, -0.7])
    spec.compile()
    (folder / "scene.xml").write_text(spec.to_xml())
    settle = SettleTest(
        simulator="toy", seconds=5, objects=(), max_drift_m=0, max_drift_deg=0, max_penetration_m=0, passed=True
    )
    camera = SceneCamera(name="scene", camera=CAMERA, T_world_camera=matrix_to_rows(T_world_camera()))
    table = ((-0.8, -0.6), (0.8, -0.6), (0.8, 0.6), (-0.8, 0.6))
    return SimScene(mjcf="scene.xml", bodies=single.bodies, cameras=(camera,), table_polygon=table, settle=settle).save(
        folder
    )


@pytest.fixture(scope="module")
def team(simscene: SimScene, tmp_path_factory: pytest.TempPathFactory) -> Workcell:
    out = tmp_path_factory.mktemp("team")
    cfg = WorkcellConfig(robots=("franka_panda", "franka_panda"), grasp_samples=40)
    return workcell(simscene, SimulatorMujoco(), cfg, out).save(out)


@pytest.fixture(scope="module")
def cell(team: Workcell) -> Cell:
    return Cell.load(team.path(team.mjcf), team.robots, team.objects)


def test_the_first_arm_stands_where_a_single_one_would(simscene: SimScene, team: Workcell, tmp_path: Path) -> None:
    alone = workcell(simscene, SimulatorMujoco(), WorkcellConfig(robots=("franka_panda",), grasp_samples=40), tmp_path)
    assert alone.others == () and alone.cameras == ("scene", "wrist")
    assert alone.state_names == (*(f"joint{i}" for i in range(1, 8)), "gripper")
    assert team.cameras == ("scene", "wrist", "wrist2")


def test_bases_keep_apart_and_every_object_is_in_reach(team: Workcell) -> None:
    a, b = (np.array(arm.base.position) for arm in team.robots)
    assert np.linalg.norm(a - b) >= max(TEAM_GAP_M, 2 * FOOT_M)
    assert all(team.reachable[name] for name in ("cracker_box", "soup_can", "mustard_bottle"))


def test_names_of_a_team_are_told_apart(team: Workcell) -> None:
    assert team.state_names[:8] == (*(f"robot_joint{i}" for i in range(1, 8)), "robot_gripper")
    assert team.state_names[8] == "robot2_joint1" and len(set(team.state_names)) == 16


def test_views_share_the_model_and_split_the_action(cell: Cell) -> None:
    one, two = cell.view(0), cell.view(1)
    assert one is cell and two.view(0) is one and one.model is two.model
    assert (one.columns, two.columns) == (slice(0, 8), slice(8, 16))
    assert not one.robot_bodies & two.robot_bodies
    ctrl = cell.ctrl(cell.home_action)
    np.testing.assert_allclose(ctrl[two.arm_ctrl], two.robot.home, atol=1e-6)
    np.testing.assert_array_equal(cell.ctrl(cell.home_action), two.ctrl(two.home_action))
    np.testing.assert_allclose(cell.observed(cell.home_qpos), cell.home_action, atol=1e-6)


def test_one_arm_moves_and_the_other_waits(cell: Cell) -> None:
    simulation = SimulatorMujoco().open(cell.file, cell.home_qpos)
    rollout = Rollout(simulation, cell, FPS)
    second = rollout.view(1)
    targets = np.array(second.cell.robot.home) + np.linspace(0, 0.2, 10)[:, None]
    second.run("reach", targets, 0.05)
    assert rollout.frames == second.frames == 10
    actions = rollout.arrays()["action"]
    np.testing.assert_array_equal(actions[:, :8], np.tile(cell.home_action[:8].astype(np.float32), (10, 1)))
    np.testing.assert_allclose(actions[:, 8:15], targets, atol=1e-6)
    np.testing.assert_allclose(rollout.joints, cell.robot.home, atol=0.01)
    np.testing.assert_allclose(second.commanded, targets[-1], atol=1e-6)


def test_arms_move_together_and_the_shorter_motion_waits(cell: Cell) -> None:
    rollout = Rollout(SimulatorMujoco().open(cell.file, cell.home_qpos), cell, FPS)
    homes = [np.array(view.robot.home) for view in cell.views]
    moves = [home + np.linspace(0, 0.1, n)[:, None] for home, n in zip(homes, (12, 5), strict=True)]
    rollout.run_together("move", {0: (moves[0], 0.08), 1: (moves[1], np.linspace(0.08, 0.02, 5))})
    actions = rollout.arrays()["action"]
    assert len(actions) == 12
    np.testing.assert_allclose(actions[:, :7], moves[0], atol=1e-6)
    np.testing.assert_allclose(actions[4:, 8:15], np.tile(moves[1][-1], (8, 1)), atol=1e-6)
    np.testing.assert_allclose(actions[4:, 15], 0.02, atol=1e-7)
    np.testing.assert_allclose(rollout.view(1).joints, moves[1][-1], atol=0.01)
