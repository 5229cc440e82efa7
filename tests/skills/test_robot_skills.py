"""Laws of grasps, kinematics, motion and collision, on the toy workcell."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from blueprint.skills.cell import Cell
from blueprint.skills.grasping import antipodal as grasp
from blueprint.skills.grasping.solids import solid
from blueprint.skills.planning.collision import CollisionWorld
from blueprint.skills.planning.ik import ArmKinematics
from toy_cell import cell_of, make_workcell


@pytest.fixture(scope="module")
def cell(tmp_path_factory: pytest.TempPathFactory) -> Cell:
    return cell_of(make_workcell(tmp_path_factory.mktemp("cell") / "workcell"))


@cache
def grasps_of(cell: Cell, name: str) -> tuple[grasp.Grasp, ...]:
    return grasp.sample_grasps(cell, grasp.gripper_shape(cell), name, cell.home_qpos, np.random.default_rng(3))


@pytest.mark.parametrize("name", ["cracker_box", "soup_can", "mustard_bottle", "bowl"])
def test_grasps_are_antipodal(cell: Cell, name: str) -> None:
    """Along the closing axis the surface normals at both contacts stay inside the friction cone."""
    shape = solid(cell.model, cell.body(name))
    first, second, _ = grasp.pinches(shape, 0.072, 100, np.random.default_rng(0))
    assert len(first)
    axis = (second - first) / np.linalg.norm(second - first, axis=1, keepdims=True)
    for points, direction in ((first, -axis), (second, axis)):
        for point, outward in zip(points, direction, strict=True):
            slack = [planes[:, :3] @ point + planes[:, 3] for planes in shape.planes]
            on = [planes[np.abs(s) < 2e-4, :3] for planes, s in zip(shape.planes, slack, strict=True) if s.max() < 2e-4]
            assert max(float((normals @ outward).max()) for normals in on if len(normals)) >= grasp.CONE_COSINE - 1e-6


@pytest.mark.parametrize("name", ["cracker_box", "soup_can", "mustard_bottle", "bowl"])
def test_grasps_leave_the_open_gripper_free(cell: Cell, name: str) -> None:
    """No surface point of the object, sampled anew, lies inside the open gripper; and no box of it below the table."""
    shape, gripper = solid(cell.model, cell.body(name)), grasp.gripper_shape(cell)
    T_world_object = cell.pose(cell.home_qpos, name)
    points, _ = shape.sample(1500, np.random.default_rng(9))
    found = grasps_of(cell, name)
    assert len(found) > 10
    for one in found:
        T = one.T_object_tool
        local = (points - T[:3, 3]) @ T[:3, :3]
        boxes = gripper.boxes(one.opening)
        inside = (local[:, None] > boxes[:, 0] + 0.002) & (local[:, None] < boxes[:, 1] - 0.002)
        assert inside.all(axis=2).mean() < 0.002
        assert one.width <= one.opening <= 0.08 + 1e-9
        assert one.tool(T_world_object)[2, 3] > 0


def test_grasps_come_best_first_and_repeat(cell: Cell) -> None:
    found = grasps_of(cell, "soup_can")
    again = grasp.sample_grasps(cell, grasp.gripper_shape(cell), "soup_can", cell.home_qpos, np.random.default_rng(3))
    np.testing.assert_array_equal([g.T_object_tool for g in found], [g.T_object_tool for g in again])
    qualities = [g.quality for g in found]
    assert qualities == sorted(qualities, reverse=True)


def test_inverse_kinematics_reaches_to_a_millimetre(cell: Cell) -> None:
    """Checked by MuJoCo's forward kinematics of the whole workcell."""
    arm, world, rng = ArmKinematics(cell), CollisionWorld(cell), np.random.default_rng(1)
    solved = 0
    for _ in range(40):
        yaw = rng.uniform(-1.5, 1.5)
        T = np.eye(4)
        T[:3, :3] = [[np.cos(yaw), np.sin(yaw), 0], [np.sin(yaw), -np.cos(yaw), 0], [0, 0, -1]]
        T[:3, 3] = [rng.uniform(-0.2, 0.0), rng.uniform(-0.25, 0.25), rng.uniform(0.05, 0.25)]
        joints = arm.solve(T, arm.home)
        if joints is None:
            continue
        solved += 1
        reached = world.tool_pose(joints)
        assert np.linalg.norm(reached[:3, 3] - T[:3, 3]) < 1e-3
        assert (joints > cell.arm_range[:, 0]).all() and (joints < cell.arm_range[:, 1]).all()
    assert solved >= 36


def test_what_is_out_of_reach_has_no_solution(cell: Cell) -> None:
    T = np.diag([1.0, -1.0, -1.0, 1.0])
    T[:3, 3] = [0.6, 0.0, 0.1]
    arm = ArmKinematics(cell)
    assert arm.solve(T, arm.home) is None


def test_straight_lines_are_straight(cell: Cell) -> None:
    arm = ArmKinematics(cell)
    start = arm.tool_pose(arm.home)
    end = start.copy()
    end[:3, 3] += [0.05, 0.1, -0.1]
    path = arm.line(start, end, arm.home, steps=8)
    assert path is not None
    share = np.linspace(0, 1, 9)[:, None]
    expected = (1 - share) * start[:3, 3] + share * end[:3, 3]
    np.testing.assert_allclose([arm.tool_pose(joints)[:3, 3] for joints in path], expected, atol=1e-3)


def test_what_is_carried_counts_as_robot(cell: Cell) -> None:
    """A hand that is clear by itself is not when it holds something that reaches into the table."""
    world, arm = CollisionWorld(cell), ArmKinematics(cell)
    world.place(cell.home_qpos)
    T = np.diag([1.0, -1.0, -1.0, 1.0])
    T[:3, 3] = [-0.1, -0.2, 0.05]
    joints = arm.solve(T, arm.home)
    assert joints is not None and world.clear(joints, 0.08)
    hanging = np.diag([1.0, -1.0, -1.0, 1.0])
    hanging[2, 3] = 0.06
    with world.holding("soup_can", hanging):
        assert not world.clear(joints, 0.08)
        assert any("soup_can" in pair for pair in world.blocking(joints, 0.08))
    assert world.clear(joints, 0.08)


def test_dexterity_is_how_little_the_tool_moves_and_vanishes_where_the_arm_is_straight(cell: Cell) -> None:
    arm, step = ArmKinematics(cell), 1e-6
    tool = arm.tool_pose(arm.home)
    moved = [arm.tool_pose(arm.home + step * unit) for unit in np.eye(len(arm.home))]
    turned = [Rotation.from_matrix(T[:3, :3] @ tool[:3, :3].T).as_rotvec() for T in moved]
    columns = np.hstack([[T[:3, 3] - tool[:3, 3] for T in moved], 0.3 * np.array(turned)]).T / step
    assert arm.dexterity(arm.home) == pytest.approx(np.linalg.svd(columns, compute_uv=False)[-1], rel=1e-3)
    straight = np.array([0.0, 0.0, 0.0, -0.5, 0.0, 1.9, 0.0])  # the wrist as far from the shoulder as it gets
    assert arm.margin(straight) >= 0.06 and arm.free(arm.home, 0.06)
    assert not arm.free(straight, 0.06)
    bent = straight + np.array([0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0])
    assert arm.free(bent, 0.06)
