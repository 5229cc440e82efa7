"""What happened when a robot tried."""

from __future__ import annotations

from typing import Literal

from blueprint.core.artifact import Model
from blueprint.model.task import Task

FailureCause = Literal[
    "no_grasp",
    "no_ik",
    "no_path",
    "grasp_missed",
    "dropped",
    "collision",
    "missed_goal",
    "disturbed",
    "unstable_start",
]


class Check(Model):
    """One measured condition. passed: `measured` is on the right side of `bound`."""

    name: str
    measured: float
    bound: float
    comparison: Literal["<=", ">=", "=="]
    passed: bool


class Attempt(Model):
    """One try at a task from one start. cause: None on success."""

    success: bool
    cause: FailureCause | None
    detail: str
    checks: tuple[Check, ...]
    seconds: float  # simulated


class EpisodeRecord(Model):
    """One episode: the last attempt, and why earlier ones failed.

    states: `.npz` file of the artifact; see `Episodes`
    grasp_class: e.g. "top", "side"
    """

    index: int
    task: Task
    seed: int
    success: bool
    attempts: tuple[Attempt, ...]
    states: str | None
    frames: int
    grasp_class: str


class CameraTrack(Model):
    """What one camera recorded in one episode.

    camera: its name, without what stands before a '/' in the MJCF
    video: H.264/AV1 MP4, constant frame rate; depth: FFV1 gray16 [mm], 0 = beyond range; segmentation: FFV1 gray16
    whose values are listed in `Recording.segment_names`
    color_stats: per channel over sampled pixels, in [0, 1]: name -> (3,)
    """

    camera: str
    video: str
    depth: str | None
    segmentation: str | None
    color_stats: dict[str, tuple[float, float, float]]
    color_count: int


class RecordedEpisode(Model):
    """The pictures of one episode. index: of `EpisodeRecord`.

    poses: `.npz` of body_poses (T, B, 7) and camera_poses (T, C, 7) (position [m], quaternion wxyz; world frame;
    bodies in the order of `Recording.segment_names`, cameras in the order of `tracks`)
    """

    index: int
    frames: int
    tracks: tuple[CameraTrack, ...]
    poses: str
