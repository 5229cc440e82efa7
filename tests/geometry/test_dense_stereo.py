"""Laws of stereo depth: a pair of a known scene gives its depth within 1 %, and lengths follow the baseline."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from blueprint.geometry.registration.dense_stereo import row_offset, stereo_depth
from toy_photos import CAMERA, Photograph, orbit, photograph

BASELINE_M = 0.06


@cache
def pair(doffs: float = 0.0) -> tuple[Photograph, Photograph]:
    T = orbit(1, distance=0.6)[0]
    right = T.copy()
    right[:3, 3] += BASELINE_M * T[:3, 0]
    camera = CAMERA.model_copy(update={"cx": CAMERA.cx + doffs})
    return photograph(T), photograph(right, camera, seed=1)


@pytest.mark.parametrize("doffs", [0.0, 9.0, -6.0])
def test_depth_is_within_one_per_cent(doffs: float) -> None:
    left, right = pair(doffs)
    depth = stereo_depth(left.color, right.color, CAMERA.fx, BASELINE_M, doffs)
    both = (depth > 0) & (left.depth > 0)
    error = np.abs(depth[both] / left.depth[both] - 1)
    assert both.sum() > 0.8 * (left.depth > 0).sum()
    assert np.median(error) < 0.01
    assert (error < 0.03).mean() > 0.95


def test_depth_is_proportional_to_the_baseline() -> None:
    left, right = pair()
    one, two = (stereo_depth(left.color, right.color, CAMERA.fx, k * BASELINE_M) for k in (1, 2))
    both = (one > 0) & (two > 0)
    assert both.mean() > 0.5
    assert np.median(two[both] / one[both]) == pytest.approx(2, rel=1e-3)


def test_what_only_the_left_camera_sees_gets_no_depth() -> None:
    left, right = pair()
    depth = stereo_depth(left.color, right.color, CAMERA.fx, BASELINE_M)
    u = np.arange(CAMERA.width) - CAMERA.fx * BASELINE_M / np.where(left.depth > 0, left.depth, np.inf)
    outside = (u < -2) & (left.depth > 0)
    assert outside.sum() > 500
    assert (depth[outside] > 0).mean() < 0.05


def test_a_rectified_pair_keeps_its_rows() -> None:
    left, right = pair()
    rows, disparity = row_offset(left.color, right.color) or (9.0, 0.0)
    assert rows < 1
    assert disparity == pytest.approx(CAMERA.fx * BASELINE_M / np.median(left.depth[left.depth > 0]), rel=0.2)
    shifted = row_offset(left.color, np.roll(right.color, 6, axis=0))
    assert shifted is not None
    assert shifted[0] == pytest.approx(6, abs=1)
    assert row_offset(np.zeros_like(left.color), right.color) is None
