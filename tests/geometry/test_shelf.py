"""Laws of containers: walls face inwards and bound the floor; the sides of a box on a table are no walls."""

from __future__ import annotations

import numpy as np
import pytest

from blueprint.geometry.mesh import is_closed, volume
from blueprint.geometry.table.planes import signed_area
from blueprint.geometry.table.shelf import Wall, board, clipped, enclosed, find_walls, true_up

SQUARE = np.array([[-0.2, -0.2], [0.2, -0.2], [0.2, 0.2], [-0.2, 0.2]])


def sheet(corner: tuple, a: tuple, b: tuple, normal: tuple, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """4000 noisy points of the parallelogram corner + s a + t b, with noisy normals."""
    rng = np.random.default_rng(seed)
    s, t = rng.uniform(size=(2, 4000, 1))
    n = np.asarray(normal) / np.linalg.norm(normal)
    points = np.asarray(corner) + s * np.asarray(a) + t * np.asarray(b) + rng.normal(size=(4000, 1)) * 0.002 * n
    noisy = n + rng.normal(size=(4000, 3)) * 0.05
    return points, noisy / np.linalg.norm(noisy, axis=1, keepdims=True)


def cloud(*sheets: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate([s[0] for s in sheets]), np.concatenate([s[1] for s in sheets])


FLOOR = sheet((-0.2, -0.2, 0), (0.4, 0, 0), (0, 0.4, 0), (0, 0, 1))
BACK = sheet((-0.2, 0.2, 0), (0.4, 0, 0), (0, 0, 0.3), (0, -1, 0))
LEFT = sheet((-0.2, -0.2, 0), (0, 0.4, 0), (-0.03, 0, 0.3), (1, 0, 0.1))
RIGHT = sheet((0.2, -0.2, 0), (0, 0.4, 0), (0.03, 0, 0.3), (-1, 0, 0.1))


def test_the_walls_of_a_shelf_are_found_where_they_stand() -> None:
    walls = find_walls(*cloud(FLOOR, BACK, LEFT, RIGHT), SQUARE, np.random.default_rng(0))
    assert len(walls) == 3
    for wall in walls:
        assert wall.distance(np.array([0, 0, 0.1])) > 0.15
        assert wall.top_m == pytest.approx(0.3, abs=0.02)
        assert wall.span[1] - wall.span[0] == pytest.approx(0.4, abs=0.03)


def test_the_sides_of_a_box_on_a_table_are_no_walls() -> None:
    front = sheet((-0.15, 0.05, 0), (0.3, 0, 0), (0, 0, 0.25), (0, -1, 0))
    side = sheet((0.15, 0.05, 0), (0, 0.14, 0), (0, 0, 0.25), (1, 0, 0))
    assert find_walls(*cloud(FLOOR, front, side), SQUARE, np.random.default_rng(0)) == ()


def test_one_room_wall_behind_a_table_is_no_container() -> None:
    assert find_walls(*cloud(FLOOR, BACK), SQUARE, np.random.default_rng(0)) == ()


def test_what_leans_before_a_wall_is_not_the_wall() -> None:
    book = sheet((-0.1, -0.1, 0), (0, 0.22, 0), (-0.03, 0, 0.2), (1, 0, 0.15))
    walls = find_walls(*cloud(FLOOR, BACK, LEFT, RIGHT, book), SQUARE, np.random.default_rng(0))
    left = [wall for wall in walls if wall.normal[0] > 0.8]
    assert len(left) == 1 and left[0].distance(np.array([-0.2, 0, 0])) == pytest.approx(0, abs=0.01)


def test_a_board_is_a_closed_solid_behind_the_measured_face() -> None:
    wall = Wall(np.array([0.0, -1.0, 0.0]), 0.2, np.array([1.0, 0.0, 0.0]), (-0.2, 0.2), 0.3)
    mesh = board(wall)
    assert is_closed(mesh)
    assert volume(mesh) == pytest.approx(0.4 * 0.3 * 0.01, rel=1e-6)
    assert (wall.distance(mesh[0]) < 0).all()


def test_the_floor_ends_at_the_walls() -> None:
    wall = Wall(np.array([0.0, -1.0, 0.0]), 0.1, np.array([1.0, 0.0, 0.0]), (-0.2, 0.2), 0.3)
    assert signed_area(clipped(SQUARE, wall)) == pytest.approx(0.4 * 0.3)
    assert enclosed(SQUARE, [wall])[:, 1].max() == pytest.approx(0.1, abs=1e-6)


def test_walls_level_a_floor_of_which_a_strip_was_seen() -> None:
    strip = sheet((-0.2, -0.2, 0), (0.4, 0, 0), (0, 0.06, 0), (0, 0, 1))
    points, normals = cloud(strip, BACK, LEFT, RIGHT)
    tilt = np.deg2rad(4.0)
    R = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    turned, n = (points - [0, -0.17, 0]) @ R.T + [0, -0.17, 0], normals @ R.T
    flat = n[:, 2] > 0.9
    turned[flat], n[flat] = points[flat], normals[flat]  # the strip was taken for level
    up = true_up(turned, n, SQUARE)
    assert np.rad2deg(np.arccos(up @ R[:, 2])) < 2.0  # of the 4 deg that the strip alone is off
