"""What a pack adds to the states of an episode: forces, contacts, tactile pads, calibration, privileged state."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from blueprint.backends.protocols import Replay
from blueprint.backends.signals_mujoco import Signals, privileged
from blueprint.backends.tactile_mujoco import touches
from blueprint.formats.arrays import npz_stack
from blueprint.formats.lerobot.annotations import calibration, write_compact, write_contacts
from blueprint.formats.lerobot.stats import sampled_frames
from blueprint.geometry.tactile import HEIGHT, WIDTH, picture
from blueprint.geometry.transforms import invert, pose_to_matrix
from blueprint.model.artifacts import Workcell
from blueprint.model.episode import CameraTrack
from blueprint.model.packs import TOOL_POSE, WRENCH, Stream
from blueprint.model.scene import RobotArm
from blueprint.model.variation import PhysicsDraw
from blueprint.stages.recording.tracks import ColorTrack
from blueprint.stages.recording.views import matrix

if TYPE_CHECKING:
    from blueprint.stages.recording import RecordingConfig

Array = NDArray[np.float64]

ATTACHED = 1e-6  # [m] and of a rotation's entries: a camera that stays so still in a tool's frame hangs on it


def vector_names(workcell: Workcell, streams: frozenset[Stream]) -> dict[str, tuple[str, ...]]:
    """The LeRobot features that the streams add -> the names of their values."""
    arms = workcell.robots
    joints = tuple(_named(workcell, name) for arm in arms for name in arm.joints)
    hands = [arm.gripper.site.rpartition("/")[0] for arm in arms]
    wrench, tool_pose = (
        tuple(_named(workcell, f"{hand}/{axis}") for hand in hands for axis in axes) for axes in (WRENCH, TOOL_POSE)
    )
    fingers = tuple(_named(workcell, name) for arm in arms for name in arm.gripper.finger_bodies)
    found: dict[str, tuple[str, ...]] = {}
    if "effort" in streams:
        found |= {"observation.velocity": joints, "observation.effort": joints}
    if "wrench" in streams:
        found["observation.wrench"] = wrench
    if "tool_pose" in streams:
        found["observation.tool_pose"] = tool_pose
    if "acceleration" in streams:
        found["observation.acceleration"] = joints
    if "gripper_force" in streams:
        found["observation.gripper_force"] = fingers
    return found


def _named(workcell: Workcell, name: str) -> str:
    """As `Workcell.state_names` does: with several arms, each name behind its arm's."""
    return name.replace("/", "_").strip("_") if workcell.others else name.rpartition("/")[2]


def write_vectors(folder: Path, felt: Signals, names: Mapping[str, tuple[str, ...]]) -> str:
    """`vectors.npz`: every feature as (T, D) float32."""
    columns = {name.rpartition(".")[2]: name for name in names}
    rows = {columns[kind]: getattr(felt, kind).reshape(len(felt.velocity), -1).astype(np.float32) for kind in columns}
    np.savez_compressed(folder / "vectors.npz", **rows)  # type: ignore[arg-type]
    return "vectors.npz"


def write_sides(
    folder: Path,
    model: Path,
    states: Mapping[str, Array],
    felt: Signals | None,
    bodies: tuple[str, ...],
    streams: frozenset[Stream],
    physics: PhysicsDraw | None,
) -> dict[str, str]:
    """Contacts and privileged state; returns KIND -> file of the folder. bodies: names in the episode's own model."""
    found: dict[str, str] = {}
    if "contacts" in streams and felt is not None:
        found["contacts"] = "contacts.parquet"
        columns = {field.name: getattr(felt.contacts, field.name) for field in fields(felt.contacts)}
        write_contacts(folder / found["contacts"], bodies, columns)
    if "privileged_state" in streams:
        found["privileged_state"] = "privileged_state.npz"
        np.savez_compressed(folder / found["privileged_state"], **privileged(model, states, physics))  # type: ignore[arg-type]
    return found


def write_tactile(
    folder: Path, model: Path, qpos: Array, felt: Signals, robots: tuple[RobotArm, ...], fps: int, cfg: RecordingConfig
) -> tuple[list[ColorTrack], dict[str, str]]:
    """`tactile_FINGER.mp4` and `tactile.FINGER.npz` of every finger; returns the videos, and KIND/FINGER -> file."""
    names = [name.replace("/", "_") for arm in robots for name in arm.gripper.finger_bodies]
    counted = set(sampled_frames(len(qpos)).tolist())
    with ExitStack() as files:
        tracks = [ColorTrack(files, folder, f"tactile_{name}", fps, cfg, (WIDTH, HEIGHT)) for name in names]
        stacks = [files.enter_context(npz_stack(folder / f"tactile.{name}.npz")) for name in names]
        for t, row in enumerate(touches(model, qpos, felt, robots)):
            for track, stack, reading in zip(tracks, stacks, row, strict=True):
                track.add_color(picture(reading), counted=t in counted)
                stack.add(
                    {
                        "depth_map": reading.depth,
                        "force": reading.force,
                        "markers": reading.dots,
                        "centroid": reading.centroid,
                        "area": np.array(reading.area_m2),
                    }
                )
    return tracks, {f"tactile/{name}": f"tactile.{name}.npz" for name in names}


def tactile_summaries(tracks: list[ColorTrack], folder: str) -> tuple[CameraTrack, ...]:
    return tuple(track.summary(folder) for track in tracks)


def write_calibration(
    folder: Path, names: list[str], replay: Replay, felt: Signals | None, robots: tuple[RobotArm, ...]
) -> str:
    """`calibration.json`: intrinsics and, of cameras that stand still, the pose; with signals also where each camera is
    seen from the arms: T_base_camera of those that stand still, T_tool_camera of those that hang on a tool."""
    cameras: dict[str, Any] = {}
    for c, name in enumerate(names):
        poses = replay.camera_poses[:, c]
        moving = bool(np.ptp(poses, axis=0).max() > ATTACHED)
        frames: dict[str, Any] = {}
        for k, arm in enumerate(robots if felt is not None else ()):
            suffix = f"_{k + 1}" if len(robots) > 1 else ""
            base, tools = pose_to_matrix(arm.base), felt.tool_pose[:, k] if felt is not None else poses
            frames[f"T_base{suffix}_camera"] = None if moving else _between(base, matrix(poses[0]))
            frames[f"T_tool{suffix}_camera"] = _attached(tools, poses) if moving else None
        cameras[name] = calibration(replay.cameras[c], poses[0], moving, **frames)
    bases = [{"name": arm.name, "T_world_base": [*arm.base.position, *arm.base.quat_wxyz]} for arm in robots]
    content = {"pose": "x, y, z [m], w, x, y, z; T_a_b maps points of b into a", "cameras": cameras, "robots": bases}
    write_compact(folder / "calibration.json", content)
    return "calibration.json"


def _between(T_world_a: Array, T_world_b: Array) -> Array:
    """(7,) T_a_b."""
    from blueprint.geometry.transforms import matrix_to_pose

    pose = matrix_to_pose(invert(T_world_a) @ T_world_b)
    return np.array([*pose.position, *pose.quat_wxyz])


def _attached(tools: Array, cameras: Array) -> Array | None:
    """(7,) T_tool_camera, if it is the same in every frame."""
    relative = [invert(matrix(tool)) @ matrix(camera) for tool, camera in zip(tools, cameras, strict=True)]
    if np.ptp(np.stack(relative), axis=0).max() > ATTACHED:
        return None
    return _between(matrix(tools[0]), matrix(cameras[0]))
