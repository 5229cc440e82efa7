"""Laws of registration, on a rendered table seen from several places."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from blueprint.geometry.registration.depth_drift import calibrate_depth
from blueprint.geometry.registration.features import _Marks, match_rigid, register
from blueprint.geometry.registration.icp import (
    Cloud,
    DepthView,
    align,
    contradiction,
    refine_poses,
    riding,
    sample_cloud,
)
from blueprint.geometry.transforms import invert, rotation_angle, transform_points
from toy_table import BLUE, RED, Box, Shot, shoot

THINGS = (RED, BLUE, Box((-0.02, 0.1, 0.0), (0.04, 0.16, 0.2), (30, 160, 40)))
EYES = ((0.0, -0.6, 0.5), (0.35, -0.5, 0.45), (-0.35, -0.5, 0.55))


def moved(shift_m: float, turn_deg: float, seed: int = 3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    a, b = (v / np.linalg.norm(v) for v in rng.normal(size=(2, 3)))
    T = np.eye(4)
    T[:3, :3] = Rotation.from_rotvec(np.deg2rad(turn_deg) * a).as_matrix()
    T[:3, 3] = shift_m * b
    return T


def view(shot: Shot) -> DepthView:
    return DepthView(shot.color[..., 1].copy(), shot.depth, shot.camera)


@pytest.fixture(scope="module")
def shots() -> list[Shot]:
    return [shoot(THINGS, eye=eye, floor=-0.4, seed=i) for i, eye in enumerate(EYES)]


@pytest.fixture(scope="module")
def clouds(shots: list[Shot]) -> list[Cloud]:
    rng = np.random.default_rng(0)
    return [sample_cloud(view(shot), rng) for shot in shots]


def miss(T: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Millimetres at the middle of the scene, degrees."""
    middle = transform_points(invert(truth), np.array([0.0, 0.0, 0.05]))
    gap = transform_points(T, middle) - transform_points(truth, middle)
    return 1000 * float(np.linalg.norm(gap)), float(np.rad2deg(rotation_angle(T, truth)))


def test_icp_recovers_a_known_motion(shots: list[Shot], clouds: list[Cloud]) -> None:
    truth = [shot.T_world_camera for shot in shots]
    off = moved(0.015, 2.0)
    found = align(clouds[1], clouds[0].moved(truth[0]), off @ truth[1])
    assert miss(off @ truth[1], truth[1])[0] > 8
    far, turned = miss(found.T, truth[1])
    assert far < 2.0 and turned < 0.4
    assert found.held == 6


def test_a_calibrated_sequence_gets_better_not_worse(shots: list[Shot], clouds: list[Cloud]) -> None:
    truth = [shot.T_world_camera for shot in shots]
    given = [truth[0], moved(0.012, 0.7, 1) @ truth[1], moved(0.012, 0.7, 2) @ truth[2]]
    found = refine_poses(clouds, given)
    assert (given[0] == found[0].T).all()
    for one, start, right in zip(found[1:], given[1:], truth[1:], strict=True):
        assert one.after_m < one.before_m and not one.refused
        assert miss(one.T, right)[0] < 0.5 * miss(start, right)[0]


def test_a_pose_far_off_is_left_as_given_and_says_why(shots: list[Shot], clouds: list[Cloud]) -> None:
    given = [shots[0].T_world_camera, moved(0.5, 40.0) @ shots[1].T_world_camera]
    found = refine_poses(clouds[:2], given)[1]
    assert found.refused and (given[1] == found.T).all()


def test_a_bare_plane_does_not_slide() -> None:
    rng = np.random.default_rng(0)
    flat = np.column_stack([rng.uniform(-0.3, 0.3, (2000, 2)), np.zeros(2000)])
    cloud = Cloud(flat, np.tile([0.0, 0.0, 1.0], (2000, 1)))
    start = np.eye(4)
    start[:3, 3] = [0.03, 0.0, 0.01]
    found = align(cloud, Cloud(flat[::-1], cloud.normals), start)
    assert found.T[2, 3] == pytest.approx(0, abs=1e-4)
    assert found.T[0, 3] == pytest.approx(0.03, abs=1e-3)
    assert found.held == 3


def test_right_poses_do_not_contradict_and_inverted_ones_do(shots: list[Shot]) -> None:
    views, poses = [view(shot) for shot in shots], [shot.T_world_camera for shot in shots]
    assert contradiction(views, poses) < 0.02
    assert contradiction(views, [poses[0], moved(0.3, 20.0) @ poses[1], poses[2]]) > 0.15


def test_a_wrong_depth_scale_is_found_from_the_poses(shots: list[Shot]) -> None:
    poses = [shot.T_world_camera for shot in shots]
    wrong = (0.9 * shots[0].depth + 0.03 * (shots[0].depth > 0)).astype(np.float32)
    views = [replace(view(shots[0]), depth=wrong), *(view(shot) for shot in shots[1:])]
    found = calibrate_depth(views, poses, 0)
    assert found is not None
    at = 0.9 * 0.75 + 0.03  # as measured, at the distance of the things
    assert found[0, 0] * at + found[0, 1] == pytest.approx(0.75, abs=0.008)
    for gain, offset in found[1:]:
        assert gain * 0.75 + offset == pytest.approx(0.75, abs=0.012)


def test_features_place_a_view_in_spite_of_wrong_matches() -> None:
    rng = np.random.default_rng(5)
    T = moved(0.4, 35.0)
    words = rng.normal(size=(60, 128)).astype(np.float32)
    a = rng.uniform([-0.4, -0.3, 0.6], [0.4, 0.3, 1.2], (60, 3))
    b = transform_points(T, a) + rng.normal(size=(60, 3)) * 0.001
    b[:24] = rng.uniform([-0.4, -0.3, 0.6], [0.4, 0.3, 1.2], (24, 3))
    found = match_rigid(_Marks(words, b), _Marks(words, a), rng)
    assert found is not None
    assert np.linalg.norm(found[:3, 3] - T[:3, 3]) < 0.004 and rotation_angle(found, T) < 0.01
    assert match_rigid(_Marks(words, rng.permutation(b)), _Marks(words, a), rng) is None


def test_views_of_different_things_are_not_placed() -> None:
    rng = np.random.default_rng(1)
    here = view(shoot(THINGS))
    rough = rng.uniform(0.5, 2.0, (24, 32)).repeat(10, 0).repeat(10, 1).astype(np.float32)
    noise = replace(here, depth=rough, grey=rng.integers(0, 255, rough.shape).astype(np.uint8))
    placed = register([here, noise], rng)
    assert placed[0] is not None and placed[1] is None


def test_what_moves_with_the_camera_is_found(shots: list[Shot]) -> None:
    still = [view(shoot(THINGS, eye=eye, floor=-0.4)) for eye in (*EYES, (0.1, -0.5, 0.6))]
    assert not riding(still).any()
    hand = np.s_[:60, :50]
    for one in still:
        one.depth[hand] = 0.2
    mask = riding(still)
    assert mask[hand].mean() > 0.95 and mask.mean() < 0.1
