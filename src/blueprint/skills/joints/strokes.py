"""Moving a part on its joint by hand: approach a contact, follow the joint's arc or line, let go, withdraw.

A stroke is one such contact. It is planned for every value of the joint that it passes, and may end short of what is
wanted: then the next stroke is planned from where the part really is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from blueprint.geometry.transforms import transform_points
from blueprint.skills.cell import Cell
from blueprint.skills.grasping.antipodal import GripperShape
from blueprint.skills.grasping.approach import LINE_STEPS, moved_along_z
from blueprint.skills.joints.contacts import Contact, grips, pushes
from blueprint.skills.joints.parts import Jointed, turned_about
from blueprint.skills.planning import motion
from blueprint.skills.planning.collision import CollisionWorld
from blueprint.skills.planning.motion import Limits
from blueprint.skills.planning.paths import plan
from blueprint.skills.primitives import CLOSE_S, HELD_M, OPEN_S, SQUEEZE_S, SkillError, Skills
from blueprint.skills.rollout import Rollout

Array = NDArray[np.float64]

STANDOFF_M = 0.06
BEFORE_M = 0.006  # in front of a surface, from where a push begins
LEAVE_M = 0.05  # how far the hand withdraws
TIGHT_M = 0.003  # kept from everything while a hand reaches for a handle
STEP_M = 0.012  # of the contact, between configurations along the joint
MIN_STEPS = 6
MARGIN = 0.02  # share of a joint's half range that a stroke keeps from the arm's limits
SWINGS = (1.0, 0.5, 0.0)  # how much of the part's turning the hand takes part in
PROGRESS = 0.25  # of what is left to do, below which a stroke is not worth it
NUDGES, NUDGE_M = 10, 0.0025
LEAD_S, CREEP = 0.15, 0.25  # how far ahead a joint's arrival is seen, and the share of the speed from then on
BRAKING = 7.5  # shares of the speed per second
GIVE_M = 0.003  # room behind a button: servos stay that far behind against its spring, and are nudged on
FOLLOW_SPEED, PRESS_SPEED = 0.10, 0.05  # of the tool [m/s]


@dataclass(frozen=True)
class Stroke:
    """approach, along, away: configurations (K, n); values: of the joint at each of `along`; swing: see `SWINGS`.

    full: it brings the joint all the way to what was wanted
    """

    part: Jointed
    contact: Contact
    swing: float
    approach: Array
    along: Array
    values: Array
    away: Array
    full: bool

    @property
    def reaches(self) -> float:
        return float(self.values[-1])


def strokes(
    skills: Skills, part: Jointed, qpos: Array, value: float, rng: np.random.Generator, *, push_first: bool = False
) -> Iterator[Stroke]:
    """Strokes from a state, those that bring the joint all the way to `value` first, then those that go far."""
    partial: list[Stroke] = []
    for contact in _contacts(skills, part, qpos, value, rng, push_first=push_first):
        best: Stroke | None = None
        for swing in SWINGS if contact.swings else SWINGS[:1]:
            found = _stroke(skills, part, qpos, contact, value, swing)
            if found is not None and found.full:
                yield found
                best = None
                break
            if found is not None and (best is None or len(found.along) > len(best.along)):
                best = found
        if best is not None:
            partial.append(best)
    start = part.value(qpos)
    partial.sort(key=lambda stroke: -abs(stroke.reaches - start))
    yield from (stroke for stroke in partial if abs(stroke.reaches - start) >= PROGRESS * abs(value - start))


def _contacts(
    skills: Skills, part: Jointed, qpos: Array, value: float, rng: np.random.Generator, *, push_first: bool
) -> list[Contact]:
    """Dials are gripped, buttons pushed, all else both."""
    direction = float(np.sign(value - part.value(qpos)))
    gripped = [] if part.kind == "button" else grips(part, skills.gripper, qpos, rng)
    pushed = [] if part.kind == "dial" else pushes(part, skills.gripper, qpos, direction, rng)
    return [*pushed, *gripped] if push_first else [*gripped, *pushed]


def tool_at(contact: Contact, part: Jointed, qpos: Array, value: float, swing: float) -> Array:
    """(4, 4) T_world_tool while the part is at `value`, the contact made in `qpos`."""
    moved = part.at(qpos, value)
    T = part.pose(moved)
    tool = T @ contact.T_part_tool
    if swing == 1.0 or part.slides:
        return tool
    _, axis = part.axis(moved)
    turned = turned_about(transform_points(T, contact.point), -(1 - swing) * (value - part.value(qpos)) * axis)
    return turned @ tool


def _stroke(skills: Skills, part: Jointed, qpos: Array, contact: Contact, value: float, swing: float) -> Stroke | None:
    """The stroke as far as the arm can follow it, or None."""
    arm, world, start = skills.arm, tight_world(skills.cell), part.value(qpos)
    tool = tool_at(contact, part, qpos, start, swing)
    at = arm.solve(tool, arm.home)
    if at is None or not arm.free(at, MARGIN):
        return None
    world.place(qpos)
    approach = _approach(skills, world, part, qpos, contact, at)
    if approach is None:
        return None
    travel = float(np.linalg.norm(part.moves(qpos, transform_points(part.pose(qpos), contact.point)[None])))
    travel = max(travel, 0.0 if part.slides else 0.02)  # at its axis a dial's grip turns on the spot
    count = max(MIN_STEPS, int(np.ceil(travel * abs(value - start) / STEP_M)))
    path, values, opening = [at], [start], contact.width
    for v in np.linspace(start, value, count + 1)[1:]:
        joints = arm.solve(tool_at(contact, part, qpos, float(v), swing), path[-1], iterations=15)
        if joints is None or np.abs(joints - path[-1]).max() > 0.35 or not arm.free(joints, MARGIN):
            break
        world.place(part.at(qpos, float(v)))
        if not touches_only(world, joints, opening, part):
            break
        path.append(joints)
        values.append(float(v))
    if part.kind == "button":
        further = tool_at(contact, part, qpos, value + float(np.sign(value - start)) * GIVE_M, swing)
        joints = arm.solve(further, path[-1], iterations=15)
        if values[-1] != value or joints is None or not touches_only(world, joints, opening, part):
            return None
    while len(path) > 2:
        away = _away(skills, world, part, qpos, contact, path[-1], values[-1])
        if away is not None:
            return Stroke(part, contact, swing, approach, np.array(path), np.array(values), away, values[-1] == value)
        del path[-2:], values[-2:]
    return None


def _approach(
    skills: Skills, world: CollisionWorld, part: Jointed, qpos: Array, contact: Contact, at: Array
) -> Array | None:
    """(K, n) from a standoff to the contact, or to just before the surface that will be pushed."""
    arm = skills.arm
    tool = arm.tool_pose(at)
    before, joints = tool, at
    if contact.way == "push":
        before = _shifted(tool, BEFORE_M * _out(part, qpos, contact))
        found = arm.line(tool, before, at, steps=1)
        if found is None:
            return None
        joints = found[-1]
    if not world.clear(joints, contact.opening):
        return None
    ends = [moved_along_z(before, -STANDOFF_M)]
    if contact.way == "push":
        ends.append(_shifted(before, STANDOFF_M * _out(part, qpos, contact)))
    for end in ends:
        back = arm.line(before, end, joints, steps=LINE_STEPS)
        if back is None or not all(world.clear(q, contact.opening) for q in back):
            continue
        skills.world.place(qpos)
        if skills.world.clear(back[-1], contact.opening):
            return back[::-1]
    return None


def _away(
    skills: Skills, world: CollisionWorld, part: Jointed, qpos: Array, contact: Contact, joints: Array, value: float
) -> Array | None:
    """(K, n) out of the contact with the part at `value`."""
    moved, arm = part.at(qpos, value), skills.arm
    tool = arm.tool_pose(joints)
    out = _out(part, moved, contact)
    ends = [moved_along_z(tool, -LEAVE_M)] if contact.way == "grip" else [_shifted(tool, LEAVE_M * out)]
    ends.append(_shifted(tool, LEAVE_M * out if contact.way == "grip" else BEFORE_M * out - LEAVE_M * tool[:3, 2]))
    world.place(moved)
    skills.world.place(moved)
    for end in ends:
        path = arm.line(tool, end, joints, steps=LINE_STEPS)
        if path is None or not all(touches_only(world, q, contact.opening, part) for q in path):
            continue
        if skills.world.clear(path[-1], contact.opening):
            return path
    return None


def touches_only(world: CollisionWorld, joints: Array, opening: float, part: Jointed) -> bool:
    """Whether nothing comes close but the hand and the part that it works on."""
    if world.clear(joints, opening):
        return True
    hand = hand_names(part.cell)
    return all(
        (a in hand and b in part.names) or (b in hand and a in part.names) for a, b in world.blocking(joints, opening)
    )


@lru_cache(maxsize=8)
def tight_world(cell: Cell) -> CollisionWorld:
    """The scene for motions close to things."""
    return CollisionWorld(cell, clearance_m=TIGHT_M)


@lru_cache(maxsize=8)
def hand_names(cell: Cell) -> frozenset[str]:
    """Bodies of the hand and its fingers."""
    model = cell.model
    inside = [int(model.site_bodyid[cell.tool_site])]
    for body in range(inside[0] + 1, model.nbody):
        if int(model.body_parentid[body]) in inside:
            inside.append(body)
    return frozenset(model.body(body).name for body in inside)


def _out(part: Jointed, qpos: Array, contact: Contact) -> Array:
    return part.pose(qpos)[:3, :3] @ contact.out


def _shifted(T: Array, by: Array) -> Array:
    out = T.copy()
    out[:3, 3] += by
    return out


# ------------------------------------------------------------------ doing it


def perform(
    skills: Skills, rollout: Rollout, stroke: Stroke, done: Callable[[float], bool], arrived: Callable[[float], bool]
) -> None:
    """One stroke, until the joint has arrived. done: whether its value is good enough. Raises SkillError."""
    contact, part = stroke.contact, stroke.part
    skills.world.place(rollout.qpos)
    path = plan(skills.world, rollout.commanded, stroke.approach[0], contact.opening)
    if path is None:
        raise SkillError("no_path", f"no collision-free motion to {part.joint}")
    rollout.run("reach", motion.time_waypoints(path, skills.fast, rollout.fps), contact.opening)
    start = rollout.qpos
    _follow(skills, rollout, "approach", stroke.approach, contact.opening, skills.slow)
    opening = 0.0
    segment = "push" if contact.way == "push" else "move"
    if contact.way == "grip":
        closing = round(CLOSE_S * rollout.fps)
        rollout.hold("grasp", closing, np.linspace(contact.opening, opening, closing + 1)[1:])
        rollout.hold("grasp", round(SQUEEZE_S * rollout.fps), opening)
        if skills.cell.opening(rollout.qpos) < HELD_M:
            raise SkillError("grasp_missed", f"the fingers closed without the handle of {part.joint} between them")
    speed = PRESS_SPEED if part.kind == "button" else FOLLOW_SPEED
    limits = replace(skills.slow, tool_speed=speed)
    first = np.stack([rollout.commanded, stroke.along[0]])
    if np.abs(first[0] - first[1]).max() > 1e-6:
        _follow(skills, rollout, segment, first, opening, limits)
    _drive(rollout, segment, part, _targets(skills, rollout, stroke.along, limits), opening, arrived)
    if stroke.full:
        _nudge(skills, rollout, stroke, start, done, segment)
    if contact.way == "grip":
        frames = max(2, round(OPEN_S * rollout.fps))
        rollout.hold("release", frames, np.linspace(skills.cell.opening(rollout.qpos), contact.opening, frames))
    back = stroke.away + (rollout.commanded - stroke.away[0])
    _follow(skills, rollout, "retreat", back, contact.opening, skills.slow)


def _nudge(
    skills: Skills, rollout: Rollout, stroke: Stroke, start: Array, done: Callable[[float], bool], segment: str
) -> None:
    """A little further along the joint, as long as what is wanted is not reached: servos give way to springs."""
    part, contact = stroke.part, stroke.contact
    step = stroke.values[-1] - stroke.values[-2]
    unit = float(np.linalg.norm(part.moves(start, transform_points(part.pose(start), contact.point)[None])))
    step = float(np.sign(step)) * min(NUDGE_M / max(unit, 0.02), abs(step))
    value = stroke.reaches
    for _ in range(NUDGES):
        if done(part.value(rollout.qpos)):
            return
        value += step
        tool = tool_at(contact, part, part.at(start, stroke.values[0]), value, stroke.swing)
        joints = skills.arm.solve(tool, rollout.commanded)
        if joints is None or np.abs(joints - rollout.commanded).max() > 0.1:
            return
        world = tight_world(skills.cell)
        world.place(rollout.qpos)
        if not touches_only(world, joints, contact.width, part):
            return
        frames = -(-rollout.fps // 5)
        rollout.run(segment, np.linspace(rollout.commanded, joints, frames + 1)[1:], 0.0)


def _follow(skills: Skills, rollout: Rollout, segment: str, path: Array, opening: float, limits: Limits) -> None:
    rollout.run(segment, _targets(skills, rollout, path, limits), opening)


def _drive(
    rollout: Rollout, segment: str, part: Jointed, targets: Array, opening: float, arrived: Callable[[float], bool]
) -> None:
    """Along these targets until the joint has arrived, slowly where it soon will: an arm lags behind its commands."""
    at, speed, before = -1.0, 1.0, part.value(rollout.qpos)
    while at < len(targets) - 1:
        value = part.value(rollout.qpos)
        soon = value + (value - before) * rollout.fps * LEAD_S
        wanted = 0.0 if arrived(value) else CREEP if arrived(soon) else 1.0
        speed += float(np.clip(wanted - speed, -BRAKING / rollout.fps, BRAKING / rollout.fps))
        if speed <= 0.0:
            return
        at, before = min(at + speed, len(targets) - 1.0), value
        low = max(int(np.ceil(at)) - 1, 0)
        rollout.run(segment, (targets[low] + (at - low) * (targets[int(np.ceil(at))] - targets[low]))[None], opening)


def _targets(skills: Skills, rollout: Rollout, path: Array, limits: Limits) -> Array:
    """(F, n), a row per frame: a smooth motion along dense configurations (K, n)."""
    places = np.array([skills.arm.tool_pose(q)[:3, 3] for q in path])
    length = float(np.linalg.norm(np.diff(places, axis=0), axis=1).sum())
    return motion.time_path(path, length, limits, rollout.fps)


# ------------------------------------------------------------------ reach

PROBES = 3  # contacts per part by which a base pose is judged


def probes(cell: Cell, part: Jointed, gripper: GripperShape, rng: np.random.Generator) -> list[list[Array]]:
    """Tool poses (4, 4) with which the part can be worked on, as it was captured and half way open."""
    qpos, half = cell.home_qpos, part.far / 2
    direction = float(np.sign(part.far))
    gripped = [] if part.kind == "button" else grips(part, gripper, qpos, rng)
    pushed = [] if part.kind == "dial" or gripped else pushes(part, gripper, qpos, direction, rng)
    contacts = [*gripped, *pushed][:PROBES]
    values = (0.0, half) if part.kind == "panel" else (0.0,)
    return [[tool_at(one, part, qpos, value, 1.0) for one in contacts] for value in values if contacts]
