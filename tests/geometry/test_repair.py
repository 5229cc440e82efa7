"""Laws of repair: whatever comes in, a closed outward surface comes out, and no more is changed than must be."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from synthetic import bowl, box, cylinder

from blueprint.geometry.ideal import ideal_primitive
from blueprint.geometry.mesh import Mesh, is_closed, prism_mesh, volume
from blueprint.geometry.repair import SKIN_M, closed, concatenated


def mesh_of(body: trimesh.Trimesh) -> Mesh:
    return np.asarray(body.vertices, dtype=float), np.asarray(body.faces, dtype=np.int64)


BOX = mesh_of(trimesh.creation.box((0.2, 0.1, 0.05)))


def test_what_is_closed_is_left_alone() -> None:
    found = closed(BOX)
    assert found.steps == ()
    assert sorted(map(tuple, found.mesh[0][found.mesh[1]].reshape(-1, 9))) == sorted(
        map(tuple, BOX[0][BOX[1]].reshape(-1, 9))
    )


def test_faces_that_share_no_vertex_are_joined() -> None:
    """As an OBJ with a texture seam at every edge."""
    soup = BOX[0][BOX[1]].reshape(-1, 3), np.arange(3 * len(BOX[1])).reshape(-1, 3)
    found = closed(soup)
    assert found.steps == ()
    assert is_closed(found.mesh)


def test_a_surface_inside_out_is_turned_and_its_corners_are_told() -> None:
    found = closed((BOX[0], BOX[1][:, ::-1]))
    assert volume(found.mesh) == pytest.approx(0.001)
    given = (BOX[0], BOX[1][:, ::-1])
    corners = given[0][given[1]][found.source[:, None], found.corner]
    assert np.allclose(corners, found.mesh[0][found.mesh[1]])


def test_a_face_that_is_missing_is_capped() -> None:
    solid = prism_mesh(cylinder(0.08, 0.1))
    found = closed((solid[0], np.delete(solid[1], 40, axis=0)))
    assert found.steps == ("holes capped",)
    assert volume(found.mesh) == pytest.approx(volume(solid), rel=0.01)


def test_a_missing_bottom_is_capped() -> None:
    low = BOX[0][BOX[1]][:, :, 2].max(axis=1) < 0
    found = closed((BOX[0], BOX[1][~low]))
    assert volume(found.mesh) == pytest.approx(0.001)


def test_an_open_top_stays_open() -> None:
    top = BOX[0][BOX[1]][:, :, 2].min(axis=1) > 0
    found = closed((BOX[0], BOX[1][~top]))
    assert found.steps == ("thickened",)
    assert is_closed(found.mesh)
    assert volume(found.mesh) < 0.4 * 0.001


def test_a_sheet_gets_a_thickness() -> None:
    sheet = np.array([(0, 0, 0), (0.1, 0, 0), (0.1, 0.2, 0), (0, 0.2, 0.0)]), np.array([(0, 1, 2), (0, 2, 3)])
    found = closed(sheet)
    assert is_closed(found.mesh)
    assert volume(found.mesh) == pytest.approx(0.02 * SKIN_M)


def test_solids_that_touch_along_an_edge_stay_two_solids() -> None:
    other = BOX[0] + [0.2, 0.1, 0.0], BOX[1]
    found = closed(concatenated([BOX, other]))
    assert is_closed(found.mesh)
    assert volume(found.mesh) == pytest.approx(0.002)


@pytest.mark.parametrize("seed", range(8))
def test_any_soup_of_triangles_is_closed_or_refused(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 40))
    soup = rng.uniform(-0.1, 0.1, (int(rng.integers(3, 30)), 3)), None
    faces = rng.integers(0, len(soup[0]), (count, 3))
    try:
        found = closed((soup[0], faces))
    except ValueError:
        return
    assert is_closed(found.mesh)
    assert found.source.max() < count
    assert len(found.source) == len(found.corner) == len(found.mesh[1])


def test_no_surface_is_refused() -> None:
    with pytest.raises(ValueError, match="no surface"):
        closed((np.zeros((3, 3)), np.array([(0, 1, 2)])))


@pytest.mark.parametrize(
    ("mesh", "kind"),
    [
        (BOX, "box"),
        (prism_mesh(cylinder(0.08, 0.1)), "cylinder"),
        (mesh_of(trimesh.creation.icosphere(radius=0.04)), "sphere"),
        (prism_mesh(bowl(0.16, 0.06)), None),
        (prism_mesh(box(0.1, 0.06, 0.05, yaw=0.7)), None),
    ],
)
def test_an_ideal_shape_is_recognised_and_nothing_else(mesh: Mesh, kind: str | None) -> None:
    found = ideal_primitive(mesh)
    assert (found.type if found else None) == kind


def test_a_cylinder_may_lie() -> None:
    vertices, faces = prism_mesh(cylinder(0.06, 0.2))
    found = ideal_primitive((vertices @ trimesh.transformations.rotation_matrix(np.pi / 2, (0, 1, 0))[:3, :3].T, faces))
    assert found is not None
    assert found.type == "cylinder"
    assert found.size == pytest.approx((0.03, 0.1), abs=1e-3)
