"""The data flow of the product on one page: every artifact, in the order in which it is made.

    Source -> Capture -> Reconstruction -> Assets -> Articulation -> Physics -> SimScene -> Workcell -> TaskSet
    (Physics, other scenes) -> Library ;  (TaskSet, Library) -> Episodes
    (Workcell, Episodes) -> Recording -> Dataset -> Certificate -> Report
    (Capture ... TaskSet, Library) -> Licences ;  (Recording, Episodes) -> Quality ;  both -> Certificate

File names below are relative to the artifact's folder (`Artifact.path`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from blueprint.core.artifact import Artifact
from blueprint.model.capture import Camera, Frame, ScaleAnchor, StereoPair, UserBox, UserName
from blueprint.model.certificate import (
    Commercial,
    EpisodeCertificate,
    FrameRange,
    LicensedInput,
    Measurement,
    Provenance,
    StageRun,
    Suitability,
)
from blueprint.model.episode import EpisodeRecord, RecordedEpisode, RecordedInstance
from blueprint.model.movers import AnyMover
from blueprint.model.packs import Pack, Stream
from blueprint.model.quality import Diversity, EpisodeQuality, Term
from blueprint.model.scene import (
    CameraView,
    Check,
    Instance,
    LibraryAsset,
    ObjectAsset,
    PhysicalObject,
    RobotArm,
    SceneBody,
    SceneCamera,
    SettleTest,
    StaticPart,
    Support,
)
from blueprint.model.spatial import Vec2
from blueprint.model.task import Task
from blueprint.model.variation import Swap


class Source(Artifact):
    """The user's folder, as it lies; the only artifact that no stage makes. digest: of all its files."""

    location: str
    digest: str


class Capture(Artifact):
    """Validated, undistorted, metric sensor data. Files: color/ID.png, depth/ID.npy, masks/ID.png (see `Frame`).

    kind `scene`: somebody else's model instead of pictures; its files lie below scene/, `scene` names the main one
    """

    name: str
    kind: Literal["rgbd", "rgbd_sequence", "rgb", "rgb_multiview", "stereo", "scene"]
    frames: tuple[Frame, ...]
    stereo: StereoPair | None = None
    anchors: tuple[ScaleAnchor, ...] = ()
    scene: str | None = None
    boxes: tuple[UserBox, ...] = ()
    names: tuple[UserName, ...] = ()
    licence: str = ""
    origin: str = ""


class Reconstruction(Artifact):
    """Where the support, the cameras and the objects are.

    Files: color/ID.png, depth/ID.npy (float32 (H, W) [m], flying pixels removed, 0 = none),
    labels/ID.png (16-bit, 0 = background, else `Instance.label`), support.png (texture),
    given/NAME/... (meshes of instances that came complete), statics/NAME/... (what stands fixed)
    views: none where no camera took part (an imported scene)
    scale_source: what made it metric (a depth sensor, a marker of 50 mm, the file's own units)
    licences: licence of every model checkpoint or file that took part -> whether it permits commercial use
    """

    views: tuple[CameraView, ...]
    support: Support
    instances: tuple[Instance, ...]
    statics: tuple[StaticPart, ...] = ()
    depth_sigma_m: float  # sensor noise at 1 m
    up_source: str  # how gravity was found
    scale_source: str = "depth sensor"
    licences: dict[str, bool] = Field(default_factory=dict)


class Assets(Artifact):
    """Watertight textured metric meshes. Files: objects/NAME/{visual.obj, visual.mtl, texture.png, seen_faces.npy}."""

    objects: tuple[ObjectAsset, ...]
    dropped: dict[str, str]  # instance name -> why it was not kept


class Articulation(Artifact):
    """What opens and slides. objects: the assets, cut into parts where they move. Files: objects/ as in `Assets`.

    doubts: object name -> what was found but not sure enough to move
    """

    objects: tuple[ObjectAsset, ...]
    doubts: dict[str, str] = Field(default_factory=dict)


class Physics(Artifact):
    """Objects with mass, friction and colliders, at rest.

    Files: colliders/NAME/000.obj ... (moving parts: colliders/NAME/PART/000.obj ...), the assets' objects/, statics/
    checks: what the physics validator measured, of every object
    """

    objects: tuple[PhysicalObject, ...]
    statics: tuple[StaticPart, ...] = ()
    settle: SettleTest
    checks: tuple[Check, ...] = ()


class SimScene(Artifact):
    """The scene as simulators read it: `scene.xml` (MJCF, the simulated truth), `scene.usda`, `scene.glb`.

    All meshes and textures lie under assets/, which the three files share. No robot yet.
    """

    mjcf: str = "scene.xml"
    usd: str = "scene.usda"
    glb: str = "scene.glb"
    bodies: tuple[SceneBody, ...]
    cameras: tuple[SceneCamera, ...]
    table_polygon: tuple[Vec2, ...]
    settle: SettleTest


class Workcell(Artifact):
    """The scene with a robot where it can reach. Files: workcell.xml (self-contained with assets/).

    robot: the first arm; others: further ones
    reachable: body name -> whether some grasp of it is within reach of some arm, were it alone on the table
    cameras: camera names in the MJCF, in recording order (`scene`, `wrist`, further wrists)
    movers: what moves by itself, with the courses of objects; people take another way in every episode
    more_cameras: further ones in the MJCF, recorded only where `recording.cameras` names them
    """

    mjcf: str = "workcell.xml"
    robot: RobotArm
    others: tuple[RobotArm, ...] = ()
    bodies: tuple[SceneBody, ...]
    cameras: tuple[str, ...]
    more_cameras: tuple[str, ...] = ()
    movers: tuple[AnyMover, ...] = ()
    table_polygon: tuple[Vec2, ...]
    reachable: dict[str, bool]

    @property
    def objects(self) -> tuple[str, ...]:
        """Names of the bodies that can be carried; all others are obstacles."""
        return tuple(body.name for body in self.bodies if body.movable)

    @property
    def robots(self) -> tuple[RobotArm, ...]:
        """All arms, in the order of actions and states."""
        return (self.robot, *self.others)

    def said_of_robots(self, field: Literal["name", "title", "source", "licence"]) -> str:
        """What all arms have in that field, each once, joined."""
        return " + ".join(dict.fromkeys(str(getattr(arm, field)) for arm in self.robots))

    @property
    def state_names(self) -> tuple[str, ...]:
        """Name of each value of a state or action; with several arms, each behind `robot`, `robot2`, ..."""
        names = []
        for arm in self.robots:
            own = arm.gripper.site.partition("/")[0] + "_" if self.others else ""
            names += [own + name.rpartition("/")[2] for name in (*arm.joints, "gripper")]
        return tuple(names)


class TaskSet(Artifact):
    """Tasks that the scene admits; refused: task id -> why it is not feasible."""

    tasks: tuple[Task, ...]
    refused: dict[str, str]


class Library(Artifact):
    """Assets that may take the place of captured objects. Files: SOURCE/N/ as in `Physics`.

    similar: captured object -> name of an asset -> what is written down of the swap; refused: why others are not
    """

    assets: tuple[LibraryAsset, ...] = ()
    similar: dict[str, dict[str, Swap]] = Field(default_factory=dict)
    refused: dict[str, str] = Field(default_factory=dict)


class Licences(Artifact):
    """Terms of all that the data is made from. commercial_use: no if any forbids it, unknown if any is unknown."""

    inputs: tuple[LicensedInput, ...]
    commercial_use: Commercial


class Episodes(Artifact):
    """Verified demonstrations as states; nothing is drawn yet.

    Files: models/000.xml (scenes with other objects, see `model`); of each success (of kept failures: failed_K.npz)
    episodes/000000/states.npz with
      time (T,) [s]; qpos (T, nq); qvel (T, nv); ctrl (T, nu): the state at each frame, before the frame's action
      state (T, 8) float32: arm joints [rad], gripper opening [m]; action (T, 8) float32: targets for the next frame
      segment (T,) int8: skill segment of each frame, named in `segments`
      contacts: bodies in contact (K, 3) int32 (frame, body a, body b), force (K,) [N]
    refused_swaps: model, body and asset -> why that asset cannot stand in its place
    """

    fps: int
    simulator: str
    segments: tuple[str, ...]
    state_names: tuple[str, ...]
    episodes: tuple[EpisodeRecord, ...]
    refused_swaps: dict[str, str] = Field(default_factory=dict)

    def model(self, record: EpisodeRecord, workcell: Workcell) -> Path:
        """The MJCF that a record's states belong to."""
        return workcell.path(workcell.mjcf) if record.mjcf is None else self.path(record.mjcf)


class Recording(Artifact):
    """Pictures and signals of the successful episodes.

    Files: episodes/000000/{CAMERA.mp4, CAMERA.depth.mkv, CAMERA.segmentation.mkv, poses.npz, ...} (of several looks
    episodes/000000_00/, ...), failures/000000_00/ alike
    cameras: intrinsics without a look, in the order of `RecordedEpisode.tracks`
    streams: what is held of each frame, see `model/packs.py`; pack: None = chosen stream by stream
    instances: of the labels, 0 = background; vectors: LeRobot feature -> the names of its values
    failures: attempts that failed, where a full pack was asked for and `episodes.keep_failures` kept them
    """

    fps: int
    width: int
    height: int
    renderer: str
    sensor_source: str
    codec: str
    pack: Pack | None = None
    streams: tuple[Stream, ...] = ()
    segment_names: dict[int, str]  # segmentation value -> body name
    instances: tuple[RecordedInstance, ...] = ()
    vectors: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    cameras: tuple[Camera, ...] = ()
    episodes: tuple[RecordedEpisode, ...]
    failures: tuple[RecordedEpisode, ...] = ()


class Quality(Artifact):
    """What each recorded episode is worth, and what all of them cover. score: mean over the episodes, in [0, 1].

    episodes: one per recording, so several of a trajectory that was drawn under several looks
    training_score: what a policy may learn from all of them together: `score` times the scores of the terms `training`
    """

    episodes: tuple[EpisodeQuality, ...]
    score: float
    training: tuple[Term, ...]
    training_score: float
    diversity: Diversity


class Dataset(Artifact):
    """A LeRobot v3.0 dataset under dataset/ (its root), what LeRobot has no place for under dataset/sidecar/.

    failures: a second dataset of the same shape, of attempts that failed; None where none were recorded
    """

    folder: str = "dataset"
    failures: str | None = None
    episodes: int
    frames: int
    fps: int
    tasks: tuple[str, ...]
    cameras: tuple[str, ...]


class Certificate(Artifact):
    """What was captured, what ran, what was measured. The same content as certificate.json.

    policies: of release, that admit it; reasons: why the suitability is not higher; subject: file -> SHA-256
    frames: what made each frame; physics_verified: a physics engine ran it, and every check of scene and success held
    failures: file of the certificate of the failed attempts, where there are some; contents: what the episodes are
    quality_score: mean of the episodes', None = not rated; episodes: one each; terms: quality term -> what it measures
    inputs, commercial_use: see `Licences`
    """

    file: str = "certificate.json"
    failures: str | None = None
    scene: str
    contents: Literal["demonstrations", "failed attempts"] = "demonstrations"
    provenance: Provenance
    subject: dict[str, str]
    sensor_source: str
    physics_backend: str
    frames: tuple[FrameRange, ...]
    frame_count: int
    physics_verified: bool
    quality_score: float | None
    episodes: tuple[EpisodeCertificate, ...]
    terms: dict[str, str]
    inputs: tuple[LicensedInput, ...]
    commercial_use: Commercial
    training_suitability: Suitability
    policies: tuple[str, ...]
    reasons: tuple[str, ...]
    measurements: tuple[Measurement, ...]
    stages: tuple[StageRun, ...]
    warnings: tuple[str, ...]


class Report(Artifact):
    """A static web page: report/index.html with its pictures and videos beside it."""

    index: str = "report/index.html"
