"""Laws of the collider cache, of exact cuts and of both decomposers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import trimesh
from bench.scenes.rooms import drawer_cabinet

from blueprint.core.files import files_below
from blueprint.geometry.colliders.clearing import cleared, joint_transform
from blueprint.geometry.colliders.decomposition import vhacd_hulls
from blueprint.geometry.colliders.fit import fit_of, merged_hulls, winding_number
from blueprint.geometry.colliders.pieces import convex_hull
from blueprint.geometry.colliders.planar_cuts import planar_pieces
from blueprint.geometry.mesh import Mesh
from blueprint.geometry.transforms import transform_points
from blueprint.stages.physics.cache import cached, folder, mesh_key
from blueprint.stages.physics.config import ColliderConfig
from blueprint.stages.physics.convexes import Wanted, convex_colliders
from blueprint.stages.physics.separation import Push, smallest_shift


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLUEPRINT_CACHE", str(tmp_path / "cache"))


def solid(mesh: trimesh.Trimesh) -> Mesh:
    return np.asarray(mesh.vertices, dtype=float), np.asarray(mesh.faces, dtype=np.int64)


def ring() -> Mesh:
    return solid(trimesh.creation.torus(0.05, 0.015, major_sections=12, minor_sections=6))


# ------------------------------------------------------------------ cache


def test_a_hit_gives_the_same_bytes_and_does_not_work_again(tmp_path: Path) -> None:
    worked = []

    def make(out: Path) -> None:
        worked.append(out)
        (out / "sub").mkdir()
        (out / "sub/a.obj").write_bytes(b"v 0 0 0\n")

    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        assert cached("toys", "ab12", tmp_path / name, make) == (name == "second")
    assert len(worked) == 1
    assert list(files_below(tmp_path / "second")) == ["sub/a.obj"]
    assert (tmp_path / "second/sub/a.obj").read_bytes() == (tmp_path / "first/sub/a.obj").read_bytes()


@pytest.mark.parametrize("damage", [b"", b"v 1 1 1\n"])
def test_a_damaged_entry_is_made_again(damage: bytes, tmp_path: Path) -> None:
    def make(out: Path) -> None:
        (out / "a.obj").write_bytes(b"v 0 0 0\n")

    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    cached("toys", "ab12", tmp_path / "first", make)
    (entry,) = (folder() / "toys/ab").iterdir()
    (entry / "a.obj").write_bytes(damage)
    assert not cached("toys", "ab12", tmp_path / "second", make)
    assert (tmp_path / "second/a.obj").read_bytes() == b"v 0 0 0\n"


def test_an_unwritable_cache_costs_time_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("BLUEPRINT_CACHE", str(tmp_path / "file"))
    (tmp_path / "out").mkdir()
    assert not cached("toys", "ab12", tmp_path / "out", lambda out: (out / "a").touch())
    assert (tmp_path / "out/a").exists()


def test_the_key_is_of_mesh_and_settings() -> None:
    vertices, faces = ring()
    key = mesh_key((vertices, faces), seed=0)
    assert key == mesh_key((vertices.copy(), faces.copy()), seed=0)
    assert len({key, mesh_key((vertices + 1e-9, faces), seed=0), mesh_key((vertices, faces), seed=1)}) == 3


@pytest.mark.parametrize("decomposer", ["coacd", "vhacd"])
def test_decompositions_are_close_and_equal_when_cached(decomposer: str, tmp_path: Path) -> None:
    cfg = ColliderConfig.model_validate({"decomposer": decomposer, "hausdorff_m": 0.006, "refinements": 0})
    wanted = Wanted("ring", ring(), 1.25, cfg, 0)
    first, second = (convex_colliders(wanted, tmp_path / "scratch") for _ in range(2))
    assert first.method.startswith(decomposer)
    assert first.fit is not None
    assert first.fit.hausdorff_m < 0.008
    for a, b in zip(first.hulls, second.hulls, strict=True):
        assert a[0].tobytes() == b[0].tobytes()


# ------------------------------------------------------------------ shapes


def test_flat_furniture_is_cut_exactly() -> None:
    body = solid(drawer_cabinet(0.4, 0.3, 0.4)[0]["body"])
    found = planar_pieces(body)
    assert found is not None
    assert len(found) <= 8
    fit = fit_of(body, found)
    assert fit.hausdorff_m < 5e-5
    assert fit.volume_ratio == pytest.approx(1.0, abs=1e-3)


def test_a_rounded_solid_is_not_cut_along_planes() -> None:
    assert planar_pieces(ring()) is None


def test_distance_of_solids_sees_a_filled_hole_and_no_seam() -> None:
    box = solid(trimesh.creation.box((0.1, 0.1, 0.1)))
    halves = [(np.clip(box[0], -1, [0.0, 1, 1]), box[1]), (np.clip(box[0], [0.0, -1, -1], 1), box[1])]
    assert fit_of(box, [convex_hull(half[0]) for half in halves]).hausdorff_m < 1e-9
    hole = fit_of(ring(), [convex_hull(ring()[0])])
    assert 0.02 < hole.hausdorff_m < 0.04, "the middle of the hole is 35 mm from the ring"
    shifted = fit_of(box, [(box[0] + [0.005, 0, 0], box[1])])
    assert shifted.hausdorff_m == pytest.approx(0.005, abs=1e-6)


def test_winding_number_tells_inside_from_outside() -> None:
    inside, outside = winding_number(ring(), np.array([(0.05, 0.0, 0.0), (0.0, 0.0, 0.0)]))
    assert inside == pytest.approx(1.0)
    assert outside == pytest.approx(0.0, abs=1e-9)


def test_merging_keeps_the_bound_and_never_adds() -> None:
    box = solid(trimesh.creation.box((0.1, 0.1, 0.1)))
    halves = [convex_hull(np.clip(box[0], -1, [0.0, 1, 1])), convex_hull(np.clip(box[0], [0.0, -1, -1], 1))]
    assert len(merged_hulls(box, halves, 0.001)) == 1
    fine = vhacd_hulls(ring(), max_hulls=24, resolution=10_000)
    merged = merged_hulls(ring(), fine, 0.002)
    assert len(merged) <= len(fine)
    assert fit_of(ring(), merged).hausdorff_m <= max(fit_of(ring(), fine).hausdorff_m, 0.002) + 0.001


def test_cleared_hulls_leave_the_sweep_free_and_lose_nothing_else() -> None:
    parts, joints = drawer_cabinet(0.4, 0.3, 0.4)
    block = solid(trimesh.creation.box((0.4, 0.3, 0.4)))
    moving = {name: [convex_hull(parts[name].vertices)] for name in ("drawer_0", "drawer_1")}
    left = cleared([block], moving, joints, 0.0005)
    points = np.random.default_rng(0).uniform(-1, 1, (600, 3)) * [0.25, 0.4, 0.25]
    in_block = (np.abs(points) < np.ptp(block[0], axis=0) / 2).all(axis=1)
    swept = np.zeros(len(points), bool)
    for joint in joints:
        hull = moving[joint.child][0][0]
        ends = [transform_points(joint_transform(joint, value), hull) for value in joint.limits]
        swept |= winding_number(convex_hull(np.concatenate(ends)), points) > 0.5
    kept = np.any([winding_number(hull, points) > 0.5 for hull in left], axis=0)
    assert not (kept & swept).any()
    assert (kept[in_block & ~swept]).mean() > 0.9


# ------------------------------------------------------------------ separation


def test_smallest_shift_is_the_least_motion_that_separates() -> None:
    x, z = np.array([1.0, 0, 0]), np.array([0.0, 0, 1])
    assert smallest_shift(2, [Push(0, 1, x, 0.004)]) == pytest.approx(np.array([(-0.002, 0, 0), (0.002, 0, 0)]))
    fixed = smallest_shift(1, [Push(-1, 0, z, 0.003), Push(-1, 0, x, 0.001)])
    assert fixed == pytest.approx(np.array([(0.001, 0, 0.003)]))
    chain = smallest_shift(3, [Push(0, 1, x, 0.002), Push(1, 2, x, 0.002)])
    assert chain[:, 0] == pytest.approx((-0.002, 0, 0.002), abs=1e-5)


def test_contradicting_pushes_move_nothing_far() -> None:
    x = np.array([1.0, 0, 0])
    shift = smallest_shift(1, [Push(-1, 0, x, 0.003), Push(-1, 0, -x, 0.003)])
    assert np.abs(shift).max() <= 0.0045
