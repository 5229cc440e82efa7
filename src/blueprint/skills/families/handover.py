"""One arm picks an object and presents it, another takes it from there and puts it down."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from blueprint.geometry.transforms import invert
from blueprint.model.task import Family, Task
from blueprint.skills import team
from blueprint.skills.families import Proposal, Way
from blueprint.skills.grasping.antipodal import Grasp, available
from blueprint.skills.grasping.approach import LIFT_M, LINE_STEPS, Approach, approach_path, raised
from blueprint.skills.grasping.trials import Trials
from blueprint.skills.planning.paths import plan
from blueprint.skills.primitives import Held, SkillError
from blueprint.skills.rollout import Rollout
from blueprint.skills.scene import TaskScene

Array = NDArray[np.float64]

TEMPLATES: dict[Family, tuple[str, ...]] = {
    "handover": (
        "hand the {object} over to the other arm and put it down at the {where} of the table",
        "pass the {object} from one hand to the other and place it at the {where} of the table",
    ),
}
HANDS_M = 0.06  # between the tool points of the two hands on the object
GIVES, ASKED = 6, 18  # grasps of the giver that are tried, of the taker that are asked whether they lead to the goal
ENOUGH, HOPELESS = 10, 7  # grasps that lead there are enough; that do not, one after the other, and none will
TRIED_STEPS = 20  # of inverse kinematics for a place to meet: those that are easily reached suffice
BACKWARD = -0.2  # cosine up to which the taking hand may point back at its own arm
HEIGHTS_M = (0.28, 0.36)  # of the presented object's frame above where it stood
YAWS = 8
SHIFTS_M = ((0.0, 0.0), (0.0, 0.08), (0.0, -0.08), (0.06, 0.0), (-0.06, 0.0))  # across and along the line of the bases


def propose(scene: TaskScene, name: Family, rng: np.random.Generator) -> Iterator[Proposal]:
    """A free region for every object."""
    return team.regions(scene, name, rng)


def arrange(scene: TaskScene, task: Task, qpos: Array, rng: np.random.Generator) -> Array:
    return qpos


def ways(scene: TaskScene, task: Task, start: Array, rng: np.random.Generator) -> Iterator[Way]:
    """Either arm gives; a grasp that holds in a trial, a place to present it, a grasp there that leads to the goal."""
    for giver, taker in itertools.permutations(range(len(scene.team)), 2):
        leading = _leading(scene, task, start, taker, rng)
        trials = Trials(scene.simulator, scene.team[giver])
        for approach in itertools.islice(_giving(scene, task.object, start, giver), GIVES if leading else 0):
            held = trials.grasp(task.object, approach, start)
            found = None if held is None else _meeting(scene, task.object, start, giver, taker, approach, held, leading)
            if found is not None:
                yield Handover(scene, task, giver, taker, approach, found, start, rng)


def why_none(scene: TaskScene, task: Task, start: Array) -> str:
    if not any(next(scene.ways_to(task.object, start, k), None) for k in range(len(scene.team))):
        return f"no arm can grasp {task.object}: too wide for the grippers or out of reach"
    return f"there is no place where one arm can present {task.object} and the other take it and reach the goal"


@dataclass(frozen=True)
class Meeting:
    """giving: (n,) the presenting configuration; grasp: of the taker, on the object as it is presented."""

    giving: Array
    grasp: Grasp


@dataclass(frozen=True)
class Handover:
    """start: (nq,) the state that `approach` was planned for."""

    scene: TaskScene
    task: Task
    giver: int
    taker: int
    approach: Approach
    meeting: Meeting
    start: Array
    rng: np.random.Generator

    @property
    def kind(self) -> str:
        return f"{self.approach.grasp.kind} to {self.meeting.grasp.kind}"

    def run(self, rollout: Rollout) -> None:
        name, opening = self.task.object, self.approach.grasp.opening
        gives, takes = self.scene.team[self.giver], self.scene.team[self.taker]
        giver, taker = rollout.view(self.giver), rollout.view(self.taker)
        gives.pick(giver, name, self.approach)
        qpos = rollout.qpos
        in_hand = invert(gives.arm.tool_pose(giver.joints)) @ gives.cell.pose(qpos, name)
        gives.world.place(qpos)
        with gives.world.holding(name, in_hand):
            team.travel(gives, giver, "move", [self.meeting.giving], 0.0)
        team.require_held(giver, name, "dropped")
        giver.hold("move", 3, 0.0)
        self._take(rollout, giver, taker)
        self._leave(giver, opening)
        goal = self.task.goal.model_copy(update={"family": "place_region"})
        trials = Trials(self.scene.simulator, takes)
        takes.place(
            taker,
            name,
            goal,
            self.start,
            self.meeting.grasp.opening,
            self.rng,
            lambda held, placing: trials.release(held, placing, rollout.qpos),
        )
        takes.rest(taker, self.meeting.grasp.opening)

    def _take(self, rollout: Rollout, giver: Rollout, taker: Rollout) -> None:
        """The taker reaches for the object where it really is, and closes. Raises SkillError."""
        name, grasp, takes = self.task.object, self.meeting.grasp, self.scene.team[self.taker]
        qpos = rollout.qpos
        path = approach_path(takes.arm, grasp.tool(takes.cell.pose(qpos, name)), takes.arm.home)
        if path is None:
            raise SkillError("no_ik", f"the other arm cannot reach {name} where it is presented")
        takes.world.place(qpos)
        team.travel(takes, taker, "reach", [path[0]], grasp.opening)
        team.follow(takes, taker, "approach", path, grasp.opening)
        team.close([taker], [grasp.opening])
        team.require_held(taker, name, "grasp_missed")

    def _leave(self, giver: Rollout, opening: float) -> None:
        """The giver lets go, draws back and gets out of the way. Raises SkillError."""
        skills = self.scene.team[self.giver]
        team.let_go([giver], [opening])
        skills.world.place(giver.qpos)
        back = team.way_back(skills, giver.commanded, opening, self.task.object)
        if back is None:
            raise SkillError("no_ik", "the giving hand cannot draw back")
        team.follow(skills, giver, "retreat", back, opening)
        skills.world.place(giver.qpos)
        spot = np.array(self.task.goal.center)
        team.travel(skills, giver, "retreat", team.parks(skills, spot), opening)


def _giving(scene: TaskScene, name: str, start: Array, giver: int) -> Iterator[Approach]:
    """Approaches to grasps all over the object, so that there is room for another hand."""
    skills = scene.team[giver]
    free = available(skills.cell, skills.gripper, name, team.spread(scene.grasps(name, giver), ASKED), start)
    return skills.ways(name, free, start)


def _leading(scene: TaskScene, task: Task, start: Array, taker: int, rng: np.random.Generator) -> list[Grasp]:
    """Grasps with which the taker could put the object down at the goal, spread over the object."""
    goal = task.goal.model_copy(update={"family": "place_region"})
    found: list[Grasp] = []
    for asked, grasp in enumerate(team.spread(scene.grasps(task.object, taker), ASKED)):
        if len(found) == ENOUGH or (asked == HOPELESS and not found):
            break
        held = Held(task.object, invert(grasp.T_object_tool), grasp.width, grasp.opening)
        if next(scene.team[taker].placings(goal, held, start, rng), None) is not None:
            found.append(grasp)
    return found


def _meeting(
    scene: TaskScene,
    name: str,
    start: Array,
    giver: int,
    taker: int,
    approach: Approach,
    held: Held,
    leading: list[Grasp],
) -> Meeting | None:
    """The first place, of those between the bases, where both arms can bring their hands to the object."""
    gives, takes = scene.team[giver], scene.team[taker]
    given = invert(held.T_tool_object)
    apart = [g for g in leading if np.linalg.norm(g.T_object_tool[:3, 3] - given[:3, 3]) >= HANDS_M]
    up = gives.arm.line(
        approach.T_world_tool, raised(approach.T_world_tool, LIFT_M), approach.path[-1], steps=LINE_STEPS
    )
    if up is None or not apart:
        return None
    for T_object in _places(scene, name, start, giver, taker):
        joints = gives.arm.solve(T_object @ given, gives.arm.home, iterations=TRIED_STEPS)
        if joints is None:
            continue
        gives.world.place(start)
        with gives.world.holding(name, held.T_tool_object):
            if not gives.world.clear(joints, held.width) or plan(gives.world, up[-1], joints, held.width) is None:
                continue
        qpos = gives.cell.with_pose(start, name, T_object)
        qpos[gives.cell.arm_qpos], qpos[gives.cell.finger_qpos] = joints, gives.cell.finger_positions(held.width)
        takes.world.place(qpos)
        inward = T_object[:2, 3] - np.array(takes.cell.robot.base.position[:2])
        for grasp in apart:
            if (grasp.tool(T_object)[:2, 2] @ inward) < BACKWARD * np.linalg.norm(inward):
                continue
            path = approach_path(takes.arm, grasp.tool(T_object), takes.arm.home)
            if path is None:
                continue
            with takes.world.ignoring(name):
                if not all(takes.world.clear(at, grasp.opening) for at in path):
                    continue
            if plan(takes.world, takes.arm.home, path[0], grasp.opening) is None:
                continue
            taken = qpos.copy()
            taken[takes.cell.arm_qpos] = path[-1]
            taken[takes.cell.finger_qpos] = takes.cell.finger_positions(grasp.width)
            gives.world.place(taken)
            if team.way_back(gives, joints, approach.grasp.opening, name) is not None:
                return Meeting(joints, grasp)
    return None


def _places(scene: TaskScene, name: str, start: Array, giver: int, taker: int) -> Iterator[Array]:
    """Poses (4, 4) T_world_object to present it at: over the middle between the bases, turned about the vertical."""
    one, other = (np.array(scene.team[k].cell.robot.base.position[:2]) for k in (giver, taker))
    along = (other - one) / np.linalg.norm(other - one)
    across = np.array([-along[1], along[0]])
    objects = np.array([scene.cell.pose(start, other_name)[:2, 3] for other_name in scene.cell.objects])
    middle = ((one + other) / 2 + objects.mean(axis=0)) / 2
    stands = scene.cell.pose(start, name)
    for height, (sideways, forward), k in itertools.product(HEIGHTS_M, SHIFTS_M, range(YAWS)):
        T = stands.copy()
        T[:3, :3] = Rotation.from_rotvec([0.0, 0.0, 2 * np.pi * k / YAWS]).as_matrix() @ stands[:3, :3]
        T[:2, 3] = middle + sideways * across + forward * along
        T[2, 3] = stands[2, 3] + height
        yield T
