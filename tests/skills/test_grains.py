"""Grains lie in the vessel that the settings name, after all that was there; what cannot hold them is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from blueprint.backends.simulator_mujoco import SimulatorMujoco
from blueprint.core.errors import SettingsError
from blueprint.model.artifacts import SimScene, Workcell
from blueprint.model.scene import SettleTest
from blueprint.skills import grains
from blueprint.skills.families import pick, pour
from blueprint.skills.scene import TaskScene
from blueprint.stages.recording.labels import labels_of
from blueprint.stages.workcell import WorkcellConfig, workcell
from toy_cell import cell_of, make_workcell

COUNT = 8
SIMULATOR: Any = SimulatorMujoco()


@pytest.fixture
def made(tmp_path: Path) -> Workcell:
    return make_workcell(tmp_path / "cell")


def test_grains_come_to_rest_in_the_vessel_and_leave_the_rest_as_it_was(made: Workcell) -> None:
    before = cell_of(made)
    grains.fill(made, "bowl", COUNT, SIMULATOR)
    cell = cell_of(made)
    assert len(grains.names(cell)) == len(grains.inside(cell, "bowl", cell.home_qpos)) == COUNT
    np.testing.assert_array_equal(cell.home_qpos[: len(before.home_qpos)], before.home_qpos)
    simulation = SIMULATOR.open(cell.file, cell.home_qpos)
    simulation.advance(cell.ctrl(cell.home_action.astype(np.float32)), 1.0)
    moved = [simulation.qpos[at : at + 3] - cell.home_qpos[at : at + 3] for at in grains.addresses(cell)]
    simulation.close()
    assert np.linalg.norm(moved, axis=1).max() < 0.004
    labels = labels_of(made, ())
    assert sum(one.category == "grain" and one.thing for one in labels.instances) == COUNT


def test_only_from_what_holds_grains_something_is_poured(made: Workcell, monkeypatch: pytest.MonkeyPatch) -> None:
    def poured() -> set[str]:
        offers = pour.propose(TaskScene.of(made, SIMULATOR, 0), "pour", np.random.default_rng(0))
        return {offer.object for offer in offers}

    monkeypatch.setattr(pick, "opening", lambda *at: 0.06)  # all are vessels
    assert poured() == set()
    grains.fill(made, "bowl", 2, SIMULATOR)
    assert poured() == {"bowl"}


def test_what_does_not_stay_in_the_vessel_is_told(made: Workcell, monkeypatch: pytest.MonkeyPatch) -> None:
    beside = np.array([[0.0, 0.0, 0.3], [0.05, 0.0, 0.3]])
    monkeypatch.setattr(grains, "_grid", lambda *at: beside)
    with pytest.raises(SettingsError, match="bowl does not hold 2 grains: 0 stayed in it"):
        grains.fill(made, "bowl", 2, SIMULATOR)


def test_what_holds_no_grains_is_refused(made: Workcell, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cracker_box cannot hold grains"):
        grains.fill(made, "cracker_box", COUNT, SIMULATOR)
    settle = SettleTest(
        simulator="toy", seconds=5, objects=(), max_drift_m=0, max_drift_deg=0, max_penetration_m=0, passed=True
    )
    scene = SimScene(bodies=made.bodies, cameras=(), table_polygon=made.table_polygon, settle=settle)
    with pytest.raises(SettingsError, match="'teapot'") as raised:
        workcell(scene, SIMULATOR, WorkcellConfig(grains={"teapot": COUNT}), tmp_path)
    assert "cracker_box, soup_can" in raised.value.hint
    for wrong in ({"bowl": 0}, {"bowl": 1, "cup": 1}):
        with pytest.raises(ValidationError):
            WorkcellConfig(grains=wrong)
