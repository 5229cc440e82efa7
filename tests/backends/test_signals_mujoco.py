"""Signals obey mechanics: weights, levers, falls, and the forces that the simulation itself reported."""

from __future__ import annotations

from pathlib import Path

import mujoco
import numpy as np
import pytest

import toy_gripper
from blueprint.backends.signals_mujoco import Signals, signals
from toy_gripper import ARM_KG, MASS_KG, REACH_M

G = 9.81


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_gripper.write(tmp_path_factory.mktemp("gripper"))


@pytest.fixture(scope="module")
def states(model: Path) -> dict[str, np.ndarray]:
    return toy_gripper.held(model, 60)


@pytest.fixture(scope="module")
def felt(model: Path, states: dict[str, np.ndarray]) -> Signals:
    return signals(model, states, [toy_gripper.arm()], toy_gripper.FPS)


def test_torque_of_a_held_weight_is_its_weight_times_its_lever(felt: Signals, states: dict[str, np.ndarray]) -> None:
    """At rest: load, link and hand, each m g r; the joint's axis points to -y, so it lifts with positive torque."""
    angle = states["qpos"][-1, 0]
    box = states["qpos"][-1, 3] - 0.0
    moment = MASS_KG * box + (ARM_KG * 0.175 + 0.1 * 0.3 + 0.04 * REACH_M) * np.cos(angle)
    assert felt.effort[-1, 0] == pytest.approx(G * moment, rel=0.01)


def test_wrench_of_a_held_mass_is_its_weight(model: Path, felt: Signals, states: dict[str, np.ndarray]) -> None:
    pose = felt.tool_pose[-1, 0]
    axes = np.zeros(9)
    mujoco.mju_quat2Mat(axes, pose[3:])
    force, torque = axes.reshape(3, 3) @ felt.wrench[-1, 0, :3], axes.reshape(3, 3) @ felt.wrench[-1, 0, 3:]
    np.testing.assert_allclose(force, [0, 0, -MASS_KG * G], atol=0.02 * MASS_KG * G)
    lever = states["qpos"][-1, 3:6] - pose[:3]
    np.testing.assert_allclose(torque, np.cross(lever, [0, 0, -MASS_KG * G]), atol=2e-3)


def test_wrench_is_what_mujoco_sums_on_the_gripper_bodies(
    model: Path, felt: Signals, states: dict[str, np.ndarray]
) -> None:
    """`cfrc_ext` of hand and fingers (about the tree's centre of mass), another way to the same number."""
    mj_model = mujoco.MjModel.from_xml_path(str(model))
    data = mujoco.MjData(mj_model)
    for t in (5, 12, 40):
        before, target = states["ctrl"][t - 1 : t + 1]
        data.qpos[:], data.qvel[:] = states["qpos"][t], states["qvel"][t]
        data.ctrl[:] = before + (target - before) / 32  # 480 steps a second, 15 frames
        mujoco.mj_forward(mj_model, data)
        mujoco.mj_rnePostConstraint(mj_model, data)
        bodies = [mj_model.body(name).id for name in ("hand", "left", "right")]
        total = data.cfrc_ext[bodies].sum(axis=0)
        site, centre = data.site("tool"), data.subtree_com[mj_model.body_rootid[bodies[0]]]
        axes = site.xmat.reshape(3, 3)
        torque = total[:3] + np.cross(centre - site.xpos, total[3:])
        np.testing.assert_allclose(felt.wrench[t, 0, :3], total[3:] @ axes, atol=1e-3)
        np.testing.assert_allclose(felt.wrench[t, 0, 3:], torque @ axes, atol=1e-4)


def test_both_fingers_are_pushed_open_with_the_grip_force(felt: Signals) -> None:
    np.testing.assert_allclose(felt.gripper_force[-1], toy_gripper.GRIP_N, rtol=0.03)
    assert (felt.gripper_force[0] < 0.5 * toy_gripper.GRIP_N).all(), "not yet closed"


def test_a_falling_body_accelerates_with_g_and_moves_as_its_velocity_says(
    felt: Signals, states: dict[str, np.ndarray]
) -> None:
    ball = toy_gripper.body("ball")
    np.testing.assert_allclose(felt.body_acceleration[3, ball], [0, 0, -G, 0, 0, 0], atol=1e-9)
    fallen = (states["qpos"][4, 12] - states["qpos"][2, 12]) * toy_gripper.FPS / 2
    assert felt.body_velocity[3, ball, 2] == pytest.approx(fallen, rel=0.01)
    assert felt.body_acceleration[-1, toy_gripper.body("box"), 2] == pytest.approx(0, abs=0.05)


def test_joint_accelerations_are_the_change_of_velocity(felt: Signals) -> None:
    """Where they change slowly: the arm follows a ramp without acceleration (frames 4-9), then stands."""
    measured = np.diff(felt.velocity[:, 0]) * toy_gripper.FPS
    for frames in (slice(4, 9), slice(16, 59)):
        np.testing.assert_allclose(felt.acceleration[frames, 0], measured[frames], atol=0.01)
    assert np.abs(felt.acceleration[1]) > 1, "as it starts"


def test_contacts_and_forces_are_those_of_the_simulation(felt: Signals, states: dict[str, np.ndarray]) -> None:
    found = felt.contacts
    rows = np.column_stack([found.frame, found.bodies])
    assert rows.tolist() == states["contacts"].tolist()
    normal = (found.force * found.normal).sum(axis=1)
    still = (found.frame == 0) | (found.frame > 20)  # in motion the simulation reports the target of the step before
    np.testing.assert_allclose(normal[still], states["forces"][still], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(normal, states["forces"], rtol=0.1, atol=0.1)
    np.testing.assert_allclose(np.linalg.norm(found.normal, axis=1), 1.0)


def test_contacts_lie_between_finger_and_box(felt: Signals, states: dict[str, np.ndarray]) -> None:
    last = (felt.contacts.frame == len(states["qpos"]) - 1) & (felt.contacts.bodies == toy_gripper.body("box")).any(1)
    offset = felt.contacts.position[last] - states["qpos"][-1, 3:6]
    assert last.sum() >= 2
    np.testing.assert_allclose(np.abs(offset[:, 1]), 0.02, atol=1e-3)
