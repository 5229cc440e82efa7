"""What every reader of other people's scenes must hold: metres, z up, joints as they were, nothing from outside."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import trimesh
from bench.scenes import fuzz_seeds as seeds
from PIL import Image

from blueprint.backends.reconstructor_import import read_scene
from blueprint.core.errors import InputError
from blueprint.formats.given.looks import one_mesh
from blueprint.formats.given.scene import GivenBody, GivenScene, inside, rigid

READABLE: dict[str, Callable[[Path], Path]] = {
    "glb": seeds.write_glb,
    "gltf": seeds.write_gltf,
    "obj z up": seeds.write_obj,
    "obj y up in mm": lambda folder: seeds.write_obj(folder, 0.001, z_up=False),
    "mjcf": seeds.write_mjcf,
    "usd": seeds.write_usd,
    "usd in cm, y up": lambda folder: seeds.write_usd(folder, centimetres=True, y_up=True),
}


def body(scene: GivenScene, *names: str) -> GivenBody:
    return next(b for b in scene.bodies if b.name.lower() in names)


@pytest.mark.parametrize("kind", READABLE)
def test_the_same_room_is_the_same_in_every_format(kind: str, tmp_path: Path) -> None:
    scene = read_scene(tmp_path, READABLE[kind](tmp_path))
    for name, (size, centre) in seeds.parts().items():
        points = body(scene, name, f"{name}_1").world
        assert np.ptp(points, axis=0) == pytest.approx(size, abs=1e-5), name
        assert (points.min(axis=0) + points.max(axis=0)) / 2 == pytest.approx(centre, abs=1e-5), name


def test_what_shows_is_kept(tmp_path: Path) -> None:
    for write in (seeds.write_glb, seeds.write_obj):
        scene = read_scene(tmp_path, write(tmp_path))
        picture = body(scene, "mug").surfaces[0]
        shown = picture.picture[0, 0] if picture.picture is not None else picture.color
        assert tuple(int(c) for c in shown) in ((200, 30, 30), (204, 26, 26))
    usd = body(read_scene(tmp_path, seeds.write_usd(tmp_path)), "mug_1").surfaces[0]
    assert usd.color[0] > 200 > 120 > usd.color[1]  # 0.8, 0.1, 0.1 linear is 231, 89, 89 in sRGB


def test_masses_and_friction_are_the_files(tmp_path: Path) -> None:
    mjcf = read_scene(tmp_path, seeds.write_mjcf(tmp_path))
    assert body(mjcf, "mug").mass_kg == pytest.approx(0.3) and body(mjcf, "mug").friction == pytest.approx(0.7)
    assert body(mjcf, "table").fixed is True and body(mjcf, "mug").fixed is False
    assert body(read_scene(tmp_path, seeds.write_usd(tmp_path)), "mug_1").mass_kg == pytest.approx(0.3)
    assert body(read_scene(tmp_path, seeds.write_glb(tmp_path)), "mug").mass_kg is None


# ------------------------------------------------------------------ USD


@pytest.mark.parametrize("y_up", [False, True])
@pytest.mark.parametrize("centimetres", [False, True])
def test_a_usd_hinge_is_kept_whatever_the_units(tmp_path: Path, centimetres: bool, y_up: bool) -> None:
    scene = read_scene(tmp_path, seeds.write_usd(tmp_path, centimetres=centimetres, y_up=y_up))
    (hinge,) = (joint for joint in scene.joints if joint.type == "revolute")
    assert scene.bodies[hinge.parent].name == "Cabinet" and scene.bodies[hinge.child].name == "Door"
    assert hinge.axis == pytest.approx((0, 0, 1), abs=1e-6)
    assert hinge.origin == pytest.approx((-0.1, 0.16, seeds.TABLE_Z + 0.1), abs=1e-5)
    assert hinge.limits == pytest.approx((-np.pi / 2, 0.0), abs=1e-6)


def test_instances_and_references_are_all_drawn(tmp_path: Path) -> None:
    scene = read_scene(tmp_path, seeds.write_usd(tmp_path))
    assert sum(b.name.startswith("Mug") for b in scene.bodies) == 2


def test_a_joint_away_from_its_frame_keeps_its_range(tmp_path: Path) -> None:
    """A drawer that stands 5 cm open: its limits count from where it stands."""
    (tmp_path / "a.usda").write_text("""#usda 1.0
(metersPerUnit = 1
 upAxis = "Z")
def Cube "Base" (prepend apiSchemas = ["PhysicsRigidBodyAPI"])
{
 double size = 0.4
}
def Cube "Drawer" (prepend apiSchemas = ["PhysicsRigidBodyAPI"])
{
 double size = 0.2
 double3 xformOp:translate = (0.35, 0, 0)
 uniform token[] xformOpOrder = ["xformOp:translate"]
}
def PhysicsPrismaticJoint "slide"
{
 rel physics:body0 = </Base>
 rel physics:body1 = </Drawer>
 uniform token physics:axis = "X"
 point3f physics:localPos0 = (0.3, 0, 0)
 float physics:lowerLimit = 0
 float physics:upperLimit = 0.25
}
""")
    (slide,) = read_scene(tmp_path, tmp_path / "a.usda").joints
    assert slide.limits == pytest.approx((-0.05, 0.20), abs=1e-6) and slide.axis == pytest.approx((1, 0, 0))


def test_a_point_instancer_draws_each(tmp_path: Path) -> None:
    (tmp_path / "a.usda").write_text("""#usda 1.0
(metersPerUnit = 1
 upAxis = "Z")
def PointInstancer "bottles"
{
 int[] protoIndices = [0, 0, 0]
 point3f[] positions = [(0, 0, 0), (1, 0, 0), (0, 2, 0)]
 rel prototypes = </bottles/P>
 def Cube "P"
 {
  double size = 0.2
 }
}
""")
    (found,) = read_scene(tmp_path, tmp_path / "a.usda").bodies
    assert len(found.surfaces) == 3 and np.ptp(found.world, axis=0) == pytest.approx((1.2, 2.2, 0.2))


def test_a_left_handed_mesh_is_turned_outward(tmp_path: Path) -> None:
    box = trimesh.creation.box((0.1, 0.1, 0.1))
    text = f"""#usda 1.0
(metersPerUnit = 1
 upAxis = "Z")
def Mesh "box"
{{
 uniform token orientation = "leftHanded"
 point3f[] points = {[tuple(p) for p in box.vertices.tolist()]}
 int[] faceVertexCounts = {[3] * 12}
 int[] faceVertexIndices = {box.faces[:, ::-1].ravel().tolist()}
}}
"""
    (tmp_path / "a.usda").write_text(text)
    (found,) = read_scene(tmp_path, tmp_path / "a.usda").bodies
    assert trimesh.Trimesh(found.surfaces[0].vertices, found.surfaces[0].faces).volume == pytest.approx(0.001)


# ------------------------------------------------------------------ URDF, MJCF


def test_urdf_joints_packages_and_colours(tmp_path: Path) -> None:
    scene = read_scene(tmp_path, seeds.write_urdf(tmp_path))
    hinge, slide = (next(j for j in scene.joints if j.name == name) for name in ("hinge", "slide"))
    assert hinge.type == "revolute" and hinge.limits == pytest.approx((0, 1.7)) and hinge.damping == pytest.approx(0.2)
    assert hinge.origin == pytest.approx((-0.2, -0.17, 0.27)) and hinge.axis == pytest.approx((0, 0, -1))
    assert slide.type == "prismatic" and slide.axis == pytest.approx((0, -1, 0)) and slide.limits == (0, 0.2)
    assert body(scene, "cabinet").surfaces[0].color == (153, 102, 51)
    assert np.ptp(body(scene, "door").world, axis=0) == pytest.approx((0.4, 0.02, 0.5))
    assert any(j.type == "fixed" and j.parent == -1 for j in scene.joints)  # the link called world is the world


def test_an_mjcf_door_belongs_to_its_cabinet(tmp_path: Path) -> None:
    scene = read_scene(tmp_path, seeds.write_mjcf(tmp_path))
    (hinge,) = scene.joints
    assert scene.bodies[hinge.parent].name == "cabinet" and hinge.limits == pytest.approx((0, 1.5))
    assert hinge.axis == pytest.approx((0, 0, -1)) and hinge.damping == pytest.approx(0.1)


def test_an_mjcf_texture_lies_as_in_the_obj(tmp_path: Path) -> None:
    """MuJoCo turns v round; the corner at uv (0, 1) must still see the picture's upper left."""
    picture = np.zeros((4, 4, 3), dtype=np.uint8)
    picture[0] = 255
    Image.fromarray(picture).save(tmp_path / "t.png")
    (tmp_path / "a.obj").write_text(
        "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nvt 0 0\nvt 1 0\nvt 0 1\n"
        "f 1/1 3/2 2/3\nf 1/1 2/2 4/3\nf 1/1 4/2 3/3\nf 2/1 3/2 4/3\n"
    )
    (tmp_path / "s.xml").write_text(
        '<mujoco><asset><mesh name="a" file="a.obj"/><texture name="t" type="2d" file="t.png"/>'
        '<material name="m" texture="t"/></asset><worldbody><body name="b"><freejoint/>'
        '<geom type="mesh" mesh="a" material="m"/></body></worldbody></mujoco>'
    )
    (surface,) = read_scene(tmp_path, tmp_path / "s.xml").bodies[0].surfaces
    assert surface.uv is not None and surface.picture is not None
    assert surface.uv[0] == pytest.approx(np.array([[0, 0], [1, 0], [0, 1]]))
    assert surface.picture[0].min() == 255 and surface.picture[1:].max() == 0


# ------------------------------------------------------------------ meshes without unit


def test_obj_without_a_unit_is_guessed_by_names_or_refused(tmp_path: Path) -> None:
    assert read_scene(tmp_path, seeds.write_obj(tmp_path, 0.01)).unit.startswith("cm")
    trimesh.creation.box((5, 5, 5)).export(tmp_path / "thing.obj")  # 5 m or 5 cm
    (tmp_path / "scene.obj").unlink()
    with pytest.raises(InputError, match="says no unit") as refused:
        read_scene(tmp_path, tmp_path / "thing.obj")
    assert "scene.json" in refused.value.hint
    (tmp_path / "scene.json").write_text(json.dumps({"unit": "cm", "up": "z"}))
    (found,) = read_scene(tmp_path, tmp_path / "thing.obj").bodies
    assert np.ptp(found.world, axis=0) == pytest.approx((0.05,) * 3)


def test_a_folder_of_meshes_is_one_object_each(tmp_path: Path) -> None:
    for name, at in (("mug", 0.0), ("bottle", 0.5)):
        solid = trimesh.creation.box((0.08, 0.08, 0.12))
        solid.apply_translation((at, 0, 0.06))
        solid.export(tmp_path / f"{name}.obj")
    (tmp_path / "scene.json").write_text('{"unit": "m", "up": "z"}')
    scene = read_scene(tmp_path, tmp_path / "bottle.obj")
    assert {b.name for b in scene.bodies} == {"mug", "bottle"}


def test_gltf_instances_share_a_mesh(tmp_path: Path) -> None:
    scene = trimesh.Scene(base_frame="world")
    scene.add_geometry(trimesh.creation.box((1, 1, 1)), node_name="crate_a", geom_name="crate")
    T = trimesh.transformations.translation_matrix((3, 0, 0))
    scene.graph.update(frame_to="crate_b", frame_from="world", matrix=T, geometry="crate")
    (tmp_path / "scene.glb").write_bytes(scene.export(file_type="glb"))
    found = read_scene(tmp_path, tmp_path / "scene.glb").bodies
    assert sorted(round(float(b.T[0, 3]), 6) for b in found) == [0.0, 3.0]


def test_a_gltf_texture_lies_as_gltf_says(tmp_path: Path) -> None:
    """Written by hand: uv (0, 0) is the picture's upper left there (specification 2.0, 3.8.2.1); ours counts v up."""
    picture = np.zeros((4, 4, 3), dtype=np.uint8)
    picture[0] = 255
    Image.fromarray(picture).save(tmp_path / "t.png")
    points, uv = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], "<f4"), np.array([[0, 0], [1, 0], [0, 1]], "<f4")
    data = points.tobytes() + uv.tobytes()
    (tmp_path / "b.bin").write_bytes(data)
    view = {"buffer": 0, "byteOffset": 0, "byteLength": 36}
    kinds = {"componentType": 5126, "count": 3}
    attributes = {"POSITION": 0, "TEXCOORD_0": 1}
    meta = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"name": "sign", "mesh": 0, "scale": [2, 2, 2]}],
        "meshes": [{"primitives": [{"attributes": attributes, "material": 0}]}],
        "materials": [{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}],
        "textures": [{"source": 0}],
        "images": [{"uri": "t.png"}],
        "accessors": [
            {"bufferView": 0, "type": "VEC3", "min": [0, 0, 0], "max": [1, 1, 0], **kinds},
            {"bufferView": 1, "type": "VEC2", **kinds},
        ],
        "bufferViews": [view, {"buffer": 0, "byteOffset": 36, "byteLength": 24}],
        "buffers": [{"byteLength": len(data), "uri": "b.bin"}],
    }
    (tmp_path / "scene.gltf").write_text(json.dumps(meta))
    (found,) = read_scene(tmp_path, tmp_path / "scene.gltf").bodies
    (surface,) = found.surfaces
    assert surface.picture is not None and surface.uv is not None
    corner = surface.faces[0].tolist().index(0)
    assert surface.uv[0, corner] == pytest.approx((0, 1)) and surface.picture[0].min() == 255
    assert found.world.max(axis=0) == pytest.approx((2, 0, 2)) and found.T[:3, :3].T @ found.T[:3, :3] == pytest.approx(
        np.eye(3)
    )


# ------------------------------------------------------------------ laws of the parts


def test_an_affine_map_is_its_rigid_part_and_the_rest() -> None:
    rng = np.random.default_rng(0)
    for sign in (1, -1):
        T = np.eye(4)
        T[:3, :3] = rng.normal(size=(3, 3))
        T[:3, :3] *= sign * np.sign(np.linalg.det(T[:3, :3]))
        T[:3, 3] = rng.normal(size=3)
        turn, rest = rigid(T)
        assert turn[:3, :3] @ rest == pytest.approx(T[:3, :3])
        assert turn[:3, :3] @ turn[:3, :3].T == pytest.approx(np.eye(3)) and np.linalg.det(turn[:3, :3]) > 0


def test_tiles_show_each_surface_its_own_colour(tmp_path: Path) -> None:
    surfaces = [b.surfaces[0] for b in read_scene(tmp_path, seeds.write_urdf(tmp_path)).bodies if b.surfaces]
    mesh, picture = one_mesh(surfaces)
    assert mesh.uv is not None
    start = 0
    for surface in surfaces:
        u, v = mesh.uv[start, 0]
        row = int((1 - v) * picture.shape[0])
        assert tuple(picture[row, int(u * picture.shape[1])].tolist()) == surface.color
        start += len(surface.faces)


@pytest.mark.parametrize(
    "name", ["../out.obj", "/etc/hostname", "a/../../out.obj", "http://a/b", "C:\\b", "..\\out.obj"]
)
def test_nothing_outside_is_named(tmp_path: Path, name: str) -> None:
    root = tmp_path / "scene"
    (root / "a").mkdir(parents=True)
    (tmp_path / "out.obj").write_text("x")
    with pytest.raises(InputError, match="outside the scene"):
        inside(root, root, name, root / "main.usda")


def test_a_link_out_of_the_scene_is_outside(tmp_path: Path) -> None:
    root = tmp_path / "scene"
    root.mkdir()
    (tmp_path / "out.obj").write_text("x")
    (root / "in.obj").symlink_to(tmp_path / "out.obj")
    with pytest.raises(InputError, match="outside the scene"):
        inside(root, root, "in.obj", root / "main.usda")
