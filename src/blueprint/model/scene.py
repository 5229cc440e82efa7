"""Objects, bodies, colliders and cameras of a scene. World frame: z up, origin on the support plane."""

from __future__ import annotations

from typing import Literal

from blueprint.core.artifact import Model
from blueprint.model.capture import Camera
from blueprint.model.spatial import Matrix4, Pose, Quat, Vec2, Vec3

GRAIN = "grain_"  # names of grains, which are bodies of a workcell but no objects, begin so

# ------------------------------------------------------------------ reconstruction


class CameraView(Model):
    """A calibrated camera in the world. color, depth, labels: files of the reconstruction (see `Reconstruction`)."""

    frame: str
    camera: Camera
    T_world_camera: Matrix4
    color: str
    depth: str
    labels: str


class Support(Model):
    """The surface that carries the objects: the plane z = 0 of the world.

    polygon: convex, counter-clockwise, xy [m]
    residual_m: RMS distance of the measured surface to the plane
    texture: PNG looking straight down (x right, y up in the picture's lower-left convention), covering `texture_bounds`
    seen_fraction: share of the polygon that a camera saw; the rest of the texture is filled in
    """

    polygon: tuple[Vec2, ...]
    residual_m: float
    thickness_m: float
    texture: str | None
    texture_bounds: tuple[float, float, float, float]  # x_min, y_min, x_max, y_max [m]
    seen_fraction: float


class Joint(Model):
    """How a moving part hangs on its parent; axis and origin in the object frame, at the captured (closed) pose.

    axis: unit, right-handed; limits: lower, upper [rad] or [m], 0 = as captured; damping, friction: [N m s/rad], [N m]
    or [N s/m], [N]; None = by the physics stage; evidence: what spoke for it, strongest first
    stiffness: of a spring that pulls back to 0 [N m/rad] or [N/m], as of a button; None = there is none
    """

    name: str
    type: Literal["revolute", "prismatic"]
    parent: str
    child: str
    axis: Vec3
    origin: Vec3
    limits: tuple[float, float]
    damping: float | None = None
    friction: float | None = None
    stiffness: float | None = None
    confidence: float
    source: Literal["asset", "user", "category", "model", "geometry"]
    evidence: tuple[str, ...] = ()


class Part(Model):
    """A rigid piece of an articulated object. mesh: OBJ in the object frame (closed); texture: PNG or None."""

    name: str
    mesh: str
    texture: str | None = None
    mass_kg: float | None = None


class GivenModel(Model):
    """An object that came as a complete mesh, with its joints if it has any.

    parts: the first is the base; files below the reconstruction's given/NAME/
    mass_kg, friction: as the file says, None = the physics stage decides; anchored: fixed to the world, None = unknown
    """

    parts: tuple[Part, ...]
    joints: tuple[Joint, ...] = ()
    pose: Pose
    mass_kg: float | None = None
    friction: float | None = None
    anchored: bool | None = None
    source: str


class StaticPart(Model):
    """Something fixed that is no object: a shelf board, a bin's wall, a room's shell. World frame.

    mesh: OBJ; colliders: OBJ files of convex pieces; empty = the mesh's own hull
    """

    name: str
    text: str
    mesh: str
    texture: str | None = None
    colliders: tuple[str, ...] = ()


class Instance(Model):
    """One object in the label images, or one that came as a model.

    name: unique slug; label: pixel value (1..), 0 = none; category: a key of `model/categories.py`, or empty
    """

    name: str
    label: int
    text: str
    text_source: Literal["user", "file", "rule", "model"]
    category: str = ""
    category_confidence: float = 0.0
    mask_source: Literal["auto", "box", "mask", "model", "given"]
    pixels: int
    confidence: float
    given: GivenModel | None = None


# ------------------------------------------------------------------ assets


class Primitive(Model):
    """An ideal shape centred at `pose` in the object frame.

    size: half extents (x, y, z) of a box; (radius, half height) of a cylinder along z; (radius,) of a sphere [m]
    """

    type: Literal["box", "cylinder", "sphere"]
    size: tuple[float, ...]
    pose: Pose


DimSource = Literal["measured", "inferred", "given"]


class ObjectAsset(Model):
    """One separate object, metric, in its canonical frame: origin at the centre of its bounding box, z up as it stood.

    mesh: OBJ (watertight, outward normals) whose MTL names `texture`; UVs address `texture` (PNG)
    seen_faces: `.npy` bool (F,): faces a camera saw; all others are inferred
    dims_m: extents along x, y, z of the object frame; dims_sigma_m: one standard deviation of each;
    dims_source: `measured` where both ends were seen, `inferred` where one was guessed (thickness along the ray)
    primitive: the ideal shape that fits, if one does
    pose: where it stood in the capture (T_world_object)
    parts, joints: of what moves: the first part is the base; none = one rigid piece. `mesh` is the whole, as captured
    anchored: it cannot be lifted off its place (a cabinet); mass_kg, friction: given with the asset, else None
    """

    name: str
    text: str
    text_source: Literal["user", "file", "rule", "model"] = "rule"
    category: str = ""
    category_confidence: float = 0.0
    mesh: str
    texture: str
    seen_faces: str
    dims_m: Vec3
    dims_sigma_m: Vec3
    dims_source: tuple[DimSource, DimSource, DimSource]
    method: str
    primitive: Primitive | None
    pose: Pose
    seen_fraction: float
    confidence: float
    silhouette_iou: float
    depth_error_median_m: float
    volume_m3: float
    support: str  # name of the object below, or "table"
    parts: tuple[Part, ...] = ()
    joints: tuple[Joint, ...] = ()
    anchored: bool = False
    mass_kg: float | None = None
    friction: float | None = None


# ------------------------------------------------------------------ physics


class Sourced(Model):
    """A value and where it comes from (a table's row, a measurement, the user)."""

    value: float
    source: str


class Collider(Model):
    """A convex piece of an object, in the object frame. mesh: OBJ of a convex hull, or None with a primitive."""

    mesh: str | None = None
    primitive: Primitive | None = None


class Inertia(Model):
    """About the centre of mass: principal moments [kg m^2] and the rotation from principal axes to the object frame."""

    center_of_mass: Vec3
    principal_moments: Vec3
    quat_wxyz: Quat


class PhysicalPart(Model):
    """A moving part of an object, everything in the object frame at the captured pose."""

    part: Part
    joint: Joint
    mass_kg: Sourced
    inertia: Inertia
    colliders: tuple[Collider, ...]
    collider_method: str


class SoftBody(Model):
    """A deformable object as a MuJoCo flex.

    file: `.npz` with points (V, 3) [m], elements (E, dim + 1), object frame; dim: 1 rope, 2 cloth, 3 volume
    """

    file: str
    dim: Literal[1, 2, 3]
    young_pa: float
    poisson: float
    damping: float
    thickness_m: float
    source: str


class Ranges(Model):
    """What domain randomisation may vary, as factors of the nominal value or absolute offsets."""

    mass: tuple[float, float]
    friction: tuple[float, float]
    restitution: tuple[float, float]
    center_of_mass_m: float
    source: str


class Check(Model):
    """One measurement of the physics validator. subject: object name, or `scene`.

    fix: what was done about it (`applied: ...`) or is advised; passed None: not measured, `fix` says why
    """

    id: str
    subject: str
    severity: Literal["error", "warning", "info"]
    text: str
    measured: float | None
    unit: str
    bound: float | None
    passed: bool | None
    fix: str = ""


class PhysicalObject(Model):
    """An object that can be simulated. friction: sliding coefficient; pose: where it rests without penetration.

    mass, inertia and colliders are those of the object, or of its base where it has moving `parts`
    """

    asset: ObjectAsset
    material: str
    material_source: str
    mass_kg: Sourced
    inertia: Inertia
    friction: Sourced
    restitution: Sourced
    colliders: tuple[Collider, ...]
    collider_method: str
    parts: tuple[PhysicalPart, ...] = ()
    soft: SoftBody | None = None
    ranges: Ranges | None = None
    pose: Pose
    moved_m: float  # distance from the captured position
    moved_deg: float


class SettledObject(Model):
    """How far an object moved in the settle test."""

    name: str
    drift_m: float
    drift_deg: float
    penetration_m: float  # deepest contact at spawn, positive


class SettleTest(Model):
    """The scene left alone for `seconds`."""

    simulator: str
    seconds: float
    objects: tuple[SettledObject, ...]
    max_drift_m: float
    max_drift_deg: float
    max_penetration_m: float
    passed: bool


# ------------------------------------------------------------------ scene


class SceneCamera(Model):
    """A fixed camera by its name in the MJCF and USD files."""

    name: str
    camera: Camera
    T_world_camera: Matrix4


class SceneBody(Model):
    """A body by its name in the MJCF and USD files.

    anchored: it has no free joint; joints: names of those between its parts; soft: a flex, not a rigid body
    ranges: what randomisation may vary; None in scenes of earlier versions
    """

    name: str
    text: str
    category: str = ""
    anchored: bool = False
    joints: tuple[str, ...] = ()
    soft: bool = False
    prim_path: str
    mass_kg: float
    dims_m: Vec3
    pose: Pose
    collider_count: int
    ranges: Ranges | None = None

    @property
    def movable(self) -> bool:
        """One rigid piece that can be carried: what grasps are planned for."""
        return not (self.anchored or self.joints or self.soft)


class LibraryAsset(Model):
    """An object of elsewhere: all that captured ones have, its pose that in which it rested; files below `folder`."""

    name: str
    folder: str
    body: SceneBody
    item: PhysicalObject


# ------------------------------------------------------------------ robot


class Gripper(Model):
    """A parallel gripper. Its tool frame is the site `site` of the MJCF: z approaches, y is the closing direction.

    max_opening_m: largest object width between the fingers; finger_depth_m: from the tool point to the palm
    open_ctrl, closed_ctrl: values of `actuator`
    openings_m: openings at which the gripper was measured, ascending, with `ctrls` the actuator's value and
    finger_positions the finger joints' at each. Empty: two fingers that slide, each by half the opening.
    """

    site: str
    actuator: str
    finger_joints: tuple[str, ...]
    finger_bodies: tuple[str, ...]
    max_opening_m: float
    finger_depth_m: float
    open_ctrl: float
    closed_ctrl: float
    openings_m: tuple[float, ...] = ()
    ctrls: tuple[float, ...] = ()
    finger_positions: tuple[tuple[float, ...], ...] = ()


class RobotArm(Model):
    """A robot in the workcell, by the names in its MJCF.

    velocity_limits [rad/s], acceleration_limits [rad/s^2], jerk_limits [rad/s^3]: the datasheet's, per joint
    """

    name: str
    title: str
    joints: tuple[str, ...]
    actuators: tuple[str, ...]
    home: tuple[float, ...]
    velocity_limits: tuple[float, ...]
    acceleration_limits: tuple[float, ...]
    jerk_limits: tuple[float, ...]
    gripper: Gripper
    base: Pose
    source: str
    licence: str
