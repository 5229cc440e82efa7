"""The report: whole in its own folder, valid HTML, and it shows what the artifacts say."""

from __future__ import annotations

import itertools
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import toy_whole
from blueprint.backends.renderer_mujoco import RendererMujoco
from blueprint.model.artifacts import Report
from blueprint.model.scene import Support
from blueprint.stages.certificate import ORDER, CertificateConfig, certificate
from blueprint.stages.report import ReportConfig, drawings, films, report
from blueprint.stages.report.page import _percent

VOID = {"meta", "link", "img", "input", "br", "hr", "path", "image", "source"}


class Page(HTMLParser):
    """Collects references, ids and text; `unclosed` lists tags whose ends do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.references: list[str] = []
        self.ids: list[str] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.unclosed: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.references += [values[key] or "" for key in ("src", "href", "poster") if key in values]
        style = values.get("style") or ""
        if "url(" in style:
            self.references.append(style.split("url('")[1].split("'")[0])
        if "id" in values:
            self.ids.append(values["id"] or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        if not self.open or self.open.pop() != tag:
            self.unclosed.append(tag)

    def handle_data(self, data: str) -> None:
        self.text.append(data)


CFG = ReportConfig(episodes=2, film_width=96, film_height=64, supersample=1, turntable_frames=4)


def write(made: toy_whole.Made, out: Path) -> Report:
    out.mkdir(parents=True, exist_ok=True)
    return report.function(**{name: made[name] for name in report.inputs}, renderer=RendererMujoco(), cfg=CFG, out=out)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> toy_whole.Made:
    folder = tmp_path_factory.mktemp("toy")
    made = toy_whole.make_all(folder)
    (folder / "certificate").mkdir()
    inputs = {name: made[name] for name in ORDER}
    made["certificate"] = certificate.function(**inputs, cfg=CertificateConfig(), out=folder / "certificate").save(
        folder / "certificate"
    )
    return made


@pytest.fixture(scope="module")
def folder(made: toy_whole.Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report")
    return out / Path(write(made, out).index).parent


@pytest.fixture(scope="module")
def html(folder: Path) -> Page:
    return Page((folder / "index.html").read_text())


def test_tags_match_and_ids_are_unique(html: Page) -> None:
    assert html.unclosed == [] and html.open == []
    assert len(set(html.ids)) == len(html.ids)


def test_every_reference_is_a_file_of_the_report_or_a_place_on_the_page(folder: Path, html: Page) -> None:
    assert len(html.references) > 20
    for reference in html.references:
        if reference.startswith("#"):
            assert reference[1:] in html.ids, reference
        else:
            target = (folder / reference).resolve()
            assert target.is_file() and target.is_relative_to(folder.resolve()), reference


def test_nothing_is_fetched_from_elsewhere(folder: Path) -> None:
    for file in (folder / "index.html", folder / "timings.js"):
        text = file.read_text().replace(made_of_text(), "")
        assert "http://" not in text and "https://" not in text and "//cdn" not in text and "@import" not in text


def made_of_text() -> str:
    return "https://example.org/toy"  # where the toy capture says it comes from: shown as text, not linked


def test_no_file_is_left_unused(folder: Path, html: Page) -> None:
    used = {(folder / reference).resolve() for reference in html.references}
    files = {path.resolve() for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")}
    assert files - used == {(folder / "index.html").resolve()}


def test_it_shows_objects_checks_tasks_and_suitability(made: toy_whole.Made, html: Page) -> None:
    text = " ".join(" ".join(html.text).split())
    for item in made["physics"].objects:
        assert item.asset.text in text and item.mass_kg.source in text
    for check in made["certificate"].measurements:
        assert check.text in text and check.id in text
    for task in made["taskset"].tasks:
        assert task.instruction in text
    assert made["certificate"].training_suitability.replace("_", " ") in text
    for reason in made["certificate"].reasons:
        assert reason in text


def test_a_name_from_outside_cannot_become_markup(made: toy_whole.Made, tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    capture = made["capture"].model_copy(update={"name": evil}).save(tmp_path / "capture")
    out = tmp_path / "out"
    write(made | {"capture": capture}, out)
    assert evil not in (out / "report" / "index.html").read_text()


def test_same_artifacts_same_bytes(made: toy_whole.Made, folder: Path, tmp_path: Path) -> None:
    write(made, tmp_path)
    again = tmp_path / "report"
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.name != ".finished"):
        other = again / path.relative_to(folder)
        assert sha256(other.read_bytes()).digest() == sha256(path.read_bytes()).digest(), path.name


def test_a_turntable_strip_is_cut_out_and_turns(made: toy_whole.Made, folder: Path) -> None:
    for thing in made["assets"].objects:
        strip = np.asarray(Image.open(folder / "media" / f"object_{thing.name}" / "turn.webp").convert("RGBA"))
        assert strip.shape[1] == CFG.turntable_frames * strip.shape[0]
        frames = np.split(strip, CFG.turntable_frames, axis=1)
        for frame in frames:
            assert 0.05 < (frame[..., 3] > 128).mean() < 0.9 and frame[0, 0, 3] == 0
        assert any((frames[0] != frame).any() for frame in frames[1:])


def test_spans_cover_the_episode_in_order(made: toy_whole.Made) -> None:
    record = made["episodes"].episodes[0]
    spans = films.spans(made["episodes"], films.states_of(made["episodes"], record)["segment"])
    assert [span.name for span in spans] == ["reach", "grasp", "place"]
    assert spans[0].start == 0 and spans[-1].end == 1
    assert all(a.end == b.start for a, b in itertools.pairwise(spans))


def test_the_map_has_a_mark_per_episode_and_y_points_up() -> None:
    support = Support(
        polygon=((0, 0), (1, 0), (1, 1), (0, 1)), residual_m=0.0, thickness_m=0.03, texture=None,
        texture_bounds=(0, 0, 1, 1), seen_fraction=1.0,
    )  # fmt: skip
    moves = [
        drawings.Move("a", "#000", (0.2, 0.3), (0.4, 0.9), True),
        drawings.Move("b", "#000", (0.5, 0.5), None, False),
    ]
    svg = drawings.table_map(support, None, (-0.3, 0.5), [], moves, [drawings.Region((0.5, 0.5), 0.1)])
    assert svg.count('class="move"') == 1 and svg.count('class="move failed"') == 1 and 'cy="-300.0"' in svg


def test_only_a_whole_is_a_hundred_percent() -> None:
    assert _percent(1.0) == "100 %" and _percent(0.999) == "99 %" and _percent(0.955) == "96 %"
