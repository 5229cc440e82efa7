"""Round vessels stay open: their walls are cut about the axis."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from blueprint.geometry.colliders.fit import fit_of
from blueprint.geometry.colliders.revolved_cuts import revolved_hulls
from blueprint.geometry.mesh import Mesh, is_closed

BOUND_M = 0.003


def vessel(radius: float, height: float, wall: float, belly: float) -> Mesh:
    """A closed bowl about z. belly: 0 = a straight wall, 1 = a round one."""
    turn = np.linspace(0, 1, 14)
    out = np.column_stack([radius * (0.45 + 0.55 * turn ** (1 - 0.6 * belly)), height * turn])
    inside = out[::-1] - [wall, 0]
    inside[:, 1] = np.maximum(inside[:, 1], wall)
    profile = np.concatenate([[[0, 0]], out, inside, [[0, wall]]])
    body = trimesh.creation.revolve(profile, sections=48)
    return np.asarray(body.vertices), np.asarray(body.faces)


@pytest.mark.parametrize(("radius", "height", "belly"), [(0.075, 0.055, 1.0), (0.08, 0.08, 0.5), (0.04, 0.09, 0.0)])
def test_a_round_vessel_is_cut_within_the_bound(radius: float, height: float, belly: float) -> None:
    mesh = vessel(radius, height, 0.005, belly)
    assert is_closed(mesh)
    hulls = revolved_hulls(mesh, BOUND_M)
    assert hulls is not None
    assert fit_of(mesh, hulls).hausdorff_m <= 1.1 * BOUND_M  # judged here by more points than in there
    inside = np.array([0, 0, 0.6 * height])
    assert not any(trimesh.Trimesh(*hull).contains(inside[None])[0] for hull in hulls)


def test_what_is_no_round_vessel_is_left_to_others() -> None:
    box = trimesh.creation.box((0.2, 0.1, 0.1))
    can = trimesh.creation.cylinder(0.04, 0.1)
    mug = trimesh.boolean.union([trimesh.Trimesh(*vessel(0.04, 0.09, 0.005, 0.0)), moved_handle()], engine="manifold")
    for body in (box, can, mug):
        assert revolved_hulls((np.asarray(body.vertices), np.asarray(body.faces)), BOUND_M) is None


def moved_handle() -> trimesh.Trimesh:
    return trimesh.creation.box((0.05, 0.01, 0.05)).apply_translation([0.055, 0, 0.05])
