"""Laws of recorded commands, over whole episodes: gentle to the robot, and free of needless stops."""

from __future__ import annotations

import numpy as np
import pytest

from blueprint.backends.simulator_mujoco import SimulatorMujoco
from blueprint.model.artifacts import Episodes, TaskSet
from blueprint.model.scene import RobotArm
from blueprint.model.task import Goal, Task
from blueprint.skills.planning.motion import Limits, within
from blueprint.skills.rollout import SEGMENTS
from blueprint.stages.episodes import EpisodesConfig, episodes
from toy_cell import make_workcell

PLACE = Goal(family="place_region", center=(-0.05, -0.22), radius_m=0.05)


def datasheet(robot: RobotArm) -> Limits:
    return Limits(*(np.array(v) for v in (robot.velocity_limits, robot.acceleration_limits, robot.jerk_limits)), 2.0)


@pytest.mark.parametrize("fps", [15, 30])
def test_recorded_commands_keep_velocity_acceleration_and_jerk(
    tmp_path_factory: pytest.TempPathFactory, fps: int
) -> None:
    """The datasheet's limits, by finite differences over every frame of the episode, its segments' seams included."""
    workcell = make_workcell(tmp_path_factory.mktemp("cell") / "workcell")
    tasks = (Task(id="place", object="soup_can", goal=PLACE, instruction="move it"),)
    out, cfg = tmp_path_factory.mktemp("episodes"), EpisodesConfig(count=1, fps=fps, grasp_samples=60)
    made: Episodes = episodes(workcell, TaskSet(tasks=tasks, refused={}), SimulatorMujoco(), cfg, out).save(out)
    limits = datasheet(workcell.robot)
    done = [record for record in made.episodes if record.success]
    assert done
    for record in done:
        with np.load(made.path(record.states)) as states:
            joints, segment = states["action"][:, :-1].astype(float), states["segment"]
        assert within(joints, limits, fps)
        speed = np.linalg.norm(np.diff(joints, axis=0), axis=1) * fps
        move = np.flatnonzero(segment[1:] == SEGMENTS.index("move"))
        assert speed[move[2:-3]].min() > 0.02, "the way to the place has no stop on it"
