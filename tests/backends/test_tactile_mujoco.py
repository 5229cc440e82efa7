"""Tactile readings add up to the contact forces, and show the shape that touches."""

from __future__ import annotations

import numpy as np
import pytest

import toy_gripper
from blueprint.backends.signals_mujoco import Signals, signals
from blueprint.backends.tactile_mujoco import touches
from blueprint.geometry.tactile import HEIGHT, NEWTONS_PER_METRE, PITCH_M, WIDTH, Touch, picture, touch


@pytest.fixture(scope="module")
def readings(tmp_path_factory: pytest.TempPathFactory) -> tuple[Signals, list[tuple[Touch, ...]]]:
    model = toy_gripper.write(tmp_path_factory.mktemp("gripper"))
    states = toy_gripper.held(model, 24)
    felt = signals(model, states, [toy_gripper.arm()], toy_gripper.FPS)
    return felt, list(touches(model, states["qpos"], felt, [toy_gripper.arm()]))


def test_the_force_map_adds_up_to_the_finger_s_contact_force(readings: tuple[Signals, list]) -> None:
    felt, rows = readings
    assert len(rows) == 24 and all(len(row) == 2 for row in rows)
    for t in (0, 3, 23):
        for finger, reading in enumerate(rows[t]):
            total = NEWTONS_PER_METRE * reading.depth.astype(float).sum()
            assert total == pytest.approx(felt.gripper_force[t, finger], rel=1e-4, abs=1e-6)
            assert -reading.force[2] == pytest.approx(felt.gripper_force[t, finger], abs=1e-9)
    assert felt.gripper_force[0].max() == 0 and felt.gripper_force[23].min() > 10


def test_shear_on_both_pads_carries_the_box(readings: tuple[Signals, list]) -> None:
    _, rows = readings
    carried = sum(np.hypot(*reading.force[:2]) for reading in rows[23])
    assert carried == pytest.approx(toy_gripper.MASS_KG * 9.81, rel=0.05)
    assert np.abs(rows[23][0].dots).max() > 1e-5
    assert (rows[0][0].dots == 0).all()


def test_a_flat_face_presses_evenly_where_the_box_is(readings: tuple[Signals, list]) -> None:
    """The toy's pad is larger than its fingertip: what is read is the box in front of the pad, 40 mm wide."""
    depth = readings[1][23][0].depth
    assert depth.min() > 0 and np.ptp(depth) < 0.05 * depth.mean()


def test_a_ball_leaves_a_round_dent_of_the_foundation_s_radius() -> None:
    """Winkler: force F = pi k R d^2, contact radius a = sqrt(2 R d)."""
    radius, force = 0.02, 2.0
    v, u = (np.indices((HEIGHT, WIDTH)) - np.array([HEIGHT - 1, WIDTH - 1])[:, None, None] / 2) * PITCH_M
    away = np.hypot(u, v)
    gap = np.where(away < radius, radius - np.sqrt(np.maximum(radius**2 - away**2, 0)), np.inf)
    reading = touch(gap, np.array([0.0, 0.0, -force]))
    deep = np.sqrt(force / (np.pi * NEWTONS_PER_METRE / PITCH_M**2 * radius))
    assert reading.depth.max() == pytest.approx(deep, rel=0.02)
    assert reading.area_m2 == pytest.approx(np.pi * 2 * radius * deep, rel=0.03)
    np.testing.assert_allclose(reading.centroid, 0, atol=1e-6)


def test_pictures_show_dents_and_moving_dots() -> None:
    gap = np.full((HEIGHT, WIDTH), np.inf)
    free = picture(touch(gap, np.zeros(3)))
    gap[100:140, 140:180] = 0.0
    pressed, sheared = (picture(touch(gap, np.array([f, 0.0, -2.0]))) for f in (0.0, 1.0))
    assert free.shape == (240, 320, 3)
    assert np.abs(pressed.astype(int) - free)[90:150, 130:190].max() > 20, "the dent's edges are lit"
    assert (pressed[:60] == free[:60]).all(), "elsewhere nothing changes"
    assert (sheared[100:140, 140:180] != pressed[100:140, 140:180]).any(), "dots move"


def test_a_force_from_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="nothing in front"):
        touch(np.full((HEIGHT, WIDTH), np.inf), np.array([0, 0, -1.0]))
