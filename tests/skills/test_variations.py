"""Laws of variation: drawn from a seed alone, inside its ranges, wider from level to level, none at `none`."""

from __future__ import annotations

from pathlib import Path

import mujoco
import numpy as np
import pytest

from blueprint.backends.simulator_mujoco import SimulatorMujoco
from blueprint.core.errors import InputError
from blueprint.model.scene import Ranges, SceneBody
from blueprint.model.spatial import Pose
from blueprint.model.task import Family, Goal, Task
from blueprint.model.variation import TEXTURES, Look, PhysicsDraw
from blueprint.skills.variation.draws import draw_error, draw_look, draw_physics

BODIES, CAMERAS = ("world", "cup", "box"), ("scene", "wrist")


def look(level: str, seed: int) -> Look:
    return draw_look(np.random.default_rng(seed), level, BODIES, CAMERAS)  # type: ignore[arg-type]


def test_none_is_the_scene_as_captured() -> None:
    assert look("none", 1) == Look()


def test_a_look_is_a_function_of_its_seed_and_survives_being_written_down() -> None:
    assert look("high", 5) == look("high", 5) != look("high", 6)
    assert Look.model_validate_json(look("high", 5).model_dump_json()) == look("high", 5)


def test_looks_stay_inside_their_ranges() -> None:
    for seed in range(100):
        drawn = look("high", seed)
        assert 0.5 <= drawn.ambient <= 1.5
        assert drawn.lamps[0].direction[2] < -0.4, "the key light shines down"
        assert all(min(lamp.color) > 0 for lamp in drawn.lamps)
        assert set(drawn.tints) == set(BODIES)
        assert set(drawn.textures.values()) <= set(TEXTURES)
        for name in CAMERAS:
            assert np.abs(drawn.cameras[name].translation).max() <= 0.015
            assert np.abs(drawn.cameras[name].rotation).max() <= np.deg2rad(2)


def test_a_higher_level_varies_more() -> None:
    spread = [np.std([look(level, seed).ambient for seed in range(200)]) for level in ("low", "medium", "high")]
    assert 0 < spread[0] < 0.7 * spread[1] < 0.7 * spread[2]
    tables = [sum("world" in look(level, s).textures for s in range(100)) for level in ("low", "medium", "high")]
    assert tables[0] < tables[1] < tables[2]


def test_objects_keep_their_textures_below_the_highest_level() -> None:
    """An instruction names them by what they look like."""
    assert all(set(look("medium", seed).textures) <= {"world"} for seed in range(50))
    assert any(set(look("high", seed).textures) - {"world"} for seed in range(50))


MODEL = """<mujoco><worldbody>
<body name="cup"><freejoint/><geom size=".1"/></body>
<body name="box"><freejoint/><geom size=".1"/>
  <body name="box/lid"><joint name="box/hinge"/><geom size=".1"/></body></body>
<body name="left"><geom size=".1"/></body><body name="right"><geom size=".1"/></body></worldbody></mujoco>"""


def physics(level: str, seed: int) -> PhysicsDraw | None:
    weighed = Ranges(mass=(0.95, 1.05), friction=(0.85, 1.15), restitution=(1, 1), center_of_mass_m=0.006, source="")
    make = lambda name, joints, ranges: SceneBody(  # noqa: E731
        name=name,
        text=name,
        joints=joints,
        prim_path="/",
        mass_kg=1,
        dims_m=(1, 1, 1),
        pose=Pose(),
        collider_count=1,
        ranges=ranges,
    )
    bodies = (make("cup", (), weighed), make("box", ("box/hinge",), None))
    model = mujoco.MjModel.from_xml_string(MODEL)
    return draw_physics(np.random.default_rng(seed), level, model, bodies, ("left", "right"))  # type: ignore[arg-type]


def test_physics_stay_within_each_bodys_own_ranges() -> None:
    assert physics("none", 0) is None
    drawn = [physics("high", seed) for seed in range(100)]
    masses = {name: [d.mass[name] for d in drawn if d] for name in ("cup", "box", "box/lid")}
    assert 0.95 <= min(masses["cup"]) < 0.96 and 1.04 < max(masses["cup"]) <= 1.05
    assert 0.8 <= min(masses["box"]) < 0.83 and 1.17 < max(masses["box"]) <= 1.2
    assert masses["box"] == masses["box/lid"], "what hangs together is drawn together"
    assert all(d is not None and d.friction["left"] == d.friction["right"] for d in drawn)
    assert all(d is not None and 0.7 <= d.damping["box/hinge"] <= 1.3 for d in drawn)
    moved = np.array([d.center["cup"] for d in drawn if d])
    assert 0.005 < np.linalg.norm(moved, axis=1).max() <= 0.00601 and (np.abs(moved.mean(axis=0)) < 0.001).all()
    assert all(d is not None and set(d.center) == {"cup"} for d in drawn), "only what has a range of its own"
    low = physics("low", 3)
    assert low is not None and max(abs(factor - 1) for factor in low.mass.values()) <= 0.2 / 3 + 1e-5


@pytest.mark.parametrize(
    ("family", "kinds"),
    [
        ("place_region", {"grasp_offset", "early_opening", "target_offset"}),
        ("insert", {"grasp_offset", "early_opening"}),
        ("open", {"grasp_offset"}),
        ("pull", {"grasp_offset"}),
        ("push", {"target_offset"}),
    ],
)
def test_an_error_is_one_that_the_family_can_make(family: Family, kinds: set[str]) -> None:
    goal = Goal(family=family, center=(0.1, 0.2), radius_m=0.03)
    task = Task(id="t", object="cup", goal=goal, instruction="")
    drawn = [draw_error(np.random.default_rng(seed), task, ("cup",)) for seed in range(60)]
    assert {error.kind for error in drawn if error} == kinds
    assert draw_error(np.random.default_rng(0), task, ("box",)) is None


ON_A_POLE = """<mujoco><worldbody><geom type="cylinder" size=".005 .05" pos="0 0 .05"/>
<body name="box" pos="0 0 .12"><freejoint/><inertial pos="0 0 0" mass=".1" diaginertia="3e-5 3e-5 3e-5"/>
<geom type="box" size=".02 .02 .02"/></body></worldbody></mujoco>"""


@pytest.mark.parametrize(("offset", "stands"), [((0.0, 0.0, -0.003), True), ((0.009, 0.0, 0.0), False)])
def test_a_box_falls_from_a_pole_when_its_centre_of_mass_is_not_over_it(
    tmp_path: Path, offset: tuple[float, float, float], stands: bool
) -> None:
    """A box about its origin is a simple body to MuJoCo: the coupling must be there all the same."""
    file = tmp_path / "pole.xml"
    file.write_text(ON_A_POLE)
    simulation = SimulatorMujoco().open(file, None, PhysicsDraw(center={"box": offset}))
    simulation.advance(np.zeros(0), 1.0)
    assert (simulation.qpos[2] > 0.11) == stands
    simulation.close()
    with pytest.raises(InputError, match="nobody"):
        SimulatorMujoco().open(file, None, PhysicsDraw(center={"nobody": offset}))
