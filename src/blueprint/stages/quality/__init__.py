"""Quality: what every recorded episode is worth, and what the batch covers; every term is measured."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from pydantic import Field

from blueprint.core.artifact import Config
from blueprint.core.errors import IntegrityError
from blueprint.core.report import progress
from blueprint.core.stage import stage
from blueprint.model.artifacts import Episodes, Quality, Recording, Workcell
from blueprint.model.episode import EpisodeRecord, RecordedEpisode
from blueprint.model.quality import WEIGHTS, EpisodeQuality, Term
from blueprint.stages.quality import diversity, motion, pictures, training


class QualityConfig(Config):
    """samples: pictures looked at per camera and episode; cell_m: side of the cells in which starts and goals count.

    start_m, start_deg: the starts that the data is meant for: how far things may stand from where they were captured,
    and be turned
    """

    samples: int = Field(default=6, ge=1)
    cell_m: float = Field(default=0.05, gt=0)
    start_m: float = Field(default=0.03, gt=0)
    start_deg: float = Field(default=20.0, gt=0)


@stage(version="2")
def quality(workcell: Workcell, episodes: Episodes, recording: Recording, cfg: QualityConfig, out: Path) -> Quality:
    """Raises IntegrityError when recording and episodes do not belong together."""
    records = {record.index: record for record in episodes.episodes}
    firsts = [recorded for recorded in recording.episodes if recorded.look_index == 0]
    paths = {recorded.index: motion.Path3.of(workcell, recording, recorded) for recorded in firsts}
    novelty = diversity.novelty({i: records[i].task.id for i in paths}, {i: p.resampled for i, p in paths.items()})
    judged = []
    for recorded in progress(recording.episodes, len(recording.episodes), "quality"):
        record = _record(records, recorded)
        terms = (
            *motion.terms(workcell, episodes, record, paths[recorded.index]),
            *task_terms(record),
            *pictures.terms(recording, recorded, record, cfg.samples),
            *diversity.terms(novelty[recorded.index]),
        )
        judged.append(rated(recorded.index, terms))
    score = float(np.mean([one.score for one in judged]))
    recorded_once = [records[index] for index in paths]
    worth = tuple(training.terms(workcell, episodes, recorded_once, paths, (cfg.start_m, cfg.start_deg)))
    return Quality(
        episodes=tuple(judged),
        score=score,
        training=worth,
        training_score=score * float(np.prod([term.score for term in worth])),
        diversity=diversity.measured(workcell, episodes, recording, paths, cfg.cell_m),
    )


def _record(records: dict[int, EpisodeRecord], recorded: RecordedEpisode) -> EpisodeRecord:
    record = records.get(recorded.index)
    if record is None or not record.success or record.states is None:
        raise IntegrityError(f"recorded episode {recorded.index} is no successful episode", "run the recording again")
    return record


def rated(index: int, terms: Iterable[Term]) -> EpisodeQuality:
    """Groups weigh as `WEIGHTS` says; a group without a term (no second episode to differ from) counts for nothing."""
    by_group: dict = {}
    for term in terms:
        by_group.setdefault(term.group, []).append(term)
    groups = {group: float(np.mean([term.score for term in some])) for group, some in by_group.items()}
    total = sum(WEIGHTS[group] for group in groups)
    score = sum(WEIGHTS[group] * value for group, value in groups.items()) / total
    return EpisodeQuality(
        index=index, terms=tuple(t for some in by_group.values() for t in some), groups=groups, score=score
    )


def task_terms(record: EpisodeRecord) -> Iterable[Term]:
    """How clearly the judge's conditions held: the least of (bound - measured) / bound, and how many tries it took."""
    last = record.attempts[-1]
    margins = [
        1 - check.measured / check.bound for check in last.checks if check.comparison == "<=" and check.bound > 0
    ]
    yield Term(
        name="goal_margin", group="task", text="least distance of a condition from its bound, as a share of the bound",
        measured=min(margins, default=0.0), unit="", good=0.1, bad=-0.1,
    )  # fmt: skip
    yield Term(
        name="conditions_met", group="task", text="share of the judge's conditions that hold",
        measured=float(np.mean([check.passed for check in last.checks])) if last.checks else 0.0, unit="",
        good=1.0, bad=0.9,
    )  # fmt: skip
    yield Term(
        name="recoveries", group="task", text="how often the robot had to try again within the episode",
        measured=float(len(last.recoveries)), unit="", good=0.0, bad=3.0,
    )  # fmt: skip
