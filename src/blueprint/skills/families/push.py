"""Things that slide on the table: pushed by the closed fingers, or dragged nearer to the robot by a grip.

A push goes straight into a face of the thing, which keeps it from turning; a round thing is pushed towards its goal.
It is short, and the next one starts from where the thing then lies. Nothing is lifted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from blueprint.core.errors import IntegrityError
from blueprint.geometry.transforms import transform_points
from blueprint.model.task import Family, Goal, Task
from blueprint.skills.families import Proposal, Way
from blueprint.skills.grasping.approach import Approach, moved_along_z, raised
from blueprint.skills.grasping.solids import solid
from blueprint.skills.joints.parts import outline
from blueprint.skills.mounting import edge_distance
from blueprint.skills.placement import footprint, height_range, outline_gap
from blueprint.skills.planning import motion
from blueprint.skills.planning.paths import plan
from blueprint.skills.primitives import CLOSE_S, HELD_M, OPEN_S, SQUEEZE_S, SkillError
from blueprint.skills.rollout import Rollout
from blueprint.skills.scene import TaskScene

Array = NDArray[np.float64]

TEMPLATES: dict[Family, tuple[str, ...]] = {
    "push": ("push the {object} to the {where} of the table", "slide the {object} to the {where} of the table"),
    "pull": ("pull the {object} closer", "drag the {object} towards you", "pull the {object} to the {where}"),
}
RADIUS_M = 0.03  # of the region
PUSH_MOVE_M, PULL_MOVE_M = (0.1, 0.22), (0.09, 0.16)  # how far from its start a thing is sent
SPOTS, SPOTS_TRIED = 80, 15
ROOM_M = 0.012  # between the thing on its way and the others, beyond what they may be moved by
EDGE_M = 0.04
LEAST_HEIGHT_M = 0.028  # of what a tilted finger can push against
BASE_M = 0.02  # a thing whose base is narrower than that rolls or falls
NEAR_TABLE_M = 0.004  # points this low belong to the base
FACE_M = 0.03  # shorter edges of the outline are no face to push
ABOVE_TABLE_M = 0.005  # of the finger tips
BEHIND_M = 0.03  # where a push begins, behind the thing
CLOSE_ENOUGH_M = 0.012
STROKES = 14
MANNERS = ((40.0, 0.08), (30.0, 0.05), (50.0, 0.05), (40.0, 0.03))  # tilt of the hand [deg], longest stroke [m]
PUSH_SPEED = 0.08  # of the tool [m/s]
WAYS_TRIED = 30
LEAVE_M = 0.07
SLIP_M = 0.01  # room that a drag is planned with: a thing gives way as it is gripped
BEARS_M = 0.0005  # by which the hand goes lower while it drags, lest the thing hang


def propose(scene: TaskScene, family: Family, rng: np.random.Generator) -> Iterator[Proposal]:
    """Every free thing, to a spot with room on the way; to be pulled, one nearer to the robot."""
    for name in scene.cell.objects:
        task = f"{family}-{name}"
        reason = _unfit(scene, name, family)
        yield Proposal(name, None, task, reason) if reason else _spot(scene, name, family, rng)


def _unfit(scene: TaskScene, name: str, family: Family) -> str:
    cell = scene.cell
    T = cell.pose(cell.home_qpos, name)
    points = transform_points(T, solid(cell.model, cell.body(name)).vertices)
    low, high = height_range(cell, name, T)
    if low > ABOVE_TABLE_M:
        return "it does not stand on the table"
    if family == "pull":
        return "" if scene.grasps(name) else "it cannot be grasped: too wide for the gripper or out of reach"
    if high < LEAST_HEIGHT_M:
        return f"it is {1000 * high:.0f} mm high: too flat to be pushed"
    base = points[points[:, 2] < low + NEAR_TABLE_M, :2]
    spread = (
        np.sqrt(np.maximum(np.linalg.eigvalsh(np.cov((base - base.mean(axis=0)).T)), 0.0)) if len(base) > 2 else [0.0]
    )
    return "it would roll or fall: its base is too narrow" if 2 * float(np.min(spread)) < BASE_M else ""


def _spot(scene: TaskScene, name: str, family: Family, rng: np.random.Generator) -> Proposal:
    """The first of the roomiest random spots to which there is a way."""
    cell, task, qpos = scene.cell, f"{family}-{name}", scene.cell.home_qpos
    here = _middle(scene, name, qpos)
    base = np.array(cell.robot.base.position[:2]) - here
    spots = []
    for _ in range(SPOTS):
        angle = float(
            rng.uniform(-0.5, 0.5) + np.arctan2(base[1], base[0]) if family == "pull" else rng.uniform(0, 6.28)
        )
        far = float(rng.uniform(*(PULL_MOVE_M if family == "pull" else PUSH_MOVE_M)))
        spot = here + far * np.array([np.cos(angle), np.sin(angle)])
        room = _room(scene, name, qpos, spot - here)
        if room > scene.jitter_m:
            spots.append((min(room, 0.08), spot))
    spots.sort(key=lambda pair: -pair[0])
    reason = "no free way over the table to any spot near by"
    for _, spot in spots[:SPOTS_TRIED]:
        goal = Goal(family=family, center=(round(float(spot[0]), 3), round(float(spot[1]), 3)), radius_m=RADIUS_M)
        asked = Task(id=task, object=name, goal=goal, instruction="")
        if next(ways(scene, asked, qpos, rng), None) is not None:
            return Proposal(name, goal, task)
        reason = why_none(scene, asked, qpos)
    return Proposal(name, None, task, reason)


def arrange(scene: TaskScene, task: Task, qpos: Array, rng: np.random.Generator) -> Array:
    """Starts are varied from the scene as captured."""
    return qpos


def ways(scene: TaskScene, task: Task, start: Array, rng: np.random.Generator) -> Iterator[Way]:
    """Pushes in several manners, or grips that can be dragged; each possible if all goes as planned."""
    center = center_of(task)
    if task.goal.family == "push":
        for tilt, longest in MANNERS:
            way = Pushing(scene, task, tilt, longest)
            if way.possible(start):
                yield way
        return
    by = center - _middle(scene, task.object, start)
    if _room(scene, task.object, start, by) < 0:
        return
    others = [other for other in scene.cell.objects if other != task.object]
    for _, approach in zip(range(WAYS_TRIED), scene.ways_to(task.object, start), strict=False):
        with scene.skills.world.berth(SLIP_M, others):
            drag = _drag(scene, task.object, approach.path[-1], by, start, approach.grasp.opening)
        if drag is not None:
            yield Pulling(scene, task, approach)


def why_none(scene: TaskScene, task: Task, start: Array) -> str:
    if task.goal.family == "pull" and next(scene.ways_to(task.object, start), None) is None:
        return f"{task.object} cannot be grasped: too wide for the gripper or out of reach"
    by = center_of(task) - _middle(scene, task.object, start)
    if _room(scene, task.object, start, by) < 0:
        return f"something stands in the way of {task.object}"
    return f"the hand cannot follow {task.object} to the goal: out of reach, or no room behind it"


def center_of(task: Task) -> Array:
    """Raises IntegrityError for a goal without a region."""
    if task.goal.center is None:
        raise IntegrityError(f"{task.id} has no center")
    return np.array(task.goal.center)


def _middle(scene: TaskScene, name: str, qpos: Array) -> Array:
    """(2,) centroid of its outline."""
    ring = footprint(scene.cell, name, scene.cell.pose(qpos, name))
    x, y = ring.T
    cross = x * np.roll(y, -1) - np.roll(x, -1) * y
    return ((ring + np.roll(ring, -1, axis=0)) * cross[:, None]).sum(axis=0) / (3 * cross.sum())


def _room(scene: TaskScene, name: str, qpos: Array, by: Array) -> float:
    """What is left beside the thing where it has least room as it slides by (2,) [m]; negative: none."""
    cell = scene.cell
    own = footprint(cell, name, cell.pose(qpos, name))
    others = [footprint(cell, other, cell.pose(qpos, other)) for other in cell.objects if other != name]
    others += [outline(cell, body) for body in scene.bodies if body not in cell.objects and not scene.bodies[body].soft]
    room = np.inf
    for share in np.linspace(0.0, 1.0, 7)[1:]:
        moved = own + share * by
        room = min(room, min(edge_distance(scene.table, point) for point in moved) - EDGE_M)
        room = min([room, *(outline_gap(moved, other) - ROOM_M for other in others)])
    return float(room)


# ------------------------------------------------------------------ pushing


@dataclass(frozen=True)
class Push:
    """path: configurations (K, n) from behind the thing to the end of the push; by: (2,) how far the thing goes."""

    path: Array
    by: Array


@dataclass(frozen=True)
class Pushing:
    """tilt_deg: of the hand, leaning back from what it pushes; longest: stroke [m]"""

    scene: TaskScene
    task: Task
    tilt_deg: float
    longest: float

    @property
    def kind(self) -> str:
        return "push"

    def possible(self, start: Array) -> bool:
        """Whether the pushes would bring the thing to its goal, if it went where it is pushed."""
        cell, name, qpos = self.scene.cell, self.task.object, start
        for _ in range(STROKES):
            if self._off(qpos) <= CLOSE_ENOUGH_M:
                return True
            push = self.next(qpos)
            if push is None:
                return False
            T = cell.pose(qpos, name)
            T[:2, 3] += push.by
            qpos = cell.with_pose(qpos, name, T)
        return False

    def run(self, rollout: Rollout) -> None:
        skills = self.scene.skills
        for _ in range(STROKES):
            if self._off(rollout.qpos) <= CLOSE_ENOUGH_M:
                break
            push = self.next(rollout.qpos)
            if push is None:
                raise SkillError("no_path", f"no way to push {self.task.object} on")
            skills.world.place(rollout.qpos)
            path = plan(skills.world, rollout.commanded, push.path[0], 0.0)
            if path is None:
                raise SkillError("no_path", f"no collision-free motion behind {self.task.object}")
            rollout.run("reach", motion.time_waypoints(path, skills.fast, rollout.fps), 0.0)
            length = float(np.linalg.norm(push.by)) + BEHIND_M
            slow = replace(skills.slow, tool_speed=PUSH_SPEED)
            rollout.run("push", motion.time_path(push.path, length, slow, rollout.fps), 0.0)
            self._back(rollout)
        else:
            raise SkillError("missed_goal", f"{self.task.object} is not there after {STROKES} pushes")
        skills.rest(rollout, 0.0)

    def _off(self, qpos: Array) -> float:
        return float(np.linalg.norm(center_of(self.task) - _middle(self.scene, self.task.object, qpos)))

    def next(self, qpos: Array) -> Push | None:
        """The push that brings the thing nearest to its goal and that the arm can do."""
        name, cell = self.task.object, self.scene.cell
        ring, middle = footprint(cell, name, cell.pose(qpos, name)), _middle(self.scene, name, qpos)
        error = center_of(self.task) - middle
        wanted = [(float(error @ d), d) for d in _directions(ring, error)]
        for far, direction in sorted((pair for pair in wanted if pair[0] > 0.3 * CLOSE_ENOUGH_M), key=lambda p: -p[0]):
            by = min(far, self.longest) * direction
            if _room(self.scene, name, qpos, by) < 0:
                continue
            path = self._path(qpos, ring, middle, direction, float(np.linalg.norm(by)))
            if path is not None:
                return Push(path, by)
        return None

    def _path(self, qpos: Array, ring: Array, middle: Array, direction: Array, far: float) -> Array | None:
        skills = self.scene.skills
        behind = float(((ring - middle) @ -direction).max())
        at, height, reach = _pusher(skills.gripper.boxes(0.0), np.deg2rad(self.tilt_deg))
        start = middle - (behind + BEHIND_M) * direction
        for turn in (1.0, -1.0):
            T = _facing(direction, np.deg2rad(self.tilt_deg), turn)
            T[:3, 3] = [*(start - reach * direction), height + ABOVE_TABLE_M]
            T_end = T.copy()
            T_end[:2, 3] += (BEHIND_M + far) * direction
            joints = skills.arm.solve(T, skills.arm.home)
            line = None if joints is None else skills.arm.line(T, T_end, joints, steps=at + int(far / 0.01))
            if line is None:
                continue
            skills.world.place(qpos)
            if not skills.world.clear(line[0], 0.0):
                continue
            with skills.world.ignoring(self.task.object):
                if all(skills.world.clear(q, 0.0) for q in line):
                    return line
        return None

    def _back(self, rollout: Rollout) -> None:
        skills = self.scene.skills
        tool = skills.arm.tool_pose(rollout.commanded)
        for away in (moved_along_z(tool, -LEAVE_M), raised(tool, LEAVE_M)):
            path = skills.arm.line(tool, away, rollout.commanded, steps=6)
            if path is not None:
                rollout.run("retreat", motion.time_path(path, LEAVE_M, skills.slow, rollout.fps), 0.0)
                return
        raise SkillError("no_ik", "the arm cannot withdraw")


def _pusher(boxes: Array, tilt: float) -> tuple[int, float, float]:
    """Steps of the way up to the thing; height of the tool above its lowest point, and how far it reaches ahead [m]."""
    pick = np.array(np.meshgrid([0, 1], [0, 1], [0, 1])).reshape(3, -1).T
    corners = np.stack([boxes[:, pick[:, k], k] for k in range(3)], axis=-1).reshape(-1, 3)
    up = corners[:, 0] * np.sin(tilt) - corners[:, 2] * np.cos(tilt)
    ahead = corners[:, 0] * np.cos(tilt) + corners[:, 2] * np.sin(tilt)
    return 4, -float(up.min()), float(ahead.max())


def _facing(direction: Array, tilt: float, turn: float) -> Array:
    """(4, 4) a hand that leans back from a horizontal direction (2,) by `tilt` [rad], its fingers side by side."""
    ahead, up = np.array([*direction, 0.0]), np.array([0.0, 0.0, 1.0])
    z = np.sin(tilt) * ahead - np.cos(tilt) * up
    x = turn * (np.cos(tilt) * ahead + np.sin(tilt) * up)
    T = np.eye(4)
    T[:3, :3] = np.stack([x, np.cross(z, x), z], axis=1)
    return T


def _directions(ring: Array, error: Array) -> list[Array]:
    """Unit directions (2,) in which a push is stable: into each face of the outline; towards the goal if round."""
    edges = np.roll(ring, -1, axis=0) - ring
    length = np.linalg.norm(edges, axis=1)
    inward = np.stack([-edges[:, 1], edges[:, 0]], axis=1) / np.maximum(length, 1e-9)[:, None]
    faces = [inward[k] for k in np.flatnonzero(length >= FACE_M)]
    return faces if len(faces) >= 3 else [error / max(float(np.linalg.norm(error)), 1e-9)]


# ------------------------------------------------------------------ pulling


@dataclass(frozen=True)
class Pulling:
    """approach: to a grip of the thing where it stands."""

    scene: TaskScene
    task: Task
    approach: Approach

    @property
    def kind(self) -> str:
        return self.approach.grasp.kind

    def run(self, rollout: Rollout) -> None:
        skills, opening, name = self.scene.skills, self.approach.grasp.opening, self.task.object
        skills.world.place(rollout.qpos)
        path = plan(skills.world, rollout.commanded, self.approach.path[0], opening)
        if path is None:
            raise SkillError("no_path", "no collision-free motion to the grasp")
        rollout.run("reach", motion.time_waypoints(path, skills.fast, rollout.fps), opening)
        rollout.run("approach", motion.time_path(self.approach.path, 0.08, skills.slow, rollout.fps), opening)
        closing = round(CLOSE_S * rollout.fps)
        rollout.hold("grasp", closing, np.linspace(opening, 0.0, closing + 1)[1:])
        rollout.hold("grasp", round(SQUEEZE_S * rollout.fps), 0.0)
        if skills.cell.opening(rollout.qpos) < HELD_M:
            raise SkillError("grasp_missed", f"the fingers closed without {name} between them")
        by = center_of(self.task) - _middle(self.scene, name, rollout.qpos)
        drag = _drag(self.scene, name, rollout.commanded, by, rollout.qpos, opening)
        if drag is None:
            raise SkillError("no_ik", "the arm cannot follow to the goal")
        slow = replace(skills.slow, tool_speed=PUSH_SPEED)
        rollout.run("move", motion.time_path(drag[0], float(np.linalg.norm(by)), slow, rollout.fps), 0.0)
        frames = max(2, round(OPEN_S * rollout.fps))
        rollout.hold("release", frames, np.linspace(skills.cell.opening(rollout.qpos), opening, frames))
        rollout.run("retreat", motion.time_path(drag[1], LEAVE_M, skills.slow, rollout.fps), opening)
        skills.rest(rollout, opening)


def _drag(
    scene: TaskScene, name: str, joints: Array, by: Array, qpos: Array, opening: float
) -> tuple[Array, Array] | None:
    """Level along by (2,) with the thing in the hand, and the way out of the opened grip; configurations (K, n)."""
    skills = scene.skills
    tool = skills.arm.tool_pose(joints)
    low = raised(tool, -BEARS_M)
    end = low.copy()
    end[:2, 3] += by
    down = skills.arm.line(tool, low, joints, steps=1)
    along = None if down is None else skills.arm.line(low, end, down[-1], steps=max(4, int(np.linalg.norm(by) / 0.015)))
    if down is None or along is None:
        return None
    line = np.concatenate([down[:1], along])
    skills.world.place(qpos)
    with skills.world.ignoring(name):
        if not all(skills.world.clear(q, opening) for q in line):
            return None
        for away in (moved_along_z(end, -LEAVE_M), raised(end, LEAVE_M)):
            out = skills.arm.line(end, away, line[-1], steps=6)
            if out is not None and all(skills.world.clear(q, opening) for q in out):
                return line, out
    return None
