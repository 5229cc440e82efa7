"""A rollout among what moves by itself: the arm brakes, waits and backs off before anything could be met."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from blueprint.geometry.transforms import invert
from blueprint.skills.planning.collision import CollisionWorld
from blueprint.skills.planning.in_time import BRAKE_S, FORESIGHT_S, Crowd, Guard
from blueprint.skills.primitives import SkillError
from blueprint.skills.rollout import Rollout

Array = NDArray[np.float64]

FAR_M, LOOK_S = 2.0, 0.2  # farther than any arm of ours reaches, with half a person; between two looks
PATIENCE_S = 30.0  # lost in one motion; a person has long passed by then


@dataclass(kw_only=True)
class YieldingRollout(Rollout):
    """Every motion goes through a `Guard`, with what the hand holds as it sets out. One arm.

    world: of its own, not a planner's
    """

    world: CollisionWorld

    def run_together(self, segment: str, motions: Mapping[int, tuple[Array, Array | float]]) -> None:
        """As `Rollout`, but later where somebody is in the way. Raises SkillError when patience is at its end."""
        ((_, (targets, opening)),) = motions.items()
        if not len(targets):
            return
        openings = np.broadcast_to(np.asarray(opening, dtype=float), len(targets))
        self.world.place(self.qpos)
        rows = np.concatenate([self.commanded[None], targets])
        guard = Guard(self.world, rows, float(openings.max()), self.fps, rate=1.0)
        name = self._held()
        if name is None:
            self._follow(segment, guard, openings)
        else:
            tool = self.world.tool_pose(self.joints)
            with self.world.holding(name, invert(tool) @ self.cell.pose(self.qpos, name)):
                self._follow(segment, guard, openings)

    def _follow(self, segment: str, guard: Guard, openings: Array) -> None:
        reached, begun = 0, self.frames
        while not guard.done:
            joints = guard.step((Crowd(self.movers),) if self._somebody_near() else (), self.frames / self.fps)
            reached = max(reached, int(np.ceil(guard.at)) - 1)
            self._frame(segment, np.append(joints, openings[reached]))
            if self.frames - begun > len(openings) + PATIENCE_S * self.fps:
                raise SkillError("no_path", "somebody is in the way and stays there")

    def _held(self) -> str | None:
        """The object that several bodies of the robot touch."""
        touched = {body: set[int]() for body in map(self.cell.body, self.cell.objects)}
        for a, b, _, force in self.simulation.contacts():
            for one, other in ((a, b), (b, a)):
                if force > 0 and one in touched and other in self.cell.robot_bodies:
                    touched[one].add(other)
        names = dict(zip(touched, self.cell.objects, strict=True))
        return next((names[body] for body, by in touched.items() if len(by) > 1), None)

    def _somebody_near(self) -> bool:
        """Whether anything could come within the arm's reach before a guarded motion has come to rest."""
        base = np.array(self.cell.robot.base.position)
        now, ahead = self.frames / self.fps, FORESIGHT_S + 2 * BRAKE_S
        return any(
            np.linalg.norm(at - base) < FAR_M + mover.fastest * LOOK_S
            for mover in self.movers
            for t in np.arange(now, now + ahead, LOOK_S)
            for at, _ in mover.poses(float(t))
        )
