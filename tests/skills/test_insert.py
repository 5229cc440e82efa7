"""Laws of what is offered to be inserted: a class by its play, a reason for all else, and no change of what fits."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import mujoco
import numpy as np
import pytest
from bench.episodes.pick_families import PEG_M, block, socket, table_of
from tests.skills.test_goals import ROBOT

from blueprint.skills.cell import Cell
from blueprint.skills.families import Proposal, insert
from blueprint.skills.variation.object_sets import draw_set

PEG = block("peg", 0.0, -0.2, (PEG_M, PEG_M, 0.045))
ARM = """<body name="robot/base" pos="-0.6 0 0.1"><joint name="robot/joint"/><geom size="0.05"/>
<body><joint name="robot/finger" type="slide"/><geom size="0.01"/></body></body>"""
HAND = ROBOT.gripper.model_copy(update={"finger_joints": ("robot/finger",)})


def cell_of(*bodies: str) -> Cell:
    model = mujoco.MjModel.from_xml_string(table_of("pegs", ARM, PEG, *bodies))
    names = tuple(model.body(k).name for k in range(model.nbody) if model.body_dofnum[k] == 6)
    return Cell(Path(), model, ROBOT.model_copy(update={"gripper": HAND}), names)


def offered(cell: Cell, **reachable: bool) -> dict[str, Proposal]:
    scene = cast(Any, SimpleNamespace(cell=cell, reachable=dict.fromkeys(cell.objects, True) | reachable))
    return {one.id: one for one in insert.propose(scene, "insert", np.random.default_rng(0))}


@pytest.mark.parametrize(("play", "fit"), [(0.0002, "tight"), (0.001, "medium"), (0.003, "loose")])
def test_a_task_is_named_by_the_class_of_its_play(play: float, fit: str) -> None:
    found = offered(cell_of(socket("socket", 0.0, 0.1, play)))[f"insert-peg-socket-{fit}"]
    assert found.goal is not None and found.goal.radius_m == pytest.approx(play, abs=2e-5)


@pytest.mark.parametrize(("play", "why"), [(-0.001, "1.00 mm wider"), (5e-5, "0.05 mm narrower"), (0.006, "6.00 mm")])
def test_what_does_not_fit_is_refused_with_its_measure(play: float, why: str) -> None:
    found = offered(cell_of(socket("socket", 0.0, 0.1, play)))["insert-peg-socket"]
    assert found.goal is None and why in found.reason


def test_a_scene_without_holes_and_a_peg_out_of_reach_have_their_reasons() -> None:
    assert "hole" in offered(cell_of())["insert"].reason
    fits = cell_of(socket("socket", 0.0, 0.1, 0.001))
    assert "grasped" in offered(fits, peg=False)["insert-peg-socket"].reason


def test_what_fits_keeps_its_size() -> None:
    """Another size of the peg or of the socket alone would be another play than the goal's."""
    cell = cell_of(socket("socket", 0.0, 0.1, 0.001), block("other", 0.2, -0.2, (0.02, 0.02, 0.02)))
    for seed in range(20):
        scaled = draw_set(np.random.default_rng(seed), "high", cell, ("peg",), ("peg", "socket")).scaled
        assert not {"peg", "socket"} & {*scaled}
    assert any(draw_set(np.random.default_rng(s), "high", cell, ("peg",)).scaled.get("peg", 1) != 1 for s in range(5))
