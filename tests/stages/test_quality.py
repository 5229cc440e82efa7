"""Laws of quality and diversity: every term is measured, more of the same adds nothing, what is missing is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import toy_whole
from blueprint.model.artifacts import Quality
from blueprint.model.quality import WEIGHTS, Diversity, Term
from blueprint.stages.quality import QualityConfig, diversity, quality, rated
from blueprint.stages.quality.pictures import sharpness


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> toy_whole.Made:
    return toy_whole.make_all(tmp_path_factory.mktemp("toy"))


def term(measured: float, group: str = "task", good: float = 1.0, bad: float = 0.0) -> Term:
    return Term(name="x", group=group, text="", measured=measured, unit="", good=good, bad=bad)  # type: ignore[arg-type]


def test_a_term_is_worth_what_its_ramp_says() -> None:
    assert [term(value).score for value in (-1.0, 0.0, 0.25, 1.0, 7.0)] == [0.0, 0.0, 0.25, 1.0, 1.0]
    assert [term(value, good=0.5, bad=1.5).score for value in (0.4, 1.0, 2.0)] == [1.0, 0.5, 0.0]


def test_groups_weigh_as_documented_and_an_absent_one_counts_for_nothing() -> None:
    assert sum(WEIGHTS.values()) == pytest.approx(1)
    whole = rated(0, [term(1.0, group) for group in WEIGHTS])
    assert whole.score == pytest.approx(1)
    bad_task = rated(0, [term(0.0 if group == "task" else 1.0, group) for group in WEIGHTS])
    assert bad_task.score == pytest.approx(0.7)
    assert rated(0, [term(0.5, "visual"), term(1.0, "visual")]).score == pytest.approx(0.75)


def test_every_recorded_episode_is_rated_from_its_own_files(made: toy_whole.Made) -> None:
    found: Quality = made["quality"]
    assert [one.index for one in found.episodes] == [one.index for one in made["recording"].episodes]
    for one in found.episodes:
        names = {term.name for term in one.terms}
        assert {"speed", "jerk", "servo_lag", "contact_force", "goal_margin", "sharpness", "object_in_view"} <= names
        assert all(np.isfinite(term.measured) for term in one.terms) and 0 <= one.score <= 1
    assert found.score == pytest.approx(np.mean([one.score for one in found.episodes]))


def test_same_files_same_figures(made: toy_whole.Made, tmp_path: Path) -> None:
    again = quality.function(made["workcell"], made["episodes"], made["recording"], QualityConfig(), tmp_path)
    assert again.model_dump() == made["quality"].model_dump()


def test_a_blurred_picture_is_less_sharp() -> None:
    import cv2

    rng = np.random.default_rng(0)
    picture = rng.integers(0, 255, (64, 64, 3)).astype(np.uint8)
    assert sharpness(np.asarray(cv2.GaussianBlur(picture, (0, 0), 2.0), np.uint8)) < 0.1 * sharpness(picture)


def line(offset: float) -> np.ndarray:
    return np.linspace(0, 1, 32)[:, None] * [1.0, 0.0, 0.0] + [0.0, offset, 0.0]


def test_novelty_is_the_distance_to_the_nearest_of_the_same_task() -> None:
    paths = {0: line(0.0), 1: line(0.01), 2: line(0.5), 3: line(0.0)}
    found = diversity.novelty({0: "a", 1: "a", 2: "a", 3: "b"}, paths)
    assert found[0] == pytest.approx(0.01) and found[2] == pytest.approx(0.49) and found[3] is None


def test_balance_is_one_when_all_are_alike_and_zero_when_one_has_all() -> None:
    assert diversity._balance([5, 5, 5]) == pytest.approx(1) and diversity._balance([9, 0, 0]) == 0
    assert diversity._balance([7]) == 1


def full(**changes: object) -> Diversity:
    good = {
        "episodes": 100, "trajectory_variance": 0.1, "cell_m": 0.05, "start_coverage": 0.8, "goal_coverage": 0.8,
        "start_cells": (), "goal_cells": (), "empty_cells": (), "viewpoints": {"scene": 9}, "lighting_variance": 0.01,
        "object_episodes": {"a": 50, "b": 50}, "task_episodes": {"t": 100}, "object_balance": 1.0,
        "failure_causes": {"dropped": 3}, "action_entropy": 3.0, "near_duplicates": (), "gaps": (),
    }  # fmt: skip
    return Diversity.model_validate(good | changes)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({}, None),
        ({"start_coverage": 0.1}, "starts"),
        ({"goal_coverage": 0.1}, "goals"),
        ({"object_episodes": {"a": 100, "b": 2}}, "objects"),
        ({"viewpoints": {"scene": 1}}, "viewpoints"),
        ({"lighting_variance": 0.0}, "lighting"),
        ({"near_duplicates": ((0, 1),)}, "duplicates"),
        ({"failure_causes": {}}, "failures"),
    ],
)
def test_what_is_missing_is_named(changes: dict, what: str | None) -> None:
    assert [gap.what for gap in diversity.gaps(full(**changes))] == ([what] if what else [])


def test_every_recommended_setting_exists() -> None:
    from blueprint.core import settings
    from blueprint.pipeline import STAGES

    worst = full(
        start_coverage=0.0, goal_coverage=0.0, viewpoints={"scene": 1}, lighting_variance=0.0,
        near_duplicates=((0, 1),), failure_causes={}, object_episodes={"a": 9, "b": 0},
    )  # fmt: skip
    for gap in diversity.gaps(worst):
        sets = [f"{name}={value}" for name, value in gap.settings.items()]
        settings.load(STAGES, sets=["run.simulator=mujoco", *sets], environ={})
