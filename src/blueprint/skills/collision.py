"""Whether the arm may be in a configuration: MuJoCo's collision detection with everything but the robot frozen.

Only pairs that matter are tested, by contact bits: robot against scene, robot against itself, what is carried against
scene and arm. Clearance is a margin on the moving geoms.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from blueprint.skills.cell import Cell

Array = NDArray[np.float64]

ROBOT, SCENE, CARRIED, SELF, ARM = 1, 2, 4, 8, 16
CLEARANCE_M = 0.004  # tracking error of the servos plus contact softness, kept from everything not to be touched


class CollisionWorld:
    """A private copy of the workcell's model; `place` sets the scene, `hold` what the hand carries."""

    def __init__(self, cell: Cell, *, clearance_m: float = CLEARANCE_M) -> None:
        import mujoco

        self.cell = cell
        self._mj = mujoco
        self._model = copy.copy(cell.model)
        self._data = mujoco.MjData(self._model)
        self._data.qpos[:] = cell.home_qpos
        self._carried: tuple[str, Array] | None = None
        self._geoms = {body: self._geoms_of(body) for body in range(self._model.nbody)}
        self._hand = _subtree(self._model, int(self._model.site_bodyid[cell.tool_site]))
        self._set_bits()
        for body in cell.robot_bodies:
            self._model.geom_margin[self._geoms[body]] = clearance_m
        self._clearance = clearance_m

    def _geoms_of(self, body: int) -> NDArray[np.int64]:
        start, count = self._model.body_geomadr[body], self._model.body_geomnum[body]
        geoms = np.arange(start, start + count)
        solid = (self.cell.model.geom_contype[geoms] > 0) | (self.cell.model.geom_conaffinity[geoms] > 0)
        return geoms[solid] if count else np.zeros(0, dtype=np.int64)

    def _set_bits(self) -> None:
        for body, geoms in self._geoms.items():
            if body not in self.cell.robot_bodies:
                self._bits(geoms, SCENE, ROBOT | CARRIED)
            elif body in self._hand:
                self._bits(geoms, ROBOT | SELF, SELF)
            else:
                self._bits(geoms, ROBOT | SELF, SELF | ARM)
        self._refresh_bodies()

    def _bits(self, geoms: NDArray[np.int64], contype: int, conaffinity: int) -> None:
        self._model.geom_contype[geoms] = contype
        self._model.geom_conaffinity[geoms] = conaffinity

    def _refresh_bodies(self) -> None:
        """The broad phase filters by the union of a body's geoms."""
        for body, geoms in self._geoms.items():
            contype = np.bitwise_or.reduce(self._model.geom_contype[geoms]) if len(geoms) else 0
            conaffinity = np.bitwise_or.reduce(self._model.geom_conaffinity[geoms]) if len(geoms) else 0
            self._model.body_contype[body], self._model.body_conaffinity[body] = contype, conaffinity

    def place(self, qpos: Array) -> None:
        """Put every object where it is in `qpos` (nq,)."""
        self._data.qpos[:] = qpos

    @contextmanager
    def ignoring(self, *names: str) -> Iterator[None]:
        """Objects that may be touched inside the block."""
        for name in names:
            self._bits(self._geoms[self.cell.body(name)], 0, 0)
        self._refresh_bodies()
        try:
            yield
        finally:
            for name in names:
                self._bits(self._geoms[self.cell.body(name)], SCENE, ROBOT | CARRIED)
            self._refresh_bodies()

    @contextmanager
    def holding(self, name: str, T_tool_object: Array, *, margin_m: float = 0.002) -> Iterator[None]:
        """The object moves with the tool inside the block, and must not touch the scene or the arm."""
        geoms = self._geoms[self.cell.body(name)]
        self._carried = (name, T_tool_object)
        self._bits(geoms, CARRIED | ARM, 0)
        self._model.geom_margin[geoms] = margin_m
        self._refresh_bodies()
        try:
            yield
        finally:
            self._carried = None
            self._bits(geoms, SCENE, ROBOT | CARRIED)
            self._model.geom_margin[geoms] = self.cell.model.geom_margin[geoms]
            self._refresh_bodies()

    def _detect(self, joints: Array, opening: float) -> None:
        data, cell = self._data, self.cell
        data.qpos[cell.arm_qpos] = joints
        data.qpos[cell.finger_qpos] = cell.finger_positions(opening)
        self._mj.mj_kinematics(self._model, data)
        if self._carried is not None:
            name, T_tool_object = self._carried
            data.qpos[:] = cell.with_pose(data.qpos, name, self._tool() @ T_tool_object)
            self._mj.mj_kinematics(self._model, data)
        self._mj.mj_collision(self._model, data)

    def _tool(self) -> Array:
        T = np.eye(4)
        T[:3, :3] = self._data.site_xmat[self.cell.tool_site].reshape(3, 3)
        T[:3, 3] = self._data.site_xpos[self.cell.tool_site]
        return T

    def clear(self, joints: Array, opening: float) -> bool:
        """Whether nothing comes closer than the clearance. joints: (n,) [rad]; opening: of the gripper [m]."""
        self._detect(joints, opening)
        return not self._data.ncon or not bool((self._data.contact.dist < self._data.contact.includemargin).any())

    def blocking(self, joints: Array, opening: float) -> list[tuple[str, str]]:
        """Names of the pairs of bodies that are too close, for messages."""
        self._detect(joints, opening)
        contact, model = self._data.contact, self._model
        close = np.flatnonzero(contact.dist < contact.includemargin) if self._data.ncon else []
        pairs = {
            tuple(sorted(model.body(model.geom_bodyid[g]).name or "world" for g in contact.geom[i])) for i in close
        }
        return sorted((a, b) for a, b in pairs)

    def tool_pose(self, joints: Array) -> Array:
        """(4, 4) T_world_tool by forward kinematics."""
        self._data.qpos[self.cell.arm_qpos] = joints
        self._mj.mj_kinematics(self._model, self._data)
        return self._tool()


def _subtree(model: object, root: int) -> frozenset[int]:
    inside = {root}
    for body in range(root + 1, model.nbody):  # type: ignore[attr-defined]
        if int(model.body_parentid[body]) in inside:  # type: ignore[attr-defined]
            inside.add(body)
    return frozenset(inside)
