"""Initial states: objects moved and turned a little from where they were captured, still standing, still apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from blueprint.backends.protocols import Simulator
from blueprint.geometry.transforms import rotation_angle
from blueprint.model.variation import PhysicsDraw
from blueprint.skills import grains
from blueprint.skills.cell import Cell
from blueprint.skills.mounting import edge_distance
from blueprint.skills.placement import footprint, height_range, outline_gap

Array = NDArray[np.float64]

TRIES = 30
APART_M = 0.012  # between outlines seen from above; those captured closer may stay as close
EDGE_M = 0.02  # between an outline and the table's edge, likewise
BOARD_M = 0.015  # between two of which one is so much higher there is a board
SETTLE_S = 0.6
STILL_M, STILL_RAD = 0.004, 0.05  # how far an object may move while settling


def varied_start(
    cell: Cell,
    polygon: Array,
    simulator: Simulator,
    rng: np.random.Generator,
    jitter_m: float,
    jitter_rad: float,
    *,
    base: Array | None = None,
    physics: PhysicsDraw | None = None,
) -> Array | None:
    """A settled state (nq,), or None if no variation stands still.

    polygon: (K, 2) table outline; base: (nq,) what is varied, else the scene as captured; physics: to settle under
    Every object moves by at most `jitter_m` along x and y and turns by `jitter_rad`.
    """
    base = cell.home_qpos if base is None else base
    for attempt in range(TRIES):
        share = 1.0 - attempt / TRIES  # from bold to timid: crowded scenes admit only small changes
        qpos = _jittered(cell, base, rng, share * jitter_m, share * jitter_rad)
        if not _apart(cell, polygon, base, qpos):
            continue
        simulation = simulator.open(cell.file, qpos, physics)
        simulation.advance(cell.ctrl(cell.home_action.astype(np.float32)), SETTLE_S)
        settled = simulation.qpos
        simulation.close()
        if _still(cell, qpos, settled):
            return settled
    return None


def _jittered(cell: Cell, base: Array, rng: np.random.Generator, metres: float, radians: float) -> Array:
    from scipy.spatial.transform import Rotation

    qpos = base.copy()
    for name in cell.objects:
        T = cell.pose(qpos, name)
        T[:2, 3] += rng.uniform(-metres, metres, 2)
        T[:3, :3] = Rotation.from_rotvec([0.0, 0.0, rng.uniform(-radians, radians)]).as_matrix() @ T[:3, :3]
        qpos = grains.moved(cell, name, qpos, T)
    return qpos


def _apart(cell: Cell, polygon: Array, base: Array, qpos: Array) -> bool:
    before = {name: footprint(cell, name, cell.pose(base, name)) for name in cell.objects}
    after = {name: footprint(cell, name, cell.pose(qpos, name)) for name in cell.objects}
    heights = {name: height_range(cell, name, cell.pose(qpos, name)) for name in cell.objects}
    for i, a in enumerate(cell.objects):
        edge = edge_distance(polygon, after[a])
        if edge < min(EDGE_M, edge_distance(polygon, before[a])):
            return False
        for b in cell.objects[i + 1 :]:
            over = max(heights[a][0] - heights[b][1], heights[b][0] - heights[a][1])
            if over < BOARD_M and outline_gap(after[a], after[b]) < min(APART_M, outline_gap(before[a], before[b])):
                return False
    return True


def _still(cell: Cell, placed: Array, settled: Array) -> bool:
    for name in cell.objects:
        a, b = cell.pose(placed, name), cell.pose(settled, name)
        if np.linalg.norm(a[:3, 3] - b[:3, 3]) > STILL_M or rotation_angle(a, b) > STILL_RAD:
            return False
    return True
