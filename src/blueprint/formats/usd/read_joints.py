"""UsdPhysics joints: frames, axes and limits, as the scene stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.spatial.transform import Rotation

from blueprint.formats.given.scene import GivenJoint, rigid
from blueprint.geometry.transforms import Array, invert

if TYPE_CHECKING:
    from blueprint.formats.usd.read import UsdScene

AXES = {"X": 0, "Y": 1, "Z": 2}
FREE_TURN = float(np.pi)


def read_joints(scene: UsdScene, prims: list[Any], index: dict[Any, int]) -> list[GivenJoint]:
    """index: path of each rigid body -> its number. Joints of other types hold rigidly or are left out, with a note."""
    from pxr import UsdPhysics

    joints = []
    for prim in prims:
        joint = UsdPhysics.Joint(prim)
        if joint.GetJointEnabledAttr().Get() is False:
            scene.notes.append(f"joint {prim.GetName()} is disabled")
            continue
        ends = [_end(scene, rel, index) for rel in (joint.GetBody0Rel(), joint.GetBody1Rel())]
        if ends[0][0] == ends[1][0]:
            continue
        frames = [
            _frame(scene, end, joint_pos.Get(), joint_rot.Get())
            for (_, end), joint_pos, joint_rot in zip(
                ends,
                (joint.GetLocalPos0Attr(), joint.GetLocalPos1Attr()),
                (joint.GetLocalRot0Attr(), joint.GetLocalRot1Attr()),
                strict=True,
            )
        ]
        made = _joint(scene, prim, ends[0][0], ends[1][0], frames)
        if made is not None:
            joints.append(made)
    return joints


def _end(scene: UsdScene, relation: Any, index: dict[Any, int]) -> tuple[int, Any]:
    """(number of the body, prim in whose frame the joint is given); -1 and maybe None for the world."""
    targets = relation.GetTargets()
    prim = scene.stage.GetPrimAtPath(targets[0]) if targets else None
    at = prim
    while at and not at.IsPseudoRoot():
        if at.GetPath() in index:
            return index[at.GetPath()], prim
        at = at.GetParent()
    return -1, prim if prim else None


def _frame(scene: UsdScene, prim: Any, position: Any, turn: Any) -> Array:
    """(4, 4) rigid frame of the joint in the world, given in `prim` (None: in the stage's own frame)."""
    T = scene.pose(prim) if prim else scene.T_up @ np.diag([scene.unit, scene.unit, scene.unit, 1.0])
    local = np.eye(4)
    local[:3, 3] = (0, 0, 0) if position is None else tuple(position)
    out, _ = rigid(T)
    out = out.copy()
    out[:3, 3] = (T @ np.array([*local[:3, 3], 1.0]))[:3]
    if turn is not None:
        real, imaginary = turn.GetReal(), tuple(turn.GetImaginary())
        out[:3, :3] = out[:3, :3] @ Rotation.from_quat([real, *imaginary], scalar_first=True).as_matrix()
    return out


def _joint(scene: UsdScene, prim: Any, a: int, b: int, frames: list[Array]) -> GivenJoint | None:
    from pxr import UsdPhysics

    name = prim.GetName()
    kind = "fixed"
    if prim.IsA(UsdPhysics.RevoluteJoint):
        kind, typed = "revolute", UsdPhysics.RevoluteJoint(prim)
    elif prim.IsA(UsdPhysics.PrismaticJoint):
        kind, typed = "prismatic", UsdPhysics.PrismaticJoint(prim)
    else:
        if not prim.IsA(UsdPhysics.FixedJoint):
            scene.notes.append(f"joint {name} of type {prim.GetTypeName()} holds rigidly here")
        return GivenJoint(name, "fixed", a, b) if b >= 0 else GivenJoint(name, "fixed", b, a)
    number = AXES.get(str(typed.GetAxisAttr().Get() or "X"), 0)
    axis = frames[0][:3, number]
    between = invert(frames[0]) @ frames[1]
    if kind == "revolute":
        turned = Rotation.from_matrix(between[:3, :3]).as_rotvec()[number]
        to_si = np.pi / 180
    else:
        turned = between[number, 3]
        to_si = scene.unit
    limits = _limits(scene, name, kind, typed, to_si, float(turned))
    if limits is None:
        return GivenJoint(name, "fixed", a, b) if b >= 0 else GivenJoint(name, "fixed", b, a)
    if b < 0:  # the world is named second: the moving body is the first, which turns the other way
        a, b, axis = b, a, -axis
    x, y, z = axis.tolist()
    u, v, w = frames[1][:3, 3].tolist()
    return GivenJoint(name, kind, a, b, (x, y, z), (u, v, w), limits)


def _limits(scene: UsdScene, name: str, kind: str, typed: Any, to_si: float, at: float) -> tuple[float, float] | None:
    """Relative to where it stands now; None for a slide that nothing stops."""
    lower, upper = typed.GetLowerLimitAttr().Get(), typed.GetUpperLimitAttr().Get()
    low = -np.inf if lower is None else float(lower) * to_si
    high = np.inf if upper is None else float(upper) * to_si
    if np.isfinite(low) and np.isfinite(high) and low <= high:
        return low - at, high - at
    if kind == "prismatic":
        scene.notes.append(f"joint {name} slides without limits; it holds rigidly here")
        return None
    scene.notes.append(f"joint {name} turns without limits; half a turn each way is kept")
    return -FREE_TURN, FREE_TURN
