"""Pouring is judged by where the grains are: poured, kept, spilt; and by how the vessel got there."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest
from tests.skills.test_goals import FPS, ROBOT, WALLS

from blueprint.core.errors import IntegrityError
from blueprint.model.task import Goal, Task
from blueprint.skills.goals import Evidence, Verdict, judge

GRAINS = 10
CUP, BOWL = (0.0, 0.0, 0.04), (0.3, 0.0, 0.0)
MODEL = mujoco.MjModel.from_xml_string(f"""<mujoco><worldbody>
  <body name="table"><geom type="box" size="0.6 0.6 0.02" pos="0 0 -0.02"/></body>
  <body name="robot/base" pos="-0.5 0 0"><geom size="0.05"/>
    <body name="robot/link"><joint name="robot/joint"/><geom size="0.02"/>
      <body name="robot/hand"><geom size="0.02"/>
        <body name="robot/left"><joint type="slide"/><geom size="0.01"/></body>
        <body name="robot/right"><joint type="slide"/><geom size="0.01"/></body></body></body></body>
  <body name="cup"><freejoint/><geom type="cylinder" size="0.03 0.04"/></body>
  <body name="bowl"><freejoint/><geom type="box" pos="0 0 0.003" size="0.06 0.06 0.003"/>{WALLS}</body>
  {"".join(f'<body name="grain_{k:02d}"><freejoint/><geom size="0.004"/></body>' for k in range(GRAINS))}
</worldbody></mujoco>""")
FINGERS = ("robot/left", "robot/right")
TASK = Task(id="t", object="cup", goal=Goal(family="pour", target="bowl", value=0.9), instruction="")


def told(*, poured: int, spilt: int = 0, gripped: bool = True, bowl_moves: float = 0.0) -> Verdict:
    """Stand, lift the cup, hold it over the bowl, rest; in the end so many grains are in the bowl, on the table."""
    heights = [0.0] * 8 + list(np.linspace(0.0, 0.15, 10)) + [0.15] * 40
    rows, contacts = [], []
    for frame, height in enumerate(heights):
        over = height >= 0.15
        cup = np.add(CUP, (0.25 if over else 0.0, 0.0, height))
        row = MODEL.qpos0.copy()
        put(row, "cup", cup)
        put(row, "bowl", np.add(BOWL, (bowl_moves if over else 0.0, 0.0, 0.0)))
        for k in range(GRAINS):
            where = cup
            if over and k < poured:
                where = np.add(BOWL, (0.004 * k - 0.02, 0.0, 0.012))
            elif over and k < poured + spilt:
                where = np.array([0.1, 0.2, 0.004])
            put(row, f"grain_{k:02d}", where)
        rows.append(row)
        touches = [("bowl", "table"), ("cup", "grain_00")]
        touches += [("cup", "table")] if height == 0.0 else [("cup", finger) for finger in FINGERS if gripped]
        contacts += [(frame, MODEL.body(a).id, MODEL.body(b).id) for a, b in touches]
    evidence = Evidence(
        MODEL, (ROBOT,), ("cup", "bowl"), np.array(rows), np.array(contacts, np.int32), np.ones(len(contacts)), FPS
    )
    return judge(TASK, evidence)


def put(row: np.ndarray, name: str, position: np.ndarray) -> None:
    start = MODEL.jnt_qposadr[MODEL.body(name).jntadr[0]]
    row[start : start + 7] = [*position, 1.0, 0.0, 0.0, 0.0]


def test_poured_is_accepted_though_the_cup_touches_its_grains() -> None:
    verdict = told(poured=10)
    assert verdict.success, verdict.detail


def test_the_last_grain_may_stay() -> None:
    assert told(poured=9).success


@pytest.mark.parametrize(("poured", "spilt"), [(0, 0), (8, 0), (9, 1), (5, 5)])
def test_too_little_or_beside_it_is_rejected(poured: int, spilt: int) -> None:
    assert told(poured=poured, spilt=spilt).cause == "missed_goal"


def test_a_cup_that_nobody_holds_was_not_grasped() -> None:
    assert told(poured=10, gripped=False).cause == "grasp_missed"


def test_a_bowl_pushed_away_is_rejected() -> None:
    assert told(poured=10, bowl_moves=0.05).cause == "disturbed"


def test_a_scene_without_grains_is_no_evidence() -> None:
    from tests.skills.test_goals import BIN, BLOCK, evidence, story
    from tests.skills.test_goals import LIFT as DONE

    task = Task(id="t", object=BLOCK, goal=Goal(family="pour", target=BIN, value=0.9), instruction="")
    with pytest.raises(IntegrityError, match="grains"):
        judge(task, evidence(story(DONE)))
