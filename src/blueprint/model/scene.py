"""Objects, bodies, colliders and cameras of a scene. World frame: z up, origin on the support plane."""

from __future__ import annotations

from typing import Literal

from blueprint.core.artifact import Model
from blueprint.model.capture import Camera
from blueprint.model.spatial import Matrix4, Pose, Quat, Vec2, Vec3

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


class Instance(Model):
    """One object in the label images. name: unique slug; label: pixel value (1..)."""

    name: str
    label: int
    text: str
    text_source: Literal["user", "file", "rule", "model"]
    mask_source: Literal["auto", "box", "mask", "model"]
    pixels: int
    confidence: float


# ------------------------------------------------------------------ assets


class Primitive(Model):
    """An ideal shape centred at `pose` in the object frame.

    size: half extents (x, y, z) of a box; (radius, half height) of a cylinder along z; (radius,) of a sphere [m]
    """

    type: Literal["box", "cylinder", "sphere"]
    size: tuple[float, ...]
    pose: Pose


class ObjectAsset(Model):
    """One separate object, metric, in its canonical frame: origin at the centre of its bounding box, z up as it stood.

    mesh: OBJ (watertight, outward normals) whose MTL names `texture`; UVs address `texture` (PNG)
    seen_faces: `.npy` bool (F,): faces a camera saw; all others are inferred
    dims_m: extents along x, y, z of the object frame; dims_sigma_m: one standard deviation of each;
    dims_source: `measured` where both ends were seen, `inferred` where one was guessed (thickness along the ray)
    primitive: the ideal shape that fits, if one does
    T_world_object: where it stood in the capture
    """

    name: str
    text: str
    mesh: str
    texture: str
    seen_faces: str
    dims_m: Vec3
    dims_sigma_m: Vec3
    dims_source: tuple[
        Literal["measured", "inferred"], Literal["measured", "inferred"], Literal["measured", "inferred"]
    ]
    method: str
    primitive: Primitive | None
    pose: Pose
    seen_fraction: float
    confidence: float
    silhouette_iou: float
    depth_error_median_m: float
    volume_m3: float
    support: str  # name of the object below, or "table"


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


class PhysicalObject(Model):
    """An object that can be simulated. friction: sliding coefficient; pose: where it rests without penetration."""

    asset: ObjectAsset
    material: str
    material_source: str
    mass_kg: Sourced
    inertia: Inertia
    friction: Sourced
    restitution: Sourced
    colliders: tuple[Collider, ...]
    collider_method: str
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
    """A free body by its name in the MJCF and USD files."""

    name: str
    text: str
    prim_path: str
    mass_kg: float
    dims_m: Vec3
    pose: Pose
    collider_count: int


# ------------------------------------------------------------------ robot


class Gripper(Model):
    """A parallel gripper. Its tool frame is the site `site` of the MJCF: z approaches, y is the closing direction.

    max_opening_m: largest object width between the fingers; finger_depth_m: from the tool point to the palm
    open_ctrl, closed_ctrl: values of `actuator`
    """

    site: str
    actuator: str
    finger_joints: tuple[str, ...]
    finger_bodies: tuple[str, ...]
    max_opening_m: float
    finger_depth_m: float
    open_ctrl: float
    closed_ctrl: float


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
