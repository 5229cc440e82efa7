"""Things that move by themselves: scripted objects and a walking person, as capsules on a path known over time.

A mover is a pure function of time, so a scene with movers replays to the bit. `add_movers` puts them into an MjSpec as
free bodies without weight, so that states and pictures hold them as they hold objects; `drive` puts them where they
are at a time, `driven` says how they move on from there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from blueprint.model.movers import Person

if TYPE_CHECKING:
    import mujoco

    from blueprint.model.movers import AnyMover

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

# an adult of usual build and gait, by eye: a proxy to keep away from, not a model of walking
STRIDE = 0.83  # length of a full gait cycle by the stature
SWING_RAD = 0.42  # of legs about the hip, to either side
SWAY_RAD = 0.3  # of arms about the shoulder, against the legs
FASTEST = 2.6  # no part moves faster than this times the walk: the feet do, at 1 + 0.42 pi / 0.83

# where people walk: this far from the table's edge, from there to there, never closer to the arm's base
BESIDE_M, WALK_M, FROM_BASE_M = (0.3, 0.55), 3.0, 0.75


@dataclass(frozen=True)
class Part:
    """A capsule along its z axis, or a ball when half_m is 0. half_m: half the distance between its ends' centres."""

    name: str
    radius_m: float
    half_m: float = 0.0


class Mover(Protocol):
    """Something that moves by itself. parts: its bodies."""

    @property
    def parts(self) -> tuple[Part, ...]: ...

    @property
    def fastest(self) -> float:
        """No point of it is ever faster than this [m/s]."""
        ...

    def poses(self, t: float) -> list[tuple[Array, Array]]:
        """Position (3,) [m] and quaternion wxyz (4,) of each part at a time [s], world frame."""
        ...


@dataclass(frozen=True)
class Scripted:
    """A capsule or ball that goes straight from point to point. times: (K,) ascending [s]; points: (K, 3) [m]."""

    part: Part
    times: tuple[float, ...]
    points: tuple[tuple[float, float, float], ...]

    @property
    def parts(self) -> tuple[Part, ...]:
        return (self.part,)

    @property
    def fastest(self) -> float:
        steps = np.linalg.norm(np.diff(np.array(self.points), axis=0), axis=1)
        return float((steps / np.diff(np.array(self.times))).max(initial=0.0))

    def poses(self, t: float) -> list[tuple[Array, Array]]:
        points = np.array(self.points)
        at = np.array([np.interp(t, self.times, column) for column in points.T])
        return [(at, np.array([1.0, 0.0, 0.0, 0.0]))]


@dataclass(frozen=True)
class Walker:
    """A person who walks along a path on the floor and then stands: torso, head, arms and legs as capsules.

    path: (K, 2) on the floor [m]; floor_z [m]; speed [m/s]; stature [m]; phase of the gait at the start, in [0, 1)
    leaves: when the walk begins [s]
    """

    name: str
    path: tuple[tuple[float, float], ...]
    floor_z: float
    speed: float = 1.2
    stature: float = 1.7
    phase: float = 0.0
    leaves: float = 0.0

    @staticmethod
    def drawn(name: str, path: Array, floor_z: float, rng: np.random.Generator) -> Walker:
        """An adult along a path (K, 2), at a usual pace: 1.0-1.5 m/s, 1.55-1.9 m tall."""
        points = tuple((float(x), float(y)) for x, y in path)
        speed, stature, phase, leaves = rng.uniform([1.0, 1.55, 0.0, 0.0], [1.5, 1.9, 1.0, 1.0]).tolist()
        return Walker(name, points, floor_z, speed, stature, phase, leaves)

    @property
    def parts(self) -> tuple[Part, ...]:
        h = self.stature
        sizes = {
            "torso": (0.095, 0.115),
            "head": (0.065, 0.03),
            "left_arm": (0.032, 0.17),
            "right_arm": (0.032, 0.17),
            "left_leg": (0.05, 0.2),
            "right_leg": (0.05, 0.2),
        }
        return tuple(Part(f"{self.name}/{part}", r * h, half * h) for part, (r, half) in sizes.items())

    @property
    def until(self) -> float:
        return self.leaves + float(self._reached()[-1]) / self.speed

    @property
    def fastest(self) -> float:
        return FASTEST * self.speed

    def _reached(self) -> Array:
        """(K,) distance walked at each point of the path [m]."""
        steps = np.linalg.norm(np.diff(np.array(self.path), axis=0), axis=1)
        return np.concatenate([[0.0], np.cumsum(steps)])

    def poses(self, t: float) -> list[tuple[Array, Array]]:
        points, reached, h = np.array(self.path), self._reached(), self.stature
        s = float(np.clip((t - self.leaves) * self.speed, 0.0, reached[-1]))
        k = min(int(np.searchsorted(reached, s, side="right")) - 1, len(points) - 2)
        along = (points[k + 1] - points[k]) / max(reached[k + 1] - reached[k], 1e-9)
        x, y = points[k] + (s - reached[k]) * along
        yaw, walking = float(np.arctan2(along[1], along[0])), 0.0 < s < reached[-1]
        swing = np.sin(2 * np.pi * (s / (STRIDE * h) + self.phase)) if walking else 0.0
        limbs = (  # joint to the left and up, as shares of the stature, angle about it, and whether the limb hangs
            (0.0, 0.68, 0.0, False),
            (0.0, 0.905, 0.0, False),
            (0.135, 0.8, SWAY_RAD * swing, True),
            (-0.135, 0.8, -SWAY_RAD * swing, True),
            (0.055, 0.5, -SWING_RAD * swing, True),
            (-0.055, 0.5, SWING_RAD * swing, True),
        )
        found, (c, d) = [], (np.cos(yaw), np.sin(yaw))
        for part, (left, up, angle, hangs) in zip(self.parts, limbs, strict=True):
            length = part.half_m + part.radius_m if hangs else 0.0
            ahead, z = -length * np.sin(angle), self.floor_z + up * h - length * np.cos(angle)
            at = np.array([x + c * ahead - d * left * h, y + d * ahead + c * left * h, z])
            (cy, sy), (cp, sp) = ((np.cos(half), np.sin(half)) for half in (yaw / 2, angle / 2))
            found.append((at, np.array([cy * cp, -sy * sp, cy * sp, sy * cp])))
        return found


def mover_of(said: AnyMover) -> Mover:
    fields = said.model_dump(exclude={"kind"})
    if said.kind == "person":
        return Walker(**fields)
    return Scripted(Part(said.name, said.radius_m, said.half_m), said.times, said.points)


def passing_by(
    name: str, table: Array, base: Array, floor_z: float, stature: float, rng: np.random.Generator
) -> Person:
    """A person who walks past a side of the table at which no arm stands, close enough to be in its way.

    table: (K, 2) outline; base: (2,) where the arm stands [m]
    """
    low, high = table.min(axis=0), table.max(axis=0)
    sides = []
    for axis in range(2):
        for edge, away in ((low[axis], -1.0), (high[axis], 1.0)):
            line = edge + away * float(rng.uniform(*BESIDE_M))
            sides.append((abs(base[axis] - line), axis, line))
    free = [side for side in sides if side[0] > FROM_BASE_M] or [max(sides)]
    _, axis, line = free[int(rng.integers(len(free)))]
    along = float(rng.choice([-1.0, 1.0])) * np.array([-WALK_M, WALK_M]) + (low + high)[1 - axis] / 2
    path = tuple((line, y) if axis == 0 else (y, line) for y in along.tolist())
    walker = Walker.drawn(name, np.array(path), floor_z, rng)
    return Person(
        name=name, path=path, floor_z=floor_z, speed=walker.speed, stature=stature, phase=walker.phase,
        leaves=walker.leaves,
    )  # fmt: skip


def add_movers(spec: mujoco.MjSpec, movers: Iterable[Mover], rgba: tuple[float, ...] = (0.85, 0.55, 0.4, 1.0)) -> None:
    """Add every part as a free body of its name, where it is at time 0. Parts do not touch each other."""
    import mujoco

    for mover in movers:
        for part, (at, quat) in zip(mover.parts, mover.poses(0.0), strict=True):
            body = spec.worldbody.add_body(name=part.name, pos=at.tolist(), quat=quat.tolist(), gravcomp=1.0)
            body.add_freejoint(name=part.name)
            body.sleep = mujoco.mjtSleepPolicy.mjSLEEP_NEVER
            kind = mujoco.mjtGeom.mjGEOM_CAPSULE if part.half_m else mujoco.mjtGeom.mjGEOM_SPHERE
            size = [part.radius_m, part.half_m, 0.0]
            body.add_geom(name=part.name, type=kind, size=size, rgba=list(rgba), contype=0, conaffinity=1)


def driven(model: mujoco.MjModel, movers: Iterable[Mover], t: float, dt: float) -> tuple[Ints, Array, Ints, Array]:
    """(indices in qpos, values, indices in qvel, values) of the movers at a time [s], on their way to t + dt."""
    none = np.zeros(0, dtype=np.int64)
    at, dofs, qpos, qvel = [none], [none], [np.zeros(0)], [np.zeros(0)]
    for mover in movers:
        for part, (p, q), (to, r) in zip(mover.parts, mover.poses(t), mover.poses(t + dt), strict=True):
            joint = int(model.body(part.name).jntadr[0])
            before, after = (Rotation.from_quat(quat, scalar_first=True) for quat in (q, r))
            at.append(model.jnt_qposadr[joint] + np.arange(7))
            dofs.append(model.jnt_dofadr[joint] + np.arange(6))
            qpos.append(np.concatenate([p, q]))
            qvel.append(
                np.concatenate([to - p, (before.inv() * after).as_rotvec()]) / dt
            )  # MuJoCo: turning in its frame
    return np.concatenate(at), np.concatenate(qpos), np.concatenate(dofs), np.concatenate(qvel)


def drive(model: mujoco.MjModel, data: mujoco.MjData, movers: Iterable[Mover], t: float) -> None:
    """Put the movers where they are at a time [s], at rest. Kinematics are the caller's to update."""
    at, qpos, dofs, qvel = driven(model, movers, t, 1.0)
    data.qpos[at], data.qvel[dofs] = qpos, 0.0 * qvel
