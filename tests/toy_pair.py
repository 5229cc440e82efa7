"""Two Pandas that face each other over a table with plain solids on it, at fixed places."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from bench.episodes.two_arms import Thing, simscene

from blueprint.backends.robots import mjcf as robot_mjcf
from blueprint.backends.simulator_mujoco import SimulatorMujoco
from blueprint.model.artifacts import Workcell
from blueprint.skills.scene import TaskScene
from toy_cell import panda


def two_pandas(out: Path, things: tuple[Thing, ...], away_m: float) -> TaskScene:
    """away_m: of each base from the middle of the table, on the x axis."""
    made = simscene(things, out / "scene")
    mountings = []
    for x, facing in ((-away_m, 1.0), (away_m, -1.0)):
        T = np.diag([facing, facing, 1.0, 1.0])
        T[0, 3] = x
        mountings.append(robot_mjcf.Mounting(panda(), T, 0.0))
    arms = robot_mjcf.mount_all(made.path(made.mjcf), mountings, out)
    cell = Workcell(
        robot=arms[0],
        others=arms[1:],
        bodies=made.bodies,
        cameras=("scene", "wrist", "wrist2"),
        table_polygon=made.table_polygon,
        reachable={thing.name: True for thing in things},
    ).save(out)
    return TaskScene.of(cell, SimulatorMujoco(), 0)
