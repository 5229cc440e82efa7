"""Laws of mass properties."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation

import toys
from blueprint.core.errors import InputError
from blueprint.geometry.inertia import inertia_tensor, solid_inertia, solid_moments


def test_box_has_the_textbook_moments() -> None:
    a, b, c, mass = 0.06, 0.16, 0.21, 0.4
    box = trimesh.creation.box((a, b, c))
    inertia = solid_inertia(box.vertices, box.faces, mass)
    expected = mass / 12 * np.array([b * b + c * c, a * a + c * c, a * a + b * b])
    np.testing.assert_allclose(inertia.principal_moments, expected, rtol=1e-9)
    np.testing.assert_allclose(inertia.center_of_mass, 0.0, atol=1e-12)
    np.testing.assert_allclose(np.abs(inertia.quat_wxyz), (1, 0, 0, 0), atol=1e-12)


def test_fine_cylinder_approaches_the_textbook_moments() -> None:
    radius, height, mass = 0.033, 0.1, 0.35
    cylinder = trimesh.creation.cylinder(radius, height, sections=256)
    across = mass * (3 * radius**2 + height**2) / 12
    moments = solid_inertia(cylinder.vertices, cylinder.faces, mass).principal_moments
    np.testing.assert_allclose(moments, (across, across, mass * radius**2 / 2), rtol=1e-3)


@pytest.mark.parametrize("toy", toys.toys(), ids=lambda toy: toy.name)
def test_inertia_is_invariant_to_translation(toy: toys.Toy) -> None:
    shift = np.array([3.0, -2.0, 5.0])
    here = solid_inertia(toy.vertices, toy.faces, 0.5)
    there = solid_inertia(toy.vertices + shift, toy.faces, 0.5)
    np.testing.assert_allclose(there.principal_moments, here.principal_moments, rtol=1e-6)
    np.testing.assert_allclose(np.array(there.center_of_mass) - shift, here.center_of_mass, atol=1e-9)


@pytest.mark.parametrize("toy", toys.toys(), ids=lambda toy: toy.name)
def test_inertia_turns_with_the_solid(toy: toys.Toy) -> None:
    turn = Rotation.from_euler("xyz", (0.3, -0.8, 1.1)).as_matrix()
    here = inertia_tensor(solid_inertia(toy.vertices, toy.faces, 0.5))
    there = inertia_tensor(solid_inertia(toy.vertices @ turn.T, toy.faces, 0.5))
    np.testing.assert_allclose(there, turn @ here @ turn.T, atol=1e-12)


@pytest.mark.parametrize("toy", toys.toys(), ids=lambda toy: toy.name)
def test_moments_belong_to_a_solid(toy: toys.Toy) -> None:
    a, b, c = sorted(solid_inertia(toy.vertices, toy.faces, 0.5).principal_moments)
    assert a > 0
    assert c <= a + b


def test_trimesh_agrees_on_a_bowl() -> None:
    bowl = next(toy for toy in toys.toys() if toy.name == "bowl")
    reference = trimesh.Trimesh(bowl.vertices, bowl.faces)
    volume, center, _ = solid_moments(bowl.vertices, bowl.faces)
    reference.density = 0.5 / reference.volume
    assert volume == pytest.approx(reference.volume, rel=1e-9)
    np.testing.assert_allclose(center, reference.center_mass, atol=1e-9)
    mine = inertia_tensor(solid_inertia(bowl.vertices, bowl.faces, 0.5))
    np.testing.assert_allclose(mine, reference.moment_inertia, atol=1e-10)


def test_inside_out_mesh_is_refused() -> None:
    box = trimesh.creation.box((1, 1, 1))
    with pytest.raises(InputError, match="no volume"):
        solid_inertia(box.vertices, box.faces[:, ::-1], 1.0)
