"""The judge of pushing and pulling accepts what was done, nothing else. Stories are told by hand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from test_joint_goals import FPS, MODEL, ROBOT

from blueprint.model.scene import RobotArm
from blueprint.model.task import Goal, Task
from blueprint.skills.goals import Evidence, Verdict, judge

START, NEAR = np.array([0.4, 0.4]), np.array([0.3, 0.4])  # the robot of the model stands at the world's origin
PUSH = Goal(family="push", center=(0.3, 0.4), radius_m=0.03)
PULL = Goal(family="pull", center=(0.3, 0.4), radius_m=0.03)
TOUCHED = {"push": ("robot/left",), "pull": ("robot/left", "robot/right")}


@dataclass(frozen=True)
class Story:
    """The block goes from START to `end` in 20 frames; fingers: each away from closed [m]; rise: half way [m]."""

    goal: Goal
    end: tuple[float, float] = (0.3, 0.4)
    touched_by: tuple[str, ...] | None = None
    open_m: float = 0.0
    rise_m: float = 0.0
    force: float = 5.0
    until: int = 34  # frame of the last touch
    table: bool = True
    robot: RobotArm = ROBOT


def tell(story: Story) -> Verdict:
    share = np.concatenate([np.zeros(12), np.linspace(0, 1, 20), np.ones(33)])
    touched = TOUCHED[story.goal.family] if story.touched_by is None else story.touched_by
    rows, contacts, forces = [], [], []
    at = int(MODEL.jnt_qposadr[MODEL.body("block").jntadr[0]])
    for frame, s in enumerate(share):
        row = MODEL.qpos0.copy()
        rise = story.rise_m if 18 <= frame < 26 else 0.0
        row[at : at + 3] = [*(START + s * (np.array(story.end) - START)), 0.02 + rise]
        for finger in ROBOT.gripper.finger_joints:
            row[MODEL.joint(finger).qposadr] = story.open_m
        pairs = [(name, story.force) for name in touched if 11 <= frame < story.until]
        pairs += [("table", 1.0)] if not rise and (story.table or frame > 32) else []
        for name, force in pairs:
            contacts.append((frame, MODEL.body("block").id, MODEL.body(name).id))
            forces.append(force)
        rows.append(row)
    evidence = Evidence(
        model=MODEL,
        robots=(story.robot,),
        objects=("block",),
        qpos=np.array(rows),
        contacts=np.array(contacts, dtype=np.int32).reshape(-1, 3),
        forces=np.array(forces),
        fps=FPS,
    )
    return judge(Task(id="t", object="block", goal=story.goal, instruction=""), evidence)


@pytest.mark.parametrize("goal", [PUSH, PULL], ids=lambda goal: goal.family)
def test_what_was_done_is_accepted(goal: Goal) -> None:
    verdict = tell(Story(goal, open_m=0.02 if goal is PULL else 0.0))
    assert verdict.success, verdict.detail


@pytest.mark.parametrize("goal", [PUSH, PULL], ids=lambda goal: goal.family)
def test_beside_the_region_is_not_in_it(goal: Goal) -> None:
    assert tell(Story(goal, end=(0.34, 0.4))).cause == "missed_goal"


def test_both_closed_fingers_may_push_side_by_side_but_not_hold() -> None:
    both = ("robot/left", "robot/right")
    assert tell(Story(PUSH, touched_by=both)).success
    assert tell(Story(PUSH, touched_by=both, open_m=0.02)).cause == "gripped"


def test_fingers_on_a_linkage_are_open_by_their_opening_not_by_their_angle() -> None:
    """The first joint turns by 0.8 rad as the fingers open by 8 cm; the second hardly moves."""
    measured = {"openings_m": (0.0, 0.08), "finger_positions": ((0.0, 0.5), (0.8, 0.51))}
    robot = ROBOT.model_copy(update={"gripper": ROBOT.gripper.model_copy(update=measured)})
    both = ("robot/left", "robot/right")
    assert tell(Story(PUSH, touched_by=both, open_m=0.06, robot=robot)).success, "0.06 rad is 6 mm"
    assert tell(Story(PUSH, touched_by=both, open_m=0.1, robot=robot)).cause == "gripped", "0.1 rad is 10 mm"


def test_what_moved_by_itself_was_not_pushed() -> None:
    assert tell(Story(PUSH, touched_by=())).cause == "gripped"
    assert tell(Story(PULL, until=20)).cause == "grasp_missed"


def test_one_finger_does_not_pull() -> None:
    assert tell(Story(PULL, touched_by=("robot/left",))).cause == "grasp_missed"


@pytest.mark.parametrize("goal", [PUSH, PULL], ids=lambda goal: goal.family)
def test_what_is_lifted_on_the_way_was_carried(goal: Goal) -> None:
    assert tell(Story(goal, rise_m=0.006)).cause in ("lifted", "grasp_missed")


def test_a_shove_is_no_push() -> None:
    assert tell(Story(PUSH, force=65.0)).cause == "gripped"


@pytest.mark.parametrize("goal", [PUSH, PULL], ids=lambda goal: goal.family)
def test_a_hand_still_on_it_has_not_let_go(goal: Goal) -> None:
    assert tell(Story(goal, until=1000)).cause == "missed_goal"


@pytest.mark.parametrize("goal", [PUSH, PULL], ids=lambda goal: goal.family)
def test_what_lay_there_already_needs_no_hand(goal: Goal) -> None:
    here = goal.model_copy(update={"center": (0.385, 0.4)})
    assert tell(Story(here, end=(0.38, 0.4))).cause == "missed_goal"


def test_pulling_brings_nearer() -> None:
    away = PULL.model_copy(update={"center": (0.5, 0.4)})
    assert tell(Story(away, end=(0.5, 0.4))).cause == "missed_goal"
