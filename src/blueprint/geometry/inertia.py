"""Mass properties of solids of uniform density."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from blueprint.core.errors import InputError
from blueprint.model.scene import Inertia

Array = NDArray[np.float64]


def solid_inertia(vertices: ArrayLike, faces: ArrayLike, mass: float) -> Inertia:
    """Inertia of a closed mesh filled with `mass` [kg].

    vertices: (V, 3) [m]; faces: (F, 3), counter-clockwise seen from outside. The result is about the centre of mass,
    along principal axes. Raises InputError when the mesh encloses no volume.
    """
    volume, center, second = solid_moments(vertices, faces)
    about_center = mass * (second / volume - np.outer(center, center))
    return principal(np.trace(about_center) * np.eye(3) - about_center, center)


def solid_moments(vertices: ArrayLike, faces: ArrayLike) -> tuple[float, Array, Array]:
    """Volume [m^3], centroid (3,) [m] and second moments of volume (3, 3) [m^5] of a closed mesh.

    Sums signed tetrahedra between a reference point and each face; the moment of a tetrahedron with one corner at the
    origin and edges a, b, c is det/120 (aa' + bb' + cc' + ss'), s = a + b + c (Tonon, J. Math. Stat. 1, 2005).
    """
    points = np.asarray(vertices, dtype=float)
    reference = points.mean(axis=0)  # near the solid, so that far-away meshes lose no digits
    a, b, c = (points[np.asarray(faces)[:, k]] - reference for k in range(3))
    det = np.einsum("ij,ij->i", a, np.cross(b, c))
    volume = float(det.sum() / 6)
    if volume <= 1e-12:
        raise InputError(f"the mesh encloses no volume ({volume:.3g} m^3)", "close it and turn its faces outward")
    s = a + b + c
    center = det @ s / 24 / volume
    second = sum(np.einsum("n,ni,nj->ij", det, e, e) for e in (a, b, c, s)) / 120
    shift = reference + center
    second = second - volume * np.outer(center, center) + volume * np.outer(shift, shift)
    return volume, shift, second


def principal(tensor: Array, center: Array) -> Inertia:
    """Principal moments and axes of an inertia tensor (3, 3) [kg m^2] about its centre (3,) [m].

    Raises InputError when no mass distribution has this tensor (negative moment, or one above the sum of the others).
    """
    moments, axes = np.linalg.eigh((tensor + tensor.T) / 2)
    if moments[0] <= 0 or moments[2] > (moments[0] + moments[1]) * (1 + 1e-9):
        raise InputError(f"moments {moments.tolist()} belong to no solid", "check that the mesh is closed and outward")
    order = nearest_axes(axes)
    rotation = axes[:, order]
    rotation = rotation * np.where(np.diag(rotation) < 0, -1.0, 1.0)
    if np.linalg.det(rotation) < 0:
        rotation[:, 2] *= -1
    quat = Rotation.from_matrix(rotation).as_quat(canonical=True, scalar_first=True)
    x, y, z = center.tolist()
    m = moments[order].tolist()
    return Inertia(center_of_mass=(x, y, z), principal_moments=(m[0], m[1], m[2]), quat_wxyz=tuple(quat.tolist()))


def nearest_axes(axes: Array) -> list[int]:
    """The order of the columns of (3, 3) axes that lies nearest to the object's own axes."""
    left = [0, 1, 2]
    order = []
    for row in range(3):
        best = max(left, key=lambda column: abs(axes[row, column]))
        order.append(best)
        left.remove(best)
    return order


def inertia_tensor(inertia: Inertia) -> Array:
    """(3, 3) [kg m^2] about the centre of mass, in the object's axes."""
    rotation = Rotation.from_quat(inertia.quat_wxyz, scalar_first=True).as_matrix()
    return rotation @ np.diag(inertia.principal_moments) @ rotation.T
