"""Wiping: a block is held and moved over a disc of the table in strokes, pressed lightly, and left where they end.

The press is controlled by the force that the table gives back: too little lowers the hand, too much raises it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from blueprint.geometry.transforms import invert
from blueprint.model.task import Family, Goal, Task
from blueprint.skills.families import Proposal, Way, pick
from blueprint.skills.families.grasped import Grasped, from_above
from blueprint.skills.grasping.approach import MIN_MARGIN
from blueprint.skills.guiding import GAIN, Guide, Rectangle, rectangle
from blueprint.skills.mounting import edge_distance
from blueprint.skills.placement import footprint, height_range, outline_gap
from blueprint.skills.planning import motion
from blueprint.skills.primitives import SkillError
from blueprint.skills.rollout import Rollout
from blueprint.skills.scene import TaskScene

Array = NDArray[np.float64]

TEMPLATES: dict[Family, tuple[str, ...]] = {
    "wipe": ("wipe the {where} of the table with the {object}", "clean the {where} of the table with the {object}"),
}
RADIUS_M = 0.07
COVERED = 0.9  # share of the disc that a task asks for
FLAT_M = (0.015, 0.06)  # height of what one wipes with
LEAST_M = 0.03  # its narrower side
PRESS_N, GIVE_M = 3.0, 3e-5  # wanted force; how much the hand gives way per newton that it is off
MOST_GIVE_M = 2e-4  # per command
CATCH_UP = 0.15  # share of what the block is behind, that one command takes out
OVERLAP = 0.7  # distance of strips as a share of the width wiped
STRIDE_M = 0.005  # of one command along a stroke
BRING_M, HOP_M, RETREAT_M, GAP_M = 0.03, 0.006, 0.09, 0.015
REACH_M = (0.35, 0.62)  # of a region from the robot's base
SPOTS, TRIALS, TOUCH_STEPS = 200, 4, 60


def propose(scene: TaskScene, family: Family, rng: np.random.Generator) -> Iterator[Proposal]:
    """Everything low and flat that lies on the table, and the free disc of it with the most room."""
    cell, qpos = scene.cell, scene.cell.home_qpos
    for name in cell.objects:
        outline = footprint(cell, name, cell.pose(qpos, name))
        low, high = height_range(cell, name, cell.pose(qpos, name))
        size = rectangle(outline).size
        if not FLAT_M[0] <= high - low <= FLAT_M[1] or abs(low) > GAP_M or size[0] < LEAST_M or high - low > size[0]:
            continue
        if not scene.affords(name, "Wiping"):
            reason = f"nobody wipes with a {scene.bodies[name].category}"
            yield Proposal(name, None, f"wipe-{name}", reason)
            continue
        others = [footprint(cell, other, cell.pose(qpos, other)) for other in cell.objects if other != name]
        around = RADIUS_M + float(np.linalg.norm(size)) / 2
        spot = _free_disc(scene, others, around, rng)
        if spot is None:
            yield Proposal(name, None, f"wipe-{name}", f"no free disc of {200 * around:.0f} cm on the table in reach")
        else:
            goal = Goal(family="wipe", center=spot, radius_m=RADIUS_M, value=COVERED)
            yield Proposal(name, goal, f"wipe-{name}")


def _free_disc(
    scene: TaskScene, others: list[Array], radius: float, rng: np.random.Generator
) -> tuple[float, float] | None:
    base = np.array(scene.cell.robot.base.position[:2])
    best, room = None, GAP_M + scene.jitter_m
    for _ in range(SPOTS):
        angle = rng.uniform(0, 2 * np.pi)
        spot = base + rng.uniform(*REACH_M) * np.array([np.cos(angle), np.sin(angle)])
        if edge_distance(scene.table, spot) < radius:
            continue
        free = min((outline_gap(pick.rim(spot, radius), other) for other in others), default=np.inf)
        if free > room:
            best, room = spot, free
    return None if best is None else (round(float(best[0]), 3), round(float(best[1]), 3))


def arrange(scene: TaskScene, task: Task, qpos: Array, rng: np.random.Generator) -> Array:
    return qpos


def ways(scene: TaskScene, task: Task, start: Array, rng: np.random.Generator) -> Iterator[Way]:
    """Grasps that hold in a trial and by which the hand reaches all of the region, the fingers above the table."""
    return from_above(Wiping, scene, task, start, trials=TRIALS)


def why_none(scene: TaskScene, task: Task, start: Array) -> str:
    return (
        scene.why_not_grasped(task.object, start)
        or "no grasp from above that holds in a trial reaches all of the region"
    )


class Wiping(Grasped):
    def reachable(self) -> bool:
        skills, world, near = self.scene.skills, self.scene.skills.world, self.scene.skills.arm.home
        world.place(self.start)
        for spot in self._corners():
            at = skills.arm.solve(self._at(spot, 0.001) @ self.approach.grasp.T_object_tool, near)
            if at is None or not skills.arm.free(at, MIN_MARGIN):
                return False
            with world.ignoring(self.task.object):
                if not world.clear(at, self.approach.grasp.width):
                    return False
            near = at
        return True

    def run(self, rollout: Rollout) -> None:
        skills, name = self.scene.skills, self.task.object
        skills.pick(rollout, name, self.approach)
        strokes = self._strokes()
        qpos = rollout.qpos
        T_tool_object = invert(skills.arm.tool_pose(rollout.joints)) @ skills.cell.pose(qpos, name)
        at = skills.arm.solve(self._at(strokes[0][0], BRING_M) @ invert(T_tool_object), skills.arm.home)
        if at is None:
            raise SkillError("no_ik", "the arm cannot hold it over the region")
        path = skills.carry(qpos, rollout.commanded, at, name, T_tool_object)
        if path is None:
            raise SkillError("no_path", "no collision-free motion to the region")
        rollout.run("move", motion.time_waypoints(path, skills.fast, rollout.fps), 0.0)
        guide = Guide(rollout, self.scene, name)
        for stroke, following in zip(strokes, [*strokes[1:], None], strict=True):
            self._touch_down(guide, rollout, stroke[0])
            for before, spot in itertools.pairwise([stroke[0], *stroke]):
                self._press(guide, rollout, before, spot)
            if following is not None:
                for spot, height in ((stroke[-1], HOP_M), (stroke[-1], HOP_M), (following[0], HOP_M)):
                    guide.step(self._at(spot, height))
        guide.leave(self.approach.grasp.opening, RETREAT_M)

    def _touch_down(self, guide: Guide, rollout: Rollout, spot: Array) -> None:
        height = guide.pose()[2, 3] - self._at(spot, 0.0)[2, 3]
        for _ in range(TOUCH_STEPS):
            if self._force(rollout) > 0.1 * PRESS_N:
                return
            height -= 0.004 if height > 0.006 else 0.0004
            guide.step(self._at(spot, height))
        raise SkillError("missed_goal", "the table was not felt where it should be")

    def _press(self, guide: Guide, rollout: Rollout, before: Array, spot: Array) -> None:
        """One command along a stroke, from one spot to the next; a block that sticks is not pulled ever harder."""
        wanted = self._at(spot, 0.0)
        give = float(np.clip(GIVE_M * (self._force(rollout) - PRESS_N), -MOST_GIVE_M, MOST_GIVE_M))
        now = guide.pose()
        wanted[:2, 3] = now[:2, 3] + (spot - before + CATCH_UP * (before - now[:2, 3] + wanted[:2, 3] - spot)) / GAIN
        turn = Rotation.from_matrix(wanted[:3, :3] @ now[:3, :3].T).as_rotvec()[2]
        wanted[:3, :3] = Rotation.from_rotvec([0.0, 0.0, turn]).as_matrix() @ now[:3, :3]  # the table levels it
        wanted[2, 3] = now[2, 3] + give
        guide.step(wanted, ticks=1)

    def _force(self, rollout: Rollout) -> float:
        """With which the table carries what is held [N]."""
        cell = self.scene.cell
        body, hands = cell.body(self.task.object), frozenset[int]().union(*(v.robot_bodies for v in cell.views))
        touching = rollout.simulation.contacts()
        return sum(force for a, b, _, force in touching if body in (a, b) and not {a, b} & hands)

    def _at(self, spot: Array, height: float) -> Array:
        """(4, 4) pose of the block as it stood, its outline's centre at `spot`, its lowest point at `height` [m]."""
        cell, name = self.scene.cell, self.task.object
        T = cell.pose(self.start, name)
        out = T.copy()
        out[:2, 3] += spot - self._outline().center
        out[2, 3] += height - height_range(cell, name, T)[0]
        return out

    def _outline(self) -> Rectangle:
        cell, name = self.scene.cell, self.task.object
        return rectangle(footprint(cell, name, cell.pose(self.start, name)))

    def _region(self) -> tuple[Array, float]:
        assert self.task.goal.center is not None
        return np.array(self.task.goal.center), self.task.goal.radius_m

    def _corners(self) -> list[Array]:
        center, radius = self._region()
        return [center + radius * np.array(side) for side in ((0, 0), (1, 0), (0, 1), (-1, 0), (0, -1))]

    def _strokes(self) -> list[list[Array]]:
        """Spots (2,) along parallel strokes to and fro that cover the disc.

        They run across the closing direction: along it one finger would push the block and wedge it on the table.
        """
        cell, name = self.scene.cell, self.task.object
        center, radius = self._region()
        aside = (cell.pose(self.start, name)[:3, :3] @ self.approach.grasp.T_object_tool[:3, 1])[:2]
        aside /= np.linalg.norm(aside)
        along = np.array([-aside[1], aside[0]])
        length, width = np.ptp(footprint(cell, name, cell.pose(self.start, name)) @ np.stack([along, aside]).T, axis=0)
        outmost = max(radius - width / 2, 0.0)
        strokes: list[list[Array]] = []
        for k, off in enumerate(np.linspace(-outmost, outmost, int(np.ceil(2 * outmost / (OVERLAP * width))) + 1)):
            inner = max(abs(float(off)) - width / 2, 0.0)
            half = max(np.sqrt(max(radius**2 - inner**2, 0.0)) - 0.3 * length, 0.01) * (1 if k % 2 else -1)
            count = int(np.ceil(2 * abs(half) / STRIDE_M)) + 1
            strokes.append([center + off * aside + t * along for t in np.linspace(half, -half, count)])
        return strokes
