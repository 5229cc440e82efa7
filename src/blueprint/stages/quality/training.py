"""What a batch is worth to a learner: are its labels true, are there enough episodes, do they start everywhere?

Each term is measured on all episodes; the score is their product with the mean quality of the episodes: whichever is
missing cannot be made up for by the rest. Bounds and constants are set by what a robot arm can tolerate, not by the
success of any policy; `bench/trust/score.py` compares the two.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree
from scipy.spatial.transform import Rotation

from blueprint.core.errors import IntegrityError
from blueprint.model.artifacts import Episodes, Workcell
from blueprint.model.episode import EpisodeRecord
from blueprint.model.quality import Term
from blueprint.model.spatial import Pose
from blueprint.stages.quality.motion import Path3, joint_columns

if TYPE_CHECKING:
    from mujoco import MjModel

Array = NDArray[np.float64]

SAME_M = 0.001  # mean distance of two tool paths below which the second shows nothing new
HALF = 3  # distinct episodes that are worth half: as many as a start on a table has numbers (x, y, turn)
NEAR_M, NEAR_DEG = 0.01, 10.0  # a start so close to another is as good as it: the clearance of a usual gripper
GRID = 9  # starts asked for along each of x, y and turn
LAG_S, SHIFT_S = (
    0.2,
    0.7,
)  # a servo follows its command within the first; command and state are compared up to the second


def terms(
    workcell: Workcell,
    episodes: Episodes,
    records: Sequence[EpisodeRecord],
    paths: Mapping[int, Path3],
    region: tuple[float, float],
) -> Iterator[Term]:
    """records: of the recorded episodes; paths: by their index; region: half-widths of the declared starts [m, deg]"""
    true = [record for record in records if confirmed(workcell, episodes, record)]
    yield _term(
        "confirmed", "share of the episodes whose stored states show the success again", len(true) / len(records)
    )
    count = min(distinct(true, paths).values(), default=0)
    text = f"n / (n + {HALF}) of the {count} distinct episodes of the task that has fewest"
    yield _term("distinct", text, count / (count + HALF))
    if (covered := start_coverage(workcell, true or records, paths, region)) is not None:
        text = f"share of declared starts (+-{region[0]:g} m, +-{region[1]:g} deg) within 1 cm, 10 deg of an episode's"
        # from what lies beyond the shown starts a policy has to go on by itself, which smooth motions allow: worth half
        yield _term("start_coverage", text, covered, good=1.0, bad=-1.0)
    error, delay = label_faults(workcell, episodes, records)
    text = "RMS of what the joints do that neither their command, its delay nor the servo's lag explains"
    yield _term("label_error", text, error, "rad", 0.01, 0.03)  # 0.03 rad is 2 cm at reach: past a gripper's clearance
    text = "mean time by which commands stand apart from what they caused"
    yield _term("label_delay", text, delay, "s", 0.0, 0.3)  # a person's reaction


def _term(name: str, text: str, measured: float, unit: str = "", good: float = 1.0, bad: float = 0.0) -> Term:
    return Term(name=name, group="training", text=text, measured=measured, unit=unit, good=good, bad=bad)


def confirmed(workcell: Workcell, episodes: Episodes, record: EpisodeRecord) -> bool:
    """Whether the judge finds success in the states, whatever the record says."""
    from blueprint.skills.goals import Evidence, judge

    qpos, contacts, forces, action = _states(episodes, record, "qpos", "contacts", "force", "action").values()
    absent = record.variation.absent if record.variation else ()
    objects = tuple(name for name in workcell.objects if name not in absent)
    model = _model(episodes.model(record, workcell))
    try:
        evidence = Evidence(model, workcell.robots, objects, qpos, contacts, forces, episodes.fps, action)
        return judge(record.task, evidence).success
    except IntegrityError:
        return False


@cache
def _model(file: Path) -> MjModel:
    import mujoco

    return mujoco.MjModel.from_xml_path(str(file))


def _states(episodes: Episodes, record: EpisodeRecord, *names: str) -> dict[str, NDArray[Any]]:
    assert record.states is not None
    with np.load(episodes.path(record.states), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in names}


def distinct(records: Sequence[EpisodeRecord], paths: Mapping[int, Path3]) -> dict[str, int]:
    """Task -> episodes that differ from every earlier one of it."""
    kept: dict[str, list[Array]] = defaultdict(list)
    for record in records:
        path, known = paths[record.index].resampled, kept[record.task.id]
        if not known or np.linalg.norm(np.stack(known) - path, axis=2).mean(axis=1).min() >= SAME_M:
            known.append(path)
    return {task: len(some) for task, some in kept.items()}


def start_coverage(
    workcell: Workcell, records: Sequence[EpisodeRecord], paths: Mapping[int, Path3], region: tuple[float, float]
) -> float | None:
    """Least over the tasks: share of a grid of places and turns about the captured pose of what the task is about.

    None where no task is about a thing that can be carried.
    """
    captured = {body.name: body.pose for body in workcell.bodies if body.movable}
    tasks = {record.task.id: record.task.object for record in records}
    shares = []
    for task, name in tasks.items():
        if name in captured:
            starts = [paths[one.index].bodies[name][0] for one in records if one.task.id == task]
            shares.append(_covered(captured[name], np.array(starts), region))
    return min(shares, default=None)


def _covered(captured: Pose, starts: Array, region: tuple[float, float]) -> float:
    """Share of the grid. starts: (N, 7) position [m] and quaternion wxyz"""
    turned = Rotation.from_quat(starts[:, 3:], scalar_first=True)
    turns = (turned * Rotation.from_quat(captured.quat_wxyz, scalar_first=True).inv()).as_rotvec(degrees=True)[:, 2]
    seen = np.column_stack([(starts[:, :2] - captured.position[:2]) / NEAR_M, turns / NEAR_DEG])
    place, turn = (
        np.linspace(-width, width, GRID) / near for width, near in zip(region, (NEAR_M, NEAR_DEG), strict=True)
    )
    wanted = np.stack(np.meshgrid(place, place, turn), axis=-1).reshape(-1, 3)
    return float((KDTree(seen).query(wanted, p=np.inf)[0] <= 1).mean())


def label_faults(workcell: Workcell, episodes: Episodes, records: Sequence[EpisodeRecord]) -> tuple[float, float]:
    """(root mean square over frames and joints [rad] of state - command - lag * speed of the command, mean delay [s]).

    Of each episode, the command is taken at the shift at which it fits the state best; a state that follows its command
    within LAG_S is a servo's, every other shift is delay. lag: of each joint, fitted to all episodes
    """
    columns = joint_columns(workcell)
    speeds, gaps, delays = [], [], []
    for record in records:
        arrays = _states(episodes, record, "state", "action")
        state, action = (arrays[name].astype(float)[:, columns] for name in ("state", "action"))
        most = min(round(SHIFT_S * episodes.fps), len(state) // 3)
        shift = min(range(-most, most + 1), key=lambda k: float((_gap(state, action, k)[0] ** 2).mean()))
        gap, speed = _gap(state, action, shift)
        gaps.append(gap)
        speeds.append(speed)
        seconds = shift / episodes.fps
        delays.append(seconds if seconds > 0 else max(0.0, -seconds - LAG_S))
    speed, gap = np.concatenate(speeds), np.concatenate(gaps)
    lag = (speed * gap).sum(axis=0) / np.maximum((speed**2).sum(axis=0), 1e-12)
    return float(np.sqrt(((gap - lag * speed) ** 2).mean())), float(np.mean(delays))


def _gap(state: Array, action: Array, shift: int) -> tuple[Array, Array]:
    """What each state (T, n) is away from the command `shift` frames after the one that led to it; its speed."""
    at = np.arange(max(0, -shift), min(len(state) - 1, len(state) - shift))
    return state[at + 1] - action[at + shift], np.gradient(action, axis=0)[at + shift]
