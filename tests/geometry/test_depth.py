"""Laws of depth images."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blueprint.core.errors import InputError
from blueprint.geometry import depth as depths
from blueprint.geometry.units import infer_unit, parse_unit
from toy_table import CAMERA, shoot


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 99))
def test_projecting_undoes_lifting(seed: int) -> None:
    depth = np.random.default_rng(seed).uniform(0.2, 3, (CAMERA.height, CAMERA.width)).astype(np.float32)
    uv = depths.project(depths.backproject(depth, CAMERA), CAMERA)
    v, u = np.mgrid[: CAMERA.height, : CAMERA.width]
    assert np.abs(uv - np.dstack([u, v])).max() < 1e-3


def test_points_behind_the_camera_have_no_pixel() -> None:
    assert np.isnan(depths.project(np.array([0.0, 0.0, -1.0]), CAMERA)).all()


def test_flying_pixels_go_and_surfaces_stay() -> None:
    depth = np.full((60, 60), 1.0, np.float32)
    depth[:, 30:] = 1.5
    depth[20, 29] = 1.25  # between the two surfaces
    clean = depths.remove_flying_pixels(depth)
    assert clean[20, 29] == 0
    assert (clean[1:-1, 1:28] == 1.0).all() and (clean[1:-1, 31:-1] == 1.5).all()
    assert set(np.unique(clean)) <= {np.float32(0), np.float32(1), np.float32(1.5)}


@pytest.mark.parametrize("sigma", [0.001, 0.003, 0.006])
def test_the_noise_of_a_sensor_is_estimated(sigma: float) -> None:
    rng = np.random.default_rng(0)
    depth = rng.uniform(0.5, 1.5, 20000)
    assert depths.estimate_sigma(depth, rng.normal(size=20000) * sigma * depth**2) == pytest.approx(sigma, rel=0.05)


def test_normals_face_the_camera_and_are_those_of_the_surface() -> None:
    shot = shoot((), noise=0.0)
    points = depths.backproject(shot.depth, CAMERA)
    normal = depths.surface_normals(points, shot.depth > 0) @ shot.T_world_camera[:3, :3].T
    middle = normal[100:140, 140:180].reshape(-1, 3)
    assert middle[:, 2].min() > 0.999


@pytest.mark.parametrize(
    ("text", "metres"),
    [("mm(uint16)", 1e-3), ("m", 1.0), ("1/5000", 2e-4), ("0.1mm", 1e-4), ("0.00025", 0.00025), ("cm", 0.01)],
)
def test_units_as_people_write_them(text: str, metres: float) -> None:
    assert parse_unit(text).metres == pytest.approx(metres)


@given(median=st.integers(1, 60000))
def test_an_inferred_unit_is_the_only_one_that_fits(median: int) -> None:
    values = np.full((40, 40), median, np.uint16)
    fitting = [m for m in (1.0, 1e-3, 1 / 5000, 1e-4) if 0.25 <= median * m <= 2.5]
    if len(fitting) == 1:
        assert infer_unit(values, "x").metres == fitting[0]
    else:
        with pytest.raises(InputError):
            infer_unit(values, "x")
