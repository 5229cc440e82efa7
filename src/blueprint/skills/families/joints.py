"""What hangs on a joint: open and close, turn, press. By a grip where one fits the hand, else by pushing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from blueprint.core.errors import IntegrityError
from blueprint.model.task import Family, Goal, Task
from blueprint.skills.families import Proposal, Way
from blueprint.skills.joints.parts import Jointed, Kind
from blueprint.skills.joints.strokes import Stroke, perform, strokes
from blueprint.skills.planning.paths import plan
from blueprint.skills.primitives import SkillError
from blueprint.skills.rollout import Rollout
from blueprint.skills.scene import TaskScene

Array = NDArray[np.float64]

TEMPLATES: dict[Family, tuple[str, ...]] = {
    "open": ("open the {part} of the {object}", "open the {object}'s {part}"),
    "close": ("close the {part} of the {object}", "shut the {object}'s {part}"),
    "turn": ("turn the {part} of the {object}", "turn the {object}'s {part}"),
    "press": ("press the {part} of the {object}", "push the {object}'s {part}"),
}
KINDS: dict[Family, Kind] = {"open": "panel", "close": "panel", "turn": "dial", "press": "button"}
# shares of the range that a task asks for, the first that can be done
SHARES: dict[Family, tuple[float, ...]] = {
    "open": (0.9, 0.75, 0.6, 0.45),
    "close": (0.9, 0.75, 0.6, 0.45),
    "turn": (0.75, 0.5, 0.3),
    "press": (0.7,),
}
CLOSED_SHARE = 0.04  # of the range: less open than that is closed
FURTHER_SHARE = 0.03  # of the range, that the hand goes beyond what is asked: servos give way a little
VARIED_SHARE = 0.08  # of the range, by which an open start varies
TURNED_RAD = 0.06  # a dial this near to its goal is left alone: half of what the judge allows
STROKES = 5
HOLD_S = 1.5  # for which a part is left alone
MOVED_M, MOVED_RAD = 0.02, 0.15  # how far the start of a thing that stands free varies


def propose(scene: TaskScene, family: Family, rng: np.random.Generator) -> Iterator[Proposal]:
    """The family for every joint that it fits, as far as the part stays where it is put and the arm can bring it."""
    for body in scene.bodies.values():
        for part in Jointed.parts_of(scene.cell, body):
            if part.kind == KINDS[family]:
                yield _proposal(scene, family, part, rng)


def _proposal(scene: TaskScene, family: Family, part: Jointed, rng: np.random.Generator) -> Proposal:
    name, reason = f"{family}-{part.joint}", "it does not stay where it is put: it falls back"
    low, high = part.limits
    far = float(rng.choice([low, high])) if family == "turn" and low < 0 < high else part.far
    for share in SHARES[family]:
        start, value = (share * far, CLOSED_SHARE * far) if family == "close" else (0.0, share * far)
        if family in ("open", "close") and not holds(scene, part, scene.cell.home_qpos, share * far):
            continue
        goal = Goal(family=family, joint=part.joint, value_start=start, value=value)
        task = Task(id=name, object=part.owner, goal=goal, instruction="")
        qpos = part.at(scene.cell.home_qpos, start)
        if next(ways(scene, task, qpos, rng), None) is not None:
            return Proposal(part.owner, goal, name)
        reason = why_none(scene, task, qpos)
    return Proposal(part.owner, None, name, reason)


def arrange(scene: TaskScene, task: Task, qpos: Array, rng: np.random.Generator) -> Array:
    """The part where the task begins, a little off; a thing that stands free moved and turned a little."""
    part = part_of(scene, task)
    low, high = part.limits
    off = VARIED_SHARE * abs(part.far) * float(rng.uniform(-1, 1))
    goal = task.goal
    if goal.family in ("close", "turn"):
        toward = float(np.sign(goal.value - goal.value_start))
        start = goal.value_start + (toward * abs(off) if goal.family == "close" else off)
        qpos = part.at(qpos, float(np.clip(start, low, high)))
    return _moved(scene, part, qpos, rng)


def _moved(scene: TaskScene, part: Jointed, qpos: Array, rng: np.random.Generator) -> Array:
    import mujoco

    model, owner = scene.cell.model, scene.cell.body(part.owner)
    joint = int(model.body_jntadr[owner])
    if joint < 0 or model.jnt_type[joint] != mujoco.mjtJoint.mjJNT_FREE:
        return qpos
    out, at = qpos.copy(), int(model.jnt_qposadr[joint])
    out[at : at + 2] += rng.uniform(-MOVED_M, MOVED_M, 2)
    turn = Rotation.from_rotvec([0.0, 0.0, rng.uniform(-MOVED_RAD, MOVED_RAD)])
    turned = turn * Rotation.from_quat(out[at + 3 : at + 7], scalar_first=True)
    out[at + 3 : at + 7] = turned.as_quat(scalar_first=True)
    return out


def ways(scene: TaskScene, task: Task, start: Array, rng: np.random.Generator) -> Iterator[Way]:
    """Contacts from which the hand can bring the part all the way, in one stroke or in several."""
    part, aim = part_of(scene, task), aim_of(scene, task)
    if part.in_the_way(start, aim):
        return
    for stroke in _strokes(scene, task, start, rng):
        if not _in_reach(scene, stroke, scene.skills.arm.home, start):
            continue
        if stroke.full or _goes_on(scene, task, part.at(start, stroke.reaches), rng, STROKES - 1):
            yield Working(scene, task, stroke, rng)


def why_none(scene: TaskScene, task: Task, start: Array) -> str:
    part, aim = part_of(scene, task), aim_of(scene, task)
    blocker = part.in_the_way(start, aim)
    if blocker:
        return f"{blocker} is in the way of {part.joint}"
    reached = [abs(s.reaches - part.value(start)) for s in _strokes(scene, task, start, np.random.default_rng(0))]
    if not reached:
        return f"no place of {part.joint} where the hand could grip or push it is in reach"
    return f"the hand can move {part.joint} {max(reached) / abs(aim - part.value(start)):.0%} of the way at most"


def _strokes(scene: TaskScene, task: Task, qpos: Array, rng: np.random.Generator) -> Iterator[Stroke]:
    part = part_of(scene, task)
    return strokes(scene.skills, part, qpos, aim_of(scene, task), rng, push_first=task.goal.family == "close")


def _in_reach(scene: TaskScene, stroke: Stroke, joints: Array, qpos: Array) -> bool:
    """Whether there is a free motion from a configuration (n,) to where the stroke begins."""
    scene.skills.world.place(qpos)
    return plan(scene.skills.world, joints, stroke.approach[0], stroke.contact.opening) is not None


def _goes_on(scene: TaskScene, task: Task, qpos: Array, rng: np.random.Generator, left: int) -> bool:
    """Whether further strokes finish what one has begun, if the part stays where it was let go."""
    part = part_of(scene, task)
    if left == 0 or not holds(scene, part, qpos, part.value(qpos)):
        return False
    for stroke, _ in zip(_strokes(scene, task, qpos, rng), range(2), strict=False):
        if stroke.full or _goes_on(scene, task, part.at(qpos, stroke.reaches), rng, left - 1):
            return True
    return False


def holds(scene: TaskScene, part: Jointed, qpos: Array, value: float) -> bool:
    """Whether the part, left alone at `value`, does not come back towards 0; found by simulating."""
    simulation = scene.simulator.open(scene.cell.file, part.at(qpos, value))
    simulation.advance(scene.cell.ctrl(scene.cell.home_action.astype(np.float32)), HOLD_S)
    left = part.value(simulation.qpos)
    simulation.close()
    return (value - left) * np.sign(value) <= 0.5 * FURTHER_SHARE * abs(part.far)


def part_of(scene: TaskScene, task: Task) -> Jointed:
    """Raises IntegrityError for a task without a joint."""
    if task.goal.joint is None:
        raise IntegrityError(f"{task.id} names no joint")
    return Jointed(scene.cell, task.object, task.goal.joint)


def aim_of(scene: TaskScene, task: Task) -> float:
    """Where the hand brings the joint: a little beyond what is asked, within the limits."""
    part, goal = part_of(scene, task), task.goal
    if goal.family == "turn":
        return goal.value
    if goal.family == "close":
        return goal.value / 2  # not against the stop
    beyond = goal.value + FURTHER_SHARE * part.far
    return float(np.clip(beyond, *part.limits))


@dataclass(frozen=True)
class Working:
    """stroke: the first, planned for the start; further ones are planned from where the part then is."""

    scene: TaskScene
    task: Task
    stroke: Stroke
    rng: np.random.Generator

    @property
    def kind(self) -> str:
        return self.stroke.contact.way

    def run(self, rollout: Rollout) -> None:
        stroke: Stroke | None = self.stroke
        for _ in range(STROKES):
            if stroke is None:
                raise SkillError("no_grasp", f"no further grip of {self.task.goal.joint}")
            perform(self.scene.skills, rollout, stroke, self._done, self._arrived)
            if self.task.goal.family == "press" or self._done(stroke.part.value(rollout.qpos)):
                break
            seen, at = rollout.qpos, rollout.commanded
            further = _strokes(self.scene, self.task, seen, self.rng)
            stroke = next((one for one in further if _in_reach(self.scene, one, at, seen)), None)
        self.scene.skills.rest(rollout, float(rollout.action[rollout.cell.columns][-1]))

    def _done(self, value: float) -> bool:
        goal = self.task.goal
        if goal.family == "turn":
            return abs(value - goal.value) <= TURNED_RAD
        return (value - goal.value) * np.sign(goal.value - goal.value_start) >= 0

    def _arrived(self, value: float) -> bool:
        aim = aim_of(self.scene, self.task)
        return (value - aim) * np.sign(aim - self.task.goal.value_start) >= 0
