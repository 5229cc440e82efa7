"""Sheets of robots: what a datasheet says and an MJCF does not, one TOML file per robot, every limit with its source.

Ours lie in `sheets/`; those that `blueprint robots add` writes lie in the user's data folder.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, ValidationError, model_validator

from blueprint.core.artifact import Model
from blueprint.core.errors import BackendError, SettingsError
from blueprint.core.files import digest, file_digest, files_below
from blueprint.model.spatial import Quat, Vec3

SHEETS = Path(__file__).parent / "sheets"
ARRAYS = ("velocity_rad_s", "acceleration_rad_s2", "jerk_rad_s3")  # one value per joint


class Files(Model):
    """A part's files in a wheel of the package index. licence_file: in the wheel; folder: the part's folder in it.

    menagerie: the part's folder below `$MENAGERIE_ROOT`, "" = not there; menagerie_mjcf: its file, if named otherwise
    root: the body that is the part where the file holds more; at: the site of the parts before, to which it is bolted
    """

    package: str
    sha256: str
    megabytes: int
    folder: str
    licence_file: str
    mjcf: str
    menagerie: str = ""
    menagerie_mjcf: str = ""
    root: str = ""
    at: str = ""


class Limit(Model):
    """values: one per joint, or one; source: the document, or `assumed: ` and the reason."""

    values: tuple[float, ...]
    source: str = Field(min_length=8)


class Limits(Model):
    """grip_force_n: per finger."""

    velocity_rad_s: Limit
    acceleration_rad_s2: Limit
    jerk_rad_s3: Limit
    reach_m: Limit
    max_opening_m: Limit
    grip_force_n: Limit


class Servo(Model):
    """Position servos that replace those of the file, per joint: stiffness [N m/rad], damping [N m s/rad], force [N m].

    armature: rotor inertia [kg m^2] added to each joint; the file's friction and damping are dropped
    """

    stiffness: tuple[float, ...]
    damping: tuple[float, ...]
    force: tuple[float, ...]
    armature: tuple[float, ...]
    source: str


class GripperSheet(Model):
    """A parallel gripper. tool_position, tool_quat: tool frame on the body `palm` (z approaches, y closes).

    finger_bodies: children of the palm that hold the pads; pads: bodies whose colliders are rubber
    slides: the two finger joints slide alike from 0, so the actuator becomes a servo in metres; else the opening is
    measured against the actuator when the robot is installed
    finger_stiffness: [N/m, N m/rad] of a servo in place of the file's actuator, over `finger_range`; 0 = the file's own
    mirrored: finger joints (a, b) that one motor moves where the file has two or none: b follows as mirror_sign a
    """

    palm: str
    tool_position: Vec3
    tool_quat: Quat = (1.0, 0.0, 0.0, 0.0)
    finger_depth_m: float
    actuator: str
    finger_joints: tuple[str, ...]
    finger_bodies: tuple[str, str]
    pads: tuple[str, ...]
    slides: bool = False
    mirrored: tuple[str, str] | None = None
    mirror_sign: float = -1.0
    finger_stiffness: float = 0.0
    finger_range: tuple[float, float] = (0.0, 0.0)


class RobotSheet(Model):
    """A robot. home: arm joints [rad]; servo: None = the file's own actuators; files: empty = added by the user.

    plate_m: thickness of the plate below the base, for arms whose first link turns within millimetres of its foot
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    title: str
    licence: str
    mjcf: str
    base_body: str
    joints: tuple[str, ...]
    actuators: tuple[str, ...]
    home: tuple[float, ...]
    limits: Limits
    gripper: GripperSheet
    files: tuple[Files, ...] = ()
    servo: Servo | None = None
    plate_m: float = 0.0
    assumed: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _one_value_per_joint(self) -> RobotSheet:
        count = len(self.joints)
        lists = {name: getattr(self.limits, name).values for name in ARRAYS}
        lists |= {"home": self.home, "actuators": self.actuators}
        if self.servo is not None:
            lists |= {
                f"servo.{name}": getattr(self.servo, name) for name in ("stiffness", "damping", "force", "armature")
            }
        wrong = [f"{name} has {len(values)}" for name, values in lists.items() if len(values) != count]
        if wrong:
            raise ValueError(f"{count} joints, but {', '.join(wrong)}")
        return self

    @property
    def reach(self) -> float:
        return self.limits.reach_m.values[0]

    @property
    def max_opening(self) -> float:
        return self.limits.max_opening_m.values[0]

    @property
    def grip_force(self) -> float:
        return self.limits.grip_force_n.values[0]


class TeamSheet(Model):
    """Several arms in one scene under one name."""

    name: str
    title: str
    arms: tuple[str, ...] = Field(min_length=2)


def data_folder() -> Path:
    """`$BLUEPRINT_HOME`, or `~/.local/share/blueprint`."""
    return Path(os.environ.get("BLUEPRINT_HOME") or Path.home() / ".local" / "share" / "blueprint")


def user_sheets() -> Path:
    return data_folder() / "sheets"


def sheets() -> dict[str, RobotSheet | TeamSheet]:
    """Every robot and team that is known, ours first. Raises SettingsError naming a sheet that is broken."""
    found = (read_sheet(path) for folder in (SHEETS, user_sheets()) for path in sorted(folder.glob("*.toml")))
    return {sheet.name: sheet for sheet in found}


def own_robots() -> dict[str, str]:
    """name -> digest of sheet and files, of every robot and team whose sheet lies in the user's data folder."""
    found = {}
    for path in sorted(user_sheets().glob("*.toml")):
        sheet = read_sheet(path)
        folder = data_folder() / "robots" / sheet.name
        pinned = isinstance(sheet, TeamSheet) or sheet.files or not folder.is_dir()
        files = {} if pinned else {name: file_digest(folder / name) for name in files_below(folder)}
        found[sheet.name] = digest({"sheet": file_digest(path), "files": files})[:16]
    return found


def read_sheet(path: Path) -> RobotSheet | TeamSheet:
    """Raises SettingsError that names the field."""
    try:
        value = tomllib.loads(path.read_text())
        return TeamSheet.model_validate(value) if "arms" in value else RobotSheet.model_validate(value)
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise SettingsError(f"{path.name} is no robot sheet: {error}", "see docs/robots.md") from error


def arms_of(names: tuple[str, ...]) -> tuple[RobotSheet, ...]:
    """The arms behind names of robots and teams. Raises BackendError naming the robots that exist."""
    known, arms = sheets(), []
    for name in names:
        sheet = known.get(name)
        if sheet is None:
            raise BackendError(f"no robot {name!r}; there are: {', '.join(known)}", "see `blueprint robots list`")
        arms += [sheet] if isinstance(sheet, RobotSheet) else arms_of(sheet.arms)
    return tuple(arms)


def to_toml(value: Mapping[str, object], table: str = "") -> str:
    """A model's JSON as TOML: scalars and lists first, then tables. JSON's strings, numbers, lists are TOML's too."""
    plain = {k: v for k, v in value.items() if not isinstance(v, Mapping) and v is not None}
    lines = [f"{name} = {json.dumps(item, ensure_ascii=False)}\n" for name, item in plain.items()]
    for name, item in value.items():
        if isinstance(item, Mapping):
            path = f"{table}{name}"
            lines.append(f"\n[{path}]\n{to_toml(item, f'{path}.')}")
    return "".join(lines)
