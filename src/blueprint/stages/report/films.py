"""Films of the report: a few episodes as videos with their skills on a time line, and a strip of stills."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from blueprint.backends.protocols import Renderer
from blueprint.formats.video import color_writer, decode_color
from blueprint.model.artifacts import Episodes, Recording, Workcell
from blueprint.model.episode import EpisodeRecord
from blueprint.stages.report import pictures

STILLS = 8


@dataclass(frozen=True)
class Span:
    """One skill of an episode as shares of its duration."""

    name: str
    start: float
    end: float


def chosen(episodes: Episodes, recording: Recording, count: int) -> list[EpisodeRecord]:
    """Recorded episodes to show: one per task first, objects and kinds of task mixed, then by index."""
    recorded = {episode.index for episode in recording.episodes}
    records = [record for record in episodes.episodes if record.index in recorded]
    picked: list[EpisodeRecord] = []
    for fresh in (_new_family, _new_object, _new_task, _any):
        for record in records:
            if len(picked) < count and record not in picked and fresh(record, picked):
                picked.append(record)
    return picked


def _new_family(record: EpisodeRecord, picked: Sequence[EpisodeRecord]) -> bool:
    return record.task.goal.family not in {other.task.goal.family for other in picked}


def _new_object(record: EpisodeRecord, picked: Sequence[EpisodeRecord]) -> bool:
    return record.task.object not in {other.task.object for other in picked}


def _new_task(record: EpisodeRecord, picked: Sequence[EpisodeRecord]) -> bool:
    return record.task.id not in {other.task.id for other in picked}


def _any(record: EpisodeRecord, picked: Sequence[EpisodeRecord]) -> bool:
    return True


def states_of(episodes: Episodes, record: EpisodeRecord) -> dict[str, NDArray]:
    """The arrays of an episode's states file; empty when it has none."""
    if record.states is None:
        return {}
    with np.load(episodes.path(record.states), allow_pickle=False) as loaded:
        return {name: loaded[name] for name in loaded.files}


def spans(episodes: Episodes, segment: NDArray[np.int8]) -> list[Span]:
    """Runs of equal skill over the frames of an episode."""
    total, at, found = len(segment), 0, []
    for value, run in groupby(segment.tolist()):
        length = len(list(run))
        found.append(Span(episodes.segments[value], at / total, (at + length) / total))
        at += length
    return found


def copy_episode(recording: Recording, index: int, folder: Path) -> None:
    """The recorded videos as CAMERA.mp4 with CAMERA.jpg, and `strip.jpg`: stills of the first camera side by side."""
    made = next(episode for episode in recording.episodes if episode.index == index)
    for number, track in enumerate(made.tracks):
        shutil.copyfile(recording.path(track.video), folder / f"{track.camera}.mp4")
        frames = list(decode_color(recording.path(track.video)))
        pictures.save(frames[len(frames) // 2], folder / f"{track.camera}.jpg")
        if number == 0:
            at = np.linspace(0, len(frames) - 1, STILLS).round().astype(int)
            pictures.save(np.concatenate([frames[k] for k in at], axis=1), folder / "strip.jpg", 82)


def draw_film(
    renderer: Renderer, workcell: Workcell, qpos: NDArray[np.float64], fps: int, size: tuple[int, int], folder: Path
) -> None:
    """`film.mp4` and `poster.jpg`: the episode once more, larger than the dataset has it, from the scene camera."""
    model, camera = workcell.path(workcell.mjcf), workcell.cameras[0]
    frames = renderer.render(model, qpos, (camera,), *size, depth=False, segmentation=False)
    middle = len(qpos) // 2
    with color_writer(folder / "film.mp4", width=size[0], height=size[1], fps=fps, crf=24) as writer:
        for number, images in enumerate(frames):
            writer.add(images[camera].color)
            if number == middle:
                pictures.save(images[camera].color, folder / "poster.jpg")
