"""Tasks of several steps: every step is judged in its own stretch, in order, and again at the end of everything."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.skills.test_goals import AT, BLOCK, CRATE, FINGERS, FPS, MODEL, PALM, ROBOT, TABLE, TOWER, Leg, above, put

from blueprint.model.task import Goal, Step, Task
from blueprint.skills.goals import Evidence, Verdict, judge

REGION = Goal(family="place_region", center=(-0.2, 0.1), radius_m=0.03)
THERE = (-0.2, 0.1, 0.02)
CROWN = (0.3, 0.0, 0.16)  # of the tower, standing on the crate
STEPS = (Step(object=TOWER, goal=Goal(family="place_on", target=CRATE)), Step(object=BLOCK, goal=REGION))
Move = tuple[str, tuple[float, float, float], str]
MOVES: list[Move] = [(TOWER, CROWN, CRATE), (BLOCK, THERE, TABLE)]


def legs_of(start: tuple[float, float, float], end: tuple[float, float, float], support: str) -> list[Leg]:
    return [
        Leg(8, start, (TABLE,)),
        Leg(4, start, (TABLE, *FINGERS)),
        Leg(10, above(start), FINGERS),
        Leg(12, above(end), FINGERS),
        Leg(10, above(end, 0.002), FINGERS),
        Leg(3, end, (*FINGERS, support)),
        Leg(25, end, (support,)),
    ]


def evidence(moves: list[Move], *, nudged: tuple[int, str] | None = None, moved: int | None = None) -> Evidence:
    """The moves one after another. nudged: (frame, body) pressed by the palm; moved: frame from which what was placed
    first lies 10 cm off."""
    at = {name: np.array(position) for name, position in AT.items()}
    on = dict.fromkeys(AT, TABLE)
    rows, contacts = [], []
    for name, end, support in moves:
        for leg in legs_of(tuple(at[name]), end, support):
            begin = at[name].copy()
            for k in range(1, leg.frames + 1):
                at[name] = begin + k / leg.frames * (np.array(leg.to) - begin)
                row = MODEL.qpos0.copy()
                for other, position in at.items():
                    off = 0.1 if moved is not None and len(rows) >= moved and other == moves[0][0] else 0.0
                    put(row, other, position + np.array([0.0, off, 0.0]))
                touches = [(name, other) for other in leg.touched_by]
                touches += [(other, below) for other, below in on.items() if other != name]
                if nudged is not None and nudged[0] == len(rows):
                    touches.append((nudged[1], PALM))
                contacts += [(len(rows), MODEL.body(a).id, MODEL.body(b).id) for a, b in touches]
                rows.append(row)
        on[name] = support
    forces = np.ones(len(contacts))
    names = tuple(AT)
    return Evidence(MODEL, (ROBOT,), names, np.array(rows), np.array(contacts, np.int32), forces, FPS)


def tell(steps: tuple[Step, ...], told: Evidence, family: str = "chain") -> Verdict:
    goal = Goal.model_validate({"family": family, "steps": steps})
    return judge(Task(id="t", object=steps[0].object, goal=goal, instruction=""), told)


@pytest.mark.parametrize("family", ["chain", "rearrange", "sort", "stack"])
def test_steps_done_in_order_are_accepted(family: str) -> None:
    verdict = tell(STEPS, evidence(MOVES), family)
    assert verdict.success, verdict.detail
    assert {check.name.partition(":")[0] for check in verdict.checks} >= {"step 1", "step 2"}


def test_steps_in_another_order_are_rejected() -> None:
    assert not tell(STEPS, evidence(MOVES[::-1])).success


def test_a_step_left_out_is_rejected() -> None:
    verdict = tell(STEPS, evidence(MOVES[:1]))
    assert verdict.cause == "missed_goal"
    assert "steps begun" in verdict.detail


def test_a_step_that_failed_is_rejected_though_the_next_one_was_done() -> None:
    beside = [(TOWER, (0.1, 0.3, 0.1), TABLE), MOVES[1]]
    verdict = tell(STEPS, evidence(beside))
    assert verdict.cause == "missed_goal"
    assert verdict.detail.startswith("step 1")


def test_what_was_done_must_last_to_the_end_of_everything() -> None:
    frames = len(evidence(MOVES).qpos)
    assert not tell(STEPS, evidence(MOVES, moved=frames - 3)).success


def test_a_drop_in_one_step_is_a_drop() -> None:
    told = evidence(MOVES)
    fingers = [MODEL.body(name).id for name in FINGERS]
    tower = MODEL.body(TOWER).id
    first_lowering = (told.contacts[:, 0] >= 34) & (told.contacts[:, 0] < 44)
    held = (told.contacts[:, 1] == tower) & np.isin(told.contacts[:, 2], fingers)
    gone = ~(first_lowering & held)
    assert tell(STEPS, replace(told, contacts=told.contacts[gone], forces=told.forces[gone])).cause == "dropped"


def test_a_tower_carries_what_the_task_put_on_it_and_nothing_else() -> None:
    """The tower's own crown touches what it stands on; that is no leaning on something else."""
    high = (0.3, 0.0, 0.28)
    steps = (STEPS[0], Step(object=BLOCK, goal=Goal(family="place_on", target=TOWER)))
    told = evidence([MOVES[0], (BLOCK, high, TOWER)])
    assert tell(steps, told, "stack").success, tell(steps, told, "stack").detail
    last = len(told.qpos) - 2
    leaning = np.array([[last, MODEL.body(TOWER).id, MODEL.body("bin").id]], np.int32)
    worse = replace(told, contacts=np.concatenate([told.contacts, leaning]), forces=np.append(told.forces, 1.0))
    assert not tell(steps, worse, "stack").success
