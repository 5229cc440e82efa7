"""Mount a robot in a scene: two MJCF files in, one self-contained MJCF out.

What is changed in the robot's own description, and why:
- gravity compensation on every link: the real controller adds it to whatever is commanded;
- the gripper's actuator is a position servo in metres of travel that holds with `grip_force` per finger, where the
  shipped one pushes with 1-2 N, proportional to the opening;
- finger pads are rubber: friction 1.0, torsional friction, stiffer contacts, and they decide over what they touch;
- a pad of several parallel boxes is one box (the Panda's flat pad comes as five): fewer contacts, a third of the time;
- a tool site, and a wrist camera where the maker's camera mount holds one.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from blueprint.backends.robots.registry import InstalledRobot
from blueprint.backends.robots.sheet import GripperSheet, RobotSheet, Servo
from blueprint.core.errors import IntegrityError
from blueprint.geometry.transforms import matrix_to_pose, pose_to_matrix
from blueprint.model.scene import Gripper, RobotArm
from blueprint.model.spatial import Pose

if TYPE_CHECKING:
    import mujoco

TIMESTEP_S = 1 / 240  # 16 steps per frame at 15 fps, 8 at 30: a frame is a whole number of steps
SERVO_STIFFNESS = 10_000.0  # [N/m] of the gripper: full grip force at 6 mm of blocked travel
SERVO_DAMPING = 100.0  # [N s/m]: critical for the fingers' armature
PAD_FRICTION = (1.0, 0.01, 0.0001)  # rubber on most solids 0.8-1.2; torsion [m]: of the order of the contact patch
PAD_SOLREF = (0.009, 1.0)  # just above two time steps
PAD_SOLIMP = (0.95, 0.99, 0.001, 0.5, 2.0)
WRIST_CAMERA = "wrist"
WRIST_FOVY_DEG = 58.0  # a common wrist depth camera's vertical field of view
WRIST_POSITION = (0.075, 0.0, -0.0984)  # from the tool point [m]: on the hand, before the fingers
WRIST_TILT_DEG = 18.0  # towards the tool point
PAD_FILLED = 0.8  # of the common box of a pad's boxes
PEDESTAL_HALF = (0.13, 0.11)  # [m]
PEDESTAL_CENTRE_X = -0.04
CUT = "cut/"


@dataclass(frozen=True)
class Mounting:
    """Where a robot stands. pedestal_m: height of the pedestal below the base, 0 = the robot stands on the table."""

    installed: InstalledRobot
    T_world_base: NDArray[np.float64]
    pedestal_m: float


def mount(
    scene: Path, installed: InstalledRobot, T_world_base: NDArray[np.float64], pedestal_m: float, out: Path
) -> RobotArm:
    """Write `out`/workcell.xml and `out`/assets; returns the robot by its names in that file."""
    return mount_all(scene, [Mounting(installed, T_world_base, pedestal_m)], out)[0]


def mount_all(
    scene: Path, mountings: Sequence[Mounting], out: Path, more: Callable[[mujoco.MjSpec], None] | None = None
) -> tuple[RobotArm, ...]:
    """As `mount`, for several robots: names of the first begin with `robot/`, of the second with `robot2/`.

    more: puts further bodies into the scene
    """
    import mujoco

    (out / "assets").mkdir(parents=True, exist_ok=True)
    spec = mujoco.MjSpec.from_file(str(scene))
    collect_assets(spec, scene.parent, out / "assets", "")
    spec.option.timestep = TIMESTEP_S
    if not spec.flexes:  # clutter that rests is not simulated until touched: a third to a thirtieth of the time
        spec.option.enableflags |= int(mujoco.mjtEnableBit.mjENBL_SLEEP)
    for key in list(spec.keys):  # the scene's start lacks the robot; see `_add_start`
        spec.delete(key)
    if more is not None:
        more(spec)
    arms = []
    for k, one in enumerate(mountings):
        prefix, camera = prefix_of(k), wrist_camera(k)
        arm = prepared_arm(one.installed)
        collect_assets(arm, one.installed.mjcf.parent, out / "assets", f"{one.installed.robot.name}_")
        T_world_base = one.T_world_base.copy()
        T_world_base[2, 3] += one.installed.robot.plate_m
        pose = matrix_to_pose(T_world_base)
        frame = spec.worldbody.add_frame(pos=pose.position, quat=pose.quat_wxyz)
        spec.attach(arm, prefix=prefix, frame=frame)
        spec.camera(prefix + WRIST_CAMERA).name = camera  # a dataset's feature names know no slash
        if one.pedestal_m > 0:
            _add_pedestal(spec, prefix, pose, one.pedestal_m)
        arms.append(describe(one.installed, pose, prefix))
    _add_start(spec, arms)
    (out / "workcell.xml").write_text(spec.to_xml())
    return tuple(arms)


def prefix_of(k: int) -> str:
    """What the names of the k-th robot begin with in a workcell."""
    return f"robot{k + 1}/" if k else "robot/"


def wrist_camera(k: int) -> str:
    """Name of the k-th robot's wrist camera in a workcell."""
    return f"{WRIST_CAMERA}{k + 1}" if k else WRIST_CAMERA


def describe(installed: InstalledRobot, base: Pose, prefix: str) -> RobotArm:
    """The robot with the names that it has in a workcell."""
    robot, table = installed.robot, installed.table
    sheet = robot.gripper
    named = lambda names: tuple(prefix + name for name in names)  # noqa: E731
    gripper = Gripper(
        site=f"{prefix}tool",
        actuator=prefix + sheet.actuator,
        finger_joints=named(sheet.finger_joints),
        finger_bodies=named(sheet.finger_bodies),
        max_opening_m=robot.max_opening if table is None else table.openings_m[-1],
        finger_depth_m=sheet.finger_depth_m,
        open_ctrl=robot.max_opening / 2 if table is None else table.ctrls[-1],
        closed_ctrl=0.0 if table is None else table.ctrls[0],
        openings_m=() if table is None else table.openings_m,
        ctrls=() if table is None else table.ctrls,
        finger_positions=() if table is None else table.finger_positions,
    )
    limits = robot.limits
    return RobotArm(
        name=robot.name,
        title=robot.title,
        joints=named(robot.joints),
        actuators=named(robot.actuators),
        home=robot.home,
        velocity_limits=limits.velocity_rad_s.values,
        acceleration_limits=limits.acceleration_rad_s2.values,
        jerk_limits=limits.jerk_rad_s3.values,
        gripper=gripper,
        base=base,
        source=installed.source,
        licence=robot.licence,
    )


def _add_start(spec: mujoco.MjSpec, arms: Sequence[RobotArm]) -> None:
    """Keyframe `start`: the scene at rest, the arms at home and commanded to stay there, the grippers open."""
    model = spec.compile()
    qpos, ctrl = model.qpos0.copy(), np.zeros(model.nu)
    for arm in arms:
        for joint, actuator, angle in zip(arm.joints, arm.actuators, arm.home, strict=True):
            qpos[model.joint(joint).qposadr] = angle
            ctrl[model.actuator(actuator).id] = angle
        gripper = arm.gripper
        fingers = gripper.finger_positions[-1] if gripper.finger_positions else None
        for k, joint in enumerate(gripper.finger_joints):
            qpos[model.joint(joint).qposadr] = gripper.max_opening_m / 2 if fingers is None else fingers[k]
        ctrl[model.actuator(gripper.actuator).id] = gripper.open_ctrl
    spec.add_key(name="start", qpos=qpos.tolist(), ctrl=ctrl.tolist())
    spec.compile()


def cut_out(file: Path, root: str) -> mujoco.MjSpec:
    """The body `root` of an MJCF with all that belongs to it, alone and at the origin; "" = the whole file.

    Actuators without a name get that of what they drive. Raises IntegrityError when there is no such body.
    """
    import warnings

    import mujoco

    spec = mujoco.MjSpec.from_file(str(file))
    meshes = (file.parent / (spec.meshdir or "")).resolve()
    for mesh in spec.meshes:
        mesh.file = str(meshes / mesh.file) if mesh.file else ""
        mesh.name = mesh.name or Path(mesh.file).stem
    if root:
        body = spec.body(root)
        if body is None:
            raise IntegrityError(f"{file.name} has no body {root!r}; it has: {', '.join(b.name for b in spec.bodies)}")
        spec.visual.map.znear, spec.nuser_actuator = (
            0.01,
            -1,
        )  # MuJoCo's defaults: the rest of the file is no concern here
        for actuator in spec.actuators:
            actuator.userdata = []
        alone = mujoco.MjSpec()
        alone.compiler.degree, alone.compiler.autolimits = False, True
        with warnings.catch_warnings():  # the rest of the file is dropped, so its options cannot conflict
            warnings.simplefilter("ignore")
            alone.worldbody.add_frame().attach_body(body, CUT, "")  # an empty prefix makes files that cannot be read
            _drop_unused(alone)
            text = alone.to_xml().replace(f'"{CUT}main"', '"part_main"')  # a file has one class `main`
            spec = mujoco.MjSpec.from_string(text.replace(f'"{CUT}', '"'))
        spec.body(root).pos = [0.0, 0.0, 0.0]
    for actuator in spec.actuators:
        actuator.name = actuator.name or actuator.target
    _drop_unused(spec)
    return spec


def _drop_unused(spec: mujoco.MjSpec) -> None:
    shown = {geom.meshname for body in spec.bodies for geom in body.geoms}
    for item in (*(mesh for mesh in spec.meshes if mesh.name not in shown), *spec.keys, *spec.sensors, *spec.lights):
        spec.delete(item)


def prepared_arm(installed: InstalledRobot) -> mujoco.MjSpec:
    """The robot alone, changed as this file's head says."""
    import mujoco

    robot, gripper = installed.robot, installed.robot.gripper
    spec = mujoco.MjSpec.from_file(str(installed.mjcf))
    for item in (*spec.keys, *spec.lights):
        spec.delete(item)
    for body in spec.bodies:
        body.gravcomp = 1.0
    # the base is welded to the world, which switches off MuJoCo's filter of neighbouring links
    first = spec.joint(robot.joints[0]).parent.name
    if first != robot.base_body:
        spec.add_exclude(bodyname1=robot.base_body, bodyname2=first)
    if robot.servo is not None:
        _replace_servos(spec, robot, robot.servo)
    _prepare_gripper(spec, robot)
    for name in gripper.pads:
        _merge_boxes(spec, spec.body(name))
        _make_rubber(spec.body(name))
    palm = spec.body(gripper.palm)
    palm.add_site(name="tool", pos=gripper.tool_position, quat=gripper.tool_quat, size=[0.005, 0.005, 0.005], group=4)
    _add_wrist_camera(palm, gripper)
    return spec


def _replace_servos(spec: mujoco.MjSpec, robot: RobotSheet, servo: Servo) -> None:
    rows = zip(robot.joints, robot.actuators, servo.stiffness, servo.damping, servo.force, servo.armature, strict=True)
    for joint_name, name, stiffness, damping, force, armature in rows:
        joint, actuator = spec.joint(joint_name), spec.actuator(name)
        joint.armature, joint.damping, joint.frictionloss = armature, [0.0, 0.0, 0.0], 0.0
        actuator.set_to_position(stiffness, kv=damping)
        actuator.ctrlrange, actuator.forcerange = joint.range, [-force, force]


def _prepare_gripper(spec: mujoco.MjSpec, robot: RobotSheet) -> None:
    import mujoco

    gripper = robot.gripper
    servo = spec.actuator(gripper.actuator)
    force = 2 * robot.grip_force  # half of it reaches each finger
    if gripper.slides:
        servo.set_to_position(SERVO_STIFFNESS, kv=SERVO_DAMPING)
        servo.ctrlrange = [0.0, robot.max_opening / 2]
        servo.forcerange = [-force, force]
    if gripper.mirrored is not None:
        one, other = gripper.mirrored
        mirror = spec.add_equality(type=mujoco.mjtEq.mjEQ_JOINT, objtype=mujoco.mjtObj.mjOBJ_JOINT)
        mirror.name1, mirror.name2, mirror.data[1] = other, one, gripper.mirror_sign
        for actuator in [a for a in spec.actuators if a.target == other]:
            spec.delete(actuator)
    if gripper.finger_stiffness:
        stiffen_gripper(
            spec, gripper.actuator, gripper.finger_joints, gripper.finger_stiffness, gripper.finger_range, force
        )


def stiffen_gripper(
    spec: mujoco.MjSpec,
    actuator: str,
    joints: Sequence[str],
    stiffness: float,
    ctrlrange: tuple[float, float],
    force: float,
) -> None:
    """A position servo in place of the gripper's actuator, and fingers without dry friction."""
    servo = spec.actuator(actuator)
    servo.set_to_position(stiffness, kv=SERVO_DAMPING * stiffness / SERVO_STIFFNESS)
    servo.ctrllimited, servo.ctrlrange = 1, list(ctrlrange)
    servo.forcelimited, servo.forcerange = 1, [-force, force]
    for name in joints:
        spec.joint(name).frictionloss = 0.0


def _merge_boxes(spec: Any, finger: Any) -> None:
    """Colliding boxes that stand parallel and fill their common box become that box."""
    import mujoco

    boxes = [g for g in finger.geoms if g.type == mujoco.mjtGeom.mjGEOM_BOX and (g.contype or g.conaffinity)]
    if len(boxes) < 2 or any(not np.allclose(geom.quat, boxes[0].quat) for geom in boxes):
        return
    axes = pose_to_matrix(Pose(position=(0, 0, 0), quat_wxyz=tuple(boxes[0].quat)))[:3, :3]
    low = np.min([geom.pos @ axes - geom.size for geom in boxes], axis=0)
    high = np.max([geom.pos @ axes + geom.size for geom in boxes], axis=0)
    if sum(np.prod(2 * geom.size) for geom in boxes) < PAD_FILLED * np.prod(high - low):
        return
    boxes[0].pos, boxes[0].size = axes @ (low + high) / 2, (high - low) / 2
    for geom in boxes[1:]:
        spec.delete(geom)


def _make_rubber(finger: Any) -> None:
    """Its colliding boxes, or all its colliders if it has none."""
    import mujoco

    solid = [geom for geom in finger.geoms if geom.contype or geom.conaffinity]
    boxes = [geom for geom in solid if geom.type == mujoco.mjtGeom.mjGEOM_BOX]
    for geom in boxes or solid:
        geom.priority = 1
        geom.condim = 4
        geom.friction = list(PAD_FRICTION)
        geom.solref = list(PAD_SOLREF)
        geom.solimp = list(PAD_SOLIMP)


def _add_wrist_camera(palm: Any, gripper: GripperSheet) -> None:
    tilt = np.deg2rad(WRIST_TILT_DEG)
    forward = np.array([-np.sin(tilt), 0.0, np.cos(tilt)])
    right = np.array([0.0, 1.0, 0.0])
    up = np.cross(right, forward)  # away from the fingers, which so enter the picture from below
    T_tool_camera = np.eye(4)
    T_tool_camera[:3, :3] = np.stack([right, up, -forward], axis=1)
    T_tool_camera[:3, 3] = WRIST_POSITION
    T_palm_tool = pose_to_matrix(Pose(position=gripper.tool_position, quat_wxyz=gripper.tool_quat))
    pose = matrix_to_pose(T_palm_tool @ T_tool_camera)
    palm.add_camera(name=WRIST_CAMERA, pos=list(pose.position), quat=list(pose.quat_wxyz), fovy=WRIST_FOVY_DEG)


def _add_pedestal(spec: Any, prefix: str, base: Pose, height_m: float) -> None:
    import mujoco

    body = spec.worldbody.add_body(name=f"{prefix}pedestal", pos=base.position, quat=base.quat_wxyz)
    half = [*PEDESTAL_HALF, height_m / 2]
    body.add_geom(
        name=f"{prefix}pedestal",
        type=mujoco.mjtGeom.mjGEOM_BOX,
        size=half,
        pos=[PEDESTAL_CENTRE_X, 0.0, -height_m / 2],
        rgba=[0.32, 0.33, 0.35, 1.0],
    )


def collect_assets(spec: Any, folder: Path, assets: Path, prefix: str) -> None:
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
    if source.resolve() != (assets / name).resolve():
        shutil.copyfile(source, assets / name)
    return name
