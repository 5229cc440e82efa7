"""Laws of added robots: found as they were made, from MJCF and URDF alike; what cannot be used says why."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from blueprint.apps.robots.onboarding import Added, add
from blueprint.backends.robots import sheet as robot_sheet
from blueprint.core.errors import InputError

OPENING_M = 0.06
LENGTHS_M = (0.1, 0.08, 0.3, 0.27, 0.05, 0.05)
AXES = ("0 0 1", "0 1 0", "0 1 0", "0 0 1", "0 1 0", "0 0 1")
PALM_M = 0.06  # from the last joint's body to the palm's end
FINGER_M = 0.05


def mjcf(*, fingers: str | None = None, extra: str = "") -> str:
    """A made-up arm of six joints; its hand closes along y, z away from the palm."""
    offsets = (0.05, *LENGTHS_M)
    links = "".join(
        f'<body name="link{i}" pos="0 0 {offsets[i - 1]}"><joint name="j{i}" axis="{axis}" range="-2.8 2.8"/>'
        f'<geom type="capsule" size="0.015" mass="1" fromto="0 0 0.01 0 0 {max(offsets[i] - 0.03, 0.02)}"/>'
        for i, axis in enumerate(AXES, start=1)
    )
    both = "".join(
        f'<body name="{side}" pos="0 0 {PALM_M}"><joint name="{side}_slide" type="slide" axis="0 {sign} 0" '
        f'range="0 {OPENING_M / 2}"/><geom type="box" size="0.01 0.005 {FINGER_M / 2}" '
        f'pos="0 {sign * 0.005} {FINGER_M / 2}" mass="0.05"/></body>'
        for side, sign in (("left", 1), ("right", -1))
    )
    servos = "".join(f'<position name="a{i}" joint="j{i}" kp="800" kv="60"/>' for i in range(1, 7))
    fingers = both if fingers is None else fingers
    return f"""<mujoco model="toy"><compiler angle="radian"/><worldbody><body name="base">
      <geom type="cylinder" size="0.05 0.025" pos="0 0 0.025"/>{links}<body name="palm" pos="0 0 0.05">
      <geom type="box" size="0.02 0.05 {PALM_M / 2}" pos="0 0 {PALM_M / 2}" mass="0.2"/>{fingers}
      </body>{"</body>" * 6}</body>{extra}</worldbody><actuator>{servos}</actuator></mujoco>"""


def urdf() -> str:
    """The same arm; one finger mimics the other."""
    links = ['<link name="base"/>']
    joints = []
    box = '<collision><origin xyz="0 {y} {z}"/><geometry><box size="{size}"/></geometry></collision>'
    inertia = (
        '<inertial><mass value="{m}"/><inertia ixx="0.01" iyy="0.01" izz="0.01" ixy="0" ixz="0" iyz="0"/></inertial>'
    )
    parent = "base"
    for i, axis in enumerate(AXES, start=1):
        length = LENGTHS_M[i - 1]
        shape = box.format(y=0, z=length / 2, size=f"0.05 0.05 {length / 2}")
        links.append(f'<link name="link{i}">{inertia.format(m=1)}{shape}</link>')
        up = LENGTHS_M[i - 2] if i > 1 else 0.05
        joints.append(
            f'<joint name="j{i}" type="revolute"><parent link="{parent}"/><child link="link{i}"/>'
            f'<origin xyz="0 0 {up}"/><axis xyz="{axis}"/>'
            f'<limit lower="-2.8" upper="2.8" effort="50" velocity="{1.0 + i / 10}"/></joint>'
        )
        parent = f"link{i}"
    palm = box.format(y=0, z=PALM_M / 2, size=f"0.04 0.1 {PALM_M}")
    links.append(f'<link name="palm">{inertia.format(m=0.2)}{palm}</link>')
    joints.append(
        f'<joint name="flange" type="fixed"><parent link="{parent}"/><child link="palm"/>'
        '<origin xyz="0 0 0.05"/></joint>'
    )
    for side, sign, mimic in (("left", 1, ""), ("right", -1, '<mimic joint="left_slide"/>')):
        finger = box.format(y=sign * 0.005, z=FINGER_M / 2, size=f"0.02 0.01 {FINGER_M}")
        links.append(f'<link name="{side}">{inertia.format(m=0.05)}{finger}</link>')
        joints.append(
            f'<joint name="{side}_slide" type="prismatic"><parent link="palm"/><child link="{side}"/>'
            f'<origin xyz="0 0 {PALM_M}"/><axis xyz="0 {sign} 0"/><limit lower="0" upper="{OPENING_M / 2}" effort="20" '
            f'velocity="0.1"/>{mimic}</joint>'
        )
    return f'<robot name="toy">{"".join(links + joints)}</robot>'


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BLUEPRINT_HOME", str(tmp_path / "home"))
    return tmp_path


def added(home: Path, name: str, text: str) -> Added:
    file = home / name
    file.write_text(text)
    return add(file)


@pytest.mark.parametrize("kind", ["xml", "urdf"])
def test_a_robot_is_found_as_it_was_made(home: Path, kind: str) -> None:
    made = added(home, f"toy_arm.{kind}", mjcf() if kind == "xml" else urdf())
    sheet, gripper = made.robot, made.robot.gripper
    assert sheet.joints == tuple(f"j{i}" for i in range(1, 7))
    assert {*gripper.pads} == {"left", "right"} and gripper.palm == "palm"
    assert sheet.max_opening == pytest.approx(OPENING_M, abs=1e-3)
    np.testing.assert_allclose(gripper.tool_position, [0, 0, PALM_M + FINGER_M - 0.01], atol=2e-3)
    assert sheet.reach == pytest.approx(sum(LENGTHS_M[1:]) + PALM_M + FINGER_M - 0.01, rel=0.05)
    assert all(trial.passed for trial in made.trials)
    assert any("acceleration" in one for one in made.assumed)
    if kind == "urdf":
        np.testing.assert_allclose(sheet.limits.velocity_rad_s.values, [1.0 + i / 10 for i in range(1, 7)])
    written = robot_sheet.sheets()["toy_arm"]
    assert isinstance(written, robot_sheet.RobotSheet) and written.joints == sheet.joints
    assert written.limits == sheet.limits and written.assumed == made.assumed


BAD = {
    "no gripper": (mjcf(fingers=""), "no gripper with two fingers"),
    "one jaw": (mjcf(fingers='<body name="jaw"><joint axis="1 0 0"/><geom size="0.01"/></body>'), "no gripper"),
    "free things": (mjcf(extra='<body pos="1 0 0"><freejoint/><geom size="0.02"/></body>'), "free or ball joint"),
    "two arms": (mjcf(extra='<body name="other"><joint/><geom size="0.02"/></body>'), "2 moving things: base, other"),
    "not MJCF": ("<html/>", "neither MJCF nor URDF"),
    "torn": (mjcf()[:200], "cannot be read"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_used_says_why(home: Path, case: str) -> None:
    text, words = BAD[case]
    with pytest.raises(InputError, match=words) as caught:
        added(home, "bad.xml", text)
    assert caught.value.hint or case == "not MJCF"
    assert not (home / "home" / "robot_sheets").exists()


def test_a_mesh_that_is_not_there_is_named(home: Path) -> None:
    text = urdf().replace('<box size="0.04 0.1 0.06"/>', '<mesh filename="package://toy/meshes/palm.stl"/>')
    with pytest.raises(InputError, match=r"package://toy/meshes/palm\.stl"):
        added(home, "bad.urdf", text)


def test_a_robot_of_ours_keeps_its_name(home: Path) -> None:
    (home / "arm.xml").write_text(mjcf())
    with pytest.raises(InputError, match="own"):
        add(home / "arm.xml", name="franka_panda")
