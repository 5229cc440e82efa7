"""The table of categories answers for names as people and files write them."""

from __future__ import annotations

import re

import pytest

from blueprint.model.categories import AFFORDANCES, CATEGORIES, category_of, named_category
from blueprint.model.materials import named

MISSION = ("drawer", "door", "cabinet", "hutch", "armoire", "filing_cabinet", "wardrobe", "table", "bookshelf", "stool")


@pytest.mark.parametrize("word", MISSION)
def test_what_the_mission_names_is_known(word: str) -> None:
    assert category_of(word) is not None


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("003_cracker_box", "cracker box"),
        ("Red Mug", "mug"),
        ("kitchenCabinet", "cabinet"),
        ("two bananas", "banana"),
        ("filing cabinets", "filing cabinet"),
        ("oven door", "door"),  # the noun is the last word
        ("shelves", "shelf"),
        ("mini fridge 2", "refrigerator"),
        ("chest of drawers", "dresser"),
        ("Rubik's cube", "dice"),
        ("boxes", "box"),
        ("wine glasses", "glass"),
        ("dishes", "plate"),
        ("knives", "knife"),
    ],
)
def test_names_as_people_write_them(text: str, key: str) -> None:
    found = category_of(text)
    assert found is not None
    assert found[0].key == key


@pytest.mark.parametrize("text", ["", "object 7", "red thing", "cabinetry-like xyz", "fuss"])
def test_unknown_words_have_no_category(text: str) -> None:
    assert category_of(text) is None


def test_confidence_falls_with_every_word_left_over() -> None:
    texts = ("cabinet", "cupboard", "old blue cabinet", "a b c d e f g h i j k l cabinet")
    values = [found[1] for text in texts if (found := category_of(text))]
    assert values == sorted(values, reverse=True)
    assert values[0] == 1.0
    assert values[-1] == 0.6


def test_every_key_and_synonym_finds_a_row() -> None:
    for category in CATEGORIES:
        assert category_of(category.key) == (category, 1.0)
        for word in category.synonyms:
            assert category_of(word) is not None, word
    phrases = [word for category in CATEGORIES for word in (category.key, *category.synonyms)]
    assert len(phrases) == len(set(phrases))


def test_the_table_is_large_and_its_rows_are_possible() -> None:
    assert len(CATEGORIES) >= 120
    for category in CATEGORIES:
        assert 0 < category.size_m[0] < category.size_m[1]
        assert named(category.material) is not None, (category.key, category.material)
        assert re.fullmatch(r"(Q\d+)?", category.qcode)
        assert set(category.affordances) <= set(AFFORDANCES.values())
        assert named_category(category.key) is category
        if category.role.startswith("articulated"):
            assert category.moves, category.key


def test_every_affordance_is_used() -> None:
    assert {name for category in CATEGORIES for name in category.affordances} == set(AFFORDANCES.values())
