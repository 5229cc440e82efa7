"""Short physics trials: the stretch that decides is tried in the simulator before a way is chosen.

A grasp is closed, lifted by 3 cm and held; what is held is set down, let go and left. Both start with the arm already
there, at rest: a trial asks whether fingers, friction and shape agree, not whether the motion in between does. Bounds
are tighter than the judge's, since a trial is not the attempt.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from blueprint.backends.protocols import Simulation, Simulator
from blueprint.geometry.transforms import invert, rotation_angle
from blueprint.skills.cell import Cell
from blueprint.skills.grasping.approach import Approach, raised
from blueprint.skills.primitives import CLOSE_S, HELD_M, SQUEEZE_S, Held, Placing, Skills

Array = NDArray[np.float64]

STEP_S = 1e-6  # shorter than any time step: one step
LIFT_M, LIFT_S, HOLD_S = 0.03, 0.35, 0.3
RISEN_M = 0.02
SLIP_M, SLIP_RAD = 0.006, np.deg2rad(5.0)  # of the object in the hand, while it is lifted and held
NEIGHBOUR_M = 0.01  # half of what the judge lets others move by
LOWER_M = 0.02  # of a descent, its last stretch
LOWER_S, LET_GO_S, BACK_S, STAND_S = 0.25, 0.35, 0.5, 0.5
AWAY_M, TILT_RAD = 0.015, np.deg2rad(8.0)  # of what was set down from where it was meant to stand
STILL_M = 0.001  # while it stands for the last part of `STAND_S`


@dataclass(frozen=True)
class Trials:
    """What tries: skills in a simulator."""

    simulator: Simulator
    skills: Skills

    def grasp(self, name: str, way: Approach, qpos: Array) -> Held | None:
        """How the object lies in the hand after the trial, or None if it slips, is missed or pushes others.

        qpos: (nq,) the state from which it is grasped
        """
        cell, arm, opening = self.skills.cell, self.skills.arm, way.grasp.opening
        up = arm.line(way.T_world_tool, raised(way.T_world_tool, LIFT_M), way.path[-1], steps=2)
        if up is None:
            return None
        start = qpos.copy()
        start[cell.arm_qpos], start[cell.finger_qpos] = way.path[-1], cell.finger_positions(opening)
        with self._opened(start) as bench:
            bench.go(way.path[-1], 0.0, CLOSE_S)
            bench.go(way.path[-1], 0.0, SQUEEZE_S)
            before = self._in_hand(bench.qpos, name)
            bench.go(up[1], 0.0, LIFT_S / 2)
            bench.go(up[2], 0.0, LIFT_S / 2)
            bench.go(up[2], 0.0, HOLD_S)
            after = bench.qpos
        now = self._in_hand(after, name)
        risen = cell.pose(after, name)[2, 3] - cell.pose(qpos, name)[2, 3]
        if cell.opening(after) < HELD_M or risen < RISEN_M or _apart(before, now, SLIP_M, SLIP_RAD):
            return None
        return None if self._pushed(qpos, after, name) else Held(name, now, cell.opening(after), opening)

    def release(self, held: Held, placing: Placing, qpos: Array) -> bool:
        """Whether what is held stays where it is set down. qpos: (nq,) state of everything else."""
        cell, arm, down, back = self.skills.cell, self.skills.arm, placing.down, placing.back
        heights = np.array([arm.tool_pose(joints)[2, 3] for joints in down])
        first = int(np.flatnonzero(heights - heights[-1] >= min(LOWER_M, np.ptp(heights)) - 1e-9)[-1])
        wanted = arm.tool_pose(down[-1]) @ held.T_tool_object
        start = cell.with_pose(qpos, held.name, arm.tool_pose(down[first]) @ held.T_tool_object)
        start[cell.arm_qpos], start[cell.finger_qpos] = down[first], cell.finger_positions(held.width)
        with self._opened(start, closed=True) as bench:
            for joints in down[first:]:
                bench.go(joints, 0.0, LOWER_S / len(down[first:]))
            bench.go(down[-1], 0.0, LOWER_S / 2)
            bench.go(down[-1], held.width, STEP_S)
            bench.go(down[-1], held.opening, LET_GO_S)
            for joints in back:
                bench.go(joints, held.opening, BACK_S / len(back))
            bench.go(back[-1], held.opening, STAND_S / 2)
            stood = cell.pose(bench.qpos, held.name)
            bench.go(back[-1], held.opening, STAND_S / 2)
            after = bench.qpos
        now = cell.pose(after, held.name)
        still = not _apart(stood, now, STILL_M, np.inf)
        tilted = float(np.arccos(np.clip(now[:3, :3].T[:, 2] @ wanted[:3, :3].T[:, 2], -1.0, 1.0))) > TILT_RAD
        return (
            still
            and not tilted
            and not _apart(wanted, now, AWAY_M, np.inf)
            and not self._pushed(qpos, after, held.name)
        )

    def _in_hand(self, qpos: Array, name: str) -> Array:
        cell = self.skills.cell
        return invert(self.skills.arm.tool_pose(qpos[cell.arm_qpos])) @ cell.pose(qpos, name)

    def _pushed(self, before: Array, after: Array, name: str) -> bool:
        cell = self.skills.cell
        others = [other for other in cell.objects if other != name]
        return any(_apart(cell.pose(before, o), cell.pose(after, o), NEIGHBOUR_M, np.inf) for o in others)

    @contextmanager
    def _opened(self, qpos: Array, *, closed: bool = False) -> Iterator[_Bench]:
        """closed: the hand squeezes from the start."""
        simulation = self.simulator.open(self.skills.cell.file, qpos)
        try:
            yield _Bench(simulation, self.skills.cell, closed)
        finally:
            simulation.close()


class _Bench:
    """A simulation driven by one arm; the others are told to stay where they are."""

    def __init__(self, simulation: Simulation, cell: Cell, closed: bool) -> None:
        self._simulation, self._cell = simulation, cell
        self._action = cell.observed(simulation.qpos).astype(float)
        *joints, opening = self._action[cell.columns]
        self.go(np.array(joints), 0.0 if closed else opening, STEP_S)

    @property
    def qpos(self) -> Array:
        return self._simulation.qpos

    def go(self, joints: Array, opening: float, seconds: float) -> None:
        """Move the targets there, linearly."""
        self._action[self._cell.columns] = [*joints, opening]
        self._simulation.advance(self._cell.ctrl(self._action.astype(np.float32)), seconds)


def _apart(a: Array, b: Array, metres: float, radians: float) -> bool:
    """Whether two poses differ by more than that."""
    return bool(np.linalg.norm(a[:3, 3] - b[:3, 3]) > metres or rotation_angle(a, b) > radians)
