"""Laws of scale: whatever gives it, a model twice as large gets half the metres per unit."""

from __future__ import annotations

import numpy as np
import pytest

from blueprint.core.errors import InputError
from blueprint.geometry.registration import scale
from blueprint.geometry.transforms import invert
from toy_photos import CAMERA, DICTIONARY, MARKER_ID, MARKER_M, orbit, walk

K = np.array([[CAMERA.fx, 0, CAMERA.cx], [0, CAMERA.fy, CAMERA.cy], [0, 0, 1]])
POSES = orbit(4)


def sights(unit: float = 1.0) -> list[scale.Sight]:
    """unit: of the model, per metre"""
    made = []
    for pose in POSES:
        T = pose.copy()
        T[:3, 3] *= unit
        made.append(scale.Sight(K, invert(T)))
    return made


@pytest.mark.parametrize("unit", [1.0, 7.5])
def test_a_point_is_found_where_it_is(unit: float) -> None:
    point = unit * np.array([0.02, -0.03, 0.05])
    pixels = np.array([sight.project(point[None])[0] for sight in sights(unit)])
    found = scale.triangulate(sights(unit), pixels)
    assert found is not None
    assert found == pytest.approx(point, abs=1e-9 * unit)


def test_rays_that_do_not_meet_or_do_not_differ_place_nothing() -> None:
    pixels = np.array([sight.project(np.zeros((1, 3)))[0] for sight in sights()])
    assert scale.triangulate(sights(), pixels + np.array([[0, 0], [0, 40], [0, 0], [0, -40]])) is None
    assert scale.triangulate(sights()[:1] * 3, pixels[:1].repeat(3, axis=0)) is None
    assert scale.triangulate(sights()[:1], pixels[:1]) is None


@pytest.mark.parametrize("unit", [1.0, 0.2])
def test_a_printed_marker_is_measured(unit: float) -> None:
    seen = [scale.find_markers(photo.color, DICTIONARY) for photo in walk(4)]
    edges = scale.marker_edges(sights(unit), seen)
    assert set(edges) == {MARKER_ID}
    assert edges[MARKER_ID] == pytest.approx(unit * MARKER_M, rel=0.01)
    assert scale.marker_edges(sights(unit), [seen[0], {}, {}, {}]) == {}  # one view cannot measure


def test_what_is_no_square_is_no_marker() -> None:
    corners = np.array([[0.0, 0, 0], [0.1, 0, 0], [0.1, 0.05, 0], [0, 0.05, 0]])
    assert scale.marker_edges(sights(), [{3: sight.project(corners)} for sight in sights()]) == {}


def test_a_picked_pixel_is_the_point_under_it() -> None:
    photo = walk(4)[0]
    sight = sights()[0]
    point = scale.picked(photo.depth.astype(np.float32), sight, (60.0, 200.0))
    assert point is not None
    assert sight.project(point[None])[0] == pytest.approx([60, 200], abs=1e-6)
    assert abs(point[2]) < 0.005  # the table is there
    assert scale.picked(np.zeros((240, 320), np.float32), sight, (60.0, 200.0)) is None
    assert scale.picked(photo.depth.astype(np.float32), sight, (900.0, 900.0)) is None


def test_camera_positions_give_the_scale_whatever_the_frame() -> None:
    metric = np.array([pose[:3, 3] for pose in POSES])
    turned = 4 * metric @ POSES[1][:3, :3].T + [1, 2, 3]
    assert scale.scale_of_centers(turned, metric) == pytest.approx(0.25)


@pytest.mark.parametrize("name", ["DICT_4X4_50", "4x4_50", "dict_4x4_50"])
def test_dictionaries_by_any_spelling(name: str) -> None:
    assert scale.dictionary_name(name) == "DICT_4X4_50"


@pytest.mark.parametrize("name", ["tag36h11", "apriltag_36h11", "36h11", "DICT_APRILTAG_36h11"])
def test_apriltags_by_any_spelling(name: str) -> None:
    assert scale.dictionary_name(name).upper() == "DICT_APRILTAG_36H11"


@pytest.mark.parametrize("name", ["", "qr", "DICT"])
def test_an_unknown_dictionary_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="dictionary") as caught:
        scale.dictionary_name(name)
    assert "DICT_" in caught.value.hint
