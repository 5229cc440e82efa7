"""Laws of naming: a word only where shape and size speak for it, and never twice the same text."""

from __future__ import annotations

import pytest

from blueprint.geometry.segmentation.naming import named_by_shape, shape_word, slug
from blueprint.model.categories import category_of


@pytest.mark.parametrize(
    ("method", "dims", "word"),
    [
        ("container", (0.16, 0.16, 0.055), "bowl"),
        ("container", (0.26, 0.26, 0.024), "plate"),
        ("container", (0.08, 0.08, 0.09), "cup"),
        ("container with handle", (0.12, 0.08, 0.09), "mug"),
        ("cylinder", (0.066, 0.066, 0.101), "can"),
        ("lying_cylinder", (0.101, 0.066, 0.066), "can"),
        ("lying_cylinder", (0.14, 0.01, 0.01), "pen"),
        ("box", (0.16, 0.06, 0.21), "box"),
        ("rounded_box", (0.21, 0.15, 0.02), "book"),
        ("bottle", (0.095, 0.058, 0.19), "bottle"),
    ],
)
def test_usual_things_get_their_word_and_it_is_a_category(method: str, dims: tuple, word: str) -> None:
    found = shape_word(method, dims, 0.4 * dims[0] * dims[1] * dims[2])
    assert found is not None
    assert found[0] == word
    assert 0 < found[1] < 0.9, "a guess is called one"
    category = category_of(word)
    assert category is not None
    assert category[0].key == word


def test_no_word_is_made_up_for_what_is_only_a_lump() -> None:
    assert shape_word("carved", (0.1, 0.05, 0.03), 0.00005) is None
    assert shape_word("cylinder", (0.5, 0.5, 0.1), 0.02) is None


def test_texts_stay_distinct_and_names_are_left_alone() -> None:
    taken: set[str] = {"red can"}
    texts = [named_by_shape(text, "can", taken) for text in ("red object 1", "red object 2", "object 3", "my can")]
    assert texts == ["red can 2", "red can 3", "can", "my can"]


def test_slugs_are_unique_without_help() -> None:
    taken: set[str] = set()
    assert [slug(text, taken) for text in ("A b", "a-b", "a_b_2")] == ["a_b", "a_b_2", "a_b_2_2"]
