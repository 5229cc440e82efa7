"""Insertion and wiping: accepted when done, rejected when forced, shallow, left out or not let go."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.skills.test_goals import AT, BIN, BLOCK, CRATE, FINGERS, MODEL, TABLE, Leg, above, evidence

from blueprint.model.task import Goal, Task
from blueprint.skills.goals import Evidence, Verdict, judge

SOCKET = AT[BIN]  # the bin's walls are 6 cm high, its floor 6 mm
INSIDE = (SOCKET[0], SOCKET[1], 0.026)
INSERT = Goal(family="insert", target=BIN, height_m=0.03, radius_m=0.001)
WIPE = Goal(family="wipe", center=(-0.2, 0.1), radius_m=0.03, value=0.9)


def tell(goal: Goal, told: Evidence) -> Verdict:
    return judge(Task(id="t", object=BLOCK, goal=goal, instruction=""), told)


def pick() -> list[Leg]:
    start = AT[BLOCK]
    return [Leg(8, start, (TABLE,)), Leg(4, start, (TABLE, *FINGERS)), Leg(10, above(start), FINGERS)]


def inserted(to: tuple[float, float, float] = INSIDE) -> list[Leg]:
    down = [Leg(12, above(to), FINGERS), Leg(12, to, (*FINGERS, BIN))]
    return [*pick(), *down, Leg(25, to, (BIN,))]


def wiped(rows: tuple[float, ...] = (-0.02, 0.0, 0.02), *, tilt_deg: float = 0.0) -> list[Leg]:
    """Strokes along x at offsets in y; the block is 4 cm wide."""
    x, y, z = -0.2, 0.1, 0.02
    legs = [*pick(), Leg(12, above((x - 0.03, y + rows[0], z)), FINGERS)]
    for k, off in enumerate(rows):
        ends = (-0.03, 0.03) if k % 2 == 0 else (0.03, -0.03)
        legs += [Leg(6, (x + end, y + off, z), (*FINGERS, TABLE), tilt_deg) for end in ends]
    return [*legs, Leg(25, legs[-1].to, (TABLE,))]


def forced(told: Evidence, a: str, b: str, newtons: float) -> Evidence:
    row = np.array([[40, MODEL.body(a).id, MODEL.body(b).id]], np.int32)
    return replace(told, contacts=np.concatenate([told.contacts, row]), forces=np.append(told.forces, newtons))


def test_inserted_is_accepted() -> None:
    verdict = tell(INSERT, evidence(inserted()))
    assert verdict.success, verdict.detail


def test_wiped_is_accepted() -> None:
    verdict = tell(WIPE, evidence(wiped()))
    assert verdict.success, verdict.detail


def test_left_on_the_rim_is_not_inserted() -> None:
    assert tell(INSERT, evidence(inserted((0.3, 0.3, 0.08)))).cause == "missed_goal"


def test_beside_the_socket_is_not_inserted() -> None:
    beside = (0.4, 0.3, 0.02)
    legs = inserted(beside)
    legs[-1] = replace(legs[-1], touched_by=(TABLE,))
    assert tell(INSERT, evidence(legs)).cause == "missed_goal"


def test_hammered_in_is_rejected() -> None:
    assert tell(INSERT, forced(evidence(inserted()), BLOCK, BIN, 90.0)).cause == "collision"


def test_still_held_is_not_inserted() -> None:
    legs = inserted()
    legs[-1] = replace(legs[-1], touched_by=(*FINGERS, BIN))
    assert tell(INSERT, evidence(legs)).cause == "missed_goal"


@pytest.mark.parametrize("rows", [(0.0,), (0.02,), (-0.02, -0.01)])
def test_a_part_of_the_region_is_not_the_region(rows: tuple[float, ...]) -> None:
    assert tell(WIPE, evidence(wiped(rows))).cause == "missed_goal"


def test_pressed_too_hard_is_rejected() -> None:
    assert tell(WIPE, forced(evidence(wiped()), BLOCK, TABLE, 80.0)).cause == "collision"


def test_on_its_edge_it_wipes_nothing() -> None:
    assert not tell(WIPE, evidence(wiped(tilt_deg=20.0))).success


def test_hovering_over_the_region_wipes_nothing() -> None:
    legs = [replace(leg, touched_by=FINGERS) if set(leg.touched_by) == {TABLE, *FINGERS} else leg for leg in wiped()]
    legs[1] = replace(legs[1], touched_by=(TABLE, *FINGERS))
    assert tell(WIPE, evidence(legs)).cause == "missed_goal"


def test_pushed_over_the_region_without_being_lifted_is_no_wiping() -> None:
    assert tell(WIPE, evidence([Leg(8, AT[BLOCK], (TABLE,)), *wiped()[4:]])).cause == "grasp_missed"


def test_an_object_that_is_knocked_over_spoils_it() -> None:
    told = evidence(wiped())
    told.qpos[50:, MODEL.jnt_qposadr[MODEL.body(CRATE).jntadr[0]]] += 0.05
    assert tell(WIPE, told).cause == "disturbed"
