"""Bar: the doctor of LeRobot datasets finds defects that are put in, and none in healthy datasets.

    python -m bench.bars_trust defects

A healthy dataset is made by hand (an arm that follows smooth commands, two cameras whose pictures move with it), and
written by our own writer as v3.0; every kind of defect goes into a copy of it, each time elsewhere.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.rows import Row
from blueprint.formats.lerobot.doctor import examine
from blueprint.formats.lerobot.stats import ColorCounter
from blueprint.formats.lerobot.writer import DatasetSpec, EpisodeData, VideoFeature, write_dataset
from blueprint.formats.video.coding import color_writer

TIMES, CLEAN = 20, 60
FPS, SIZE, JOINTS = 15, 64, 7
CAMERAS = ("observation.images.scene", "observation.images.wrist")
NAMES = (*(f"joint{i}" for i in range(1, JOINTS + 1)), "gripper")

Rng = np.random.Generator
Pictures = dict[str, list[np.ndarray]]


class Draft:
    """A dataset before it is written: what a defect changes. One entry per episode."""

    def __init__(self, rng: Rng, episodes: int = 6) -> None:
        self.states: list[np.ndarray] = []
        self.actions: list[np.ndarray] = []
        self.pictures: list[Pictures] = []
        for _ in range(episodes):
            state, action = motion(rng)
            self.states.append(state)
            self.actions.append(action)
            self.pictures.append({camera: drawn(state, rng) for camera in CAMERAS})

    def write(self, root: Path) -> Path:
        return write_drafts(root, [self])

    def episodes(self, work: Path) -> Iterator[EpisodeData]:
        """With videos in `work`, which may go once an episode is written."""
        return (self._episode(work, index) for index in range(len(self.states)))

    def _episode(self, work: Path, index: int) -> EpisodeData:
        files, stats = {}, {}
        for key, pictures in self.pictures[index].items():
            files[key], counter = work / f"{index}_{key}.mp4", ColorCounter()
            with color_writer(files[key], width=SIZE, height=SIZE, fps=FPS, codec="h264", crf=None) as writer:
                for picture in pictures:
                    writer.add(picture)
                    counter.add(picture)
            stats[key] = counter.stats() | {"count": np.array([float(counter.frames)])}
        return EpisodeData(
            "move it", self.states[index].astype(np.float32), self.actions[index].astype(np.float32), files, stats
        )


def write_drafts(root: Path, drafts: Iterable[Draft]) -> Path:
    """One dataset of all of them, one draft in memory at a time."""
    videos = tuple(VideoFeature(key, SIZE, SIZE, "h264") for key in CAMERAS)
    spec = DatasetSpec(FPS, "toy", NAMES, NAMES, videos, ("move it",))
    work = root.parent / f"{root.name}_videos"
    work.mkdir(parents=True)
    write_dataset(root, spec, (episode for draft in drafts for episode in draft.episodes(work)))
    shutil.rmtree(work)
    return root


def motion(rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    """Commands through random places with rests between, and joints that follow a frame later with a servo's lag."""
    frames = int(rng.integers(80, 130))
    knots = int(rng.integers(5, 8))
    places = rng.uniform(-1.2, 1.2, (knots, JOINTS))
    at = np.linspace(0, knots - 1, frames)
    share = at - np.floor(at)
    ease = np.clip((share - 0.1) / 0.8, 0, 1)
    ease = ease**3 * (10 - 15 * ease + 6 * ease**2)
    low = np.minimum(np.floor(at).astype(int), knots - 2)
    ease[at >= knots - 1] = 1.0
    joints = places[low] + ease[:, None] * (places[low + 1] - places[low])
    gripper = np.where((at > 1) & (at < knots - 2), 0.02, 0.08)[:, None]
    action = np.concatenate([joints, gripper], axis=1)
    state = np.concatenate([action[:1], action[:-1]])
    for t in range(1, frames):  # a first-order servo
        state[t] = state[t - 1] + 0.85 * (state[t] - state[t - 1])
    return state + rng.normal(0, 1e-4, state.shape), action


def drawn(state: np.ndarray, rng: Rng) -> list[np.ndarray]:
    """Soft spots whose places are those of the joints, before a textured wall."""
    wall = rng.integers(60, 140, (SIZE, SIZE, 3)).astype(float)
    colors, found = rng.uniform(120, 200, (3, 3)), []
    x, y = np.meshgrid(np.arange(SIZE), np.arange(SIZE))
    for row in state:
        picture = wall.copy()
        for k, color in enumerate(colors):
            at = SIZE * (0.5 + 0.3 * np.sin(row[[2 * k, 2 * k + 1]]))
            spot = np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / 40.0)[..., None]
            picture += spot * (color - picture)
        found.append(picture.astype(np.uint8))
    return found


# ------------------------------------------------------------------ defects in what is recorded


def pick(draft: Draft, rng: Rng) -> int:
    return int(rng.integers(len(draft.states)))


def _state_spike(draft: Draft, rng: Rng) -> None:
    values = draft.states[pick(draft, rng)]
    values[rng.integers(5, len(values) - 5), rng.integers(JOINTS)] += rng.choice([-1, 1]) * rng.uniform(4, 9)


def _action_spike(draft: Draft, rng: Rng) -> None:
    values = draft.actions[pick(draft, rng)]
    values[rng.integers(5, len(values) - 5), rng.integers(JOINTS)] += rng.choice([-1, 1]) * rng.uniform(4, 9)


def _stuck_state(draft: Draft, rng: Rng) -> None:
    values = draft.states[pick(draft, rng)]
    start = int(rng.integers(5, 20))
    values[start : start + 45] = values[start]


def _stuck_joint(draft: Draft, rng: Rng) -> None:
    values = draft.states[pick(draft, rng)]
    column = int(rng.integers(JOINTS))
    values[:, column] = values[0, column]


def _late_actions(draft: Draft, rng: Rng) -> None:
    index, shift = pick(draft, rng), int(rng.integers(4, 9))
    draft.actions[index] = np.concatenate(
        [draft.actions[index][:1].repeat(shift, axis=0), draft.actions[index][:-shift]]
    )


def _early_actions(draft: Draft, rng: Rng) -> None:
    index, shift = pick(draft, rng), int(rng.integers(4, 8))
    draft.actions[index] = np.concatenate(
        [draft.actions[index][shift:], draft.actions[index][-1:].repeat(shift, axis=0)]
    )


def _effects_before_causes(draft: Draft, rng: Rng) -> None:
    for index, action in enumerate(draft.actions):
        draft.actions[index] = np.concatenate([action[:1].repeat(4, axis=0), action[:-4]])


def _degrees(draft: Draft, rng: Rng) -> None:
    for values in draft.states:
        values[:, :JOINTS] = np.rad2deg(values[:, :JOINTS])


def _degrees_of_actions(draft: Draft, rng: Rng) -> None:
    for values in draft.actions:
        values[:, :JOINTS] = np.rad2deg(values[:, :JOINTS])


def _degrees_of_both(draft: Draft, rng: Rng) -> None:
    _degrees(draft, rng)
    _degrees_of_actions(draft, rng)


def _millimetres(draft: Draft, rng: Rng) -> None:
    for values in draft.states:
        values[:, JOINTS] *= 1000


def _frozen_camera(draft: Draft, rng: Rng) -> None:
    pictures = draft.pictures[pick(draft, rng)][str(rng.choice(CAMERAS))]
    pictures[:] = [pictures[0]] * len(pictures)


def _frozen_for_a_while(draft: Draft, rng: Rng) -> None:
    pictures = draft.pictures[pick(draft, rng)][str(rng.choice(CAMERAS))]
    start = int(rng.integers(10, 25))
    pictures[start : start + 40] = [pictures[start]] * 40


def _black_camera(draft: Draft, rng: Rng) -> None:
    pictures = draft.pictures[pick(draft, rng)][str(rng.choice(CAMERAS))]
    pictures[:] = [np.zeros_like(pictures[0])] * len(pictures)


def _late_pictures(draft: Draft, rng: Rng) -> None:
    pictures = draft.pictures[pick(draft, rng)][str(rng.choice(CAMERAS))]
    shift = int(rng.integers(4, 9))
    pictures[:] = [pictures[0]] * shift + pictures[:-shift]


def _early_pictures(draft: Draft, rng: Rng) -> None:
    pictures = draft.pictures[pick(draft, rng)][str(rng.choice(CAMERAS))]
    shift = int(rng.integers(4, 9))
    pictures[:] = pictures[shift:] + [pictures[-1]] * shift


def _swapped_pictures(draft: Draft, rng: Rng) -> None:
    """An episode gets another's pictures, cut or padded to its length."""
    a, b = rng.choice(len(draft.states), 2, replace=False)
    key, frames = str(rng.choice(CAMERAS)), len(draft.states[a])
    other = draft.pictures[b][key]
    draft.pictures[a][key] = (other + [other[-1]] * frames)[:frames]


def _twice(draft: Draft, rng: Rng) -> None:
    index = pick(draft, rng)
    draft.states.append(draft.states[index].copy())
    draft.actions.append(draft.actions[index].copy())
    draft.pictures.append(draft.pictures[index])


# ------------------------------------------------------------------ defects in the files


def _change(path: Path, change: Callable[[dict], None]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def _rewrite(root: Path, pattern: str, change: Callable[[pa.Table], pa.Table], rng: Rng) -> None:
    files = sorted(root.glob(pattern))
    path = files[int(rng.integers(len(files)))]
    pq.write_table(change(pq.read_table(path)), path)


def _column(name: str, change: Callable[[np.ndarray, Rng], np.ndarray]) -> Callable[[Path, Rng], None]:
    def defect(root: Path, rng: Rng) -> None:
        def new(table: pa.Table) -> pa.Table:
            place = table.schema.get_field_index(name)
            values = change(table.column(name).to_numpy().copy(), rng)
            return table.set_column(place, table.schema.field(place), pa.array(values, table.schema.field(place).type))

        _rewrite(root, "data/*/*.parquet", new, rng)

    return defect


def _number(name: str, wrong: float) -> Callable[[Path, Rng], None]:
    """One value of a vector is no number: our writer refuses such, others do not."""

    def defect(root: Path, rng: Rng) -> None:
        def new(table: pa.Table) -> pa.Table:
            place = table.schema.get_field_index(name)
            values = table.column(name).combine_chunks().flatten().to_numpy().copy()
            values[rng.integers(len(values))] = wrong
            column = pa.FixedSizeListArray.from_arrays(pa.array(values, pa.float32()), len(NAMES))
            return table.set_column(place, table.schema.field(place), column)

        _rewrite(root, "data/*/*.parquet", new, rng)

    return defect


def _jitter(values: np.ndarray, rng: Rng) -> np.ndarray:
    values[rng.integers(1, len(values))] += rng.uniform(0.002, 0.03)
    return values


def _backwards(values: np.ndarray, rng: Rng) -> np.ndarray:
    row = rng.integers(1, len(values) - 1)
    values[[row, row + 1]] = values[[row + 1, row]]
    return values


def _bump(values: np.ndarray, rng: Rng) -> np.ndarray:
    values[rng.integers(len(values))] += 1
    return values


def _unknown_task(values: np.ndarray, rng: Rng) -> np.ndarray:
    values[:] = 7
    return values


def _dropped_row(root: Path, rng: Rng) -> None:
    def new(table: pa.Table) -> pa.Table:
        row = int(rng.integers(1, table.num_rows - 1))
        return pa.concat_tables([table.slice(0, row), table.slice(row + 1)])

    _rewrite(root, "data/*/*.parquet", new, rng)


def _doubled_row(root: Path, rng: Rng) -> None:
    def new(table: pa.Table) -> pa.Table:
        row = int(rng.integers(1, table.num_rows - 1))
        return pa.concat_tables([table.slice(0, row + 1), table.slice(row)])

    _rewrite(root, "data/*/*.parquet", new, rng)


def _doubles(root: Path, rng: Rng) -> None:
    def new(table: pa.Table) -> pa.Table:
        place = table.schema.get_field_index("action")
        return table.set_column(place, "action", table.column("action").cast(pa.list_(pa.float64(), len(NAMES))))

    _rewrite(root, "data/*/*.parquet", new, rng)


def _no_column(root: Path, rng: Rng) -> None:
    name = str(rng.choice(["observation.state", "action", "timestamp", "task_index"]))
    _rewrite(root, "data/*/*.parquet", lambda table: table.drop_columns([name]), rng)


def _foreign_column(root: Path, rng: Rng) -> None:
    _rewrite(
        root, "data/*/*.parquet", lambda t: t.append_column("extra", pa.array(np.zeros(t.num_rows, np.float32))), rng
    )


def _torn(pattern: str) -> Callable[[Path, Rng], None]:
    def defect(root: Path, rng: Rng) -> None:
        files = sorted(root.glob(pattern))
        path = files[int(rng.integers(len(files)))]
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * rng.uniform(0.1, 0.9))])

    return defect


def _gone(pattern: str) -> Callable[[Path, Rng], None]:
    def defect(root: Path, rng: Rng) -> None:
        files = sorted(root.glob(pattern))
        files[int(rng.integers(len(files)))].unlink()

    return defect


def _info(change: Callable[[dict, Rng], None]) -> Callable[[Path, Rng], None]:
    return lambda root, rng: _change(root / "meta/info.json", lambda info: change(info, rng))


def _wrong_stats(root: Path, rng: Rng) -> None:
    def change(stats: dict) -> None:
        values = stats[str(rng.choice(["observation.state", "action"]))][str(rng.choice(["min", "max", "mean", "std"]))]
        values[int(rng.integers(JOINTS))] += float(rng.choice([-1, 1]) * rng.uniform(0.2, 2))

    _change(root / "meta/stats.json", change)


def _longer_episode(root: Path, rng: Rng) -> None:
    def new(table: pa.Table) -> pa.Table:
        values = table.column("length").to_numpy().copy()
        values[int(rng.integers(len(values)))] += int(rng.integers(1, 5))
        place = table.schema.get_field_index("length")
        return table.set_column(place, table.schema.field(place), pa.array(values, table.schema.field(place).type))

    _rewrite(root, "meta/episodes/*/*.parquet", new, rng)


def _no_episode(root: Path, rng: Rng) -> None:
    def new(table: pa.Table) -> pa.Table:
        row = int(rng.integers(table.num_rows - 1))
        return pa.concat_tables([table.slice(0, row), table.slice(row + 1)])

    _rewrite(root, "meta/episodes/*/*.parquet", new, rng)


def _other_size(info: dict, rng: Rng) -> None:
    info["features"][str(rng.choice(CAMERAS))]["shape"][:2] = [128, 96]


def _other_rate(info: dict, rng: Rng) -> None:
    info["fps"] = int(rng.choice([10, 20, 30]))


def _other_names(info: dict, rng: Rng) -> None:
    info["features"][str(rng.choice(["observation.state", "action"]))]["names"].pop()


def _total(name: str) -> Callable[[dict, Rng], None]:
    def change(info: dict, rng: Rng) -> None:
        info[name] += int(rng.choice([-1, 1]) * rng.integers(1, 5))

    return change


RECORDED: dict[str, Callable[[Draft, Rng], None]] = {
    "a state that jumps for a frame": _state_spike,
    "an action that jumps for a frame": _action_spike,
    "states that stick for seconds": _stuck_state,
    "a joint that never moves": _stuck_joint,
    "actions some frames late": _late_actions,
    "actions some frames early": _early_actions,
    "effects before causes everywhere": _effects_before_causes,
    "states in degrees": _degrees,
    "actions in degrees": _degrees_of_actions,
    "both in degrees": _degrees_of_both,
    "the gripper in millimetres": _millimetres,
    "a camera that froze": _frozen_camera,
    "a camera that froze for a while": _frozen_for_a_while,
    "a black camera": _black_camera,
    "pictures some frames late": _late_pictures,
    "pictures some frames early": _early_pictures,
    "pictures of another episode": _swapped_pictures,
    "an episode twice": _twice,
}
FILES: dict[str, Callable[[Path, Rng], None]] = {
    "NaN in a state": _number("observation.state", np.nan),
    "infinity in an action": _number("action", np.inf),
    "a time stamp off the grid": _column("timestamp", _jitter),
    "time that runs backwards": _column("timestamp", _backwards),
    "a wrong frame_index": _column("frame_index", _bump),
    "a wrong index": _column("index", _bump),
    "a wrong episode_index": _column("episode_index", _bump),
    "a task_index without a text": _column("task_index", _unknown_task),
    "a row that is missing": _dropped_row,
    "a row twice": _doubled_row,
    "another dtype": _doubles,
    "a column that is missing": _no_column,
    "a column too many": _foreign_column,
    "a table cut off": _torn("data/*/*.parquet"),
    "a video cut off": _torn("videos/*/*/*.mp4"),
    "metadata cut off": _torn("meta/*.json"),
    "a table that is missing": _gone("data/*/*.parquet"),
    "a video that is missing": _gone("videos/*/*/*.mp4"),
    "tasks that are missing": _gone("meta/tasks.parquet"),
    "statistics of other data": _wrong_stats,
    "an episode longer than its rows": _longer_episode,
    "an episode missing from the metadata": _no_episode,
    "pictures of another size": _info(_other_size),
    "another rate": _info(_other_rate),
    "a name too few": _info(_other_names),
    "a wrong number of frames": _info(_total("total_frames")),
    "a wrong number of episodes": _info(_total("total_episodes")),
}


def rows(times: int = TIMES, clean: int = CLEAN) -> Iterable[Row]:
    """A row per kind of defect that was missed, and the totals."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        alarms = []
        for seed in range(clean):
            root = Draft(np.random.default_rng([1, seed])).write(folder / f"clean_{seed}")
            alarms += [f"{seed}: {finding}" for finding in examine(root)[:1]]
            if seed >= times:
                shutil.rmtree(root)
        found = total = 0
        for kind in (*RECORDED, *FILES):
            hits = [_is_found(kind, seed, folder) for seed in range(times)]
            found, total = found + sum(hits), total + len(hits)
            if not all(hits):
                yield Row(f"defects: {kind}", f"{sum(hits)}/{times} found", "all", None)
    kinds = len(RECORDED) + len(FILES)
    yield Row(f"defects: recall over {kinds} kinds x {times}", f"{found / total:.4f}", ">= 0.99", found >= 0.99 * total)
    share = len(alarms) / clean
    yield Row(
        "defects: false alarms on clean datasets",
        f"{share:.1%} of {clean} {'; '.join(alarms[:2])}",
        "<= 1 %",
        share <= 0.01,
    )


def _is_found(kind: str, seed: int, folder: Path) -> bool:
    root = folder / "bad"
    shutil.rmtree(root, ignore_errors=True)
    rng = np.random.default_rng([2, seed])
    if kind in RECORDED:
        draft = Draft(np.random.default_rng([1, seed]))
        RECORDED[kind](draft, rng)
        draft.write(root)
    else:
        shutil.copytree(folder / f"clean_{seed}", root)
        FILES[kind](root, rng)
    return bool(examine(root))
