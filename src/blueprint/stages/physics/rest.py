"""Bringing a captured scene to rest: out of penetration by the smallest motions, then into the nearest equilibrium."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from blueprint.backends.protocols import Simulation, Simulator
from blueprint.core.artifact import Config
from blueprint.core.report import warn
from blueprint.formats.mjcf import FIRST_OBJECT, poses_of, qpos_of
from blueprint.geometry.transforms import pose_to_matrix, rotation_angle
from blueprint.model.scene import PhysicalObject, SettledObject, SettleTest
from blueprint.model.spatial import Pose

Array = NDArray[np.float64]

CALM_M, CALM_DEG = 0.001, 0.5  # an object that moves less in `calm_s` has come to rest


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


def come_to_rest(
    quiet: Path, scene: Path, objects: Sequence[PhysicalObject], simulator: Simulator, cfg: RestConfig
) -> list[Pose]:
    """Poses in which every object rests. quiet: the same scene in a viscous medium."""
    qpos = separate(quiet, objects, simulator, cfg)
    qpos = simulate(quiet, qpos, simulator, cfg.quiet_s)
    for _ in range(cfg.calm_rounds):
        before, qpos = qpos, simulate(scene, qpos, simulator, cfg.calm_s)
        moved = [drift(a, b) for a, b in zip(poses_of(before), poses_of(qpos), strict=True)]
        if all(metres < CALM_M and degrees < CALM_DEG for metres, degrees in moved):
            break
    return poses_of(qpos)


def simulate(model: Path, qpos: Array, simulator: Simulator, seconds: float) -> Array:
    simulation = simulator.open(model, qpos)
    try:
        simulation.advance(np.zeros(0), seconds)
        return simulation.qpos
    finally:
        simulation.close()


def separate(model: Path, objects: Sequence[PhysicalObject], simulator: Simulator, cfg: RestConfig) -> Array:
    """Positions (7 n,) without contact deeper than `penetration_m`, moving objects as little as that takes.

    Each round moves, for every pair, by the deepest contact along its normal: upward from the table; the upper of two
    where one stands on the other; else both, sideways, by half.
    """
    qpos = qpos_of([item.pose for item in objects])
    deepest = np.inf
    for _ in range(cfg.repairs):
        simulation = simulator.open(model, qpos)
        shift, deepest = _push_apart(simulation, len(objects), cfg.penetration_m)
        simulation.close()
        if deepest <= cfg.penetration_m:
            return qpos
        qpos = qpos.copy().reshape(-1, 7)
        qpos[:, :3] += shift
        qpos = qpos.ravel()
    warn(f"objects still penetrate by {deepest * 1e3:.1f} mm after {cfg.repairs} repairs")
    return qpos


def _push_apart(simulation: Simulation, count: int, tolerance: float) -> tuple[Array, float]:
    """Shift of every object (n, 3) [m] that ends the deepest contact of each pair, and that depth."""
    shift = np.zeros((count, 3))
    deepest: dict[tuple[int, int], tuple[float, Array]] = {}
    contacts, normals = simulation.contacts(), simulation.normals()
    for (a, b, distance, _), normal in zip(contacts, normals, strict=True):
        if -distance > max(tolerance, deepest.get((a, b), (0.0, normal))[0]):
            deepest[a, b] = (-distance, normal)
    for (a, b), (depth, normal) in sorted(deepest.items(), key=lambda pair: pair[0]):
        gap = depth + 1e-4
        if a < FIRST_OBJECT or b < FIRST_OBJECT:  # the table or the floor: up
            shift[max(a, b) - FIRST_OBJECT] = np.maximum(shift[max(a, b) - FIRST_OBJECT], [-np.inf, -np.inf, gap])
        elif abs(normal[2]) > 0.7:
            upper = b if normal[2] > 0 else a
            shift[upper - FIRST_OBJECT, 2] += gap
        else:
            sideways = normal * [1.0, 1.0, 0.0]
            sideways *= gap / np.linalg.norm(sideways) ** 2
            shift[a - FIRST_OBJECT] -= sideways / 2
            shift[b - FIRST_OBJECT] += sideways / 2
    return shift, max((depth for depth, _ in deepest.values()), default=0.0)


def settle_test(model: Path, names: Sequence[str], simulator: Simulator, cfg: RestConfig) -> SettleTest:
    """Leave the scene alone for `test_s` from its start and measure how far objects move."""
    simulation = simulator.open(model)
    before = poses_of(simulation.qpos)
    depth = _penetration(simulation, len(names))
    simulation.advance(np.zeros(0), cfg.test_s)
    after = poses_of(simulation.qpos)
    simulation.close()
    settled = tuple(_settled(name, a, b, float(d)) for name, a, b, d in zip(names, before, after, depth, strict=True))
    drift_m = max((s.drift_m for s in settled), default=0.0)
    drift_deg = max((s.drift_deg for s in settled), default=0.0)
    penetration = max((s.penetration_m for s in settled), default=0.0)
    return SettleTest(
        simulator=f"{simulator.name} {simulator.version}",
        seconds=cfg.test_s,
        objects=settled,
        max_drift_m=drift_m,
        max_drift_deg=drift_deg,
        max_penetration_m=penetration,
        passed=drift_m < cfg.drift_m and drift_deg < cfg.drift_deg and penetration <= 0.001,
    )


def _penetration(simulation: Simulation, count: int) -> Array:
    """(n,) deepest contact of every object [m]."""
    depth = np.zeros(count)
    for a, b, distance, _ in simulation.contacts():
        for body in (a, b):
            if body >= FIRST_OBJECT:
                depth[body - FIRST_OBJECT] = max(depth[body - FIRST_OBJECT], -distance)
    return depth


def _settled(name: str, before: Pose, after: Pose, depth: float) -> SettledObject:
    metres, degrees = drift(before, after)
    return SettledObject(name=name, drift_m=metres, drift_deg=degrees, penetration_m=depth)


def drift(before: Pose, after: Pose) -> tuple[float, float]:
    """How far a pose is from another [m, degrees]."""
    T_before, T_after = pose_to_matrix(before), pose_to_matrix(after)
    distance = float(np.linalg.norm(T_after[:3, 3] - T_before[:3, 3]))
    return distance, float(np.rad2deg(rotation_angle(T_before, T_after)))
