"""Motions among things that move: people, scripted objects, and other arms whose motions are already planned.

Prioritised planning (Erdmann and Lozano-Perez 1987): whoever is planned first moves as if alone; the next one takes
those motions as given over time. Ways in space are tried at every start time that patience allows, and the earliest
arrival wins: straight there, around where the others would be met, or by a refuge. `Guard` watches the execution.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from blueprint.skills.planning.collision import CollisionWorld, Moving
from blueprint.skills.planning.motion import Limits, time_waypoints
from blueprint.skills.planning.obstacles import Mover, drive
from blueprint.skills.planning.paths import plan

if TYPE_CHECKING:
    import mujoco

Array = NDArray[np.float64]

BERTH_M = 0.05  # kept from what moves at every check
BETWEEN = 1.6  # berths by which both sides together may move between two checks; at 2 they could just touch
WAIT_S = 0.2  # between the start times that are tried
BRAKE_S = 0.4  # in which a guarded motion comes to rest
FORESIGHT_S = 1.0  # for which it must be safe to stay where a guarded motion comes to rest
DETOURS = 2


@dataclass(frozen=True)
class Crowd:
    """Movers of the scene; see `obstacles`."""

    movers: tuple[Mover, ...]

    @property
    def bodies(self) -> tuple[str, ...]:
        return tuple(part.name for mover in self.movers for part in mover.parts)

    @property
    def until(self) -> float:
        return max(mover.until for mover in self.movers)

    @property
    def fastest(self) -> float:
        return max(mover.fastest for mover in self.movers)

    def place(self, model: mujoco.MjModel, data: mujoco.MjData, t: float) -> None:
        drive(model, data, self.movers, t)


@dataclass(frozen=True, eq=False)
class ArmMotion:
    """Another arm that follows targets (K, n), one per frame after `begins` [s], and rests before and after.

    world: that arm's; start: (n,) where it is until then; opening: of its gripper [m]
    """

    world: CollisionWorld
    start: Array
    targets: Array
    fps: int
    begins: float = 0.0
    opening: float = 0.0

    @property
    def bodies(self) -> tuple[str, ...]:
        cell = self.world.cell
        return tuple(cell.model.body(body).name for body in sorted(cell.robot_bodies))

    @property
    def until(self) -> float:
        return self.begins + len(self.targets) / self.fps

    @property
    def fastest(self) -> float:
        steps = np.abs(np.diff(self._rows, axis=0)) @ self.world.reaches
        return self.fps * float(steps.max(initial=0.0))

    @cached_property
    def _rows(self) -> Array:
        return np.concatenate([self.start[None], self.targets])

    def place(self, model: mujoco.MjModel, data: mujoco.MjData, t: float) -> None:
        rows = self._rows
        s = float(np.clip((t - self.begins) * self.fps, 0.0, len(rows) - 1))
        k = min(int(s), max(len(rows) - 2, 0))
        cell = self.world.cell
        data.qpos[cell.arm_qpos] = rows[k] + (s - k) * (rows[min(k + 1, len(rows) - 1)] - rows[k])
        data.qpos[cell.finger_qpos] = cell.finger_positions(self.opening)


def first_meeting(
    world: CollisionWorld, rows: Array, opening: float, moving: Iterable[Moving], begins: float, fps: int
) -> float | None:
    """When [s] an arm that is at rows[k] (K, n) at begins + k / fps first comes closer than the berth; None = never.

    Nothing can be met between the checks: both sides together move less than two berths from one to the next.
    """
    moving = tuple(moving)
    if not moving:
        return None
    names = [name for one in moving for name in one.bodies]
    geoms, fastest = world.geoms_of(names), max((one.fastest for one in moving), default=0.0)
    with world.berth(BERTH_M, names):
        for k in range(len(rows)):
            step = rows[min(k + 1, len(rows) - 1)] - rows[k]
            moved = float(np.abs(step) @ world.reaches) + fastest / fps
            count = max(1, int(np.ceil(moved / (BETWEEN * BERTH_M))))
            for share in np.arange(count) / count:
                t = begins + (k + share) / fps
                world.move(moving, t)
                if world.meets(rows[k] + share * step, opening, geoms):
                    return t
    return None


@dataclass(frozen=True, eq=False)
class Among:
    """A motion of one arm among what moves.

    world: with the scene placed; opening: of the gripper [m]; moving: everything that moves; begins: when the motion
    may start [s]; patience_s: how long it may wait; refuges: (n,) configurations to wait in besides start and home
    """

    world: CollisionWorld
    opening: float
    moving: tuple[Moving, ...]
    limits: Limits
    fps: int
    begins: float = 0.0
    patience_s: float = 10.0
    refuges: tuple[Array, ...] = ()
    seed: int = 0

    def plan(self, start: Array, goal: Array) -> Array | None:
        """(K, n) targets, one per frame after `begins`, waits included; None if no way was found.

        The arm can stay at the goal until everything that moves has come to rest.
        """
        best: Array | None = None
        for out, back in self._ways(start, goal):
            waiting = out[-1] if len(out) else start
            for wait in range(0, int(self.patience_s * self.fps), max(1, int(WAIT_S * self.fps))):
                targets = np.concatenate([out, np.tile(waiting, (wait, 1)), back])
                if best is not None and len(targets) >= len(best):
                    break
                met = self._met(start, targets)
                if met is None:
                    best = targets
                    break
                if met < self.begins + (len(out) + wait) / self.fps:
                    break  # met before it sets out again: a longer wait there does not help
        return best

    def _met(self, start: Array, targets: Array) -> float | None:
        rest = (max((one.until for one in self.moving), default=0.0) - self.begins) * self.fps - len(targets)
        rows = np.concatenate([start[None], targets, np.tile(targets[-1:], (max(0, int(rest) + 1), 1))])
        return first_meeting(self.world, rows, self.opening, self.moving, self.begins, self.fps)

    def _timed(self, start: Array, goal: Array) -> Array | None:
        path = plan(self.world, start, goal, self.opening, seed=self.seed)
        return None if path is None else time_waypoints(path, self.limits, self.fps)

    def _ways(self, start: Array, goal: Array) -> Iterator[tuple[Array, Array]]:
        """Targets (K, n) before and after a wait: straight, around where others are met, and by each refuge."""
        world, names = self.world, [name for one in self.moving for name in one.bodies]
        with world.ignoring(*names):
            around = self._timed(start, goal)
        if around is None or not len(around):
            return
        yield start[None][:0], around
        for _ in range(DETOURS):
            met = None if around is None else self._met(start, around)
            if met is None:
                break
            world.move(self.moving, met)
            with world.berth(BERTH_M, names):
                around = self._timed(start, goal)
            if around is not None:
                yield start[None][:0], around
        for refuge in (*self.refuges, np.array(world.cell.robot.home)):
            with world.ignoring(*names):
                out, back = self._timed(start, refuge), self._timed(refuge, goal)
            if out is not None and back is not None and len(out) and len(back):
                yield out, back


class Guard:
    """Follows targets frame by frame; brakes, waits and backs off before anything that moves could be met.

    The rule: a frame is only taken if the arm could come to rest after it, and stay there for a while, without meeting
    what was observed, moved on as it is predicted to. Where even resting would, it goes back along its way.
    """

    def __init__(self, world: CollisionWorld, rows: Array, opening: float, fps: int, rate: float = 0.0) -> None:
        """rows: (K, n) the state now and the targets to follow, one per frame; rate: rows per frame at the start"""
        self._world, self._rows, self._opening, self._fps = world, rows, opening, fps
        self._at, self._rate = 0.0, rate
        self._change = 1.0 / max(1, round(BRAKE_S * fps))
        self.waited = 0  # frames since it last went forward: when these are many, plan anew

    @property
    def done(self) -> bool:
        return self._at >= len(self._rows) - 1

    @property
    def at(self) -> float:
        """How far it has come, in rows."""
        return self._at

    @property
    def joints(self) -> Array:
        """(n,) the target now."""
        return self._row(np.array([self._at]))[0]

    def _row(self, s: Array) -> Array:
        s = np.clip(s, 0.0, len(self._rows) - 1)
        low = np.minimum(s.astype(int), len(self._rows) - 2)
        return self._rows[low] + (s - low)[:, None] * (self._rows[low + 1] - self._rows[low])

    def step(self, moving: tuple[Moving, ...], now: float) -> Array:
        """(n,) the next frame's target. moving: what is observed now [s] and how it is predicted to go on."""
        options = (min(1.0, self._rate + self._change), self._rate, max(-1.0, self._rate - self._change))
        safe = next((rate for rate in options if self._met(self._stop(rate), moving, now) is None), None)
        if safe is None:  # nowhere to rest: away along the path, to the side where one is met last
            aims = (-1.0, float(np.sign(self._rate)), 1.0)
            met = [self._met(self._flight(aim), moving, now) for aim in aims]
            aim = aims[int(np.argmax([np.inf if t is None else t for t in met]))]
            safe = self._rate + float(np.clip(aim - self._rate, -self._change, self._change))
        self._rate = safe
        self._at = float(np.clip(self._at + self._rate, 0.0, len(self._rows) - 1))
        self.waited = 0 if self._rate > 0.0 else self.waited + 1
        return self.joints

    def _met(self, rates: list[float], moving: tuple[Moving, ...], now: float) -> float | None:
        """When something is met [s] if the coming frames are taken at these rates."""
        at = self._at + np.cumsum([0.0, *rates])
        return first_meeting(self._world, self._row(at), self._opening, moving, now, self._fps)

    def _stop(self, rate: float) -> list[float]:
        """A frame at `rate`, then braking and rest."""
        found = [rate]
        while found[-1]:
            found.append(float(np.sign(found[-1])) * max(0.0, abs(found[-1]) - self._change))
        return found + [0.0] * round(FORESIGHT_S * self._fps)

    def _flight(self, aim: float) -> list[float]:
        """As fast as it may change, to the rate `aim`."""
        found = [self._rate]
        for _ in range(round((FORESIGHT_S + BRAKE_S) * self._fps)):
            found.append(found[-1] + float(np.clip(aim - found[-1], -self._change, self._change)))
        return found[1:]
