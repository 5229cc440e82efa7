"""Report: a static page that shows the capture, the simulation, the objects, the episodes and the certificate."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import numpy as np
from pydantic import Field

from blueprint.backends.protocols import Renderer
from blueprint.core.artifact import Config
from blueprint.core.execute import map_items
from blueprint.core.files import digest
from blueprint.core.stage import stage
from blueprint.model.artifacts import (
    Assets,
    Capture,
    Certificate,
    Dataset,
    Episodes,
    Physics,
    Quality,
    Reconstruction,
    Recording,
    Report,
    SimScene,
    TaskSet,
    Workcell,
)
from blueprint.stages.report import films, page, pictures

MEDIA = "media"


class ReportConfig(Config):
    """episodes: how many to show; films: how many of these to draw large, film_width x film_height pixels;
    supersample: of stills; turntable_frames: steps of an object's turn"""

    episodes: int = Field(default=6, ge=0, le=40)
    films: int = Field(default=1, ge=0, le=40)
    film_width: int = Field(default=960, ge=64, le=1920, multiple_of=2)
    film_height: int = Field(default=540, ge=64, le=1080, multiple_of=2)
    supersample: int = Field(default=2, ge=1, le=4)
    turntable_frames: int = Field(default=24, ge=1, le=72)


@stage(version=f"1 {digest(page.template_texts())[:8]}")
def report(
    capture: Capture,
    reconstruction: Reconstruction,
    assets: Assets,
    physics: Physics,
    simscene: SimScene,
    workcell: Workcell,
    taskset: TaskSet,
    episodes: Episodes,
    recording: Recording,
    quality: Quality,
    dataset: Dataset,
    certificate: Certificate,
    renderer: Renderer,
    cfg: ReportConfig,
    out: Path,
) -> Report:
    """Write report/index.html and its pictures. Needs no server and no network to look at."""
    shown = films.chosen(episodes, recording, cfg.episodes)
    view = page.viewpoint(reconstruction, simscene)
    size = (view.camera.width, view.camera.height)
    drawings = {
        "simulation": partial(_still, renderer, simscene.path(simscene.mjcf), None, view.name, size, cfg.supersample),
        "sources": partial(_sources, reconstruction),
    }
    if reconstruction.views:
        drawings["overlay"] = partial(_overlay, reconstruction)
    table = pictures.Turntable(frames=cfg.turntable_frames)
    for thing in assets.objects:
        drawings[f"object_{thing.name}"] = partial(pictures.draw_turntable, renderer, assets, thing, table)
    for record in shown:
        drawings[f"episode_{record.index:06d}"] = partial(films.copy_episode, recording, record.index)
    eye = np.array([row[3] for row in view.T_world_camera[:3]])
    film_size = (cfg.film_width, cfg.film_height)
    for record in shown[: cfg.films]:
        qpos = films.states_of(episodes, record)["qpos"]
        drawings[f"film_{record.index:06d}"] = partial(
            films.draw_film, renderer, workcell, eye, qpos, episodes.fps, film_size
        )
    pace = getattr(renderer, "seconds_per_picture", 2.0)
    map_items(_draw, list(drawings.items()), out / "report" / MEDIA, what="report pictures", timeout_s=300 * pace)
    made = page.Made(
        capture, reconstruction, assets, physics, simscene, workcell, taskset, episodes, recording, quality, dataset,
        certificate,
    )  # fmt: skip
    content = page.content(made, renderer, shown, cfg.films, cfg.turntable_frames)
    page.write(content, out / "report")
    return Report()


def _draw(draw: partial[None], folder: Path) -> None:
    draw(folder=folder)


def _still(
    renderer: Renderer,
    model: Path,
    qpos: np.ndarray | None,
    camera: str,
    size: tuple[int, int],
    factor: int,
    folder: Path,
) -> None:
    pictures.save(pictures.draw_view(renderer, model, qpos, camera, size, factor), folder / "picture.jpg", 90)


def _overlay(reconstruction: Reconstruction, folder: Path) -> None:
    pictures.save(pictures.overlay(reconstruction), folder / "picture.jpg")


def _sources(reconstruction: Reconstruction, folder: Path) -> None:
    """The captured picture and the table's texture, as they are; what there is of both."""
    if reconstruction.views:
        shutil.copyfile(reconstruction.path(reconstruction.views[0].color), folder / "capture.png")
    if reconstruction.support.texture is not None:
        shutil.copyfile(reconstruction.path(reconstruction.support.texture), folder / "table.png")
