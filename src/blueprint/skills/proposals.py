"""Tasks that a scene suggests, from its geometry alone, and why others make no sense; reach is asked later."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from blueprint.model.task import Family, Goal
from blueprint.skills.cell import Cell
from blueprint.skills.mounting import edge_distance
from blueprint.skills.placement import footprint, height_range, outline_gap, surface_height

Array = NDArray[np.float64]

FAMILIES: tuple[Family, ...] = ("lift", "place_region", "place_beside", "place_on", "place_into")
LIFT_HEIGHT_M = 0.08
REGION_RADIUS_M = 0.05
BESIDE_GAP_M = 0.06
REGION_MOVE_M = (0.1, 0.4)  # how far from its start an object is sent
REGION_GAP_M = 0.01  # between it there and the others, beyond what they may be moved by
ENOUGH_ROOM_M = 0.08  # more makes a spot no better
EDGE_M = 0.02
FLAT_M = 0.004  # how much a surface may vary to stand on
DEEP_M = 0.02  # of an opening worth the name
OPENING_GAP_M = 0.008  # around what is put into it
SPOTS = 300


@dataclass(frozen=True)
class Proposal:
    """goal None: refused for `reason`."""

    object: str
    goal: Goal | None
    id: str
    reason: str = ""


def proposals(
    cell: Cell, polygon: Array, jitter_m: float, families: tuple[Family, ...], pairs: int, rng: np.random.Generator
) -> Iterator[Proposal]:
    """Every family for every object; at most `pairs` targets per object and family, chosen by `rng`.

    polygon: (K, 2) table outline; jitter_m: how far objects may start from where they stand in the scene
    """
    for name in cell.objects:
        if "lift" in families:
            yield Proposal(name, Goal(family="lift", height_m=LIFT_HEIGHT_M), f"lift-{name}")
        if "place_region" in families:
            yield _region(cell, name, polygon, jitter_m, rng)
        for family in ("place_beside", "place_on", "place_into"):
            if family in families:
                yield from _with_targets(cell, name, family, pairs, rng)


def _region(cell: Cell, name: str, polygon: Array, jitter_m: float, rng: np.random.Generator) -> Proposal:
    """Among random spots on the table, the one with the most room around it."""
    qpos, task = cell.home_qpos, f"place_region-{name}"
    own = footprint(cell, name, cell.pose(qpos, name))
    here = (own.min(axis=0) + own.max(axis=0)) / 2
    others = [footprint(cell, other, cell.pose(qpos, other)) for other in cell.objects if other != name]
    best, room = None, REGION_GAP_M + jitter_m
    for _ in range(SPOTS):
        spot = here + rng.uniform(*REGION_MOVE_M) * _unit(rng.uniform(0, 2 * np.pi))
        moved = own + spot - here
        if min(edge_distance(polygon, point) for point in moved) < EDGE_M:
            continue
        free = min((outline_gap(moved, other) for other in others), default=np.inf)
        if free > room:
            best, room = spot, min(free, ENOUGH_ROOM_M)
    if best is None:
        return Proposal(name, None, task, "no free spot on the table within 40 cm")
    center = (round(float(best[0]), 3), round(float(best[1]), 3))
    return Proposal(name, Goal(family="place_region", center=center, radius_m=REGION_RADIUS_M), task)


def _with_targets(cell: Cell, name: str, family: Family, pairs: int, rng: np.random.Generator) -> Iterator[Proposal]:
    accepted = 0
    for other in rng.permutation([o for o in cell.objects if o != name]).tolist():
        task = f"{family}-{name}-{other}"
        reason = _unfit(cell, name, other, family)
        if reason:
            yield Proposal(name, None, task, reason)
        elif accepted < pairs:
            accepted += 1
            radius = BESIDE_GAP_M if family == "place_beside" else 0.0
            yield Proposal(name, Goal(family=family, target=other, radius_m=radius), task)


def _unfit(cell: Cell, name: str, target: str, family: Family) -> str:
    """Why the geometry forbids it, or ""."""
    qpos = cell.home_qpos
    T, T_target = cell.pose(qpos, name), cell.pose(qpos, target)
    own, other = footprint(cell, name, T), footprint(cell, target, T_target)
    if family == "place_beside":
        near = outline_gap(own, other) <= BESIDE_GAP_M
        return f"it stands beside {target} already" if near else ""
    middle = (other.min(axis=0) + other.max(axis=0)) / 2
    radius = float(np.linalg.norm(own - (own.min(axis=0) + own.max(axis=0)) / 2, axis=1).max())
    top = height_range(cell, target, T_target)[1]
    if family == "place_on":
        heights = surface_height(cell, target, T_target, _disc(middle, radius))
        flat = float((heights > top - FLAT_M).mean())
        return "" if flat >= 0.95 else f"the top of {target} is flat under {flat:.0%} of it only"
    opening = _opening(cell, target, T_target, middle, top)
    if opening == 0.0:
        return f"{target} has no opening"
    if radius + OPENING_GAP_M > opening:
        return f"it is {200 * radius:.1f} cm wide, the opening of {target} {200 * opening:.1f} cm"
    return ""


def _opening(cell: Cell, target: str, T_target: Array, middle: Array, top: float) -> float:
    """Radius of the largest disc around the middle that is everywhere deeper than `DEEP_M` [m]; 0 without one."""
    low = height_range(cell, target, T_target)[0]
    best = 0.0
    for radius in np.arange(0.01, 0.2, 0.004):
        heights = surface_height(cell, target, T_target, _disc(middle, float(radius)))
        hollow = (heights < top - DEEP_M) & (heights > low + 5e-4)  # a hole through the bottom holds nothing
        if not hollow.all():
            break
        best = float(radius)
    return best


def _disc(center: Array, radius: float) -> Array:
    """(N, 2) points of a disc, its rim included."""
    rings = [np.zeros((1, 2))]
    for r in (0.35, 0.7, 1.0):
        rings.append(np.array([r * radius * _unit(a) for a in np.arange(12) * np.pi / 6]))
    return np.concatenate(rings) + center


def _unit(angle: float) -> Array:
    return np.array([np.cos(angle), np.sin(angle)])
