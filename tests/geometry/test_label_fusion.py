"""Laws of label fusion: one number per object in all views, and the majority is right about where objects end."""

from __future__ import annotations

import numpy as np
import pytest

from blueprint.geometry import depth as depths
from blueprint.geometry.segmentation.label_fusion import LabelView, carry, fuse_labels
from blueprint.geometry.table.support import FoundSupport, table_view
from toy_table import BLUE, RED, Shot, shoot

EYES = ((0.0, -0.6, 0.5), (0.3, -0.5, 0.5), (-0.3, -0.5, 0.5))
OUTLINE = np.array([[-0.4, -0.4], [0.4, -0.4], [0.4, 0.4], [-0.4, 0.4]])


def labelled(shot: Shot, labels: np.ndarray) -> LabelView:
    points = depths.backproject(shot.depth, shot.camera)
    support = FoundSupport(shot.T_world_camera, OUTLINE, 0.001, 0.001)
    table = table_view(shot.color, shot.depth, points, support)
    return LabelView(table, shot.camera, shot.T_world_camera, labels.astype(np.int32))


@pytest.fixture(scope="module")
def shots() -> list[Shot]:
    return [shoot((RED, BLUE), eye=eye, seed=i) for i, eye in enumerate(EYES)]


def agreement(found: np.ndarray, truth: np.ndarray) -> float:
    return float((found == truth)[(found > 0) | (truth > 0)].mean())


def test_a_number_means_the_same_object_in_all_views(shots: list[Shot]) -> None:
    swap = np.array([0, 2, 1])
    views = [labelled(s, swap[s.labels] if i == 1 else s.labels) for i, s in enumerate(shots)]
    for found, shot in zip(fuse_labels(views), shots, strict=True):
        assert agreement(found, shot.labels) > 0.97


def test_most_views_decide_where_one_object_ends(shots: list[Shot]) -> None:
    joined = [labelled(s, (s.labels > 0) if i == 0 else s.labels) for i, s in enumerate(shots)]
    split = [s.labels.astype(np.int32) for s in shots]
    split[0] = np.where((split[0] == 1) & (np.arange(split[0].shape[0])[:, None] > 118), 3, split[0])
    cut = [labelled(s, labels) for s, labels in zip(shots, split, strict=True)]
    for views in (joined, cut):
        for found, shot in zip(fuse_labels(views), shots, strict=True):
            assert agreement(found, shot.labels) > 0.9


def test_what_two_views_deny_is_no_object(shots: list[Shot]) -> None:
    ghost = shots[0].labels.astype(np.int32)
    table = (ghost == 0) & (shots[0].depth > 0)
    ghost[150:180, 60:110] = np.where(table[150:180, 60:110], 3, ghost[150:180, 60:110])
    views = [labelled(shots[0], ghost), *(labelled(s, s.labels) for s in shots[1:])]
    assert max(image.max() for image in fuse_labels(views)) == 2


def test_marks_of_one_view_reach_the_others(shots: list[Shot]) -> None:
    blank = np.zeros(shots[0].labels.shape)
    views = [labelled(shots[0], shots[0].labels), labelled(shots[1], blank)]
    kept = [shots[0].labels.astype(np.int32), blank.astype(np.int32)]
    found = carry(views, kept)
    assert (found[0] == kept[0]).all()
    common = found[1] > 0
    assert (found[1] == shots[1].labels)[common].mean() > 0.97
    assert common.sum() > 0.5 * (shots[1].labels > 0).sum()
