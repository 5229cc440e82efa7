"""Tasks: what this robot can be asked to do in this scene."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from blueprint.core.artifact import Config
from blueprint.core.errors import InfeasibleError
from blueprint.core.report import progress
from blueprint.core.stage import stage
from blueprint.model.artifacts import SimScene, TaskSet, Workcell
from blueprint.model.task import Family, Task

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from blueprint.skills.approach import Approach
    from blueprint.skills.cell import Cell
    from blueprint.skills.grasp import Grasp

SCENE_CAMERA = "scene"
WAYS_TRIED = 6  # grasps per task before it counts as out of reach


class TasksConfig(Config):
    """families: kinds of task; targets_per_object: other objects that one object is brought to, per family.

    jitter_m: how far objects may start from their captured places; regions keep that much room around them
    """

    families: tuple[Family, ...] = ("lift", "place_region", "place_beside", "place_on", "place_into")
    targets_per_object: int = Field(default=2, ge=1)
    jitter_m: float = Field(default=0.03, ge=0.0)
    seed: int = 0


@stage(version="1", timeout_s=900.0)
def tasks(workcell: Workcell, simscene: SimScene, cfg: TasksConfig, out: Path) -> TaskSet:
    """Tasks that the geometry suggests and the arm can do, each with an instruction.

    Raises InfeasibleError when there is none.
    """
    from blueprint.skills.cell import Cell
    from blueprint.skills.proposals import proposals
    from blueprint.skills.wording import instruction, spoken_names

    rng = np.random.default_rng(cfg.seed)
    cell = Cell.load(workcell.path(workcell.mjcf), workcell.robot, workcell.objects)
    polygon, right = np.array(workcell.table_polygon), _viewers_right(simscene)
    offered = list(proposals(cell, polygon, cfg.jitter_m, cfg.families, cfg.targets_per_object, rng))
    positions = {name: cell.pose(cell.home_qpos, name)[:2, 3] for name in cell.objects}
    spoken = spoken_names({body.name: body.text for body in workcell.bodies}, positions, right)
    feasible = _Feasibility(cell, polygon, workcell.reachable, cfg.seed)
    made: list[Task] = []
    refused: dict[str, str] = {}
    for offer in progress(offered, len(offered), "tasks"):
        if offer.goal is None:
            refused[offer.id] = offer.reason
            continue
        text = instruction(offer.goal, offer.object, spoken, polygon, right, rng)
        task = Task(id=offer.id, object=offer.object, goal=offer.goal, instruction=text)
        reason = feasible.why_not(task)
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


class _Feasibility:
    """Asks the arm, grasps of each object computed once."""

    def __init__(self, cell: Cell, table: NDArray[np.float64], reachable: dict[str, bool], seed: int) -> None:
        from blueprint.skills.grasp import available, sample_grasps
        from blueprint.skills.primitives import Skills

        self._skills, self._qpos, self._seed = Skills.of(cell, table), cell.home_qpos, seed
        gripper, rng = self._skills.gripper, np.random.default_rng(seed)
        self._ways = {}
        for name in cell.objects:
            grasps = sample_grasps(cell, gripper, name, self._qpos, rng) if reachable.get(name) else ()
            free = available(cell, gripper, name, grasps, self._qpos)
            self._ways[name] = self._first_ways(name, free, self._qpos)
            if not self._ways[name]:  # hemmed in where it stands: starts will vary until it is not
                self._ways[name] = self._first_ways(name, grasps, cell.alone(name))

    def _first_ways(self, name: str, grasps: Iterable[Grasp], qpos: NDArray[np.float64]) -> list[Approach]:
        return [way for way, _ in zip(self._skills.ways(name, grasps, qpos), range(WAYS_TRIED), strict=False)]

    def why_not(self, task: Task) -> str:
        """Why the task is out of reach, or ""."""
        ways = self._ways[task.object]
        if not ways:
            return f"{task.object} cannot be grasped: too wide for the gripper or out of reach"
        for way in ways:
            if self._skills.can_place(task, way, self._qpos, np.random.default_rng(self._seed)):
                return ""
        return "no place of the goal is in reach with any grasp"
