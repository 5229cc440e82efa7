"""What physics owes parts, anchored things, statics, soft bodies and given values; and what its validator rejects."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import trimesh
from bench.scenes.rooms import Room, door_cabinet, drawer_cabinet

from blueprint.backends.simulator_mujoco import SimulatorMujoco
from blueprint.formats.mjcf.layout import soft_points
from blueprint.formats.obj import TexturedMesh, read_obj, write_obj
from blueprint.model.artifacts import Physics
from blueprint.model.scene import Check, Collider, PhysicalObject, Primitive, Sourced
from blueprint.model.spatial import Pose
from blueprint.stages.physics import Override, PhysicsConfig, PhysicsValidator, physics


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    patch = pytest.MonkeyPatch()
    patch.setenv("BLUEPRINT_CACHE", str(tmp_path_factory.mktemp("cache")))


SHORT = {"quiet_s": 0.5, "calm_s": 0.5, "calm_rounds": 1, "test_s": 1.0}


def run(room: Room, **settings: object) -> Physics:
    articulation, reconstruction = room.finish()
    out = room.folder / "physics"
    out.mkdir(exist_ok=True)
    cfg = PhysicsConfig.model_validate(settings)
    return physics(articulation, reconstruction, SimulatorMujoco(), cfg, out).save(out)


def empty(folder: Path) -> Room:
    return Room(folder, np.random.default_rng(0))


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Physics:
    """A cabinet with a door, one with two drawers, a board that carries a box."""
    room = empty(tmp_path_factory.mktemp("furnished"))
    for make, x in ((door_cabinet, -0.3), (drawer_cabinet, 0.3)):
        parts, joints = make(0.4, 0.3, 0.4)
        whole = trimesh.util.concatenate(list(parts.values()))
        room.put("cabinet", whole, (x, 0.2, 0.0), parts=parts, joints=joints, anchored=True)
    board = trimesh.creation.box((0.3, 0.2, 0.02))
    board.apply_translation((0.0, -0.3, 0.3))
    room.fix("shelf board", board)
    shape = Primitive(type="box", size=(0.04, 0.04, 0.05), pose=Pose())
    room.put("cardboard box", trimesh.creation.box((0.08, 0.08, 0.1)), (0.0, -0.3, 0.31), primitive=shape)
    return run(room, rest=SHORT)


def failed(checks: tuple[Check, ...]) -> set[str]:
    return {check.id for check in checks if check.passed is False}


# ------------------------------------------------------------------ parts, anchors, statics


def test_anchored_things_stay_and_what_stands_on_a_static_stays_on_it(furnished: Physics) -> None:
    *cabinets, box = furnished.objects
    assert all(item.pose == item.asset.pose and item.moved_m == 0 for item in cabinets)
    assert box.pose.position[2] == pytest.approx(0.36, abs=0.001)
    assert box.moved_m < 0.006
    assert furnished.settle.passed


def test_every_part_weighs_something_and_the_whole_is_their_sum(furnished: Physics) -> None:
    door, drawers, _ = furnished.objects
    assert [part.part.name for part in door.parts] == ["door"]
    assert [part.part.name for part in drawers.parts] == ["drawer_0", "drawer_1"]
    for item in (door, drawers):
        for part in item.parts:
            assert part.mass_kg.value > 0.1
            assert part.joint.damping is not None
            assert part.joint.friction is not None
            assert min(part.inertia.principal_moments) > 0


def test_good_furniture_passes_every_check(furnished: Physics) -> None:
    assert failed(furnished.checks) == set()
    swept = [check for check in furnished.checks if check.id == "joint_reach"]
    assert len(swept) == 3
    assert all(check.measured is not None and check.measured > 0.98 for check in swept)


def test_given_mass_and_friction_are_kept_and_shared_among_parts(tmp_path: Path) -> None:
    room = empty(tmp_path)
    parts, joints = door_cabinet(0.4, 0.3, 0.4)
    whole = trimesh.util.concatenate(list(parts.values()))
    room.put("cabinet", whole, (0.0, 0.0, 0.0), parts=parts, joints=joints, anchored=True)
    room.objects[0] = room.objects[0].model_copy(update={"mass_kg": 12.0, "friction": 0.33})
    (item,) = run(room).objects
    assert item.mass_kg.value + item.parts[0].mass_kg.value == pytest.approx(12.0)
    assert item.friction.value == 0.33
    assert "given" in item.mass_kg.source
    assert item.ranges is not None
    assert item.ranges.mass == (0.95, 1.05)


def test_what_overlaps_a_drawer_is_cut_back_until_it_slides(tmp_path: Path) -> None:
    """A body that is one solid block where the drawer goes: colliders of the body make room."""
    room = empty(tmp_path)
    parts, joints = drawer_cabinet(0.4, 0.3, 0.4)
    parts["body"] = trimesh.creation.box((0.4, 0.3, 0.4))
    whole = trimesh.util.concatenate(list(parts.values()))
    room.put("cabinet", whole, (0.0, 0.0, 0.0), parts=parts, joints=joints, anchored=True)
    made = run(room, rest=SHORT)
    assert "cut clear" in made.objects[0].collider_method
    assert not failed(made.checks) & {"joint_reach", "joint_overlap", "joint_force"}


def test_an_open_wall_without_colliders_holds_what_leans_on_it(tmp_path: Path) -> None:
    room = empty(tmp_path)
    corners = np.array([(-0.5, 0, 0), (0.5, 0, 0), (0.5, 0, 1), (-0.5, 0, 1)], dtype=float)
    room.fix("wall", trimesh.Trimesh(corners, [(0, 1, 2), (0, 2, 3)], process=False))
    (part,) = run(room).statics
    assert len(part.colliders) == 1
    slab = read_obj(room.folder / "physics" / part.colliders[0]).vertices
    assert np.ptp(slab, axis=0) == pytest.approx((1.0, 0.01, 1.0))


# ------------------------------------------------------------------ soft bodies


@pytest.mark.parametrize(
    ("kind", "mesh", "dim"),
    [
        ("cloth", trimesh.creation.box((0.3, 0.2, 0.006)), 2),
        ("rope", trimesh.creation.box((0.4, 0.01, 0.01)), 1),
        ("volume", trimesh.creation.box((0.2, 0.15, 0.08)), 3),
    ],
)  # fmt: skip
def test_soft_things_are_flexes_that_stay_where_they_lie(
    kind: str, mesh: trimesh.Trimesh, dim: int, tmp_path: Path
) -> None:
    room = empty(tmp_path)
    subdivided = mesh.subdivide_to_size(0.03)
    room.put("thing", subdivided, (0.0, 0.0, 0.0))
    made = run(room, overrides={"thing_0": {"soft": kind}}, rest=SHORT)
    (item,) = made.objects
    assert item.soft is not None
    assert item.soft.dim == dim
    points, elements = soft_points(item.soft, made.root)
    assert np.ptp(points, axis=0).max() == pytest.approx(max(mesh.extents), rel=0.1)
    assert made.settle.max_drift_m < 0.01
    if dim == 3:
        a, b, c, d = (points[elements[:, k]] for k in range(4))
        assert np.einsum("ij,ij->i", np.cross(b - a, c - a), d - a).min() > 0
    assert Override(soft="no").soft == "no"


# ------------------------------------------------------------------ the validator


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Physics:
    """A box, an open tray and a cabinet, all sound."""
    room = empty(tmp_path_factory.mktemp("sound"))
    shape = Primitive(type="box", size=(0.04, 0.04, 0.05), pose=Pose())
    room.put("cardboard box", trimesh.creation.box((0.08, 0.08, 0.1)), (0.3, 0.0, 0.0), primitive=shape)
    room.objects[0] = room.objects[0].model_copy(update={"category": "box"})
    tray = trimesh.creation.box((0.15, 0.12, 0.06))
    inside = trimesh.creation.box((0.13, 0.1, 0.06))
    inside.apply_translation((0.0, 0.0, 0.01))
    room.put("tray", tray.difference(inside, engine="manifold"), (-0.3, 0.0, 0.0))
    parts, joints = door_cabinet(0.4, 0.3, 0.4)
    whole = trimesh.util.concatenate(list(parts.values()))
    room.put("cabinet", whole, (0.0, 0.3, 0.0), parts=parts, joints=joints, anchored=True)
    return run(room)


def heavier(item: PhysicalObject, factor: float) -> PhysicalObject:
    mass = item.mass_kg.model_copy(update={"value": item.mass_kg.value * factor})
    return item.model_copy(update={"mass_kg": mass})


def with_inertia(item: PhysicalObject, **update: object) -> PhysicalObject:
    return item.model_copy(update={"inertia": item.inertia.model_copy(update=update)})


def hulled(item: PhysicalObject, root: Path) -> PhysicalObject:
    hull = trimesh.Trimesh(read_obj(root / item.asset.mesh).vertices, process=False).convex_hull
    write_obj(TexturedMesh(np.asarray(hull.vertices), np.asarray(hull.faces)), root / "hull.obj")
    return item.model_copy(update={"colliders": (Collider(mesh="hull.obj"),)})


def shifted(item: PhysicalObject, root: Path) -> PhysicalObject:
    moved = []
    for collider in item.colliders:
        assert collider.primitive is not None
        pose = Pose(position=(0.02, 0.0, 0.0))
        moved.append(Collider(primitive=collider.primitive.model_copy(update={"pose": pose})))
    return item.model_copy(update={"colliders": tuple(moved)})


def opened(item: PhysicalObject, root: Path) -> PhysicalObject:
    mesh = read_obj(root / item.asset.mesh)
    write_obj(TexturedMesh(mesh.vertices, mesh.faces[2:]), root / "open.obj")
    return item.model_copy(update={"asset": item.asset.model_copy(update={"mesh": "open.obj"})})


def jointed(item: PhysicalObject, **update: object) -> PhysicalObject:
    (part,) = item.parts
    joint = part.joint.model_copy(update=update)
    return item.model_copy(update={"parts": (part.model_copy(update={"joint": joint}),)})


def resized(item: PhysicalObject, factor: float) -> PhysicalObject:
    dims = tuple(side * factor for side in item.asset.dims_m)
    return item.model_copy(update={"asset": item.asset.model_copy(update={"dims_m": dims})})


BOX, TRAY, CABINET = 0, 1, 2
MUTATIONS: dict[str, tuple[int, str, Callable[[PhysicalObject, Path], PhysicalObject]]] = {
    "no mass": (BOX, "mass", lambda item, root: heavier(item, 0.0)),
    "a tonne": (BOX, "mass", lambda item, root: heavier(item, 4000)),
    "lead": (BOX, "density", lambda item, root: heavier(item, 40)),
    "ice": (BOX, "friction", lambda item, root: item.model_copy(update={"friction": Sourced(value=0.0, source="")})),
    "glue": (BOX, "friction_consistency", lambda item, root: item.model_copy(
        update={"friction": Sourced(value=1.2, source="")})),
    "perpetual": (BOX, "restitution", lambda item, root: item.model_copy(
        update={"restitution": Sourced(value=1.2, source="")})),
    "hanging centre": (BOX, "center_of_mass", lambda item, root: with_inertia(item, center_of_mass=(0.0, 0.0, 0.2))),
    "impossible inertia": (BOX, "inertia_triangle", lambda item, root: with_inertia(
        item, principal_moments=(1e-4, 1e-4, 1e-3))),
    "negative inertia": (BOX, "inertia_triangle", lambda item, root: with_inertia(
        item, principal_moments=(-1e-4, 1e-4, 1e-4))),
    "flywheel": (BOX, "inertia_size", lambda item, root: with_inertia(item, principal_moments=(1.0, 1.0, 1.0))),
    "filled tray": (TRAY, "collider_shape", hulled),
    "filled tray, distance": (TRAY, "collider_distance", hulled),
    "filled tray, volume": (TRAY, "collider_volume", hulled),
    "collider beside": (BOX, "collider_distance", shifted),
    "hole": (BOX, "watertight", opened),
    "millimetres": (BOX, "scale", lambda item, root: resized(item, 1000)),
    "turned limits": (CABINET, "joint_limits", lambda item, root: jointed(item, limits=(1.0, -1.0))),
    "long axis": (CABINET, "joint_limits", lambda item, root: jointed(item, axis=(0.0, 0.0, 2.0))),
    "opens inward": (CABINET, "joint_reach", lambda item, root: jointed(item, axis=(0.0, 0.0, 1.0))),
    "hinge in the middle": (CABINET, "joint_overlap", lambda item, root: jointed(item, origin=(0.0, -0.15, 0.0))),
}  # fmt: skip


def test_sound_objects_pass(sound: Physics) -> None:
    assert failed(sound.checks) == set()
    assert {check.subject.split("/")[0] for check in sound.checks} == {item.asset.name for item in sound.objects}


@pytest.mark.parametrize("name", MUTATIONS)
def test_each_mutation_fails_its_check(name: str, sound: Physics) -> None:
    index, key, mutate = MUTATIONS[name]
    item = mutate(sound.objects[index], sound.root)
    checks = PhysicsValidator(SimulatorMujoco()).validate([item], sound.root)
    assert key in failed(checks)
    assert all(check.fix for check in checks if check.passed is not True)


def test_what_was_not_measured_is_not_passed(sound: Physics) -> None:
    checks = PhysicsValidator().validate(sound.objects, sound.root)
    open_ones = {check.id for check in checks if check.passed is None}
    assert {"settle_drift", "spawn_penetration", "joint_sweep"} <= open_ones


def test_a_scene_that_falls_fails_its_settle_check(sound: Physics) -> None:
    settled = sound.settle.objects[0].model_copy(update={"drift_m": 0.2, "drift_deg": 90.0, "penetration_m": 0.004})
    checks = tuple(PhysicsValidator().rest_checks(sound.objects[0], settled))
    assert failed(checks) == {"settle_drift", "settle_turn", "spawn_penetration"}
