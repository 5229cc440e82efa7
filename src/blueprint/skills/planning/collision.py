"""Whether the arm may be in a configuration: MuJoCo's collision detection with everything but the robot frozen.

Only pairs that matter are tested, by contact bits: robot against scene, robot against itself, what is carried against
scene and arm. Clearance is a margin on the moving geoms; `sight` looks further, so that `sweep` can tell how far the
arm may move before anything could touch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull

from blueprint.skills.cell import Cell
from blueprint.skills.grasping.solids import solid
from blueprint.skills.planning.sweep import Sights

if TYPE_CHECKING:
    import mujoco

Array = NDArray[np.float64]

ROBOT, SCENE, CARRIED, SELF, ARM, HAND = 1, 2, 4, 8, 16, 32
SIGHT_M = 0.03  # how far `sight` looks around the arm: further costs more than the longer steps save
HULL_EXCESS = 1.15  # a link whose hull is at most this much larger than its pieces together is taken for its hull
CARRIED_M = 0.3  # what is carried ends within this of the hand's frame
CLEARANCE_M = 0.004  # tracking error of the servos plus contact softness, kept from everything not to be touched


class Moving(Protocol):
    """Something that moves by itself, known over time. bodies: their names in the workcell"""

    @property
    def bodies(self) -> tuple[str, ...]: ...

    @property
    def fastest(self) -> float:
        """No point of it is ever faster than this [m/s]."""
        ...

    def place(self, model: mujoco.MjModel, data: mujoco.MjData, t: float) -> None:
        """Write where it is at a time [s] into `data`."""
        ...


class CollisionWorld:
    """A private copy of the workcell's model; `place` sets the scene, `hold` what the hand carries."""

    sight_m = SIGHT_M

    def __init__(self, cell: Cell, *, clearance_m: float = CLEARANCE_M) -> None:
        import mujoco

        self.cell = cell
        self._mj = mujoco
        self._model = _colliders(cell)
        self._data = mujoco.MjData(self._model)
        self._data.qpos[:] = cell.home_qpos
        self._carried: tuple[str, Array] | None = None
        self._opening = 0.0, cell.finger_positions(0.0)
        self._geoms = {body: self._geoms_of(body) for body in range(self._model.nbody)}
        self._hand = _subtree(self._model, int(self._model.site_bodyid[cell.tool_site]))
        self._set_bits()
        self._moving = np.concatenate([self._geoms[body] for body in sorted(cell.robot_bodies)])
        self._margins(self._moving, clearance_m)
        self._place = np.full(self._model.ngeom, -1)  # of each geom among the moving ones, -1 = not moving
        self._place[self._moving] = np.arange(len(self._moving))

    def _geoms_of(self, body: int) -> NDArray[np.int64]:
        start, count = self._model.body_geomadr[body], self._model.body_geomnum[body]
        return np.arange(start, start + count) if count else np.zeros(0, dtype=np.int64)

    def _set_bits(self) -> None:
        for body, geoms in self._geoms.items():
            if body not in self.cell.robot_bodies:
                self._bits(geoms, SCENE, ROBOT | CARRIED)
            elif body in self._hand:
                self._bits(geoms, ROBOT | HAND, SELF)  # the fingers may be close to each other and to the palm
            else:
                self._bits(geoms, ROBOT | SELF, SELF | ARM | HAND)
        self._refresh_bodies()

    def _bits(self, geoms: NDArray[np.int64], contype: int, conaffinity: int) -> None:
        self._model.geom_contype[geoms] = contype
        self._model.geom_conaffinity[geoms] = conaffinity

    def _margins(self, geoms: NDArray[np.int64], margin_m: float | Array) -> None:
        """The broad phase needs the largest margin of each body's geoms."""
        model = self._model
        model.geom_margin[geoms] = margin_m
        bodies = model.geom_bodyid[geoms]
        model.body_margin[bodies] = 0.0
        np.maximum.at(model.body_margin, bodies, model.geom_margin[geoms])

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
        self._margins(geoms, margin_m)
        self._place[geoms] = len(self._moving) + np.arange(len(geoms))
        self._moving = np.append(self._moving, geoms)
        self._refresh_bodies()
        try:
            yield
        finally:
            self._carried = None
            self._bits(geoms, SCENE, ROBOT | CARRIED)
            self._margins(geoms, 0.0)
            self._moving = self._moving[: len(self._moving) - len(geoms)]
            self._place[geoms] = -1
            self._refresh_bodies()

    @contextmanager
    def berth(self, extra_m: float, names: Iterable[str] | None = None) -> Iterator[None]:
        """Inside the block the scene, or only the bodies named, must be kept away from by more than the clearance."""
        bodies = [self.cell.body(name) for name in names or ()]
        geoms = np.flatnonzero(self._place < 0) if names is None else self._of(bodies)
        kept = self._model.geom_margin[geoms]
        self._margins(geoms, kept + extra_m)
        try:
            yield
        finally:
            self._margins(geoms, kept)

    def _of(self, bodies: Iterable[int]) -> NDArray[np.int64]:
        return np.concatenate([np.zeros(0, dtype=np.int64), *(self._geoms[body] for body in bodies)])

    def move(self, moving: Iterable[Moving], t: float) -> None:
        """Put what moves by itself where it is at a time [s]."""
        for one in moving:
            one.place(self._model, self._data, t)

    def meets(self, joints: Array, opening: float, geoms: NDArray[np.int64]) -> bool:
        """Whether the arm is too close to any of some geoms; see `geoms_of`."""
        self._detect(joints, opening)
        return bool(self._data.ncon and np.isin(self._data.contact.geom, geoms).any())

    def geoms_of(self, names: Iterable[str]) -> NDArray[np.int64]:
        """Geoms of bodies, as `meets` wants them."""
        return self._of([self.cell.body(name) for name in names])

    def _detect(self, joints: Array, opening: float) -> None:
        data, cell = self._data, self.cell
        data.qpos[cell.arm_qpos] = joints
        if opening != self._opening[0]:
            self._opening = opening, cell.finger_positions(opening)
        data.qpos[cell.finger_qpos] = self._opening[1]
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
        return not self._data.ncon

    def look(self, configurations: Array, opening: float, essential: NDArray[np.bool_]) -> Sights:
        """What is around the arm in each of the configurations (K, n), up to the first essential one that is not clear.

        essential: (K,); where it is False a configuration that is not clear stops nothing
        """
        own, data, moving = self._model.geom_margin.copy(), self._data, self._moving
        self._margins(moving, self.sight_m)
        clear, position, turn, pairs, distances = [], [], [], [], []
        for joints, needed in zip(configurations, essential.tolist(), strict=True):
            self._detect(joints, opening)
            pair, distance = data.contact.geom, data.contact.dist
            clear.append(not len(distance) or not bool((distance < own[pair].sum(axis=1)).any()))
            if needed and not clear[-1]:
                clear.pop()
                break
            position.append(data.geom_xpos[moving])
            turn.append(data.geom_xmat[moving])
            pairs.append(pair.copy())
            distances.append(distance.copy())
        self._margins(moving, own[moving])
        place = self._place[np.concatenate([np.zeros((0, 2), dtype=np.int64), *pairs])]
        return Sights(
            np.array(clear, dtype=bool),
            np.array(position).reshape(-1, len(moving), 3),
            np.array(turn).reshape(-1, len(moving), 3, 3),
            np.repeat(np.arange(len(pairs)), [len(pair) for pair in pairs]),
            np.sort(place, axis=1)[:, ::-1],  # a pair has at least one moving geom: that comes first
            np.concatenate([np.zeros(0), *distances]),
        )

    @property
    def radii(self) -> Array:
        """(G,) of the balls around the moving geoms' frames that hold them [m]."""
        return self._model.geom_rbound[self._moving]

    @cached_property
    def levers(self) -> Array:
        """(n,) how far from each joint's axis the arm's farthest geom usually is [m]: metres moved per radian."""
        model, data, cell = self._model, self._data, self.cell
        levers, rng = np.zeros(len(cell.arm_qpos)), np.random.default_rng(0)
        kept, count = data.qpos.copy(), 32
        low, high = cell.arm_range.T
        for joints in rng.uniform(low, high, (count, len(levers))):
            data.qpos[cell.arm_qpos] = joints
            self._mj.mj_kinematics(model, data)
            for k, name in enumerate(cell.robot.joints):
                joint = cell.joint(name)
                after = _subtree(model, int(model.jnt_bodyid[joint]))
                geoms = np.concatenate([self._geoms[body] for body in after])
                arm = data.geom_xpos[geoms] - data.xanchor[joint]
                off = np.linalg.norm(np.cross(arm, data.xaxis[joint]), axis=1) + model.geom_rbound[geoms] / 2
                levers[k] += off.max() / count
        data.qpos[:] = kept
        return levers

    @cached_property
    def reaches(self) -> Array:
        """(n,) no point of the arm, or of what it carries, is ever farther than this from each joint [m]."""
        model, cell = self._model, self.cell
        out = np.zeros(len(cell.robot.joints))
        for k, name in enumerate(cell.robot.joints):
            root = int(model.jnt_bodyid[cell.joint(name)])
            away = {root: 0.0}
            for body in sorted(_subtree(model, root)):
                if body != root:
                    away[body] = away[int(model.body_parentid[body])] + float(np.linalg.norm(model.body_pos[body]))
                geoms = self._geoms[body]
                size = np.linalg.norm(model.geom_pos[geoms], axis=1) + model.geom_rbound[geoms]
                out[k] = max(out[k], away[body] + size.max(initial=CARRIED_M if body in self._hand else 0.0))
        return out

    def blocking(self, joints: Array, opening: float) -> list[tuple[str, str]]:
        """Names of the pairs of bodies that are too close, for messages."""
        self._detect(joints, opening)
        contact, model = self._data.contact, self._model
        close = np.flatnonzero(contact.dist < contact.includemargin) if self._data.ncon else []
        pairs = {
            tuple(sorted(model.body(model.geom_bodyid[g]).name or "world" for g in contact.geom[i])) for i in close
        }
        return sorted((a, b) for a, b in pairs)

    def jacobian(self, joints: Array) -> tuple[Array, Array]:
        """(6, n) velocity and angular velocity of the tool per joint velocity, and (3,) its z axis, world frame."""
        model, data, cell = self._model, self._data, self.cell
        data.qpos[cell.arm_qpos] = joints
        self._mj.mj_kinematics(model, data)
        self._mj.mj_comPos(model, data)
        both = np.zeros((2, 3, model.nv))
        self._mj.mj_jacSite(model, data, both[0], both[1], cell.tool_site)
        dofs = model.jnt_dofadr[[cell.joint(name) for name in cell.robot.joints]]
        return both.reshape(6, -1)[:, dofs], data.site_xmat[cell.tool_site][2::3].copy()

    def tool_pose(self, joints: Array) -> Array:
        """(4, 4) T_world_tool by forward kinematics."""
        self._data.qpos[self.cell.arm_qpos] = joints
        self._mj.mj_kinematics(self._model, self._data)
        return self._tool()


def _colliders(cell: Cell) -> mujoco.MjModel:
    """The workcell's model without what is only seen; bodies and joints keep their numbers.

    Boxes of what may move become meshes: MuJoCo's own routine for two boxes misses one pair in eight that is near but
    apart, its general one for convex shapes none (measured against `mj_geomDistance` on 2,000 random pairs each). Links
    whose hull is hardly larger than their pieces become that hull: a fingertip is then one shape, not six.
    """
    import mujoco

    mujoco.mj_clearCache(mujoco.mj_getCache())
    spec = mujoco.MjSpec.from_file(str(cell.file))
    spec.compiler.boundmass = spec.compiler.boundinertia = 1e-9  # a body may have had its mass from what is only seen
    for part in (*spec.keys, *(geom for geom in spec.geoms if not geom.contype and not geom.conaffinity)):
        spec.delete(part)
    for name in sorted({cell.model.body(body).name for body in cell.robot_bodies}.union(cell.objects)):
        body = spec.body(name)
        pieces = list(body.geoms)
        shapes = solid(cell.model, cell.body(name)).pieces if pieces else ()
        points = np.concatenate(shapes) if shapes else np.zeros((0, 3))
        if len(shapes) > 1 and ConvexHull(points).volume < HULL_EXCESS * sum(ConvexHull(s).volume for s in shapes):
            _become_mesh(spec, pieces[0], points[ConvexHull(points).vertices])
            for geom in pieces[1:]:
                spec.delete(geom)
        else:
            for geom, shape in zip(pieces, shapes, strict=True):
                if geom.type == mujoco.mjtGeom.mjGEOM_BOX:
                    _become_mesh(spec, geom, shape)
    model = spec.compile()
    model.geom_margin[:] = 0.0
    model.body_margin[:] = 0.0
    return model


def _become_mesh(spec: mujoco.MjSpec, geom: mujoco.MjsGeom, vertices: Array) -> None:
    """Make a geom the hull of vertices (V, 3) in its body's frame."""
    import mujoco

    name = f"hull {len(spec.meshes)}"
    spec.add_mesh(name=name, uservert=vertices.flatten())
    geom.type, geom.meshname = mujoco.mjtGeom.mjGEOM_MESH, name
    geom.pos, geom.quat = [0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]


def _subtree(model: object, root: int) -> frozenset[int]:
    inside = {root}
    for body in range(root + 1, model.nbody):  # type: ignore[attr-defined]
        if int(model.body_parentid[body]) in inside:  # type: ignore[attr-defined]
            inside.add(body)
    return frozenset(inside)
