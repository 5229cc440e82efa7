"""What a sensor saw: cameras, frames and what the user drew on them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from blueprint.core.artifact import Model
from blueprint.model.spatial import Matrix4


class Camera(Model):
    """Pinhole camera in pixels; the frame is OpenCV's (x right, y down, z forward)."""

    width: int = Field(gt=0)
    height: int = Field(gt=0)
    fx: float = Field(gt=0)
    fy: float = Field(gt=0)
    cx: float
    cy: float


class Frame(Model):
    """One RGB-D view, undistorted and pixel-aligned.

    color: PNG, 8-bit RGB, (height, width, 3)
    depth: `.npy` float32 (height, width) [m] along the optical axis, 0 = no reading; None = a photograph
    mask: 16-bit PNG of user labels, 0 = background, or None
    T_world_camera: maps camera points into the capture's own world frame; None for an unposed single view
    intrinsics: where `camera` comes from; only `given` ones are calibrated
    """

    id: str
    color: str
    depth: str | None = None
    mask: str | None = None
    camera: Camera
    T_world_camera: Matrix4 | None = None
    intrinsics: Literal["given", "exif", "guessed"] = "given"


class StereoPair(Model):
    """A rectified pair: depth = fx * baseline_m / (disparity + doffs), in the left picture. left, right: frame ids."""

    left: str
    right: str
    baseline_m: float = Field(gt=0)
    doffs: float = 0.0


class ScaleAnchor(Model):
    """What makes photographs metric.

    marker: ArUco or AprilTag `dictionary` with an edge of `size_m`; object: the named object's dimension `axis` is
    `size_m`; points: two pixels of a frame (x, y) whose distance is `size_m`; class_prior: a usual height, the last
    resort, and marked as such
    """

    type: Literal["marker", "object", "points", "class_prior"]
    size_m: float = Field(gt=0)
    dictionary: str = ""
    name: str = ""
    axis: Literal["x", "y", "z", "longest"] = "longest"
    frame: str = ""
    pixels: tuple[tuple[float, float], ...] = ()


class UserBox(Model):
    """What a person drew: one loose box per object. xyxy: inclusive pixels; file: where in the capture it stands."""

    frame: str
    label: int
    name: str
    xyxy: tuple[float, float, float, float]
    file: str = "boxes.json"


class UserName(Model):
    """A name the user gave to a label of the masks."""

    label: int
    name: str
