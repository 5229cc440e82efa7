"""Laws of motions among what moves by itself: nothing is met, what was asked is done, and it comes out the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from blueprint.backends.simulator_mujoco import SimulatorMujoco
from blueprint.model.movers import Course
from blueprint.skills import yielding
from blueprint.skills.cell import Cell
from blueprint.skills.planning.collision import CollisionWorld
from blueprint.skills.planning.motion import time_waypoints
from blueprint.skills.planning.obstacles import driven, mover_of, passing_by
from blueprint.skills.primitives import SkillError
from blueprint.skills.rollout import Rollout
from blueprint.skills.yielding import YieldingRollout
from skills.test_obstacles import BALL, FPS, LEFT, OPENING, RIGHT, cell_with, limits


class Heedless(YieldingRollout):
    """Among the same movers, without looking."""

    def run_together(self, segment: str, motions: dict) -> None:
        Rollout.run_together(self, segment, motions)


def swung(kind: type[YieldingRollout], cell: Cell, movers: tuple) -> YieldingRollout:
    """From the left to the right, across the course of the ball, and a second of rest."""
    qpos = cell.home_qpos
    qpos[cell.arm_qpos] = LEFT
    rollout = kind(SimulatorMujoco().open(cell.file, qpos), cell, FPS, movers=movers, world=CollisionWorld(cell))
    rollout.rows["action"] = [np.append(LEFT, OPENING).astype(np.float32)]
    rollout.run("move", time_waypoints(np.stack([LEFT, RIGHT]), limits(cell), FPS), OPENING)
    rollout.hold("rest", FPS, OPENING)
    return rollout


def touches(rollout: Rollout) -> int:
    cell = rollout.cell
    pairs = [{a, b} for _, a, b in rollout.touching]
    return sum(cell.body("ball") in pair and bool(pair & cell.robot_bodies) for pair in pairs)


@pytest.fixture(scope="module")
def cell(tmp_path_factory: pytest.TempPathFactory) -> Cell:
    return cell_with(tmp_path_factory.mktemp("yielding") / "cell", (BALL,))


def test_the_arm_yields_arrives_and_meets_nothing_where_a_heedless_one_is_hit(cell: Cell) -> None:
    careful, heedless = (swung(kind, cell, (BALL,)) for kind in (YieldingRollout, Heedless))
    assert touches(careful) == 0 and touches(heedless) > 0
    assert careful.frames > heedless.frames
    np.testing.assert_allclose(careful.commanded, RIGHT, atol=1e-6)


def test_states_hold_what_moves_and_come_out_the_same_twice(cell: Cell) -> None:
    one, two = (swung(YieldingRollout, cell, (BALL,)).arrays() for _ in range(2))
    for name in one:
        np.testing.assert_array_equal(one[name], two[name])
    at, qpos, *_ = driven(cell.model, (BALL,), 1.0, 1 / FPS)
    frame = FPS - 1  # one action went before
    np.testing.assert_allclose(one["qpos"][frame][at], qpos, atol=1e-9)


def test_recorded_actions_among_the_same_movers_give_the_same_states(cell: Cell) -> None:
    recorded, qpos = swung(YieldingRollout, cell, (BALL,)), cell.home_qpos
    qpos[cell.arm_qpos] = LEFT
    again = Rollout(SimulatorMujoco().open(cell.file, qpos), cell, FPS, movers=(BALL,))
    again.rows["action"] = recorded.rows["action"][:1]
    again.repeat(np.array(recorded.rows["action"][1:]))
    for name in ("qpos", "qvel", "contacts", "force"):
        np.testing.assert_array_equal(again.arrays()[name], recorded.arrays()[name])


def test_it_gives_up_on_what_never_goes_away(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yielding, "PATIENCE_S", 1.0)
    tool = CollisionWorld(cell).tool_pose(RIGHT)[:3, 3]
    stays = replace(BALL, times=(0.0, 0.1), points=(tuple(tool), tuple(tool)))
    with pytest.raises(SkillError, match="in the way"):
        swung(YieldingRollout, cell, (stays,))


def test_people_pass_beside_the_table_away_from_the_arm() -> None:
    table, base = np.array([[-0.6, -0.5], [0.6, -0.5], [0.6, 0.5], [-0.6, 0.5]]), np.array([-0.4, 0.0])
    for seed in range(20):
        person = passing_by("p", table, base, -0.75, 1.7, np.random.default_rng(seed))
        middle = np.mean(person.path, axis=0)
        beyond = np.abs(middle) - table.max(axis=0)
        assert 0.3 <= beyond.max() <= 0.55
        assert mover_of(person).until > 2 * 3.0 / 1.5


def test_a_course_needs_a_time_for_every_point() -> None:
    with pytest.raises(ValueError, match="ascending"):
        Course(name="ball", radius_m=0.1, times=(0.0, 0.0), points=((0, 0, 0), (1, 0, 0)))
