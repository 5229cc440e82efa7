"""The documents say what the code does: links resolve, the settings page is current, commands and files exist."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from blueprint.apps import cli

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]


def anchors(page: Path) -> set[str]:
    """Headings as their links are written."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_settings_page_is_current() -> None:
    tool = runpy.run_path(str(ROOT / "tools" / "settings_page.py"))
    assert (DOCS / "settings.md").read_text() == tool["page"](), "run: python tools/settings_page.py"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_internal_links_resolve(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name) if name else page
        assert file.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in anchors(file), f"{page.name} links to {target}"


def test_the_readme_is_short_and_has_a_small_picture() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 120
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)
    assert pictures and all((ROOT / picture).stat().st_size < 400_000 for picture in pictures)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_shown_is_one(page: Path) -> None:
    """`blueprint NAME ...` in a document parses down to its options."""
    known = set(cli._parser()._subparsers._group_actions[0].choices)  # type: ignore[union-attr]
    for name in re.findall(r"(?:^|`)blueprint ([a-z-]+)", page.read_text(), re.MULTILINE):
        assert name in known, f"{page.name}: blueprint {name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_setting_shown_is_one(page: Path) -> None:
    shown = (DOCS / "settings.md").read_text()
    sections = dict(re.findall(r"^## \[(\w+)\]$(.*?)(?=^## |\Z)", shown, re.MULTILINE | re.DOTALL))
    for section, key in re.findall(r"--set (\w+)\.(\w+)=", page.read_text()):
        if section != "section":
            assert f"`{key}`" in sections[section], f"{page.name}: {section}.{key}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_make_target_shown_exists(page: Path) -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for target in re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(), re.MULTILINE):
        assert target in targets, f"{page.name}: make {target}"


def test_documents_named_in_messages_exist() -> None:
    for source in sorted((ROOT / "src").rglob("*.py")):
        for page in re.findall(r"docs/\w+\.md", source.read_text()):
            assert (ROOT / page).is_file(), f"{source.name} sends the reader to {page}"
