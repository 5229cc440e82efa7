"""How good the episodes are and how different from each other, in figures that were measured."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from blueprint.core.artifact import Model
from blueprint.model.spatial import Vec2

Group = Literal["trajectory", "task", "visual", "sim2real", "diversity"]

# shares of the overall score; the earlier system's
WEIGHTS: dict[Group, float] = {"trajectory": 0.30, "task": 0.30, "visual": 0.20, "sim2real": 0.15, "diversity": 0.05}


class Term(Model):
    """One measured value and what it is worth: 1 at `good` and beyond, 0 at `bad` and beyond, linear between."""

    name: str
    group: Group | Literal["training"]  # of an episode, or of all of them
    text: str
    measured: float
    unit: str
    good: float
    bad: float

    @property
    def score(self) -> float:
        return min(1.0, max(0.0, (self.measured - self.bad) / (self.good - self.bad)))


class EpisodeQuality(Model):
    """index: of `EpisodeRecord`; groups: mean score of each group's terms; score: their weighted mean, in [0, 1]."""

    index: int
    terms: tuple[Term, ...]
    groups: dict[Group, float]
    score: float


class Gap(Model):
    """Where the data has nothing or little, and what fills it.

    what: the kind of gap; text: in words; settings: section.key -> value that `blueprint run --fill-gaps` adds
    """

    what: Literal["starts", "goals", "objects", "tasks", "viewpoints", "lighting", "duplicates", "failures"]
    text: str
    settings: dict[str, str] = Field(default_factory=dict)


class Diversity(Model):
    """What a batch of episodes covers.

    trajectory_variance: mean over time of the variance of tool positions between episodes of a task [m^2]
    start_coverage, goal_coverage: share of the cells (side `cell_m`) of the area in reach in which things start and end
    start_cells, goal_cells: middles of the cells that have something; empty_cells: of those that nothing reached (xy)
    viewpoints: distinct camera poses (5 cm, 5 deg) per camera; lighting_variance: of the mean brightness, in [0, 1]
    object_episodes, task_episodes, failure_causes: how often each
    object_balance: entropy over its maximum, in [0, 1]; action_entropy: of quantised actions [bit per dimension]
    near_duplicates: pairs of episodes of a task whose motion differs by less than 5 mm on average
    """

    episodes: int
    trajectory_variance: float
    cell_m: float
    start_coverage: float
    goal_coverage: float
    start_cells: tuple[Vec2, ...]
    goal_cells: tuple[Vec2, ...]
    empty_cells: tuple[Vec2, ...]
    viewpoints: dict[str, int]
    lighting_variance: float
    object_episodes: dict[str, int]
    task_episodes: dict[str, int]
    object_balance: float
    failure_causes: dict[str, int]
    action_entropy: float
    near_duplicates: tuple[tuple[int, int], ...]
    gaps: tuple[Gap, ...]
