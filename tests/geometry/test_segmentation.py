"""Laws of segmentation, on boxes whose labels are known."""

from __future__ import annotations

import numpy as np
import pytest

from blueprint.geometry import depth as depths
from blueprint.geometry.completion.fill import fill_unseen
from blueprint.geometry.segmentation.components import depth_components, drop_small
from blueprint.geometry.segmentation.merging import merge_average
from blueprint.geometry.segmentation.naming import color_word, slug
from blueprint.geometry.segmentation.objects import TableView, segment_automatic, segment_boxes
from blueprint.geometry.segmentation.parts import consensus
from blueprint.geometry.table.support import find_support, table_view
from toy_table import BLUE, CAMERA, RED, Box, Shot, shoot


def view_of(shot: Shot) -> TableView:
    depth = depths.remove_flying_pixels(shot.depth)
    points = depths.backproject(depth, CAMERA)
    return table_view(shot.color, depth, points, find_support(points, depth, np.random.default_rng(0), "toy"))


def best_iou(labels: np.ndarray, mask: np.ndarray) -> float:
    found = np.unique(labels[labels > 0])
    return max(((labels == i) & mask).sum() / ((labels == i) | mask).sum() for i in found)


def test_two_boxes_apart_are_two_objects() -> None:
    shot = shoot()
    labels = segment_automatic(view_of(shot))
    assert labels.max() == 2
    assert all(best_iou(labels, shot.labels == i) > 0.9 for i in (1, 2))


def test_an_empty_table_has_no_objects() -> None:
    assert segment_automatic(view_of(shoot(()))).max() == 0


def test_boxes_that_touch_are_told_apart_by_their_crease() -> None:
    tall = Box((-0.12, 0.0, 0.0), (0.0, 0.1, 0.16), (200, 40, 40))
    flat = Box((-0.12, -0.1, 0.0), (0.0, 0.0, 0.05), (40, 60, 200))
    shot = shoot((tall, flat), eye=(0.1, -0.55, 0.5))
    labels = segment_automatic(view_of(shot))
    assert labels.max() == 2
    assert all(best_iou(labels, shot.labels == i) > 0.85 for i in (1, 2))


def test_one_box_of_two_colours_is_one_object() -> None:
    left = Box((-0.1, 0.0, 0.0), (0.0, 0.1, 0.1), (200, 40, 40))
    right = Box((0.0, 0.0, 0.0), (0.1, 0.1, 0.1), (40, 60, 200))
    assert segment_automatic(view_of(shoot((left, right)))).max() == 1


def test_what_stands_beside_the_table_is_not_on_it() -> None:
    beside = Box((-0.1, 0.45, -0.7), (0.1, 0.55, 0.2), (40, 160, 60))
    shot = shoot((RED, BLUE, beside), half_table=0.25, eye=(0.0, -0.7, 0.6))
    labels = segment_automatic(view_of(shot))
    assert labels.max() == 2
    assert not labels[shot.labels == 3].any()


def test_parts_without_depth_are_recovered_by_colour() -> None:
    shot = shoot()
    hole = (shot.labels == 1) & (np.indices(shot.labels.shape)[1] % 40 < 12)
    blind = Shot(shot.color, np.where(hole, 0, shot.depth).astype(np.float32), shot.labels, shot.T_world_camera)
    labels = segment_automatic(view_of(blind))
    assert best_iou(labels, shot.labels == 1) > 0.85


def test_the_same_picture_gives_the_same_labels() -> None:
    view = view_of(shoot(seed=4))
    assert (segment_automatic(view) == segment_automatic(view)).all()


def test_user_boxes_keep_their_order_and_their_limits() -> None:
    shot = shoot()
    boxes = []
    for i in (2, 1):
        rows, cols = np.nonzero(shot.labels == i)
        boxes.append([cols.min() - 4, rows.min() - 4, cols.max() + 4, rows.max() + 4])
    labels = segment_boxes(view_of(shot), np.array(boxes, float))
    for number, i in ((1, 2), (2, 1)):
        mask, true = labels == number, shot.labels == i
        assert (mask & true).sum() / (mask | true).sum() > 0.9
        rows, cols = np.nonzero(mask)
        x0, y0, x1, y1 = boxes[number - 1]
        assert x0 <= cols.min() and cols.max() <= x1 and y0 <= rows.min() and rows.max() <= y1


def test_a_box_separates_what_the_eye_joins() -> None:
    left = Box((-0.1, 0.0, 0.0), (0.0, 0.1, 0.1), (200, 40, 40))
    right = Box((0.0, 0.0, 0.0), (0.1, 0.1, 0.1), (40, 60, 200))
    shot = shoot((left, right))
    boxes = []
    for i in (1, 2):
        rows, cols = np.nonzero(shot.labels == i)
        boxes.append([cols.min(), rows.min(), cols.max(), rows.max()])
    labels = segment_boxes(view_of(shot), np.array(boxes, float))
    assert all(best_iou(labels, shot.labels == i) > 0.85 for i in (1, 2))


# ---- the pieces


def test_components_are_cut_at_depth_steps() -> None:
    depth = np.ones((20, 20))
    depth[:, 10:] = 1.1
    labels = depth_components(np.ones((20, 20), bool), depth, np.full((20, 20), 0.05))
    assert len(np.unique(labels)) == 2
    assert len(np.unique(depth_components(np.ones((20, 20), bool), depth, np.full((20, 20), 0.2)))) == 1


def test_small_parts_are_dropped_and_the_rest_renumbered() -> None:
    labels = np.array([[1, 1, 2, 3, 3, 3]])
    assert drop_small(labels, 2).tolist() == [[1, 1, 0, 2, 2, 2]]


def test_one_leak_does_not_merge_two_regions() -> None:
    # Two pairs of patches; one weak pixel pair crosses a strong border.
    edges = np.array([[0, 1], [2, 3], [1, 2], [0, 2]])
    weight, length = np.array([0.1, 0.1, 0.1, 2.0]), np.array([10.0, 10.0, 1.0, 30.0])
    group = merge_average(4, edges, weight, length, 0.5)
    assert group[0] == group[1] != group[2] == group[3]


def test_a_majority_decides() -> None:
    joined = np.array([[1, 1, 1, 1]], np.int32)
    cut = np.array([[1, 1, 2, 2]], np.int32)
    assert len(np.unique(consensus([cut, joined, cut]))) == 2
    assert len(np.unique(consensus([cut, joined, joined]))) == 1


def test_names_are_unique_slugs() -> None:
    taken: set[str] = set()
    for _ in range(3):
        taken.add(slug("Müsli Box!", taken))
    assert taken == {"m_sli_box", "m_sli_box_2", "m_sli_box_3"}


@pytest.mark.parametrize(
    ("rgb", "word"),
    [((220, 30, 30), "red"), ((240, 240, 240), "white"), ((20, 20, 20), "black"), ((40, 60, 220), "blue")],
)
def test_colours_have_their_plain_names(rgb: tuple[int, int, int], word: str) -> None:
    assert color_word(np.full((50, 3), rgb, np.uint8)) == word


def test_filling_keeps_what_was_seen_and_continues_it() -> None:
    x = np.arange(240)
    stripes = np.where((x // 20) % 2, 200, 60).astype(np.uint8)
    image = np.repeat(np.repeat(stripes[None, :, None], 200, axis=0), 3, axis=2)
    seen = np.ones((200, 240), bool)
    seen[60:130, 80:150] = False
    holed = np.where(seen[..., None], image, 0).astype(np.uint8)
    filled = fill_unseen(holed, seen)
    assert (filled[seen] == image[seen]).all()
    assert np.abs(filled.astype(int) - image)[~seen].mean() < 25
