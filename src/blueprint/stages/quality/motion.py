"""What the motion of an episode is like: within the robot's limits, direct, smooth, and followed by the servos."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from blueprint.core.errors import IntegrityError
from blueprint.model.artifacts import Episodes, Recording, Workcell
from blueprint.model.episode import EpisodeRecord, RecordedEpisode
from blueprint.model.quality import Term

Array = NDArray[np.float64]

RESAMPLED = 32  # points of a path that are compared
STILL_M_S = 0.005  # slower than this the tool rests


@dataclass(frozen=True)
class Path3:
    """Where things were, world frame [m].

    tool: (T, 3) between the fingers, of the arm whose tool went farthest
    bodies, cameras: name -> (T, 7) and (T, C, 7), position and quaternion wxyz
    """

    tool: Array
    bodies: dict[str, Array]
    cameras: Array

    @staticmethod
    def of(workcell: Workcell, recording: Recording, recorded: RecordedEpisode) -> Path3:
        with np.load(recording.path(recorded.poses), allow_pickle=False) as arrays:
            poses, cameras = arrays["body_poses"], arrays["camera_poses"]
        values = {name: value for value, name in recording.segment_names.items()}
        names = [name for arm in workcell.robots for name in arm.gripper.finger_bodies]
        missing = [name for name in names if name not in values]
        if missing:
            raise IntegrityError(f"the recording lacks {missing[0]}", "run the recording stage again")
        tools = [
            np.mean([poses[:, values[name], :3] for name in arm.gripper.finger_bodies], axis=0)
            for arm in workcell.robots
        ]
        farthest = max(tools, key=lambda tool: float(np.linalg.norm(np.diff(tool, axis=0), axis=1).sum()))
        bodies = {body.name: poses[:, values[body.name]] for body in workcell.bodies if body.name in values}
        return Path3(farthest, bodies, cameras)

    @cached_property
    def resampled(self) -> Array:
        """(RESAMPLED, 3) of the tool, evenly spread over the time."""
        at = np.linspace(0, len(self.tool) - 1, RESAMPLED)
        return np.stack([np.interp(at, np.arange(len(self.tool)), axis) for axis in self.tool.T], axis=1)


def terms(workcell: Workcell, episodes: Episodes, record: EpisodeRecord, path: Path3) -> Iterator[Term]:
    """Limits are the robot's datasheet. Raises IntegrityError when the states are not those of the robot."""
    assert record.states is not None
    with np.load(episodes.path(record.states), allow_pickle=False) as arrays:
        state, action = arrays["state"].astype(float), arrays["action"].astype(float)
        force, segment = arrays["force"], arrays["segment"]
    joints = joint_columns(workcell)
    velocity_limit, jerk_limit = (
        np.concatenate([np.array(limits) for limits in some])
        for some in (
            [arm.velocity_limits for arm in workcell.robots],
            [arm.jerk_limits for arm in workcell.robots],
        )
    )
    if state.shape[1] <= max(joints):
        raise IntegrityError(f"episode {record.index} has states of {state.shape[1]} values", "run again")
    fps = episodes.fps
    commanded = action[:, joints]
    speed = np.abs(np.diff(commanded, axis=0)) * fps / velocity_limit
    jerk = np.abs(np.diff(commanded, n=3, axis=0)) * fps**3 / jerk_limit
    lag = np.abs(state[1:, joints] - commanded[:-1]).max(initial=0.0)
    steps = np.linalg.norm(np.diff(path.tool, axis=0), axis=1)
    direct = _direct_length(path, segment)
    yield _term(
        "speed",
        "trajectory",
        "highest commanded joint speed, as a share of the limit",
        speed.max(initial=0.0),
        "",
        0.9,
        1.05,
    )
    yield _term(
        "jerk",
        "trajectory",
        "highest commanded joint jerk, as a share of the limit",
        jerk.max(initial=0.0),
        "",
        0.9,
        1.5,
    )
    yield _term("path_efficiency", "trajectory", "straight lines between the skills' ends over the tool's way",
                direct / max(float(steps.sum()), 1e-9), "", 0.6, 0.2)  # fmt: skip
    yield _term("rest", "trajectory", "share of the frames in which the tool rests",
                float((steps * fps < STILL_M_S).mean()) if len(steps) else 1.0, "", 0.5, 0.9)  # fmt: skip
    yield _term(
        "servo_lag",
        "sim2real",
        "largest difference of a joint from its command a frame later",
        float(lag),
        "rad",
        0.05,
        0.3,
    )
    yield _term(
        "contact_force", "sim2real", "largest force of a contact", float(force.max(initial=0.0)), "N", 100.0, 400.0
    )
    yield _term(
        "tool_speed", "sim2real", "highest speed of the tool", float(steps.max(initial=0.0) * fps), "m/s", 1.2, 2.5
    )


def _term(name: str, group: str, text: str, measured: float, unit: str, good: float, bad: float) -> Term:
    return Term(name=name, group=group, text=text, measured=float(measured), unit=unit, good=good, bad=bad)  # type: ignore[arg-type]


def joint_columns(workcell: Workcell) -> list[int]:
    """Columns of states and actions that are joints: all but each arm's opening."""
    columns, start = [], 0
    for arm in workcell.robots:
        columns += range(start, start + len(arm.joints))
        start += len(arm.joints) + 1
    return columns


def _direct_length(path: Path3, segment: NDArray[np.int8]) -> float:
    """Sum of the straight lines between the tool's places where one skill follows another [m]."""
    turns = np.unique(np.concatenate([[0], np.flatnonzero(np.diff(segment)) + 1, [len(path.tool) - 1]]))
    return float(np.linalg.norm(np.diff(path.tool[turns], axis=0), axis=1).sum())
