"""What any simulator must do, held against MuJoCo."""

from __future__ import annotations

from pathlib import Path

import mujoco
import numpy as np
import pytest

from blueprint.backends.simulator_mujoco import SimulatorMujoco
from blueprint.core.errors import InputError
from blueprint.model.variation import PhysicsDraw

SLIDER = """<mujoco><option timestep="0.002" gravity="0 0 0"/><worldbody>
<body name="cart"><joint name="x" type="slide" axis="1 0 0" damping="1"/><geom size="0.1" mass="1"/></body></worldbody>
<actuator><position joint="x" kp="100" kv="20"/></actuator></mujoco>"""
BALLS = """<mujoco><worldbody><geom type="plane" size="1 1 1"/>
<body name="ball" pos="0 0 0.095"><freejoint/><geom size="0.1" mass="1"/></body></worldbody></mujoco>"""


def opened(tmp_path: Path, text: str, qpos: np.ndarray | None = None):
    model = tmp_path / "model.xml"
    model.write_text(text)
    return SimulatorMujoco().open(model, qpos)


def test_same_start_and_controls_give_the_same_bits(tmp_path: Path) -> None:
    results = []
    for _ in range(2):
        simulation = opened(tmp_path, SLIDER)
        for target in (0.1, -0.2, 0.3):
            simulation.advance(np.array([target]), 0.1)
        results.append((simulation.qpos.tobytes(), simulation.qvel.tobytes()))
        simulation.close()
    assert results[0] == results[1]


def test_targets_move_linearly_over_the_interval(tmp_path: Path) -> None:
    whole, pieces = opened(tmp_path, SLIDER), opened(tmp_path, SLIDER)
    whole.advance(np.array([0.4]), 0.4)
    for target in (0.1, 0.2, 0.3, 0.4):
        pieces.advance(np.array([target]), 0.1)
    np.testing.assert_allclose(whole.qpos, pieces.qpos, atol=1e-9)


def test_contacts_name_both_bodies_and_carry_the_weight(tmp_path: Path) -> None:
    simulation = opened(tmp_path, BALLS)
    ((a, b, distance, _),) = simulation.contacts()
    assert (a, b) == (0, 1)
    assert distance == pytest.approx(-0.005)
    np.testing.assert_allclose(simulation.normals(), [[0, 0, 1]], atol=1e-9)
    simulation.advance(np.zeros(0), 2.0)
    assert simulation.contacts()[0][3] == pytest.approx(9.81, rel=0.01)


@pytest.mark.parametrize("cone", ["elliptic", "pyramidal"])
def test_forces_are_mujocos_own_and_asking_for_them_changes_nothing(tmp_path: Path, cone: str) -> None:
    text = f"""<mujoco><option cone="{cone}"/><worldbody><geom type="plane" size="2 2 .1"/>
    <body pos="0 0 .05"><freejoint/><geom type="box" size=".05 .05 .05" condim="1"/></body>
    <body pos=".3 0 .05"><freejoint/><geom type="box" size=".05 .05 .05" condim="4"/></body>
    <body pos=".3 0 .149"><freejoint/><geom type="box" size=".05 .04 .05" condim="3"/></body></worldbody></mujoco>"""
    asked, silent = opened(tmp_path, text), opened(tmp_path, text)
    assert not opened(tmp_path, SLIDER).contacts() and opened(tmp_path, SLIDER).normals().shape == (0, 3)
    for _ in range(4):
        asked.advance(np.zeros(0), 0.05)
        silent.advance(np.zeros(0), 0.05)
        found = asked.contacts()
    assert asked.qpos.tobytes() == silent.qpos.tobytes()
    model, data, force = asked._awake, asked._seen, np.zeros(6)
    for k, (a, b, distance, normal) in enumerate(found):
        mujoco.mj_contactForce(model, data, k, force)
        assert normal == pytest.approx(force[0], abs=1e-12)
        assert (a, b, distance) == (*model.geom_bodyid[data.contact[k].geom], data.contact[k].dist)
    assert len(found) == 12 and max(normal for *_, normal in found) > 1.0


def test_wrong_state_or_file_teaches(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="3 positions for a model of 1"):
        opened(tmp_path, SLIDER, np.zeros(3))
    with pytest.raises(InputError, match="cannot load"):
        opened(tmp_path, "<mujoco><geom/></mujoco>")
    with pytest.raises(InputError, match="2 controls"):
        opened(tmp_path, SLIDER).advance(np.zeros(2), 0.1)


def test_contacts_of_a_flex_name_its_own_bodies(tmp_path: Path) -> None:
    """A flex has no geoms: its contacts must not be blamed on the last geom of the model."""
    model = tmp_path / "cloth.xml"
    model.write_text(
        """<mujoco><option integrator="discrete"/><worldbody><geom type="plane" size="1 1 .1"/>
        <flexcomp name="cloth" type="grid" count="4 4 1" spacing=".05 .05 .05" radius=".005" dim="2" pos="0 0 .03"
         mass=".1"><contact selfcollide="none"/><elasticity young="1e4" poisson=".2" thickness=".005"/></flexcomp>
        <body name="ball" pos="2 0 1"><freejoint/><geom size=".1"/></body></worldbody></mujoco>"""
    )
    simulation = SimulatorMujoco().open(model)
    simulation.advance(np.zeros(0), 0.3)
    touching = {pair for a, b, _, _ in simulation.contacts() for pair in (a, b)}
    assert touching == set(range(17))  # the world and the 16 vertices
    simulation.close()


def test_a_draw_of_physics_scales_weight_friction_and_damping(tmp_path: Path) -> None:
    model = tmp_path / "model.xml"
    model.write_text(BALLS)
    heavy = SimulatorMujoco().open(model, physics=PhysicsDraw(mass={"ball": 1.5}))
    heavy.advance(np.zeros(0), 2.0)
    assert heavy.contacts()[0][3] == pytest.approx(1.5 * 9.81, rel=0.01)

    slope = """<mujoco><option gravity="3 0 -9.5" cone="elliptic"/><worldbody>
    <body name="floor"><geom type="plane" size="9 9 1" friction="0.2"/></body>
    <body name="box" pos="0 0 .05"><freejoint/><geom type="box" size=".1 .1 .05" friction="0.4"/></body>
    </worldbody></mujoco>"""
    model.write_text(slope)
    slid = []
    for factor in (1.0, 0.5):
        simulation = SimulatorMujoco().open(model, physics=PhysicsDraw(friction={"box": factor}))
        simulation.advance(np.zeros(0), 1.0)
        slid.append(simulation.qpos[0])
    # a = g_x - mu g_z: held at 0.4, free at 0.2
    assert slid[0] < 0.02
    assert slid[1] == pytest.approx((3 - 0.2 * 9.5) / 2, rel=0.05)

    model.write_text(SLIDER.replace('kp="100" kv="20"', 'kp="0"'))
    speeds = []
    for factor in (1.0, 2.0):
        simulation = SimulatorMujoco().open(model, physics=PhysicsDraw(damping={"x": factor}))
        simulation._data.qvel[:] = 1.0
        simulation.advance(np.zeros(1), 0.5)
        speeds.append(float(simulation.qvel[0]))
    np.testing.assert_allclose(speeds, np.exp([-0.5, -1.0]), rtol=0.01)


def test_a_draw_of_nothing_changes_no_bit_and_unknown_names_teach(tmp_path: Path) -> None:
    ends = []
    for physics in (None, PhysicsDraw(), PhysicsDraw(mass={"cart": 1.0}, damping={"x": 1.0})):
        model = tmp_path / "model.xml"
        model.write_text(SLIDER)
        simulation = SimulatorMujoco().open(model, physics=physics)
        simulation.advance(np.array([0.3]), 0.5)
        ends.append(simulation.qpos.tobytes())
    assert len(set(ends)) == 1
    with pytest.raises(InputError, match="cart"):
        SimulatorMujoco().open(model, physics=PhysicsDraw(mass={"kart": 1.0}))


def test_what_sleeps_has_its_contacts_and_wakes_when_touched(tmp_path: Path) -> None:
    """The same end with and without sleep, and the weight of a sleeping box on its floor."""
    ends = []
    for flag in ("disable", "enable"):
        model = tmp_path / "model.xml"
        model.write_text(
            f"""<mujoco><option cone="elliptic"><flag sleep="{flag}"/></option><worldbody>
            <body name="floor"><geom type="plane" size="2 2 .1"/></body>
            <body name="box" pos=".3 0 .05"><freejoint/><geom type="box" size=".05 .05 .05" mass="1"/></body>
            <body name="cart" pos="0 0 .06"><joint name="x" type="slide" axis="1 0 0"/>
             <geom type="box" size=".05 .05 .05" mass="1"/></body></worldbody>
            <actuator><position joint="x" kp="500" kv="50"/></actuator></mujoco>"""
        )
        simulation = SimulatorMujoco().open(model)
        simulation.advance(np.zeros(1), 0.5)
        pressed = sum(force for a, b, _, force in simulation.contacts() if {a, b} == {1, 2})
        assert pressed == pytest.approx(9.81, rel=0.02)
        assert bool(simulation._data.tree_asleep[0] >= 0) == (flag == "enable")
        for share in np.linspace(0, 0.4, 20):
            simulation.advance(np.array([share]), 0.1)
        ends.append(simulation.qpos[0])
        assert any({a, b} == {1, 2} for a, b, _, _ in simulation.contacts())
    assert ends[0] > 0.35
    assert ends[1] == pytest.approx(ends[0], abs=1e-3)
