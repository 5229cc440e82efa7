"""docs/episodes.md leaves out no family and no cause, and names nothing that is not there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from blueprint.model.categories import CATEGORIES
from blueprint.model.episode import FailureCause
from blueprint.model.task import Family

PAGE = (Path(__file__).parents[2] / "docs" / "episodes.md").read_text()


def first_cells(heading: str) -> list[str]:
    """The names in the first column of the table with this header."""
    rows = PAGE.split(f"| {heading} |")[1].split("\n\n")[0].splitlines()[2:]
    return [name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])]


def test_every_family_has_a_row() -> None:
    assert sorted(first_cells("family")) == sorted(get_args(Family))


def test_every_cause_has_a_row() -> None:
    assert {*first_cells("cause")} >= {*get_args(FailureCause)}


def test_all_policies_and_environments_are_mapped_to_families_and_categories_that_exist() -> None:
    assert len(first_cells("policy")) == 14
    assert len(first_cells("environment")) == 10
    table = PAGE.split("| policy |")[1].split("\n\n")[0]
    families = {name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[2])}
    assert families <= set(get_args(Family))
    known = {category.key if hasattr(category, "key") else category for category in CATEGORIES}
    for row in PAGE.split("| environment |")[1].split("\n\n")[0].splitlines()[2:]:
        for word in row.split("|")[2].split(","):
            assert word.strip() in known, word
