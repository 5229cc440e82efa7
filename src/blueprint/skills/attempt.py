"""One try at a task, in which the robot may see that something went wrong, plan again and go on.

The robot's own senses (a SkillError) and, at the end, the judge tell it so. Whether the whole was a success, the way
round included, is the judge's word alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from blueprint.model.episode import Attempt, FailureCause, Recovery
from blueprint.model.task import Task
from blueprint.skills.families import Way, family
from blueprint.skills.goals import Verdict
from blueprint.skills.grasping.approach import LINE_STEPS, moved_along_z, raised
from blueprint.skills.planning import motion
from blueprint.skills.primitives import SkillError, Skills
from blueprint.skills.rollout import Rollout
from blueprint.skills.scene import TaskScene

Array = NDArray[np.float64]

RECOVERABLE: frozenset[FailureCause] = frozenset({"grasp_missed", "dropped", "missed_goal"})
BACK_M = 0.09
SETTLE_S = 0.5  # what was touched comes to rest before it is looked at
HELD_M = 0.002  # the fingers stand this much further apart than commanded: something is between them
SLIP = (0.3, 0.85)  # between these shares of its first lifting motion, a slipping gripper is open


@dataclass
class SlippingRollout(Rollout):
    """A rollout whose gripper opens for a moment in its first lift: what it held falls back by about a centimetre."""

    slipped: list[bool] = field(default_factory=list)  # shared by all views of the rollout

    def run_together(self, segment: str, motions: Mapping[int, tuple[Array, Array | float]]) -> None:
        """As `Rollout`, but for the slip."""
        if segment == "lift" and not self.slipped:
            self.slipped.append(True)
            motions = {
                k: (targets, self._slipping(k, len(targets), opening)) for k, (targets, opening) in motions.items()
            }
        super().run_together(segment, motions)

    def _slipping(self, k: int, frames: int, opening: Array | float) -> Array:
        openings = np.array(np.broadcast_to(np.asarray(opening, dtype=float), frames))
        first, last = (round(share * frames) for share in SLIP)
        openings[first:last] = self.cell.view(k).robot.gripper.max_opening_m
        return openings


def attempt(
    scene: TaskScene,
    task: Task,
    way: Way,
    rollout: Rollout,
    judged: Callable[[Rollout], Verdict],
    rng: np.random.Generator,
    *,
    recover: int = 0,
) -> Attempt:
    """Go the way; where that fails and can be mended, back off, look, and go the next, at most `recover` times."""
    recoveries: list[Recovery] = []
    kind = way.kind
    while True:
        done = _gone(way, rollout, judged)
        if done.success or done.cause not in RECOVERABLE or len(recoveries) == recover or _holding(rollout):
            break
        frame = rollout.frames
        try:
            back_off(scene, rollout)
            again = next_way(scene, task, rollout.qpos, rng, len(recoveries))
        except SkillError:
            break
        if again is None:
            break
        recoveries.append(Recovery(cause=done.cause, detail=done.detail, frame=frame, frames=rollout.frames - frame))
        way = again
    return done.model_copy(
        update={
            "recoveries": tuple(recoveries),
            "grasp_class": kind,
            "arms": rollout.moved,
            "seconds": rollout.frames / rollout.fps,
        }
    )


def _gone(way: Way, rollout: Rollout, judged: Callable[[Rollout], Verdict]) -> Attempt:
    try:
        way.run(rollout.view(way.scene.acting))
    except SkillError as error:
        return failed(error.cause, error.detail)
    verdict = judged(rollout)
    return Attempt(
        success=verdict.success, cause=verdict.cause, detail=verdict.detail, checks=verdict.checks, seconds=0.0
    )


def failed(cause: FailureCause, detail: str) -> Attempt:
    return Attempt(success=False, cause=cause, detail=detail, checks=(), seconds=0.0)


def next_way(scene: TaskScene, task: Task, seen: Array, rng: np.random.Generator, skipped: int) -> Way | None:
    """From the state as seen, not the best way again but the next, as long as there is one."""
    ways: Iterator[Way] = family(task.goal.family).ways(scene, task, seen, rng)
    found = list(islice(ways, skipped + 1))
    return found[-1] if found else None


def _holding(rollout: Rollout) -> bool:
    """Whether something is between the fingers of some hand: to open it would drop that."""
    return any(view.opening(rollout.qpos) > rollout.action[view.columns][-1] + HELD_M for view in rollout.cell.views)


def back_off(scene: TaskScene, rollout: Rollout) -> None:
    """Every arm that is not at home moves its hand out of the way, then opens it. Segment `recover`.

    Raises SkillError when a hand cannot get out without touching anything.
    """
    for k, skills in enumerate(scene.team):
        arm = rollout.view(k)
        if np.abs(arm.commanded - np.array(skills.cell.robot.home)).max() < 1e-3:
            continue
        path = _way_out(skills, arm)
        if path is None:
            raise SkillError("no_ik", "the hand cannot back off")
        opening = float(arm.action[skills.cell.columns][-1])
        length = float(np.linalg.norm(skills.arm.tool_pose(path[-1])[:3, 3] - skills.arm.tool_pose(path[0])[:3, 3]))
        arm.run("recover", motion.time_path(path, length, skills.slow, rollout.fps), opening)
        frames = round(SETTLE_S * rollout.fps)
        arm.hold("recover", frames, np.linspace(opening, skills.cell.robot.gripper.max_opening_m, frames))


def _way_out(skills: Skills, arm: Rollout) -> Array | None:
    """(LINE_STEPS + 1, n) back along the hand or straight up, clear of everything but what it was about to hold."""
    skills.world.place(arm.qpos)
    opening, tool = skills.cell.opening(arm.qpos), skills.arm.tool_pose(arm.commanded)
    for away in (moved_along_z(tool, -BACK_M), raised(tool, BACK_M), moved_along_z(tool, -BACK_M / 2), tool):
        path = skills.arm.line(tool, away, arm.commanded, steps=LINE_STEPS)
        if path is not None and skills.world.clear(path[-1], opening):
            return path
    return None
