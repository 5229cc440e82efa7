"""Tasks: what this robot can be asked to do in this scene."""

from __future__ import annotations

from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from blueprint.backends.protocols import Simulator
from blueprint.core.artifact import Config
from blueprint.core.errors import InfeasibleError
from blueprint.core.report import progress
from blueprint.core.stage import stage
from blueprint.model.artifacts import SimScene, TaskSet, Workcell
from blueprint.model.task import Family, Task

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from blueprint.skills.scene import TaskScene

SCENE_CAMERA = "scene"


class TasksConfig(Config):
    """families: kinds of task; targets_per_object: other objects that one object is brought to, per family.

    jitter_m: how far objects may start from their captured places; regions keep that much room around them
    """

    families: tuple[Family, ...] = ("lift", "place_region", "place_beside", "place_on", "place_into")
    targets_per_object: int = Field(default=2, ge=1)
    jitter_m: float = Field(default=0.03, ge=0.0)
    seed: int = 0


@stage(version="2", timeout_s=1800.0)
def tasks(workcell: Workcell, simscene: SimScene, simulator: Simulator, cfg: TasksConfig, out: Path) -> TaskSet:
    """Tasks that the geometry suggests and the arm can do, each with an instruction.

    Raises InfeasibleError when there is none.
    """
    from blueprint.skills.families import family
    from blueprint.skills.scene import TaskScene
    from blueprint.skills.wording import Wording

    scene = TaskScene.of(workcell, simulator, cfg.seed, jitter_m=cfg.jitter_m, pairs=cfg.targets_per_object)
    rng = np.random.default_rng(cfg.seed)
    wording = Wording.of(scene, _viewers_right(simscene))
    offers = [offer for name in cfg.families for offer in family(name).propose(scene, name, rng)]
    made: list[Task] = []
    refused: dict[str, str] = {}
    for offer in progress(offers, len(offers), "tasks"):
        if offer.goal is None:
            refused[offer.id] = offer.reason
            continue
        text = wording.of_goal(offer.object, offer.goal, rng)
        task = Task(id=offer.id, object=offer.object, goal=offer.goal, instruction=text)
        reason = why_not(scene, task, cfg.seed)
        if reason:
            refused[task.id] = reason
        else:
            made.append(task)
    if not made:
        raise InfeasibleError(
            f"{workcell.robot.title} can do nothing in this scene; e.g. {next(iter(refused.items()), 'no objects')}",
            "see `refused` in the tasks artifact of a wider choice of tasks.families, or bring graspable objects",
        )
    return TaskSet(tasks=_interleaved(made), refused=refused)


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
