"""Hands on joints and things: what a part is, what blocks it, and that strokes do in physics what they plan."""

from __future__ import annotations

from pathlib import Path

import mujoco
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
from blueprint.skills.joints.parts import Jointed
from blueprint.skills.rollout import Rollout
from blueprint.skills.scene import TaskScene
from blueprint.skills.variation.start import varied_start
from blueprint.stages.tasks import TasksConfig, offers_of
from toy_cell import panda

SIZES = {"box": (0.12, 0.1, 0.06), "slab": (0.1, 0.1, 0.012)}
AT = {"box": (-0.2, 0.24, 0.03), "slab": (-0.3, -0.36, 0.006)}
FIXED = """<body name="desk" pos="0.1 0.05 0.12"><geom type="box" size="0.1 0.16 0.12" pos="0.02 0 0"/>
  <body name="desk_drawer" pos="-0.09 -0.08 0.02"><joint name="slide" type="slide" axis="-1 0 0" range="0 0.15"
      damping="3" frictionloss="1"/><geom type="box" size="0.008 0.06 0.05" mass="0.5"/>
    <geom type="box" size="0.016 0.03 0.008" pos="-0.02 0 0" mass="0.05"/></body>
  <body name="desk_knob" pos="-0.09 0.06 0.05"><joint name="dial" type="hinge" axis="1 0 0" range="-2 2" damping="0.01"
      frictionloss="0.02"/><geom type="box" size="0.016 0.006 0.02" pos="-0.02 0 0" mass="0.03"/></body>
  <body name="desk_key" pos="-0.09 0.06 -0.05"><joint name="button" type="slide" axis="1 0 0" range="0 0.008"
      stiffness="300" damping="3"/><geom type="box" size="0.01 0.012 0.012" pos="-0.006 0 0" mass="0.02"/></body>
  </body>"""


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> TaskScene:
    return scene_of(tmp_path_factory.mktemp("desk"), base_x=-0.55)


def scene_of(out: Path, base_x: float) -> TaskScene:
    """A desk with a drawer, a knob and a button, a box and a slab on a table; the arm before it."""
    free = "".join(
        f'<body name="{name}" pos="{AT[name][0]} {AT[name][1]} {AT[name][2]}"><freejoint name="{name}"/>'
        f'<geom type="box" size="{x / 2} {y / 2} {z / 2}" mass="0.3"/></body>'
        for name, (x, y, z) in SIZES.items()
    )
    (out / "scene.xml").write_text(
        '<mujoco><option integrator="implicitfast" cone="elliptic" impratio="50"/><worldbody>'
        '<body name="table"><geom type="box" size="0.45 0.45 0.02" pos="0 0 -0.02"/></body>'
        f"{free}{FIXED}</worldbody></mujoco>"
    )
    T = np.eye(4)
    T[0, 3] = base_x
    arm = robot_mjcf.mount(out / "scene.xml", panda(), T, 0.7, out)
    rest = {"anchored": True, "joints": ("slide", "dial", "button")}
    made_of = [*((name, size, {}) for name, size in SIZES.items()), ("desk", (0.2, 0.32, 0.24), rest)]
    common = {"mass_kg": 1.0, "pose": Pose(), "collider_count": 1}
    bodies = tuple(
        SceneBody.model_validate(
            {"name": name, "text": name, "prim_path": f"/{name}", "dims_m": size, **common, **more}
        )
        for name, size, more in made_of
    )
    edge = ((-0.45, -0.45), (0.45, -0.45), (0.45, 0.45), (-0.45, 0.45))
    made = Workcell(
        robot=arm,
        bodies=bodies,
        cameras=(),
        table_polygon=edge,
        reachable=dict.fromkeys(SIZES, True),
    ).save(out)
    return TaskScene.of(made, SimulatorMujoco(), 0, jitter_m=0.01)


def proposed(scene: TaskScene, name: Family) -> dict[str, Task | str]:
    """Task of every id, or why there is none."""
    offers = family(name).propose(scene, name, np.random.default_rng(0))
    return {
        o.id: o.reason if o.goal is None else Task(id=o.id, object=o.object, goal=o.goal, instruction="")
        for o in offers
    }


@pytest.mark.parametrize(
    ("name", "task"),
    [("open", "slide"), ("close", "slide"), ("turn", "dial"), ("press", "button"), ("push", "box")],
)
def test_what_is_proposed_can_be_done(scene: TaskScene, name: Family, task: str) -> None:
    asked = proposed(scene, name)[f"{name}-{task}"]
    assert isinstance(asked, Task), asked
    known, rng, cell = family(name), np.random.default_rng(4), scene.cell
    start, way = None, None
    while way is None:  # the stage too varies the start until there is a way
        base = known.arrange(scene, asked, cell.home_qpos, rng)
        start = varied_start(cell, scene.table, scene.simulator, rng, 0.01, 0.1, base=base)
        assert start is not None
        way = next(known.ways(scene, asked, start, rng), None)
    assert start is not None
    rollout = Rollout(scene.simulator.open(cell.file, start), cell, 15)
    way.run(rollout)
    arrays = rollout.arrays()
    verdict = judge(
        asked,
        Evidence(cell.model, cell.robots, cell.objects, arrays["qpos"], arrays["contacts"], arrays["force"], 15),
    )
    assert verdict.success, f"{verdict.cause}: {verdict.detail}"


def test_joints_are_told_apart_by_what_they_do(scene: TaskScene) -> None:
    kinds = {part.joint: part.kind for part in Jointed.parts_of(scene.cell, scene.bodies["desk"])}
    assert kinds == {"slide": "panel", "dial": "dial", "button": "button"}


def test_a_part_follows_its_joint(scene: TaskScene) -> None:
    """Its pose is MuJoCo's, and what `moves` says is the derivative of it."""
    for part in Jointed.parts_of(scene.cell, scene.bodies["desk"]):
        qpos, small = scene.cell.home_qpos, 1e-6
        a, b = part.points(part.at(qpos, 0.002)), part.points(part.at(qpos, 0.002 + small))
        np.testing.assert_allclose((b - a) / small, part.moves(part.at(qpos, 0.002), a), atol=1e-5)
        data = mujoco.MjData(scene.cell.model)
        data.qpos[:] = part.at(qpos, 0.003)
        mujoco.mj_kinematics(scene.cell.model, data)
        np.testing.assert_allclose(part.pose(data.qpos)[:3, 3], data.xpos[part.body], atol=1e-12)


def test_what_stands_before_a_drawer_is_named(scene: TaskScene) -> None:
    cell = scene.cell
    part = Jointed(cell, "desk", "slide")
    T = np.eye(4)
    T[:3, 3] = [-0.15, -0.03, 0.12]
    blocked = cell.with_pose(cell.home_qpos, "box", T)
    assert part.in_the_way(cell.home_qpos, 0.12) == ""
    assert part.in_the_way(blocked, 0.12) == "box"
    goal = Goal(family="open", joint="slide", value=0.12)
    task = Task(id="t", object="desk", goal=goal, instruction="")
    known, rng = family("open"), np.random.default_rng(0)
    assert next(known.ways(scene, task, blocked, rng), None) is None
    assert "box is in the way" in known.why_none(scene, task, blocked)


def test_what_is_too_flat_to_push_is_refused(scene: TaskScene) -> None:
    assert "too flat" in str(proposed(scene, "push")["push-slab"])


def test_what_is_out_of_reach_is_refused(tmp_path: Path) -> None:
    reason = proposed(scene_of(tmp_path, base_x=-1.3), "press")["press-button"]
    assert isinstance(reason, str) and "reach" in reason


def test_a_policy_about_doors_refuses_drawers(scene: TaskScene) -> None:
    (refused,) = offers_of(scene, "open", TasksConfig(policy="door_manipulation"), np.random.default_rng(0))
    assert refused.goal is None and refused.reason == "policy door_manipulation is about joints that turn"
