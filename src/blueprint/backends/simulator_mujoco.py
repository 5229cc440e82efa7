"""Physics by MuJoCo, on the CPU."""

from __future__ import annotations

import copy
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from blueprint.core.errors import BackendError, InputError
from blueprint.model.variation import PhysicsDraw

if TYPE_CHECKING:
    import mujoco

Array = NDArray[np.float64]


def load_model(path: Path) -> mujoco.MjModel:
    """Compile an MJCF file. Raises InputError with MuJoCo's own words when it is malformed or a mesh is missing."""
    import mujoco

    # MuJoCo keeps parsed meshes by name and time in whole seconds: a file written again at once would be read as before
    mujoco.mj_clearCache(mujoco.mj_getCache())
    try:
        return mujoco.MjModel.from_xml_path(str(path))
    except ValueError as error:
        raise InputError(f"MuJoCo cannot load {path}: {error}", "the file or a mesh it names is broken") from error


@lru_cache(maxsize=8)
def _compiled(path: Path, stamps: tuple[tuple[str, int, int], ...]) -> tuple[mujoco.MjModel, mujoco.MjModel]:
    """The model, and the same with nothing asleep: made once for all simulations of this process and its forks."""
    model = load_model(path)
    return model, _awake(model)


def _awake(model: mujoco.MjModel) -> mujoco.MjModel:
    import mujoco

    awake = copy.copy(model)
    awake.opt.enableflags &= ~int(mujoco.mjtEnableBit.mjENBL_SLEEP)
    return awake


def _stamps(path: Path) -> tuple[tuple[str, int, int], ...]:
    """Name, time and size of the file and of what lies in `assets` beside it; () if there is no such file."""
    files = (path, *sorted((path.parent / "assets").rglob("*"))) if path.is_file() else ()
    return tuple((file.name, stat.st_mtime_ns, stat.st_size) for file in files if (stat := file.stat()))


def with_physics(model: mujoco.MjModel, path: Path, physics: PhysicsDraw) -> mujoco.MjModel:
    """A copy of the model of a file with other masses (inertia with them), centres of mass, friction and damping.

    Raises InputError for a name that the model has not.
    """
    import mujoco

    try:
        model = _recentred(path, physics) if physics.center else copy.copy(model)
        for name, factor in physics.mass.items():
            body = model.body(name).id
            model.body_mass[body] *= factor
            model.body_inertia[body] *= factor
        for name, factor in physics.friction.items():
            model.geom_friction[model.geom_bodyid == model.body(name).id, 0] *= factor
        for name, factor in physics.damping.items():
            model.dof_damping[model.dof_jntid == model.joint(name).id] *= factor
    except KeyError as error:  # MuJoCo's message lists the names that exist
        raise InputError(f"the variation of physics does not fit the model: {error}") from error
    mujoco.mj_setConst(model, mujoco.MjData(model))  # what the solver derives from masses
    return model


def _recentred(path: Path, physics: PhysicsDraw) -> mujoco.MjModel:
    """Compiled anew: MuJoCo keeps no room for the coupling in the inertia of a body whose centre was its origin.

    Raises InputError for a name that the model has not.
    """
    import mujoco

    spec: Any = mujoco.MjSpec.from_file(str(path))
    for name, offset in physics.center.items():
        body = spec.body(name)
        if body is None or not body.explicitinertial:
            raise InputError(f"the variation of physics does not fit the model: {name!r} has no inertia of its own")
        body.ipos = body.ipos + np.array(offset)
    return spec.compile()


class SimulatorMujoco:
    """Opens MJCF files. Deterministic: the same model, state and controls give the same bits on the same machine."""

    name = "mujoco"

    @property
    def version(self) -> str:
        import mujoco

        return mujoco.__version__

    def open(self, model: Path, qpos: Array | None = None, physics: PhysicsDraw | None = None) -> SimulationMujoco:
        """Start at `qpos` (nq,), else at the keyframe `start` if the file has one, else at the model's own pose.

        Raises InputError when `physics` names what the model has not.
        """
        import mujoco

        compiled, awake = _compiled(model, _stamps(model))
        if physics is not None:
            compiled = with_physics(compiled, model, physics)
            awake = _awake(compiled)
        data = mujoco.MjData(compiled)
        key = mujoco.mj_name2id(compiled, mujoco.mjtObj.mjOBJ_KEY, "start")
        if key >= 0:
            mujoco.mj_resetDataKeyframe(compiled, data, key)
        if qpos is not None:
            if len(qpos) != compiled.nq:
                raise InputError(f"{len(qpos)} positions for a model of {compiled.nq}")
            data.qpos[:] = qpos
        return SimulationMujoco(compiled, data, awake)


class SimulationMujoco:
    """One MuJoCo model and state. What rests may sleep, where the model says so, and has its contacts all the same."""

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData, awake: mujoco.MjModel) -> None:
        """awake: the same model, in which nothing sleeps."""
        self._model: Any = model
        self._data: Any = data
        self._awake: Any = awake
        self._seen: Any = None
        self._fresh = False

    def _look(self) -> Any:
        """Contacts and forces belong to the state, not to the step before, and sleepers have theirs: found on the side.

        On the side, so that asking changes nothing of what follows.
        """
        import mujoco

        if not self._fresh:
            self._seen = self._seen or mujoco.MjData(self._awake)
            mujoco.mj_copyState(self._model, self._data, self._seen, int(mujoco.mjtState.mjSTATE_INTEGRATION))
            mujoco.mj_forward(self._awake, self._seen)
            self._fresh = True
        return self._seen

    @property
    def qpos(self) -> Array:
        return self._data.qpos.copy()

    @property
    def qvel(self) -> Array:
        return self._data.qvel.copy()

    def advance(self, ctrl: Array, seconds: float) -> None:
        """Step `seconds` (rounded to whole time steps), actuator targets moving linearly from the last `ctrl` (nu,).

        After k of n steps the target is last + (ctrl - last) k / n, so the new `ctrl` is reached with the last step.
        Raises BackendError when the state diverges.
        """
        import mujoco

        steps = max(1, round(seconds / self._model.opt.timestep))
        start = self._data.ctrl.copy()
        target = np.asarray(ctrl, dtype=float)
        if target.shape != start.shape:
            raise InputError(f"{target.size} controls for a model of {start.size} actuators")
        model, data, self._fresh = self._model, self._data, False
        for row in start + (target - start) * (np.arange(1, steps + 1) / steps)[:, None]:
            data.ctrl[:] = row
            mujoco.mj_step(model, data)
        bad = self._data.warning[mujoco.mjtWarning.mjWARN_BADQACC].number
        if bad or not np.isfinite(self._data.qpos).all():
            raise BackendError("MuJoCo's state diverged", "look for deep penetration or a tiny inertia in the scene")

    def put(self, qpos_at: NDArray[np.int64], qpos: Array, dof_at: NDArray[np.int64], qvel: Array) -> None:
        self._data.qpos[qpos_at], self._data.qvel[dof_at] = qpos, qvel
        self._fresh = False

    def contacts(self) -> list[tuple[int, int, float, float]]:
        import mujoco

        seen = self._look()
        if not seen.ncon:
            return []
        contact, rows = seen.contact, seen.efc_force.tolist()
        bodies = self._model.geom_bodyid[contact.geom]
        for k, side in zip(*np.nonzero(contact.geom < 0), strict=True):
            bodies[k, side] = self._body_of(contact[int(k)], int(side))
        edges = np.maximum(2 * contact.dim - 2, 1)  # a pyramid's add up to the normal force; a cone's first row is it
        if self._model.opt.cone == mujoco.mjtCone.mjCONE_ELLIPTIC:
            edges[:] = 1
        first = contact.efc_address.tolist()
        force = [sum(rows[a : a + n]) if a >= 0 else 0.0 for a, n in zip(first, edges.tolist(), strict=True)]
        return list(zip(*bodies.T.tolist(), contact.dist.tolist(), force, strict=True))

    def _body_of(self, contact: Any, side: int) -> int:
        """The body of the flex vertex nearest to a contact."""
        model = self._model
        flex, vertex = contact.flex[side], contact.vert[side]
        if vertex < 0:
            first = model.flex_elemdataadr[flex] + contact.elem[side] * (model.flex_dim[flex] + 1)
            vertex = model.flex_elem[first]
        return int(model.flex_vertbodyid[model.flex_vertadr[flex] + vertex])

    def normals(self) -> Array:
        """(K, 3) unit normal of each contact of `contacts`, from body a towards body b, world frame."""
        return self._look().contact.frame[:, :3].copy()

    def close(self) -> None:
        self._data = self._model = self._seen = self._awake = None
