"""Data packs: which streams a recording holds. The table is the earlier system's (`docs/data_packs.md`)."""

from __future__ import annotations

from typing import Literal, get_args

Pack = Literal["core", "plus", "full"]

Stream = Literal[
    "rgb", "robot_state", "actions", "episode_metadata", "camera_calibration", "skill_segments",
    "effort", "wrench", "tool_pose", "camera_to_robot_base", "depth", "segmentation", "bbox_2d", "bbox_3d",
    "goal_images", "point_cloud",
    "acceleration", "gripper_force", "extrinsics", "normals", "object_poses", "contacts", "privileged_state", "tactile",
    "failures", "point_normals",
]  # fmt: skip
STREAMS: tuple[Stream, ...] = get_args(Stream)

_CORE, _PLUS = STREAMS[: STREAMS.index("effort")], STREAMS[: STREAMS.index("acceleration")]
PACKS: dict[Pack, frozenset[Stream]] = {
    "core": frozenset(_CORE),
    "plus": frozenset(_PLUS),
    "full": frozenset(STREAMS),
}
POINTS: dict[Pack, int] = {"core": 0, "plus": 10_000, "full": 20_000}
# what a recording holds whose settings name no pack
PLAIN: frozenset[Stream] = frozenset((*_CORE, "depth", "segmentation", "extrinsics", "object_poses"))

# the values of the vector features of one arm
WRENCH = ("force_x", "force_y", "force_z", "torque_x", "torque_y", "torque_z")
TOOL_POSE = ("tool_x", "tool_y", "tool_z", "tool_qw", "tool_qx", "tool_qy", "tool_qz")
