"""Workcell: a robot mounted where it reaches the objects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from blueprint.backends.protocols import Simulator
from blueprint.core.artifact import Config
from blueprint.core.errors import BackendError, InfeasibleError, SettingsError
from blueprint.core.stage import stage
from blueprint.model.artifacts import SimScene, Workcell
from blueprint.model.movers import Course, Person

if TYPE_CHECKING:
    from blueprint.backends.robots.mjcf import Mounting
    from blueprint.backends.robots.registry import InstalledRobot
    from blueprint.backends.robots.sheet import RobotSheet
    from blueprint.model.scene import SceneBody
    from blueprint.skills.cell import Cell
    from blueprint.skills.grasping.antipodal import Grasp

Array = NDArray[np.float64]

SCENE_CAMERA = "scene"
TARGETS_PER_OBJECT = 4  # grasps by which a base pose is judged
HANDOVER_M = 0.3  # above the table
APART_M = 0.12  # where the work area is probed around its middle, so that there is room to place things


class WorkcellConfig(Config):
    """robot: see `blueprint robots list`; robots: several at once, in place of `robot`.

    people: who walk past the table while the robot works; movers: things on a course of their own (docs/episodes.md)
    grains: vessel -> how many grains it holds, for the family `pour`, e.g. { cup = 20 }; one vessel
    grasp_samples: surface points per object from which grasps are built
    """

    robot: str = "franka_panda"
    robots: tuple[str, ...] = ()
    people: int = Field(default=0, ge=0, le=4)
    movers: tuple[Course, ...] = ()
    grains: dict[str, Annotated[int, Field(ge=1, le=100)]] = Field(default_factory=dict, max_length=1)
    grasp_samples: int = Field(default=160, ge=20)
    seed: int = 0

    def arms(self) -> tuple[RobotSheet, ...]:
        """Sheets of the robots. Raises BackendError naming those that there are."""
        from blueprint.backends.robots.sheet import arms_of

        return arms_of(self.robots or (self.robot,))

    def cameras(self) -> tuple[str, ...]:
        """Names of the cameras of a workcell with these robots. Raises BackendError for a robot that there is not."""
        from blueprint.backends.cameras_mjcf import FURTHER

        return (*_own_cameras(len(self.arms())), *FURTHER)

    def leans_on(self) -> dict[str, str]:
        """Each arm; with one of the user's own, whose files no package pins, the digest of its sheet and files."""
        from blueprint.backends.robots.sheet import own_robots

        own = own_robots()
        try:
            names = [arm.name for arm in self.arms()]
        except BackendError:
            return {"robot": "there is none of that name"}
        said = [f"{name} {own[name]}" if name in own else name for name in names]
        return {f"robot{k or ''}": text for k, text in zip((0, *range(2, 99)), said, strict=False)}


@stage(version="4", timeout_s=900.0)
def workcell(simscene: SimScene, simulator: Simulator, cfg: WorkcellConfig, out: Path) -> Workcell:
    """Choose the base poses by reachability, mount the robots, say what they can reach, and fill what holds grains.

    Raises InfeasibleError when a base has no room or nothing can be grasped.
    """
    from blueprint.backends import cameras_mjcf
    from blueprint.backends.robots import mjcf as robot_mjcf
    from blueprint.backends.robots import registry as robots
    from blueprint.skills import grains
    from blueprint.skills.cell import Cell
    from blueprint.skills.planning.obstacles import add_movers, mover_of

    installed = [robots.ensure(sheet.name) for sheet in cfg.arms()]
    if len(installed) > 1 and (cfg.people or cfg.movers):
        raise SettingsError("people and movers need a workcell with one arm", "leave workcell.robots at one robot")
    names = tuple(body.name for body in simscene.bodies if body.movable)
    jointed = tuple(body for body in simscene.bodies if body.joints)
    if not names and not jointed:
        raise InfeasibleError("nothing in the scene can be carried or opened", "every object is anchored or soft")
    for name in cfg.grains.keys() - {*names}:
        raise SettingsError(
            f"workcell.grains: nothing that can be carried is called {name!r}", f"there are: {', '.join(names)}"
        )
    mountings = _choose_bases(simscene, installed, names, cfg, out / "probe")
    movers = (*_people(simscene, mountings, cfg), *cfg.movers)
    alive = [mover_of(one) for one in movers]
    arms = robot_mjcf.mount_all(simscene.path(simscene.mjcf), mountings, out, partial(add_movers, movers=alive))
    cell = Cell.load(out / "workcell.xml", arms, names)
    reached = [_reachable(view, cfg) for view in cell.views]
    reachable = {name: any(by_arm[name] for by_arm in reached) for name in names}
    table = np.array(simscene.table_polygon)
    reachable |= {body.name: any(_workable(view, body, table, cfg) for view in cell.views) for body in jointed}
    if not any(reachable.values()):
        widest = max(arm.gripper.max_opening_m for arm in arms)
        raise InfeasibleError(
            f"{' and '.join(arm.title for arm in arms)} can grasp none of: {', '.join(reachable)}",
            f"the gripper opens {1000 * widest:.0f} mm; bring smaller objects or another robot",
        )
    more = cameras_mjcf.add_cameras(out / "workcell.xml", arms[0].base, simscene.bodies)
    made = Workcell(
        robot=arms[0],
        others=arms[1:],
        bodies=simscene.bodies,
        cameras=_own_cameras(len(arms)),
        more_cameras=more,
        movers=movers,
        table_polygon=simscene.table_polygon,
        reachable=reachable,
    ).bind(out)
    for name, count in cfg.grains.items():
        grains.fill(made, name, count, simulator)
    return made


def _own_cameras(arms: int) -> tuple[str, ...]:
    from blueprint.backends.robots.mjcf import wrist_camera

    return (SCENE_CAMERA, *(wrist_camera(k) for k in range(arms)))


def _people(simscene: SimScene, mountings: Sequence[Mounting], cfg: WorkcellConfig) -> Iterator[Person]:
    """As they stand before they walk; their stature is theirs in every episode."""
    import mujoco

    from blueprint.skills.planning.obstacles import passing_by

    if cfg.people:
        spec = mujoco.MjSpec.from_file(str(simscene.path(simscene.mjcf)))
        floor, base = float(spec.geom("floor").pos[2]), mountings[0].T_world_base[:2, 3]
        for k in range(cfg.people):
            rng = np.random.default_rng([cfg.seed, 29, k])
            stature = float(rng.uniform(1.55, 1.9))
            yield passing_by(f"person{k}", np.array(simscene.table_polygon), base, floor, stature, rng)


def _choose_bases(
    simscene: SimScene, installed: Sequence[InstalledRobot], names: tuple[str, ...], cfg: WorkcellConfig, probe: Path
) -> list[Mounting]:
    """A place for each arm in turn, judged with the arm at the origin of a throw-away cell.

    Arms of a team also count how well they reach the region over the objects where they hand things to each other.
    """
    import shutil

    from blueprint.backends.robots import mjcf as robot_mjcf
    from blueprint.skills.cell import Cell
    from blueprint.skills.joints.parts import outline
    from blueprint.skills.mounting import Mount, best_mount
    from blueprint.skills.placement import footprint
    from blueprint.skills.planning.ik import ArmKinematics
    from blueprint.skills.supports import walls

    camera = next((np.array(c.T_world_camera)[:2, 3] for c in simscene.cameras if c.name == SCENE_CAMERA), None)
    polygon, chosen = np.array(simscene.table_polygon), list[Mount]()
    mountings: list[Mounting] = []
    for one in installed:
        arm = robot_mjcf.mount(simscene.path(simscene.mjcf), one, np.eye(4), 0.0, probe)
        cell = Cell.load(probe / "workcell.xml", arm, names)
        qpos = cell.home_qpos
        outlines = [footprint(cell, name, cell.pose(qpos, name)) for name in names]
        outlines += [outline(cell, body.name) for body in simscene.bodies if body.anchored or body.joints]
        targets = [
            [g.tool(cell.pose(qpos, name)) for g in some[:TARGETS_PER_OBJECT]] for name, some in _grasps(cell, cfg)
        ]
        targets += _handles(cell, simscene, cfg)
        targets += _work_area(outlines) + (_handover(outlines) if len(installed) > 1 else [])
        found = best_mount(
            ArmKinematics(cell),
            targets,
            polygon,
            outlines,
            camera,
            reach_m=one.robot.reach,
            taken=chosen,
            walls=walls(cell),
        )
        shutil.rmtree(probe)
        if found is None:
            raise InfeasibleError(
                f"there is no room for the base of {arm.title} around the objects",
                "leave 15 cm free beside them on the table, or capture less of the table",
            )
        chosen.append(found)
        floor = float(cell.model.geom("floor").pos[2])
        mountings.append(robot_mjcf.Mounting(one, found.T_world_base, 0.0 if found.on_table else -floor))
    return mountings


def _handover(outlines: list[Array]) -> list[list[Array]]:
    """Tool poses over the middle of the objects, level or pointing down: there arms give each other things."""
    points = np.concatenate(outlines)
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    level = np.array([[0.0, 0, 1, 0], [0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 0, 1]])
    down = np.diag([1.0, -1.0, -1.0, 1.0])
    poses = []
    for T in (level, down):
        T[:3, 3] = [*middle, HANDOVER_M]
        poses.append([_turned(T, k * np.pi / 4) for k in range(8)])
    return poses


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


def _handles(cell: Cell, simscene: SimScene, cfg: WorkcellConfig) -> list[list[Array]]:
    """Tool poses at what opens, turns or is pressed."""
    from blueprint.skills.grasping.antipodal import gripper_shape
    from blueprint.skills.joints.parts import Jointed
    from blueprint.skills.joints.strokes import probes

    gripper, rng = gripper_shape(cell), np.random.default_rng(cfg.seed)
    parts = [part for body in simscene.bodies for part in Jointed.parts_of(cell, body)]
    return [poses for part in parts for poses in probes(cell, part, gripper, rng)]


def _workable(cell: Cell, body: SceneBody, table: Array, cfg: WorkcellConfig) -> bool:
    """Whether the arm can move some joint of the body."""
    from blueprint.skills.joints.parts import Jointed
    from blueprint.skills.joints.strokes import strokes
    from blueprint.skills.primitives import Skills

    skills, rng = Skills.of(cell, table), np.random.default_rng(cfg.seed)
    moved = (next(strokes(skills, part, cell.home_qpos, part.far, rng), None) for part in Jointed.parts_of(cell, body))
    return any(stroke is not None for stroke in moved)


def _grasps(cell: Cell, cfg: WorkcellConfig) -> list[tuple[str, tuple[Grasp, ...]]]:
    from blueprint.skills.grasping.antipodal import gripper_shape, sample_grasps

    gripper, rng = gripper_shape(cell), np.random.default_rng(cfg.seed)
    return [
        (name, sample_grasps(cell, gripper, name, cell.home_qpos, rng, samples=cfg.grasp_samples))
        for name in cell.objects
    ]


def _reachable(cell: Cell, cfg: WorkcellConfig) -> dict[str, bool]:
    """Whether some grasp of each object is in reach where it stands, were it alone on the table."""
    from blueprint.skills.grasping.approach import approaches
    from blueprint.skills.planning.collision import CollisionWorld
    from blueprint.skills.planning.ik import ArmKinematics

    world, arm = CollisionWorld(cell), ArmKinematics(cell)
    found = {}
    for name, grasps in _grasps(cell, cfg):
        world.place(cell.alone(name))
        found[name] = next(approaches(world, arm, name, grasps, cell.home_qpos), None) is not None
    return found
