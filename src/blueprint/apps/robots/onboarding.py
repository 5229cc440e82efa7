"""Add a robot from its MJCF or URDF: inspect it, measure it, try it, and write its sheet."""

from __future__ import annotations

import shutil
import tempfile
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from blueprint.apps.robots import inspect, urdf
from blueprint.backends.robots import mjcf as robot_mjcf
from blueprint.backends.robots import registry as robots
from blueprint.backends.robots.sheet import RobotSheet, data_folder, sheets, to_toml, user_sheets
from blueprint.backends.robots.trial import compiled
from blueprint.core.errors import InputError

if TYPE_CHECKING:
    import mujoco

    from blueprint.skills.cell import Cell

Array = NDArray[np.float64]

CUBE_M, CUBE_KG, HELD_S = 0.03, 0.1, 1.5
DROP_M = 0.005
GRID_SHARE = 0.5  # of a grid of poses pointing down that must be in reach
HOMES_TRIED, HOME_MARGIN = 60, 0.2  # share of a joint's half range that a home from the joints' middles keeps
EMPTY = """<mujoco><option integrator="implicitfast" cone="elliptic" impratio="50"/><worldbody>
  <geom name="floor" type="plane" size="3 3 0.1" pos="0 0 -0.7"/><camera name="scene" pos="1 0 1"/>{cube}
</worldbody></mujoco>"""
CUBE = '<body name="cube" pos="{at}" quat="{turn}"><freejoint/><geom type="box" size="{h} {h} {h}" mass="{kg}"/></body>'


@dataclass(frozen=True)
class Trial:
    """name: what was tried; measured: in words; passed."""

    name: str
    measured: str
    passed: bool


@dataclass(frozen=True)
class Added:
    """told: what the file says; assumed: what it does not; trials: what was tried; sheet: where it was written."""

    robot: RobotSheet
    told: tuple[str, ...]
    assumed: tuple[str, ...]
    trials: tuple[Trial, ...]
    sheet: Path


def add(file: Path, *, name: str = "", title: str = "", arm: str = "") -> Added:
    """Inspect, measure, try and store a robot; nothing is stored unless it passes.

    arm: the body at which the arm begins, where the file holds more than one
    Raises InputError that says what is wrong with the file and what would help.
    """
    name = name or _plain(file.stem)
    if name in sheets() and not (user_sheets() / f"{name}.toml").is_file():
        raise InputError(f"{name!r} is a robot of blueprint's own", "choose another: --name NAME")
    folder = data_folder() / "robots"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=f".{name}.") as scratch:
        fresh = Path(scratch) / name
        sheet, found = _inspected(file, fresh, name, title or file.stem, arm)
        trials = tuple(_trials(_installed(sheet, fresh), Path(scratch)))
        failed = [trial for trial in trials if not trial.passed]
        if failed:
            raise InputError(
                f"{sheet.title} fails: " + "; ".join(f"{trial.name}: {trial.measured}" for trial in failed),
                "found: " + "; ".join(found.told + [f"assumed: {one}" for one in found.assumed]),
            )
        target = folder / name
        if target.exists():
            target.rename(Path(scratch) / "old")
        fresh.rename(target)
    user_sheets().mkdir(parents=True, exist_ok=True)
    written = user_sheets() / f"{name}.toml"
    sheet = sheet.model_copy(update={"assumed": tuple(found.assumed)})
    written.write_text(to_toml(sheet.model_dump(mode="json", exclude={"files"})))
    return Added(sheet, tuple(found.told), tuple(found.assumed), trials, written)


def _plain(text: str) -> str:
    plain = "".join(c if c.isalnum() else "_" for c in text.lower()).strip("_")
    return plain if plain[:1].isalpha() else f"robot_{plain}"


def _inspected(file: Path, fresh: Path, name: str, title: str, arm: str) -> tuple[RobotSheet, inspect.Found]:
    """The robot's files brought to `fresh`, its gripper measured, and its sheet with a home."""
    import mujoco

    (fresh / "assets").mkdir(parents=True)
    spec, velocities = _read(file, arm, fresh)
    for body in spec.bodies:
        body.gravcomp = 1.0
    model = compiled(spec)
    found = inspect.arm_and_palm(spec, model)
    parts = inspect.gripper_drive(spec, model, found)
    actuators = {spec_actuator.target: spec_actuator for spec_actuator in spec.actuators}
    inspect.touching_always(spec, model, found)
    for joint in found.joints:  # one actuator per arm joint, named after it
        own = actuators.get(joint) or spec.add_actuator(target=joint)
        if joint not in actuators:
            own.trntype = _joint_transmission()
        own.name = joint
        own.ctrllimited, own.ctrlrange = 1, spec.joint(joint).range
    model = compiled(spec)
    parts |= inspect.pads_and_tool(_coupled(spec, parts), found, str(parts["actuator"]))
    servo = inspect.arm_servo(model, found, {n: model.actuator(n).id for n in found.joints})
    opening = float(parts["opening"])  # type: ignore[arg-type]
    base = model.body(model.body_rootid[model.jnt_bodyid[model.joint(found.joints[0]).id]]).name
    licence = _licence(file, fresh, found)
    reach = _reach(model, found, parts)
    spec.option = mujoco.MjSpec().option  # the workcell's count
    (fresh / "robot.xml").write_text(spec.to_xml())
    sheet = inspect.sheet(
        name, title, licence, base, found, parts, inspect.limits(found, velocities, reach, opening), servo
    )
    middles = tuple(float(np.mean(model.joint(joint).range)) for joint in found.joints)
    sheet = sheet.model_copy(update={"home": middles})
    robots.store(sheet, fresh, f"added from {file.name}")
    home = _home(sheet, fresh)
    found.told.append(
        f"home: {np.round(home, 3).tolist()} rad, the hand down in front of the base; reach {reach:.2f} m"
    )
    sheet = sheet.model_copy(update={"home": tuple(np.round(home, 4).tolist())})
    robots.store(sheet, fresh, f"added from {file.name}")
    return sheet, found


def _joint_transmission() -> Any:
    import mujoco

    return mujoco.mjtTrn.mjTRN_JOINT


def _coupled(spec: mujoco.MjSpec, parts: dict[str, object]) -> mujoco.MjModel:
    """A model in which the fingers are tied and driven as they will be."""
    import mujoco

    copy = mujoco.MjSpec.from_string(spec.to_xml()) if not spec.meshes else spec.copy()
    if "mirrored" in parts:
        one, other = parts["mirrored"]  # type: ignore[misc]
        tie = copy.add_equality(type=mujoco.mjtEq.mjEQ_JOINT, objtype=mujoco.mjtObj.mjOBJ_JOINT)
        tie.name1, tie.name2, tie.data[1] = other, one, parts["mirror_sign"]
        for actuator in [a for a in copy.actuators if a.target == other]:
            copy.delete(actuator)
    if "finger_stiffness" in parts:
        robot_mjcf.stiffen_gripper(
            copy,
            str(parts["actuator"]),
            parts["finger_joints"],  # type: ignore[arg-type]
            float(parts["finger_stiffness"]),  # type: ignore[arg-type]
            parts["finger_range"],  # type: ignore[arg-type]
            2 * inspect.GRIP_N,
        )
    return compiled(copy)


def _read(file: Path, arm: str, fresh: Path) -> tuple[mujoco.MjSpec, dict[str, float]]:
    """The file as a spec with its meshes in `fresh`/assets, and the joint speeds that a URDF states [rad/s]."""
    import mujoco

    if not file.is_file():
        raise InputError(f"there is no file {file}", "give an MJCF (.xml) or a URDF (.urdf)")
    velocities: dict[str, float] = {}
    try:
        root = ET.parse(file).getroot()
        if root.tag == "robot":
            velocities = urdf.joint_speeds(root)
            spec = mujoco.MjSpec.from_string(urdf.urdf_for_mujoco(root, file, fresh / "assets"))
            urdf.mimic(spec, root)
            spec = mujoco.MjSpec.from_string(spec.to_xml())
            if arm:
                raise InputError("--arm is for MJCF files", "cut the URDF to one arm")
        elif root.tag in ("mujoco", "mujocoinclude"):
            spec = robot_mjcf.cut_out(file, arm)
            if arm:  # it looks along x again, wherever it looked in its file
                spec.body(arm).quat = [1.0, 0.0, 0.0, 0.0]
        else:
            raise InputError(f"{file.name} is neither MJCF nor URDF: its root is <{root.tag}>")
        robot_mjcf.collect_assets(spec, file.parent, fresh / "assets", "")
        spec.modelfiledir = str(fresh)
        spec.compile()
    except (ET.ParseError, ValueError) as error:
        raise InputError(f"{file.name} cannot be read: {error}", "MuJoCo must be able to load it") from error
    if not spec.bodies[1:]:
        raise InputError(f"{file.name} holds no body")
    return spec, velocities


def _licence(file: Path, fresh: Path, found: inspect.Found) -> str:
    for above in (file.parent, *file.parent.parents[:2]):
        for candidate in sorted(above.glob("LICEN[CS]E*")):
            shutil.copyfile(candidate, fresh / "LICENSE")
            return (candidate.read_text(errors="replace").strip().splitlines() or ["see LICENSE"])[0][:80]
    found.assumed.append("no licence lies beside the file: write it into the sheet before you share data")
    return "not stated"


def _reach(model: mujoco.MjModel, found: inspect.Found, parts: dict[str, object]) -> float:
    """Farthest distance of the tool point from the first joint's axis over random configurations [m]."""
    import mujoco

    data, rng = mujoco.MjData(model), np.random.default_rng(0)
    addresses = [int(model.joint(name).qposadr[0]) for name in found.joints]
    ranges = np.array([model.joint(name).range for name in found.joints])
    palm, first, farthest = model.body(found.palm).id, model.joint(found.joints[0]).id, 0.0
    for _ in range(2000):
        data.qpos[addresses] = rng.uniform(ranges[:, 0], ranges[:, 1])
        mujoco.mj_kinematics(model, data)
        tool = data.xpos[palm] + data.xmat[palm].reshape(3, 3) @ np.array(parts["tool_position"])
        arm = tool - data.xanchor[first]
        farthest = max(farthest, float(np.linalg.norm(arm - (arm @ data.xaxis[first]) * data.xaxis[first])))
    return farthest


# ------------------------------------------------------------------ trials


def _installed(sheet: RobotSheet, fresh: Path) -> robots.InstalledRobot:
    return robots.read_installed(sheet, fresh)


def _cell(sheet: RobotSheet, fresh: Path, out: Path, cube: str = "") -> Cell:
    """The robot at the origin of an empty world, with a cube or without."""
    from blueprint.skills.cell import Cell

    out.mkdir(parents=True, exist_ok=True)
    (out / "scene.xml").write_text(EMPTY.format(cube=cube))
    arm = robot_mjcf.mount(out / "scene.xml", _installed(sheet, fresh), np.eye(4), 0.0, out / "cell")
    return Cell.load(out / "cell" / "workcell.xml", arm, ("cube",) if cube else ())


def _home(sheet: RobotSheet, fresh: Path) -> Array:
    """The hand down in front of the base, far from joint limits: from the joints' middles, else from random starts."""
    from blueprint.skills.planning.collision import CollisionWorld
    from blueprint.skills.planning.ik import ArmKinematics

    with tempfile.TemporaryDirectory() as scratch:
        cell = _cell(sheet, fresh, Path(scratch))
        arm, world, rng = ArmKinematics(cell), CollisionWorld(cell), np.random.default_rng(0)
    best, margin = None, 0.0
    low, high = cell.arm_range.T
    for k in range(HOMES_TRIED):
        if k >= 4 and margin > HOME_MARGIN:
            break
        T = _down(0.5 * sheet.reach, 0.0, 0.35 * sheet.reach, (k % 4) * np.pi / 2)
        start = rng.uniform(low, high) if k >= 4 else (low + high) / 2
        joints = arm.solve(T, start)
        if joints is None or not world.clear(joints, cell.robot.gripper.max_opening_m):
            continue
        if arm.margin(joints) > margin:
            best, margin = joints, arm.margin(joints)
    if best is None:
        raise InputError(
            f"{sheet.title} cannot hold its hand down {0.5 * sheet.reach:.2f} m in front of its base",
            "the base must be at the origin of the file, z up, x forward; the arm needs enough joints",
        )
    return best


def _down(x: float, y: float, z: float, yaw: float) -> Array:
    T = np.diag([1.0, -1.0, -1.0, 1.0])
    turn = np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
    T[:3, :3], T[:3, 3] = turn @ T[:3, :3], [x, y, z]
    return T


def _trials(installed: robots.InstalledRobot, scratch: Path) -> list[Trial]:
    from blueprint.skills.planning.collision import CollisionWorld
    from blueprint.skills.planning.ik import ArmKinematics

    sheet = installed.robot
    cell = _cell(sheet, installed.folder, scratch / "empty")
    arm, world, gripper = ArmKinematics(cell), CollisionWorld(cell), cell.robot.gripper
    table = gripper.openings_m or (0.0, gripper.max_opening_m)
    travel = table[-1] - table[0]
    reached = np.mean([any(arm.solve(T, arm.home) is not None for T in poses) for poses in _grid(sheet.reach)])
    blocked = world.blocking(arm.home, gripper.max_opening_m)
    ranges = cell.arm_range
    drop = _cube_drop(sheet, installed.folder, scratch / "cube")
    return [
        Trial("opens and closes", f"{1000 * table[0]:.1f} to {1000 * table[-1]:.1f} mm", travel > 0.02),
        Trial("holds a 3 cm cube", f"it sinks by {1000 * drop:.1f} mm in {HELD_S} s", abs(drop) < DROP_M),
        Trial(
            "reaches a grid",
            f"{reached:.0%} of its points, the hand down or tilted by 30 degrees",
            bool(reached >= GRID_SHARE),
        ),
        Trial("joint limits", f"{np.ptp(ranges, axis=1).min():.2f} rad at least", bool(np.isfinite(ranges).all())),
        Trial("clear at home", ", ".join(map(" and ".join, blocked)) or "nothing touches", not blocked),
    ]


def _grid(reach_m: float) -> list[list[Array]]:
    """Points before the base, each with tool poses that point down, or outward by 30 degrees, turned by quarters."""
    grid = []
    for x in (0.4, 0.5, 0.6):
        for y in (-0.3, -0.15, 0.0, 0.15, 0.3):
            for z in (0.05, 0.2):
                across = np.array([-y, x, 0.0]) / np.hypot(x, y)
                lean = np.eye(4)
                lean[:3, :3] = Rotation.from_rotvec(-np.deg2rad(30.0) * across).as_matrix()
                poses = []
                for k in range(4):
                    down = _down(0.0, 0.0, 0.0, np.arctan2(y, x) + k * np.pi / 2)
                    for T in (down, lean @ down):
                        T[:3, 3] = [x * reach_m, y * reach_m, z]
                        poses.append(T)
                grid.append(poses)
    return grid


def _cube_drop(sheet: RobotSheet, fresh: Path, out: Path) -> float:
    """How far a cube sinks that the closing hand takes out of the air at home [m]; gravity sets in when it holds."""
    from blueprint.skills.planning.ik import ArmKinematics

    T = ArmKinematics(_cell(sheet, fresh, out / "empty")).tool_pose(np.array(sheet.home))
    turn = Rotation.from_matrix(T[:3, :3]).as_quat(scalar_first=True)
    words = lambda values: " ".join(f"{v:.6f}" for v in values)  # noqa: E731
    cube = CUBE.format(at=words(T[:3, 3]), turn=words(turn), h=CUBE_M / 2, kg=CUBE_KG)
    cell = _cell(sheet, fresh, out, cube)
    cell.model.opt.gravity[:] = 0.0
    return _sunk(cell)


def _sunk(cell: Cell) -> float:
    import mujoco

    model, gravity = cell.model, np.array([0.0, 0.0, -9.81])
    data = mujoco.MjData(model)
    data.qpos[:] = cell.home_qpos
    action = cell.home_action
    for opening, seconds, pull in ((action[-1], 0.1, False), (0.0, 0.8, False), (0.0, HELD_S, True)):
        action[-1] = opening
        data.ctrl[:] = cell.ctrl(action.astype(np.float32))
        model.opt.gravity[:] = gravity if pull else 0.0
        before = cell.pose(data.qpos, "cube")[2, 3]
        mujoco.mj_step(model, data, round(seconds / model.opt.timestep))
    return float(before - cell.pose(data.qpos, "cube")[2, 3])
