"""Settings: a `[run]` section and one section per stage, from its Config type.

Later wins: defaults, blueprint.toml (or --config FILE), the scene's edits.json, environment variables, --set
section.key=value.
"""

from __future__ import annotations

import difflib
import json
import os
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field, ValidationError

from blueprint.core import backends
from blueprint.core.artifact import Config, Model
from blueprint.core.errors import BackendError, SettingsError
from blueprint.core.stage import Stage

M = TypeVar("M", bound=Model)

FILE = "blueprint.toml"
EDITS = "edits.json"  # in the scene directory, written by `blueprint edit`: settings in the same sections

# environment variable -> setting; the names that the earlier system documented
ENVIRONMENT = {"SENSOR_CAPTURE_MODE": "run.capture_mode", "DATA_PACK_TIER": "recording.pack"}
# another spelling of a setting
ALIASES = {"capture.mode": "run.capture_mode"}

CaptureMode = Literal["fail_closed", "isaac_sim", "mujoco", "mock_dev"]

_CHOICES = """\
  --simulator mujoco   (SENSOR_CAPTURE_MODE=mujoco): MuJoCo simulates, its scene is drawn; the dataset says so
  SENSOR_CAPTURE_MODE=isaac_sim: Isaac Sim renders; not in this version
  SENSOR_CAPTURE_MODE=mock_dev: made-up pictures, for trying out pipelines; no policy ever releases such data"""

MOCK = "mock"  # the renderer of capture mode mock_dev, and of no other
DRAWS = {"mujoco": "raster"}  # who draws a simulator's scenes where no renderer is named: fast and without a GPU


class RunSettings(Model):
    """[run]. A backend is chosen by name; capture_mode `mujoco` names MuJoCo as the simulator, `mock_dev` MuJoCo's
    physics and made-up pictures.

    renderer: none = `raster` for MuJoCo's scenes; it refuses soft and transparent bodies, which `mujoco` draws

    seed: of every stage whose own section sets none; jobs: processes at a time, 0 = one per core
    """

    capture_mode: CaptureMode = "fail_closed"
    simulator: str | None = None
    renderer: str | None = None
    reconstructor: str = "rgbd"
    seed: int = Field(default=0, ge=0)
    jobs: int = Field(default=0, ge=0)


@dataclass(frozen=True)
class Settings:
    """Validated. sections: stage name -> its settings, for every stage that has any."""

    run: RunSettings
    sections: dict[str, Config]

    def backend(self, kind: str) -> str:
        """Name of the backend of `kind`. Raises SettingsError when the settings name none."""
        name = getattr(self.run, kind, None)
        if not name:
            raise SettingsError(f"no {kind} is chosen", f"choose one of: {', '.join(backends.available(kind))}")
        return name


def load(
    stages: Sequence[Stage],
    *,
    scene: Path | None = None,
    config: Path | None = None,
    environ: Mapping[str, str] = os.environ,
    sets: Iterable[str] = (),
) -> Settings:
    """Gather and validate. sets: `section.key=value`, the value as in TOML, or plain text.

    Raises SettingsError naming the file or option, what is available and what is nearest.
    """
    values = _from_file(settings_file(config, scene))
    for section, table in read_edits(scene).items():
        values[section] = {**_table(section, values.get(section, {})), **_table(section, table)}
    for variable, setting in ENVIRONMENT.items():
        if environ.get(variable):
            _assign(values, setting, environ[variable], f"environment variable {variable}")
    for text in sets:
        setting, equals, value = text.partition("=")
        if not equals:
            raise SettingsError(f"--set {text}: no '='", "write --set section.key=value, e.g. --set run.seed=3")
        _assign(values, setting.strip(), _toml_value(value.strip()), f"--set {text}")
    return _validate(stages, values)


def require_simulator(settings: Settings) -> None:
    """Raises SettingsError unless the user chose a simulator: nothing is ever chosen in silence."""
    if settings.run.simulator is None:
        raise SettingsError(
            "no simulator is chosen, and none is ever chosen for you (SENSOR_CAPTURE_MODE is fail_closed)",
            f"say which one:\n{_CHOICES}",
        )


# ------------------------------------------------------------------ reading


def settings_file(config: Path | None, scene: Path | None) -> Path | None:
    """`config`, else blueprint.toml of the scene, else of the working directory, else None."""
    if config is not None and not config.is_file():
        raise SettingsError(f"no settings file {config}", "give --config the path of a TOML file")
    places = [config] if config else [folder / FILE for folder in (scene, Path()) if folder is not None]
    return next((path for path in places if path.is_file()), None)


def _from_file(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        return tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not TOML: {error}", "compare it with docs/settings.md") from error


def read_edits(scene: Path | None) -> dict[str, Any]:
    """What edits.json of the scene holds: section -> settings. Raises SettingsError when it is not JSON."""
    if scene is None or not (scene / EDITS).is_file():
        return {}
    try:
        value = json.loads((scene / EDITS).read_bytes())
    except ValueError as error:
        raise SettingsError(
            f"{scene / EDITS} is not JSON: {error}", "mend it, or delete it to drop the edits"
        ) from error
    if not isinstance(value, dict):
        raise SettingsError(f"{scene / EDITS} holds no sections", 'write {"reconstruction": {"edits": [...]}}')
    return value


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text  # a word without quotes


def _assign(values: dict[str, Any], setting: str, value: Any, origin: str) -> None:
    path = ALIASES.get(setting, setting).split(".")
    if len(path) < 2 or not all(path):
        raise SettingsError(f"{origin}: {setting!r} is no setting", "a setting is section.key, e.g. run.seed")
    table = values
    for part in path[:-1]:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise SettingsError(f"{origin}: {part!r} holds a value, not a table", "set it as a whole")
    table[path[-1]] = value


# ------------------------------------------------------------------ validating


def _validate(stages: Sequence[Stage], values: dict[str, Any]) -> Settings:
    types: dict[str, type[Config]] = {s.name: s.config[1] for s in stages if s.config}
    values = {section: dict(_table(section, table)) for section, table in values.items()}
    mode = values.get("capture", {}).pop("mode", None)
    if mode is not None:
        values.setdefault("run", {})["capture_mode"] = mode
        if not values["capture"]:
            del values["capture"]
    unknown = [section for section in values if section != "run" and section not in types]
    if unknown:
        raise SettingsError(f"no section {unknown[0]!r}", _suggest(unknown[0], ["run", *types], "sections"))
    run = _choose_backends(_parse(RunSettings, "run", values.get("run", {})))
    sections = {}
    for section, kind in types.items():
        table = values.get(section, {})
        if "seed" in kind.model_fields:
            table = {"seed": run.seed} | table
        sections[section] = _parse(kind, section, table)
    return Settings(run, sections)


def _choose_backends(run: RunSettings) -> RunSettings:
    """What the capture mode says of simulator and renderer. Raises for modes that this version has not."""
    if run.capture_mode == "isaac_sim":
        raise BackendError(
            "capture mode isaac_sim: Isaac Sim cannot render in this version, and nothing takes its place",
            f"choose another:\n{_CHOICES}",
        )
    made_up = run.capture_mode == "mock_dev"
    if run.renderer is not None and (run.renderer == MOCK) != made_up:
        raise SettingsError(
            f"run.renderer = {run.renderer!r} contradicts capture mode {run.capture_mode}: nothing replaces another",
            f"choose one:\n{_CHOICES}",
        )
    simulator = run.simulator or ("mujoco" if run.capture_mode in ("mujoco", "mock_dev") else None)
    renderer = MOCK if made_up else run.renderer or (DRAWS.get(simulator, simulator) if simulator else None)
    return run.model_copy(update={"simulator": simulator, "renderer": renderer})


def _table(section: str, table: Any) -> dict[str, Any]:
    if not isinstance(table, dict):
        raise SettingsError(f"{section!r} stands outside a section", f"write it under [run] or a stage in {FILE}")
    return table


def _parse(kind: type[M], section: str, table: dict[str, Any]) -> M:
    try:
        return kind.model_validate(table)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join([section, *(str(part) for part in first["loc"])])
        if first["type"] == "extra_forbidden" and len(first["loc"]) == 1:
            hint = _suggest(str(first["loc"][0]), list(kind.model_fields), f"settings of [{section}]")
            raise SettingsError(f"no setting {name!r}", hint) from None
        raise SettingsError(
            f"{name} = {first['input']!r}: {first['msg'].removeprefix('Value error, ')}", "see docs/settings.md"
        ) from None


def _suggest(wrong: str, known: list[str], what: str) -> str:
    near = difflib.get_close_matches(wrong, known, n=1)
    nearest = f"did you mean {near[0]!r}? " if near else ""
    return f"{nearest}{what}: {', '.join(known)}"
