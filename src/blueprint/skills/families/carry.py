"""Two arms grasp opposite sides of an object, lift it level, move it and set it down."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation, Slerp

from blueprint.model.task import Family, Task
from blueprint.skills import team
from blueprint.skills.families import Proposal, Way
from blueprint.skills.grasping.antipodal import available
from blueprint.skills.grasping.approach import Approach
from blueprint.skills.grasping.solids import solid
from blueprint.skills.mounting import edge_distance
from blueprint.skills.placement import footprint, targets
from blueprint.skills.planning import motion
from blueprint.skills.primitives import EDGE_M, SkillError
from blueprint.skills.rollout import Rollout
from blueprint.skills.scene import TaskScene

Array = NDArray[np.float64]

TEMPLATES: dict[Family, tuple[str, ...]] = {
    "carry": (
        "carry the {object} with both arms to the {where} of the table",
        "lift the {object} with two hands and set it down at the {where} of the table",
    ),
}
HANDS_M = 0.15  # between the tool points of the two hands
APPROACHES = 5  # of either arm, to either side
PAIRS = 24
PLACES = 16
LIFT_M = 0.1
LIFT_STEPS, MOVE_STEPS = 6, 14
JUMP_RAD = 0.35  # more between two steps is another posture of the arm


def propose(scene: TaskScene, name: Family, rng: np.random.Generator) -> Iterator[Proposal]:
    """A free region for every object that has room for two hands."""
    for offer in team.regions(scene, name, rng):
        outline = footprint(scene.cell, offer.object, scene.cell.pose(scene.cell.home_qpos, offer.object))
        wide = float(np.ptp(outline, axis=0).max())
        if offer.goal is not None and wide < HANDS_M:
            yield replace(offer, goal=None, reason=f"it is {100 * wide:.0f} cm wide: no room for two hands")
        else:
            yield offer


def arrange(scene: TaskScene, task: Task, qpos: Array, rng: np.random.Generator) -> Array:
    return qpos


def ways(scene: TaskScene, task: Task, start: Array, rng: np.random.Generator) -> Iterator[Way]:
    """Pairs of grasps on opposite sides of the centre of mass whose hands can go the whole way together."""
    for one, other in itertools.combinations(range(len(scene.team)), 2):
        first, second = (_approaches(scene, task.object, start, k) for k in (one, other))
        for pair in _opposite(scene, task.object, first, second):
            course = _course(scene, task, start, (one, other), pair, rng)
            if course is not None:
                yield Carry(scene, task, (one, other), pair, course)


def why_none(scene: TaskScene, task: Task, start: Array) -> str:
    if len(scene.team) < 2:
        return "it takes two arms"
    found = [_approaches(scene, task.object, start, k) for k in (0, 1)]
    if not all(found):
        return f"not both arms can grasp {task.object}"
    if not _opposite(scene, task.object, found[0], found[1]):
        return f"the arms cannot grasp {task.object} on opposite sides"
    return "no way on which both arms stay in reach and apart"


@dataclass(frozen=True)
class Carry:
    """course: per segment, configurations (M, n + m) of both arms side by side."""

    scene: TaskScene
    task: Task
    arms: tuple[int, int]
    pair: tuple[Approach, Approach]
    course: dict[str, Array]

    @property
    def kind(self) -> str:
        return f"{self.pair[0].grasp.kind} and {self.pair[1].grasp.kind}"

    def run(self, rollout: Rollout) -> None:
        name, skills = self.task.object, [self.scene.team[k] for k in self.arms]
        rollouts = [rollout.view(k) for k in self.arms]
        openings = [way.grasp.opening for way in self.pair]
        for one, own, way in zip(skills, rollouts, self.pair, strict=True):
            one.world.place(rollout.qpos)
            team.travel(one, own, "reach", [way.path[0]], way.grasp.opening)
            team.follow(one, own, "approach", way.path, way.grasp.opening)
        team.close(rollouts, openings)
        for own in rollouts:
            team.require_held(own, name, "grasp_missed")
        limits = team.stacked([one.slow for one in skills])
        for segment, path in self.course.items():
            timed = motion.time_path(path, _length(self.scene, self.arms, path), limits, rollout.fps)
            self._together(rollouts, segment, timed, [0.0, 0.0])
            for own in rollouts:
                team.require_held(own, name, "dropped")
        self._together(rollouts, "place", np.tile(self.course["place"][-1], (2, 1)), [0.0, 0.0])
        team.let_go(rollouts, openings)
        self._draw_back(rollouts, openings)
        skills[0].rest(rollouts[0], openings[0])

    def _together(self, rollouts: list[Rollout], segment: str, targets: Array, openings: list[float]) -> None:
        cut = len(rollouts[0].cell.robot.joints)
        parts = (targets[:, :cut], targets[:, cut:])
        rollouts[0].run_together(
            segment,
            {own.cell.index: (part, gap) for own, part, gap in zip(rollouts, parts, openings, strict=True)},
        )

    def _draw_back(self, rollouts: list[Rollout], openings: list[float]) -> None:
        """One hand after the other: each then has the other as an obstacle that stands still. Raises SkillError."""
        for k, own, opening in zip(self.arms, rollouts, openings, strict=True):
            skills = self.scene.team[k]
            skills.world.place(own.qpos)
            back = team.way_back(skills, own.commanded, opening, self.task.object)
            if back is None:
                raise SkillError("no_ik", "a hand cannot draw back")
            team.follow(skills, own, "retreat", back, opening)


def _length(scene: TaskScene, arms: tuple[int, int], path: Array) -> float:
    """How far the tool travels that travels farther [m]."""
    cut, longest = len(scene.team[arms[0]].cell.robot.joints), 0.0
    for k, part in zip(arms, (path[:, :cut], path[:, cut:]), strict=True):
        points = np.array([scene.team[k].arm.tool_pose(joints)[:3, 3] for joints in part])
        longest = max(longest, float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum()))
    return longest


def _approaches(scene: TaskScene, name: str, start: Array, arm: int) -> list[Approach]:
    """Of an arm to grasps far from the centre of mass, on either side of it, best first."""
    skills, center = scene.team[arm], solid(scene.cell.model, scene.cell.body(name)).center_of_mass
    grasps = [g for g in scene.grasps(name, arm) if np.linalg.norm(g.T_object_tool[:3, 3] - center) >= HANDS_M / 2]
    if not grasps:
        return []
    points = np.array([g.T_object_tool[:3, 3] - center for g in grasps])
    sides = points @ np.linalg.svd(points)[2][0]
    found: list[Approach] = []
    for side in (1, -1):
        some = [g for g, at in zip(grasps, sides, strict=True) if side * at > 0]
        free = available(skills.cell, skills.gripper, name, tuple(some), start)
        found += itertools.islice(skills.ways(name, free, start), APPROACHES)
    return found


def _opposite(
    scene: TaskScene, name: str, first: list[Approach], second: list[Approach]
) -> list[tuple[Approach, Approach]]:
    """Pairs with the centre of mass between the hands, best first."""
    found = [
        (a, b)
        for a, b in itertools.product(first, second)
        if np.linalg.norm(a.T_world_tool[:3, 3] - b.T_world_tool[:3, 3]) >= HANDS_M
        and team.opposite(scene.cell, name, (a.grasp, b.grasp), HANDS_M)
    ]
    return sorted(found, key=lambda pair: -(pair[0].grasp.quality + pair[1].grasp.quality))[:PAIRS]


def _course(
    scene: TaskScene,
    task: Task,
    start: Array,
    arms: tuple[int, int],
    pair: tuple[Approach, Approach],
    rng: np.random.Generator,
) -> dict[str, Array] | None:
    """Configurations of both arms on the first way to the goal on which nothing touches, or None."""
    cell, name = scene.cell, task.object
    T_start = cell.pose(start, name)
    goal = task.goal.model_copy(update={"family": "place_region"})
    world = team.TeamWorld(cell, name)
    in_hand = [np.linalg.inv(T_start) @ way.T_world_tool for way in pair]
    wanted = [T for T in targets(cell, name, goal, start, rng) if _on_the_table(scene, name, T)]
    for T_goal in wanted[:PLACES]:
        course: dict[str, Array] = {}
        at: list[Array] = [way.path[-1] for way in pair]
        for segment, poses in _poses(T_start, T_goal).items():
            path = _joints(scene, arms, at, poses, in_hand)
            if path is None or not _free(scene, world, start, arms, pair, path, poses, name, segment):
                break
            course[segment] = path
            cut = len(at[0])
            at = [path[-1, :cut], path[-1, cut:]]
        else:
            return course
    return None


def _on_the_table(scene: TaskScene, name: str, T_object: Array) -> bool:
    return edge_distance(scene.table, footprint(scene.cell, name, T_object)) > EDGE_M


def _poses(T_start: Array, T_goal: Array) -> dict[str, list[Array]]:
    """T_world_object per segment: straight up, level to above the goal, straight down."""
    up, over = T_start.copy(), T_goal.copy()
    up[2, 3] += LIFT_M
    over[2, 3] = up[2, 3]
    return {
        "lift": _between(T_start, up, LIFT_STEPS),
        "move": _between(up, over, MOVE_STEPS),
        "place": _between(over, T_goal, LIFT_STEPS),
    }


def _between(T_from: Array, T_to: Array, steps: int) -> list[Array]:
    turn = Slerp([0.0, 1.0], Rotation.from_matrix(np.stack([T_from[:3, :3], T_to[:3, :3]])))
    poses = []
    for s in np.linspace(0.0, 1.0, steps + 1):
        T = np.eye(4)
        T[:3, :3], T[:3, 3] = turn(s).as_matrix(), (1 - s) * T_from[:3, 3] + s * T_to[:3, 3]
        poses.append(T)
    return poses


def _joints(
    scene: TaskScene, arms: tuple[int, int], at: list[Array], poses: list[Array], in_hand: list[Array]
) -> Array | None:
    """(M, n + m) of both arms along the object's poses, starting from configurations `at`, or None."""
    sides = []
    for k, joints, T_object_tool in zip(arms, at, in_hand, strict=True):
        path = [joints]
        for T in poses[1:]:
            found = scene.team[k].arm.solve(T @ T_object_tool, path[-1], iterations=15)
            if found is None or np.abs(found - path[-1]).max() > JUMP_RAD:
                return None
            path.append(found)
        sides.append(np.array(path))
    return np.concatenate(sides, axis=1)


def _free(
    scene: TaskScene,
    world: team.TeamWorld,
    start: Array,
    arms: tuple[int, int],
    pair: tuple[Approach, Approach],
    path: Array,
    poses: list[Array],
    name: str,
    segment: str,
) -> bool:
    """Whether the team touches nothing along a part of its course; only its ends on the table may."""
    ends = {"lift": {0}, "place": {len(path) - 1}}.get(segment, set())
    for i, (row, T) in enumerate(zip(path, poses, strict=True)):
        qpos, first = scene.cell.with_pose(start, name, T), 0
        for k, way in zip(arms, pair, strict=True):
            cell = scene.team[k].cell
            last = first + len(cell.robot.joints)
            qpos[cell.arm_qpos], qpos[cell.finger_qpos] = row[first:last], cell.finger_positions(way.grasp.width)
            first = last
        if not world.free(qpos, standing=i in ends):
            return False
    return True
