"""docs/episodes.md leaves out no family and no cause, and names nothing that is not there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from blueprint.model.categories import CATEGORIES
from blueprint.model.episode import FailureCause
from blueprint.model.policies import POLICIES
from blueprint.model.task import Family

PAGE = (Path(__file__).parents[2] / "docs" / "episodes.md").read_text()


def first_cells(heading: str) -> list[str]:
    """The names in the first column of the table with this header."""
    return [name for row in cells(heading) for name in named(row[0])]


def cells(heading: str) -> list[list[str]]:
    """The rows of the table with this header."""
    rows = PAGE.split(f"| {heading} |")[1].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows]


def named(cell: str) -> list[str]:
    return re.findall(r"`(\w+)`", cell)


def test_every_family_has_a_row() -> None:
    assert sorted(first_cells("family")) == sorted(get_args(Family))


def test_every_cause_has_a_row() -> None:
    assert {*first_cells("cause")} >= {*get_args(FailureCause)}


def test_the_table_of_policies_is_that_of_the_code() -> None:
    for name, families, words in cells("policy"):
        policy = POLICIES[name.strip("`")]
        assert tuple(named(families)) == policy.families or (families == "all" and policy.families == get_args(Family))
        assert policy.slides == {"joints that slide only": True, "joints that turn only": False}.get(words)
    assert sorted(first_cells("policy")) == sorted(POLICIES)


def test_environments_are_mapped_to_categories_and_policies_that_exist_and_tell_what_no_capture_has() -> None:
    assert len(first_cells("environment")) == 10
    known = {category.key for category in CATEGORIES}
    for _, categories, captured, imported in cells("environment"):
        assert {word.strip() for word in categories.split(",")} <= known
        assert {*named(captured), *named(imported)} <= {*POLICIES}
        no_capture = {name for name, policy in POLICIES.items() if {*policy.families} <= {"turn", "press"}}
        assert {*named(imported)} <= no_capture and no_capture.isdisjoint(named(captured))
