"""What happened when a robot tried."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from blueprint.core.artifact import Model
from blueprint.model.capture import Camera
from blueprint.model.task import Task
from blueprint.model.variation import Look, Variation

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
    "excess_force",
    "gripped",
    "lifted",
    "too_fast",
]


Comparison = Literal["<=", ">=", "=="]


def holds(measured: float, comparison: Comparison, bound: float) -> bool:
    """Whether a measured value is on the right side of its bound; NaN never is."""
    return {"<=": measured <= bound, ">=": measured >= bound, "==": measured == bound}[comparison]


class Check(Model):
    """One measured condition. passed: `measured` is on the right side of `bound`."""

    name: str
    measured: float
    bound: float
    comparison: Comparison
    passed: bool


class Recovery(Model):
    """The robot saw that something went wrong, planned again and went on, within one attempt.

    cause, detail: what it saw; frame: the first of the `frames` in which it backs off (segment `recover`)
    """

    cause: FailureCause
    detail: str
    frame: int
    frames: int


class Attempt(Model):
    """One try at a task from one start. cause: None on success.

    states: `.npz` file of the artifact with its `frames`, as in `Episodes`; of failures only where they are kept
    grasp_class: the kind of way in which it was tried; arms: `robot`, `robot2`, ... that moved, the first mover first
    """

    success: bool
    cause: FailureCause | None
    detail: str
    checks: tuple[Check, ...]
    seconds: float  # simulated
    states: str | None = None
    frames: int = 0
    grasp_class: str = ""
    arms: tuple[str, ...] = ()
    recoveries: tuple[Recovery, ...] = ()


class EpisodeRecord(Model):
    """One episode: the last attempt, and why earlier ones failed.

    states: `.npz` file of the artifact; see `Episodes`
    grasp_class: e.g. "top", "side"
    variation: None in episodes of earlier versions
    """

    index: int
    task: Task
    seed: int
    success: bool
    attempts: tuple[Attempt, ...]
    states: str | None
    frames: int
    grasp_class: str
    variation: Variation | None = None

    @property
    def recoveries(self) -> tuple[Recovery, ...]:
        """Those of the last attempt: the one that `states` hold."""
        return self.attempts[-1].recoveries if self.attempts else ()

    @property
    def mjcf(self) -> str | None:
        """The model of its states, a file of `Episodes`; None = the workcell's."""
        return None if self.variation is None else self.variation.mjcf


class CameraTrack(Model):
    """What one camera recorded in one episode.

    camera: its name, without what stands before a '/' in the MJCF
    video: H.264/AV1 MP4, constant frame rate; width, height: of its pictures
    depth, segmentation: FFV1 gray16 Matroska ([mm], 0 = beyond range; values as in `Recording.segment_names`), or in
    a pack `.npz` (`depth` (T, H, W) float32 [m]; `instance`, `semantic` (T, H, W) uint16, as in `Recording.instances`)
    color_stats: per channel over sampled pixels, in [0, 1]: name -> (3,)
    """

    camera: str
    video: str
    width: int
    height: int
    depth: str | None = None
    segmentation: str | None = None
    color_stats: dict[str, tuple[float, float, float]]
    color_count: int


class RecordedEpisode(Model):
    """The pictures of one trajectory under one look. index: of `EpisodeRecord`; siblings share it.

    look: None = the scene as captured; look_index: 0, 1, ... among the siblings
    attempt: which of the record's attempts this is; None = the one that succeeded
    poses: `.npz` of body_poses (T, B, 7) and camera_poses (T, C, 7) (position [m], quaternion wxyz; world frame;
    bodies in the order of `Recording.segment_names`, NaN for those that this episode has not; cameras in the order of
    `tracks`); in a full pack also body_velocity and body_acceleration (T, B, 6) (linear, angular; world axes)
    cameras: intrinsics of this look, in the order of `tracks`
    vectors: `.npz` of the features in `Recording.vectors`, each (T, D) float32
    tactile: videos of tactile pads; sides: KIND or KIND/CAMERA -> file or folder (see docs/data_packs.md)
    """

    index: int
    look_index: int = 0
    look: Look | None = None
    attempt: int | None = None
    frames: int
    tracks: tuple[CameraTrack, ...]
    poses: str
    cameras: tuple[Camera, ...] = ()
    vectors: str | None = None
    tactile: tuple[CameraTrack, ...] = ()
    sides: dict[str, str] = Field(default_factory=dict)


TRACKS_FILE = "episode.json"  # holds it, in the folder of its files


def folders_of(index: int, looks: int) -> list[str]:
    """Below episodes/, where the looks of an episode lie, each from the moment at which it is whole."""
    return [f"{index:06d}" if looks == 1 else f"{index:06d}_{k:02d}" for k in range(looks)]


class RecordedInstance(Model):
    """Something that labels tell apart. category: of its kind; thing: it can be counted (no table, no wall)."""

    name: str
    category: str
    thing: bool
