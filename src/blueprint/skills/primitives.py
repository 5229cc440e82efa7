"""Skills: reach, grasp, lift, move, place, release, retreat, each planned from the state that the last one left.

A skill that cannot go on raises `SkillError` with its cause, which ends the attempt. Nothing here decides success: that
is `goals`' business, which reads only what happened.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from blueprint.geometry.transforms import invert
from blueprint.model.episode import FailureCause
from blueprint.model.task import Goal
from blueprint.skills.cell import Cell
from blueprint.skills.grasping.antipodal import Grasp, GripperShape, gripper_shape
from blueprint.skills.grasping.approach import LIFT_M, LINE_STEPS, Approach, approaches, moved_along_z, raised
from blueprint.skills.mounting import edge_distance
from blueprint.skills.placement import RELEASE_GAP_M, footprint, targets
from blueprint.skills.planning import motion
from blueprint.skills.planning.collision import CollisionWorld
from blueprint.skills.planning.ik import ArmKinematics
from blueprint.skills.planning.motion import Limits
from blueprint.skills.planning.paths import plan
from blueprint.skills.rollout import Rollout
from blueprint.skills.supports import targets_on

Array = NDArray[np.float64]

CLOSE_S, SQUEEZE_S, OPEN_S, REST_S = 0.4, 0.2, 0.35, 1.1
HELD_M = 0.002  # the fingers must stay at least this far apart for something to be between them
ABOVE_M = 0.09  # where a placing motion starts, above the place
# What is let go above its support falls, and one finger leaves it before the other: round things then roll away. So the
# hand goes down until it presses a little: more than the servos are off by, far less than makes what is held slip.
PRESS_M = 0.0005
LOWERED_M = RELEASE_GAP_M + PRESS_M
EDGE_M = 0.01  # between what is set down and the table's edge
PLACES_TRIED = 24
PATHS_TRIED = 4


class SkillError(Exception):
    """A skill cannot go on. cause: one of the failure causes; detail: in words."""

    def __init__(self, cause: FailureCause, detail: str) -> None:
        super().__init__(f"{cause}: {detail}")
        self.cause: FailureCause = cause
        self.detail = detail


@dataclass(frozen=True)
class Held:
    """What is in the hand. width: between the pads [m]; opening: by which the hand will let go [m]."""

    name: str
    T_tool_object: Array
    width: float
    opening: float


@dataclass(frozen=True)
class Placing:
    """A straight way down until a thing stands at a place, and the retreat: configurations (M, n), (K, n) [rad]."""

    down: Array
    back: Array


Accept = Callable[[Held, Placing], bool]


@dataclass(frozen=True)
class Skills:
    """What every skill needs. table: (K, 2) its outline; fast, slow: limits in free space and near objects."""

    cell: Cell
    table: Array
    world: CollisionWorld
    arm: ArmKinematics
    gripper: GripperShape
    fast: Limits
    slow: Limits

    @staticmethod
    def of(cell: Cell, table: Array) -> Skills:
        fast = Limits.of(cell.robot, share=0.6, tool_speed=1.0)
        slow = Limits.of(cell.robot, share=0.4, tool_speed=0.25)
        return Skills(cell, table, CollisionWorld(cell), ArmKinematics(cell), gripper_shape(cell), fast, slow)

    def ways(self, name: str, grasps: Iterable[Grasp], qpos: Array) -> Iterator[Approach]:
        """Reachable approaches to an object in a state, best grasp first."""
        return approaches(self.world, self.arm, name, grasps, qpos)

    def placings(
        self, goal: Goal, held: Held, qpos: Array, rng: np.random.Generator, wish: Array | None = None
    ) -> Iterator[Placing]:
        """Straight ways down to places of the goal that are in reach for what is held, best first.

        They are clear for what is held and, at their end, for the opened hand.
        qpos: (nq,) with the object as it stood before it was grasped: that is how it is to stand again
        wish: (4, 4) a pose in which the object stands and meets the goal, to be tried before all others
        """
        wanted = itertools.chain(
            targets(self.cell, held.name, goal, qpos, rng), targets_on(self.cell, held.name, goal, qpos)
        )
        if goal.family in ("place_region", "place_beside"):
            wanted = (T for T in wanted if self._on_the_table(held.name, T))
        first = [] if wish is None else [raised(wish, LOWERED_M)]
        for T_object in itertools.chain(first, itertools.islice(wanted, PLACES_TRIED)):
            self.world.place(qpos)
            tool = T_object @ invert(held.T_tool_object)
            at = self.arm.solve(tool, self.arm.home)
            up = None if at is None else self.arm.line(tool, raised(tool, ABOVE_M), at, steps=LINE_STEPS)
            down = None if at is None else self.arm.line(tool, raised(tool, -LOWERED_M), at, steps=2)
            if at is None or up is None or down is None:
                continue
            with self.world.holding(held.name, held.T_tool_object):
                clear = all(self.world.clear(joints, held.width) for joints in up)
            back = self._retreat(held, at, down[-1]) if clear else None
            if back is not None:
                yield Placing(np.concatenate([up[::-1], down[1:]]), back)

    def brought(
        self,
        goal: Goal,
        held: Held,
        qpos: Array,
        start: Array,
        rng: np.random.Generator,
        wish: Array | None = None,
    ) -> Iterator[tuple[Placing, motion.Path]]:
        """Of these ways down, those to which a free motion leads from a configuration (n,), and that motion."""
        for _, placing in zip(range(PATHS_TRIED), self.placings(goal, held, qpos, rng, wish), strict=False):
            self.world.place(qpos)
            with self.world.holding(held.name, held.T_tool_object):
                path = self._plan(start, placing.down[0], held.width)
            if path is not None:
                yield placing, path

    # ------------------------------------------------------------------ the skills

    def pick(self, rollout: Rollout, name: str, way: Approach) -> None:
        """Reach, grasp and lift. Raises SkillError."""
        opening = way.grasp.opening
        self.world.place(rollout.qpos)
        path = self._plan(rollout.commanded, way.path[0], opening)
        if path is None:
            raise SkillError("no_path", "no collision-free motion to the grasp")
        rollout.run("reach", motion.time_waypoints(path, self.fast, rollout.fps), opening)
        self._follow(rollout, "approach", way.path, opening)
        closing = round(CLOSE_S * rollout.fps)
        rollout.hold("grasp", closing, np.linspace(opening, 0.0, closing + 1)[1:])
        rollout.hold("grasp", round(SQUEEZE_S * rollout.fps), 0.0)
        self._require_held(rollout, name, "grasp_missed")
        up = self.arm.line(way.T_world_tool, raised(way.T_world_tool, LIFT_M), rollout.commanded, steps=LINE_STEPS)
        if up is None:
            raise SkillError("no_ik", "the arm cannot lift from this grasp")
        self._follow(rollout, "lift", up, 0.0)
        self._require_held(rollout, name, "dropped")

    def place(
        self,
        rollout: Rollout,
        name: str,
        goal: Goal,
        start: Array,
        opening: float,
        rng: np.random.Generator,
        accept: Accept | None = None,
        wish: Array | None = None,
    ) -> None:
        """Move what is held to the goal, set it down, let go and retreat. Raises SkillError.

        start: (nq,) the state before the pick: a goal is met by an object that stands as it stood
        accept: asked before a place is chosen; the first in reach is taken where it accepts none
        wish: (4, 4) where the object is meant to stand, taken if it can still be reached
        """
        qpos = rollout.qpos
        T_tool_object = invert(self.arm.tool_pose(rollout.joints)) @ self.cell.pose(qpos, name)
        held = Held(name, T_tool_object, self.cell.opening(qpos), opening)
        upright = self.cell.with_pose(qpos, name, self.cell.pose(start, name))
        ways = self.brought(goal, held, upright, rollout.commanded, rng, wish)
        first = next(ways, None)
        if first is None:
            raise SkillError("no_path", "no place of the goal is in reach with this grasp")
        accepted = (way for way in itertools.chain([first], ways) if accept is None or accept(held, way[0]))
        placing, path = next(accepted, first)
        rollout.run("move", motion.time_waypoints(path, self.fast, rollout.fps), 0.0)
        self._require_held(rollout, name, "dropped")
        self._follow(rollout, "place", placing.down, 0.0)
        rollout.hold("place", 2, 0.0)
        frames = max(2, round(OPEN_S * rollout.fps))
        rollout.hold("release", frames, np.linspace(held.width, opening, frames))
        self._follow(rollout, "retreat", placing.back, opening)

    def rest(self, rollout: Rollout, opening: float) -> None:
        rollout.hold("rest", round(REST_S * rollout.fps), opening)

    # ------------------------------------------------------------------ parts of skills

    def _on_the_table(self, name: str, T_object: Array) -> bool:
        outline = footprint(self.cell, name, T_object)
        return edge_distance(self.table, outline) > EDGE_M

    def carry(self, qpos: Array, start: Array, goal: Array, name: str, T_tool_object: Array) -> motion.Path | None:
        """A free motion with the object in the hand, from one configuration (n,) to another in a state (nq,)."""
        self.world.place(qpos)
        with self.world.holding(name, T_tool_object):
            return self._plan(start, goal, self.cell.opening(qpos))

    def _retreat(self, held: Held, before: Array, joints: Array) -> Array | None:
        """Configurations out of the opened grasp, back along the hand or straight up, whichever is free.

        before: (n,) where it was lowered from. There it must be clear: below, the support is as near as at the grasp.
        """
        tool = self.arm.tool_pose(joints)
        for away in (moved_along_z(tool, -ABOVE_M), raised(tool, ABOVE_M), moved_along_z(tool, -ABOVE_M / 2)):
            path = self.arm.line(tool, away, joints, steps=LINE_STEPS)
            if path is not None:
                with self.world.ignoring(held.name):
                    if all(self.world.clear(at, held.opening) for at in (before, *path[1:])):
                        return path
        return None

    def _plan(self, start: Array, goal: Array, opening: float) -> motion.Path | None:
        return plan(self.world, start, goal, opening)

    def _follow(self, rollout: Rollout, segment: str, path: Array, opening: float) -> None:
        """A slow straight motion of the tool along dense configurations."""
        length = float(np.linalg.norm(self.arm.tool_pose(path[-1])[:3, 3] - self.arm.tool_pose(path[0])[:3, 3]))
        rollout.run(segment, motion.time_path(path, length, self.slow, rollout.fps), opening)

    def _require_held(self, rollout: Rollout, name: str, cause: FailureCause) -> None:
        if self.cell.opening(rollout.qpos) < HELD_M:
            raise SkillError(cause, f"the fingers closed without {name} between them")
