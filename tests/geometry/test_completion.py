"""Laws of completion, on solids whose size is known."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import trimesh
from synthetic import bottle, bowl, box, cylinder, look_at, photographed

from blueprint.geometry.completion.complete import Completion, complete
from blueprint.geometry.mesh import Mesh, is_closed, prism_mesh, volume
from blueprint.geometry.repair import concatenated
from blueprint.geometry.table.stacking import stands

SOLIDS = {
    "box": box(0.14, 0.06, 0.18),
    "flat box": box(0.17, 0.09, 0.04, yaw=1.1),
    "can": cylinder(0.07, 0.10),
    "bottle": bottle(0.09, 0.06, 0.19),
    "bowl": bowl(0.16, 0.06),
}


@cache
def completed(name: str) -> Completion:
    view = photographed([prism_mesh(SOLIDS[name])])
    return complete((view,), 1, base_z=0.0, depth_sigma_m=0.001, max_faces=4000)


@pytest.mark.parametrize("name", SOLIDS)
def test_size_is_found_and_the_stated_sigma_covers_it(name: str) -> None:
    solid = SOLIDS[name]
    found = completed(name)
    true = np.sort(np.ptp(prism_mesh(solid)[0] @ solid.rotation, axis=0))
    order = np.argsort(found.dims)
    error = np.abs(found.dims[order] - true)
    assert np.all(error <= 0.05 * true + 0.001), (found.method, found.dims, true)
    assert np.mean(error / true) <= (0.04 if name == "bowl" else 0.03), (found.method, found.dims, true)
    assert np.all(error <= 2 * found.sigma[order])
    assert np.all(found.sigma <= 0.3 * found.dims + 0.003), "a sigma that covers everything says nothing"


@pytest.mark.parametrize("name", SOLIDS)
def test_what_is_made_is_closed_and_agrees_with_the_picture(name: str) -> None:
    found = completed(name)
    assert is_closed(found.mesh)
    assert len(found.mesh[1]) <= 4000
    assert found.silhouette_iou > 0.93
    assert found.depth_error_m < 0.004


def test_a_bowl_stays_open() -> None:
    found = completed("bowl")
    hull = np.prod(found.dims) * np.pi / 4
    assert found.method == "container"
    assert volume(found.mesh) < 0.4 * hull


def mug() -> Mesh:
    """82 mm across, 95 mm high, with a ring beside it."""
    ring = trimesh.creation.torus(0.027, 0.005)
    ring.apply_transform(trimesh.transformations.rotation_matrix(np.pi / 2, (1, 0, 0)))
    ring.apply_translation((-0.045, 0.0, 0.05))
    body = prism_mesh(replace(bowl(0.082, 0.095), profile=(1.0,)))
    outside = np.all(np.hypot(*ring.vertices[ring.faces][:, :, :2].transpose(2, 0, 1)) > 0.038, axis=1)
    return concatenated([body, (np.asarray(ring.vertices), np.asarray(ring.faces)[outside])])


def test_a_mug_is_open_and_has_its_handle() -> None:
    view = photographed([mug()])
    found = complete((view,), 1, base_z=0.0, depth_sigma_m=0.001, max_faces=4000)
    assert found.method == "container with handle"
    assert is_closed(found.mesh)
    assert trimesh.Trimesh(*found.mesh, process=False).body_count == 1
    assert found.silhouette_iou > 0.9
    along = found.rotation[:, 0]
    assert along[0] < -0.95, "the handle is at -x"
    assert found.dims == pytest.approx((0.118, 0.082, 0.095), rel=0.08)
    inside = trimesh.Trimesh(*found.mesh, process=False)
    assert volume(found.mesh) < 0.6 * np.pi / 4 * 0.082**2 * 0.095
    top = inside.vertices[np.hypot(*inside.vertices[:, :2].T) < 0.02, 2].max()
    assert top < 0.02, "nothing closes it above its floor"


def test_what_stands_on_a_sloping_plane_is_upright_on_it() -> None:
    """A support plane 2 degrees off does not make things lean, or shorter."""
    solid = cylinder(0.07, 0.10)
    tilt = trimesh.transformations.rotation_matrix(np.deg2rad(2), (1, 0.3, 0), (0, 0.2, 0))
    view = photographed([prism_mesh(solid)])
    off = replace(view, T_world_camera=tilt @ view.T_world_camera)
    stand = stands((off,), [1])[1]
    level = stand.level @ tilt
    assert level[2, 2] > np.cos(np.deg2rad(0.3))
    assert abs(level[2, 3]) < 0.001
    put = replace(off, T_world_camera=stand.level @ off.T_world_camera)
    found = complete((put,), 1, base_z=stand.base_z, depth_sigma_m=0.001, max_faces=4000)
    assert found.dims == pytest.approx((0.07, 0.07, 0.10), rel=0.04)


def test_what_no_shape_explains_is_carved() -> None:
    arm = prism_mesh(box(0.16, 0.03, 0.04, yaw=0.0))
    leg = prism_mesh(box(0.03, 0.14, 0.04, yaw=0.0, at=(0.065, 0.08)))
    view = photographed([(np.concatenate([arm[0], leg[0]]), np.concatenate([arm[1], leg[1] + len(arm[0])]))])
    found = complete((view,), 1, base_z=0.0, depth_sigma_m=0.001, max_faces=3000)
    assert found.method == "carved"
    assert is_closed(found.mesh)
    assert len(found.mesh[1]) <= 3000
    assert found.silhouette_iou > 0.85


def test_the_side_that_nothing_shows_is_called_a_guess() -> None:
    """A box face-on at the camera's height: its thickness is not to be seen."""
    level = look_at(np.array([0.0, -0.8, 0.05]), np.array([0.0, 0.0, 0.05]))
    view = photographed([prism_mesh(box(0.12, 0.05, 0.10, yaw=0.0))], eye=level)
    found = complete((view,), 1, base_z=0.0, depth_sigma_m=0.001, max_faces=4000)
    deep = int(np.argmax(np.abs(found.rotation[1])))
    wide = int(np.argmax(np.abs(found.rotation[0])))
    assert found.inferred[deep]
    assert not found.inferred[wide]
    assert found.sigma[deep] > 2 * found.sigma[wide]


def test_too_little_is_refused() -> None:
    view = photographed([prism_mesh(cylinder(0.002, 0.003))])
    with pytest.raises(ValueError, match="surface points"):
        complete((view,), 1, base_z=0.0, depth_sigma_m=0.001, max_faces=4000)


def test_the_same_evidence_gives_the_same_bits() -> None:
    first, second = completed("can"), completed.__wrapped__("can")
    assert first.mesh[0].tobytes() == second.mesh[0].tobytes()


def test_a_stacked_object_names_its_carrier_and_a_hidden_one_the_support() -> None:
    low, behind = box(0.16, 0.12, 0.08), box(0.1, 0.1, 0.2, at=(0.0, 0.2))
    can = cylinder(0.06, 0.07)
    on_top = (prism_mesh(can)[0] + [0, 0, 0.08], prism_mesh(can)[1])
    view = photographed([prism_mesh(low), on_top, prism_mesh(behind)])
    found = stands((view,), [1, 2, 3])
    assert found[2].carrier == 1
    assert abs(found[2].base_z - 0.08) < 0.01
    assert found[1].carrier == 0
    assert found[3].carrier == 0
    assert abs(found[3].base_z) < 0.003
