"""Tasks: what this robot can be asked to do in this scene."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from pydantic import Field, ValidationInfo, field_validator

from blueprint.backends.protocols import Simulator
from blueprint.core import backends
from blueprint.core.artifact import Config
from blueprint.core.errors import InfeasibleError
from blueprint.core.files import write_json
from blueprint.core.report import log, metric, progress
from blueprint.core.stage import stage
from blueprint.model.artifacts import SimScene, TaskSet, Workcell
from blueprint.model.policies import POLICIES, Policy
from blueprint.model.scene import SceneBody
from blueprint.model.task import Family, Goal, Step, SuggestedTask, Suggestion, Task

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from blueprint.skills.families import Proposal
    from blueprint.skills.scene import TaskScene
    from blueprint.skills.wording import Wording

SCENE_CAMERA = "scene"
SINGLE: tuple[Family, ...] = ("lift", "place_region", "place_beside", "place_on", "place_into")
TOLD = 4  # reasons in the error of a scene without tasks
RULES, PROPOSALS = "rules", "proposals.json"


class TasksConfig(Config):
    """families: kinds of task; policy: one of docs/episodes.md, e.g. `dish_loading`, which chooses the families instead

    targets_per_object: other objects that one object is brought to, per family
    jitter_m: how far objects may start from their captured places; regions keep that much room around them
    proposer: who suggests tasks, the families' own `rules` or a `proposer` backend (`gemini`), asked for `proposals`
    """

    families: tuple[Family, ...] = SINGLE
    policy: str = ""
    targets_per_object: int = Field(default=2, ge=1)
    jitter_m: float = Field(default=0.03, ge=0.0)
    proposer: str = RULES
    proposals: int = Field(default=20, ge=1, le=200)
    seed: int = 0

    @field_validator("policy")
    @classmethod
    def _known(cls, policy: str, info: ValidationInfo) -> str:
        if policy and policy not in POLICIES:
            raise ValueError(f"no policy {policy!r}; there are: {', '.join(POLICIES)}")
        if policy and info.data.get("families") != SINGLE:
            raise ValueError("tasks.families is set, too, and both choose the families: leave one out")
        return policy

    @property
    def chosen(self) -> Policy:
        return POLICIES[self.policy] if self.policy else Policy(self.families)


class Proposer(Protocol):
    """Suggests tasks. `kind` = "proposer"; ours: gemini."""

    name: str
    version: str

    def suggest(
        self, bodies: Sequence[SceneBody], abilities: Mapping[Family, str], count: int
    ) -> tuple[tuple[SuggestedTask, ...], float]:
        """Suggestions, and what they cost [USD]. Raises BackendError when no answer can be had."""
        ...


@stage(version="4", timeout_s=1800.0)
def tasks(workcell: Workcell, simscene: SimScene, simulator: Simulator, cfg: TasksConfig, out: Path) -> TaskSet:
    """Tasks that the geometry suggests and the arm can do, each with an instruction.

    Raises InfeasibleError when there is none.
    """
    from blueprint.skills.scene import TaskScene
    from blueprint.skills.wording import Wording

    pairs = cfg.targets_per_object if cfg.proposer == RULES else len(workcell.bodies)
    scene = TaskScene.of(workcell, simulator, cfg.seed, jitter_m=cfg.jitter_m, pairs=pairs)
    rng = np.random.default_rng(cfg.seed)
    wording = Wording.of(scene, _viewers_right(simscene))
    offers: list[tuple[Family, Proposal]] = [
        (name, offer) for name in cfg.chosen.families for offer in offers_of(scene, name, cfg, rng)
    ]
    if cfg.proposer == RULES:
        wanted = [(offer, wording.of_goal(offer.object, offer.goal, rng) if offer.goal else "") for _, offer in offers]
    else:
        wanted = _suggested(cfg, scene, wording, offers, rng, out)
    made: list[Task] = []
    refused: dict[str, str] = {}
    for offer, text in progress(wanted, len(wanted), "tasks"):
        if offer.goal is None:
            refused[offer.id] = offer.reason
            continue
        task = Task(id=offer.id, object=offer.object, goal=offer.goal, instruction=text)
        reason = why_not(scene, task, cfg.seed)
        if reason:
            refused[task.id] = reason
        else:
            made.append(task)
    if not made:
        told = [f"{name}: {why}" for name, why in refused.items()]
        more = f"\nand {len(told) - TOLD} more" if len(told) > TOLD else ""
        raise InfeasibleError(
            f"{workcell.said_of_robots('title')} can do nothing of what is asked in this scene:\n"
            + "\n".join(told[:TOLD] or ["nobody suggested anything"])
            + more,
            "bring what they lack, or choose other tasks: tasks.families or tasks.policy",
        )
    return TaskSet(tasks=_interleaved(made), refused=refused)


def offers_of(scene: TaskScene, name: Family, cfg: TasksConfig, rng: np.random.Generator) -> list[Proposal]:
    """What a family offers, or what it lacks; tasks about joints that the policy is not about are refused."""
    from blueprint.skills.families import NEEDS, Proposal, family
    from blueprint.skills.joints.parts import Jointed

    made, slides = list(family(name).propose(scene, name, rng)), cfg.chosen.slides
    for k, offer in enumerate(made):
        about = offer.goal and offer.goal.joint
        if about and slides is not None and Jointed(scene.cell, offer.object, about).slides != slides:
            reason = f"policy {cfg.policy} is about joints that {'slide' if slides else 'turn'}"
            made[k] = replace(offer, goal=None, reason=reason)
    return made or [Proposal("", None, name, f"it needs {NEEDS[name]}")]


def _suggested(
    cfg: TasksConfig,
    scene: TaskScene,
    wording: Wording,
    offers: list[tuple[Family, Proposal]],
    rng: np.random.Generator,
    out: Path,
) -> list[tuple[Proposal, str]]:
    """What a proposer suggests, with the numbers of the families' own offers; the answer is kept in proposals.json."""
    from blueprint.skills.families import family

    proposer: Proposer = backends.find("proposer", cfg.proposer, "tasks.proposer").load()
    simple: list[tuple[Family, Proposal]] = [
        (name, offer) for name, offer in offers if offer.goal is None or not offer.goal.steps
    ]
    able: dict[Family, str] = {
        name: family(name).TEMPLATES[name][0] for name, offer in simple if offer.goal is not None
    }
    called = (body.model_copy(update={"text": wording.spoken[name]}) for name, body in scene.bodies.items())
    tasks, cost = proposer.suggest(tuple(called), able, cfg.proposals)
    metric("proposer cost", cost, "USD")
    record = {"proposer": f"{proposer.name} {proposer.version}", "cost_usd": cost}
    write_json(out / PROPOSALS, record | {"tasks": [task.model_dump(mode="json") for task in tasks]})
    found = []
    for k, task in enumerate(tasks):
        offer = _as_offered(f"{cfg.proposer}-{k:03d}", task, simple)
        text = "" if offer.goal is None else _instruction(offer, task, wording, rng)
        found.append((offer, text))
    return found


def _as_offered(name: str, task: SuggestedTask, offers: list[tuple[Family, Proposal]]) -> Proposal:
    """The suggestion with the goals that its families offer for just these names, or why there is none."""
    from blueprint.skills.families import Proposal

    steps: list[Step] = []
    for wanted in task.steps:
        fits = [
            offer
            for family, offer in offers
            if (family, offer.object) == (wanted.family, wanted.object) and _is_of(offer, wanted)
        ]
        goal = next((offer.goal for offer in fits if offer.goal is not None), None)
        if goal is None:
            whole = " ".join(filter(None, (wanted.family, wanted.object, wanted.target, wanted.joint)))
            why = fits[0].reason if fits else "the scene offers nothing of the kind"
            return Proposal(wanted.object, None, name, f"{whole}: {why}")
        steps.append(Step(object=wanted.object, goal=goal))
    goal = steps[0].goal if len(steps) == 1 else Goal(family="chain", steps=tuple(steps))
    return Proposal(steps[0].object, goal, name)


def _is_of(offer: Proposal, wanted: Suggestion) -> bool:
    """Whether an offer is about the suggestion's target and joint; one that was refused tells its names in its id."""
    if offer.goal is None:
        return all(name in offer.id for name in (wanted.target, wanted.joint) if name)
    return (offer.goal.target or "", offer.goal.joint or "") == (wanted.target, wanted.joint)


def _instruction(offer: Proposal, task: SuggestedTask, wording: Wording, rng: np.random.Generator) -> str:
    """The proposer's sentence if it names everything as it must be called here, else our own, which is told."""
    assert offer.goal is not None
    named = {wording.spoken[part] for step in task.steps for part in (step.object, step.target) if part}
    text = " ".join(task.instruction.split()).rstrip(".")
    missing = sorted(name for name in named if name.lower() not in text.lower())
    if not missing:
        return text
    log(f"{offer.id}: worded by us, since {text!r} does not name {', '.join(missing)}")
    return wording.of_goal(offer.object, offer.goal, rng)


def _interleaved(made: list[Task]) -> tuple[Task, ...]:
    """In turn over the objects, each starting with another family: so that few episodes show much of the scene."""
    by_object: dict[str, list[Task]] = {}
    for task in made:
        by_object.setdefault(task.object, []).append(task)
    turned = [some[k % len(some) :] + some[: k % len(some)] for k, some in enumerate(by_object.values(), start=1)]
    return tuple(task for turn in zip_longest(*turned) for task in turn if task is not None)


def _viewers_right(simscene: SimScene) -> NDArray[np.float64]:
    """(2,) unit vector to the right as seen from the scene camera."""
    camera = next((c for c in simscene.cameras if c.name == SCENE_CAMERA), None)
    right = np.array([1.0, 0.0]) if camera is None else np.array(camera.T_world_camera)[:2, 0]
    return right / np.linalg.norm(right)


def why_not(scene: TaskScene, task: Task, seed: int) -> str:
    """Why the task cannot be done from where things were captured, or "".

    What is hemmed in where it stands is asked alone on the table: starts will vary until it is not.
    """
    from blueprint.skills.families import family

    known, cell = family(task.goal.family), scene.cell
    named = [name for step in task.steps for name in (step.object, step.goal.target)]
    start = cell.home_qpos
    for qpos in (cell.home_qpos, cell.alone(*named)):
        rng = np.random.default_rng(seed)
        start = known.arrange(scene, task, qpos, rng)
        if next(known.ways(scene, task, start, rng), None) is not None:
            return ""
    return known.why_none(scene, task, start)
