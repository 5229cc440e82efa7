"""The table of materials answers for names as people write them."""

from __future__ import annotations

import pytest

from blueprint.model.materials import TABLE, UNKNOWN, material_of


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
