"""Tasks of several steps: a tower, things brought to places of their own, sorted things, chains of other tasks.

Every step is a task of its family from the state that the one before left. Before anything moves, all steps are planned
from the states that are expected; what is found where it was expected is then done as planned, the rest planned anew.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from blueprint.model.scene import SceneBody
from blueprint.model.task import Family, Goal, Step, Task
from blueprint.skills import supports
from blueprint.skills.families import FAMILIES, Proposal, Way, family, pick
from blueprint.skills.joints.parts import Jointed
from blueprint.skills.mounting import edge_distance, worked
from blueprint.skills.placement import footprint, outline_gap
from blueprint.skills.primitives import SkillError
from blueprint.skills.rollout import Rollout
from blueprint.skills.scene import TaskScene
from blueprint.skills.team import go_home

Array = NDArray[np.float64]

TEMPLATES: dict[Family, tuple[str, ...]] = {
    "stack": ("build a tower: {steps}", "stack them up: {steps}"),
    "rearrange": ("rearrange the table: {steps}", "tidy up: {steps}"),
    "sort": ("sort the things: {steps}", "put things that belong together in one place: {steps}"),
    "chain": ("{steps}", "one after another: {steps}"),
}
MOVED = 3  # objects of a rearrangement, at most
STEPS = (3, 4)  # of a chain
CHAINABLE: tuple[Family, ...] = ("place_into", "place_on", "place_beside", "place_region")
GROUP_RADIUS_M = 0.13  # of the region to which things of one kind are brought
GROUPS_APART_M = 0.3  # between the centres of two such regions
SHUT_SHARE = 0.05  # of how far it was opened: less open than that is closed
DRAWS = 200
CHAINS_TRIED = 6
PLANS = 2  # attempts at planning all steps, each with another way for the first one


def propose(scene: TaskScene, name: Family, rng: np.random.Generator) -> Iterator[Proposal]:
    movable = [one for one in scene.cell.objects if scene.reachable.get(one)]
    if name == "stack":
        yield from _towers(scene, movable)
    elif name == "rearrange":
        yield from _rearrangements(scene, movable, rng)
    elif name == "sort":
        yield from _sortings(scene, movable, rng)
    else:
        yield from _chains(scene, rng)


def arrange(scene: TaskScene, task: Task, qpos: Array, rng: np.random.Generator) -> Array:
    """Every joint as its first step wants to find it."""
    seen: set[str | None] = {None}
    for step in task.steps:
        if step.goal.joint not in seen:
            qpos = family(step.goal.family).arrange(scene, _alone(step), qpos, rng)
        seen.add(step.goal.joint)
    return qpos


def ways(scene: TaskScene, task: Task, start: Array, rng: np.random.Generator) -> Iterator[Way]:
    """The ways for the first step from which all others can be planned."""
    first, *others = task.steps
    for _, way in zip(range(PLANS), family(first.goal.family).ways(scene, _alone(first), start, rng), strict=False):
        planned, state = [way], _expected(scene, first, way, start)
        for step in others:
            found = next(family(step.goal.family).ways(scene, _alone(step), state, rng), None)
            if found is None:
                break
            planned.append(found)
            state = _expected(scene, step, found, state)
        else:
            yield InTurn(scene, task.steps, tuple(planned), rng)


def why_none(scene: TaskScene, task: Task, start: Array) -> str:
    rng, state = np.random.default_rng(0), start
    for number, step in enumerate(task.steps, start=1):
        known = family(step.goal.family)
        way = next(known.ways(scene, _alone(step), state, rng), None)
        if way is None:
            return f"step {number}: {known.why_none(scene, _alone(step), state)}"
        state = _expected(scene, step, way, state)
    return "no two of its steps can be planned after one another"


@dataclass(frozen=True)
class InTurn:
    """planned: a way for every step, from the states expected before the task began."""

    scene: TaskScene
    steps: tuple[Step, ...]
    planned: tuple[Way, ...]
    rng: np.random.Generator

    @property
    def kind(self) -> str:
        return self.planned[0].kind

    def run(self, rollout: Rollout) -> None:
        for number, (step, way) in enumerate(zip(self.steps, self.planned, strict=True), start=1):
            try:
                if number > 1:
                    self._clear(rollout, way)
                    way = self._again(step, way, rollout.qpos)
                    self._clear(rollout, way)
                way.run(rollout.view(way.scene.acting))
            except SkillError as error:
                raise SkillError(error.cause, f"step {number}: {error.detail}") from error

    def _clear(self, rollout: Rollout, way: Way) -> None:
        """Every arm but that of the way goes home, out of its way. Raises SkillError."""
        for k, skills in enumerate(self.scene.team):
            if k != way.scene.acting:
                go_home(skills, rollout.view(k))

    def _again(self, step: Step, way: Way, qpos: Array) -> Way:
        """The way as planned if its object stands where that was expected, else a new one. Raises SkillError."""
        same = way.again(qpos) if isinstance(way, pick.PickAndPlace) else None
        if same is not None:
            return same
        found = next(family(step.goal.family).ways(self.scene, _alone(step), qpos, self.rng), None)
        if found is None:
            raise SkillError("no_grasp", f"no way to {step.goal.family} with {step.object} as the steps before left it")
        return found


def _alone(step: Step) -> Task:
    return Task(id="step", object=step.object, goal=step.goal, instruction="")


def _expected(scene: TaskScene, step: Step, way: Way, state: Array) -> Array:
    """The state that a step is expected to leave."""
    if isinstance(way, pick.PickAndPlace) and way.end is not None:
        return scene.cell.with_pose(state, step.object, way.end)
    if step.goal.joint is not None:
        return Jointed(scene.cell, step.object, step.goal.joint).at(state, step.goal.value)
    return state


# ------------------------------------------------------------------ what a scene suggests


def _task(name: Family, steps: Sequence[Step]) -> Proposal:
    parts = "-".join(dict.fromkeys(step.object for step in steps))
    return Proposal(steps[0].object, Goal(family=name, steps=tuple(steps)), f"{name}-{parts}")


def _none(name: Family, reason: str) -> Proposal:
    return Proposal("", None, name, reason)


def _towers(scene: TaskScene, movable: list[str]) -> Iterator[Proposal]:
    """Three high where that can stand, else two."""
    on = {
        (a, b)
        for a, b in itertools.permutations(scene.cell.objects, 2)
        if a in movable and not pick.unfit(scene, a, b, "place_on")
    }
    made = 0
    for (a, base), (top, under) in itertools.product(sorted(on), sorted(on)):
        if under == a and top != base and made < scene.pairs:
            made += 1
            yield _task("stack", [_on(a, base), _on(top, a)])
    for a, base in sorted(on)[: 0 if made else scene.pairs]:
        made += 1
        yield _task("stack", [_on(a, base)])
    if not made:
        yield _none("stack", "nothing here is flat and wide enough to carry another thing")


def _on(name: str, target: str) -> Step:
    return Step(object=name, goal=Goal(family="place_on", target=target))


def _rearrangements(scene: TaskScene, movable: list[str], rng: np.random.Generator) -> Iterator[Proposal]:
    if len(movable) < 2:
        yield _none("rearrange", "fewer than two things are in reach")
        return
    for _ in range(scene.pairs):
        chosen = rng.permutation(movable)[: min(MOVED, len(movable))].tolist()
        steps, taken = [], list[Array]()
        for name in chosen:
            found = pick.region(scene.near(name), name, rng, taken)
            if found.goal is None or found.goal.center is None:
                continue
            taken.append(_outline_at(scene, name, np.array(found.goal.center)))
            steps.append(Step(object=name, goal=found.goal))
        if len(steps) >= 2:
            yield _task("rearrange", steps)
        else:
            yield Proposal(
                chosen[0], None, "rearrange-" + "-".join(chosen), "no free spots on the table for two of them"
            )


def _outline_at(scene: TaskScene, name: str, spot: Array) -> Array:
    own = footprint(scene.cell, name, scene.cell.pose(scene.cell.home_qpos, name))
    return own - (own.min(axis=0) + own.max(axis=0)) / 2 + spot


def _sortings(scene: TaskScene, movable: list[str], rng: np.random.Generator) -> Iterator[Proposal]:
    """Two kinds, each into a container of its own, else each to a region of its own."""
    fits = {(a, b) for a, b in itertools.permutations(scene.cell.objects, 2) if _goes_into(scene, a, b)}
    boxes = [box for box in scene.cell.objects if any((name, box) in fits for name in movable)]
    kinds = _kinds([scene.bodies[name] for name in movable if name not in boxes])
    if len(kinds) < 2:
        yield _none("sort", "all things in reach are of one kind, or there is one only")
        return
    for pair in itertools.permutations(boxes, 2):
        if all((name, box) in fits for names, box in zip(kinds, pair, strict=True) for name in names):
            into = [Goal(family="place_into", target=box) for box in pair]
            yield _task("sort", _each(kinds, into))
            return
    for _ in range(scene.pairs):
        centers = _group_centers(scene, rng)
        if centers is None:
            yield _none("sort", "the table has no room for two groups")
            return
        regions = [Goal(family="place_region", center=center, radius_m=GROUP_RADIUS_M) for center in centers]
        yield _task("sort", _each(kinds, regions))


def _goes_into(scene: TaskScene, name: str, box: str) -> bool:
    return not pick.unfit(scene, name, box, "place_into")


def _each(kinds: list[list[str]], goals: list[Goal]) -> list[Step]:
    return [Step(object=name, goal=goal) for names, goal in zip(kinds, goals, strict=True) for name in names]


def _kinds(bodies: list[SceneBody]) -> list[list[str]]:
    """Two groups of one or two: by category where two are known, else the smaller things and the larger ones."""
    groups: dict[str, list[str]] = {}
    for body in bodies:
        groups.setdefault(body.category, []).append(body.name)
    groups.pop("", None)
    if len(groups) >= 2:
        return [names[:2] for names in sorted(groups.values(), key=len, reverse=True)[:2]]
    by_size = [body.name for body in sorted(bodies, key=lambda body: float(np.prod(body.dims_m)))]
    half = len(by_size) // 2
    return [by_size[:half][:2], by_size[half:][-2:]] if half else []


def _group_centers(scene: TaskScene, rng: np.random.Generator) -> tuple[tuple[float, float], ...] | None:
    """Two spots on the table, near what stands there, with the most room between other things' outlines and them."""
    cell, qpos = scene.cell, scene.cell.home_qpos
    outlines = [footprint(cell, name, cell.pose(qpos, name)) for name in cell.objects]
    middle = np.concatenate(outlines).mean(axis=0)
    best, room = None, -np.inf
    bases = [np.array(skills.cell.robot.base.position) for skills in scene.team]
    for _ in range(DRAWS):
        pair = middle + rng.uniform(-0.35, 0.35, (2, 2))
        if np.linalg.norm(pair[0] - pair[1]) < GROUPS_APART_M:
            continue
        if edge_distance(scene.table, pair) < GROUP_RADIUS_M:
            continue
        if not all(any(worked(base, spot) for base in bases) for spot in pair):
            continue
        free = min(outline_gap(pick.rim(spot, GROUP_RADIUS_M), other) for spot in pair for other in outlines)
        if free > room:
            best, room = pair, free
    return None if best is None else tuple((round(float(x), 3), round(float(y), 3)) for x, y in best)


def _chains(scene: TaskScene, rng: np.random.Generator) -> Iterator[Proposal]:
    """Steps about different things, so that none undoes another; a part that opens is open while they are done."""
    offers = [offer for name in CHAINABLE for offer in family(name).propose(scene, name, rng) if offer.goal is not None]
    panels = _panels(scene, rng)
    for k in range(scene.pairs):
        around = panels[k % len(panels)] if panels else ()
        wanted = int(rng.choice(STEPS))
        tried = (_independent(scene, offers, wanted - len(around), rng) for _ in range(CHAINS_TRIED))
        inner = max(tried, key=len)
        if around and (into := _into(scene, around[0], rng)):
            inner = [into, *(step for step in inner if step.object != into.object)][: max(1, len(inner))]
        steps = [*around[:1], *inner, *around[1:]]
        if len(steps) < STEPS[0]:
            yield _none("chain", f"fewer than {STEPS[0]} steps that leave each other alone")
            return
        yield _task("chain", steps)


def _into(scene: TaskScene, opened: Step, rng: np.random.Generator) -> Step | None:
    """Something put into what a step has opened."""
    part = Jointed(scene.cell, opened.object, opened.goal.joint or "")
    qpos = part.at(scene.cell.home_qpos, opened.goal.value)
    for name in rng.permutation([one for one in scene.cell.objects if scene.reachable.get(one)]).tolist():
        for _, goal, _ in supports.offers(scene.cell, name, "place_into", qpos):
            if goal is not None and goal.target in part.names:
                return Step(object=name, goal=goal)
    return None


def _panels(scene: TaskScene, rng: np.random.Generator) -> list[tuple[Step, Step]]:
    """Doors, drawers and lids that can be opened, and then closed from there."""
    if "open" not in FAMILIES:
        return []
    opened = [offer for offer in family("open").propose(scene, "open", rng) if offer.goal is not None]
    return [
        (
            Step(object=offer.object, goal=goal),
            Step(
                object=offer.object,
                goal=Goal(family="close", joint=goal.joint, value_start=goal.value, value=SHUT_SHARE * goal.value),
            ),
        )
        for offer in opened
        if (goal := offer.goal) is not None
    ]


def _independent(scene: TaskScene, offers: list[Proposal], wanted: int, rng: np.random.Generator) -> list[Step]:
    """So many steps that share no object; a thing that is left may be lifted at the end."""
    steps, used, taken = list[Step](), set[str | None](), list[Array]()
    for k in rng.permutation(len(offers)).tolist():
        name, goal = offers[k].object, offers[k].goal
        if len(steps) == wanted or goal is None or ({name, goal.target} - {None}) & used:
            continue
        if goal.family == "place_region":
            goal = pick.region(scene.near(name), name, rng, taken).goal
            if goal is None or goal.center is None:
                continue
            taken.append(_outline_at(scene, name, np.array(goal.center)))
        used |= {name, goal.target}
        steps.append(Step(object=name, goal=goal))
    left = [one for one in scene.cell.objects if scene.reachable.get(one) and one not in used]
    if len(steps) < wanted and left:
        steps.append(Step(object=left[0], goal=Goal(family="lift", height_m=pick.LIFT_HEIGHT_M)))
    return steps
