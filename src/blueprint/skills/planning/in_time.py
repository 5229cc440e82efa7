"""Motions among things that move: people and scripted objects. `Guard` watches over the execution of a plan."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from blueprint.skills.planning.collision import CollisionWorld, Moving
from blueprint.skills.planning.obstacles import Mover, drive

if TYPE_CHECKING:
    import mujoco

Array = NDArray[np.float64]

BERTH_M = 0.05  # kept from what moves at every check
BETWEEN = 1.6  # berths by which both sides together may move between two checks; at 2 they could just touch
BRAKE_S = 0.4  # in which a guarded motion comes to rest
FORESIGHT_S = 1.0  # for which it must be safe to stay where a guarded motion comes to rest


@dataclass(frozen=True)
class Crowd:
    """Movers of the scene; see `obstacles`."""

    movers: tuple[Mover, ...]

    @property
    def bodies(self) -> tuple[str, ...]:
        return tuple(part.name for mover in self.movers for part in mover.parts)

    @property
    def fastest(self) -> float:
        return max(mover.fastest for mover in self.movers)

    def place(self, model: mujoco.MjModel, data: mujoco.MjData, t: float) -> None:
        drive(model, data, self.movers, t)


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
