"""How different the episodes are from each other, what they cover, and what would fill the gaps."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from blueprint.model.artifacts import Episodes, Recording, Workcell
from blueprint.model.quality import Diversity, Gap, Term
from blueprint.model.spatial import Vec2
from blueprint.stages.quality.motion import Path3

Array = NDArray[np.float64]

DUPLICATE_M = 0.005
BINS = 32  # of each action dimension
VIEW_M, VIEW_DEG = 0.05, 5.0  # camera poses that differ by less count as one
FEW = 0.5  # of the mean: what has less is under-represented
LEAST_COVERAGE = 0.5
REACH_M = 0.8  # of an arm on a table, without the last of its stretch
LOOKS = {"recording.look": "medium", "recording.looks": "2"}
LEAST_LIGHTING = 1e-4  # variance of the mean brightness: a standard deviation of 1 %


def novelty(tasks: Mapping[int, str], paths: Mapping[int, Array]) -> dict[int, float | None]:
    """Episode -> mean distance of its tool's path to the nearest other one of its task [m]; None without another.

    tasks: episode -> task; paths: episode -> (N, 3), points at equal shares of the time
    """
    found: dict[int, float | None] = {}
    for index, path in paths.items():
        others = [paths[other] for other in paths if other != index and tasks[other] == tasks[index]]
        found[index] = min((_apart(path, other) for other in others), default=None)
    return found


def _apart(a: Array, b: Array) -> float:
    return float(np.linalg.norm(a - b, axis=1).mean())


def terms(value: float | None) -> Iterator[Term]:
    if value is not None:
        yield Term(
            name="novelty", group="diversity", text="mean distance of the tool's path to the nearest of the same task",
            measured=value, unit="m", good=0.02, bad=0.0,
        )  # fmt: skip


def measured(
    workcell: Workcell, episodes: Episodes, recording: Recording, paths: Mapping[int, Path3], cell_m: float
) -> Diversity:
    """Over the recorded episodes; causes of failure over all attempts."""
    records = {record.index: record for record in episodes.episodes if record.index in paths}
    tasks = {index: record.task.id for index, record in records.items()}
    area = _area(workcell, cell_m)
    starts, goals = (
        {
            _cell(paths[i].bodies[r.task.object][frame], cell_m)
            for i, r in records.items()
            if r.task.object in paths[i].bodies
        }
        for frame in (0, -1)
    )
    objects = Counter({name: 0 for name in workcell.objects if workcell.reachable.get(name)})
    objects.update(record.task.object for record in records.values())
    causes = Counter(str(a.cause) for record in episodes.episodes for a in record.attempts if a.cause)
    duplicates = _duplicates(tasks, {i: path.resampled for i, path in paths.items()})
    found = Diversity(
        episodes=len(records),
        trajectory_variance=_variance(tasks, {i: path.resampled for i, path in paths.items()}),
        cell_m=cell_m,
        start_coverage=len(starts & area) / max(len(area), 1),
        goal_coverage=len(goals & area) / max(len(area), 1),
        start_cells=_middles(starts, cell_m),
        goal_cells=_middles(goals, cell_m),
        empty_cells=_middles(area - starts - goals, cell_m),
        viewpoints=_viewpoints(recording, paths),
        lighting_variance=_lighting(recording),
        object_episodes=dict(sorted(objects.items())),
        task_episodes=dict(sorted(Counter(record.task.id for record in records.values()).items())),
        object_balance=_balance(list(objects.values())),
        failure_causes=dict(sorted(causes.items())),
        action_entropy=_action_entropy(episodes, list(records)),
        near_duplicates=duplicates,
        gaps=(),
    )
    return found.model_copy(update={"gaps": tuple(gaps(found))})


def _cell(point: Array, cell_m: float) -> tuple[int, int]:
    return int(np.floor(point[0] / cell_m)), int(np.floor(point[1] / cell_m))


def _middles(cells: set[tuple[int, int]], cell_m: float) -> tuple[Vec2, ...]:
    return tuple((round((x + 0.5) * cell_m, 4), round((y + 0.5) * cell_m, 4)) for x, y in sorted(cells))


def _area(workcell: Workcell, cell_m: float) -> set[tuple[int, int]]:
    """Cells whose middle lies on the table, within a metre of some robot's base."""
    import cv2

    polygon = np.array(workcell.table_polygon, dtype=np.float32)
    bases = [np.array(arm.base.position[:2]) for arm in workcell.robots]
    low, high = (np.floor(edge / cell_m).astype(int) for edge in (polygon.min(axis=0), polygon.max(axis=0)))
    found = set()
    for x in range(low[0], high[0] + 1):
        for y in range(low[1], high[1] + 1):
            middle = (np.array([x, y]) + 0.5) * cell_m
            inside = cv2.pointPolygonTest(polygon, (float(middle[0]), float(middle[1])), False) >= 0
            if inside and min(np.linalg.norm(middle - base) for base in bases) < REACH_M:
                found.add((x, y))
    return found


def _variance(tasks: Mapping[int, str], paths: Mapping[int, Array]) -> float:
    """Mean over tasks with two episodes or more of the variance of the tool's position at equal shares of the time."""
    by_task: dict[str, list[Array]] = defaultdict(list)
    for index, path in paths.items():
        by_task[tasks[index]].append(path)
    spread = [float(np.var(np.stack(some), axis=0).sum(axis=1).mean()) for some in by_task.values() if len(some) > 1]
    return float(np.mean(spread)) if spread else 0.0


def _duplicates(tasks: Mapping[int, str], paths: Mapping[int, Array]) -> tuple[tuple[int, int], ...]:
    indices = sorted(paths)
    return tuple(
        (a, b)
        for k, a in enumerate(indices)
        for b in indices[k + 1 :]
        if tasks[a] == tasks[b] and _apart(paths[a], paths[b]) < DUPLICATE_M
    )


def _viewpoints(recording: Recording, paths: Mapping[int, Path3]) -> dict[str, int]:
    """Camera -> distinct poses at the episodes' first frames."""
    from scipy.spatial.transform import Rotation

    names = [track.camera for track in recording.episodes[0].tracks]
    found = {}
    for c, name in enumerate(names):
        kept: list[Array] = []
        for path in paths.values():
            pose = path.cameras[0, c]
            turn = Rotation.from_quat(pose[3:], scalar_first=True)
            alike = any(
                np.linalg.norm(pose[:3] - other[:3]) < VIEW_M
                and (turn * Rotation.from_quat(other[3:], scalar_first=True).inv()).magnitude() < np.deg2rad(VIEW_DEG)
                for other in kept
            )
            if not alike:
                kept.append(pose)
        found[name] = len(kept)
    return found


def _lighting(recording: Recording) -> float:
    """Variance over episodes and looks of the cameras' mean brightness, as recorded in their colour statistics."""
    means = [np.mean([np.mean(track.color_stats["mean"]) for track in one.tracks]) for one in recording.episodes]
    return float(np.var(means))


def _balance(counts: list[int]) -> float:
    """Entropy of the distribution over its maximum; 1 for a single kind."""
    total = sum(counts)
    if len(counts) < 2 or total == 0:
        return 1.0
    shares = np.array([count / total for count in counts if count])
    return float(-(shares * np.log(shares)).sum() / np.log(len(counts)))


def _action_entropy(episodes: Episodes, indices: list[int]) -> float:
    """Mean over the action's dimensions of the entropy of its values in `BINS` bins between their extremes [bit]."""
    wanted, rows = set(indices), []
    for record in episodes.episodes:
        if record.index in wanted and record.states is not None:
            with np.load(episodes.path(record.states), allow_pickle=False) as arrays:
                rows.append(arrays["action"].astype(float))
    if len({row.shape[1] for row in rows}) != 1:
        return 0.0
    entropies = []
    for values in np.concatenate(rows).T:
        counts, _ = np.histogram(values, BINS)
        shares = counts[counts > 0] / counts.sum()
        entropies.append(float(-(shares * np.log2(shares)).sum()))
    return float(np.mean(entropies))


def gaps(found: Diversity) -> Iterator[Gap]:
    """What is under-represented, each with the settings that fill it, where settings can."""
    counts = found.object_episodes
    mean = sum(counts.values()) / max(len(counts), 1)
    rare = [name for name, count in counts.items() if count < FEW * mean]
    if rare:
        yield Gap(what="objects", text=f"few or no episodes with {', '.join(rare)}", settings={})
    if found.start_coverage < LEAST_COVERAGE:
        yield Gap(
            what="starts",
            text=f"things start in {found.start_coverage:.0%} of the cells in reach",
            settings={"episodes.jitter_m": "0.08"},
        )
    if found.goal_coverage < LEAST_COVERAGE:
        yield Gap(
            what="goals",
            text=f"things end in {found.goal_coverage:.0%} of the cells in reach",
            settings={"episodes.vary.goals": "medium"},
        )
    fixed = [name for name, count in found.viewpoints.items() if count < 2]
    if fixed:
        yield Gap(what="viewpoints", text=f"one camera pose only: {', '.join(fixed)}", settings=LOOKS)
    if found.lighting_variance < LEAST_LIGHTING:
        yield Gap(what="lighting", text="the light is always the same", settings=LOOKS)
    if found.near_duplicates:
        pairs = len(found.near_duplicates)
        yield Gap(
            what="duplicates", text=f"{pairs} pairs of episodes move alike within 5 mm", settings={"run.seed": "1"}
        )
    if not found.failure_causes:
        yield Gap(what="failures", text="no failed attempt is among them", settings={"episodes.inject_errors": "0.1"})
