"""Workcell: a robot mounted where it reaches the objects."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from blueprint.core.artifact import Config
from blueprint.core.errors import InfeasibleError
from blueprint.core.stage import stage
from blueprint.model.artifacts import SimScene, Workcell

if TYPE_CHECKING:
    from blueprint.backends.robots import InstalledRobot
    from blueprint.skills.cell import Cell
    from blueprint.skills.grasp import Grasp

Array = NDArray[np.float64]

SCENE_CAMERA = "scene"
TARGETS_PER_OBJECT = 4  # grasps by which a base pose is judged
APART_M = 0.12  # where the work area is probed around its middle, so that there is room to place things


class WorkcellConfig(Config):
    """robot: see `blueprint robots list`. grasp_samples: surface points per object from which grasps are built."""

    robot: str = "franka_panda"
    grasp_samples: int = Field(default=160, ge=20)
    seed: int = 0


@stage(version="1", timeout_s=900.0)
def workcell(simscene: SimScene, cfg: WorkcellConfig, out: Path) -> Workcell:
    """Choose the base pose by reachability, mount the robot, and say what it can reach.

    Raises InfeasibleError when no base pose has room or nothing can be grasped from it.
    """
    from blueprint.backends import robot_mjcf, robots
    from blueprint.skills.cell import Cell

    installed = robots.ensure(cfg.robot)
    names = tuple(body.name for body in simscene.bodies if body.movable)
    if not names:
        raise InfeasibleError("nothing in the scene can be carried", "every object is anchored, soft or has joints")
    T_world_base, pedestal = _choose_base(simscene, installed, names, cfg, out / "probe")
    arm = robot_mjcf.mount(simscene.path(simscene.mjcf), installed, T_world_base, pedestal, out)
    cell = Cell.load(out / "workcell.xml", arm, names)
    reachable = _reachable(cell, cfg)
    if not any(reachable.values()):
        raise InfeasibleError(
            f"{arm.title} can grasp none of: {', '.join(names)}",
            f"its gripper opens {1000 * arm.gripper.max_opening_m:.0f} mm; bring smaller objects or another robot",
        )
    return Workcell(
        robot=arm,
        bodies=simscene.bodies,
        cameras=(SCENE_CAMERA, robot_mjcf.WRIST_CAMERA),
        table_polygon=simscene.table_polygon,
        reachable=reachable,
    )


def _choose_base(
    simscene: SimScene, installed: InstalledRobot, names: tuple[str, ...], cfg: WorkcellConfig, probe: Path
) -> tuple[Array, float]:
    """T_world_base and the height of its pedestal [m], judged with the arm at the origin of a throw-away cell."""
    import shutil

    from blueprint.backends import robot_mjcf
    from blueprint.skills.cell import Cell
    from blueprint.skills.ik import ArmKinematics
    from blueprint.skills.mounting import best_mount
    from blueprint.skills.placement import footprint

    arm = robot_mjcf.mount(simscene.path(simscene.mjcf), installed, np.eye(4), 0.0, probe)
    cell = Cell.load(probe / "workcell.xml", arm, names)
    qpos = cell.home_qpos
    outlines = [footprint(cell, name, cell.pose(qpos, name)) for name in names]
    targets = [[g.tool(cell.pose(qpos, name)) for g in some[:TARGETS_PER_OBJECT]] for name, some in _grasps(cell, cfg)]
    camera = next((np.array(c.T_world_camera)[:2, 3] for c in simscene.cameras if c.name == SCENE_CAMERA), None)
    found = best_mount(
        ArmKinematics(cell), [*targets, *_work_area(outlines)], np.array(simscene.table_polygon), outlines, camera
    )
    shutil.rmtree(probe)
    if found is None:
        raise InfeasibleError(
            f"there is no room for the base of {arm.title} around the objects",
            "leave 15 cm free beside them on the table, or capture less of the table",
        )
    floor = float(cell.model.geom("floor").pos[2])
    return found.T_world_base, 0.0 if found.on_table else -floor


def _work_area(outlines: list[Array]) -> list[list[Array]]:
    """Tool poses pointing down, 10 cm above the corners of the area in which things will be put."""
    points = np.concatenate(outlines)
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    poses = []
    for x in (-APART_M, APART_M):
        for y in (-APART_M, APART_M):
            down = np.diag([1.0, -1.0, -1.0, 1.0])
            down[:3, 3] = [middle[0] + x, middle[1] + y, 0.1]
            poses.append([_turned(down, k * np.pi / 4) for k in range(4)])
    return poses


def _turned(T: Array, yaw: float) -> Array:
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]]
    out = turn @ T
    out[:3, 3] = T[:3, 3]
    return out


def _grasps(cell: Cell, cfg: WorkcellConfig) -> list[tuple[str, tuple[Grasp, ...]]]:
    from blueprint.skills.grasp import gripper_shape, sample_grasps

    gripper, rng = gripper_shape(cell), np.random.default_rng(cfg.seed)
    return [
        (name, sample_grasps(cell, gripper, name, cell.home_qpos, rng, samples=cfg.grasp_samples))
        for name in cell.objects
    ]


def _reachable(cell: Cell, cfg: WorkcellConfig) -> dict[str, bool]:
    """Whether some grasp of each object is in reach where it stands, were it alone on the table."""
    from blueprint.skills.approach import approaches
    from blueprint.skills.collision import CollisionWorld
    from blueprint.skills.ik import ArmKinematics

    world, arm = CollisionWorld(cell), ArmKinematics(cell)
    found = {}
    for name, grasps in _grasps(cell, cfg):
        world.place(cell.alone(name))
        found[name] = next(approaches(world, arm, name, grasps, cell.home_qpos), None) is not None
    return found
