"""Laws of what moves: known over time, and braked for in time."""

from __future__ import annotations

from pathlib import Path

import mujoco
import numpy as np
import pytest

from blueprint.backends.robots import mjcf as robot_mjcf
from blueprint.skills.cell import Cell
from blueprint.skills.planning.collision import CollisionWorld
from blueprint.skills.planning.in_time import Crowd, Guard
from blueprint.skills.planning.motion import Limits, time_waypoints, within
from blueprint.skills.planning.obstacles import Part, Scripted, Walker, add_movers, drive
from blueprint.skills.planning.paths import plan
from toy_cell import panda

FPS, OPENING = 15, 0.04
LEFT = np.array([1.0, 0.35, 0.0, -1.9, 0.0, 2.25, 0.785])
RIGHT = LEFT * np.array([-1, 1, 1, 1, 1, 1, 1])
BALL = Scripted(Part("ball", 0.08), (0.0, 3.0), ((0.55, -0.9, 0.25), (0.55, 0.9, 0.25)))
WALKER = Walker("person", ((0.75, -2.5), (0.75, 2.5)), 0.0)


def cell_with(folder: Path, movers: tuple) -> Cell:
    """Pandas on the floor, side by side, among movers."""
    spec = mujoco.MjSpec()
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.worldbody.add_geom(name="floor", type=mujoco.mjtGeom.mjGEOM_PLANE, size=[3, 3, 0.1], pos=[0, 0, -0.01])
    add_movers(spec, movers)
    spec.compile()
    folder.mkdir(parents=True)
    (folder / "scene.xml").write_text(spec.to_xml())
    robots = (robot_mjcf.mount(folder / "scene.xml", panda(), np.eye(4), 0.0, folder),)
    return Cell.load(folder / "workcell.xml", robots, ())


def limits(cell: Cell) -> Limits:
    return Limits.of(cell.robot, share=0.6, tool_speed=1.0)


def datasheet(cell: Cell) -> Limits:
    robot = cell.robot
    return Limits(*(np.array(v) for v in (robot.velocity_limits, robot.acceleration_limits, robot.jerk_limits)), 2.0)


def distance(cell: Cell, qpos: np.ndarray, movers: tuple, t: float, names: tuple[str, ...]) -> float:
    """Least distance between the robot and bodies, by MuJoCo's own distance query on the workcell's model [m]."""
    model, data = cell.model, mujoco.MjData(cell.model)
    data.qpos[:] = qpos
    drive(model, data, movers, t)
    mujoco.mj_kinematics(model, data)
    solid = [g for g in range(model.ngeom) if model.geom_contype[g] or model.geom_conaffinity[g]]
    mine = [g for g in solid if model.geom_bodyid[g] in cell.robot_bodies]
    theirs = [g for g in solid if model.body(model.geom_bodyid[g]).name in names]
    return min(mujoco.mj_geomDistance(model, data, a, b, 0.5, np.zeros(6)) for a in mine for b in theirs)


def nearest(cell: Cell, rows: np.ndarray, movers: tuple) -> float:
    names, found = tuple(p.name for m in movers for p in m.parts), []
    for k in range(len(rows)):
        qpos = cell.home_qpos
        qpos[cell.arm_qpos] = rows[k]
        found.append(distance(cell, qpos, movers, k / FPS, names))
    return min(found)


def heedless(world: CollisionWorld) -> np.ndarray:
    """(K, n) targets of a motion from LEFT to RIGHT that knows of nobody who moves."""
    names = [part.name for part in WALKER.parts]
    with world.ignoring(*names):
        path = plan(world, LEFT, RIGHT, OPENING)
    assert path is not None
    return time_waypoints(path, limits(world.cell), FPS)


def test_a_walker_is_a_pure_function_of_its_seed_and_of_time() -> None:
    path = np.array([[0.0, 0.0], [2.0, 0.0], [2.0, 2.0]])
    one, same = (Walker.drawn("p", path, 0.0, np.random.default_rng(3)) for _ in range(2))
    assert one == same and one != Walker.drawn("p", path, 0.0, np.random.default_rng(4))
    for (a, p), (b, q) in zip(one.poses(1.7), same.poses(1.7), strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(p, q)
    torso = [one.poses(t)[0][0] for t in (0.0, one.until)]
    np.testing.assert_allclose([p[:2] for p in torso], path[[0, -1]], atol=1e-6)


def test_a_walker_is_as_tall_as_said_stands_on_the_floor_and_is_never_faster_than_said() -> None:
    walker = Walker("p", ((0.0, 0.0), (3.0, 1.0)), 0.2, speed=1.3, stature=1.8)
    before: list | None = None
    for t in np.arange(0.0, walker.until, 0.01):
        ends = []
        for part, (at, quat) in zip(walker.parts, walker.poses(float(t)), strict=True):
            axis = np.zeros(3)
            mujoco.mju_rotVecQuat(axis, np.array([0.0, 0.0, part.half_m + part.radius_m]), quat)
            ends += [at + axis, at - axis]
        heights = [end[2] - 0.2 for end in ends]
        assert max(heights) == pytest.approx(1.8, abs=0.06) and -0.01 < min(heights) < 0.1
        if before is not None:
            speeds = np.linalg.norm(np.array(ends) - before, axis=1) / 0.01
            middle = 0.05 < t < walker.until - 0.05
            assert not middle or speeds.max() < walker.fastest
        before = ends


def simulated_contacts(cell: Cell, rows: np.ndarray, movers: tuple) -> int:
    """Steps with the robot in contact with a mover, the arm following its commands by its servos."""
    model, data, touching = cell.model, mujoco.MjData(cell.model), 0
    data.qpos[:] = cell.home_qpos
    data.qpos[cell.arm_qpos] = rows[0]
    steps = round(1 / FPS / model.opt.timestep)
    for frame, row in enumerate(rows[1:]):
        before = rows[frame]
        for k in range(steps):
            drive(model, data, movers, (frame + k / steps) / FPS)
            action = np.append(before + (row - before) * (k + 1) / steps, OPENING).astype(np.float32)
            data.ctrl[:] = cell.ctrl(action)
            mujoco.mj_step(model, data)
            bodies = model.geom_bodyid[data.contact.geom]
            robot = np.isin(bodies, list(cell.robot_bodies))
            touching += bool((robot.any(axis=1) & ~robot.all(axis=1) & (data.contact.dist < 0)).any())
    return touching


@pytest.mark.parametrize(("delay", "yields"), [(0, True), (15, False)])
def test_the_guard_keeps_away_from_a_person_whom_the_plan_did_not_know(
    tmp_path: Path, delay: int, yields: bool
) -> None:
    """It waits, backs off or goes slower, arrives in the end, and keeps the datasheet's limits all the time."""
    cell = cell_with(tmp_path / "cell", (WALKER,))
    world = CollisionWorld(cell)
    world.place(cell.home_qpos)
    targets = heedless(world)
    guard = Guard(world, np.concatenate([LEFT[None], targets]), OPENING, FPS)
    rows, waited = [LEFT], 0
    for frame in range(150):
        if frame >= delay:
            guard.step((Crowd((WALKER,)),), frame / FPS)
        rows.append(guard.joints)
        waited = max(waited, guard.waited)
        if guard.done:
            break
    assert guard.done and (waited > 0) == yields and len(rows) > len(targets) + delay
    moving = np.array(rows)
    assert nearest(cell, moving, (WALKER,)) > 0.04
    assert within(moving, datasheet(cell), FPS)
    assert simulated_contacts(cell, moving, (WALKER,)) == 0


def test_without_the_guard_the_person_is_hit(tmp_path: Path) -> None:
    """So that the test above can fail."""
    cell = cell_with(tmp_path / "cell", (WALKER,))
    world = CollisionWorld(cell)
    world.place(cell.home_qpos)
    rows = np.concatenate([np.tile(LEFT, (16, 1)), heedless(world)])
    assert nearest(cell, rows, (WALKER,)) < 0.0
    assert simulated_contacts(cell, rows, (WALKER,)) > 0
