"""Where things are put: in a container beside what lies there, and elsewhere when asked again."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from bench.episodes.pick_families import block, table_of, tray
from tests.toy_cell import make_workcell

from blueprint.model.task import Goal
from blueprint.skills.cell import Cell
from blueprint.skills.placement import footprint, outline_gap, targets


@pytest.fixture(scope="module")
def cell(tmp_path_factory: pytest.TempPathFactory) -> Cell:
    root = tmp_path_factory.mktemp("places")
    file = root / "table.xml"
    things = (
        tray("box", 0.0, 0.0),
        block("inside", 0.0, 0.0, (0.02, 0.02, 0.03)),
        block("held", 0.3, 0.0, (0.02, 0.02, 0.02)),
    )
    file.write_text(table_of("places", *things))
    return Cell.load(file, make_workcell(root / "workcell").robots, ("box", "inside", "held"))


def test_beside_what_lies_in_a_container_there_is_room_on_all_sides(cell: Cell) -> None:
    """The middle is offered first, to be taken where it is free; the next places keep off walls and contents."""
    qpos, goal = cell.model.qpos0, Goal(family="place_into", target="box")
    found = list(islice(targets(cell, "held", goal, qpos, np.random.default_rng(0)), 4))
    np.testing.assert_allclose(found[0][:2, 3], 0.0, atol=1e-9)
    taken = footprint(cell, "inside", cell.pose(qpos, "inside"))
    for T in found[1:]:
        own = footprint(cell, "held", T)
        assert outline_gap(own, taken) > 0.004
        assert np.abs(own).max() < 0.079 - 0.004


@pytest.mark.parametrize("goal", [Goal(family="place_on", target="box"), Goal(family="place_into", target="box")])
def test_who_asks_again_is_offered_other_places(cell: Cell, goal: Goal) -> None:
    rng = np.random.default_rng(0)
    once, again = (list(targets(cell, "held", goal, cell.model.qpos0, rng)) for _ in range(2))
    np.testing.assert_array_equal(once[0], again[0])  # the best stays the best
    assert not any(np.allclose(a, b) for a in once[2:4] for b in again[2:4])
