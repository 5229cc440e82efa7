"""What a robot's file says about itself when it is moved: its arm, its gripper, its tool.
What no file holds is assumed, and told.
"""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from blueprint.backends.robots.mjcf import SERVO_STIFFNESS
from blueprint.backends.robots.sheet import GripperSheet, Limit, Limits, RobotSheet, Servo
from blueprint.backends.robots.trial import (
    TIMESTEP_S,
    compiled_without_gravity,
    pad_distance,
    solid_geoms,
    within_limits,
)
from blueprint.core.errors import InputError
from blueprint.geometry.transforms import transform_points

if TYPE_CHECKING:
    import mujoco

Array = NDArray[np.float64]

GRIP_N = 20.0  # per finger, where the file's own gripper is weaker or there is none: most small grippers hold that
WEAK_N = 10.0
SERVO_HZ, SERVO_DAMPING = 6.0, 1.0  # of servos made for a file that has none: natural frequency, damping ratio
ARMATURE_SHARE = 0.3  # rotor inertia as a share of the link inertia that a joint feels, where the file has none
VELOCITY_RAD_S, SPEED_UP_S, JERK_RATIO = 1.5, 0.4, 500.0  # assumed limits; the ratio is the Panda's jerk / acceleration
CONTACT_SAMPLES, ALWAYS = 60, 0.7  # random configurations; share of them in which neighbours touch
SETTLE_S = 0.8
NEAR_M = 0.03  # pads come at least this near to each other
TIP_M = 0.01  # the tool point lies this far behind the finger tips, or in the middle of shorter pads
FACE_M = 0.002  # points this near the closing plane belong to a pad's face
SNAP_DEG = 12.0  # tool axes this near an axis of the palm are that axis


@dataclass
class Found:
    """What was found so far, told and assumed in words."""

    joints: list[str]
    palm: str
    fingers: list[str]
    told: list[str] = field(default_factory=list)
    assumed: list[str] = field(default_factory=list)


def arm_and_palm(spec: mujoco.MjSpec, model: mujoco.MjModel) -> Found:
    """Follow the moving bodies from the base until they part: there is the palm. Raises InputError with a cure."""
    import mujoco

    kind = lambda j: mujoco.mjtJoint(int(model.jnt_type[j]))  # noqa: E731
    if any(kind(j) in (mujoco.mjtJoint.mjJNT_FREE, mujoco.mjtJoint.mjJNT_BALL) for j in range(model.njnt)):
        raise InputError(
            "the file has a free or ball joint",
            "give the robot alone, its base fixed, or name its first body: --arm BODY",
        )
    moves = np.zeros(model.nbody, dtype=int)
    for body in range(model.nbody - 1, 0, -1):
        moves[body] += model.body_jntnum[body]
        moves[model.body_parentid[body]] += moves[body]
    body, joints = 0, list[int]()
    while True:
        children = [b for b in range(1, model.nbody) if model.body_parentid[b] == body and moves[b]]
        if len(children) != 1:
            break
        body = children[0]
        joints += range(model.body_jntadr[body], model.body_jntadr[body] + model.body_jntnum[body])
    names = [model.joint(j).name for j in joints]
    if body == 0 and children:
        roots = ", ".join(model.body(b).name for b in children)
        raise InputError(f"the file holds {len(children)} moving things: {roots}", "name the arm: --arm BODY")
    if not joints:
        raise InputError("nothing in the file moves", "it must hold an arm with joints")
    if not children:
        raise InputError(
            f"no gripper with two fingers after {' > '.join(names)}",
            "the palm must carry at least two moving fingers; one moving jaw is not supported. "
            "Where arm and gripper are two files, join them first (MuJoCo: <attach>)",
        )
    slides = [model.joint(j).name for j in joints if kind(j) != mujoco.mjtJoint.mjJNT_HINGE]
    if slides or len(joints) < 5:
        raise InputError(
            f"the arm has {len(joints)} joints, of which {len(slides)} slide: {', '.join(names)}",
            "an arm of 5 or more revolute joints is needed to place a hand freely",
        )
    found = Found(names, model.body(body).name, [model.body(b).name for b in children])
    found.told += [f"arm: {' > '.join(names)}", f"palm: {found.palm}, with {', '.join(found.fingers)}"]
    for j in joints:
        if not model.jnt_limited[j]:
            joint = spec.joint(model.joint(j).name)
            joint.limited, joint.range = 1, [-np.pi, np.pi]
            found.assumed.append(f"{joint.name} has no limits in the file: -180 to 180 degrees assumed")
    return found


def touching_always(spec: mujoco.MjSpec, model: mujoco.MjModel, found: Found) -> None:
    """Pairs of the arm's bodies that touch in nearly every configuration cannot be meant to collide: excluded."""
    import mujoco

    data, rng, counts = mujoco.MjData(model), np.random.default_rng(0), Counter[tuple[int, int]]()
    addresses = [int(model.joint(name).qposadr[0]) for name in found.joints]
    ranges = np.array([model.joint(name).range for name in found.joints])
    for _ in range(CONTACT_SAMPLES):
        data.qpos[:] = within_limits(model)
        data.qpos[addresses] = rng.uniform(ranges[:, 0], ranges[:, 1])
        mujoco.mj_kinematics(model, data)
        mujoco.mj_collision(model, data)
        bodies = np.sort(model.geom_bodyid[data.contact.geom], axis=1)
        counts.update({(int(a), int(b)) for a, b in bodies})
    hand = _below(model, model.body(found.palm).id)
    for (a, b), count in sorted(counts.items()):
        if count >= ALWAYS * CONTACT_SAMPLES and not {a, b} <= hand:  # fingers are meant to touch
            names = (model.body(a).name, model.body(b).name)
            spec.add_exclude(bodyname1=names[0], bodyname2=names[1])
            found.told.append(
                f"{names[0]} and {names[1]} touch in nearly every configuration: not counted as a collision"
            )


def gripper_drive(spec: mujoco.MjSpec, model: mujoco.MjModel, found: Found) -> dict[str, object]:
    """Which actuator closes the fingers, coupled how; made where the file has none. Raises InputError."""
    import mujoco

    below = _below(model, model.body(found.palm).id) - {model.body(found.palm).id}
    joints = [j for j in range(model.njnt) if int(model.jnt_bodyid[j]) in below]
    names = [model.joint(j).name for j in joints]
    drives = [a for a in range(model.nu) if _driven(model, a) & {*joints}]
    ties = [e for e in range(model.neq) if model.eq_type[e] == mujoco.mjtEq.mjEQ_JOINT]
    tied = {*model.eq_obj1id[ties].tolist(), *model.eq_obj2id[ties].tolist()}
    out: dict[str, object] = {"finger_joints": tuple(names)}
    if len(drives) > 2 or (len(drives) == 2 and len(joints) != 2):
        raise InputError(f"{len(drives)} actuators move the fingers", "one motor, or one per finger, can be driven")
    first = joints[0] if not drives else min(_driven(model, drives[0]) & {*joints})
    if len(joints) == 2 and not tied & {*joints}:
        other = next(j for j in joints if j != first)
        (a, b), (c, d) = model.jnt_range[first], model.jnt_range[other]
        if np.allclose([a, b], [-d, -c], atol=1e-4):
            out["mirrored"], out["mirror_sign"] = (model.joint(first).name, model.joint(other).name), -1.0
        elif np.allclose([a, b], [c, d], atol=1e-4):
            out["mirrored"], out["mirror_sign"] = (model.joint(first).name, model.joint(other).name), 1.0
        else:
            raise InputError(
                f"the finger joints {names[0]} and {names[1]} are not coupled, nor do their ranges mirror each other",
                "couple them: an <equality> in MJCF, a <mimic> in URDF",
            )
        found.assumed.append(f"{' and '.join(names)} are driven by one motor, as their ranges mirror each other")
    elif not drives and len(joints) > 2:
        raise InputError("no actuator moves the fingers", "add the gripper's <actuator> to the MJCF")
    slide = int(model.jnt_type[first]) == mujoco.mjtJoint.mjJNT_SLIDE
    if drives:
        out["actuator"] = model.actuator(drives[0]).name
        span = float(np.ptp(model.actuator_ctrlrange[drives[0]]))
        weak = slide and abs(model.actuator_gainprm[drives[0], 0]) * span < WEAK_N
    else:
        out["actuator"] = "gripper"
        servo = spec.add_actuator(name="gripper", target=model.joint(first).name, trntype=mujoco.mjtTrn.mjTRN_JOINT)
        servo.set_to_position(SERVO_STIFFNESS)
        servo.ctrllimited, servo.ctrlrange = 1, model.jnt_range[first]
        weak = True
    if weak:
        out["finger_stiffness"] = SERVO_STIFFNESS if slide else GRIP_N
        out["finger_range"] = _travel(model, drives[0] if drives else -1, first)
        found.assumed.append(f"the file's gripper has no motor or a weak one: a servo that grips with {GRIP_N:.0f} N")
    found.told.append(f"gripper: {out['actuator']} drives {', '.join(names)}")
    return out


def pads_and_tool(model: mujoco.MjModel, found: Found, actuator: str) -> dict[str, object]:
    """Open and close the hand and see which bodies meet, along which line, where. Raises InputError."""
    ends = _driven_states(model, found, actuator)
    tops = [_below(model, model.body(name).id) for name in found.fingers]
    solid = [[b for b in sorted(top) if solid_geoms(model, b)] for top in tops]
    best, pads = 0.0, None
    for one, other in itertools.combinations(range(len(tops)), 2):
        for a, b in itertools.product(solid[one], solid[other]):
            names = (model.body(a).name, model.body(b).name)
            gaps = sorted(pad_distance(model, data, names) for data in ends)
            score = gaps[1] - gaps[0]
            if score > best and gaps[0] < NEAR_M:
                best, pads = score, (names, (found.fingers[one], found.fingers[other]))
    if pads is None:
        raise InputError(
            "no two fingers close on each other",
            "their bodies need collision geometry, and the actuator's range must open and close them",
        )
    shut, wide = sorted(ends, key=lambda data: pad_distance(model, data, pads[0]))
    a, b = (model.body(name).id for name in pads[0])
    palm = model.body(found.palm).id
    R = shut.xmat[palm].reshape(3, 3)
    y = R.T @ ((wide.xpos[a] - wide.xpos[b]) - (shut.xpos[a] - shut.xpos[b]))
    y = _snapped(y)
    faces = [_face(model, shut, body, palm, sign * y) for body, sign in ((a, -1.0), (b, 1.0))]
    middle = np.concatenate(faces).mean(axis=0)
    z = middle - (middle @ y) * y
    z = _snapped(z - (z @ y) * y)
    along = np.concatenate([face @ z for face in faces])
    tip = min(float((face @ z).max()) for face in faces)
    tool = middle - (middle @ z) * z + (tip - min(TIP_M, (tip - along.min()) / 2)) * z
    quat = Rotation.from_matrix(np.stack([np.cross(y, z), y, z], axis=1)).as_quat(scalar_first=True)
    own = [points @ z for g in solid_geoms(model, palm) for points in [_geom_points(model, shut, g, palm)]]
    depth = float(tool @ z - max((float(p.max()) for p in own), default=tool @ z - 0.04))
    wide_m = pad_distance(model, wide, pads[0])
    found.told.append(f"pads: {' and '.join(pads[0])}; they open by {1000 * wide_m:.1f} mm")
    found.told.append(
        f"tool: {np.round(1000 * tool, 1).tolist()} mm on {found.palm}, closing along {np.round(y, 3).tolist()}"
    )
    return {
        "palm": found.palm,
        "tool_position": tuple(np.round(tool, 6).tolist()),
        "tool_quat": tuple(np.round(quat, 8).tolist()),
        "finger_depth_m": round(max(depth, 0.01), 4),
        "finger_bodies": pads[1],
        "pads": pads[0],
        "opening": wide_m,
    }


def arm_servo(model: mujoco.MjModel, found: Found, actuators: dict[str, int]) -> Servo | None:
    """None where the file's own position servos will do; else servos made to the arm's inertia."""
    import mujoco

    own = [actuators.get(name, -1) for name in found.joints]
    if all(a >= 0 and model.actuator_biasprm[a, 1] < 0 for a in own) and _tracks(model, found, own):
        found.told.append("servos: the file's own")
        return None
    data = mujoco.MjData(model)
    felt = np.zeros(len(found.joints))
    dofs = [int(model.joint(name).dofadr[0]) for name in found.joints]
    rng, ranges = np.random.default_rng(0), np.array([model.joint(name).range for name in found.joints])
    full = np.zeros((model.nv, model.nv))
    for _ in range(40):
        for name, value in zip(found.joints, rng.uniform(ranges[:, 0], ranges[:, 1]), strict=True):
            data.qpos[model.joint(name).qposadr] = value
        mujoco.mj_forward(model, data)
        mujoco.mj_fullM(model, data, full)
        felt = np.maximum(felt, np.diag(full)[dofs])
    armature = np.maximum(model.dof_armature[dofs], ARMATURE_SHARE * felt)
    total, rate = felt - model.dof_armature[dofs] + armature, 2 * np.pi * SERVO_HZ
    reason = f"made to the arm's inertia: {SERVO_HZ:.0f} Hz, critically damped; the file has none, or its own lag"
    found.assumed.append(f"servos {reason}")
    rounded = lambda values: tuple(np.round(values, 3).tolist())  # noqa: E731
    return Servo(
        stiffness=rounded(total * rate**2),
        damping=rounded(2 * SERVO_DAMPING * total * rate),
        force=rounded(np.maximum(total * rate**2 * 0.5, 10.0)),
        armature=rounded(armature),
        source=reason,
    )


def limits(found: Found, velocities: dict[str, float], reach_m: float, opening_m: float) -> Limits:
    """From a URDF where it has them, else assumed."""
    count = len(found.joints)
    if all(velocities.get(name, 0.0) > 0 for name in found.joints):
        velocity = Limit(values=tuple(velocities[name] for name in found.joints), source="the URDF's <limit velocity>")
    else:
        velocity = Limit(values=(VELOCITY_RAD_S,) * count, source="assumed: the file has no speeds; see the datasheet")
        found.assumed.append(f"joint speeds: {VELOCITY_RAD_S} rad/s; write the datasheet's into the sheet")
    speed_up = tuple(v / SPEED_UP_S for v in velocity.values)
    found.assumed.append(f"accelerations: full speed in {SPEED_UP_S} s; jerk: {JERK_RATIO:.0f}/s of it, as the Panda's")
    return Limits(
        velocity_rad_s=velocity,
        acceleration_rad_s2=Limit(values=speed_up, source=f"assumed: full speed in {SPEED_UP_S} s"),
        jerk_rad_s3=Limit(values=tuple(JERK_RATIO * a for a in speed_up), source="assumed: the Panda's ratio, 500/s"),
        reach_m=Limit(values=(round(reach_m, 3),), source="measured: farthest tool point over random configurations"),
        max_opening_m=Limit(values=(round(opening_m, 4),), source="measured: between the pads"),
        grip_force_n=Limit(values=(GRIP_N,), source="assumed: per finger, for grippers without an own motor"),
    )


def sheet(
    name: str,
    title: str,
    licence: str,
    base: str,
    found: Found,
    parts: dict[str, object],
    made: Limits,
    servo: Servo | None,
) -> RobotSheet:
    """With every joint in the middle of its range as home, until a better one is found."""
    return RobotSheet(
        name=name,
        title=title,
        licence=licence,
        mjcf="robot.xml",
        base_body=base,
        joints=tuple(found.joints),
        actuators=tuple(found.joints),
        home=(0.0,) * len(found.joints),
        limits=made,
        gripper=GripperSheet.model_validate({k: v for k, v in parts.items() if k != "opening"}),
        servo=servo,
    )


# ------------------------------------------------------------------ parts


def _below(model: mujoco.MjModel, root: int) -> set[int]:
    inside = {root}
    for body in range(root + 1, model.nbody):
        if int(model.body_parentid[body]) in inside:
            inside.add(body)
    return inside


def _driven(model: mujoco.MjModel, actuator: int) -> set[int]:
    """Joints that an actuator moves, by itself or by a tendon."""
    import mujoco

    target, kind = int(model.actuator_trnid[actuator, 0]), mujoco.mjtTrn(int(model.actuator_trntype[actuator]))
    if kind == mujoco.mjtTrn.mjTRN_JOINT:
        return {target}
    if kind != mujoco.mjtTrn.mjTRN_TENDON:
        return set()
    wraps = range(model.tendon_adr[target], model.tendon_adr[target] + model.tendon_num[target])
    return {int(model.wrap_objid[w]) for w in wraps if model.wrap_type[w] == mujoco.mjtWrap.mjWRAP_JOINT}


def _travel(model: mujoco.MjModel, actuator: int, joint: int) -> tuple[float, float]:
    """Range of what a gripper's actuator moves: a joint, or a tendon that sums joints up."""
    import mujoco

    if actuator < 0 or model.actuator_trntype[actuator] != mujoco.mjtTrn.mjTRN_TENDON:
        return float(model.jnt_range[joint, 0]), float(model.jnt_range[joint, 1])
    tendon = int(model.actuator_trnid[actuator, 0])
    wraps = range(model.tendon_adr[tendon], model.tendon_adr[tendon] + model.tendon_num[tendon])
    ends = sum(model.wrap_prm[w] * model.jnt_range[model.wrap_objid[w]] for w in wraps)
    return float(np.min(ends)), float(np.max(ends))


def _driven_states(model: mujoco.MjModel, found: Found, actuator: str) -> list[mujoco.MjData]:
    """The hand at both ends of its actuator's range, at rest, without gravity."""
    import mujoco

    quiet, states = compiled_without_gravity(model), []
    drive = quiet.actuator(actuator).id
    for value in quiet.actuator_ctrlrange[drive]:
        data = mujoco.MjData(quiet)
        data.qpos[:] = within_limits(quiet)
        data.ctrl[drive] = value
        mujoco.mj_step(quiet, data, round(SETTLE_S / TIMESTEP_S))
        mujoco.mj_forward(quiet, data)
        states.append(data)
    return states


def _snapped(v: Array) -> Array:
    """A unit vector, or the axis that it nearly is."""
    v = v / np.linalg.norm(v)
    k = int(np.abs(v).argmax())
    return np.eye(3)[k] * np.sign(v[k]) if abs(v[k]) > np.cos(np.deg2rad(SNAP_DEG)) else v


def _geom_points(model: mujoco.MjModel, data: mujoco.MjData, geom: int, frame: int) -> Array:
    """(V, 3) corners of a collider in the frame of a body."""
    from blueprint.skills.grasping.solids import corners

    body = int(model.geom_bodyid[geom])
    world = corners(model, geom) @ data.xmat[body].reshape(3, 3).T + data.xpos[body]
    T = np.eye(4)
    T[:3, :3] = data.xmat[frame].reshape(3, 3).T
    T[:3, 3] = -T[:3, :3] @ data.xpos[frame]
    return transform_points(T, world)


def _face(model: mujoco.MjModel, data: mujoco.MjData, body: int, palm: int, inward: Array) -> Array:
    """(V, 3) the pad's corners that lie foremost in the closing direction, in the palm's frame."""
    points = np.concatenate([_geom_points(model, data, g, palm) for g in solid_geoms(model, body)])
    ahead = points @ inward
    return points[ahead > ahead.max() - FACE_M]


def _tracks(model: mujoco.MjModel, found: Found, own: list[int]) -> bool:
    """Whether the file's servos follow a move of 0.2 rad in a second to 0.02 rad, gravity compensated."""
    import mujoco

    quiet = compiled_without_gravity(model)
    data = mujoco.MjData(quiet)
    addresses = [int(quiet.joint(name).qposadr[0]) for name in found.joints]
    middle = np.array([quiet.joint(name).range for name in found.joints]).mean(axis=1)
    data.qpos[addresses], data.ctrl[own] = middle, middle
    steps = round(1.0 / TIMESTEP_S)
    for k in range(steps):
        data.ctrl[own] = middle + 0.2 * (k + 1) / steps
        mujoco.mj_step(quiet, data)
    mujoco.mj_step(quiet, data, steps // 4)
    return bool(np.abs(data.qpos[addresses] - middle - 0.2).max() < 0.02)
