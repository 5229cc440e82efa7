"""Where each object of a scene stands in the numbers of its MJCF: body ids, `qpos`, names.

MuJoCo numbers bodies depth first, in the order of the file: the world, the table, every object with its moving parts
(a soft one with a body per vertex), then what stands fixed. `qpos` follows the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from blueprint.core.errors import InputError
from blueprint.model.scene import PhysicalObject, PhysicalPart, SoftBody
from blueprint.model.spatial import Pose

Array = NDArray[np.float64]

TABLE_BODY = "table"
FIRST_OBJECT = 2  # body id of the first object: the world and the table come before


def part_body(item: str, part: str) -> str:
    """Body of a moving part."""
    return f"{item}_{part}"


def joint_name(item: str, joint: str) -> str:
    """Joint of a moving part; a free object's own joint has the object's name."""
    return f"{item}_{joint}"


def moving_parts(item: PhysicalObject) -> list[tuple[PhysicalPart, str | None]]:
    """Its moving parts depth first, each with the moving part that carries it, or None for the base.

    Raises InputError where the joints form a circle or two of them move one part.
    """
    names = [part.part.name for part in item.parts]
    carrier = {part.part.name: part.joint.parent if part.joint.parent in names else None for part in item.parts}
    ordered: list[tuple[PhysicalPart, str | None]] = []

    def visit(parent: str | None) -> None:
        for part in item.parts:
            if carrier[part.part.name] == parent and len(ordered) < len(item.parts):
                ordered.append((part, parent))
                visit(part.part.name)

    visit(None)
    if len(ordered) < len(item.parts) or len(set(names)) < len(names):
        raise InputError(
            f"the joints of {item.asset.name!r} are no tree: {', '.join(p.joint.name for p in item.parts)}",
            "every moving part hangs on one joint, and the chain of parents ends at the base",
        )
    return ordered


@dataclass(frozen=True)
class Layout:
    """owners: for every body id, the index of the object it belongs to, or -1 (world, table, statics come after);
    starts: index into qpos of each object's first number; sizes: how many numbers it has;
    start: (nq,) the scene as the file's keyframe `start` has it: at rest, closed
    """

    owners: tuple[int, ...]
    starts: tuple[int, ...]
    sizes: tuple[int, ...]
    start: Array

    def owner(self, body: int) -> int:
        """Index of the object that the body belongs to, or -1: the world, the table or something fixed."""
        return self.owners[body] if body < len(self.owners) else -1

    def poses(self, qpos: Array, objects: Sequence[PhysicalObject]) -> list[Pose]:
        """Where every object stands; an anchored or soft one where it was put."""
        free = [is_free(item) for item in objects]
        rows = [qpos[at : at + 7] if loose else None for at, loose in zip(self.starts, free, strict=True)]
        return [item.pose if row is None else poses_of(row)[0] for item, row in zip(objects, rows, strict=True)]

    def with_poses(self, qpos: Array, objects: Sequence[PhysicalObject], poses: Sequence[Pose]) -> Array:
        """`qpos` with the free objects at other poses."""
        moved = np.array(qpos, dtype=float)
        for item, at, pose in zip(objects, self.starts, poses, strict=True):
            if is_free(item):
                moved[at : at + 7] = qpos_of([pose])
        return moved


def layout(objects: Sequence[PhysicalObject], files: Path | None = None) -> Layout:
    """files: folder that the file names of soft bodies are relative to."""
    owners, starts, sizes, start = [-1] * FIRST_OBJECT, [], [], []
    for index, item in enumerate(objects):
        vertices = 0 if item.soft is None else len(soft_points(item.soft, files)[0])
        owners += [index] * (1 + len(item.parts) + vertices)
        own = [*item.pose.position, *item.pose.quat_wxyz] if is_free(item) else []
        starts.append(len(start))
        sizes.append(len(own) + len(item.parts) + 3 * vertices)
        start += [*own, *[0.0] * (len(item.parts) + 3 * vertices)]
    return Layout(tuple(owners), tuple(starts), tuple(sizes), np.array(start, dtype=float))


def is_free(item: PhysicalObject) -> bool:
    """Whether the object as a whole moves with a free joint."""
    return not item.asset.anchored and item.soft is None


def soft_points(soft: SoftBody, files: Path | None) -> tuple[Array, NDArray[np.int64]]:
    """(V, 3) points [m] in the object frame and (E, dim + 1) elements of a soft body."""
    if files is None:
        raise ValueError("a scene with soft bodies needs `files`, the folder of their points")
    with np.load(files / soft.file, allow_pickle=False) as data:
        points, elements = np.asarray(data["points"], dtype=float), np.asarray(data["elements"], dtype=np.int64)
    if points.ndim != 2 or points.shape[1] != 3 or elements.ndim != 2 or elements.shape[1] != soft.dim + 1:
        raise InputError(
            f"{soft.file}: points {points.shape}, elements {elements.shape}",
            f"a soft body of dimension {soft.dim} has points (V, 3) and elements (E, {soft.dim + 1})",
        )
    return points, elements


def qpos_of(poses: Sequence[Pose]) -> Array:
    """(7 n,) positions of n free bodies."""
    return np.array([value for pose in poses for value in (*pose.position, *pose.quat_wxyz)])


def poses_of(qpos: Array) -> list[Pose]:
    """Poses of the free bodies of (7 n,) positions."""
    return [
        Pose(position=tuple(row[:3]), quat_wxyz=tuple((np.array(row[3:]) / np.linalg.norm(row[3:])).tolist()))
        for row in np.asarray(qpos, dtype=float).reshape(-1, 7).tolist()
    ]
