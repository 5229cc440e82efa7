"""What holds for every single episode: its judge's conditions, its quality, what it is fit for, what nobody checked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from blueprint.core.errors import IntegrityError
from blueprint.model.artifacts import Episodes
from blueprint.model.certificate import EpisodeCertificate, Measurement, TermValue
from blueprint.model.episode import EpisodeRecord, RecordedEpisode
from blueprint.model.quality import EpisodeQuality
from blueprint.stages.certificate import checks, rule

BATCH = ("episodes", "quality")  # stages whose measurements are of all episodes together, not of any one
RATED = "quality"  # of what nobody checked: an episode without a rating


@dataclass(frozen=True)
class Batch:
    """What all episodes of a dataset share. engine: name and version; measurements: of the whole certificate;
    terms: names of all quality terms"""

    origin: str
    sensors: str
    engine: str
    measurements: Sequence[Measurement]
    terms: frozenset[str]

    def verdict(self, score: float | None, own: Sequence[Measurement]) -> rule.Verdict:
        """Of one episode: the shared failures but those of other episodes, and its own."""
        shared = [check for check in self.measurements if check.passed is False and check.stage not in BATCH]
        return rule.suitability(
            origin=self.origin, sensor_source=self.sensors, physics_backend=self.engine, episodes=1, quality=score,
            measurements=[*shared, *own],
        )  # fmt: skip


def certified(
    batch: Batch, episodes: Episodes, recorded: Sequence[RecordedEpisode], rated: Sequence[EpisodeQuality | None]
) -> Iterator[EpisodeCertificate]:
    """One per recorded episode, in the order of the dataset. rated: their qualities, None = not rated.

    Raises IntegrityError when these are not of the same episodes.
    """
    records = {record.index: record for record in episodes.episodes}
    firsts = accumulate((one.frames for one in recorded), initial=0)
    shared = set(batch.verdict(None, ()).reasons)
    for number, (one, grade, first) in enumerate(zip(recorded, rated, firsts, strict=False)):
        record = records.get(one.index)
        if record is None or len(rated) != len(recorded) or (grade is not None and grade.index != one.index):
            raise IntegrityError(f"episode {number} was not rated or never tried", "run the quality stage again")
        yield _certified(batch, number, first, (record, one, grade), shared)


def _certified(
    batch: Batch,
    number: int,
    first: int,
    of: tuple[EpisodeRecord, RecordedEpisode, EpisodeQuality | None],
    shared: set[str],
) -> EpisodeCertificate:
    record, recorded, grade = of
    tried = record.attempts[-1 if recorded.attempt is None else recorded.attempt]
    success = recorded.attempt is None and record.success
    sound = checks.judged(
        "episode.consistent", "episode", "its verdict follows from its numbers",
        float(checks.consistent(record)), "", "==", 1.0,
    )  # fmt: skip
    verdict = batch.verdict(None if grade is None else grade.score, [sound])
    level = verdict.level if success else rule.lower(verdict.level, "development_only")
    terms = () if grade is None else grade.terms
    unmeasured = [f"{RATED}.{name}" for name in sorted(batch.terms - {term.name for term in terms})]
    return EpisodeCertificate(
        episode=number,
        source=record.index,
        look=recorded.look_index,
        attempt=recorded.attempt,
        task=record.task.instruction,
        first_frame=first,
        last_frame=first + recorded.frames - 1,
        sensor_source=batch.sensors,
        physics_backend=batch.engine,
        success=success,
        cause=tried.cause,
        verified=success and rule.physics_verified(batch.engine, 1, [sound]),
        attempts=len(record.attempts),
        checks=tried.checks,
        terms={
            t.name: TermValue(measured=t.measured, unit=t.unit, good=t.good, bad=t.bad, score=t.score) for t in terms
        },
        groups={} if grade is None else grade.groups,
        score=None if grade is None else grade.score,
        training_suitability=level,
        reasons=tuple(reason for reason in verdict.reasons if reason not in shared),
        not_checked=(*(f"not_checked.{key}" for key, _ in checks.NOT_CHECKED), *unmeasured),
    )
