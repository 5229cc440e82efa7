"""Peg and socket: a held thing is aligned over a hole that it just fits, lowered, and let go.

The hand is guided by where the peg is, not by where it should be: what the grasp and the servos are off by is taken out
while it is lowered. Where it touches down beside the hole it is raised, and tried again along a small spiral.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from blueprint.geometry.transforms import invert, transform_points
from blueprint.model.task import Family, Goal, Task
from blueprint.skills.cell import Cell
from blueprint.skills.families import Proposal, Way
from blueprint.skills.families.grasped import Grasped, from_above
from blueprint.skills.grasping.approach import MIN_MARGIN, raised
from blueprint.skills.grasping.solids import solid
from blueprint.skills.guiding import Guide, Rectangle, rectangle
from blueprint.skills.placement import footprint, height_range, surface_height
from blueprint.skills.planning import motion
from blueprint.skills.primitives import SkillError
from blueprint.skills.rollout import Rollout
from blueprint.skills.scene import TaskScene

Array = NDArray[np.float64]

TEMPLATES: dict[Family, tuple[str, ...]] = {
    "insert": ("insert the {object} into the {target}", "put the {object} into the hole of the {target}"),
}
RIM_M = 0.006  # below the top, where a hole is measured
RAYS = 72
WIDEST_M = 0.12  # of a hole
PLAY_M = (1e-4, 0.004)  # by which a hole is wider than what is inserted; beyond it, it is a container
FITS = (("tight", 0.0005), ("medium", 0.0015), ("loose", PLAY_M[1]))  # classes, and the most play of each; our choice
DEEP_M = 0.012  # of a hole worth the name
SHARE = 0.8  # of its depth that a task asks for
BRING_M, BRING_STEPS = 0.04, 8  # of the peg above the rim, where it is brought, and steps from there
HOVER_M = 0.012  # of the peg above the rim, while it is aligned
STEP_M = 0.0015  # of one command downwards
STUCK_M = 0.0022  # the peg stays behind the command by this much: it stands on the rim
ALIGN_STEPS, SPIRAL_STEPS, MOST_STEPS = 8, 24, 160
RETREAT_M = 0.09
TRIALS = 5
SPIRAL_M = 2e-4  # by which each turn of the spiral is wider


@dataclass(frozen=True)
class Hole:
    """opening: seen from above, world frame; top, floor: heights [m]"""

    opening: Rectangle
    top: float
    floor: float


def propose(scene: TaskScene, family: Family, rng: np.random.Generator) -> Iterator[Proposal]:
    """Everything that just fits a hole; the goal's radius is the play, which the task's name tells the class of."""
    cell, qpos = scene.cell, scene.cell.home_qpos
    found = {name: hole_of(cell, name, qpos) for name in cell.objects}
    holes = {name: hole for name, hole in found.items() if hole is not None}
    if not holes:
        yield Proposal("", None, "insert", f"nothing in the scene has a hole in its top, {1000 * DEEP_M:.0f} mm deep")
    for name, target in itertools.product(cell.objects, holes):
        if name == target:
            continue
        hole = holes[target]
        play = float((hole.opening.size - _outline(cell, name, qpos).size).min())
        reason = misfit(play)
        if not reason and not scene.reachable.get(name):
            reason = "it cannot be grasped: too wide for the gripper or out of reach"
        if reason:
            yield Proposal(name, None, f"insert-{name}-{target}", reason)
        else:
            depth = round(SHARE * (hole.top - hole.floor), 4)
            goal = Goal(family="insert", target=target, height_m=depth, radius_m=round(play, 5))
            fit = next(fit for fit, most in FITS if play <= most)
            yield Proposal(name, goal, f"insert-{name}-{target}-{fit}")


def misfit(play: float) -> str:
    """Why a hole that is wider by so much [m] makes no task, or ""."""
    low, high = PLAY_M
    if low <= play <= high:
        return ""
    allowed = f"; what is inserted has {1000 * low:.1f} to {1000 * high:.0f} mm of play"
    return f"it is {abs(1000 * play):.2f} mm {'wider' if play < 0 else 'narrower'} than the hole{allowed}"


def arrange(scene: TaskScene, task: Task, qpos: Array, rng: np.random.Generator) -> Array:
    return qpos


def ways(scene: TaskScene, task: Task, start: Array, rng: np.random.Generator) -> Iterator[Way]:
    """Grasps that hold in a trial and by which the hand stays clear of the socket."""
    return from_above(Insertion, scene, task, start, trials=TRIALS)


def why_none(scene: TaskScene, task: Task, start: Array) -> str:
    return (
        scene.why_not_grasped(task.object, start)
        or "no grasp from above that holds in a trial leaves the hand clear of the socket and in reach"
    )


class Insertion(Grasped):
    def reachable(self) -> bool:
        """Whether the arm gets over the hole, down into it and up again, the hand touching nothing there."""
        skills, world, name = self.scene.skills, self.scene.skills.world, self.task.object
        hole, T_tool_object = self._hole(self.start), invert(self.approach.grasp.T_object_tool)
        high, low = (
            self._above(hole, height) @ invert(T_tool_object) for height in (BRING_M, self._bottom(hole) - hole.top)
        )
        over = skills.arm.solve(high, skills.arm.home)
        down = None if over is None else skills.arm.line(high, low, over, steps=4)
        if over is None or down is None or not skills.arm.free(down[-1], MIN_MARGIN):
            return False
        if skills.arm.line(low, raised(low, RETREAT_M), down[-1], steps=8) is None:
            return False
        world.place(self.start)
        with world.holding(name, T_tool_object):
            if not world.clear(over, self.approach.grasp.width):
                return False
        with world.ignoring(name):
            return all(world.clear(at, self.approach.grasp.opening) for at in down)

    def run(self, rollout: Rollout) -> None:
        skills, name = self.scene.skills, self.task.object
        skills.pick(rollout, name, self.approach)
        hole = self._hole(rollout.qpos)
        self._bring(rollout, hole)
        guide = Guide(rollout, self.scene, name)
        for height in np.linspace(BRING_M, HOVER_M, BRING_STEPS):
            guide.step(self._above(hole, float(height)))
        for _ in range(ALIGN_STEPS):
            if guide.step(self._above(hole, HOVER_M)):
                break
        self._lower(guide, hole)
        guide.leave(self.approach.grasp.opening, RETREAT_M)

    def _hole(self, qpos: Array) -> Hole:
        target = self.task.goal.target
        found = None if target is None else hole_of(self.scene.cell, target, qpos)
        if found is None:
            raise SkillError("no_path", f"{target} has no hole where it stands")
        return found

    def _bottom(self, hole: Hole) -> float:
        """Height at which the peg is let go [m]."""
        return max(hole.floor + 0.0015, hole.top - self.task.goal.height_m - 0.004)

    def _above(self, hole: Hole, height: float) -> Array:
        """(4, 4) pose of the object over the hole, turned into it, its lowest point `height` above the rim."""
        cell, name = self.scene.cell, self.task.object
        T = cell.pose(self.start, name)
        own = _outline(cell, name, self.start)
        square = own.size[1] - own.size[0] < 2 * PLAY_M[1]
        turn = _nearest(hole.opening.yaw - own.yaw, np.pi / 2 if square else np.pi)
        out = T.copy()
        out[:3, :3] = Rotation.from_rotvec([0.0, 0.0, turn]).as_matrix() @ T[:3, :3]
        out[:2, 3] = hole.opening.center
        here = rectangle(footprint(cell, name, out)).center
        out[:2, 3] += hole.opening.center - here
        out[2, 3] += hole.top + height - height_range(cell, name, out)[0]
        return out

    def _bring(self, rollout: Rollout, hole: Hole) -> None:
        skills, name, qpos = self.scene.skills, self.task.object, rollout.qpos
        T_tool_object = invert(skills.arm.tool_pose(rollout.joints)) @ skills.cell.pose(qpos, name)
        high = self._above(hole, BRING_M)
        at = skills.arm.solve(high @ invert(T_tool_object), skills.arm.home)
        if at is None:
            raise SkillError("no_ik", "the arm cannot hold it over the hole")
        path = skills.carry(qpos, rollout.commanded, at, name, T_tool_object)
        if path is None:
            raise SkillError("no_path", "no collision-free motion to the hole")
        rollout.run("move", motion.time_waypoints(path, skills.fast, rollout.fps), 0.0)

    def _lower(self, guide: Guide, hole: Hole) -> None:
        """Down, with a step aside wherever the peg stands on the rim. Raises SkillError."""
        height, bottom, tried, aside = HOVER_M, self._bottom(hole) - hole.top, 0, np.zeros(2)
        for _ in range(MOST_STEPS):
            wanted = self._above(hole, height)
            wanted[:2, 3] += aside
            guide.step(wanted)
            behind = guide.pose()[2, 3] - wanted[2, 3]
            if behind > STUCK_M:
                tried += 1
                if tried > SPIRAL_STEPS:
                    raise SkillError("missed_goal", "the peg stays on the rim all along the spiral")
                angle = tried * np.pi * (3 - np.sqrt(5))
                aside = SPIRAL_M * np.sqrt(tried) * np.array([np.cos(angle), np.sin(angle)])
                height = min(HOVER_M, height + 2 * STUCK_M)
            elif height <= bottom:
                return
            else:
                height = max(bottom, height - STEP_M)
        raise SkillError("missed_goal", "the peg does not go down")


def hole_of(cell: Cell, target: str, qpos: Array) -> Hole | None:
    """The hole in the middle of an object's top, if it has one with walls all around."""
    T, shape = cell.pose(qpos, target), solid(cell.model, cell.body(target))
    outline, top = footprint(cell, target, T), height_range(cell, target, T)[1]
    middle = np.append((outline.min(axis=0) + outline.max(axis=0)) / 2, top - RIM_M)
    angle = np.arange(RAYS) * 2 * np.pi / RAYS
    directions = np.column_stack([np.cos(angle), np.sin(angle), np.zeros(RAYS)])
    origins = np.tile(transform_points(invert(T), middle), (RAYS, 1))
    enter, leave, _ = shape.crossings(origins, directions @ T[:3, :3])
    ahead = np.where(np.isfinite(leave) & (leave > 0), np.maximum(enter, 0.0), np.inf)  # a line goes both ways
    first = ahead.min(axis=1)  # 0: inside a piece, so no hole here
    floor = float(surface_height(cell, target, T, middle[None, :2])[0])
    if first.min() <= 1e-6 or first.max() > WIDEST_M or top - floor < DEEP_M:
        return None
    return Hole(rectangle(middle[:2] + first[:, None] * directions[:, :2]), top, floor)


def _outline(cell: Cell, name: str, qpos: Array) -> Rectangle:
    return rectangle(footprint(cell, name, cell.pose(qpos, name)))


def _nearest(angle: float, period: float) -> float:
    """The angle modulo the period, in (-period / 2, period / 2]."""
    return float((angle + period / 2) % period - period / 2)
