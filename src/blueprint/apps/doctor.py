"""`blueprint doctor`: what can run on this machine, tried rather than guessed."""

from __future__ import annotations

# MuJoCo ships no complete stubs
import os
import platform
import shutil
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from blueprint.core.errors import BackendError
from blueprint.core.execute import cores
from blueprint.core.process import run_child

_PACKAGES = ("mujoco", "usd-core", "numpy", "scipy", "trimesh", "coacd", "mink", "av", "pyarrow")
_NEEDED_GB = 2.0  # a scene with a dataset of some hundred episodes


def examine() -> dict[str, Any]:
    """Every finding: name, ok (None = for information), what was found, hint. ok: nothing needed is missing."""
    findings = [
        _python(),
        *(_package(name) for name in _PACKAGES),
        _physics(),
        _rendering(),
        _video(),
        _robot(),
        *learned(),
        _service(),
        _gemini(),
        _finding("Blender", None, os.environ.get("BLUEPRINT_BLENDER") or "no BLUEPRINT_BLENDER; only hero needs it"),
        _cache(),
        _disk(),
        _finding("cores", None, str(cores())),
        _finding("Isaac Sim", None, "not available in this version; nothing takes its place in silence"),
    ]
    return {"ok": all(finding["ok"] is not False for finding in findings), "findings": findings}


def text(value: dict[str, Any]) -> str:
    from rich.markup import escape

    marks = {True: "[green]✓[/green]", False: "[red]✗[/red]", None: "[dim]·[/dim]"}
    lines = []
    wide = max(len(finding["name"]) for finding in value["findings"]) + 2
    for finding in value["findings"]:
        lines.append(f"{marks[finding['ok']]} {finding['name']:<{wide}}{escape(finding['found'])}")
        if finding["hint"]:
            lines.append(f"    [cyan]hint:[/cyan] {escape(finding['hint'])}")
    return "\n".join(lines)


def _finding(name: str, ok: bool | None, found: str, hint: str = "") -> dict[str, Any]:
    return {"name": name, "ok": ok, "found": found, "hint": "" if ok is not False else hint}


def _python() -> dict[str, Any]:
    version = platform.python_version_tuple()
    good = version[0] == "3" and version[1] in ("11", "12")
    return _finding("Python", good, platform.python_version(), "use Python 3.11 or 3.12")


def _package(name: str) -> dict[str, Any]:
    try:
        return _finding(name, True, metadata.version(name))
    except metadata.PackageNotFoundError:
        return _finding(name, False, "not installed", "make env")


def _physics() -> dict[str, Any]:
    outcome = run_child("physics", _step_once, timeout_s=60)
    failed = outcome.error.message if outcome.error else ""
    return _finding("physics", outcome.error is None, failed or "MuJoCo steps a model", "make env")


def _step_once() -> None:
    import mujoco

    model = mujoco.MjModel.from_xml_string("<mujoco><worldbody><geom size='1'/></worldbody></mujoco>")
    mujoco.mj_step(model, mujoco.MjData(model))


def _rendering() -> dict[str, Any]:
    """In a child of its own: a broken driver may take its process along."""
    outcome = run_child("rendering", _render_once, timeout_s=60)
    if outcome.error is None:
        return _finding("rendering", True, f"{os.environ.get('MUJOCO_GL', 'egl')}: {outcome.value}")
    hint = "install an OpenGL driver (Debian: libegl1 libgl1-mesa-dri), or set MUJOCO_GL=osmesa with libosmesa6"
    return _finding("rendering", False, outcome.error.message.splitlines()[0], hint)


def _render_once() -> str:
    os.environ.setdefault("MUJOCO_GL", "egl")
    import mujoco

    model = mujoco.MjModel.from_xml_string(
        "<mujoco><worldbody><light pos='0 0 3'/><geom size='1'/></worldbody></mujoco>"
    )
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    with mujoco.Renderer(model, 16, 16) as renderer:
        renderer.update_scene(data)
        return "draws a sphere" if renderer.render().max() > 0 else "draws black pictures"


def _video() -> dict[str, Any]:
    outcome = run_child("video", _find_encoder, timeout_s=60)
    failed = outcome.error.message if outcome.error else ""
    return _finding("video", outcome.error is None, failed or "H.264 encoder found", "make env")


def _find_encoder() -> None:
    import av

    av.CodecContext.create("libx264", "w")


def _robot() -> dict[str, Any]:
    from blueprint.backends.robots import registry as robots

    try:
        installed = {robot.name: found.source for robot, found in robots.list_robots() if found}
    except BackendError as error:
        return _finding("robots", False, error.message, error.hint)
    if installed:
        return _finding("robots", True, ", ".join(f"{name} ({source})" for name, source in installed.items()))
    return _finding("robots", None, "none installed yet; a run fetches the one it needs: blueprint robots list")


def _gemini(environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    given = "its key is set" if environ.get("GEMINI_API_KEY") else "no key (GEMINI_API_KEY)"
    return _finding(
        "Gemini", None, f"{given}; asked only where a setting names it: articulation.model, physics.estimator"
    )


def _cache() -> dict[str, Any]:
    from blueprint.stages.physics.cache import folder

    held = sum(file.stat().st_size for file in folder().rglob("*") if file.is_file()) / 1e6
    return _finding("cache", None, f"{folder()} (BLUEPRINT_CACHE): {held:.0f} MB of colliders; it may be deleted")


def learned(environ: Mapping[str, str] = os.environ) -> list[dict[str, Any]]:
    """Per learned model: its environment, if one is named and works, and what its checkpoints permit."""
    from blueprint.backends.reconstruction.checkpoints import MODELS

    found = []
    for model in MODELS.values():
        python = environ.get(model.variable("PYTHON"), "")
        chosen = model.chosen({})
        terms = f"{chosen.name}: {chosen.licence}, {'commercial use' if chosen.commercial else 'NOT commercial'}"
        others = [c for c in model.checkpoints if c.name != chosen.name]
        free = ", ".join(c.name.rpartition("/")[2] for c in others if c.commercial) or "none"
        bound = ", ".join(c.name.rpartition("/")[2] for c in others if not c.commercial) or "none"
        text = f"{terms}; others for commercial use: {free}; not: {bound}"
        if not python:
            found.append(_finding(model.title, None, f"not set up ({model.variable('PYTHON')}); {text}"))
            continue
        why = _cannot_import(python, model.package, environ.get(model.variable("CODE"), ""))
        found.append(_finding(model.title, not why, f"{why or python}; {text}", model.install))
    return found


def _cannot_import(python: str, package: str, code: str) -> str:
    """Why that interpreter finds no such package, or nothing. It is looked for, not loaded: that takes long."""
    script = (
        "import sys, importlib.util as u; sys.path.insert(0, sys.argv[2]); sys.exit(u.find_spec(sys.argv[1]) is None)"
    )
    try:
        done = subprocess.run([python, "-c", script, package, code], capture_output=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return f"{python} has no package {package}" if done.returncode else ""


def _service() -> dict[str, Any]:
    url = os.environ.get("BLUEPRINT_SERVICE_URL", "")
    return _finding("service", None, url.rpartition("@")[2] or "no BLUEPRINT_SERVICE_URL; reconstruction runs here")


def _disk() -> dict[str, Any]:
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    return _finding("disk", free >= _NEEDED_GB, f"{free:.1f} GB free here", f"make {_NEEDED_GB:g} GB free")
