"""Laws of planned motions: certain to be free between the checks too, the same for the same seed, or honestly none."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from blueprint.skills.cell import Cell
from blueprint.skills.planning.collision import CollisionWorld
from blueprint.skills.planning.ik import ArmKinematics
from blueprint.skills.planning.paths import plan
from blueprint.skills.planning.sweep import free
from toy_cell import cell_of, make_workcell

Array = np.ndarray
OPENING = 0.08


@pytest.fixture(scope="module")
def cell(tmp_path_factory: pytest.TempPathFactory) -> Cell:
    return cell_of(make_workcell(tmp_path_factory.mktemp("cell") / "workcell"))


@pytest.fixture(scope="module")
def world(cell: Cell) -> CollisionWorld:
    world = CollisionWorld(cell)
    world.place(cell.home_qpos)
    return world


@pytest.fixture(scope="module")
def ends(cell: Cell) -> tuple[Array, Array]:
    """Two configurations low on either side of the cracker box."""
    arm, found = ArmKinematics(cell), []
    for y in (-0.2, 0.27):
        T = np.diag([1.0, -1.0, -1.0, 1.0])
        T[:3, 3] = [-0.12, y, 0.06]
        found.append(arm.solve(T, arm.home))
    return found[0], found[1]


def touching(cell: Cell, rows: Array, step_rad: float) -> int:
    """Configurations in contact along a polyline, by a world of its own without clearance."""
    strict, wrong = CollisionWorld(cell, clearance_m=0.0), 0
    strict.place(cell.home_qpos)
    for a, b in itertools.pairwise(rows):
        for s in np.linspace(0, 1, 2 + int(np.abs(b - a).max() / step_rad)):
            wrong += not strict.clear(a + s * (b - a), OPENING)
    return wrong


def low_pose(rng: np.random.Generator) -> Array:
    """The hand looking down somewhere between the things on the table."""
    yaw = rng.uniform(-1.5, 1.5)
    T = np.eye(4)
    T[:3, :3] = [[np.cos(yaw), np.sin(yaw), 0], [np.sin(yaw), -np.cos(yaw), 0], [0, 0, -1]]
    T[:3, 3] = [rng.uniform(-0.2, 0.1), rng.uniform(-0.25, 0.25), rng.uniform(0.03, 0.2)]
    return T


def test_a_planned_path_is_free_between_its_checks_too(cell: Cell, world: CollisionWorld, ends: tuple) -> None:
    start, goal = ends
    assert not free(world, np.stack(ends), OPENING)  # the cracker box stands in between
    path = plan(world, start, goal, OPENING)
    assert path is not None and len(path) > 2
    rows, _, _ = path.rows()
    np.testing.assert_array_equal(rows[[0, -1]], [start, goal])
    assert touching(cell, rows, 0.003) == 0


def test_equal_arguments_give_equal_paths(cell: Cell, world: CollisionWorld, ends: tuple) -> None:
    first = plan(world, *ends, OPENING, seed=3)
    other = CollisionWorld(cell)
    other.place(cell.home_qpos)
    again = plan(other, *ends, OPENING, seed=3)
    assert first is not None and again is not None
    np.testing.assert_array_equal(first.rows()[0], again.rows()[0])


def test_what_cannot_be_reached_has_no_path(cell: Cell, world: CollisionWorld, ends: tuple) -> None:
    inside = ends[0].copy()
    inside[1] += 0.5  # the hand in the table
    assert not world.clear(inside, OPENING)
    assert plan(world, ends[0], inside, OPENING) is None


def test_a_sweep_called_free_has_no_contact_and_one_with_contact_is_called_blocked(
    cell: Cell, world: CollisionWorld
) -> None:
    """Random straight motions: certainty is never wrong, and is not bought by refusing everything."""
    strict = CollisionWorld(cell, clearance_m=0.0)
    strict.place(cell.home_qpos)
    arm, rng, passed, refused = ArmKinematics(cell), np.random.default_rng(4), 0, 0
    while passed + refused < 40:
        a, b = (arm.solve(low_pose(rng), arm.home) for _ in range(2))
        if a is None or b is None or not (world.clear(a, OPENING) and world.clear(b, OPENING)):
            continue
        contacts = touching(cell, np.stack([a, b]), 0.01)
        near = any(not world.clear(a + s * (b - a), OPENING) for s in np.linspace(0, 1, 150))
        certain = free(world, np.stack([a, b]), OPENING)
        assert not (certain and contacts)
        assert certain or near  # a refusal has a reason that finer checks see
        passed, refused = passed + certain, refused + (not certain)
    assert passed > 15 and refused > 5


def test_the_clearance_is_kept_from_boxes_by_fingertips(cell: Cell) -> None:
    """MuJoCo's broad phase and its box-box routine both overlook near misses unless told otherwise."""
    world = CollisionWorld(cell, clearance_m=0.008)
    arm = ArmKinematics(cell)
    world.place(cell.alone("soup_can"))
    T = np.diag([1.0, -1.0, -1.0, 1.0])
    heights = np.arange(0.004, 0.03, 0.001)
    clear = []
    for height in heights:
        T[:3, 3] = [-0.12, -0.25, height]
        joints = arm.solve(T, arm.home)
        assert joints is not None
        clear.append(world.clear(joints, OPENING))
    lowest = heights[clear.index(True)]
    assert all(clear[clear.index(True) :])
    bottom = 0.009  # the fingers end this far below the tool point
    assert lowest - bottom == pytest.approx(0.008, abs=0.0015)
