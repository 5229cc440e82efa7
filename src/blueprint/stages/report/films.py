"""Films of the report: a few episodes as videos with their skills on a time line, and a strip of stills."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from blueprint.backends.cameras_mjcf import with_camera
from blueprint.backends.protocols import Renderer
from blueprint.formats.video.coding import color_writer
from blueprint.formats.video.frames import VideoFrames, write_strip
from blueprint.model.artifacts import Episodes, Recording, Workcell
from blueprint.model.episode import EpisodeRecord
from blueprint.stages.report import pictures

Array = NDArray[np.float64]

# kinds of task, most to see first
TELLING = (
    *("chain", "pour", "stack", "sort", "rearrange", "insert", "wipe", "handover", "carry", "open", "turn", "close"),
    *("place_into", "place_on", "place_beside", "pull", "push", "press", "place_region", "lift"),
)
FILM_CAMERA = "report_film"
FILM_FOVY_DEG = 34.0
FILM_ELEVATION_DEG = 26.0
FILM_TURN_DEG = 32.0
FILM_FILL = 1.1  # of the picture's height by the sphere around robot and objects
ROBOT_HEIGHT = 0.55  # m above its base, in a working pose


@dataclass(frozen=True)
class Span:
    """One skill of an episode as shares of its duration."""

    name: str
    start: float
    end: float


def chosen(episodes: Episodes, recording: Recording, count: int) -> list[EpisodeRecord]:
    """Recorded episodes to show: kinds of task and objects mixed, the most telling kind first."""
    recorded = {episode.index for episode in recording.episodes}
    records = [record for record in episodes.episodes if record.index in recorded]
    picked: list[EpisodeRecord] = []
    for fresh in (_new_family, _new_object, _new_task, _any):
        for record in records:
            if len(picked) < count and record not in picked and fresh(record, picked):
                picked.append(record)
    return sorted(picked, key=lambda record: TELLING.index(record.task.goal.family))


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
        video, middle = recording.path(track.video), made.frames // 2 / recording.fps
        shutil.copyfile(video, folder / f"{track.camera}.mp4")
        pictures.save(VideoFrames().at(video, [middle], recording.fps)[0], folder / f"{track.camera}.jpg")
        if number == 0:
            write_strip(video, made.frames, recording.fps, folder / "strip.jpg")


def draw_film(
    renderer: Renderer,
    workcell: Workcell,
    eye: Array,
    qpos: Array,
    fps: int,
    size: tuple[int, int],
    folder: Path,
) -> None:
    """`film.mp4` and `poster.jpg`: the episode once more, larger, from where robot and table are in view.

    eye: (3,) where the capture's camera stood [m]: the film looks from that side, since it was really seen
    """
    model = folder / "film.xml"
    view = film_view(workcell, eye, size[0] / size[1])
    model.write_text(with_camera(workcell.path(workcell.mjcf), FILM_CAMERA, *view, FILM_FOVY_DEG))
    frames = renderer.render(model, qpos, (FILM_CAMERA,), *size, depth=False, segmentation=False)
    middle = len(qpos) // 2
    with color_writer(folder / "film.mp4", width=size[0], height=size[1], fps=fps, crf=24) as writer:
        for number, images in enumerate(frames):
            writer.add(images[FILM_CAMERA].color)
            if number == middle:
                pictures.save(images[FILM_CAMERA].color, folder / "poster.jpg")
    model.unlink()


def film_view(workcell: Workcell, eye: Array, aspect: float) -> tuple[Array, Array, Array]:
    """Position, right and up of a camera that has robot and objects in view, from the side of `eye` (3,)."""
    base = np.array(workcell.robot.base.position)
    stands = np.array([base, base + np.array([0, 0, ROBOT_HEIGHT]), *(body.pose.position for body in workcell.bodies)])
    target = (stands.min(axis=0) + stands.max(axis=0)) / 2
    away = (eye - target)[:2] / max(float(np.linalg.norm((eye - target)[:2])), 1e-6)
    # turned so that the robot stands to the side of the objects, not behind them
    to_base = (base - stands[2:].mean(axis=0))[:2] if len(stands) > 2 else -away
    side = np.sign(away[0] * to_base[1] - away[1] * to_base[0]) or 1.0
    turn = np.deg2rad(-side * FILM_TURN_DEG)
    away = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ away
    up = np.deg2rad(FILM_ELEVATION_DEG)
    back = np.array([*(away * np.cos(up)), np.sin(up)])
    radius = float(np.linalg.norm(stands - target, axis=1).max())
    half = np.deg2rad(FILM_FOVY_DEG) / 2
    distance = radius * FILM_FILL / np.sin(min(half, np.arctan(aspect * np.tan(half))))
    right = np.array([-back[1], back[0], 0.0]) / np.cos(up)
    return target + distance * back, right, np.cross(back, right)
