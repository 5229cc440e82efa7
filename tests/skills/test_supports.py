"""Laws of fixed supports: their levels, what is put on a board or into a bin or an open drawer, and who judges that."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from blueprint.backends.robots import mjcf as robot_mjcf
from blueprint.backends.simulator_mujoco import SimulatorMujoco
from blueprint.model.artifacts import Workcell
from blueprint.model.scene import SceneBody
from blueprint.model.spatial import Pose
from blueprint.model.task import Family, Goal, Task
from blueprint.skills.families import family
from blueprint.skills.goals import Evidence, judge
from blueprint.skills.rollout import Rollout
from blueprint.skills.scene import TaskScene
from blueprint.skills.supports import levels, walls
from blueprint.skills.wording import Wording
from toy_cell import panda

FPS = 15
OPEN_M = 0.16
FIXED = """
<body name="shelf_board_0" pos="0 0.25 0.15"><geom type="box" size="0.2 0.1 0.01"/></body>
<body name="shelf_board_1" pos="0 0.25 0.55"><geom type="box" size="0.2 0.1 0.01"/></body>
<body name="bin" pos="0.02 -0.28 0"><geom type="box" size="0.1 0.09 0.005" pos="0 0 0.005"/>
  <geom type="box" size="0.1 0.005 0.03" pos="0 0.09 0.03"/><geom type="box" size="0.1 0.005 0.03" pos="0 -0.09 0.03"/>
  <geom type="box" size="0.005 0.09 0.03" pos="0.1 0 0.03"/><geom type="box" size="0.005 0.09 0.03" pos="-0.1 0 0.03"/>
</body>
<body name="chest" pos="0.25 0 0"><geom type="box" size="0.12 0.11 0.01" pos="0 0 0.14"/>
  <geom type="box" size="0.12 0.005 0.07" pos="0 0.105 0.07"/>
  <geom type="box" size="0.12 0.005 0.07" pos="0 -0.105 0.07"/>
  <body name="chest_drawer" pos="0 0 0.02"><joint name="slide" type="slide" axis="-1 0 0" range="0 0.18" damping="3"
      frictionloss="1"/><geom type="box" size="0.1 0.09 0.004" mass="0.3"/>
    <geom type="box" size="0.1 0.004 0.03" pos="0 0.09 0.03" mass="0.1"/>
    <geom type="box" size="0.1 0.004 0.03" pos="0 -0.09 0.03" mass="0.1"/>
    <geom type="box" size="0.004 0.09 0.03" pos="0.1 0 0.03" mass="0.1"/>
    <geom type="box" size="0.004 0.09 0.03" pos="-0.1 0 0.03" mass="0.1"/>
    <geom type="box" size="0.015 0.03 0.006" pos="-0.118 0 0.04" mass="0.05"/></body></body>"""
SIZE, AT = (0.04, 0.05, 0.07), (-0.2, 0.0, 0.035)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> TaskScene:
    return scene_of(tmp_path_factory.mktemp("shelf"))


def scene_of(out: Path) -> TaskScene:
    """A block before two boards, a bin and a chest with a drawer; the arm on the other side."""
    x, y, z = (side / 2 for side in SIZE)
    (out / "scene.xml").write_text(
        '<mujoco><option integrator="implicitfast" cone="elliptic" impratio="50"/><worldbody>'
        '<body name="table"><geom type="box" size="0.5 0.5 0.02" pos="0 0 -0.02"/></body>'
        f'<body name="block" pos="{AT[0]} {AT[1]} {AT[2]}"><freejoint name="block"/>'
        f'<geom type="box" size="{x} {y} {z}" mass="0.15"/></body>{FIXED}</worldbody></mujoco>'
    )
    T = np.eye(4)
    T[0, 3] = -0.6
    arm = robot_mjcf.mount(out / "scene.xml", panda(), T, 0.7, out)
    common = {"mass_kg": 1.0, "pose": Pose(), "collider_count": 1}
    chest = {"anchored": True, "joints": ("slide",)}
    bodies = tuple(
        SceneBody.model_validate({"name": n, "text": n, "prim_path": f"/{n}", "dims_m": size, **common, **more})
        for n, size, more in (("block", SIZE, {}), ("chest", (0.24, 0.22, 0.15), chest))
    )
    edge = ((-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5))
    made = Workcell(robot=arm, bodies=bodies, cameras=(), table_polygon=edge, reachable={"block": True}).save(out)
    return TaskScene.of(made, SimulatorMujoco(), 0)


def drawn_out(scene: TaskScene) -> np.ndarray:
    qpos = scene.cell.home_qpos
    qpos[scene.cell.model.jnt_qposadr[scene.cell.joint("slide")]] = OPEN_M
    return qpos


def offered(scene: TaskScene, name: Family) -> dict[str, Goal | str]:
    offers = family(name).propose(scene, name, np.random.default_rng(0))
    return {offer.id: offer.reason if offer.goal is None else offer.goal for offer in offers}


def test_levels_are_where_the_boards_are(scene: TaskScene) -> None:
    qpos = scene.cell.home_qpos
    found = {name: [(lv.height, lv.walled) for lv in levels(scene.cell, name, qpos)] for name in scene.cell.fixed}
    assert set(found) == {"shelf_board_0", "shelf_board_1", "bin", "chest", "chest_drawer"}
    expected = {"shelf_board_0": 0.16, "bin": 0.01, "chest": 0.15, "chest_drawer": 0.024}
    for name, height in expected.items():
        ((seen, walled),) = found[name]
        assert seen == pytest.approx(height, abs=1e-6) and walled == (name in ("bin", "chest_drawer"))


def test_a_level_moves_with_its_drawer(scene: TaskScene) -> None:
    shut, out = (levels(scene.cell, "chest_drawer", q)[0] for q in (scene.cell.home_qpos, drawn_out(scene)))
    assert out.height == pytest.approx(shut.height)
    assert shut.spots.min(axis=0) - out.spots.min(axis=0) == pytest.approx([OPEN_M, 0.0], abs=1e-9)


def test_what_fits_is_offered_and_a_closed_drawer_is_refused_with_its_joint(scene: TaskScene) -> None:
    on, into = offered(scene, "place_on"), offered(scene, "place_into")
    assert on["place_on-block-shelf_board_0"] == Goal(family="place_on", target="shelf_board_0", height_m=0.16)
    assert into["place_into-block-bin"] == Goal(family="place_into", target="bin", height_m=0.01)
    assert into["place_into-block-chest_drawer"] == "chest_drawer is closed: open slide first"


def test_an_arm_would_stand_in_every_piece_near_the_table(scene: TaskScene) -> None:
    middles = np.array([ring.mean(axis=0) for ring, _, _ in walls(scene.cell)])
    for spot in ((0.0, 0.25), (0.25, 0.0), (0.12, -0.28)):
        assert np.linalg.norm(middles - np.array(spot), axis=1).min() < 0.02


def test_boards_of_one_name_are_told_apart_by_height(scene: TaskScene) -> None:
    wording = Wording.of(scene, np.array([1.0, 0.0]))
    assert wording.spoken["shelf_board_0"] == "lower shelf board"
    assert wording.spoken["shelf_board_1"] == "upper shelf board"
    assert wording.spoken["chest_drawer"] == "drawer of the chest"


@pytest.mark.parametrize(
    ("name", "target", "height"),
    [("place_on", "shelf_board_0", 0.16), ("place_into", "bin", 0.01), ("place_into", "chest_drawer", 0.024)],
)
def test_what_is_put_there_is_accepted_there_and_nowhere_else(
    scene: TaskScene, name: Family, target: str, height: float
) -> None:
    start, rng = drawn_out(scene), np.random.default_rng(0)
    asked = Task(id="t", object="block", goal=Goal(family=name, target=target, height_m=height), instruction="")
    way = next(family(name).ways(scene, asked, start, rng))
    rollout = Rollout(scene.simulator.open(scene.cell.file, start), scene.cell, FPS)
    way.run(rollout)
    arrays, cell = rollout.arrays(), scene.cell
    seen = Evidence(cell.model, cell.robots, cell.objects, arrays["qpos"], arrays["contacts"], arrays["force"], FPS)
    verdict = judge(asked, seen)
    assert verdict.success, verdict.detail
    for other in {"shelf_board_0", "bin", "chest_drawer", "chest"} - {target}:
        goal = asked.goal.model_copy(update={"target": other})
        assert not judge(asked.model_copy(update={"goal": goal}), seen).success
    wrong = asked.goal.model_copy(update={"height_m": height + 0.05})
    assert judge(asked.model_copy(update={"goal": wrong}), seen).success == (name == "place_into")


def test_a_chain_opens_a_drawer_fills_it_and_shuts_it(scene: TaskScene) -> None:
    offers = family("chain").propose(scene, "chain", np.random.default_rng(0))
    asked = next(Task(id=o.id, object=o.object, goal=o.goal, instruction="") for o in offers if o.goal is not None)
    assert [step.goal.family for step in asked.steps] == ["open", "place_into", "close"]
    start, rng = scene.cell.home_qpos, np.random.default_rng(0)
    way = next(family("chain").ways(scene, asked, start, rng))
    rollout = Rollout(scene.simulator.open(scene.cell.file, start), scene.cell, FPS)
    way.run(rollout)
    arrays, cell = rollout.arrays(), scene.cell
    seen = Evidence(cell.model, cell.robots, cell.objects, arrays["qpos"], arrays["contacts"], arrays["force"], FPS)
    verdict = judge(asked, seen)
    assert verdict.success, verdict.detail
    slid = seen.qpos.copy()
    slid[-FPS:, scene.cell.object_qpos["block"] + 1] += 0.03
    verdict = judge(asked, replace(seen, qpos=slid))
    assert verdict.cause == "disturbed" and "in the part" in verdict.detail
