"""Laws of planes: found under noise, chosen for what stands on them, the world stands on them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blueprint.geometry.depth import backproject
from blueprint.geometry.table import planes
from blueprint.geometry.transforms import invert, transform_points
from toy_table import CAMERA, Box, shoot

ANGLES = st.floats(0.3, 1.4)


def noisy_plane(pitch: float, distance: float, sigma: float, seed: int) -> tuple[planes.Plane, np.ndarray]:
    """A plane that the camera looks down on at `pitch` [rad], and 4000 of its points, a third of them outliers."""
    rng = np.random.default_rng(seed)
    normal = np.array([0.0, -np.sin(pitch), -np.cos(pitch)])
    true = planes.Plane(normal, distance)
    x, y = planes.plane_axes(true, np.array([0.0, -1.0, 0.3]))
    on = rng.uniform(-0.3, 0.3, (4000, 2)) @ np.stack([x, y]) - distance * normal
    on += rng.normal(size=(4000, 1)) * sigma * normal
    stray = rng.uniform(-0.4, 0.4, (2000, 3)) - distance * normal
    return true, np.concatenate([on, stray])


@settings(max_examples=25, deadline=None)
@given(pitch=ANGLES, distance=st.floats(0.4, 1.2), seed=st.integers(0, 1000))
def test_a_plane_is_found_to_a_millimetre_under_noise(pitch: float, distance: float, seed: int) -> None:
    true, points = noisy_plane(pitch, distance, 0.002, seed)
    found = planes.ransac_plane(points, np.random.default_rng(seed))
    assert np.degrees(np.arccos(np.clip(found.normal @ true.normal, -1, 1))) < 0.5
    assert abs(found.offset - true.offset) < 0.002
    assert found.offset > 0  # the camera is above


def test_the_same_seed_finds_the_same_plane() -> None:
    _, points = noisy_plane(0.8, 0.7, 0.002, 3)
    a, b = (planes.ransac_plane(points, np.random.default_rng(5)) for _ in range(2))
    assert (a.normal == b.normal).all() and a.offset == b.offset


def test_two_points_are_no_plane() -> None:
    with pytest.raises(ValueError, match="3 points"):
        planes.ransac_plane(np.zeros((2, 3)), np.random.default_rng(0))


@settings(max_examples=50, deadline=None)
@given(pitch=ANGLES, distance=st.floats(0.3, 2.0))
def test_the_world_is_right_handed_with_z_up_and_the_camera_looks_along_y(pitch: float, distance: float) -> None:
    plane, points = noisy_plane(pitch, distance, 0.0, 0)
    T = planes.world_from_camera(plane, points[0])
    assert np.allclose(T[:3, :3].T @ T[:3, :3], np.eye(3), atol=1e-9)
    assert np.linalg.det(T[:3, :3]) == pytest.approx(1)
    assert np.allclose(transform_points(T, points[:4000])[:, 2], 0, atol=1e-9)
    assert np.allclose(transform_points(T, points[0]), 0, atol=1e-9)
    assert T[2, 3] == pytest.approx(distance)  # the camera is above the plane
    forward = T[:3, 2]
    assert forward[1] > 0 or abs(forward[2]) > 0.95
    assert abs(forward[0]) < 1e-9


def test_the_table_is_chosen_not_the_larger_floor_below_it() -> None:
    shot = shoot(half_table=0.2, eye=(0.0, -0.5, 0.6))
    points = backproject(shot.depth, CAMERA)
    cloud = points[shot.depth > 0].astype(float)
    best = max(planes.support_candidates(cloud, np.random.default_rng(0)), key=lambda c: c.score)
    up = invert(shot.T_world_camera)[:3, 2]
    assert best.plane.normal @ up > 0.999
    assert best.plane.offset == pytest.approx(shot.T_world_camera[2, 3], abs=0.003)


def test_a_box_top_is_not_the_table() -> None:
    large = Box((-0.2, -0.1, 0.0), (0.2, 0.2, 0.15), (60, 160, 60))
    shot = shoot((large,), eye=(0.0, -0.6, 0.7))
    cloud = backproject(shot.depth, CAMERA)[shot.depth > 0].astype(float)
    best = max(planes.support_candidates(cloud, np.random.default_rng(0)), key=lambda c: c.score)
    assert best.plane.offset == pytest.approx(shot.T_world_camera[2, 3], abs=0.003)


@settings(max_examples=30, deadline=None)
@given(width=st.floats(0.2, 0.8), depth=st.floats(0.2, 0.8), angle=st.floats(0, 3.14))
def test_the_outline_of_a_rectangle_is_that_rectangle(width: float, depth: float, angle: float) -> None:
    rng = np.random.default_rng(0)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    xy = rng.uniform(-0.5, 0.5, (60000, 2)) * [width, depth] @ turn.T
    polygon = planes.support_polygon(xy)
    area = planes.signed_area(polygon)
    assert area > 0
    assert (width - 0.02) * (depth - 0.02) < area < (width + 0.01) * (depth + 0.01)  # within a cell of the grid
    assert planes.inside_polygon(polygon, xy, 0.012).mean() > 0.99
    assert not planes.inside_polygon(polygon, xy * 2.5).all()


def test_what_lies_beside_the_table_at_its_height_is_not_the_table() -> None:
    rng = np.random.default_rng(0)
    table = rng.uniform(-0.2, 0.2, (20000, 2))
    other = rng.uniform(-0.05, 0.05, (2000, 2)) + np.array([0.5, 0.0])
    polygon = planes.support_polygon(np.concatenate([table, other]))
    assert polygon[:, 0].max() < 0.22
