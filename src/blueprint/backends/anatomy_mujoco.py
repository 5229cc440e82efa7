"""Which bodies of a compiled model belong together, and the points that their shapes span."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blueprint.backends.signals_mujoco import compiled

Array = NDArray[np.float64]

ROUND = 32  # points on a circle that stands for it: its extent is short by 0.5 %


@dataclass(frozen=True)
class Anatomy:
    """B bodies. names: of each; roots: (B,) the body just below the world that each hangs on, 0 = the world itself;
    points: body -> (V, 3) [m] corners of the convex hull of what is seen of it, body frame; none = nothing is
    """

    names: tuple[str, ...]
    roots: NDArray[np.int64]
    points: dict[int, Array]


def anatomy(path: Path) -> Anatomy:
    """Of an MJCF file. Raises InputError when it does not compile."""
    model = compiled(path)
    found: dict[int, list[Array]] = {}
    drawn = (model.geom_contype == 0) & (model.geom_conaffinity == 0)
    for geom in range(model.ngeom):
        body = int(model.geom_bodyid[geom])
        mates = model.geom_bodyid == body
        if drawn[geom] == drawn[mates].any():  # what is only drawn, where there is such; else what collides
            found.setdefault(body, []).append(_in_body(model, geom))
    return Anatomy(
        names=tuple(model.body(i).name or f"body_{i}" for i in range(model.nbody)),
        roots=np.array(model.body_rootid, dtype=np.int64),
        points={body: _hull(np.concatenate(parts)) for body, parts in found.items() if body and len(parts)},
    )


def _in_body(model: Any, geom: int) -> Array:
    import mujoco

    rotation = np.zeros(9)
    mujoco.mju_quat2Mat(rotation, model.geom_quat[geom])
    return geom_points(model, geom) @ rotation.reshape(3, 3).T + model.geom_pos[geom]


def geom_points(model: Any, geom: int) -> Array:
    """(V, 3) in the geom's frame. Round shapes by points on them; planes and fields span nothing."""
    import mujoco

    kinds, kind, size = mujoco.mjtGeom, model.geom_type[geom], model.geom_size[geom]
    if kind == kinds.mjGEOM_MESH:
        mesh = model.geom_dataid[geom]
        first = model.mesh_vertadr[mesh]
        return np.array(model.mesh_vert[first : first + model.mesh_vertnum[mesh]], dtype=float)
    if kind == kinds.mjGEOM_BOX:
        return np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * size
    angle = np.linspace(0, 2 * np.pi, ROUND, endpoint=False)
    ring = np.stack([np.cos(angle), np.sin(angle), np.zeros(ROUND)], axis=1)
    ball = np.concatenate([ring * np.cos(t) + [0, 0, np.sin(t)] for t in np.linspace(-np.pi / 2, np.pi / 2, 17)])
    if kind == kinds.mjGEOM_CYLINDER:
        return np.concatenate([ring * size[0] + [0, 0, end * size[1]] for end in (-1, 1)])
    if kind == kinds.mjGEOM_CAPSULE:
        return np.concatenate([ball * size[0] + [0, 0, end * size[1]] for end in (-1, 1)])
    if kind == kinds.mjGEOM_SPHERE:
        return ball * size[0]
    if kind == kinds.mjGEOM_ELLIPSOID:
        return ball * size
    return np.zeros((0, 3))


def _hull(points: Array) -> Array:
    from scipy.spatial import ConvexHull, QhullError

    if len(points) < 5:
        return points
    try:
        return points[np.sort(ConvexHull(points).vertices)]
    except QhullError:  # flat: a sheet of paper, a decal
        return points
