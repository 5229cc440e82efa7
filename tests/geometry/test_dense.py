"""Laws of dense depth: it finds what is there, and what views do not agree on is left out."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from blueprint.geometry.registration import dense
from blueprint.geometry.transforms import invert
from toy_photos import CAMERA, Photograph, orbit, photograph, walk

K = np.array([[CAMERA.fx, 0, CAMERA.cx], [0, CAMERA.fy, CAMERA.cy], [0, 0, 1]])
NO_POINTS = np.zeros(0, np.int64)


@pytest.fixture(scope="module")
def photos() -> list[Photograph]:
    return list(walk(4, 9.0))


def views_of(photos: list[Photograph]) -> list[dense.PhotoView]:
    grays = [cv2.cvtColor(p.color, cv2.COLOR_RGB2GRAY).astype(np.float32) for p in photos]
    return [dense.PhotoView(g, K, invert(p.T_world_camera), NO_POINTS) for g, p in zip(grays, photos, strict=True)]


@pytest.fixture(scope="module")
def swept(photos: list[Photograph]) -> dict[int, dense.Depth]:
    views = views_of(photos)
    others = [[j for j in range(len(views)) if j != i] for i in range(len(views))]
    return {i: dense.sweep(view, [views[j] for j in others[i]], 0.4, 1.2, 64) for i, view in enumerate(views)}


def test_depth_is_right_where_it_is_given(photos: list[Photograph], swept: dict[int, dense.Depth]) -> None:
    z = dense.agree(views_of(photos), swept, 1, [0, 2, 3])
    measured = (z > 0) & (photos[1].depth > 0)
    error = np.abs(z[measured] / photos[1].depth[measured] - 1)
    assert measured.sum() > 0.6 * (photos[1].depth > 0).sum()
    assert np.median(error) < 0.004
    assert (error < 0.02).mean() > 0.95


def test_depth_scales_with_the_cameras_positions(photos: list[Photograph], swept: dict[int, dense.Depth]) -> None:
    def grown(view: dense.PhotoView) -> dense.PhotoView:
        T = view.T_camera_world.copy()
        T[:3, 3] *= 5
        return replace(view, T_camera_world=T)

    views = [grown(view) for view in views_of(photos)]
    again = dense.sweep(views[0], views[1:], 5 * 0.4, 5 * 1.2, 64)
    assert np.allclose(again.z, 5 * swept[0].z, rtol=1e-3)


def test_what_other_views_contradict_is_left_out(photos: list[Photograph], swept: dict[int, dense.Depth]) -> None:
    wrong = {**swept, 1: replace(swept[1], z=1.06 * swept[1].z)}
    share = [(dense.agree(views_of(photos), depths, 1, [0, 2, 3]) > 0).mean() for depths in (swept, wrong)]
    assert share[1] < 0.2 * share[0]


def test_plain_surfaces_get_no_depth() -> None:
    photos = [photograph(T, seed=i, plain=True) for i, T in enumerate(orbit(3))]
    views = views_of(photos)
    depths = {i: dense.sweep(v, [w for w in views if w is not v], 0.4, 1.2, 32) for i, v in enumerate(views)}
    assert (dense.agree(views, depths, 1, [0, 2]) > 0).mean() < 0.1


def test_smoothing_keeps_a_sure_minimum_and_fills_a_doubt_from_around() -> None:
    cost = np.ones((8, 9, 9), np.float32)
    cost[3] = 0
    cost[:, 4, 4] = 1  # nothing known here
    assert (dense.aggregate(cost).argmin(axis=0) == 3).all()


def test_smoothing_does_not_know_left_from_right_or_up_from_down() -> None:
    cost = np.random.default_rng(0).random((6, 7, 5), dtype=np.float32)
    total = dense.aggregate(cost)
    assert np.allclose(dense.aggregate(cost[:, ::-1].copy())[:, ::-1], total, atol=1e-5)
    assert np.allclose(dense.aggregate(cost[:, :, ::-1].copy())[:, :, ::-1], total, atol=1e-5)
    assert np.allclose(dense.aggregate(cost.transpose(0, 2, 1).copy()).transpose(0, 2, 1), total, atol=1e-5)


def test_neighbours_see_the_same_from_a_useful_angle() -> None:
    points = np.random.default_rng(0).uniform(-0.1, 0.1, (60, 3))
    angles = (0, 0.5, 10, 40)
    poses = [orbit(1, distance=0.6)[0]]
    for angle in angles[1:]:
        turn = np.eye(4)
        turn[:3, :3] = cv2.Rodrigues(np.array([0, 0, np.deg2rad(angle)]))[0]
        poses.append(turn @ poses[0])
    empty = np.zeros((4, 4), np.float32)
    views = [dense.PhotoView(empty, K, invert(T), np.arange(60)) for T in poses]
    blind = dense.PhotoView(empty, K, invert(poses[2]), np.arange(10))
    assert dense.neighbours([*views, blind], 0, points, 9)[0] == 2
    assert 4 not in dense.neighbours([*views, blind], 0, points, 9)
