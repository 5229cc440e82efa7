"""Dataset: the recorded episodes as a LeRobot v3.0 dataset, with what LeRobot has no place for beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pydantic import Field

from blueprint.core.artifact import Config
from blueprint.core.errors import IntegrityError
from blueprint.core.report import progress
from blueprint.core.stage import stage
from blueprint.formats.lerobot.card import write_card
from blueprint.formats.lerobot.sidecar import SIDECAR, states_of, write_sidecar
from blueprint.formats.lerobot.splits import Strategy
from blueprint.formats.lerobot.writer import DatasetSpec, EpisodeData, Limits, Summary, VideoFeature, write_dataset
from blueprint.model.artifacts import Dataset, Episodes, Licences, Recording, TaskSet, Workcell
from blueprint.model.episode import CameraTrack, EpisodeRecord, RecordedEpisode
from blueprint.skills.wording import subtask

IMAGES = "observation.images."
FAILURES = "failures"  # folder of the dataset of attempts that failed


class DatasetConfig(Config):
    """data_files_mb, video_files_mb, chunk_files: when a new file or folder begins (lerobot's defaults).

    split: how train, val and test are dealt (sidecar/splits.json): trajectories at random, whole scenes (sets of
    objects) or whole tasks
    licence, licence_note: what the card says of the data's licence (SPDX); the capture's own terms bind too
    gated, gated_prompt: whether the card asks who wants access on a hub, and what it says there
    """

    data_files_mb: int = Field(default=100, ge=1)
    video_files_mb: int = Field(default=200, ge=1)
    chunk_files: int = Field(default=1000, ge=1)
    split: Strategy = "random"
    licence: str = "other"
    licence_note: str = ""
    gated: bool = False
    gated_prompt: str = "Say who you are and what the data is for. The terms of the data and of its inputs bind."


@stage(version="5")
def dataset(
    workcell: Workcell,
    taskset: TaskSet,
    episodes: Episodes,
    recording: Recording,
    licences: Licences,
    cfg: DatasetConfig,
    out: Path,
) -> Dataset:
    """Write `out`/dataset. Raises IntegrityError when states, pictures and records do not belong together."""
    records = {record.index: record for record in episodes.episodes}
    if not recording.episodes:
        raise IntegrityError("the recording holds no episode", "run the recording stage again")
    wanted = {Dataset.model_fields["folder"].default: recording.episodes, FAILURES: recording.failures}
    made: dict[str, tuple[DatasetSpec, Summary]] = {}
    for folder, recorded in wanted.items():
        pairs = [(one, _record_of(records, one)) for one in recorded]
        if pairs:
            spec = _spec(workcell, taskset, episodes, recording, pairs, cfg)
            summary = write_dataset(out / folder, spec, _episode_data(workcell, episodes, recording, pairs))
            write_sidecar(out / folder / SIDECAR, workcell, episodes, recording, pairs, cfg.split)
            licence = (cfg.licence, cfg.licence_note, cfg.gated_prompt if cfg.gated else None)
            write_card(out / folder, workcell, episodes, recording, pairs, spec, summary, licence, licences)
            made[folder] = (spec, summary)
    spec, summary = made[Dataset.model_fields["folder"].default]
    return Dataset(
        failures=FAILURES if FAILURES in made else None,
        episodes=summary.episodes,
        frames=summary.frames,
        fps=spec.fps,
        tasks=spec.tasks,
        cameras=tuple(track.camera for track in recording.episodes[0].tracks),
    )


def _spec(
    workcell: Workcell,
    taskset: TaskSet,
    episodes: Episodes,
    recording: Recording,
    pairs: list[tuple[RecordedEpisode, EpisodeRecord]],
    cfg: DatasetConfig,
) -> DatasetSpec:
    videos = (*pairs[0][0].tracks, *pairs[0][0].tactile)
    return DatasetSpec(
        fps=recording.fps,
        robot_type=workcell.said_of_robots("name"),
        state_names=episodes.state_names,
        action_names=episodes.state_names,
        videos=tuple(VideoFeature(IMAGES + v.camera, v.width, v.height, recording.codec) for v in videos),
        tasks=_instructions(taskset, [record for _, record in pairs]),
        subtasks=tuple(dict.fromkeys(text for one in pairs for text in _subtasks(workcell, episodes, *one))),
        limits=Limits(cfg.chunk_files, cfg.data_files_mb, cfg.video_files_mb),
        vectors=recording.vectors,
    )


def _record_of(records: dict[int, EpisodeRecord], recorded: RecordedEpisode) -> EpisodeRecord:
    record, attempt = records.get(recorded.index), recorded.attempt
    if record is not None and attempt is not None:
        tried = record.attempts[attempt] if attempt < len(record.attempts) else None
        if tried is not None and not tried.success and tried.frames == recorded.frames:
            return record
        raise IntegrityError(f"recorded failure {recorded.index} is no attempt that failed", "run the recording again")
    if record is None or not record.success or record.frames != recorded.frames:
        raise IntegrityError(
            f"recorded episode {recorded.index} is not a successful episode of {recorded.frames} frames",
            "the recording belongs to other episodes: run it again",
        )
    return record


def _instructions(taskset: TaskSet, used: list[EpisodeRecord]) -> tuple[str, ...]:
    """The texts of the tasks that have an episode, in the order of the task set; equal texts are one task. Then those
    of tasks that were worded anew, since other things stand in the place of captured ones.
    """
    wanted = {record.task.instruction for record in used}
    known = [task.instruction for task in taskset.tasks if task.instruction in wanted]
    ids = {task.id for task in taskset.tasks}
    known += [r.task.instruction for r in used if r.variation and r.variation.swapped and r.task.id in ids]
    if missing := wanted - set(known):
        raise IntegrityError(f"episodes of tasks that are not in the task set: {', '.join(sorted(missing))}")
    return tuple(dict.fromkeys(known))


def _subtasks(workcell: Workcell, episodes: Episodes, recorded: RecordedEpisode, record: EpisodeRecord) -> list[str]:
    """What the robot does, of every frame; a task of several steps does not tell which object it is about."""
    texts = {body.name: body.text for body in workcell.bodies}
    texts |= {name: swap.text for name, swap in (record.variation.swapped if record.variation else {}).items()}
    about = texts.get(record.task.object, "") if not record.task.goal.steps else ""
    with np.load(episodes.path(states_of(recorded, record)), allow_pickle=False) as arrays:
        return [subtask(episodes.segments[value], about) for value in arrays["segment"]]


def _episode_data(
    workcell: Workcell,
    episodes: Episodes,
    recording: Recording,
    pairs: list[tuple[RecordedEpisode, EpisodeRecord]],
) -> Iterator[EpisodeData]:
    for recorded, record in progress(pairs, len(pairs), "dataset"):
        with np.load(episodes.path(states_of(recorded, record)), allow_pickle=False) as arrays:
            state, action = arrays["state"], arrays["action"]
        vectors = {}
        if recorded.vectors is not None:
            with np.load(recording.path(recorded.vectors), allow_pickle=False) as arrays:
                vectors = {name: arrays[name] for name in recording.vectors}
        videos = (*recorded.tracks, *recorded.tactile)
        yield EpisodeData(
            task=record.task.instruction,
            state=state,
            action=action,
            videos={IMAGES + track.camera: recording.path(track.video) for track in videos},
            color_stats={IMAGES + track.camera: _color_stats(track) for track in videos},
            vectors=vectors,
            subtasks=_subtasks(workcell, episodes, recorded, record),
        )


def _color_stats(track: CameraTrack) -> dict[str, np.ndarray]:
    stats = {name: np.asarray(value, np.float64) for name, value in track.color_stats.items()}
    return stats | {"count": np.array([track.color_count], np.float64)}
