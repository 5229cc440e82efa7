"""One object, one grasp: lift it, or put it somewhere."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from blueprint.geometry.transforms import invert, rotation_angle
from blueprint.model.task import Family, Goal, Task
from blueprint.skills import supports
from blueprint.skills.cell import Cell
from blueprint.skills.families import Proposal, Way
from blueprint.skills.grasping.approach import Approach
from blueprint.skills.grasping.trials import Trials
from blueprint.skills.mounting import edge_distance, worked
from blueprint.skills.placement import footprint, height_range, outline_gap, surface_height
from blueprint.skills.primitives import Held
from blueprint.skills.rollout import Rollout
from blueprint.skills.scene import TaskScene

Array = NDArray[np.float64]

TEMPLATES: dict[Family, tuple[str, ...]] = {
    "lift": ("pick up the {object}", "lift the {object}", "grasp the {object} and lift it up"),
    "place_region": (
        "move the {object} to the {where} of the table",
        "pick up the {object} and put it down at the {where} of the table",
        "put the {object} at the {where} of the table",
    ),
    "place_beside": ("put the {object} next to the {target}", "place the {object} beside the {target}"),
    "place_on": ("put the {object} on top of the {target}", "stack the {object} on the {target}"),
    "place_into": ("put the {object} into the {target}", "place the {object} inside the {target}"),
}
WAYS_TRIED = 30  # grasps tried for reach and place, before a start is given up
TRIALS = 8  # of them tried in physics
SAME_M, SAME_RAD = 0.002, 0.02  # an object that moved by less stands where it stood
PLACES_TRIED = 3  # in physics, per grasp
LIFT_HEIGHT_M = 0.08
REGION_RADIUS_M = 0.05
BESIDE_GAP_M = 0.06
REGION_MOVE_M = (0.1, 0.4)  # how far from its start an object is sent
REGION_GAP_M = 0.01  # between it there and the others, beyond what they may be moved by
ENOUGH_ROOM_M = 0.08  # more makes a spot no better
EDGE_M = 0.02
BASE_SHARE = 0.65  # of what is put on something: this much of its middle must find a flat surface; a trial decides
FLAT_M = 0.004  # how much a surface may vary to stand on
DEEP_M = 0.02  # of an opening worth the name
OPENING_GAP_M = 0.008  # around what is put into it
SPOTS = 300
HOLDS = ("Containable", "Fillable")  # affordances of what things are put or poured into


def propose(scene: TaskScene, family: Family, rng: np.random.Generator) -> Iterator[Proposal]:
    """The family for every object; at most `scene.pairs` targets per object, chosen by `rng`."""
    for name in scene.cell.objects:
        if family == "lift":
            yield Proposal(name, Goal(family="lift", height_m=LIFT_HEIGHT_M), f"lift-{name}")
        elif family == "place_region":
            yield region(scene, name, rng)
        else:
            yield from _with_targets(scene, name, family, rng)


def arrange(scene: TaskScene, task: Task, qpos: Array, rng: np.random.Generator) -> Array:
    """Starts are varied from the scene as captured."""
    return qpos


def ways(scene: TaskScene, task: Task, start: Array, rng: np.random.Generator) -> Iterator[Way]:
    """Grasps that hold in a trial and from which the goal is in reach, where what is let go stays in a trial."""
    trials = Trials(scene.simulator, scene.skills)
    tried = 0
    for _, approach in zip(range(WAYS_TRIED), scene.ways_to(task.object, start), strict=False):
        if tried == TRIALS:
            return
        if not _placeable(scene, task, start, _held_as_planned(task.object, approach), rng):
            continue
        tried += 1
        held = trials.grasp(task.object, approach, start)
        if held is None:
            continue
        end = None if task.goal.family == "lift" else _end(scene, task, start, approach, held, trials, rng)
        if end is not None or task.goal.family == "lift":
            yield PickAndPlace(scene, task, approach, start, rng, end)


def why_none(scene: TaskScene, task: Task, start: Array) -> str:
    rng, object_ = np.random.default_rng(0), task.object
    ways_to = list(itertools.islice(scene.ways_to(object_, start), WAYS_TRIED))
    if not ways_to:
        return f"{object_} cannot be grasped: too wide for the gripper or out of reach"
    if not any(_placeable(scene, task, start, _held_as_planned(object_, way), rng) for way in ways_to):
        return "no place of the goal is in reach with any grasp"
    return f"in a trial {object_} slips, rolls or tips with every grasp"


@dataclass(frozen=True)
class PickAndPlace:
    """start: (nq,) the state that `approach` was planned for; end: (4, 4) where the object is expected to be put."""

    scene: TaskScene
    task: Task
    approach: Approach
    start: Array
    rng: np.random.Generator
    end: Array | None = None

    @property
    def kind(self) -> str:
        return self.approach.grasp.kind

    def again(self, qpos: Array) -> PickAndPlace | None:
        """The same from another state (nq,): where the object stands where it stood, and the approach is free."""
        cell, world, name = self.scene.cell, self.scene.skills.world, self.task.object
        before, now = cell.pose(self.start, name), cell.pose(qpos, name)
        if np.linalg.norm(before[:3, 3] - now[:3, 3]) > SAME_M or rotation_angle(before, now) > SAME_RAD:
            return None
        world.place(qpos)
        with world.ignoring(name):
            if not all(world.clear(joints, self.approach.grasp.opening) for joints in self.approach.path):
                return None
        end, target = self.end, self.task.goal.target
        if end is not None and target is not None:  # goes where its target went
            end = cell.pose(qpos, target) @ invert(cell.pose(self.start, target)) @ end
        return replace(self, start=qpos, end=end)

    def run(self, rollout: Rollout) -> None:
        skills, goal, opening = self.scene.skills, self.task.goal, self.approach.grasp.opening
        skills.pick(rollout, self.task.object, self.approach)
        if goal.family != "lift":
            trials = Trials(self.scene.simulator, skills)
            skills.place(
                rollout,
                self.task.object,
                goal,
                self.start,
                opening,
                self.rng,
                lambda held, placing: trials.release(held, placing, rollout.qpos),
                self.end,
            )
        skills.rest(rollout, 0.0 if goal.family == "lift" else opening)


def _held_as_planned(name: str, way: Approach) -> Held:
    return Held(name, invert(way.grasp.T_object_tool), way.grasp.width, way.grasp.opening)


def _placeable(scene: TaskScene, task: Task, start: Array, held: Held, rng: np.random.Generator) -> bool:
    """Whether some place of the goal is in reach for what is held."""
    if task.goal.family == "lift":
        return True
    return next(scene.skills.placings(task.goal, held, start, rng), None) is not None


def _end(
    scene: TaskScene, task: Task, start: Array, way: Approach, held: Held, trials: Trials, rng: np.random.Generator
) -> Array | None:
    """(4, 4) where the object stands at the first place of the goal that it can be brought to and stays when let go."""
    brought = scene.skills.brought(task.goal, held, start, way.lifted, rng)
    for placing, _ in itertools.islice(brought, PLACES_TRIED):
        if trials.release(held, placing, start):
            return scene.skills.arm.tool_pose(placing.down[-1]) @ held.T_tool_object
    return None


def region(scene: TaskScene, name: str, rng: np.random.Generator, taken: Sequence[Array] = ()) -> Proposal:
    """Among random spots on the table, the one with the most room around it. taken: (V, 2) outlines to keep free."""
    cell, task = scene.cell, f"place_region-{name}"
    qpos = cell.home_qpos
    own = footprint(cell, name, cell.pose(qpos, name))
    here = (own.min(axis=0) + own.max(axis=0)) / 2
    others = [footprint(cell, other, cell.pose(qpos, other)) for other in cell.objects if other != name]
    others += taken
    best, room, base = None, REGION_GAP_M + scene.jitter_m, np.array(cell.robot.base.position)
    for _ in range(SPOTS):
        spot = here + rng.uniform(*REGION_MOVE_M) * _unit(rng.uniform(0, 2 * np.pi))
        moved = own + spot - here
        if not worked(base, spot) or edge_distance(scene.table, moved) < EDGE_M:
            continue
        free = min((outline_gap(moved, other) for other in others), default=np.inf)
        if free > room:
            best, room = spot, min(free, ENOUGH_ROOM_M)
    if best is None:
        return Proposal(name, None, task, "no free spot on the table within 40 cm of it and where the arm works well")
    center = (round(float(best[0]), 3), round(float(best[1]), 3))
    return Proposal(name, Goal(family="place_region", center=center, radius_m=REGION_RADIUS_M), task)


def _with_targets(scene: TaskScene, name: str, family: Family, rng: np.random.Generator) -> Iterator[Proposal]:
    cell, accepted = scene.cell, 0
    for other in rng.permutation([o for o in cell.objects if o != name]).tolist():
        task = f"{family}-{name}-{other}"
        reason = unfit(scene, name, other, family)
        if reason:
            yield Proposal(name, None, task, reason)
        elif accepted < scene.pairs:
            accepted += 1
            radius = BESIDE_GAP_M if family == "place_beside" else 0.0
            yield Proposal(name, Goal(family=family, target=other, radius_m=radius), task)
    if family != "place_beside":
        for board, goal, reason in supports.offers(cell, name, family, cell.home_qpos):
            yield Proposal(name, goal, f"{family}-{name}-{board}", reason)


def unfit(scene: TaskScene, name: str, target: str, family: Family) -> str:
    """Why the geometry, or what the target is, forbids it, or ""."""
    cell = scene.cell
    qpos = cell.home_qpos
    T, T_target = cell.pose(qpos, name), cell.pose(qpos, target)
    own, other = footprint(cell, name, T), footprint(cell, target, T_target)
    if family == "place_beside":
        near = outline_gap(own, other) <= BESIDE_GAP_M
        return f"it stands beside {target} already" if near else ""
    middle = (other.min(axis=0) + other.max(axis=0)) / 2
    radius = float(np.linalg.norm(own - (own.min(axis=0) + own.max(axis=0)) / 2, axis=1).max())
    top = height_range(cell, target, T_target)[1]
    if family == "place_on":
        heights = surface_height(cell, target, T_target, disc(middle, BASE_SHARE * radius))
        flat = float((heights > top - FLAT_M).mean())
        return "" if flat >= 0.95 else f"the top of {target} is flat under {flat:.0%} of it only"
    room = opening(cell, target, T_target, middle, top)
    if room == 0.0:
        return f"{target} has no opening"
    if not scene.affords(target, *HOLDS):
        return f"nothing is put into a {scene.bodies[target].category}"
    if radius + OPENING_GAP_M > room:
        return f"it is {200 * radius:.1f} cm wide, the opening of {target} {200 * room:.1f} cm"
    return ""


def opening(cell: Cell, target: str, T_target: Array, middle: Array, top: float) -> float:
    """Radius of the largest disc around the middle that is everywhere deeper than `DEEP_M` [m]; 0 without one."""
    low = height_range(cell, target, T_target)[0]
    best = 0.0
    for radius in np.arange(0.01, 0.2, 0.004):
        heights = surface_height(cell, target, T_target, disc(middle, float(radius)))
        hollow = (heights < top - DEEP_M) & (heights > low + 5e-4)  # a hole through the bottom holds nothing
        if not hollow.all():
            break
        best = float(radius)
    return best


def rim(center: Array, radius: float) -> Array:
    """(24, 2) corners around a disc, counter-clockwise."""
    return np.array([center + radius * _unit(a) for a in np.arange(24) * np.pi / 12])


def disc(center: Array, radius: float) -> Array:
    """(N, 2) points of a disc, its rim included."""
    rings = [np.zeros((1, 2))]
    for r in (0.35, 0.7, 1.0):
        rings.append(np.array([r * radius * _unit(a) for a in np.arange(12) * np.pi / 6]))
    return np.concatenate(rings) + center


def _unit(angle: float) -> Array:
    return np.array([np.cos(angle), np.sin(angle)])
