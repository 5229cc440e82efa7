"""Two slabs that meet along an edge, as the keyboard and the screen of a laptop do."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from blueprint.geometry.articulation.hinges import Verdict
from blueprint.geometry.mesh import Mesh
from blueprint.geometry.transforms import Array
from blueprint.model.categories import OPENINGS

PARALLEL_DEG = 12.0  # slabs less open than this lie on each other: the hinge's side cannot be seen
LARGEST = 1000  # faces that decide where a slab faces
THIN = 0.25  # thickness over the smaller side of a slab


def fold(mesh: Mesh, label: NDArray[np.int64]) -> tuple[int, tuple[Verdict, ...], float] | None:
    """(component that turns, its hinge at several depths of its edge, angle between the slabs [rad]), or None.

    The verdicts' `upper` is what is left of the usual range; closing is the angle, backwards.
    """
    slabs = sorted(range(int(label.max()) + 1), key=lambda k: -_size(mesh, label, k))[:2]
    if len(slabs) < 2:
        return None
    low, high = sorted(slabs, key=lambda k: float(_points(mesh, label, k)[:, 2].mean()))
    ground, leaf = _normal(mesh, label, low), _normal(mesh, label, high)
    axis = np.cross(ground, leaf)
    if np.linalg.norm(axis) < np.sin(np.deg2rad(PARALLEL_DEG)):
        return None
    axis /= np.linalg.norm(axis)
    return next(_hinges(_points(mesh, label, low), _points(mesh, label, high), axis, leaf, high), None)


def _hinges(
    below: Array, leaf: Array, axis: Array, normal: Array, index: int
) -> Iterator[tuple[int, tuple[Verdict, ...], float]]:
    along = np.cross(axis, normal)
    middle = leaf.mean(axis=0)
    spans = [((leaf - middle) @ v) for v in (along, normal)]
    length, thick = (float(np.ptp(span)) for span in spans)
    if thick > THIN * length:
        return
    ends = [middle + along * float(edge) for edge in (spans[0].min(), spans[0].max())]
    basis = np.stack([axis, np.cross([0.0, 0.0, 1.0], axis), [0.0, 0.0, 1.0]])
    local = below @ basis.T
    far = [float(np.linalg.norm(end @ basis.T - np.clip(end @ basis.T, local.min(0), local.max(0)))) for end in ends]
    near = ends[int(np.argmin([abs(float((end - below.mean(axis=0))[2])) for end in ends]))]
    other = ends[0] if near is ends[1] else ends[1]
    if min(far) > 0.25 * length:
        return
    toward_leaf = (other - near) / np.linalg.norm(other - near)
    toward_base = below.mean(axis=0) - near
    toward_base -= axis * (axis @ toward_base)
    toward_base[2] = 0.0
    toward_base /= max(float(np.linalg.norm(toward_base)), 1e-9)
    angle = float(np.arccos(np.clip(toward_base @ toward_leaf, -1, 1)))
    turning = np.cross(toward_base, toward_leaf)
    turning /= np.linalg.norm(turning)
    upper = max(OPENINGS["screen"].limits[1] - angle, 0.0)
    evidence = (f"two slabs meet along an edge, {np.rad2deg(angle):.0f} degrees open", "category: it folds")
    depths = [spans[1].min(), 0.0, spans[1].max()]
    yield (
        index,
        tuple(
            Verdict("lid", "revolute", turning, near + normal * float(d), upper, 0.9, evidence, "", "category")
            for d in depths
        ),
        angle,
    )


def _points(mesh: Mesh, label: NDArray[np.int64], piece: int) -> Array:
    return mesh[0][np.unique(mesh[1][label == piece])]


def _size(mesh: Mesh, label: NDArray[np.int64], piece: int) -> float:
    return float(np.linalg.norm(np.ptp(_points(mesh, label, piece), axis=0)))


def _normal(mesh: Mesh, label: NDArray[np.int64], piece: int) -> Array:
    """Unit normal of the largest flat direction of a piece."""
    corners = mesh[0][mesh[1][label == piece]]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    cross = cross[np.argsort(-np.linalg.norm(cross, axis=1), kind="stable")[:LARGEST]]
    area = np.linalg.norm(cross, axis=1)
    unit = cross / np.maximum(area, 1e-15)[:, None]
    best = int(np.argmax(((np.abs(unit @ unit.T) > 0.98) * area).sum(axis=1)))
    return unit[best]
