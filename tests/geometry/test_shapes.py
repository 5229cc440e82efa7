"""Laws of the parametric solid, its mesh, its rasterised picture and its texture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import CAMERA, EYE, bowl, box, cylinder, photographed

from blueprint.geometry.completion.carving import carved
from blueprint.geometry.completion.evidence import gather
from blueprint.geometry.completion.shapes import Prism, lying_rotation, ray_clearance, yaw_rotation
from blueprint.geometry.mesh import corner_normals, grid_box, is_closed, prism_mesh, simplified
from blueprint.geometry.raycast import project, render_depth
from blueprint.geometry.texture import bake

sizes = st.floats(0.01, 0.3)
angles = st.floats(-3.0, 3.0)


@st.composite
def prisms(draw: st.DrawFn) -> Prism:
    turn = yaw_rotation(draw(angles)) if draw(st.booleans()) else lying_rotation(draw(angles))
    profile = tuple(draw(st.lists(st.floats(0.2, 1.3), min_size=9, max_size=9))) if draw(st.booleans()) else (1.0,)
    half = (draw(sizes) / 2, draw(sizes) / 2)
    roundness, taper, lean = draw(st.floats(0, 1)), draw(st.floats(0, 1)), draw(st.floats(-0.2, 0.2))
    return Prism(turn, np.array([0.1, -0.2, 0.3]), half, draw(sizes), roundness, profile, taper, lean)


@settings(max_examples=25, deadline=None)
@given(prisms())
def test_every_solid_has_a_closed_outward_mesh(solid: Prism) -> None:
    assert is_closed(prism_mesh(solid))


@settings(max_examples=10, deadline=None)
@given(sizes, sizes, st.floats(0.0015, 0.004))
def test_every_container_has_a_closed_mesh(diameter: float, height: float, wall: float) -> None:
    solid = Prism(
        np.eye(3), np.zeros(3), (diameter / 2 + 0.02,) * 2, height + 0.02, 1.0, (0.5, 0.8, 1.0), 1.0, 0.0, wall
    )
    assert is_closed(prism_mesh(solid))


@settings(max_examples=20, deadline=None)
@given(prisms())
def test_the_mesh_of_straight_walls_lies_on_the_zero_of_the_distance(solid: Prism) -> None:
    solid = replace(solid, profile=(1.0,), roundness=max(solid.roundness, 0.05), lean=0.0)
    assert np.all(solid.distance(prism_mesh(solid)[0]) <= 1e-9)


def test_a_container_is_empty_inside() -> None:
    solid = bowl(0.16, 0.06)
    assert solid.distance(np.array([0.0, 0.0, 0.03])) > 0
    assert solid.filled_distance(np.array([0.0, 0.0, 0.03])) < 0
    assert solid.distance(np.array([0.0, 0.0, 0.002])) < 0


def test_clearance_is_zero_where_a_ray_touches() -> None:
    solid = cylinder(0.1, 0.2)
    origins = np.array([[0.05, -1.0, 0.1], [0.06, -1.0, 0.1], [0.0, -1.0, 0.1], [0.0, -1.0, 0.2]])
    clearance = ray_clearance(solid, origins, np.tile([0.0, 1.0, 0.0], (4, 1)))
    np.testing.assert_allclose(clearance, [0, 0.01, -0.05, 0], atol=3e-4)


def test_the_rasteriser_finds_the_surface() -> None:
    """Points of the depth picture, brought back to the world, have no distance to the solid."""
    solid = box(0.14, 0.06, 0.18)
    depth, face = render_depth(prism_mesh(solid), CAMERA, EYE)
    v, u = np.nonzero(face >= 0)
    rays = np.stack([(u - CAMERA.cx) / CAMERA.fx, (v - CAMERA.cy) / CAMERA.fy, np.ones(len(u))], axis=1)
    points = EYE[:3, 3] + (rays * depth[v, u][:, None]) @ EYE[:3, :3].T
    assert len(points) > 3000
    np.testing.assert_allclose(solid.distance(points), 0, atol=1e-9)
    np.testing.assert_allclose(project(CAMERA, EYE, points)[0], np.stack([u, v], axis=1), atol=1e-6)


def test_what_reaches_beyond_the_picture_is_cut() -> None:
    far = EYE[:3, 3] + np.array([[-9.0, 9.0, 4.0], [9.0, 9.0, 4.0], [0.0, 9.0, -90.0]])
    depth, _ = render_depth((far, np.array([[0, 1, 2]])), CAMERA, EYE)
    assert np.isfinite(depth).any()


@settings(max_examples=2, deadline=None)
@given(st.integers(0, 10_000))
def test_carving_any_blob_gives_a_closed_surface(seed: int) -> None:
    rng = np.random.default_rng(seed)
    blobs = [trimesh.creation.icosphere(2, radius=rng.uniform(0.015, 0.05)) for _ in range(4)]
    for blob in blobs:
        blob.apply_translation([*rng.uniform(-0.05, 0.05, 2), rng.uniform(0.02, 0.08)])
    body = trimesh.util.concatenate(blobs)
    view = photographed([(np.asarray(body.vertices), np.asarray(body.faces))], seed=seed)
    made = carved(gather((view,), 1, base_z=0.0), (view,), 1, base_z=0.0, max_faces=2000)
    assert is_closed(made)
    assert len(made[1]) <= 2000
    assert made[0][:, 2].min() >= -1e-9


def test_simplifying_keeps_a_mesh_closed_and_its_size() -> None:
    ball = trimesh.creation.icosphere(5, radius=0.1)
    made = simplified((np.asarray(ball.vertices), np.asarray(ball.faces)), 1000)
    assert len(made[1]) <= 1000
    assert is_closed(made)
    np.testing.assert_allclose(np.ptp(made[0], axis=0), 0.2, rtol=0.02)


def test_edges_of_a_box_stay_sharp_in_its_normals() -> None:
    normals = corner_normals(grid_box(0.1, 0.2, 0.3))
    assert np.all(np.isclose(np.abs(normals).max(axis=2), 1.0))


def test_texture_takes_seen_colours_and_fills_the_rest_from_them() -> None:
    solid = box(0.14, 0.06, 0.18)
    mesh = prism_mesh(solid)
    view = photographed([mesh])
    made = bake(mesh, [view], 1, [], 128)
    assert np.all((made.uv >= 0) & (made.uv <= 1))
    assert made.picture.shape == (128, 128, 3)
    assert 0.2 < made.seen_fraction < 0.6
    assert np.abs(made.picture.reshape(-1, 3).astype(int) - [60, 160, 30]).max() <= 2
    down = (
        np.cross(mesh[0][mesh[1][:, 1]] - mesh[0][mesh[1][:, 0]], mesh[0][mesh[1][:, 2]] - mesh[0][mesh[1][:, 0]])[:, 2]
        < 0
    )
    assert not made.seen_faces[down].any()
    assert made.seen_faces.any()
