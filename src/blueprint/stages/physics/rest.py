"""Bringing a captured scene to rest: out of penetration by the smallest motions, then into the nearest equilibrium."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from blueprint.backends.protocols import Simulation, Simulator
from blueprint.core.artifact import Config
from blueprint.core.report import warn
from blueprint.formats.mjcf.layout import is_free, moving_parts
from blueprint.formats.mjcf.scene import FIRST_OBJECT, Layout, layout
from blueprint.geometry.transforms import pose_to_matrix, rotation_angle
from blueprint.model.scene import PhysicalObject, SettledObject, SettleTest
from blueprint.model.spatial import Pose
from blueprint.stages.physics.separation import Push, smallest_shift

Array = NDArray[np.float64]

CALM_M, CALM_DEG = 0.001, 0.5  # an object that moves less in `calm_s` has come to rest
STEEP = 0.7  # a contact whose normal is this near the vertical: one object stands on the other


class RestConfig(Config):
    """How a scene comes to rest, and what counts as holding still.

    viscosity [Pa s]: of the medium in which objects sink to rest: about that of honey, so that nothing swings or rolls
    penetration_m: contacts deeper than this are moved apart before anything is simulated
    quiet_s, calm_s, test_s: seconds in the medium, without it (again and again, until nothing moves), and of the test
    drift_m, drift_deg: bounds of the test
    """

    viscosity: float = 10.0
    penetration_m: float = 0.0005
    repairs: int = 200
    quiet_s: float = 3.0
    calm_s: float = 2.0
    calm_rounds: int = 6
    test_s: float = 5.0
    drift_m: float = 0.01
    drift_deg: float = 5.0


@dataclass(frozen=True)
class Drifts:
    """test: of the objects; joints: `object/joint` -> how far it moved by itself [rad or m]"""

    test: SettleTest
    joints: dict[str, float]


def come_to_rest(
    quiet: Path, scene: Path, objects: Sequence[PhysicalObject], simulator: Simulator, cfg: RestConfig
) -> list[Pose]:
    """Poses in which every rigid, free object rests; the others stay. quiet: the same scene in a viscous medium."""
    place = layout(objects)
    qpos = separate(quiet, objects, simulator, cfg)
    qpos = simulate(quiet, qpos, simulator, cfg.quiet_s)
    for _ in range(cfg.calm_rounds):
        before, qpos = qpos, simulate(scene, qpos, simulator, cfg.calm_s)
        pairs = zip(place.poses(before, objects), place.poses(qpos, objects), strict=True)
        moved = [drift(a, b) for a, b in pairs]
        if all(metres < CALM_M and degrees < CALM_DEG for metres, degrees in moved):
            break
    return place.poses(qpos, objects)


def simulate(model: Path, qpos: Array, simulator: Simulator, seconds: float) -> Array:
    simulation = simulator.open(model, qpos)
    try:
        simulation.advance(np.zeros(0), seconds)
        return simulation.qpos
    finally:
        simulation.close()


def separate(model: Path, objects: Sequence[PhysicalObject], simulator: Simulator, cfg: RestConfig) -> Array:
    """Positions (nq,) without contact deeper than `penetration_m`, moving objects as little as that takes.

    Each round finds the least motions that end the contacts there are; new ones may appear, so it is done again.
    """
    place = layout(objects)
    qpos, deepest = place.start, np.inf
    for _ in range(cfg.repairs):
        simulation = simulator.open(model, qpos)
        pushes, deepest = _pushes(simulation, place, objects, cfg.penetration_m)
        simulation.close()
        if deepest <= cfg.penetration_m:
            return qpos
        shift = smallest_shift(len(objects), pushes)
        qpos = qpos.copy()
        for item, at, by in zip(objects, place.starts, shift, strict=True):
            if is_free(item):
                qpos[at : at + 3] += by
    warn(f"objects still penetrate by {deepest * 1e3:.1f} mm after {cfg.repairs} repairs")
    return qpos


def _pushes(
    simulation: Simulation, place: Layout, objects: Sequence[PhysicalObject], tolerance: float
) -> tuple[list[Push], float]:
    """What every contact deeper than half the tolerance asks for, and the deepest [m]: upward from the table; up for
    the upper of two that stand on each other; along the normal for all else. What cannot move takes no part."""
    pushes, deepest = [], 0.0
    contacts, normals = simulation.contacts(), simulation.normals()
    for (a, b, distance, _), normal in zip(contacts, normals, strict=True):
        i, j = (_movable(body, place, objects) for body in (a, b))
        if i == j:  # parts of one object, or two things that stand fixed
            continue
        deepest = max(deepest, -distance)
        if -distance < tolerance / 2:
            continue
        if min(a, b) < FIRST_OBJECT:  # the table or the floor: up, never out at its side
            normal = np.array([0.0, 0.0, 1.0 if a < b else -1.0])
        elif i >= 0 and j >= 0 and abs(normal[2]) > STEEP:
            i, j = (-1, j) if normal[2] > 0 else (i, -1)
        pushes.append(Push(i, j, np.asarray(normal), -distance + 1e-4))
    return pushes, deepest


def _movable(body: int, place: Layout, objects: Sequence[PhysicalObject]) -> int:
    owner = place.owner(body)
    return owner if owner >= 0 and is_free(objects[owner]) else -1


# ------------------------------------------------------------------ the test


def settle_test(
    model: Path, objects: Sequence[PhysicalObject], simulator: Simulator, cfg: RestConfig, files: Path
) -> Drifts:
    """Leave the scene alone for `test_s` from its start and measure how far objects and their joints move."""
    place = layout(objects, files)
    simulation = simulator.open(model)
    before, depth = simulation.qpos, _penetration(simulation, place, objects)
    simulation.advance(np.zeros(0), cfg.test_s)
    after = simulation.qpos
    simulation.close()
    poses = zip(place.poses(before, objects), place.poses(after, objects), strict=True)
    settled = []
    for index, (item, (a, b)) in enumerate(zip(objects, poses, strict=True)):
        metres, degrees = drift(a, b)
        if item.soft is not None:  # how far its vertices went, on average
            rows = slice(place.starts[index], place.starts[index] + place.sizes[index])
            metres = float(np.linalg.norm((after - before)[rows].reshape(-1, 3).mean(axis=0)))
        settled.append(
            SettledObject(name=item.asset.name, drift_m=metres, drift_deg=degrees, penetration_m=float(depth[index]))
        )
    drift_m = max((s.drift_m for s in settled), default=0.0)
    drift_deg = max((s.drift_deg for s in settled), default=0.0)
    penetration = max((s.penetration_m for s in settled), default=0.0)
    test = SettleTest(
        simulator=f"{simulator.name} {simulator.version}",
        seconds=cfg.test_s,
        objects=tuple(settled),
        max_drift_m=drift_m,
        max_drift_deg=drift_deg,
        max_penetration_m=penetration,
        passed=drift_m < cfg.drift_m and drift_deg < cfg.drift_deg and penetration <= 0.001,
    )
    return Drifts(test, _joint_drifts(place, objects, before, after))


def _joint_drifts(place: Layout, objects: Sequence[PhysicalObject], before: Array, after: Array) -> dict[str, float]:
    drifts = {}
    for item, at in zip(objects, place.starts, strict=True):
        first = at + (7 if is_free(item) else 0)
        for index, part in enumerate(part for part, _ in moving_parts(item)):
            drifts[f"{item.asset.name}/{part.joint.name}"] = float(abs(after - before)[first + index])
    return drifts


def _penetration(simulation: Simulation, place: Layout, objects: Sequence[PhysicalObject]) -> Array:
    """(n,) deepest contact of every object [m]; a soft one is meant to give way."""
    depth = np.zeros(len(objects))
    for a, b, distance, _ in simulation.contacts():
        for body in (a, b):
            owner = place.owner(body)
            if owner >= 0 and objects[owner].soft is None:
                depth[owner] = max(depth[owner], -distance)
    return depth


def drift(before: Pose, after: Pose) -> tuple[float, float]:
    """How far a pose is from another [m, degrees]."""
    T_before, T_after = pose_to_matrix(before), pose_to_matrix(after)
    distance = float(np.linalg.norm(T_after[:3, 3] - T_before[:3, 3]))
    return distance, float(np.rad2deg(rotation_angle(T_before, T_after)))
