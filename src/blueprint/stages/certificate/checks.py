"""The checks, stage by stage: each function turns artifacts into measurements and judges them by their bounds."""

from __future__ import annotations

from collections import Counter
from typing import Literal

import numpy as np

from blueprint.formats.lerobot.check import check_dataset
from blueprint.formats.obj import read_obj
from blueprint.model.artifacts import (
    Articulation,
    Assets,
    Dataset,
    Episodes,
    Physics,
    Quality,
    Reconstruction,
    Recording,
    SimScene,
    TaskSet,
    Workcell,
)
from blueprint.model.certificate import Measurement
from blueprint.model.episode import Check, Comparison, EpisodeRecord, holds
from blueprint.model.quality import WEIGHTS
from blueprint.model.scene import Inertia, ObjectAsset

Scope = Literal["measured", "inferred", "not_checked"]

DATASET = "dataset"
NOT_CHECKED = (
    ("sim_to_real", "transfer of a policy trained on this data to the real scene"),
    ("mass_weighed", "masses against a scale (they are inferred from volume and material)"),
    ("friction_measured", "friction and restitution against the real surfaces (they come from tables)"),
    ("unseen_surfaces", "the sides that no camera saw against the real objects"),
    ("articulation", "doors, drawers and other joints against those of the real things"),
    ("deformation", "soft or liquid contents"),
    ("lighting", "light and materials of the simulation against the real room"),
    ("other_simulators", "the episodes in another simulator than the one named here"),
    ("policy", "whether a policy learns from this data"),
    ("between_frames", "touches shorter than a frame, which show only through what they moved"),
    ("self_contact", "contact of the robot with itself"),
    ("watched", "the episodes and the wording of their tasks by a person"),
)


def judged(
    check_id: str, stage: str, text: str, measured: float, unit: str, comparison: Comparison, bound: float
) -> Measurement:
    """A measured value against its bound."""
    passed = holds(measured, comparison, bound)
    return Measurement(
        id=check_id, text=text, measured=measured, unit=unit, bound=bound, comparison=comparison, passed=passed,
        scope="measured", stage=stage,
    )  # fmt: skip


def stated(
    check_id: str, stage: str, text: str, measured: float | None, unit: str = "", scope: Scope = "measured"
) -> Measurement:
    """A value without a bound."""
    return Measurement(
        id=check_id, text=text, measured=measured, unit=unit, bound=None, comparison="", passed=None, scope=scope,
        stage=stage,
    )  # fmt: skip


def of_reconstruction(made: Reconstruction, residual_m: float) -> list[Measurement]:
    stage = "reconstruction"
    sources = Counter(instance.mask_source for instance in made.instances)
    named = ", ".join(f"{count} {source}" for source, count in sorted(sources.items()))
    return [
        stated("scale.source", stage, f"metric scale comes from: {made.scale_source}", None),
        stated("scale.depth_noise", stage, "depth noise at 1 m", made.depth_sigma_m, "m"),
        stated("gravity.source", stage, f"direction of gravity: {made.up_source}", None, scope="inferred"),
        judged(
            "support.residual", stage, "RMS distance of the table to its plane", made.support.residual_m, "m", "<=",
            residual_m,
        ),
        stated("support.seen", stage, "share of the table that a camera saw", made.support.seen_fraction),
        stated("instances.count", stage, f"objects found (masks: {named or 'none'})", float(len(made.instances))),
    ]  # fmt: skip


def of_assets(made: Assets, depth_error_m: float, silhouette_iou: float) -> list[Measurement]:
    found = []
    for thing in made.objects:
        name, stage = thing.name, "assets"
        found += [
            judged(f"assets.{name}.watertight", stage, f"{name}: edges not shared by two faces",
                   float(open_edges(made, thing)), "", "==", 0.0),
            stated(f"assets.{name}.seen", stage, f"{name}: share of the surface seen by a camera", thing.seen_fraction),
        ]  # fmt: skip
        if "given" in thing.dims_source:
            found.append(stated(f"assets.{name}.given", stage, f"{name} came as a model: {thing.method}", None))
            continue
        found += [
            judged(f"assets.{name}.silhouette", stage, f"{name}: outline against its mask (IoU)",
                   thing.silhouette_iou, "", ">=", silhouette_iou),
            judged(f"assets.{name}.depth", stage, f"{name}: median distance to the depth image",
                   thing.depth_error_median_m, "m", "<=", depth_error_m),
        ]  # fmt: skip
        guessed = [axis for axis, source in zip("xyz", thing.dims_source, strict=True) if source == "inferred"]
        if guessed:
            text = f"{name}: extent along {', '.join(guessed)} is inferred (one end was not seen)"
            sigma = max(thing.dims_sigma_m["xyz".index(axis)] for axis in guessed)
            found.append(stated(f"assets.{name}.inferred_extent", stage, text + ", sigma", sigma, "m", "inferred"))
    return found


def open_edges(made: Assets, thing: ObjectAsset) -> int:
    """Edges that are not shared by exactly two faces of opposite direction; 0 = a closed surface."""
    faces = read_obj(made.path(thing.mesh)).faces
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    _, counts = np.unique(np.sort(edges, axis=1), axis=0, return_counts=True)
    _, directed = np.unique(edges, axis=0, return_counts=True)
    return int((counts != 2).sum() + (directed > 1).sum())


def inertia_margin(inertia: Inertia) -> float:
    """Least slack of the triangle inequality, relative to the largest moment; negative = no real body has it.

    A moment <= 0 also gives a negative margin.
    """
    a, b, c = sorted(inertia.principal_moments)
    return min(a, a + b - c) / c if c > 0 else -1.0


def of_physics(
    made: Physics, scene: SimScene, drift_m: float, drift_deg: float, penetration_m: float
) -> list[Measurement]:
    found = []
    for body in made.objects:
        name, stage = body.asset.name, "physics"
        found += [
            stated(f"physics.{name}.mass", stage, f"{name}: mass ({body.mass_kg.source})", body.mass_kg.value, "kg",
                   "inferred"),
            stated(f"physics.{name}.friction", stage, f"{name}: sliding friction ({body.friction.source})",
                   body.friction.value, "", "inferred"),
            judged(f"physics.{name}.inertia", stage, f"{name}: margin of the inertia triangle inequality",
                   inertia_margin(body.inertia), "", ">=", 0.0),
        ]  # fmt: skip
    for stage, settle in (("physics", made.settle), ("simscene", scene.settle)):
        what = f"settle test, {settle.seconds:g} s in {settle.simulator}"
        for key, text, measured, unit, bound in (
            ("drift", f"{what}: largest displacement", settle.max_drift_m, "m", drift_m),
            ("rotation", f"{what}: largest rotation", settle.max_drift_deg, "deg", drift_deg),
            ("penetration", "deepest contact at spawn", settle.max_penetration_m, "m", penetration_m),
        ):
            found.append(judged(f"settle.{stage}.{key}", stage, text, measured, unit, "<=", bound))
    return [*found, *_validated(made)]


def _validated(made: Physics) -> list[Measurement]:
    """One measurement per kind of check of the physics validator: how many things fail it."""
    found = []
    for key in sorted({check.id for check in made.checks}):
        some = [check for check in made.checks if check.id == key]
        failed = [check for check in some if check.passed is False]
        named = f": {', '.join(check.subject for check in failed)}" if failed else ""
        text = f"{some[0].text}, of {sum(check.passed is not None for check in some)} checked{named}"
        if some[0].severity == "error":
            found.append(judged(f"validator.{key}", "physics", f"fail: {text}", float(len(failed)), "", "==", 0.0))
        else:
            found.append(stated(f"validator.{key}", "physics", f"warned of: {text}", float(len(failed))))
    return found


def of_articulation(made: Articulation) -> list[Measurement]:
    """What moves, how sure that is and why; what may move but was left fixed."""
    stage = "articulation"
    found = []
    for thing in made.objects:
        for joint in thing.joints:
            why = "; ".join(joint.evidence) or joint.source
            text = f"{thing.name}: {joint.child} is {joint.type}, confidence ({why})"
            scope: Scope = "measured" if joint.source in ("asset", "user") else "inferred"
            found.append(stated(f"articulation.{thing.name}.{joint.name}", stage, text, joint.confidence, scope=scope))
    for name, doubt in sorted(made.doubts.items()):
        found.append(stated(f"articulation.{name}.doubt", stage, f"{name} is kept rigid: {doubt}", None))
    return found


def consistent(record: EpisodeRecord) -> bool:
    """Whether the verdict follows from the numbers: each check from its bound, success from the checks."""

    def right(check: Check) -> bool:
        return check.passed == holds(check.measured, check.comparison, check.bound)

    if not record.attempts:
        return not record.success
    last = record.attempts[-1]
    judged_right = all(right(check) for attempt in record.attempts for check in attempt.checks)
    proven = bool(last.checks) and all(check.passed for check in last.checks)
    return judged_right and record.success == last.success and (proven or not record.success)


def at_first(record: EpisodeRecord) -> bool:
    """Whether the first attempt succeeded."""
    return bool(record.attempts) and record.attempts[0].success


def wilson_low(successes: int, count: int, z: float = 1.96) -> float:
    """Lower end of the 95 % interval of a share (E. B. Wilson, JASA 22, 1927); 0 without trials."""
    if count == 0:
        return 0.0
    share = successes / count
    centre = share + z**2 / (2 * count)
    spread = z * (share * (1 - share) / count + z**2 / (4 * count**2)) ** 0.5
    return max(0.0, (centre - spread) / (1 + z**2 / count))


def of_episodes(cell: Workcell, tasks: TaskSet, made: Episodes, first: float, within: float) -> list[Measurement]:
    stage, records = "episodes", made.episodes
    count = max(len(records), 1)
    objects = sorted({task.object for task in tasks.tasks})
    causes = Counter(attempt.cause for record in records for attempt in record.attempts if attempt.cause is not None)
    tries = sum(len(record.attempts) for record in records)
    found = [
        stated("workcell.reachable", "workcell", "objects that the robot can grasp where they stand",
               float(sum(cell.reachable.values()))),
        stated("tasks.count", "tasks", f"tasks, over {len(objects)} objects", float(len(tasks.tasks))),
        stated("tasks.refused", "tasks", "tasks refused as not feasible", float(len(tasks.refused))),
        stated("episodes.tried", stage, "episodes", float(len(records))),
        judged("episodes.first_attempt", stage, "share that succeeded at the first attempt",
               sum(at_first(record) for record in records) / count, "", ">=", first),
        judged("episodes.within_retries", stage, "share that succeeded within the retries",
               sum(record.success for record in records) / count, "", ">=", within),
        stated("episodes.within_retries.low", stage, "lower end of the 95 % interval of that share (Wilson)",
               wilson_low(sum(record.success for record in records), len(records))),
        stated("episodes.attempts", stage, "attempts per episode", tries / count),
        judged("episodes.consistent", stage, "episodes whose verdict does not follow from its numbers",
               float(sum(not consistent(record) for record in records)), "", "==", 0.0),
    ]  # fmt: skip
    found += [
        stated(f"episodes.failures.{cause}", stage, f"attempts that failed with {cause}", float(number))
        for cause, number in sorted(causes.items())
    ]
    return found


def of_quality(quality: Quality) -> tuple[Measurement, ...]:
    """The overall score, the mean of each group, and what the batch covers. The score's bounds are the rule's."""
    grades = quality.episodes
    groups = {group: [one.groups[group] for one in grades if group in one.groups] for group in WEIGHTS}
    found, source = quality.diversity, "quality"
    return (
        stated("quality.score", source, "mean quality of the episodes", quality.score),
        stated("training.score", source, "what a policy may learn from them together", quality.training_score),
        *(stated(f"training.{term.name}", source, term.text, term.measured, term.unit) for term in quality.training),
        stated("quality.least", source, "quality of the worst episode", min(one.score for one in grades)),
        *(
            stated(f"quality.{group}", source, f"mean quality of the episodes: {group}", float(np.mean(values)))
            for group, values in groups.items()
            if values
        ),
        stated(
            "quality.start_coverage", source, "share of the cells in reach where things start", found.start_coverage
        ),
        stated("quality.goal_coverage", source, "share of the cells in reach where things end", found.goal_coverage),
        stated("quality.object_balance", source, "balance of the objects over the episodes", found.object_balance),
        stated("quality.action_entropy", source, "entropy of the actions", found.action_entropy, "bit"),
        stated("quality.duplicates", source, "pairs of episodes that move alike", float(len(found.near_duplicates))),
    )


def of_dataset(made: Episodes, recording: Recording, dataset: Dataset) -> list[Measurement]:
    succeeded = {record.index: record.frames for record in made.episodes if record.success}
    unproven = sum(succeeded.get(episode.index) != episode.frames for episode in recording.episodes)
    frames = sum(episode.frames for episode in recording.episodes)
    return [
        _readable(dataset, dataset.folder),
        judged("dataset.episodes", DATASET, "episodes, against those recorded", float(dataset.episodes), "",
               "==", float(len(recording.episodes))),
        judged("dataset.frames", DATASET, "frames, against those recorded", float(dataset.frames), "", "==",
               float(frames)),
        judged("dataset.unproven", DATASET, "episodes that are not verified successes", float(unproven), "", "==",
               0.0),
        stated("dataset.unrecorded", DATASET, "verified successes that were not recorded",
               float(len(set(succeeded) - {episode.index for episode in recording.episodes}))),
        stated("dataset.cameras", DATASET, f"cameras: {', '.join(dataset.cameras)}", float(len(dataset.cameras))),
        stated("dataset.fps", DATASET, "frames per second", float(dataset.fps), "1/s"),
    ]  # fmt: skip


def of_failures(made: Episodes, recording: Recording, dataset: Dataset) -> list[Measurement]:
    """Of the second dataset: attempts that failed, and nothing else."""
    records = {record.index: record for record in made.episodes}
    wrong = sum(f.attempt is None or records[f.index].attempts[f.attempt].success for f in recording.failures)
    return [
        _readable(dataset, str(dataset.failures)),
        judged("dataset.failed", DATASET, "episodes that did not fail", float(wrong), "", "==", 0.0),
        stated("dataset.episodes", DATASET, "failed attempts", float(len(recording.failures))),
    ]


def _readable(dataset: Dataset, folder: str) -> Measurement:
    broken = check_dataset(dataset.path(folder), decode=True)
    rules = "LeRobot v3.0 rules broken, every video frame decoded"
    if broken:
        rules += f" (first: {broken[0].where}: {broken[0].message})"
    return judged("dataset.lerobot", DATASET, rules, float(len(broken)), "", "==", 0.0)


def not_checked() -> list[Measurement]:
    """What nobody has measured; a certificate that hides this would lie."""
    return [stated(f"not_checked.{key}", "", text, None, scope="not_checked") for key, text in NOT_CHECKED]
