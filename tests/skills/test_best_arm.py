"""Laws of choosing an arm: what one alone reaches it does, others rest or give way, refusals tell who was asked."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from bench.episodes.two_arms import Part, Thing

from blueprint.model.episode import Attempt
from blueprint.model.task import Goal, Step, Task
from blueprint.skills.attempt import attempt
from blueprint.skills.families import family
from blueprint.skills.replay import judged
from blueprint.skills.rollout import Rollout
from blueprint.skills.scene import TaskScene
from toy_pair import two_pandas

FPS = 15
LEFT, RIGHT = (Thing(name, (Part((0.02, 0.03, 0.04)),), 0.2, (x, 0.0)) for name, x in (("left", -0.3), ("right", 0.3)))
ARM = {"left": "robot", "right": "robot2"}
LIFT = Goal(family="lift", height_m=0.08)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> TaskScene:
    """Each thing is out of the other arm's reach."""
    return two_pandas(tmp_path_factory.mktemp("pair"), (LEFT, RIGHT), 0.75)


def task(name: str, goal: Goal) -> Task:
    return Task(id="t", object=name, goal=goal, instruction="")


def done(scene: TaskScene, asked: Task) -> tuple[Attempt, Rollout]:
    rng, start = np.random.default_rng(0), scene.cell.home_qpos
    way = next(family(asked.goal.family).ways(scene, asked, start, rng))
    rollout = Rollout(scene.simulator.open(scene.cell.file, start), scene.cell, FPS)
    return attempt(scene, asked, way, rollout, partial(judged, asked), rng), rollout


@pytest.mark.parametrize("name", ["left", "right"])
def test_what_one_arm_reaches_it_does_alone(scene: TaskScene, name: str) -> None:
    made, rollout = done(scene, task(name, LIFT))
    assert made.success, made.detail
    assert made.arms == (ARM[name],)
    still = next(view.columns for view in scene.cell.views if view.called != ARM[name])
    actions = rollout.arrays()["action"]
    np.testing.assert_array_equal(actions[:, still], np.tile(actions[0, still], (len(actions), 1)))


def test_regions_lie_where_the_arm_of_the_object_works(scene: TaskScene) -> None:
    offers = family("place_region").propose(scene, "place_region", np.random.default_rng(0))
    for offer in offers:
        assert offer.goal is not None and offer.goal.center is not None
        assert np.sign(offer.goal.center[0]) == np.sign({"left": -1, "right": 1}[offer.object])


def test_arms_act_in_turn_and_give_way(scene: TaskScene) -> None:
    middle = Goal(family="place_region", center=(-0.1, 0.02), radius_m=0.05)
    beside = Goal(family="place_beside", target="left", radius_m=0.06)
    asked = task(
        "left", Goal(family="chain", steps=(Step(object="left", goal=middle), Step(object="right", goal=beside)))
    )
    made, rollout = done(scene, asked)
    assert made.success, made.detail
    assert made.arms == ("robot", "robot2")
    np.testing.assert_allclose(rollout.view(0).commanded, scene.cell.robot.home, atol=1e-3)


def test_a_refusal_tells_who_was_asked(scene: TaskScene) -> None:
    known, here = family("lift"), scene.cell.home_qpos
    far = scene.cell.pose(here, "left")
    far[1, 3] = 1.2
    away = scene.cell.with_pose(here, "left", far)
    assert next(known.ways(scene, task("left", LIFT), away, np.random.default_rng(0)), None) is None
    assert known.why_none(scene, task("left", LIFT), away).endswith("out of reach (asked: robot, robot2)")
