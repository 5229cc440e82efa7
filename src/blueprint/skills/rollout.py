"""Run actions in a simulation and keep what happened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from blueprint.backends.protocols import Simulation
from blueprint.skills.cell import Cell
from blueprint.skills.planning.obstacles import Mover, driven

Array = NDArray[np.float64]

SEGMENTS = ("reach", "approach", "grasp", "lift", "move", "place", "release", "retreat", "rest", "recover", "push")

MOVED_RAD = 1e-3  # further than rounding takes a joint


@dataclass
class Rollout:
    """The frames so far. Each holds the state before its action; the last action's outcome is `simulation`'s state.

    movers: what moves by itself, as it does in this episode
    """

    simulation: Simulation
    cell: Cell
    fps: int
    rows: dict[str, list[NDArray]] = field(default_factory=dict)
    touching: list[tuple[int, int, int]] = field(default_factory=list)
    forces: list[float] = field(default_factory=list)
    movers: tuple[Mover, ...] = ()

    @property
    def qpos(self) -> Array:
        return self.simulation.qpos

    @property
    def frames(self) -> int:
        return len(self.rows.get("action", []))

    @property
    def joints(self) -> Array:
        """(n,) arm configuration now [rad]."""
        return self.simulation.qpos[self.cell.arm_qpos]

    @property
    def action(self) -> Array:
        """(sum of n + 1,) the last action of all arms; before the first one, that which keeps them at home."""
        actions = self.rows.get("action")
        return self.cell.home_action if not actions else actions[-1].astype(float)

    @property
    def moved(self) -> tuple[str, ...]:
        """Names of the arms whose joints were commanded away from home, in the order of their first motion."""
        away = np.abs(np.array(self.rows.get("action", [self.action])) - self.cell.home_action) > MOVED_RAD
        first = {view.called: away[:, view.columns][:, :-1].any(axis=1) for view in self.cell.views}
        return tuple(sorted((arm for arm in first if first[arm].any()), key=lambda arm: int(first[arm].argmax())))

    @property
    def commanded(self) -> Array:
        """(n,) last commanded arm configuration: where a motion must start lest the command jump."""
        return self.action[self.cell.columns][:-1]

    def view(self, k: int) -> Rollout:
        """The same rollout, its frames shared, as the k-th arm drives it."""
        return replace(self, cell=self.cell.view(k))

    def run(self, segment: str, targets: Array, opening: Array | float) -> None:
        """Follow joint targets (K, n), one per frame, with gripper openings (K,) or one for all [m].

        The other arms stay where they are commanded to be.
        """
        self.run_together(segment, {self.cell.index: (targets, opening)})

    def run_together(self, segment: str, motions: Mapping[int, tuple[Array, Array | float]]) -> None:
        """Several arms at once: index of the arm -> targets (K, n), openings. The shorter motion waits at its end."""
        frames = max(len(targets) for targets, _ in motions.values())
        rows = np.tile(self.action, (frames, 1))
        for k, (targets, opening) in motions.items():
            if len(targets):
                own = np.column_stack([targets, np.broadcast_to(np.asarray(opening, dtype=float), len(targets))])
                columns = self.cell.view(k).columns
                rows[: len(own), columns], rows[len(own) :, columns] = own, own[-1]
        for row in rows:
            self._frame(segment, row)

    def hold(self, segment: str, frames: int, opening: Array | float) -> None:
        """Stay where the arm is commanded to be."""
        self.run(segment, np.tile(self.commanded, (frames, 1)), opening)

    def repeat(self, actions: NDArray[np.float32]) -> None:
        """Recorded actions (T, sum of n + 1), open loop; what they were part of is not known: segment `rest`."""
        for row in actions:
            self._frame("rest", row)

    def _frame(self, segment: str, row: Array) -> None:
        """One action (sum of n + 1,) of all arms."""
        if self.movers:
            self.simulation.put(*driven(self.cell.model, self.movers, self.frames / self.fps, 1.0 / self.fps))
        action = row.astype(np.float32)
        ctrl = self.cell.ctrl(action)
        self._note(action, ctrl, SEGMENTS.index(segment))
        self.simulation.advance(ctrl, 1.0 / self.fps)

    def _note(self, action: NDArray[np.float32], ctrl: Array, segment: int) -> None:
        frame, qpos = self.frames, self.simulation.qpos
        row = {
            "time": np.float64(frame / self.fps),
            "qpos": qpos,
            "qvel": self.simulation.qvel,
            "ctrl": ctrl,
            "state": self.cell.observed(qpos),
            "action": action,
            "segment": np.int8(segment),
        }
        for name, value in row.items():
            self.rows.setdefault(name, []).append(np.asarray(value))
        for a, b, distance, force in self.simulation.contacts():
            if distance < 1e-4 or force > 0.0:
                self.touching.append((frame, a, b))
                self.forces.append(force)

    def arrays(self) -> dict[str, NDArray]:
        """The arrays of an episode's states file; see `Episodes`."""
        columns = {name: np.stack(values) for name, values in self.rows.items()}
        columns["contacts"] = np.array(self.touching, dtype=np.int32).reshape(-1, 3)
        columns["force"] = np.array(self.forces, dtype=np.float64)
        return columns

    def save(self, path: Path) -> None:
        """Write the arrays as `.npz`. NumPy dates all entries 1980, so equal episodes are equal files."""
        np.savez_compressed(path, **self.arrays())  # type: ignore[arg-type]
