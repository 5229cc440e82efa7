"""The judge accepts what was done, nothing else. Stories are told by hand: where the block is, and who touches it."""

from __future__ import annotations

import ast
from dataclasses import dataclass, replace
from pathlib import Path

import mujoco
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from blueprint.core.errors import IntegrityError
from blueprint.model.scene import Gripper, RobotArm
from blueprint.model.spatial import Pose
from blueprint.model.task import Goal, Task
from blueprint.skills import goals
from blueprint.skills.goals import Evidence, Verdict, history, judge

FPS = 15
BLOCK, CRATE, BIN, TOWER = "block", "crate", "bin", "tower"
AT = {BLOCK: (0.0, 0.0, 0.02), CRATE: (0.3, 0.0, 0.03), BIN: (0.3, 0.3, 0.0), TOWER: (0.0, 0.3, 0.1)}
LEFT, RIGHT, PALM, ARM, TABLE = "robot/left", "robot/right", "robot/hand", "robot/link", "table"
FINGERS = (LEFT, RIGHT)
WALLS = "".join(
    f'<geom type="box" pos="{x} {y} 0.03" size="{sx} {sy} 0.03"/>'
    for x, y, sx, sy in (
        (0.055, 0, 0.005, 0.06),
        (-0.055, 0, 0.005, 0.06),
        (0, 0.055, 0.05, 0.005),
        (0, -0.055, 0.05, 0.005),
    )
)
MODEL = mujoco.MjModel.from_xml_string(f"""<mujoco><worldbody>
  <body name="{TABLE}"><geom type="box" size="0.6 0.6 0.02" pos="0 0 -0.02"/></body>
  <body name="robot/base" pos="-0.5 0 0"><geom size="0.05"/>
    <body name="{ARM}"><joint name="robot/joint"/><geom size="0.02" pos="0 0 0.3"/>
      <body name="{PALM}"><geom size="0.02" pos="0 0 0.5"/>
        <body name="{LEFT}"><joint type="slide"/><geom size="0.01"/></body>
        <body name="{RIGHT}"><joint type="slide"/><geom size="0.01"/></body></body></body></body>
  <body name="{BLOCK}"><freejoint/><geom type="box" size="0.02 0.02 0.02"/></body>
  <body name="{CRATE}"><freejoint/><geom type="box" size="0.05 0.05 0.03"/></body>
  <body name="{BIN}"><freejoint/><geom type="box" pos="0 0 0.003" size="0.06 0.06 0.003"/>{WALLS}</body>
  <body name="{TOWER}"><freejoint/><geom type="box" size="0.02 0.02 0.1"/></body>
</worldbody></mujoco>""")
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
        actuator="",
        finger_joints=(),
        finger_bodies=FINGERS,
        max_opening_m=0.08,
        finger_depth_m=0.04,
        open_ctrl=0.04,
        closed_ctrl=0.0,
    ),
    base=Pose(),
    source="",
    licence="",
)
UP = 0.12
REGION = Goal(family="place_region", center=(-0.2, 0.1), radius_m=0.03)
BESIDE = Goal(family="place_beside", target=CRATE, radius_m=0.05)
ON = Goal(family="place_on", target=CRATE)
INTO = Goal(family="place_into", target=BIN)
LIFT = Goal(family="lift", height_m=0.1)
# where the block must end for a goal, what it rests on there
ENDS = {
    "place_region": ((-0.2, 0.1, 0.02), TABLE),
    "place_beside": ((0.2, 0.0, 0.02), TABLE),
    "place_on": ((0.3, 0.01, 0.08), CRATE),
    "place_into": ((0.3, 0.31, 0.026), BIN),
}


@dataclass(frozen=True)
class Leg:
    """The block moves to `to` in `frames` while these bodies touch it; tilt about x and yaw are reached at its end."""

    frames: int
    to: tuple[float, float, float]
    touched_by: tuple[str, ...]
    tilt_deg: float = 0.0
    yaw_deg: float = 0.0


def above(at: tuple[float, float, float], height: float = UP) -> tuple[float, float, float]:
    return (at[0], at[1], at[2] + height)


def story(goal: Goal) -> list[Leg]:
    """How it is done: stand, grip, lift, carry, lower, release, rest. For a lift: until it is up, and hold."""
    start = AT[BLOCK]
    begin = [Leg(8, start, (TABLE,)), Leg(4, start, (TABLE, *FINGERS)), Leg(10, above(start), FINGERS)]
    if goal.family == "lift":
        return [*begin, Leg(20, above(start), FINGERS)]
    end, support = ENDS[goal.family]
    return [
        *begin,
        Leg(12, above(end), FINGERS),
        Leg(10, above(end, 0.002), FINGERS),
        Leg(3, end, (*FINGERS, support)),
        Leg(25, end, (support,)),
    ]


@dataclass(frozen=True)
class Event:
    """Something besides: another body displaced and tilted from `frame` on, or two bodies in contact with a force."""

    frame: int
    body: str = ""
    moved: float = 0.0
    tilt_deg: float = 0.0
    contact: tuple[str, str] | None = None
    force: float = 0.0


def tell(goal: Goal, legs: list[Leg], *events: Event) -> Verdict:
    return judge(task_of(goal), evidence(legs, *events))


def task_of(goal: Goal) -> Task:
    return Task(id="t", object=BLOCK, goal=goal, instruction="")


def evidence(legs: list[Leg], *events: Event) -> Evidence:
    rows, contacts, forces = [], [], []
    at, tilt, yaw = np.array(AT[BLOCK]), 0.0, 0.0
    for leg in legs:
        for k in range(1, leg.frames + 1):
            share = k / leg.frames
            row = MODEL.qpos0.copy()
            for name, position in AT.items():
                put(row, name, np.array(position))
            angles = [tilt + share * (leg.tilt_deg - tilt), yaw + share * (leg.yaw_deg - yaw)]
            put(row, BLOCK, at + share * (np.array(leg.to) - at), angles[0], angles[1])
            for event in events:
                if event.body and len(rows) >= event.frame:
                    put(row, event.body, np.add(AT[event.body], (event.moved, 0, 0)), event.tilt_deg)
            touches = [(BLOCK, other) for other in leg.touched_by] + [(name, TABLE) for name in (CRATE, BIN, TOWER)]
            contacts += [(len(rows), MODEL.body(a).id, MODEL.body(b).id) for a, b in touches]
            forces += [1.0] * len(touches)
            rows.append(row)
        at, tilt, yaw = np.array(leg.to), leg.tilt_deg, leg.yaw_deg
    for event in events:
        if event.contact:
            contacts.append((event.frame, *(MODEL.body(name).id for name in event.contact)))
            forces.append(event.force)
    return Evidence(
        MODEL, (ROBOT,), (BLOCK, CRATE, BIN, TOWER), np.array(rows), np.array(contacts, np.int32), np.array(forces), FPS
    )


def put(row: np.ndarray, name: str, position: np.ndarray, tilt_deg: float = 0.0, yaw_deg: float = 0.0) -> None:
    start = MODEL.jnt_qposadr[MODEL.body(name).jntadr[0]]
    row[start : start + 3] = position
    turn = Rotation.from_euler("xz", [tilt_deg, yaw_deg], degrees=True)
    row[start + 3 : start + 7] = turn.as_quat(scalar_first=True)


ALL = (LIFT, REGION, BESIDE, ON, INTO)


@pytest.mark.parametrize("goal", ALL, ids=lambda goal: goal.family)
def test_a_task_that_was_done_is_accepted(goal: Goal) -> None:
    verdict = tell(goal, story(goal))
    assert verdict.success, verdict.detail
    assert verdict.cause is None
    assert all(check.passed for check in verdict.checks)


@pytest.mark.parametrize("goal", ALL, ids=lambda goal: goal.family)
def test_nothing_done_is_not_success(goal: Goal) -> None:
    assert tell(goal, [Leg(60, AT[BLOCK], (TABLE,))]).cause == "grasp_missed"


def test_pushed_to_the_goal_is_not_grasped() -> None:
    end = ENDS["place_region"][0]
    legs = [Leg(8, AT[BLOCK], (TABLE,)), Leg(20, end, (TABLE, *FINGERS)), Leg(25, end, (TABLE,))]
    assert tell(REGION, legs).cause == "grasp_missed"


def test_scooped_up_by_one_finger_is_not_grasped() -> None:
    legs = [replace(leg, touched_by=tuple(b for b in leg.touched_by if b != RIGHT)) for leg in story(REGION)]
    assert tell(REGION, legs).cause == "grasp_missed"


def test_dragged_along_another_object_is_not_grasped() -> None:
    legs = [
        replace(leg, touched_by=(*leg.touched_by, TOWER)) if leg.touched_by == FINGERS else leg for leg in story(ON)
    ]
    assert tell(ON, legs).cause == "grasp_missed"


@pytest.mark.parametrize("flight", [0, 2])
def test_dropped_onto_the_goal_is_rejected(flight: int) -> None:
    """Also when the whole fall happens between two frames."""
    legs = story(REGION)
    end = legs[-1].to
    fall = [Leg(flight, above(end, 0.05), ())] if flight else []
    assert tell(REGION, [*legs[:4], *fall, Leg(1, end, (TABLE,)), legs[-1]]).cause == "dropped"


def test_sliding_down_one_finger_is_a_fall() -> None:
    legs = story(REGION)
    assert tell(REGION, [*legs[:4], Leg(3, legs[-1].to, (LEFT,)), legs[-1]]).cause == "dropped"


def test_released_just_above_the_support_is_accepted() -> None:
    legs = story(REGION)
    lowered = replace(legs[4], to=above(legs[-1].to, 0.02))
    assert tell(REGION, [*legs[:4], lowered, Leg(1, legs[-1].to, (TABLE,)), legs[-1]]).success


def test_tipped_over_the_edge_is_a_fall() -> None:
    legs = story(REGION)
    over = (0.8, 0.0, -0.7)
    assert tell(REGION, [*legs[:-1], Leg(6, over, ()), Leg(25, over, (TABLE,))]).cause == "dropped"


def test_thrown_off_the_table_is_a_fall() -> None:
    legs = story(REGION)
    assert tell(REGION, [*legs[:4], Leg(30, (0.8, 0.0, -0.7), ())]).cause == "dropped"


def moved_end(goal: Goal, to: tuple[float, float, float], touched_by: tuple[str, ...], **turned: float) -> list[Leg]:
    """The story with another end."""
    legs = story(goal)
    return [
        *legs[:3],
        Leg(12, above(to), FINGERS, **turned),
        Leg(10, above(to, 0.002), FINGERS, **turned),
        Leg(25, to, touched_by, **turned),
    ]


@pytest.mark.parametrize(
    ("goal", "legs"),
    [
        pytest.param(REGION, moved_end(REGION, (-0.16, 0.1, 0.02), (TABLE,)), id="region missed by 4 cm"),
        pytest.param(REGION, moved_end(REGION, (-0.2, 0.1, 0.02), (TABLE,), tilt_deg=90.0), id="lying on its side"),
        pytest.param(REGION, moved_end(REGION, (-0.2, 0.1, 0.02), (TABLE, CRATE)), id="leaning in the region"),
        pytest.param(REGION, moved_end(REGION, (-0.2, 0.1, 0.08), (CRATE,)), id="on a crate in the region"),
        pytest.param(BESIDE, moved_end(BESIDE, (0.23, 0.0, 0.02), (TABLE, CRATE)), id="leaning on the target"),
        pytest.param(BESIDE, moved_end(BESIDE, (0.16, 0.0, 0.02), (TABLE,)), id="7 cm beside"),
        pytest.param(BESIDE, moved_end(BESIDE, (0.3, 0.0, 0.08), (CRATE,)), id="on instead of beside"),
        pytest.param(ON, moved_end(ON, (0.23, 0.0, 0.02), (TABLE,)), id="beside instead of on"),
        pytest.param(ON, moved_end(ON, (0.25, 0.0, 0.05), (TABLE, CRATE)), id="half on the target"),
        pytest.param(ON, moved_end(ON, (0.36, 0.0, 0.08), (CRATE,)), id="hanging over the edge"),
        pytest.param(ON, moved_end(ON, (0.3, 0.3, 0.08), (BIN,)), id="on another object"),
        pytest.param(INTO, moved_end(INTO, (0.3, 0.36, 0.08), (BIN,)), id="on the rim"),
        pytest.param(INTO, moved_end(INTO, (0.3, 0.38, 0.02), (TABLE, BIN)), id="against the outer wall"),
    ],
)
def test_the_wrong_place_misses_the_goal(goal: Goal, legs: list[Leg]) -> None:
    assert tell(goal, legs).cause == "missed_goal"


def test_turning_about_the_vertical_does_not_count_as_tilt() -> None:
    assert tell(REGION, moved_end(REGION, (-0.2, 0.1, 0.02), (TABLE,), yaw_deg=140.0)).success


@pytest.mark.parametrize("holder", [(LEFT,), FINGERS, (PALM,), (ARM,)])
def test_what_is_still_held_is_not_placed(holder: tuple[str, ...]) -> None:
    legs = story(REGION)
    assert tell(REGION, [*legs[:-1], replace(legs[-1], touched_by=(TABLE, *holder))]).cause == "missed_goal"


def test_a_lift_must_reach_its_height_and_end_in_both_fingers() -> None:
    legs = story(LIFT)
    low = [*legs[:2], *(replace(leg, to=above(AT[BLOCK], 0.09)) for leg in legs[2:])]
    assert tell(LIFT, low).cause == "missed_goal"
    assert tell(LIFT, [*legs[:-1], replace(legs[-1], touched_by=(LEFT,))]).cause == "missed_goal"


def test_what_still_rolls_has_not_arrived() -> None:
    legs = story(REGION)
    x, y, z = legs[-1].to
    assert tell(REGION, [*legs, Leg(15, (x + 0.006, y, z), (TABLE,))]).cause == "missed_goal"
    assert tell(REGION, [*legs, Leg(15, (x + 0.001, y, z), (TABLE,))]).success


@pytest.mark.parametrize("moved, tilt_deg", [(0.03, 0.0), (0.0, 80.0), (0.0, 20.0)])
def test_a_neighbour_that_was_knocked_is_disturbed(moved: float, tilt_deg: float) -> None:
    event = Event(30, TOWER, moved=moved, tilt_deg=tilt_deg)
    assert tell(REGION, story(REGION), event).cause == "disturbed"


def test_the_target_may_give_a_little_more_than_others() -> None:
    assert tell(ON, story(ON), Event(40, CRATE, moved=0.025)).success
    assert tell(ON, story(ON), Event(40, CRATE, moved=0.035)).cause == "disturbed"
    assert tell(BESIDE, story(BESIDE), Event(40, CRATE, moved=0.025)).cause == "disturbed"


@pytest.mark.parametrize(
    ("contact", "force", "bad"),
    [
        ((LEFT, TABLE), 15.0, False),
        ((LEFT, TABLE), 25.0, True),
        ((TABLE, LEFT), 25.0, True),
        ((RIGHT, TOWER), 8.0, True),
        ((PALM, TABLE), 3.0, True),
        ((PALM, BLOCK), 30.0, False),
        ((ARM, TABLE), 3.0, True),
        ((ARM, TOWER), 3.0, True),
        ((ARM, BLOCK), 3.0, True),
        ((LEFT, RIGHT), 30.0, False),
    ],
)
def test_the_robot_collides_with_what_is_not_its_task(contact: tuple[str, str], force: float, bad: bool) -> None:
    verdict = tell(REGION, story(REGION), Event(15, contact=contact, force=force))
    assert verdict.cause == ("collision" if bad else None), verdict.detail


def test_a_scene_that_moves_by_itself_is_no_start() -> None:
    legs = story(REGION)
    sliding = [Leg(8, (0.01, 0.0, 0.02), (TABLE,)), *legs[1:]]
    assert tell(REGION, sliding).cause == "unstable_start"


def commanded(scale: float, **limits: tuple[float]) -> Verdict:
    """A good story whose joint goes smoothly to `scale` [rad] and back within its frames."""
    told, loose = evidence(story(REGION)), {f"{what}_limits": (1e9,) for what in ("velocity", "acceleration", "jerk")}
    phase = np.linspace(0.0, 1.0, len(told.qpos))
    action = np.column_stack([scale * np.sin(np.pi * phase) ** 4, np.full(len(phase), 0.08)]).astype(np.float32)
    return judge(
        Task(id="t", object=BLOCK, goal=REGION, instruction=""),
        replace(told, robots=(ROBOT.model_copy(update=loose | limits),), action=action),
    )


@pytest.mark.parametrize(("order", "what"), [(1, "velocity"), (2, "acceleration"), (3, "jerk")])
def test_an_episode_beyond_the_datasheet_is_no_success(order: int, what: str) -> None:
    frames = len(evidence(story(REGION)).qpos)
    wave = np.sin(np.pi * np.linspace(0.0, 1.0, frames)) ** 4
    peak = float(np.abs(np.diff(wave, order)).max()) * FPS**order  # at 1 rad
    assert commanded(0.97, **{f"{what}_limits": (peak,)}).success
    verdict = commanded(1.05, **{f"{what}_limits": (peak,)})
    assert (verdict.success, verdict.cause) == (False, "too_fast")
    assert what in verdict.detail


def test_a_command_that_jumps_from_home_is_no_success() -> None:
    told = evidence(story(REGION))
    action = np.column_stack([np.full(len(told.qpos), 0.5), np.full(len(told.qpos), 0.08)])
    assert (
        judge(Task(id="t", object=BLOCK, goal=REGION, instruction=""), replace(told, action=action)).cause == "too_fast"
    )


def test_malformed_evidence_is_an_error_and_no_verdict() -> None:
    good = evidence(story(REGION))
    broken = good.qpos.copy()
    broken[3, 0] = np.nan
    late = good.contacts.copy()
    late[0, 0] = len(good.qpos)
    for bad in (
        replace(good, qpos=good.qpos[:10], contacts=good.contacts[:0], forces=good.forces[:0]),
        replace(good, qpos=broken),
        replace(good, contacts=late),
        replace(good, forces=good.forces[:-1]),
    ):
        with pytest.raises(IntegrityError):
            judge(task_of(REGION), bad)
    with pytest.raises(IntegrityError, match="no object 'cup' in the scene; it has: block"):
        judge(task_of(Goal(family="place_on", target="cup")), good)


def test_the_judge_shares_no_code_with_the_planner() -> None:
    files = sorted(Path(goals.__file__).parent.glob("*.py"))
    assert len(files) > 3
    trees = [ast.parse(file.read_text()) for file in files]
    imported = {node.module or "" for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    own = {name for name in imported if name.startswith("blueprint.")}
    assert all(name.startswith(("blueprint.model.", "blueprint.core.", "blueprint.skills.goals")) for name in own), own


def test_outline_distance_agrees_with_a_fine_search() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b = rng.random((6, 2)), rng.random((6, 2)) + np.array([1.5, 0.4])
        share = rng.dirichlet(np.full(6, 0.3), 4000)
        sampled = np.linalg.norm((share @ a)[:, None] - (share @ b)[None, :400], axis=2).min()
        assert 0 < history.outline_distance(a, b) <= sampled + 1e-9
        assert history.outline_distance(a, b) == pytest.approx(sampled, abs=0.08)
    square = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    assert history.outline_distance(square, square + np.array([3.0, 4.0])) == pytest.approx(np.hypot(2, 3))
    assert history.outline_distance(square, square + np.array([0.9, 0.0])) == pytest.approx(-0.1)
    assert history.centroid(square) == pytest.approx([0.5, 0.5])


def test_points_on_the_lid_of_a_cylinder_bound_it() -> None:
    model = mujoco.MjModel.from_xml_string(
        '<mujoco><worldbody><body name="can"><freejoint/><geom type="cylinder" size="0.03 0.05" euler="90 0 0"/>'
        "</body></worldbody></mujoco>"
    )
    points = history.collider_points(model, model.body("can").id)
    assert np.ptp(points, axis=0) == pytest.approx([0.06, 0.1, 0.06], abs=2e-4)
