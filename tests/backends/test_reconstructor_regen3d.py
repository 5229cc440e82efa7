"""Laws of reading Regen3D scenes: a known metric scene, written in either layout, comes back as it was."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image
from scipy.spatial.transform import Rotation

from blueprint.backends.protocols import ReconstructorConfig
from blueprint.backends.reconstructor_regen3d import ReconstructorRegen3d
from blueprint.core.errors import InputError
from blueprint.formats import images
from blueprint.formats.obj import read_obj
from blueprint.geometry.mesh import is_closed
from blueprint.geometry.transforms import pose_to_matrix, transform_points
from blueprint.model.artifacts import Capture, Reconstruction
from blueprint.model.capture import ScaleAnchor

Z_TO_Y_UP = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
UNIT_M = 0.37  # metres per unit of the written scenes
# name -> size [m], centre [m] (z up), colour
THINGS = {
    "office_chair__(312, 205)": ((0.5, 0.6, 0.9), (0.4, -0.2, 0.45), (200, 30, 30)),
    "coffee_table__(90, 400)": ((1.1, 0.6, 0.45), (-1.0, 0.3, 0.225), (30, 200, 30)),
    "mug__(95, 360)": ((0.08, 0.1, 0.09), (-1.0, 0.3, 0.495), (30, 30, 200)),
}
CHAIR, TABLE, MUG = THINGS
HEIGHT = ScaleAnchor(type="object", name=CHAIR, axis="z", size_m=0.9)


def box(name: str) -> trimesh.Trimesh:
    """z-up, metres, at the origin, with a picture of one colour."""
    mesh = trimesh.creation.box(THINGS[name][0])
    mesh.unmerge_vertices()  # as exporters do at seams
    material = trimesh.visual.material.PBRMaterial(baseColorTexture=Image.new("RGB", (32, 32), THINGS[name][2]))
    uv = np.full((len(mesh.vertices), 2), 0.5)
    mesh.visual = trimesh.visual.TextureVisuals(uv=uv, material=material)
    return mesh


def at(name: str, lift: float = 0.0) -> np.ndarray:
    T = np.eye(4)
    T[:3, 3] = np.add(THINGS[name][1], (0, 0, lift))
    return T


def native(folder: Path, *, tilt_deg: float = 0.0, combined: bool = False, lift: float = 0.0) -> Path:
    """3D-RE-GEN's tree: y up but for a tilt, arbitrary unit and origin."""
    tilt = np.eye(4)
    tilt[:3, :3] = Rotation.from_euler("xz", (tilt_deg, tilt_deg / 2), degrees=True).as_matrix()
    tilt[:3, 3] = (0.3, -1.2, -4)
    unit = np.diag([1 / UNIT_M] * 3 + [1])
    T = tilt @ unit @ Z_TO_Y_UP
    (folder / "output/glb/scene").mkdir(parents=True)
    scene = trimesh.Scene()
    for name in THINGS:
        mesh = box(name).apply_transform(T @ at(name, lift if name == CHAIR else 0.0))
        scene.add_geometry(mesh, node_name=f"{name}_geometry_0")
        if not combined:
            mesh.export(folder / f"output/glb/{name}.glb")
    scene.export(folder / "output/glb/scene/combined_scene.glb")
    grid = np.array([[x, y, 0.0] for x in np.linspace(-2, 2, 5) for y in np.linspace(-2, 2, 5)])
    clouds = folder / "output/pointclouds"
    clouds.mkdir()
    plane = transform_points(T, grid)
    trimesh.PointCloud(plane).export(clouds / "PLANE_SAMPLED.ply")
    trimesh.PointCloud(np.column_stack([plane[:, 0], -plane[:, 2], plane[:, 1]])).export(clouds / "FLOOR.ply")
    return folder


def contract(folder: Path, **info: object) -> Path:
    """The Regen3D contract: meshes of unit size, y up, placed by pose.json."""
    root = folder / "regen3d"
    for i, name in enumerate((CHAIR, TABLE)):
        place = root / f"objects/obj_{i}"
        place.mkdir(parents=True)
        size, centre, _ = THINGS[name]
        mesh = box(name).apply_transform(Z_TO_Y_UP)
        mesh.apply_scale(1 / np.array([size[0], size[2], size[1]])).export(place / "mesh.glb")
        turn = Rotation.from_euler("y", 30 * i, degrees=True)
        pose = {
            "translation": (np.array([centre[0], centre[2] - 0.04 * i, -centre[1]]) / UNIT_M).tolist(),
            "rotation_quaternion": turn.as_quat(scalar_first=True).tolist(),
            "scale": (np.array([size[0], size[2], size[1]]) / UNIT_M).tolist(),
            "is_floor_contact": True,
            "confidence": 0.8,
        }
        if i:
            T = np.eye(4)
            T[:3, :3] = turn.as_matrix() * pose["scale"]
            T[:3, 3] = pose["translation"]
            pose["transform_matrix"] = T.tolist()
        (place / "pose.json").write_text(json.dumps(pose))
        (place / "label.json").write_text(json.dumps({"label": name.split("__")[0]}))
    (root / "background").mkdir()
    room = trimesh.creation.box((8, 5, 8))
    room.export(root / "background/mesh.glb")
    said = {"coordinate_frame": "y_up", "meters_per_unit": UNIT_M, "reconstruction_method": "toy"}
    (root / "scene_info.json").write_text(json.dumps({k: v for k, v in {**said, **info}.items() if v is not None}))
    return folder


def rebuilt(folder: Path, *anchors: ScaleAnchor, scene: str = "scene") -> Reconstruction:
    """`folder`/capture/scene holds the scene."""
    capture = Capture(name="s", kind="scene", frames=(), scene=scene, anchors=anchors).save(folder / "capture")
    out = folder / "out"
    return ReconstructorRegen3d().reconstruct(capture, ReconstructorConfig(), out).save(out)


def placed(made: Reconstruction) -> dict[str, np.ndarray]:
    """text -> (V, 3) vertices in the world."""
    out = {}
    for instance in made.instances:
        assert instance.given is not None
        mesh = read_obj(made.path(instance.given.parts[0].mesh))
        out[instance.text] = transform_points(pose_to_matrix(instance.given.pose), mesh.vertices)
    return out


def check_layout(made: Reconstruction, names: tuple[str, ...]) -> None:
    """Sizes, heights and distances between objects are those of `THINGS`, to 2 mm."""
    found = placed(made)
    middles = {}
    for name in names:
        points = found[name.split("__")[0].replace("_", " ")]
        size, centre, _ = THINGS[name]
        assert np.ptp(points[:, 2]) == pytest.approx(size[2], abs=2e-3)
        assert points[:, 2].min() == pytest.approx(centre[2] - size[2] / 2, abs=2e-3)
        middles[name] = points.mean(axis=0)
    for a in names:
        for b in names:
            true = np.subtract(THINGS[a][1], THINGS[b][1])[:2]
            assert np.linalg.norm((middles[a] - middles[b])[:2]) == pytest.approx(np.linalg.norm(true), abs=2e-3)


@pytest.mark.parametrize("tilt_deg", [0.0, 20.0])
@pytest.mark.parametrize("combined", [False, True], ids=["files", "combined"])
def test_the_native_tree_becomes_metric_and_level(tmp_path: Path, tilt_deg: float, combined: bool) -> None:
    native(tmp_path / "capture/scene", tilt_deg=tilt_deg, combined=combined)
    made = rebuilt(tmp_path, HEIGHT)
    check_layout(made, (CHAIR, TABLE, MUG))
    assert made.up_source == "normal of the floor's plane"
    assert "0.9 m" in made.scale_source
    assert {i.text for i in made.instances} == {"office chair", "coffee table", "mug"}
    assert {i.text_source for i in made.instances} == {"file"}
    assert {i.category for i in made.instances} >= {"mug"}
    chair = next(i for i in made.instances if i.text == "office chair")
    assert chair.given is not None and chair.given.parts[0].texture
    picture = images.read_color(made.path(chair.given.parts[0].texture))
    assert np.abs(picture.mean(axis=(0, 1)) - THINGS[CHAIR][2]).max() < 3
    assert Reconstruction.load(made.root) == made


def test_the_floor_may_come_from_the_turned_cloud(tmp_path: Path) -> None:
    scene = native(tmp_path / "capture/scene", tilt_deg=15)
    (scene / "output/pointclouds/PLANE_SAMPLED.ply").unlink()
    check_layout(rebuilt(tmp_path, HEIGHT), (CHAIR, TABLE, MUG))


def test_what_hovers_above_the_floor_is_set_on_it_and_what_stands_on_a_table_is_not(tmp_path: Path) -> None:
    native(tmp_path / "capture/scene", lift=0.03)
    check_layout(rebuilt(tmp_path, HEIGHT), (CHAIR, TABLE, MUG))


def test_the_contract_with_its_own_unit(tmp_path: Path) -> None:
    contract(tmp_path / "capture/scene")
    made = rebuilt(tmp_path, scene="scene/regen3d/scene_info.json")
    check_layout(made, (CHAIR, TABLE))
    assert made.scale_source == "meters_per_unit of scene_info.json"
    table = next(i for i in made.instances if i.text == "coffee table")
    assert table.given is not None and table.confidence == 0.8
    assert 2 * np.degrees(np.arccos(table.given.pose.quat_wxyz[0])) == pytest.approx(30, abs=0.01)
    extents = np.ptp(read_obj(made.path(table.given.parts[0].mesh)).vertices, axis=0)
    assert extents == pytest.approx(THINGS[TABLE][0], abs=2e-3)
    (room,) = made.statics
    floor = read_obj(made.path(room.colliders[0]))
    assert is_closed((floor.vertices, floor.faces)) and floor.vertices[:, 2].max() == 0  # nothing inside collides


def test_a_known_size_outranks_the_files_unit(tmp_path: Path) -> None:
    contract(tmp_path / "capture/scene", meters_per_unit=5.0)
    check_layout(rebuilt(tmp_path, HEIGHT.model_copy(update={"name": "obj_0"})), (CHAIR, TABLE))


def test_a_usual_height_is_the_last_resort_and_says_so(tmp_path: Path) -> None:
    contract(tmp_path / "capture/scene", meters_per_unit=None)
    prior = ScaleAnchor(type="class_prior", name="office chair", axis="z", size_m=0.9)
    assert "guess" in rebuilt(tmp_path, prior).scale_source


@pytest.mark.parametrize(
    ("anchors", "word"),
    [
        ((), "nothing says how large"),
        ((ScaleAnchor(type="marker", size_m=0.05),), "nothing says how large"),
        ((ScaleAnchor(type="object", name="sofa", size_m=2),), "0 objects are called"),
        ((HEIGHT, ScaleAnchor(type="object", name="coffee table", axis="z", size_m=0.9)), "contradict"),
    ],
)
def test_without_a_scale_it_refuses(tmp_path: Path, anchors: tuple, word: str) -> None:
    native(tmp_path / "capture/scene")
    with pytest.raises(InputError, match=word):
        rebuilt(tmp_path, *anchors)


def test_a_mirrored_pose_keeps_the_surface_outward(tmp_path: Path) -> None:
    scene = contract(tmp_path / "capture/scene")
    file = scene / "regen3d/objects/obj_0/pose.json"
    pose = json.loads(file.read_text())
    pose["scale"][0] *= -1
    file.write_text(json.dumps(pose))
    made = rebuilt(tmp_path)
    for instance in made.instances:
        assert instance.given is not None
        mesh = read_obj(made.path(instance.given.parts[0].mesh))
        assert trimesh.Trimesh(mesh.vertices, mesh.faces, process=True).volume > 0
    check_layout(made, (CHAIR, TABLE))


@pytest.mark.parametrize(
    ("break_it", "word"),
    [
        (lambda r: (r / "objects/obj_0/mesh.glb").write_bytes(b"glTF rubbish"), "cannot be read"),
        (lambda r: (r / "objects/obj_0/pose.json").write_text('{"scale": [0, 1, 1]}'), "flattens"),
        (lambda r: (r / "objects/obj_0/pose.json").write_text('{"transform_matrix": [1, 2]}'), "no pose"),
        (lambda r: (r / "scene_info.json").write_text('{"meters_per_unit": "one"}'), "meters_per_unit"),
        (lambda r: (r / "scene_info.json").write_text('{"coordinate_frame": "x_up"}'), "coordinate_frame"),
        (lambda r: (r / "scene_info.json").unlink(), "holds neither"),
    ],
)
def test_broken_scenes_are_refused_by_name(tmp_path: Path, break_it: object, word: str) -> None:
    scene = contract(tmp_path / "capture/scene")
    break_it(scene / "regen3d")  # type: ignore[operator]
    with pytest.raises(InputError, match=word):
        rebuilt(tmp_path)


def glb_that_names(address: str, length: int) -> bytes:
    """A GLB whose one buffer lies in another file."""
    content = {
        "asset": {"version": "2.0"},
        "buffers": [{"uri": address, "byteLength": length}],
        "bufferViews": [{"buffer": 0, "byteLength": length}],
        "accessors": [{"bufferView": 0, "componentType": 5126, "count": length // 12, "type": "VEC3"}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}],
        "nodes": [{"mesh": 0}],
        "scenes": [{"nodes": [0]}],
        "scene": 0,
    }
    text = json.dumps(content).encode()
    text += b" " * (-len(text) % 4)
    return struct.pack("<4sIIII", b"glTF", 2, 20 + len(text), len(text), 0x4E4F534A) + text


@pytest.mark.parametrize("address", ["../../../../secret.bin", "mesh.bin", "file:///etc/passwd"])
def test_no_other_file_is_opened_that_a_file_names(tmp_path: Path, address: str) -> None:
    scene = contract(tmp_path / "capture/scene")
    data = np.arange(9, dtype=np.float32).tobytes()
    (tmp_path / "secret.bin").write_bytes(data)
    (scene / "regen3d/objects/obj_0/mesh.bin").write_bytes(data)
    (scene / "regen3d/objects/obj_0/mesh.glb").write_bytes(glb_that_names(address, len(data)))
    with pytest.raises(InputError, match="cannot be read"):
        rebuilt(tmp_path)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.95])
def test_a_truncated_mesh_is_refused(tmp_path: Path, share: float) -> None:
    scene = contract(tmp_path / "capture/scene")
    file = scene / "regen3d/objects/obj_0/mesh.glb"
    data = file.read_bytes()
    file.write_bytes(data[: int(share * len(data))])
    with pytest.raises(InputError, match=r"cannot be read|holds 0 faces"):
        rebuilt(tmp_path)


def test_no_link_out_of_the_scene_is_followed(tmp_path: Path) -> None:
    scene = contract(tmp_path / "capture/scene")
    secret = tmp_path / "secret.glb"
    trimesh.creation.box().export(secret)
    mesh = scene / "regen3d/objects/obj_0/mesh.glb"
    mesh.unlink()
    mesh.symlink_to(secret)
    with pytest.raises(InputError, match="leaves the scene"):
        rebuilt(tmp_path)
