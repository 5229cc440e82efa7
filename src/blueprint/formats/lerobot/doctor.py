"""What is wrong with a LeRobot dataset of anybody's, v2.0 to v3.0: its files, its clock, its values, its pictures.

Episode by episode, so memory does not grow with the dataset. A rule that needs what an earlier one found broken stays
silent. Bounds are wide enough that healthy data of arms at 5 to 60 Hz raises no finding (`bench/trust/defects.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blueprint.core.errors import BlueprintError
from blueprint.formats.lerobot.check import Finding
from blueprint.formats.lerobot.pictures import picture_findings
from blueprint.formats.lerobot.read import INFO, Episode, ForeignDataset, open_dataset
from blueprint.formats.lerobot.success import false_successes, trajectories

Array = NDArray[np.float64]

STATE, ACTION = "observation.state", "action"
TIME_TOLERANCE_S = 1e-4  # lerobot's tolerance_s
STUCK_FRAMES = 12  # a state that repeats to the bit for so long while commands change
MOVES = 0.02  # of a command's range: less counts as standing
SPIKE = 8.0  # a jump that is undone at once, over the largest usual step
LAG_FRAMES = 3  # how far an episode's lag may lie from the dataset's
LAGS = range(-10, 11)
DEGREES, MILLIMETRES = 180 / np.pi, 1000.0
STATS_TOLERANCE = 0.02  # of a feature's range
_DTYPES = {"float32": "f4", "float64": "f8", "int64": "i8", "int32": "i4", "bool": "?", "uint8": "u1", "string": "O"}


@dataclass
class _Seen:
    """What is remembered across episodes: a few numbers each. trajectories: what siblings under several looks share."""

    trajectories: dict[int, int] = field(default_factory=dict)
    frames: int = 0
    episodes: int = 0
    tables: dict[str, int] = field(default_factory=dict)
    clips: dict[str, str] = field(default_factory=dict)
    lags: dict[int, int] = field(default_factory=dict)
    ranges: dict[str, tuple[Array, Array]] = field(default_factory=dict)
    sums: dict[str, tuple[int, Array, Array]] = field(default_factory=dict)


def examine(root: Path, *, pictures: bool = True, tell: Callable[[int], None] = lambda _: None) -> list[Finding]:
    """Every finding. pictures: also decode the videos; tell: called with the number of each episode that is done."""
    try:
        dataset = open_dataset(root)
    except BlueprintError as error:
        return [Finding("info", "meta", error.message)]
    seen, found = _Seen(trajectories=trajectories(root)), []
    try:
        for episode in dataset.episodes():
            found += _episode(dataset, episode, seen, pictures=pictures)
            seen.frames += episode.length
            seen.episodes += 1
            tell(episode.index)
    except (BlueprintError, KeyError, TypeError, ValueError) as error:
        found.append(Finding("episodes", "meta/episodes", f"{error!r}" if isinstance(error, KeyError) else str(error)))
    found += _totals(dataset, seen)
    found += _lags(seen)
    found += _units(dataset, seen)
    found += _stats(dataset, seen)
    found += (Finding("success", f"episode {index}", f"is none: {why}") for index, why in false_successes(root))
    return found


# ------------------------------------------------------------------ an episode


def _episode(dataset: ForeignDataset, episode: Episode, seen: _Seen, *, pictures: bool) -> Iterator[Finding]:
    where = f"episode {episode.index}"
    if episode.index != seen.episodes or episode.first != seen.frames:
        yield Finding("order", where, f"follows episode {seen.episodes - 1} with {seen.frames} frames before it")
    if episode.length < 1:
        yield Finding("length", where, f"has {episode.length} frames")
        return
    try:
        columns = dataset.table(episode)
    except BlueprintError as error:
        yield Finding("table", where, error.message)
        return
    broken = list(_schema(dataset, episode, columns, where))
    yield from broken
    if broken:
        return
    yield from _clock(dataset, episode, columns, where)
    yield from _values(columns, where)
    yield from _same(columns, episode, seen, where)
    state, action = (columns.get(name) for name in (STATE, ACTION))
    if state is not None and action is not None and _comparable(state, action):
        yield from _stuck(state.astype(float), action.astype(float), where)
        lag = _lag(state.astype(float), action.astype(float))
        if lag is not None:
            seen.lags[episode.index] = lag
    _remember(columns, seen)
    if pictures:
        moving = None if state is None else state.astype(float).reshape(len(state), -1)
        for key in dataset.videos:
            wanted = dataset.features[key].get("shape")
            found = picture_findings(episode.clips[key], len(columns["index"]), dataset.fps, wanted, moving, seen.clips)
            yield from (Finding(rule, f"{where}, {key}", message) for rule, message in found)


def _schema(
    dataset: ForeignDataset, episode: Episode, columns: dict[str, NDArray[Any]], where: str
) -> Iterator[Finding]:
    for name in dataset.columns:
        if name not in columns:
            yield Finding("schema", where, f"no column {name}")
    for name, values in columns.items():
        feature = dataset.features.get(name)
        if feature is None:
            yield Finding("schema", where, f"column {name} is not among the features")
            continue
        if feature["dtype"] not in _DTYPES:
            continue  # pictures in the table, language: not ours to judge
        wanted = _DTYPES[feature["dtype"]]
        if wanted != "O" and values.dtype != np.dtype(wanted):
            yield Finding("schema", where, f"{name} is {values.dtype}, {INFO} says {feature['dtype']}")
        shape = tuple(feature.get("shape") or (1,))
        width = values.shape[1:] or (1,)
        if wanted != "O" and width != shape:
            yield Finding("schema", where, f"{name} has {width} values a frame, {INFO} says {shape}")
        names = feature.get("names")
        if isinstance(names, list) and len(shape) == 1 and len(names) != shape[0]:
            yield Finding("schema", INFO, f"{name} has {len(names)} names for {shape[0]} values")
    rows = len(next(iter(columns.values()), ()))
    if rows != episode.length:
        yield Finding("length", where, f"has {rows} rows, the metadata says {episode.length}")


def _clock(
    dataset: ForeignDataset, episode: Episode, columns: dict[str, NDArray[Any]], where: str
) -> Iterator[Finding]:
    count = np.arange(episode.length)
    expected = {
        "frame_index": count,
        "index": episode.first + count,
        "episode_index": np.full(len(count), episode.index),
    }
    for name, values in expected.items():
        if name in columns and not np.array_equal(columns[name], values):
            first = int(np.flatnonzero(columns[name] != values)[0])
            yield Finding("frames", where, f"{name} is {columns[name][first]} in row {first}, must be {values[first]}")
    if "timestamp" in columns:
        late = np.abs(columns["timestamp"].astype(float) - count / dataset.fps)
        allowed = TIME_TOLERANCE_S + 1e-6 * count / dataset.fps  # float32 loses digits in long episodes
        if not (late <= allowed).all():
            first = int(np.flatnonzero(~(late <= allowed))[0])
            yield Finding("timestamps", where, f"row {first} is at {columns['timestamp'][first]:.4f} s, not frame/fps")
    if "task_index" in columns:
        numbers = [int(value) for value in np.unique(columns["task_index"])]
        texts = {dataset.tasks[number] for number in numbers if number in dataset.tasks}
        if len(texts) < len(numbers):
            yield Finding("tasks", where, "a task_index has no text")
        elif episode.tasks and texts != set(episode.tasks):
            yield Finding("tasks", where, f"the rows say {sorted(texts)[:2]}, the metadata {sorted(episode.tasks)[:2]}")


def _values(columns: dict[str, NDArray[Any]], where: str) -> Iterator[Finding]:
    for name, values in columns.items():
        if values.dtype.kind != "f":
            continue
        if not np.isfinite(values).all():
            row = int(np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(axis=1))[0])
            yield Finding("finite", where, f"{name} is NaN or infinite in row {row}")
        elif name in (STATE, ACTION) and values.ndim == 2 and len(values) > 8:
            yield from _spikes(name, values.astype(float), where)


def _spikes(name: str, values: Array, where: str) -> Iterator[Finding]:
    """A value that jumps away and back: both steps far larger than any other step of that value."""
    steps = np.diff(values, axis=0)
    there, back = steps[:-1], steps[1:]
    jump = np.minimum(np.abs(there), np.abs(back)) * (np.sign(there) == -np.sign(back))
    row, column = np.unravel_index(int(jump.argmax()), jump.shape)
    others = np.abs(np.delete(steps[:, column], [row, row + 1]))
    usual = max(float(others.max(initial=0.0)), 1e-3)
    if jump[row, column] > SPIKE * usual:
        yield Finding("outlier", where, f"{name}[{column}] jumps by {jump[row, column]:.3g} and back in row {row + 1}")


def _comparable(state: NDArray[Any], action: NDArray[Any]) -> bool:
    """Whether the action is what the state should become: as many values, all of them numbers."""
    alike = state.shape == action.shape and state.ndim == 2 and len(state) > STUCK_FRAMES
    return alike and bool(np.isfinite(state).all() and np.isfinite(action).all())


def _same(columns: dict[str, NDArray[Any]], episode: Episode, seen: _Seen, where: str) -> Iterator[Finding]:
    content = hashlib.sha256()
    for name in (STATE, ACTION):
        if name in columns:
            content.update(np.ascontiguousarray(columns[name]).tobytes())
    other = seen.tables.setdefault(content.hexdigest(), episode.index)
    drawn = seen.trajectories.get
    if other != episode.index and (drawn(episode.index) is None or drawn(episode.index) != drawn(other)):
        yield Finding("duplicate", where, f"has the states and actions of episode {other}")


def _stuck(state: Array, action: Array, where: str) -> Iterator[Finding]:
    """The whole state, or one joint that is commanded, repeats to the bit for long while commands go on."""
    spread = np.ptp(action, axis=0)
    for column in np.flatnonzero(spread > 1e-6):
        still = np.diff(state[:, column]) == 0
        edges = np.flatnonzero(np.diff(np.concatenate([[False], still, [False]]).astype(np.int8)))
        for begin, end in zip(edges[::2], edges[1::2], strict=True):
            commanded = np.ptp(action[begin:end, column])
            if end - begin >= STUCK_FRAMES and commanded > max(MOVES, 0.2 * spread[column]):
                yield Finding(
                    "stuck", where, f"{STATE}[{column}] stands still from row {begin} to {end}, commands do not"
                )
                return


def _lag(state: Array, action: Array) -> int | None:
    """Frames by which the state follows the action: the shift with the least difference of their changes; None where
    hardly anything moves."""
    moving = np.ptp(action, axis=0) > MOVES
    if not moving.any() or len(state) < 3 * len(LAGS):
        return None
    scale = np.ptp(action[:, moving], axis=0)
    a, s = action[:, moving] / scale, state[:, moving] / scale
    edge = max(LAGS)
    core = a[edge : len(a) - edge]
    errors = {lag: _difference(core, s[edge + lag : len(s) - edge + lag]) for lag in LAGS}
    return min(errors, key=lambda lag: errors[lag])


def _difference(a: Array, b: Array) -> float:
    """Mean square difference, each joint's constant offset left out."""
    gap = a - b
    return float(((gap - gap.mean(axis=0)) ** 2).mean())


def _remember(columns: dict[str, NDArray[Any]], seen: _Seen) -> None:
    for name, values in columns.items():
        if values.dtype.kind != "f" or not np.isfinite(values).all():
            continue
        rows = values.astype(float).reshape(len(values), -1)
        low, high = rows.min(axis=0), rows.max(axis=0)
        if name in seen.ranges and len(seen.ranges[name][0]) == len(low):
            low, high = np.minimum(low, seen.ranges[name][0]), np.maximum(high, seen.ranges[name][1])
        seen.ranges[name] = (low, high)
        count, total, square = seen.sums.get(name, (0, np.zeros(rows.shape[1]), np.zeros(rows.shape[1])))
        if len(total) == rows.shape[1]:
            seen.sums[name] = (count + len(rows), total + rows.sum(axis=0), square + (rows**2).sum(axis=0))


# ------------------------------------------------------------------ the whole dataset


def _totals(dataset: ForeignDataset, seen: _Seen) -> Iterator[Finding]:
    for name, count in (
        ("total_episodes", seen.episodes),
        ("total_frames", seen.frames),
        ("total_tasks", len(dataset.tasks)),
    ):
        if dataset.info.get(name) != count:
            yield Finding("totals", INFO, f"{name} is {dataset.info.get(name)}, there are {count}")
    for key in dataset.videos:
        fps = (dataset.features[key].get("info") or {}).get("video.fps")
        if fps is not None and float(fps) != dataset.fps:
            yield Finding("fps", INFO, f"{key} has {fps} pictures a second, the dataset {dataset.fps:g}")


def _lags(seen: _Seen) -> Iterator[Finding]:
    """An episode whose commands are out of step with the others, or a dataset in which effects precede causes."""
    if not seen.lags:
        return
    usual = int(np.median(list(seen.lags.values())))
    if usual < 0 or usual >= max(LAGS):
        yield Finding("lag", "dataset", f"states follow actions by {usual} frames")
    for index, lag in seen.lags.items():
        if abs(lag - usual) >= LAG_FRAMES:
            yield Finding("lag", f"episode {index}", f"its state follows its action by {lag} frames, others by {usual}")


def _units(dataset: ForeignDataset, seen: _Seen) -> Iterator[Finding]:
    """Degrees among radians, millimetres among metres: between state and action, or by what an arm can do."""
    state, action = seen.ranges.get(STATE), seen.ranges.get(ACTION)
    for name, found in ((STATE, state), (ACTION, action)):
        if found is None:
            continue
        names = dataset.features[name].get("names")
        far = np.maximum(np.abs(found[0]), np.abs(found[1]))
        joints = far if not isinstance(names, list) else far[[_is_joint(str(n)) for n in names]]
        if len(joints) and np.median(joints) > 4 * np.pi:
            yield Finding("units", name, f"joints reach {joints.max():.0f}: degrees where radians are expected")
    if state is None or action is None or len(state[0]) != len(action[0]):
        return
    wide, commanded = (np.ptp(np.stack(found), axis=0) for found in (state, action))
    for column in np.flatnonzero((wide > 1e-4) & (commanded > 1e-4)):
        ratio = wide[column] / commanded[column]
        for factor, text in ((DEGREES, "degrees and radians"), (MILLIMETRES, "millimetres and metres")):
            if 0.6 * factor < max(ratio, 1 / ratio) < 1.6 * factor:
                yield Finding("units", f"{STATE}[{column}]", f"{ratio:.3g} times as wide as the action: {text}?")


def _is_joint(name: str) -> bool:
    return not any(word in name.lower() for word in ("gripper", "finger", "hand", "x", "y", "z"))


def _stats(dataset: ForeignDataset, seen: _Seen) -> Iterator[Finding]:
    """The stored statistics against the tables, where there are any for the whole dataset."""
    for name, (count, total, square) in seen.sums.items():
        stored = dataset.stats.get(name)
        if not stored or name not in seen.ranges:
            continue
        low, high = seen.ranges[name]
        mean = total / count
        truth = {"min": low, "max": high, "mean": mean, "std": np.sqrt(np.maximum(square / count - mean**2, 0))}
        for statistic, values in truth.items():
            try:
                told = np.asarray(stored[statistic], dtype=float).reshape(-1)
            except (KeyError, ValueError, TypeError):
                yield Finding("stats", name, f"no {statistic}")
                continue
            room = STATS_TOLERANCE * (high - low) + 1e-4 + 1e-4 * np.abs(values)
            if told.shape != values.shape or not (np.abs(told - values) <= room).all():
                yield Finding("stats", name, f"{statistic} is {_short(told)}, the tables say {_short(values)}")


def _short(values: Array) -> str:
    return "[" + ", ".join(f"{value:.3g}" for value in values[:4]) + (", ...]" if len(values) > 4 else "]")
