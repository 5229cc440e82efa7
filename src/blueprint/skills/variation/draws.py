"""Draws of what differs from episode to episode, each a pure function of its generator: looks, physics, goals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from blueprint.model.scene import SceneBody
from blueprint.model.spatial import Vec3
from blueprint.model.task import Family, Goal, Task
from blueprint.model.variation import (
    SHARE,
    TEXTURES,
    CameraShift,
    ErrorKind,
    Injected,
    Lamp,
    Level,
    Look,
    PhysicsDraw,
    SensorNoise,
)
from blueprint.skills.cell import Cell
from blueprint.skills.mounting import edge_distance
from blueprint.skills.placement import footprint, outline_gap
from blueprint.skills.scene import TaskScene
from blueprint.skills.wording import Wording

if TYPE_CHECKING:
    import mujoco

Array = NDArray[np.float64]

# whole ranges, at level `high`; our choice, wide enough to be seen and narrow enough for the scene to stay itself
AMBIENT = 0.5  # +- of the light without direction
BRIGHTNESS = (0.4, 1.4)  # of a lamp, around 1
WARMTH = 0.3  # more red and less blue, or the other way round
TINT = 0.25  # +- of each colour of a body
# share of the objects with another texture: below `high` they look like what the instruction calls them
OBJECT_TEXTURES: dict[Level, float] = {"none": 0.0, "low": 0.0, "medium": 0.0, "high": 0.25}
SHIFT_M, TURN_RAD, FOCAL = 0.015, np.deg2rad(2.0), 0.03  # of a camera: a mount put back by hand, a recalibration
SHOT, READ = 0.022, 0.012  # of a webcam in a dim room; half of it in a bright one
DEPTH_M = 0.0038  # at 1 m: twice that of a structured-light sensor (Nguyen et al. 2012, see `geometry.sensor_noise`)
DROPOUT = 0.5
# physics: of bodies without ranges of their own, those of the earlier system's assets; fingers wear like anything else
MASS, FRICTION = (0.8, 1.2), (0.85, 1.15)
DAMPING = (0.7, 1.3)  # of joints
GOAL_M = 0.09  # how far a region may be from where the task has it
GOAL_EDGE_M, GOAL_GAP_M = 0.02, 0.02  # between what will stand there and the table's edge, or another object
GOALS_TRIED = 30
MISSES_M = (0.012, 0.02)  # how far the robot believes an object to be from where it is
# whose robot lifts nothing, so that no slip shows; one that pushes looks before every stroke where the thing is
UNLIFTED: frozenset[Family] = frozenset(("push", "pull", "open", "close", "turn", "press"))
ASIDE_M = 0.025  # how far beyond its region an object is put by mistake


def draw_look(rng: np.random.Generator, level: Level, bodies: Sequence[str], cameras: Sequence[str]) -> Look:
    """Lights, colours, textures, camera poses and sensor noise; the scene as captured at level `none`.

    bodies: names that may change their colours, `world` for the table; cameras: names in the MJCF
    """
    share = SHARE[level]
    if share == 0.0:
        return Look()
    return Look(
        seed=int(rng.integers(2**31)),
        ambient=_around(rng, 1.0, share * AMBIENT),
        lamps=_lamps(rng, share),
        tints={name: _triple(1 + rng.uniform(-share * TINT, share * TINT, 3)) for name in bodies},
        textures={
            name: TEXTURES[int(rng.integers(len(TEXTURES)))]
            for name in bodies
            if rng.uniform() < (share if name == "world" else OBJECT_TEXTURES[level])
        },
        cameras={name: _shift(rng, share) for name in cameras},
        noise=SensorNoise(
            shot=_upto(rng, share * SHOT),
            read=_upto(rng, share * READ),
            depth=_upto(rng, share * DEPTH_M),
            depth_dropout=_upto(rng, share * DROPOUT),
        ),
    )


def _lamps(rng: np.random.Generator, share: float) -> tuple[Lamp, ...]:
    """A key light from above, and up to two lamps that fill in."""
    low, high = (1 + share * (bound - 1) for bound in BRIGHTNESS)
    tilt, turn = rng.uniform(0, share * np.deg2rad(65)), rng.uniform(0, 2 * np.pi)
    direction = (np.sin(tilt) * np.cos(turn), np.sin(tilt) * np.sin(turn), -np.cos(tilt))
    color = rng.uniform(low, high) * _white(rng, share)
    lamps = [Lamp(kind="directional", color=_triple(color), direction=_triple(direction), shadow=True)]
    for _ in range(int(rng.integers(0, 3))):
        angle, radius = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 2.0)
        position = (radius * np.cos(angle), radius * np.sin(angle), rng.uniform(0.8, 2.5))
        color = rng.uniform(0.2, 0.6) * _white(rng, share)
        lamps.append(Lamp(kind="point", color=_triple(color), position=_triple(position)))
    return tuple(lamps)


def _white(rng: np.random.Generator, share: float) -> Array:
    """Warm to cool, equally bright."""
    warmth = rng.uniform(-share * WARMTH, share * WARMTH)
    return np.array([1 + warmth, 1.0, 1 - warmth])


def _shift(rng: np.random.Generator, share: float) -> CameraShift:
    return CameraShift(
        translation=_triple(rng.uniform(-share * SHIFT_M, share * SHIFT_M, 3)),
        rotation=_triple(rng.uniform(-share * TURN_RAD, share * TURN_RAD, 3)),
        focal=_around(rng, 1.0, share * FOCAL),
    )


# Values are rounded so that what is written down is what was used.


def _around(rng: np.random.Generator, middle: float, reach: float) -> float:
    return round(float(rng.uniform(middle - reach, middle + reach)), 5)


def _upto(rng: np.random.Generator, most: float) -> float:
    return round(float(rng.uniform(0.3 * most, most)), 6)


def _triple(values: Sequence[float] | Array) -> Vec3:
    x, y, z = (round(float(value), 5) for value in values)
    return x, y, z


# ------------------------------------------------------------------ physics


def draw_physics(
    rng: np.random.Generator, level: Level, model: mujoco.MjModel, bodies: Iterable[SceneBody], fingers: Iterable[str]
) -> PhysicsDraw | None:
    """Masses, frictions, joint damping and centres of mass within the bodies' own ranges; None at level `none`.

    fingers: names of the finger bodies; their pads, which decide over what they touch, share one factor
    """
    share = SHARE[level]
    if share == 0.0:
        return None
    mass, friction, damping, center = {}, {}, {}, {}
    for body in bodies:
        if body.soft:
            continue
        ranges = (MASS, FRICTION) if body.ranges is None else (body.ranges.mass, body.ranges.friction)
        heavier, rougher = (_within(rng, bounds, share) for bounds in ranges)
        for name in _subtree(model, body.name):
            mass[name], friction[name] = heavier, rougher
        damping |= {joint: _within(rng, DAMPING, share) for joint in body.joints}
        if body.ranges is not None and body.ranges.center_of_mass_m:
            direction, reach = rng.standard_normal(3), share * rng.uniform(0.0, body.ranges.center_of_mass_m)
            center[body.name] = _triple(reach * direction / np.linalg.norm(direction))
    pads = _within(rng, FRICTION, share)
    return PhysicsDraw(mass=mass, friction=friction | dict.fromkeys(fingers, pads), damping=damping, center=center)


def _subtree(model: mujoco.MjModel, root: str) -> list[str]:
    inside = [model.body(root).id]
    for body in range(inside[0] + 1, model.nbody):
        if model.body_parentid[body] in inside:
            inside.append(body)
    return [model.body(body).name for body in inside]


def _within(rng: np.random.Generator, bounds: tuple[float, float], share: float) -> float:
    return round(1 + share * (float(rng.uniform(*bounds)) - 1), 5)


# ------------------------------------------------------------------ goals and errors


def draw_goal(rng: np.random.Generator, level: Level, scene: TaskScene, task: Task, wording: Wording) -> Task:
    """The task with its region elsewhere on free table, where the instruction is as true as before."""
    cell = scene.cell
    share, center = SHARE[level], task.goal.center
    if share == 0.0 or center is None or task.goal.family != "place_region":
        return task
    qpos = cell.home_qpos
    own = footprint(cell, task.object, cell.pose(qpos, task.object))
    own = own - (own.min(axis=0) + own.max(axis=0)) / 2
    others = [footprint(cell, name, cell.pose(qpos, name)) for name in cell.objects if name != task.object]
    for _ in range(GOALS_TRIED):
        reach, turn = share * GOAL_M * np.sqrt(rng.uniform()), rng.uniform(0, 2 * np.pi)
        x, y = (round(c + reach * f(turn), 3) for c, f in zip(center, (np.cos, np.sin), strict=True))
        there = own + np.array([x, y])
        if edge_distance(scene.table, there) < GOAL_EDGE_M:
            continue
        free = min((outline_gap(there, other) for other in others), default=np.inf) > GOAL_GAP_M + scene.jitter_m
        if free and wording.where((x, y)) == wording.where(center):
            return _with_center(task, (x, y))
    return task


def draw_error(rng: np.random.Generator, task: Task, objects: Sequence[str]) -> Injected | None:
    """An error that suits the task; None where it handles no free object."""
    if task.object not in objects:
        return None
    kinds: list[ErrorKind] = [] if task.goal.family == "push" else ["grasp_offset"]
    if task.goal.family not in UNLIFTED:
        kinds.append("early_opening")
    if task.goal.family in ("place_region", "push"):
        kinds.append("target_offset")
    kind = kinds[int(rng.integers(len(kinds)))]
    direction = rng.standard_normal(3)
    if kind == "target_offset":
        direction[2] = 0.0
        reach = task.goal.radius_m + ASIDE_M
    else:
        direction[2] = abs(direction[2])  # an object believed to be in the table would have no grasp
        reach = rng.uniform(*MISSES_M)
    offset = (0.0, 0.0, 0.0) if kind == "early_opening" else _triple(reach * direction / np.linalg.norm(direction))
    return Injected(kind=kind, offset=offset)


def mistaken(cell: Cell, task: Task, start: Array, error: Injected) -> tuple[Task, Array]:
    """The task and the state (nq,) that the robot believes in."""
    dx, dy, dz = error.offset
    if error.kind == "target_offset" and task.goal.center is not None:
        x, y = task.goal.center
        return _with_center(task, (x + dx, y + dy)), start
    if error.kind == "grasp_offset":
        T = cell.pose(start, task.object)
        T[:3, 3] += (dx, dy, dz)
        return task, cell.with_pose(start, task.object, T)
    return task, start


def _with_center(task: Task, center: tuple[float, float]) -> Task:
    goal: Goal = task.goal.model_copy(update={"center": center})
    return task.model_copy(update={"goal": goal})
