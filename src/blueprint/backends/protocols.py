"""The seams: one protocol per kind of backend, one or two methods each.

A backend is found by name through the entry-point group `blueprint.backends.<kind>` or, for ours, as the module
`blueprint.backends.<kind>_<name>` holding the class `<Kind><Name>` (`SimulatorMujoco`). There is no `auto` and no
fallback: what the settings name runs, or the run stops.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from blueprint.core.artifact import Config
from blueprint.model.artifacts import Capture, Reconstruction
from blueprint.model.capture import Camera
from blueprint.model.variation import Look, PhysicsDraw


class ReconstructorConfig(Config):
    """What every reconstructor is told.

    boxes: file of the capture with the user's boxes to respect, e.g. `boxes.json`; None = find objects automatically
    masks: respect the capture's mask images instead
    segmenter, completer: of the learned reconstructors; None = by geometry and colour, and by shape
    words: what the segmenter looks for, where no boxes are given (SAM 3 only)
    checkpoints: learned model -> checkpoint's name or path; the first of docs/learned_models.md where it is not named
    remote: which reconstructor of the service, where it offers several
    """

    boxes: str | None = None
    masks: bool = False
    segmenter: Literal["sam"] | None = None
    completer: Literal["sam3d"] | None = None
    words: tuple[str, ...] = ()
    checkpoints: dict[str, str] = Field(default_factory=dict)
    remote: str = ""
    seed: int = 0


class Reconstructor(Protocol):
    """Capture -> support, cameras and instances. `kind` = "reconstructor"; ours: rgbd."""

    name: str
    version: str

    def reconstruct(self, capture: Capture, cfg: ReconstructorConfig, out: Path) -> Reconstruction: ...


class Simulation(Protocol):
    """A model being simulated; made by `Simulator.open`, owned by the caller, closed by `close`."""

    @property
    def qpos(self) -> NDArray[np.float64]: ...

    @property
    def qvel(self) -> NDArray[np.float64]: ...

    def advance(self, ctrl: NDArray[np.float64], seconds: float) -> None:
        """Step `seconds` on, moving the actuator targets linearly from the last `ctrl` (nu,) to this one."""
        ...

    def put(
        self,
        qpos_at: NDArray[np.int64],
        qpos: NDArray[np.float64],
        dof_at: NDArray[np.int64],
        qvel: NDArray[np.float64],
    ) -> None:
        """Set some positions and velocities, by their indices: those of what moves by itself."""
        ...

    def contacts(self) -> list[tuple[int, int, float, float]]:
        """(body a, body b, signed distance [m], normal force [N]) of every contact now."""
        ...

    def normals(self) -> NDArray[np.float64]:
        """(K, 3) unit normals of `contacts`, in the same order, from body a towards body b, world frame."""
        ...

    def close(self) -> None: ...


class Simulator(Protocol):
    """Physics. `kind` = "simulator"; ours: mujoco."""

    name: str

    @property
    def version(self) -> str: ...

    def open(
        self, model: Path, qpos: NDArray[np.float64] | None = None, physics: PhysicsDraw | None = None
    ) -> Simulation:
        """Load an MJCF file, at `qpos` (nq,) or at its own initial state, with its parameters varied by `physics`."""
        ...


@dataclass(frozen=True)
class Images:
    """One camera at one instant.

    color: (H, W, 3) uint8; depth: (H, W) float32 [m]; segmentation: (H, W) uint16 body ids, 0 = world
    normals: (H, W, 3) float32, unit normals in the camera frame (OpenCV), towards the camera; 0 where nothing is seen
    """

    color: NDArray[np.uint8]
    depth: NDArray[np.float32] | None
    segmentation: NDArray[np.uint16] | None
    normals: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Replay:
    """Where everything stood in each of T stored states, in the world frame, and how each camera projects.

    bodies: name of every body; the position in the tuple is its segmentation value (0 = world)
    body_poses: (T, B, 7) float64, position [m] and quaternion wxyz of every body
    camera_poses: (T, C, 7) float64, T_world_camera of each camera asked for (OpenCV frame)
    cameras: intrinsics of each camera asked for
    """

    bodies: tuple[str, ...]
    body_poses: NDArray[np.float64]
    camera_poses: NDArray[np.float64]
    cameras: tuple[Camera, ...]


class Renderer(Protocol):
    """Pictures of stored states. `kind` = "renderer"; ours: mujoco.

    sensor_source: what a dataset says of its pictures. A slow one says `seconds_per_picture`, beyond which it hangs.
    """

    name: str
    version: str
    sensor_source: str

    def replay(
        self,
        model: Path,
        qpos: NDArray[np.float64],
        cameras: tuple[str, ...],
        width: int,
        height: int,
        *,
        look: Look | None = None,
    ) -> Replay:
        """Kinematics of qpos (T, nq), no pixel drawn: safe before a fork (no graphics context, no thread)."""
        ...

    def render(
        self,
        model: Path,
        qpos: NDArray[np.float64],
        cameras: tuple[str, ...],
        width: int,
        height: int,
        *,
        depth: bool,
        segmentation: bool,
        samples: int = 1,
        normals: bool = False,
        look: Look | None = None,
    ) -> Iterator[dict[str, Images]]:
        """Yield one {camera: Images} per row of qpos (T, nq).

        look: lights, colours and cameras of this drawing; its `noise` is the recording's business, not the renderer's
        samples: per pixel along each axis, averaged in the colour (anti-aliasing); depth and labels keep one.
        """
        ...
