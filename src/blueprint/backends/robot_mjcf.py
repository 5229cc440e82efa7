"""Mount a robot in a scene: two MJCF files in, one self-contained MJCF out.

What is changed in the robot's own description, and why:
- gravity compensation on every link: the real controller adds it to whatever is commanded;
- the gripper's actuator is a position servo in metres of travel that holds with `grip_force` per finger, where the
  shipped one pushes with 1-2 N, proportional to the opening;
- finger pads are rubber: friction 1.0, torsional friction, stiffer contacts, and they decide over what they touch;
- a tool site, and a wrist camera where the maker's camera mount holds one.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from blueprint.backends.robots import InstalledRobot
from blueprint.core.errors import IntegrityError
from blueprint.geometry.transforms import matrix_to_pose
from blueprint.model.scene import Gripper, RobotArm
from blueprint.model.spatial import Pose

if TYPE_CHECKING:
    import mujoco

PREFIX = "robot/"
TIMESTEP_S = 1 / 480  # 32 steps per frame at 15 fps, 16 at 30: a frame is a whole number of steps
SERVO_STIFFNESS = 10_000.0  # [N/m] of the gripper: full grip force at 6 mm of blocked travel
SERVO_DAMPING = 100.0  # [N s/m]: critical for the fingers' armature
PAD_FRICTION = (1.0, 0.01, 0.0001)  # rubber on most solids 0.8-1.2; torsion [m]: of the order of the contact patch
PAD_SOLREF = (0.006, 1.0)  # just above two time steps
PAD_SOLIMP = (0.95, 0.99, 0.001, 0.5, 2.0)
WRIST_CAMERA = "wrist"
WRIST_FOVY_DEG = 58.0  # a common wrist depth camera's vertical field of view
WRIST_POSITION = (0.075, 0.0, 0.005)  # on the hand, before the fingers [m]
WRIST_TILT_DEG = 18.0  # towards the tool point
PEDESTAL_HALF = (0.13, 0.11)  # [m]
PEDESTAL_CENTRE_X = -0.04


def mount(
    scene: Path, installed: InstalledRobot, T_world_base: NDArray[np.float64], pedestal_m: float, out: Path
) -> RobotArm:
    """Write `out`/workcell.xml and `out`/assets; returns the robot by its names in that file.

    pedestal_m: height of the pedestal below the base, 0 = the robot stands on the table
    """
    import mujoco

    (out / "assets").mkdir(parents=True, exist_ok=True)
    spec = mujoco.MjSpec.from_file(str(scene))
    _collect_assets(spec, scene.parent, out / "assets", "")
    arm = _prepared_arm(installed)
    _collect_assets(arm, installed.mjcf.parent, out / "assets", f"{installed.robot.name}_")
    spec.option.timestep = TIMESTEP_S
    for key in list(spec.keys):  # the scene's start lacks the robot; see `_add_start`
        spec.delete(key)
    pose = matrix_to_pose(T_world_base)
    frame = spec.worldbody.add_frame(pos=pose.position, quat=pose.quat_wxyz)
    spec.attach(arm, prefix=PREFIX, frame=frame)
    spec.camera(PREFIX + WRIST_CAMERA).name = WRIST_CAMERA  # a dataset's feature names know no slash
    if pedestal_m > 0:
        _add_pedestal(spec, pose, pedestal_m)
    _add_start(spec, installed)
    (out / "workcell.xml").write_text(spec.to_xml())
    return describe(installed, pose)


def describe(installed: InstalledRobot, base: Pose) -> RobotArm:
    """The robot with the names that it has in a workcell."""
    robot = installed.robot
    named = lambda names: tuple(PREFIX + name for name in names)  # noqa: E731
    gripper = Gripper(
        site=f"{PREFIX}tool",
        actuator=PREFIX + robot.gripper_actuator,
        finger_joints=named(robot.finger_joints),
        finger_bodies=named(robot.finger_bodies),
        max_opening_m=robot.max_opening,
        finger_depth_m=robot.finger_depth,
        open_ctrl=robot.max_opening / 2,
        closed_ctrl=0.0,
    )
    return RobotArm(
        name=robot.name,
        title=robot.title,
        joints=named(robot.joints),
        actuators=named(robot.actuators),
        home=robot.home,
        velocity_limits=robot.velocity_limits,
        acceleration_limits=robot.acceleration_limits,
        jerk_limits=robot.jerk_limits,
        gripper=gripper,
        base=base,
        source=installed.source,
        licence=robot.licence,
    )


def _add_start(spec: mujoco.MjSpec, installed: InstalledRobot) -> None:
    """Keyframe `start`: the scene at rest, the arm at home and commanded to stay there, the gripper open."""
    robot = installed.robot
    model = spec.compile()
    qpos, ctrl = model.qpos0.copy(), np.zeros(model.nu)
    for joint, actuator, angle in zip(robot.joints, robot.actuators, robot.home, strict=True):
        qpos[model.joint(PREFIX + joint).qposadr] = angle
        ctrl[model.actuator(PREFIX + actuator).id] = angle
    for joint in robot.finger_joints:
        qpos[model.joint(PREFIX + joint).qposadr] = robot.max_opening / 2
    ctrl[model.actuator(PREFIX + robot.gripper_actuator).id] = robot.max_opening / 2
    spec.add_key(name="start", qpos=qpos.tolist(), ctrl=ctrl.tolist())
    spec.compile()


def _prepared_arm(installed: InstalledRobot) -> mujoco.MjSpec:
    import mujoco

    robot = installed.robot
    spec = mujoco.MjSpec.from_file(str(installed.mjcf))
    for key in list(spec.keys):
        spec.delete(key)
    for light in list(spec.lights):
        spec.delete(light)
    for body in spec.bodies:
        body.gravcomp = 1.0
    # the base is welded to the world, which switches off MuJoCo's filter of neighbouring links
    first = spec.joint(robot.joints[0]).parent.name
    spec.add_exclude(bodyname1=robot.base_body, bodyname2=first)
    servo = spec.actuator(robot.gripper_actuator)
    force = 2 * robot.grip_force  # the tendon gives half of it to each finger
    servo.set_to_position(SERVO_STIFFNESS, kv=SERVO_DAMPING)
    servo.ctrlrange = [0.0, robot.max_opening / 2]
    servo.forcerange = [-force, force]
    for name in robot.finger_bodies:
        _make_rubber(spec.body(name))
    hand = spec.body(robot.hand_body)
    hand.add_site(name="tool", pos=[0.0, 0.0, robot.tool_z], size=[0.005, 0.005, 0.005], group=4)
    _add_wrist_camera(hand)
    return spec


def _make_rubber(finger: Any) -> None:
    import mujoco

    for geom in finger.geoms:
        if geom.type == mujoco.mjtGeom.mjGEOM_BOX:
            geom.priority = 1
            geom.condim = 4
            geom.friction = list(PAD_FRICTION)
            geom.solref = list(PAD_SOLREF)
            geom.solimp = list(PAD_SOLIMP)


def _add_wrist_camera(hand: Any) -> None:
    tilt = np.deg2rad(WRIST_TILT_DEG)
    forward = np.array([-np.sin(tilt), 0.0, np.cos(tilt)])
    right = np.array([0.0, 1.0, 0.0])
    up = np.cross(right, forward)  # away from the fingers, which so enter the picture from below
    axes = np.eye(4)
    axes[:3, :3] = np.stack([right, up, -forward], axis=1)
    pose = matrix_to_pose(axes)
    hand.add_camera(name=WRIST_CAMERA, pos=list(WRIST_POSITION), quat=list(pose.quat_wxyz), fovy=WRIST_FOVY_DEG)


def _add_pedestal(spec: Any, base: Pose, height_m: float) -> None:
    import mujoco

    body = spec.worldbody.add_body(name=f"{PREFIX}pedestal", pos=base.position, quat=base.quat_wxyz)
    half = [*PEDESTAL_HALF, height_m / 2]
    body.add_geom(
        name=f"{PREFIX}pedestal",
        type=mujoco.mjtGeom.mjGEOM_BOX,
        size=half,
        pos=[PEDESTAL_CENTRE_X, 0.0, -height_m / 2],
        rgba=[0.32, 0.33, 0.35, 1.0],
    )


def _collect_assets(spec: Any, folder: Path, assets: Path, prefix: str) -> None:
    """Copy every file that a spec names into `assets` under a flat name, and point the spec there."""
    for items, directory in ((spec.meshes, spec.meshdir), (spec.textures, spec.texturedir), (spec.hfields, "")):
        for item in items:
            if item.file:
                item.file = _copy(folder / (directory or "") / item.file, folder, assets, prefix)
                if hasattr(item, "name") and not item.name:
                    item.name = Path(item.file).stem.removeprefix(prefix)
    spec.meshdir = spec.texturedir = assets.name
    spec.modelfiledir = str(assets.parent)


def _copy(source: Path, folder: Path, assets: Path, prefix: str) -> str:
    if not source.is_file():
        raise IntegrityError(f"{folder.name} names a file that does not exist: {source.name}")
    inside = source.relative_to(folder) if source.is_relative_to(folder) else Path(source.name)
    parts = [part for part in inside.parts if part not in ("assets", "..")]
    name = prefix + "__".join(parts)
    shutil.copyfile(source, assets / name)
    return name
