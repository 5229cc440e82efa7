"""What task families read: the workcell with its robots, what stands in it, and how it can be grasped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from blueprint.backends.protocols import Simulator
from blueprint.geometry.transforms import transform_points
from blueprint.model.artifacts import Workcell
from blueprint.model.categories import named_category
from blueprint.model.scene import SceneBody
from blueprint.skills.cell import Cell
from blueprint.skills.grasping.antipodal import Grasp, available, sample_grasps
from blueprint.skills.grasping.approach import Approach
from blueprint.skills.grasping.solids import solid
from blueprint.skills.mounting import PANDA_REACH_M, WORKED_M
from blueprint.skills.primitives import Skills

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TaskScene:
    """bodies: everything that stands in the scene; reachable: free body -> whether some grasp of it is in reach.

    team: the skills of every arm, the first first; acting: index of the one that is asked
    jitter_m: how far objects may start from where they stand
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
    acting: int = 0
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
        return self.team[self.acting]

    @property
    def cell(self) -> Cell:
        return self.skills.cell

    def seen_by(self, arm: int) -> TaskScene:
        """The same scene, asked of another arm."""
        return self if arm == self.acting else replace(self, acting=arm)

    def near(self, name: str) -> TaskScene:
        """The scene as that arm sees it which reaches a free body easiest where it stands."""
        if len(self.team) == 1:
            return self
        spot = self.middle(name, self.cell.home_qpos)[None]
        return self.seen_by(max(range(len(self.team)), key=lambda k: self.ease(k, spot)))

    def middle(self, name: str, qpos: Array) -> Array:
        """(3,) of a body's bounding box in a state, world frame [m]."""
        points = transform_points(self.cell.pose(qpos, name), solid(self.cell.model, self.cell.body(name)).vertices)
        return (points.min(axis=0) + points.max(axis=0)) / 2

    def ease(self, arm: int, spots: Array) -> float:
        """How far the joints of an arm stay from their limits with its hand at the worst of some spots (N, 3).

        In [0, 1], less where the arm is stretched or folded (see `mounting.WORKED_M`); negative, and the less the
        farther it is, where the hand gets neither from above nor level.
        """
        skills = self.team[arm]
        base, found = np.array(skills.cell.robot.base.position), []
        for spot in spots:
            solved = (skills.arm.solve(tool, skills.arm.home) for tool in hand_poses(spot, base))
            margins = [skills.arm.margin(joints) for joints in solved if joints is not None]
            away = float(np.linalg.norm(spot - base))
            worked = float(np.interp(away, [0.0, *WORKED_M, PANDA_REACH_M], [0.0, 1.0, 1.0, 0.0]))
            found.append(worked * max(margins) if margins else -away)
        return min(found)

    @property
    def table(self) -> Array:
        """(K, 2) outline of the table."""
        return self.team[0].table

    def affords(self, name: str, *any_of: str) -> bool:
        """Whether a body's category is known for one of these affordances; yes where its category is not known."""
        known = named_category(self.bodies[name].category)
        return known is None or not {*any_of}.isdisjoint(known.affordances)

    def grasps(self, name: str, arm: int | None = None) -> tuple[Grasp, ...]:
        """Grasps of a free body for the hand of an arm (None = the acting one), best first, made once.

        () for one that is out of every arm's reach.
        """
        arm = self.acting if arm is None else arm
        if (arm, name) not in self._grasps:
            rng = np.random.default_rng([self.seed, self.cell.objects.index(name)])
            skills = self.team[arm]
            self._grasps[arm, name] = (
                sample_grasps(skills.cell, skills.gripper, name, self.cell.home_qpos, rng, samples=self.samples)
                if self.reachable.get(name)
                else ()
            )
        return self._grasps[arm, name]

    def ways_to(self, name: str, start: Array, arm: int | None = None) -> Iterator[Approach]:
        """Approaches of an arm (None = the acting one) to an object that nothing blocks in a state, best first."""
        skills = self.team[self.acting if arm is None else arm]
        free = available(skills.cell, skills.gripper, name, self.grasps(name, arm), start)
        return skills.ways(name, free, start)

    def why_not_grasped(self, name: str, start: Array) -> str:
        """Why no grasp of an object can be reached from a state, in words; "" if some can."""
        if next(self.ways_to(name, start), None) is not None:
            return ""
        return f"{name} cannot be grasped: too wide for the gripper or out of reach"


def hand_poses(spot: Array, base: Array) -> Iterator[Array]:
    """(4, 4) T_world_tool at a spot (3,): pointing down, and level away from a base (3,), in several turns."""
    yaw = float(np.arctan2(spot[1] - base[1], spot[0] - base[0]))
    down = Rotation.from_euler("x", np.pi)
    level = Rotation.from_euler("zy", [yaw, np.pi / 2])
    for facing, turns in ((down, 4), (level, 2)):
        for k in range(turns):
            T = np.eye(4)
            T[:3, :3] = (facing * Rotation.from_euler("z", k * np.pi / turns)).as_matrix()
            T[:3, 3] = spot
            yield T
