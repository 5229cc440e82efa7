"""Ways to a grasp: where the arm waits before it, how it moves in, and whether anything is in the way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from blueprint.skills.grasping.antipodal import Grasp, flipped
from blueprint.skills.planning.collision import CollisionWorld
from blueprint.skills.planning.ik import ArmKinematics

Array = NDArray[np.float64]

STANDOFF_M = 0.08  # of the tool before the grasp, along the approach
LIFT_M = 0.15  # straight up after the grasp
LINE_STEPS = 8
MIN_MARGIN = 0.06  # share of a joint's half range that a grasp must keep from its limit


@dataclass(frozen=True)
class Approach:
    """path: (LINE_STEPS + 1, n) configurations from the standoff to the grasp; T_world_tool: the grasp's (4, 4).

    lifted: (n,) straight up from there by `LIFT_M`
    """

    grasp: Grasp
    T_world_tool: Array
    path: Array
    lifted: Array


def moved_along_z(T: Array, distance: float) -> Array:
    """The pose moved along its own z axis [m]."""
    out = T.copy()
    out[:3, 3] += distance * T[:3, 2]
    return out


def raised(T: Array, height: float) -> Array:
    """The pose moved up in the world [m]."""
    out = T.copy()
    out[2, 3] += height
    return out


def approaches(
    world: CollisionWorld, arm: ArmKinematics, name: str, grasps: Iterable[Grasp], qpos: Array
) -> Iterator[Approach]:
    """The grasps that the arm can reach without touching anything, in the order given.

    qpos: (nq,) placed anew for every grasp: others may use the world in between
    name: of the object to grasp, which may be touched on the last stretch
    """
    T_world_object = world.cell.pose(qpos, name)
    for grasp in grasps:
        world.place(qpos)
        for T in _nearer_wrist_first(grasp.tool(T_world_object), arm):
            path = approach_path(arm, T, arm.home)
            if path is None or not arm.free(path[-1], MIN_MARGIN):
                continue
            up = arm.line(T, raised(T, LIFT_M), path[-1], steps=4)
            if up is None:
                continue
            with world.ignoring(name):
                if all(world.clear(joints, grasp.opening) for joints in path):
                    yield Approach(grasp, T, path, up[-1])
                    break


def approach_path(arm: ArmKinematics, T_world_tool: Array, near: Array) -> Array | None:
    """(LINE_STEPS + 1, n) straight from the standoff to the pose, or None if the arm cannot."""
    at = arm.solve(T_world_tool, near)
    if at is None:
        return None
    back = arm.line(T_world_tool, moved_along_z(T_world_tool, -STANDOFF_M), at, steps=LINE_STEPS)
    return None if back is None else back[::-1]


def _nearer_wrist_first(T: Array, arm: ArmKinematics) -> list[Array]:
    """The pose and the one with exchanged fingers, the one that turns the hand less from home first."""
    now = arm.tool_pose(arm.home)[:3, :3]
    return sorted((T, flipped(T)), key=lambda pose: -float(np.trace(pose[:3, :3].T @ now)))
