"""What task families read: the workcell with its robots, what stands in it, and how it can be grasped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from blueprint.backends.protocols import Simulator
from blueprint.model.artifacts import Workcell
from blueprint.model.scene import SceneBody
from blueprint.skills.cell import Cell
from blueprint.skills.grasping.antipodal import Grasp, available, sample_grasps
from blueprint.skills.grasping.approach import Approach
from blueprint.skills.primitives import Skills

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TaskScene:
    """bodies: everything that stands in the scene; reachable: free body -> whether some grasp of it is in reach.

    team: the skills of every arm, the first first; jitter_m: how far objects may start from where they stand
    pairs: other objects that one object is brought to, per family; samples: surface points that grasps start from
    """

    team: tuple[Skills, ...]
    bodies: dict[str, SceneBody]
    reachable: dict[str, bool]
    simulator: Simulator
    jitter_m: float = 0.0
    pairs: int = 2
    samples: int = 160
    seed: int = 0
    _grasps: dict[tuple[int, str], tuple[Grasp, ...]] = field(default_factory=dict)

    @staticmethod
    def of(
        workcell: Workcell,
        simulator: Simulator,
        seed: int,
        *,
        jitter_m: float = 0.0,
        pairs: int = 2,
        samples: int = 160,
        file: Path | None = None,
    ) -> TaskScene:
        """file: an MJCF in place of the workcell's own, with the same robots and the same layout of qpos."""
        cell = Cell.load(file or workcell.path(workcell.mjcf), workcell.robots, workcell.objects)
        team = tuple(Skills.of(view, np.array(workcell.table_polygon)) for view in cell.views)
        bodies = {body.name: body for body in workcell.bodies}
        return TaskScene(
            team, bodies, workcell.reachable, simulator, jitter_m=jitter_m, pairs=pairs, samples=samples, seed=seed
        )

    @property
    def skills(self) -> Skills:
        return self.team[0]

    @property
    def cell(self) -> Cell:
        return self.team[0].cell

    @property
    def table(self) -> Array:
        """(K, 2) outline of the table."""
        return self.team[0].table

    def grasps(self, name: str, arm: int = 0) -> tuple[Grasp, ...]:
        """Grasps of a free body for the hand of an arm, best first, made once; () for one that is out of reach."""
        if (arm, name) not in self._grasps:
            rng = np.random.default_rng([self.seed, self.cell.objects.index(name)])
            skills = self.team[arm]
            self._grasps[arm, name] = (
                sample_grasps(skills.cell, skills.gripper, name, self.cell.home_qpos, rng, samples=self.samples)
                if self.reachable.get(name)
                else ()
            )
        return self._grasps[arm, name]

    def ways_to(self, name: str, start: Array, arm: int = 0) -> Iterator[Approach]:
        """Approaches of an arm to an object from a state that nothing blocks, best grasp first."""
        skills = self.team[arm]
        free = available(skills.cell, skills.gripper, name, self.grasps(name, arm), start)
        return skills.ways(name, free, start)

    def why_not_grasped(self, name: str, start: Array) -> str:
        """Why no grasp of an object can be reached from a state, in words; "" if some can."""
        if next(self.ways_to(name, start), None) is not None:
            return ""
        return f"{name} cannot be grasped: too wide for the gripper or out of reach"
