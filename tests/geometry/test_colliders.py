"""Laws of convex colliders."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from scipy.spatial import ConvexHull

import toys
from blueprint.core.errors import InputError
from blueprint.geometry.colliders.decomposition import coacd_hulls
from blueprint.geometry.colliders.pieces import (
    MAX_HULL_VERTICES,
    convex_hull,
    footprint_hull,
    hull_excess,
    hull_volume,
    primitive_deviation,
    prism,
)
from blueprint.geometry.inertia import solid_moments
from blueprint.model.scene import Primitive
from blueprint.model.spatial import Pose

TOYS = {toy.name: toy for toy in toys.toys()}


def solid(name: str) -> tuple[np.ndarray, np.ndarray]:
    mesh = toys.welded(TOYS[name])
    return mesh.vertices, mesh.faces


def test_hull_has_few_vertices_and_nearly_all_the_volume() -> None:
    ball = trimesh.creation.icosphere(subdivisions=3, radius=0.05)
    vertices, faces = convex_hull(ball.vertices)
    assert len(vertices) <= MAX_HULL_VERTICES
    assert solid_moments(vertices, faces)[0] > 0.9 * ball.volume
    assert trimesh.Trimesh(vertices, faces).is_watertight


def test_reduced_hull_keeps_a_flat_base() -> None:
    ball = trimesh.creation.icosphere(subdivisions=4, radius=0.05).vertices
    dome = ball * [1.0, 1.0, 0.0] * (ball[:, 2:] < 0) + ball * (ball[:, 2:] >= 0)
    vertices, _ = convex_hull(dome)
    base = vertices[vertices[:, 2] < 1e-6, :2]
    assert len(base) >= 8
    assert np.linalg.norm(base, axis=1).min() > 0.045


def test_hull_of_a_plane_is_refused() -> None:
    with pytest.raises(InputError, match="plane"):
        convex_hull(np.random.default_rng(0).random((20, 3)) * [1, 1, 0])


def test_convexity_decides_by_volume() -> None:
    assert hull_excess(solid("cracker_box")) == pytest.approx(1.0)
    assert hull_excess(solid("bowl")) > 2.0


def test_decomposition_of_a_bowl_leaves_its_inside_free() -> None:
    vertices, faces = solid("bowl")
    hulls = coacd_hulls((vertices, faces), max_hulls=12, threshold=0.1, max_faces=1500, seed=0)
    assert all(len(hull[0]) <= MAX_HULL_VERTICES for hull in hulls)
    volume = sum(hull_volume(hull[0]) for hull in hulls)
    assert volume < 0.6 * hull_volume(vertices)  # one hull would fill it
    inside = np.array([0.0, 0.0, 0.0])  # half way up the axis: air
    for hull_vertices, _ in hulls:
        equations = ConvexHull(hull_vertices).equations
        assert (equations[:, :3] @ inside + equations[:, 3]).max() > 0


@pytest.mark.parametrize("name", ["cracker_box", "soup_can"])
def test_primitive_fits_its_own_mesh_and_not_a_larger_one(name: str) -> None:
    primitive = TOYS[name].primitive
    assert primitive is not None
    assert primitive_deviation(primitive, TOYS[name].vertices) < 1e-6
    assert primitive_deviation(primitive, TOYS[name].vertices * 1.1) > 0.002


def test_points_inside_a_box_are_off_its_surface() -> None:
    box = Primitive(type="box", size=(0.1, 0.1, 0.1), pose=Pose())
    assert primitive_deviation(box, np.zeros((5, 3))) == pytest.approx(0.1)


def test_prism_is_the_polygon_extruded() -> None:
    polygon = np.array([[0.0, 0], [0.4, 0], [0.5, 0.3], [0.0, 0.3]])
    volume, center, _ = solid_moments(*prism(polygon, -0.03, 0.0))
    assert volume == pytest.approx(0.135 * 0.03)
    assert center[2] == pytest.approx(-0.015)


def test_footprint_widens_only_where_something_overhangs() -> None:
    square = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    inside = footprint_hull(square, [np.array([[0.5, 0.5]])], [0.02])
    assert inside is square
    wider = footprint_hull(square, [np.array([[1.1, 0.5]])], [0.02])
    assert wider[:, 0].max() == pytest.approx(1.12)
    x, y = wider.T
    assert np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)) > 0, "counter-clockwise"
