"""MJCF of what opens, hangs, bends and stands fixed."""

from __future__ import annotations

from pathlib import Path

import mujoco
import numpy as np
import pytest
from bench.scenes import cabinet as toy_cabinet
from scipy.spatial.transform import Rotation

from blueprint.core.errors import InputError
from blueprint.formats.mjcf.scene import TableFiles, layout, scene_mjcf
from blueprint.formats.obj import TexturedMesh, write_obj
from blueprint.geometry.colliders.pieces import prism
from blueprint.geometry.colliders.touching import primitive_points, touch
from blueprint.geometry.inertia import solid_inertia
from blueprint.model.scene import Collider, PhysicalObject, Primitive, StaticPart
from blueprint.model.spatial import Pose

TABLE = TableFiles(collider="table.obj")


def compiled(root: Path, objects: list[PhysicalObject], statics: tuple[StaticPart, ...] = ()) -> mujoco.MjModel:
    square = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    write_obj(TexturedMesh(*prism(square, -0.02, 0.0)), root / "table.obj")
    path = root / "scene.xml"
    path.write_text(scene_mjcf(objects, TABLE, statics=statics, assets_dir=".", files=root))
    return mujoco.MjModel.from_xml_path(str(path))


def moved(model: mujoco.MjModel, joint: str, value: float) -> tuple[mujoco.MjData, mujoco.MjData]:
    """The scene closed, and with one joint at `value`."""
    states = []
    for target in (0.0, value):
        data = mujoco.MjData(model)
        mujoco.mj_resetDataKeyframe(model, data, 0)
        data.joint(joint).qpos[0] += target
        mujoco.mj_forward(model, data)
        states.append(data)
    return states[0], states[1]


def test_joints_move_what_they_carry_as_the_model_says(tmp_path: Path) -> None:
    model = compiled(tmp_path, [toy_cabinet.make_cabinet(tmp_path)])
    assert model.nq == 2  # anchored: no free joint
    assert model.joint("cabinet_drawer_slide").range.tolist() == [0.0, 0.25]
    assert model.joint("cabinet_door_hinge").damping[0] == pytest.approx(0.2)
    assert model.joint("cabinet_door_hinge").frictionloss[0] == pytest.approx(0.05)
    closed, opened = moved(model, "cabinet_drawer_slide", 0.2)
    np.testing.assert_allclose(opened.body("cabinet_drawer").xpos - closed.body("cabinet_drawer").xpos, [0.2, 0, 0])
    closed, opened = moved(model, "cabinet_door_hinge", np.pi / 2)
    start, end = closed.body("cabinet_door").xipos, opened.body("cabinet_door").xipos
    hinge = opened.joint("cabinet_door_hinge").xanchor
    np.testing.assert_allclose(end - hinge, [[0, -1, 0], [1, 0, 0], [0, 0, 1]] @ (start - hinge), atol=1e-9)


def test_a_closed_cabinet_stays_closed_without_contact_of_its_own(tmp_path: Path) -> None:
    """The door's edge touches nothing, so it collides; whatever touches when closed is excluded by itself."""
    model = compiled(tmp_path, [toy_cabinet.make_cabinet(tmp_path)])
    data = mujoco.MjData(model)
    mujoco.mj_resetDataKeyframe(model, data, 0)
    for _ in range(500):
        mujoco.mj_step(model, data)
    assert data.ncon == 0
    assert np.abs(data.qpos).max() < 1e-3


def test_only_what_touches_when_closed_is_excluded(tmp_path: Path) -> None:
    item = toy_cabinet.make_cabinet(tmp_path)
    assert compiled(tmp_path, [item]).nexclude == 2  # both fronts lie on the carcass; they do not touch each other
    apart = tuple(
        part.model_copy(update={"colliders": tuple(c for c in part.colliders if c.mesh is not None)})
        for part in item.parts
    )
    assert compiled(tmp_path, [item.model_copy(update={"parts": apart})]).nexclude == 1  # a door without a collider


def test_a_free_object_with_parts_carries_them(tmp_path: Path) -> None:
    item = toy_cabinet.make_cabinet(tmp_path, anchored=False)
    model = compiled(tmp_path, [item, toy_cabinet.make_cabinet(tmp_path, "second")])
    assert model.nq == 7 + 2 + 2
    assert model.body("cabinet_door").rootid == model.body("cabinet").id
    data = mujoco.MjData(model)
    mujoco.mj_resetDataKeyframe(model, data, 0)
    data.qpos[:3] += [0.3, 0.2, 0.5]
    mujoco.mj_forward(model, data)
    np.testing.assert_allclose(data.body("cabinet_door").xpos, np.add(item.pose.position, (0.3, 0.2, 0.5)))


def test_the_layout_is_that_of_the_compiled_model(tmp_path: Path) -> None:
    objects = [
        toy_cabinet.make_cabinet(tmp_path, "first", anchored=False),
        toy_cabinet.make_soft(tmp_path, 2, (0.5, 0.5, 0.02)),
        toy_cabinet.make_cabinet(tmp_path),
    ]
    statics = (toy_cabinet.make_wall(tmp_path),)
    model = compiled(tmp_path, objects, statics)
    made = layout(objects, tmp_path)
    np.testing.assert_allclose(model.key_qpos[0], made.start)
    names = [item.asset.name for item in objects]
    for body in range(model.nbody):
        owner = made.owner(body)
        root = model.body(model.body_rootid[body]).name if body else "world"
        assert (names[owner] if owner >= 0 else "") == (root if root in names else "")
    there = Pose(position=(1.0, 2.0, 3.0), quat_wxyz=(0.0, 1.0, 0.0, 0.0))
    qpos = made.with_poses(made.start, objects, [there, there, there])
    assert [pose.position for pose in made.poses(qpos, objects)] == [
        (1.0, 2.0, 3.0),
        objects[1].pose.position,
        objects[2].pose.position,
    ]


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_soft_bodies_fall_and_come_to_rest_on_the_table(tmp_path: Path, dim: int) -> None:
    item = toy_cabinet.make_soft(tmp_path, dim, (0.0, 0.0, 0.06))
    model = compiled(tmp_path, [item])
    assert model.nflex == 1
    assert model.body_subtreemass[model.body(item.asset.name).id] == pytest.approx(0.05)
    data = mujoco.MjData(model)
    for _ in range(500):
        mujoco.mj_step(model, data)
    assert not data.warning.number.any()
    assert -0.005 < data.flexvert_xpos[:, 2].min() < 0.01
    assert np.abs(data.qvel).max() < 0.1
    rest = np.ptp(np.load(tmp_path / f"objects/{item.asset.name}/soft.npz")["points"], axis=0)
    np.testing.assert_allclose(np.ptp(data.flexvert_xpos, axis=0)[:2], rest[:2], atol=0.01)


def test_what_stands_fixed_stops_what_comes(tmp_path: Path) -> None:
    model = compiled(tmp_path, [], (toy_cabinet.make_wall(tmp_path),))
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    geom = np.zeros(1, dtype=np.int32)
    distance = mujoco.mj_ray(model, data, [0, 0, 0.5], [-1, 0, 0], None, 1, -1, geom)
    assert distance == pytest.approx(0.565, abs=1e-6)
    assert model.body_weldid[model.body("wall").id] == 0


def can(root: Path, name: str, size: tuple[float, float], z: float, pose: Pose) -> PhysicalObject:
    """A free cylinder with its centre at a height, turned in its own, upright frame."""
    whole, (radius, half) = toy_cabinet.make_cabinet(root, name=name, anchored=False), size
    square = radius * np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    dims = (2 * half, 2 * radius, 2 * radius)
    return whole.model_copy(
        update={
            "asset": whole.asset.model_copy(update={"joints": (), "parts": (), "dims_m": dims}),
            "parts": (),
            "colliders": (Collider(primitive=Primitive(type="cylinder", size=size, pose=pose)),),
            "mass_kg": whole.mass_kg.model_copy(update={"value": 0.3}),
            "inertia": solid_inertia(*prism(square, -half, half), 0.3),
            "pose": Pose(position=(0.0, 0.0, z)),
        }
    )


def test_a_can_that_lies_a_little_askew_on_another_one_stays_there(tmp_path: Path) -> None:
    """MuJoCo's own cylinders would be thrown apart in a third of such drops."""
    lying = Pose(quat_wxyz=(0.5**0.5, 0.0, 0.5**0.5, 0.0))
    tin, soup = (
        can(tmp_path, "tin", (0.0495, 0.066), 0.066, Pose()),
        can(tmp_path, "soup", (0.0319, 0.0467), 0.165, lying),
    )
    model = compiled(tmp_path, [tin, soup])
    model.opt.timestep = 1 / 240
    rng = np.random.default_rng(0)
    for tilt in (0.002, 0.005, 0.01) * 4:
        data = mujoco.MjData(model)
        mujoco.mj_resetDataKeyframe(model, data, 0)
        turn = Rotation.from_euler("ZY", [rng.uniform(0, np.pi), tilt])
        data.joint("soup").qpos[:2] = rng.uniform(-0.005, 0.005, 2)
        data.joint("soup").qpos[3:] = turn.as_quat(scalar_first=True)
        fastest = 0.0
        for _ in range(240):
            mujoco.mj_step(model, data)
            fastest = max(fastest, float(np.linalg.norm(data.joint("soup").qvel[:3])))
        assert fastest < 0.4
        assert data.body("soup").xpos[2] == pytest.approx(0.132 + 0.0319, abs=0.001)


def test_joints_in_a_circle_are_refused(tmp_path: Path) -> None:
    item = toy_cabinet.make_cabinet(tmp_path)
    drawer, door = item.parts
    circle = (
        drawer.model_copy(update={"joint": drawer.joint.model_copy(update={"parent": "door"})}),
        door.model_copy(update={"joint": door.joint.model_copy(update={"parent": "drawer"})}),
    )
    with pytest.raises(InputError, match="no tree"):
        compiled(tmp_path, [item.model_copy(update={"parts": circle})])


@pytest.mark.parametrize("gap,expected", [(0.0, True), (0.0004, True), (0.002, False)])
def test_hulls_touch_within_the_gap(gap: float, expected: bool) -> None:
    a = primitive_points(Primitive(type="box", size=(0.1, 0.1, 0.1), pose=Pose()))
    b = primitive_points(Primitive(type="cylinder", size=(0.02, 0.05), pose=Pose(position=(0.0, 0.0, 0.15 + gap))))
    assert touch(a, b, 0.0005) is expected
