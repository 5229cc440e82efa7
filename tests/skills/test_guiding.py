"""Laws of a guided hand: as gentle at every rate of frames, and where it was told to be when it lets go."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.skills.test_commands import datasheet

from blueprint.skills.cell import Cell
from blueprint.skills.guiding import Guide
from blueprint.skills.planning.motion import Limits, within
from toy_cell import cell_of, make_workcell

Array = NDArray[np.float64]


class Commands:
    """What a rollout is told; the thing in the hand stays where it is."""

    def __init__(self, cell: Cell, fps: int) -> None:
        self.fps, self.qpos, self.commanded = fps, cell.home_qpos, np.array(cell.robot.home)
        self.rows: list[Array] = [self.commanded]

    def run(self, segment: str, targets: Array, opening: Array | float) -> None:
        self.rows += list(targets)
        self.commanded = self.rows[-1]


@pytest.fixture(scope="module")
def cell(tmp_path_factory: pytest.TempPathFactory) -> Cell:
    return cell_of(make_workcell(tmp_path_factory.mktemp("cell") / "workcell"))


@pytest.mark.parametrize("fps", [5, 15, 20, 30, 60])
def test_steps_keep_to_the_datasheet_at_every_rate(cell: Cell, fps: int) -> None:
    told, rng = Commands(cell, fps), np.random.default_rng(0)
    skills = SimpleNamespace(slow=Limits.of(cell.robot, 0.4, 0.25), rest=lambda *_: None)
    guide = Guide(cast(Any, told), cast(Any, SimpleNamespace(cell=cell, skills=skills)), "soup_can")
    for ticks in (2, 1, 2, 2, 1, 2, 2):
        wanted = guide.pose()
        wanted[:3, 3] += rng.uniform(-0.04, 0.04, 3)
        guide.step(wanted, ticks)
    aimed = guide._joints.copy()
    guide.leave(0.08, 0.05)
    rows = np.array(told.rows)
    assert np.abs(rows - aimed).max(axis=1).min() == pytest.approx(0.0, abs=1e-12), "all of the last step is taken"
    assert within(rows, datasheet(cell.robot), fps)
