"""How one episode differs from the scene as captured: drawn from a seed, written down, and able to be replayed."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from blueprint.core.artifact import Model
from blueprint.model.movers import AnyMover
from blueprint.model.spatial import Vec3

Level = Literal["none", "low", "medium", "high"]
SHARE: dict[Level, float] = {"none": 0.0, "low": 1 / 3, "medium": 2 / 3, "high": 1.0}  # of the whole range

# procedural textures that a look may name; a renderer draws each from the look's seed and the body's name
TEXTURES = ("wood", "marble", "cloth", "checker", "speckle", "plain")


class PhysicsDraw(Model):
    """Physical parameters of one episode, as factors on the scene's own. Bodies that are not named keep theirs.

    mass, friction: body name -> factor (inertia goes with mass); damping: joint name -> factor
    center: body name -> by how much its centre of mass lies elsewhere [m], body frame; inertia about it stays
    """

    mass: dict[str, float] = Field(default_factory=dict)
    friction: dict[str, float] = Field(default_factory=dict)
    damping: dict[str, float] = Field(default_factory=dict)
    center: dict[str, Vec3] = Field(default_factory=dict)


class Lamp(Model):
    """A light that takes the place of the scene's own.

    kind directional: `direction` is where it shines; point: it stands at `position` (world) [m]
    color: linear RGB of its diffuse light, 1 = as bright as the scene's key light
    """

    kind: Literal["directional", "point"]
    color: Vec3
    direction: Vec3 = (0.0, 0.0, -1.0)
    position: Vec3 = (0.0, 0.0, 2.0)
    shadow: bool = False


class CameraShift(Model):
    """An offset of a camera in its own frame (OpenCV). rotation: rotation vector [rad]; focal: factor on fx and fy."""

    translation: Vec3 = (0.0, 0.0, 0.0)
    rotation: Vec3 = (0.0, 0.0, 0.0)
    focal: float = 1.0


class SensorNoise(Model):
    """What the sensor adds to clean pictures; applied after drawing, seeded by the look's seed and the frame.

    shot: photon noise, standard deviation at full brightness in [0, 1]; read: the part independent of brightness
    depth: disparity noise of a stereo or structured-light sensor, sigma of z [m] at 1 m, growing with z^2
    depth_dropout: share of depth readings that are missing at grazing angles and edges
    """

    shot: float = 0.0
    read: float = 0.0
    depth: float = 0.0
    depth_dropout: float = 0.0


class Look(Model):
    """How a trajectory is drawn. The default is the scene as captured.

    ambient: factor on the light without direction; lamps: empty = the scene's own
    tints: body -> factor on the colour of everything visible of it (RGB)
    textures: body -> one of `TEXTURES`, drawn from the seed, in place of its own; `world` is the table
    cameras: camera in the MJCF -> its shift
    """

    seed: int = 0
    ambient: float = 1.0
    lamps: tuple[Lamp, ...] = ()
    tints: dict[str, Vec3] = Field(default_factory=dict)
    textures: dict[str, str] = Field(default_factory=dict)
    cameras: dict[str, CameraShift] = Field(default_factory=dict)
    noise: SensorNoise | None = None


ErrorKind = Literal["grasp_offset", "early_opening", "target_offset"]


class Injected(Model):
    """An error made on purpose, so that the data shows how to recover from it.

    grasp_offset: the robot believes the object to be `offset` [m] (world) from where it is
    early_opening: the gripper slips open for a moment as it lifts
    target_offset: the robot believes the goal's region to be `offset` [m] from where it is
    """

    kind: ErrorKind
    offset: Vec3 = (0.0, 0.0, 0.0)


class Swap(Model):
    """A similar thing in the place of a captured one, whose body keeps its name. text, category, licence: the asset's.

    by: both are known to be of one category, or one of them is of none and the shapes agree; sha256: of its mesh
    size_ratio: the largest between their extents, smallest to smallest and so on, at least 1
    fill, convexity: by how much their volumes over those of their boxes, and of their hulls, differ
    """

    asset: str
    source: str
    sha256: str
    text: str
    category: str
    licence: str
    by: Literal["category", "shape"]
    size_ratio: float
    fill: float
    convexity: float


class Variation(Model):
    """How one episode differs from the scene as captured; with the actions it suffices to replay the episode.

    seed: numbers from which it was drawn (settings, purpose, episode); start: (nq,) the settled start [m, rad]
    absent: bodies that are taken out; scaled: body -> factor on its size, for a similar one in its place
    swapped: body -> the asset that stands in its place; passed: models in which the task found no way, and why
    mjcf: the model with these changes, a file of `Episodes`; None = the workcell's own
    movers: what moves by itself, and how
    """

    seed: tuple[int, ...]
    start: tuple[float, ...] = ()
    physics: PhysicsDraw | None = None
    absent: tuple[str, ...] = ()
    scaled: dict[str, float] = Field(default_factory=dict)
    swapped: dict[str, Swap] = Field(default_factory=dict)
    passed: dict[str, str] = Field(default_factory=dict)
    mjcf: str | None = None
    injected: Injected | None = None
    movers: tuple[AnyMover, ...] = ()
