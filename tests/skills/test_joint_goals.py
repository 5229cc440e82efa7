"""The judge of joints accepts what was done, nothing else. Stories by hand: a joint's value, and who touches what."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np
import pytest

from blueprint.core.errors import IntegrityError
from blueprint.model.scene import Gripper, RobotArm
from blueprint.model.spatial import Pose
from blueprint.model.task import Goal, Task
from blueprint.skills.goals import Evidence, Verdict, judge

FPS, GRIP_N = 15, 70.0
MODEL = mujoco.MjModel.from_xml_string("""<mujoco><worldbody>
  <body name="table"><geom type="box" size="0.6 0.6 0.02" pos="0 0 -0.02"/></body>
  <body name="robot/base" pos="-0.5 0 0"><geom size="0.05"/>
    <body name="robot/link"><joint name="robot/joint"/><geom size="0.02" pos="0 0 0.3"/>
      <body name="robot/hand"><geom size="0.02" pos="0 0 0.5"/>
        <body name="robot/left"><joint name="robot/l" type="slide"/><geom size="0.01"/></body>
        <body name="robot/right"><joint name="robot/r" type="slide"/><geom size="0.01"/></body></body></body></body>
  <body name="block" pos="0.4 0.4 0.02"><freejoint/><geom type="box" size="0.02 0.02 0.02"/></body>
  <body name="desk"><geom type="box" size="0.1 0.1 0.1" pos="0 0 0.1"/>
    <body name="drawer"><joint name="slide" type="slide" axis="0 -1 0" range="0 0.2"/><geom size="0.02"/></body>
    <body name="knob"><joint name="dial" type="hinge" axis="0 1 0" range="-2 2"/><geom size="0.02"/></body>
    <body name="key"><joint name="button" type="slide" axis="0 1 0" range="0 0.01" stiffness="300"/>
      <geom size="0.01"/></body></body>
  <body name="chest" pos="0 0.4 0.05"><freejoint name="chest"/><geom type="box" size="0.1 0.1 0.05"/>
    <body name="lid"><joint name="hinge" axis="-1 0 0" range="0 1.7"/><geom size="0.02" pos="0 0 0.06"/></body></body>
  </worldbody><actuator><position name="robot/grip" joint="robot/l" forcerange="-70 70"/></actuator></mujoco>""")
ROBOT = RobotArm(
    name="toy",
    title="Toy",
    joints=("robot/joint",),
    actuators=(),
    home=(0.0,),
    velocity_limits=(1.0,),
    acceleration_limits=(1.0,),
    jerk_limits=(1.0,),
    gripper=Gripper(
        site="",
        actuator="robot/grip",
        finger_joints=("robot/l", "robot/r"),
        finger_bodies=("robot/left", "robot/right"),
        max_opening_m=0.08,
        finger_depth_m=0.04,
        open_ctrl=0.04,
        closed_ctrl=0.0,
    ),
    base=Pose(),
    source="",
    licence="",
)
OPEN = Goal(family="open", joint="slide", value_start=0.0, value=0.15)
CLOSE = Goal(family="close", joint="slide", value_start=0.15, value=0.01)
TURN = Goal(family="turn", joint="dial", value_start=0.0, value=1.2)
PRESS = Goal(family="press", joint="button", value_start=0.0, value=0.007)
LID = Goal(family="open", joint="hinge", value_start=0.0, value=1.5)
PART = {"slide": "drawer", "dial": "knob", "button": "key", "hinge": "lid"}
ALL = (OPEN, CLOSE, TURN, PRESS, LID)


@dataclass(frozen=True)
class Event:
    """From `frame` on: two bodies in contact with a force until `until`; another joint (or the block, m) displaced."""

    frame: int
    until: int = 1000
    contact: tuple[str, str] | None = None
    force: float = 1.0
    moved: str = ""
    by: float = 0.0


def tell(
    goal: Goal, *events: Event, end: float | None = None, back: float | None = None, begin: float | None = None
) -> Verdict:
    """12 frames of rest, 20 of motion to `end` by both fingers, 8 back to `back`, 25 of rest."""
    begin = goal.value_start if begin is None else begin
    end = goal.value if end is None else end
    back = (0.0 if goal.family == "press" else end) if back is None else back
    values = np.concatenate([
        np.full(12, begin), np.linspace(begin, end, 20), np.linspace(end, back, 8), np.full(25, back)
    ])  # fmt: skip
    assert goal.joint is not None
    fingers = [Event(12, 33, (finger, PART[goal.joint]), 50.0) for finger in ROBOT.gripper.finger_bodies]
    rows, contacts, forces = [], [], []
    for frame, value in enumerate(values):
        row = MODEL.qpos0.copy()
        row[MODEL.joint(goal.joint).qposadr] = value
        for event in (*fingers, *events):
            if not event.frame <= frame < event.until:
                continue
            if event.contact is not None:
                contacts.append((frame, *(MODEL.body(name).id for name in event.contact)))
                forces.append(event.force)
            if event.moved:
                joint = MODEL.body_jntadr[MODEL.body("block").id] if event.moved == "block" else event.moved
                row[int(MODEL.joint(joint).qposadr[0])] += event.by
        rows.append(row)
    evidence = Evidence(
        model=MODEL,
        robots=(ROBOT,),
        objects=("block",),
        qpos=np.array(rows),
        contacts=np.array(contacts, dtype=np.int32).reshape(-1, 3),
        forces=np.array(forces),
        fps=FPS,
    )
    return judge(Task(id="t", object="desk", goal=goal, instruction=""), evidence)


@pytest.mark.parametrize("goal", ALL, ids=lambda goal: f"{goal.family}-{goal.joint}")
def test_what_was_done_is_accepted(goal: Goal) -> None:
    verdict = tell(goal)
    assert verdict.success, verdict.detail


@pytest.mark.parametrize("goal", ALL, ids=lambda goal: f"{goal.family}-{goal.joint}")
def test_a_joint_short_of_its_goal_is_not(goal: Goal) -> None:
    short = goal.value_start + 0.85 * (goal.value - goal.value_start)
    assert tell(goal, end=short).cause == "missed_goal"


@pytest.mark.parametrize("goal", [OPEN, CLOSE, TURN, LID], ids=lambda goal: f"{goal.family}-{goal.joint}")
def test_what_falls_back_was_not_done(goal: Goal) -> None:
    assert tell(goal, back=goal.value_start).cause == "missed_goal"


def test_a_dial_turned_too_far_is_not_turned() -> None:
    assert tell(TURN, end=1.4).cause == "missed_goal"


def test_a_button_that_stays_in_was_not_let_go() -> None:
    assert tell(PRESS, back=0.007).cause == "missed_goal"


@pytest.mark.parametrize("goal", ALL, ids=lambda goal: f"{goal.family}-{goal.joint}")
def test_a_hand_still_on_it_has_not_let_go(goal: Goal) -> None:
    assert goal.joint is not None
    assert tell(goal, Event(45, contact=("robot/left", PART[goal.joint]))).cause == "missed_goal"


def test_what_began_open_was_not_opened() -> None:
    assert tell(OPEN, begin=0.1).cause == "unstable_start"


@pytest.mark.parametrize("goal", [OPEN, TURN], ids=lambda goal: goal.family)
def test_force_beyond_the_grip_is_named(goal: Goal) -> None:
    """Both fingers may squeeze with all that they have; what comes on top, or from one alone, is bounded."""
    assert goal.joint is not None
    part = PART[goal.joint]
    assert tell(goal, Event(20, 22, ("robot/hand", part), 2 * GRIP_N - 100 + 55)).success
    assert tell(goal, Event(20, 22, ("robot/hand", part), 2 * GRIP_N - 100 + 65)).cause == "excess_force"
    assert tell(goal, Event(36, 38, ("robot/left", part), 65.0)).cause == "excess_force"


@pytest.mark.parametrize(
    ("event", "cause"),
    [
        (Event(20, moved="dial", by=0.1), "disturbed"),
        (Event(20, moved="button", by=0.006), "disturbed"),
        (Event(20, moved="chest", by=0.025), "disturbed"),
        (Event(20, moved="block", by=0.025), "disturbed"),
        (Event(20, 22, ("robot/link", "drawer"), 3.0), "collision"),
        (Event(20, 22, ("robot/left", "desk"), 25.0), "collision"),
        (Event(20, 22, ("robot/hand", "knob"), 3.0), "collision"),
    ],
)
def test_whatever_else_is_touched_or_moved_spoils_it(event: Event, cause: str) -> None:
    assert tell(OPEN, event).cause == cause


def test_a_chest_may_shift_a_little_under_its_lid() -> None:
    assert tell(LID, Event(20, moved="chest", by=0.025)).success
    assert tell(LID, Event(20, moved="chest", by=0.035)).cause == "disturbed"


def test_a_joint_that_is_not_there_is_named() -> None:
    evidence = Evidence(
        model=MODEL,
        robots=(ROBOT,),
        objects=("block",),
        qpos=np.tile(MODEL.qpos0, (20, 1)),
        contacts=np.zeros((0, 3), np.int32),
        forces=np.zeros(0),
        fps=FPS,
    )
    goal = OPEN.model_copy(update={"joint": "drwer"})
    with pytest.raises(IntegrityError, match="drwer"):
        judge(Task(id="t", object="desk", goal=goal, instruction=""), evidence)
