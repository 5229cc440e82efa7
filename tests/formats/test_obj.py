"""OBJ files keep what was written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from blueprint.core.errors import InputError
from blueprint.formats.obj import TexturedMesh, read_obj, write_obj
from blueprint.geometry.mesh import corner_normals, grid_box, is_closed


def sample() -> TexturedMesh:
    vertices, faces = grid_box(0.1, 0.2, 0.3)
    uv = np.random.default_rng(0).uniform(0, 1, (len(faces), 3, 2))
    return TexturedMesh(vertices, faces, uv, corner_normals((vertices, faces)))


def test_a_round_trip_keeps_geometry_uv_and_normals(tmp_path: Path) -> None:
    mesh = sample()
    write_obj(mesh, tmp_path / "visual.obj", "texture.png")
    back = read_obj(tmp_path / "visual.obj")
    np.testing.assert_array_equal(back.faces, mesh.faces)
    np.testing.assert_allclose(back.vertices, mesh.vertices, atol=1e-7)
    assert back.uv is not None and back.normals is not None and mesh.uv is not None and mesh.normals is not None
    np.testing.assert_allclose(back.uv, mesh.uv, atol=1e-6)
    np.testing.assert_allclose(back.normals, mesh.normals, atol=1e-4)
    assert is_closed((back.vertices, back.faces))


def test_the_same_mesh_makes_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_obj(sample(), tmp_path / name / "visual.obj", "texture.png")
    for name in ("visual.obj", "visual.mtl"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_the_material_names_the_texture(tmp_path: Path) -> None:
    write_obj(sample(), tmp_path / "visual.obj", "texture.png")
    assert "map_Kd texture.png" in (tmp_path / "visual.mtl").read_text()
    assert "mtllib visual.mtl" in (tmp_path / "visual.obj").read_text()


def test_bare_geometry_needs_no_material(tmp_path: Path) -> None:
    vertices, faces = grid_box(0.1, 0.1, 0.1)
    write_obj(TexturedMesh(vertices, faces), tmp_path / "hull.obj")
    back = read_obj(tmp_path / "hull.obj")
    assert back.uv is None
    assert back.normals is None
    assert not (tmp_path / "hull.mtl").exists()


@pytest.mark.parametrize(
    ("text", "what"),
    [("v 0 0 0\n", "no faces"), ("v 0 0 0\nf 1 2 3\n", "not there"), ("v 0 0 0\nf 1 1 1 1\n", "4 corners")],
)
def test_a_broken_file_is_named(tmp_path: Path, text: str, what: str) -> None:
    (tmp_path / "x.obj").write_text(text)
    with pytest.raises(InputError, match=what):
        read_obj(tmp_path / "x.obj")
