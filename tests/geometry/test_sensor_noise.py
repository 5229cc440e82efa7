"""Laws of sensor noise: as strong as it says, growing with z^2, and nothing where nothing is asked for."""

from __future__ import annotations

import numpy as np

from blueprint.geometry.sensor_noise import noisy_color, noisy_depth
from blueprint.model.variation import SensorNoise

FOCAL = 500.0


def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def test_no_noise_changes_nothing() -> None:
    color = np.full((20, 30, 3), 90, np.uint8)
    depth = np.full((20, 30), 1.25, np.float32)
    assert (noisy_color(color, SensorNoise(), rng()) == color).all()
    assert (noisy_depth(depth, SensorNoise(), FOCAL, rng()) == depth).all()


def test_depth_noise_has_its_sigma_at_one_metre_and_grows_with_the_square() -> None:
    noise = SensorNoise(depth=0.002)
    spread = {z: noisy_depth(np.full((200, 200), z, np.float32), noise, FOCAL, rng()).std() for z in (0.5, 1.0, 2.0)}
    np.testing.assert_allclose([spread[0.5], spread[1.0], spread[2.0]], [0.0005, 0.002, 0.008], rtol=0.02)


def test_photon_noise_grows_with_the_root_of_brightness() -> None:
    noise = SensorNoise(shot=0.04)
    spread = {b: noisy_color(np.full((200, 200, 3), b, np.uint8), noise, rng()).std() / 255 for b in (32, 128)}
    np.testing.assert_allclose(spread[128], 0.04 * np.sqrt(128 / 255), rtol=0.05)
    np.testing.assert_allclose(spread[128] / spread[32], 2.0, rtol=0.1)


def test_readings_fail_at_edges_and_grazing_angles_only() -> None:
    depth = np.full((100, 200), 1.0, np.float32)
    depth[:, 100:] = 1.5  # an edge
    depth[80:] = 1.0 + 0.02 * np.arange(1, 21)[:, None]  # a steep slope: 2 cm per pixel of 2 mm
    depth[0] = 0.0  # nothing there before
    lost = noisy_depth(depth, SensorNoise(depth_dropout=0.5), FOCAL, rng()) == 0
    assert lost[0].all()
    assert 0.35 < lost[5:75, 99:101].mean() < 0.65
    assert 0.35 < lost[85:95, :90].mean() < 0.65
    assert not lost[5:75, :95].any()


def test_same_seed_same_noise() -> None:
    depth = np.linspace(0.5, 2.0, 600, dtype=np.float32).reshape(20, 30)
    noise = SensorNoise(shot=0.01, read=0.01, depth=0.002, depth_dropout=0.3)
    assert (noisy_depth(depth, noise, FOCAL, rng()) == noisy_depth(depth, noise, FOCAL, rng())).all()
