"""The table of materials answers for names as people write them."""

from __future__ import annotations

import pytest

from blueprint.model.categories import CATEGORIES
from blueprint.model.materials import TABLE, UNKNOWN, material_for, material_of, named, names
from blueprint.model.softness import softness_of


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("cracker box", "light boxed food"),
        ("003_cracker_box", "light boxed food"),
        ("Potted Meat Can", "canned food"),
        ("red mug", "open vessel"),
        ("two bananas", "fruit"),
        ("cardboard box", "boxed goods"),
        ("object 7", "unknown"),
        ("tomato soup can", "canned food"),
        ("master chef can", "canned powder"),
        ("canvas", "unknown"),
        ("cupboard", "hollow furniture"),
        ("tablecloth", "cloth"),
    ],
)
def test_words_decide(text: str, name: str) -> None:
    assert material_of(text)[0].name == name


def test_the_reason_names_the_words() -> None:
    assert "'mug'" in material_of("blue mug")[1]
    assert material_of("thing")[1].startswith("default")


def test_every_row_is_physical_and_sourced() -> None:
    for _, material in [*TABLE, ((), UNKNOWN)]:
        assert (1 < material.density < 20) if material.areal else (20 < material.density < 8000)
        assert 0.1 < material.friction < 1.5
        assert 0 <= material.restitution < 1
        assert material.density_source
        assert material.surface_source


def test_every_category_is_made_of_a_material_there_is() -> None:
    assert [c.key for c in CATEGORIES if named(c.material) is None] == []


def test_every_material_is_found_by_its_name() -> None:
    assert all(named(name) is not None for name in names())
    assert named("unobtainium") is None


def test_words_say_more_than_the_category_and_the_category_more_than_nothing() -> None:
    assert material_for("cracker box", "object_1", "filing cabinet")[0].name == "light boxed food"
    material, source = material_for("thing", "object_1", "filing cabinet")
    assert (material.name, source) == ("appliance", "category: filing cabinet")
    assert material_for("thing", "object_1", "")[0] is UNKNOWN


@pytest.mark.parametrize(
    ("text", "category", "kind"),
    [("dish towel", "", "cloth"), ("jute rope", "", "rope"), ("soup can", "", None), ("towel rack", "cabinet", None)],
)
def test_what_bends(text: str, category: str, kind: str | None) -> None:
    assert softness_of(text, category) == kind
