"""Dataset: the recorded episodes as a LeRobot v3.0 dataset, with depth, segmentation and poses beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pydantic import Field

from blueprint.core.artifact import Config
from blueprint.core.errors import IntegrityError
from blueprint.core.report import progress
from blueprint.core.stage import stage
from blueprint.formats.lerobot import DatasetSpec, EpisodeData, Limits, VideoFeature, write_dataset
from blueprint.formats.lerobot_card import write_card
from blueprint.formats.sidecar import SIDECAR, write_sidecar
from blueprint.model.artifacts import Dataset, Episodes, Recording, TaskSet, Workcell
from blueprint.model.episode import CameraTrack, EpisodeRecord, RecordedEpisode

IMAGES = "observation.images."


class DatasetConfig(Config):
    """data_files_mb, video_files_mb, chunk_files: when a new file or folder begins (lerobot's defaults).

    licence, licence_note: what the card says of the data's licence; the capture's own terms bind too
    """

    data_files_mb: int = Field(default=100, ge=1)
    video_files_mb: int = Field(default=200, ge=1)
    chunk_files: int = Field(default=1000, ge=1)
    licence: str = "other"
    licence_note: str = ""


@stage(version="1")
def dataset(
    workcell: Workcell, taskset: TaskSet, episodes: Episodes, recording: Recording, cfg: DatasetConfig, out: Path
) -> Dataset:
    """Write `out`/dataset. Raises IntegrityError when states, pictures and records do not belong together."""
    records = {record.index: record for record in episodes.episodes}
    pairs = [(recorded, _record_of(records, recorded)) for recorded in recording.episodes]
    if not pairs:
        raise IntegrityError("the recording holds no episode", "run the recording stage again")
    cameras = tuple(track.camera for track in pairs[0][0].tracks)
    spec = DatasetSpec(
        fps=recording.fps,
        robot_type=workcell.robot.name,
        state_names=episodes.state_names,
        action_names=episodes.state_names,
        videos=tuple(
            VideoFeature(IMAGES + camera, recording.width, recording.height, recording.codec) for camera in cameras
        ),
        tasks=_instructions(taskset, [record for _, record in pairs]),
        limits=Limits(cfg.chunk_files, cfg.data_files_mb, cfg.video_files_mb),
    )
    root = out / Dataset.model_fields["folder"].default
    summary = write_dataset(root, spec, _episode_data(episodes, recording, pairs))
    write_sidecar(root / SIDECAR, workcell, episodes, recording, pairs)
    write_card(root, workcell, taskset, episodes, recording, spec, summary, (cfg.licence, cfg.licence_note))
    return Dataset(
        episodes=summary.episodes,
        frames=summary.frames,
        fps=spec.fps,
        tasks=spec.tasks,
        cameras=cameras,
    )


def _record_of(records: dict[int, EpisodeRecord], recorded: RecordedEpisode) -> EpisodeRecord:
    record = records.get(recorded.index)
    if record is None or not record.success or record.frames != recorded.frames:
        raise IntegrityError(
            f"recorded episode {recorded.index} is not a successful episode of {recorded.frames} frames",
            "the recording belongs to other episodes: run it again",
        )
    return record


def _instructions(taskset: TaskSet, used: list[EpisodeRecord]) -> tuple[str, ...]:
    """The texts of the tasks that have an episode, in the order of the task set; equal texts are one task."""
    wanted = {record.task.instruction for record in used}
    known = [task.instruction for task in taskset.tasks if task.instruction in wanted]
    if missing := wanted - set(known):
        raise IntegrityError(f"episodes of tasks that are not in the task set: {', '.join(sorted(missing))}")
    return tuple(dict.fromkeys(known))


def _episode_data(
    episodes: Episodes, recording: Recording, pairs: list[tuple[RecordedEpisode, EpisodeRecord]]
) -> Iterator[EpisodeData]:
    for recorded, record in progress(pairs, len(pairs), "dataset"):
        if record.states is None:
            raise IntegrityError(f"episode {record.index} has no states")
        with np.load(episodes.path(record.states), allow_pickle=False) as arrays:
            state, action = arrays["state"], arrays["action"]
        yield EpisodeData(
            task=record.task.instruction,
            state=state,
            action=action,
            videos={IMAGES + track.camera: recording.path(track.video) for track in recorded.tracks},
            color_stats={IMAGES + track.camera: _color_stats(track) for track in recorded.tracks},
        )


def _color_stats(track: CameraTrack) -> dict[str, np.ndarray]:
    stats = {name: np.asarray(value, np.float64) for name, value in track.color_stats.items()}
    return stats | {"count": np.array([track.color_count], np.float64)}
