"""Pouring: a vessel with grains in it is held over another and tilted about its lip, then put upright again."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from blueprint.geometry.transforms import invert, transform_points
from blueprint.model.task import Family, Goal, Task
from blueprint.skills import grains
from blueprint.skills.families import Proposal, Way, pick
from blueprint.skills.families.grasped import Grasped
from blueprint.skills.grasping.solids import solid
from blueprint.skills.grasping.trials import Trials
from blueprint.skills.guiding import rectangle
from blueprint.skills.placement import footprint, height_range
from blueprint.skills.planning import motion
from blueprint.skills.primitives import SkillError
from blueprint.skills.rollout import Rollout
from blueprint.skills.scene import TaskScene

Array = NDArray[np.float64]

TEMPLATES: dict[Family, tuple[str, ...]] = {
    "pour": ("pour what is in the {object} into the {target}", "empty the {object} into the {target}"),
}
SHARE = 0.9  # of the grains that a task wants in the target
WIDEST_M = 0.035  # radius of the opening that a target needs
LIP_M = 0.04  # of the lip above the target's rim
TILTS_RAD = np.deg2rad(np.arange(0.0, 121.0, 8.0))
POUR_M = 0.5  # what the motion counts as for the limit of speed: it takes two seconds
WAIT_S = 1.0
AROUND = 0.85  # of the vessel's width: a grasp that holds all of it
DIRECTIONS, WAYS_TRIED, TRIALS = 8, 90, 3


def propose(scene: TaskScene, family: Family, rng: np.random.Generator) -> Iterator[Proposal]:
    """From every vessel that holds grains into every wider one."""
    cell, qpos = scene.cell, scene.cell.home_qpos
    full = [name for name in cell.objects if grains.inside(cell, name, qpos)]
    for name, target in itertools.permutations(cell.objects, 2):
        if name in full and target not in full and scene.affords(target, *pick.HOLDS):
            T = cell.pose(qpos, target)
            outline = footprint(cell, target, T)
            middle = (outline.min(axis=0) + outline.max(axis=0)) / 2
            if pick.opening(cell, target, T, middle, height_range(cell, target, T)[1]) >= WIDEST_M:
                yield Proposal(name, Goal(family="pour", target=target, value=SHARE), f"pour-{name}-{target}")


def arrange(scene: TaskScene, task: Task, qpos: Array, rng: np.random.Generator) -> Array:
    return qpos


def ways(scene: TaskScene, task: Task, start: Array, rng: np.random.Generator) -> Iterator[Way]:
    """Grasps that hold in a trial and a direction in which the arm can tilt what they hold."""
    trials, tried = Trials(scene.simulator, scene.skills), 0
    wide = rectangle(footprint(scene.cell, task.object, scene.cell.pose(start, task.object))).size[0]
    for _, approach in zip(range(WAYS_TRIED), scene.ways_to(task.object, start), strict=False):
        if tried == TRIALS:
            return
        if approach.grasp.kind == "top" or approach.grasp.width < AROUND * wide:
            continue  # from above the palm, by its wall a finger inside would dam the grains
        pouring = Pouring(scene, task, approach, start)
        if next(pouring.tilts(invert(approach.grasp.T_object_tool), start), None) is None:
            continue
        tried += 1
        held = trials.grasp(task.object, approach, start)
        if held is not None and next(pouring.tilts(held.T_tool_object, start), None) is not None:
            yield pouring


def why_none(scene: TaskScene, task: Task, start: Array) -> str:
    return (
        scene.why_not_grasped(task.object, start)
        or f"with no grasp that holds in a trial can the arm tilt it over {task.goal.target}"
    )


class Pouring(Grasped):
    def tilts(self, T_tool_object: Array, qpos: Array) -> Iterator[Array]:
        """Configurations (len(TILTS_RAD), n) that tilt what is held over the target, clear of everything else."""
        skills, world, name = self.scene.skills, self.scene.skills.world, self.task.object
        world.place(qpos)
        for direction in np.arange(DIRECTIONS) * 2 * np.pi / DIRECTIONS:
            near, path = skills.arm.home, list[Array]()
            for angle in TILTS_RAD:
                at = skills.arm.solve(self._tilted(qpos, float(direction), float(angle)) @ invert(T_tool_object), near)
                if at is None or (path and np.abs(at - near).max() > 0.5):
                    break
                path.append(at)
                near = at
            if len(path) == len(TILTS_RAD):
                with world.ignoring(*grains.names(self.scene.cell)), world.holding(name, T_tool_object):
                    clear = all(world.clear(at, self.approach.grasp.width) for at in path)
                if clear:
                    yield np.array(path)

    def run(self, rollout: Rollout) -> None:
        skills, name, cell = self.scene.skills, self.task.object, self.scene.cell
        skills.pick(rollout, name, self.approach)
        qpos = rollout.qpos
        T_tool_object = invert(skills.arm.tool_pose(rollout.joints)) @ cell.pose(qpos, name)
        path = next(self.tilts(T_tool_object, cell.with_pose(qpos, name, cell.pose(self.start, name))), None)
        if path is None:
            raise SkillError("no_ik", "the arm cannot tilt it over the target as it lies in the hand")
        with skills.world.ignoring(*grains.names(cell)):
            over = skills.carry(qpos, rollout.commanded, path[0], name, T_tool_object)
        if over is None:
            raise SkillError("no_path", "no collision-free motion to the target")
        rollout.run("move", motion.time_waypoints(over, skills.slow, rollout.fps), 0.0)
        for turn in (path, path[::-1]):
            rollout.run("place", motion.time_path(turn, POUR_M, skills.slow, rollout.fps), 0.0)
            rollout.hold("place", round(WAIT_S * rollout.fps), 0.0)
        skills.rest(rollout, 0.0)

    def _tilted(self, qpos: Array, direction: float, angle: float) -> Array:
        """(4, 4) pose of the vessel tilted about its lip, which stands over the middle of the target."""
        cell, name, target = self.scene.cell, self.task.object, self.task.goal.target
        assert target is not None
        T = cell.pose(self.start, name)
        points = transform_points(T, solid(cell.model, cell.body(name)).vertices)
        toward = np.array([np.cos(direction), np.sin(direction), 0.0])
        rim = points[points[:, 2] > points[:, 2].max() - 0.003]
        middle = (points.min(axis=0) + points.max(axis=0)) / 2
        lip = middle + float(((rim - middle) @ toward).max()) * toward
        lip[2] = points[:, 2].max()
        other = footprint(cell, target, cell.pose(qpos, target))
        over = np.append((other.min(axis=0) + other.max(axis=0)) / 2, 0.0)
        above = LIP_M + max(0.0, np.cos(angle)) * float(np.ptp(points[:, 2]))  # room for what hangs below the lip
        over[2] = height_range(cell, target, cell.pose(qpos, target))[1] + above
        turn = Rotation.from_rotvec(angle * np.array([-toward[1], toward[0], 0.0])).as_matrix()
        out = np.eye(4)
        out[:3, :3] = turn @ T[:3, :3]
        out[:3, 3] = over + turn @ (T[:3, 3] - lip)
        return out
