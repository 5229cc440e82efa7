"""Laws of two arms on one object: passed on in the air, carried level; the judge tells one from the other."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from bench.episodes.two_arms import Part, Thing

from blueprint.model.task import Family, Goal, Task
from blueprint.skills.families import family
from blueprint.skills.goals import Evidence, Verdict, judge
from blueprint.skills.goals.two_arms import _shortest_phase
from blueprint.skills.primitives import SkillError
from blueprint.skills.rollout import Rollout
from blueprint.skills.scene import TaskScene
from toy_pair import two_pandas

FPS = 15
PLANK = Thing("plank", (Part((0.14, 0.02, 0.02)),), 0.5, (0.0, 0.0), 90)
GOALS: dict[Family, tuple[float, float]] = {"handover": (0.0, -0.3), "carry": (0.0, 0.2)}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> TaskScene:
    return two_pandas(tmp_path_factory.mktemp("pair"), (PLANK,), 0.55)


def task(name: Family) -> Task:
    return Task(id=name, object="plank", goal=Goal(family=name, center=GOALS[name], radius_m=0.05), instruction=name)


def done(scene: TaskScene, name: Family) -> Evidence:
    rng, start = np.random.default_rng(0), scene.cell.home_qpos
    for way in itertools.islice(family(name).ways(scene, task(name), start, rng), 4):
        rollout = Rollout(scene.simulator.open(scene.cell.file, start), scene.cell, FPS)
        try:
            way.run(rollout)
        except SkillError:
            continue
        break
    else:
        pytest.fail(f"no way to {name}")
    arrays = rollout.arrays()
    return Evidence(
        scene.cell.model, scene.cell.robots, ("plank",), arrays["qpos"], arrays["contacts"], arrays["force"], FPS
    )


def judged(evidence: Evidence, name: Family) -> Verdict:
    return judge(task(name), evidence)


@pytest.mark.parametrize(("name", "other"), [("handover", "carry"), ("carry", "handover")])
def test_what_was_done_is_accepted_as_that_and_as_nothing_else(scene: TaskScene, name: Family, other: Family) -> None:
    evidence = done(scene, name)
    verdict = judged(evidence, name)
    assert verdict.success, verdict.detail
    goal = Goal(family=other, center=GOALS[name], radius_m=0.05)
    wrong = judge(Task(id="x", object="plank", goal=goal, instruction=""), evidence)
    assert not wrong.success and wrong.cause == "grasp_missed"


def test_a_handover_needs_all_three_holds_in_one_flight() -> None:
    one = np.array([1, 1, 1, 1, 1, 0, 0, 0, 0], dtype=bool)
    other = np.array([0, 0, 0, 1, 1, 1, 1, 1, 0], dtype=bool)
    air = np.ones(9, dtype=bool)
    assert _shortest_phase(one, other, air) == 2
    assert _shortest_phase(other, one, air) == 0  # the other way round it did not happen
    assert _shortest_phase(one, one & other, air) == 0  # never alone in the other hand
    set_down = air.copy()
    set_down[4] = False
    assert _shortest_phase(one, other, set_down) == 0
