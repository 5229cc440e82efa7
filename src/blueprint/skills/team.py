"""Two hands on one object: which grasps go together, whether a state of the whole team is free, and simple motions."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from blueprint.model.episode import FailureCause
from blueprint.model.task import Family
from blueprint.skills.cell import Cell
from blueprint.skills.families import Proposal, pick
from blueprint.skills.grasping.antipodal import Grasp
from blueprint.skills.grasping.approach import moved_along_z, raised
from blueprint.skills.grasping.solids import solid
from blueprint.skills.planning import motion
from blueprint.skills.planning.motion import Limits
from blueprint.skills.planning.paths import plan
from blueprint.skills.primitives import CLOSE_S, HELD_M, OPEN_S, SQUEEZE_S, SkillError
from blueprint.skills.rollout import MOVED_RAD, Rollout
from blueprint.skills.scene import TaskScene

if TYPE_CHECKING:
    from blueprint.skills.primitives import Skills

Array = NDArray[np.float64]

CLEARANCE_M = 0.004
FOOT_M = 0.32  # around the base of an arm nothing is put: it reaches badly there, and its elbow is above
ROUNDS = 8  # of proposals, until a region is far from every base
BACK_M = 0.09  # an opened hand draws back by this before it goes anywhere
LINE_STEPS = 8
PARK_TURNS_RAD = (0.5, -0.5, 0.9, -0.9, 1.3, -1.3)


class TeamWorld:
    """Whether anything of a state touches what it must not: every arm, everything carried, in one model."""

    def __init__(self, cell: Cell, name: str) -> None:
        """name: the object that hands may touch."""
        import mujoco

        self._mj, self._cell = mujoco, cell
        self._model = copy.copy(cell.model)
        self._data = mujoco.MjData(self._model)
        self._object = cell.body(name)
        self._owner = np.full(self._model.nbody, -1)
        for view in cell.views:
            self._owner[sorted(view.robot_bodies)] = view.index
        moving = np.isin(self._model.geom_bodyid, np.flatnonzero(self._owner >= 0))
        self._model.geom_margin[moving] = CLEARANCE_M

    def free(self, qpos: Array, *, standing: bool) -> bool:
        """Nothing but the hands touches the object (and, while it is standing, what it stands on), nothing the arms."""
        self._data.qpos[:] = qpos
        self._mj.mj_kinematics(self._model, self._data)
        self._mj.mj_collision(self._model, self._data)
        for geoms in self._data.contact.geom[self._data.contact.dist < self._data.contact.includemargin]:
            a, b = (int(self._model.geom_bodyid[g]) for g in geoms)
            owners = {int(self._owner[a]), int(self._owner[b])}
            if len(owners) == 1:
                continue  # two parts of one arm, whose own check this is not, or two objects
            if self._object in (a, b):
                if not standing and -1 in owners - {int(self._owner[self._object])}:
                    return False
                continue
            return False
        return not (not standing and self._touches_scene())

    def _touches_scene(self) -> bool:
        """Whether the object touches anything that is no arm."""
        for geoms in self._data.contact.geom[self._data.contact.dist < 0]:
            a, b = (int(self._model.geom_bodyid[g]) for g in geoms)
            if self._object in (a, b) and self._owner[a] == self._owner[b] == -1:
                return True
        return False


def regions(scene: TaskScene, name: Family, rng: np.random.Generator) -> Iterator[Proposal]:
    """A free region for every object, as for `place_region`: of some, the one that the farthest arm reaches best.

    None is at the foot of an arm. Nothing for one arm.
    """
    if len(scene.team) < 2:
        return
    bases = np.array([skills.cell.robot.base.position[:2] for skills in scene.team])
    best: dict[str, tuple[float, Proposal]] = {}
    for _ in range(ROUNDS):
        for offer in (pick.region(scene, object_, rng) for object_ in scene.cell.objects):
            if offer.goal is None or offer.goal.center is None:
                continue
            away = np.linalg.norm(bases - np.array(offer.goal.center), axis=1)
            if away.min() >= FOOT_M and away.max() < best.get(offer.object, (np.inf, None))[0]:
                best[offer.object] = (float(away.max()), offer)
    for object_ in scene.cell.objects:
        task = f"{name}-{object_}"
        if object_ not in best:
            yield Proposal(object_, None, task, "no free spot on the table apart from the arms")
        else:
            offer = best[object_][1]
            yield replace(offer, goal=offer.goal and offer.goal.model_copy(update={"family": name}), id=task)


def opposite(cell: Cell, name: str, pair: tuple[Grasp, Grasp], gap_m: float) -> bool:
    """Whether the centre of mass lies between two tool points, seen along the line that joins them."""
    center = solid(cell.model, cell.body(name)).center_of_mass
    a, b = (grasp.T_object_tool[:3, 3] - center for grasp in pair)
    along = (b - a) / np.linalg.norm(b - a)
    return bool(a @ along < -gap_m / 3 and b @ along > gap_m / 3)


def spread(grasps: Sequence[Grasp], count: int) -> tuple[Grasp, ...]:
    """As many grasps, as far apart on the object as can be: a second hand needs room. The best one comes first."""
    points = np.array([grasp.T_object_tool[:3, 3] for grasp in grasps]).reshape(-1, 3)
    chosen = [0] if grasps else []
    gaps = np.full(len(points), np.inf)
    while chosen and len(chosen) < min(count, len(grasps)):
        gaps = np.minimum(gaps, np.linalg.norm(points - points[chosen[-1]], axis=1))
        gaps[chosen] = -1.0
        chosen.append(int(gaps.argmax()))
    return tuple(grasps[k] for k in chosen)


def follow(skills: Skills, rollout: Rollout, segment: str, path: Array, opening: Array | float) -> None:
    """A slow straight motion of the tool along dense configurations (M, n)."""
    length = float(np.linalg.norm(skills.arm.tool_pose(path[-1])[:3, 3] - skills.arm.tool_pose(path[0])[:3, 3]))
    rollout.run(segment, motion.time_path(path, length, skills.slow, rollout.fps), opening)


def travel(skills: Skills, rollout: Rollout, segment: str, ends: Sequence[Array], opening: float) -> None:
    """A planned motion to the first of some configurations that can be reached, around what stands where it stands now.

    Raises SkillError.
    """
    for joints in ends:
        path = plan(skills.world, rollout.commanded, joints, opening)
        if path is not None:
            rollout.run(segment, motion.time_waypoints(path, skills.fast, rollout.fps), opening)
            return
    raise SkillError("no_path", f"no collision-free motion to {segment}")


def go_home(skills: Skills, rollout: Rollout) -> None:
    """An arm with nothing in its hand goes home, if it is not there. Raises SkillError."""
    if np.abs(rollout.commanded - skills.arm.home).max() > MOVED_RAD:
        skills.world.place(rollout.qpos)
        travel(skills, rollout, "retreat", [skills.arm.home], float(rollout.action[rollout.cell.columns][-1]))


def parks(skills: Skills, spot: Array) -> list[Array]:
    """Where an arm may wait, farthest from where another works (2,) first: home, and turned about its first joint."""
    first = np.eye(len(skills.arm.home))[0]
    low, high = skills.cell.arm_range[0]
    turned = [skills.arm.home + turn * first for turn in (0.0, *PARK_TURNS_RAD)]
    inside = [joints for joints in turned if low < joints[0] < high]
    return sorted(inside, key=lambda joints: -float(np.linalg.norm(skills.arm.tool_pose(joints)[:2, 3] - spot)))


def close(rollouts: Sequence[Rollout], openings: Sequence[float]) -> None:
    """Hands close together, and squeeze."""
    fps = rollouts[0].fps
    frames, squeeze = round(CLOSE_S * fps), round(SQUEEZE_S * fps)
    ramp = [np.append(np.linspace(opening, 0.0, frames + 1)[1:], np.zeros(squeeze)) for opening in openings]
    rollouts[0].run_together(
        "grasp",
        {
            rollout.cell.index: (np.tile(rollout.commanded, (frames + squeeze, 1)), gap)
            for rollout, gap in zip(rollouts, ramp, strict=True)
        },
    )


def let_go(rollouts: Sequence[Rollout], openings: Sequence[float]) -> None:
    """Hands open together, from as wide as they are."""
    frames = max(2, round(OPEN_S * rollouts[0].fps))
    rollouts[0].run_together(
        "release",
        {
            rollout.cell.index: (
                np.tile(rollout.commanded, (frames, 1)),
                np.linspace(rollout.cell.opening(rollout.qpos), opening, frames),
            )
            for rollout, opening in zip(rollouts, openings, strict=True)
        },
    )


def require_held(rollout: Rollout, name: str, cause: FailureCause) -> None:
    """Raises SkillError when there is nothing between the fingers."""
    gripper = rollout.cell.robot.gripper
    least = gripper.openings_m[0] if gripper.openings_m else 0.0
    if rollout.cell.opening(rollout.qpos) < least + HELD_M:
        raise SkillError(cause, f"the fingers closed without {name} between them")


def way_back(skills: Skills, joints: Array, opening: float, name: str) -> Array | None:
    """Configurations (M, n) by which an opened hand leaves an object, touching nothing else. The world is placed."""
    tool = skills.arm.tool_pose(joints)
    for away in (moved_along_z(tool, -BACK_M), raised(tool, BACK_M), moved_along_z(tool, -BACK_M / 2)):
        path = skills.arm.line(tool, away, joints, steps=LINE_STEPS)
        if path is not None:
            with skills.world.ignoring(name):
                if all(skills.world.clear(at, opening) for at in path):
                    return path
    return None


def stacked(limits: Sequence[Limits]) -> Limits:
    """Limits of several arms that move as one."""
    return Limits(
        np.concatenate([one.velocity for one in limits]),
        np.concatenate([one.acceleration for one in limits]),
        np.concatenate([one.jerk for one in limits]),
        min(one.tool_speed for one in limits),
    )
