"""Small scenes of every kind that is imported, made here: seeds of the fuzz suite and of the tests.

Each shows a table top of 1 x 0.8 m at 0.7 m, a mug (8 x 8 x 10 cm) and a box (20 x 15 x 6 cm) on it; formats with
joints add a cabinet with a door hinged at its side.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import trimesh
from PIL import Image

TABLE_Z = 0.7
MUG, BOX = (0.08, 0.08, 0.10), (0.20, 0.15, 0.06)
MUG_AT, BOX_AT = (0.2, 0.1), (-0.2, -0.1)
TABLE = (1.0, 0.8, 0.04)
Z_TO_Y_UP = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])


def parts() -> dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]]:
    """Name -> (size, centre) [m], z up."""
    return {
        "table": (TABLE, (0.0, 0.0, TABLE_Z - TABLE[2] / 2)),
        "mug": (MUG, (*MUG_AT, TABLE_Z + MUG[2] / 2)),
        "cereal_box": (BOX, (*BOX_AT, TABLE_Z + BOX[2] / 2)),
    }


def write_glb(folder: Path, scale: float = 1.0) -> Path:
    """Metres, y up, as glTF wants it; scale: of the file's numbers."""
    scene = trimesh.Scene(base_frame="world")
    for name, (size, centre) in parts().items():
        box = trimesh.creation.box(np.array(size) * scale)
        box.visual = trimesh.visual.TextureVisuals(  # pyright: ignore
            uv=np.random.default_rng(0).random((len(box.vertices), 2)),
            material=trimesh.visual.material.PBRMaterial(baseColorTexture=Image.new("RGB", (16, 16), (200, 30, 30))),
        )
        T = Z_TO_Y_UP @ trimesh.transformations.translation_matrix(np.array(centre) * scale)
        scene.add_geometry(box, node_name=name, geom_name=name, transform=T)
    path = folder / "scene.glb"
    path.write_bytes(scene.export(file_type="glb"))
    return path


def write_gltf(folder: Path) -> Path:
    """The same with its buffers in files of their own."""
    scene = trimesh.load_scene(write_glb(folder))
    (folder / "scene.glb").unlink()
    for name, data in trimesh.exchange.gltf.export_gltf(scene).items():
        (folder / name.replace("model", "scene")).write_bytes(data)
    return folder / "scene.gltf"


def write_obj(folder: Path, unit: float = 1.0, *, z_up: bool = True) -> Path:
    """One file with an `o` per thing, and a material. unit: metres per unit of the file."""
    lines, start = ["mtllib scene.mtl"], 1
    for name, (size, centre) in parts().items():
        box = trimesh.creation.box(size)
        points = (box.vertices + centre) / unit
        points = points if z_up else points @ Z_TO_Y_UP[:3, :3].T
        lines += [f"o {name}", "usemtl red"]
        lines += ["v " + " ".join(f"{x:.6f}" for x in row) for row in points.tolist()]
        lines += ["f " + " ".join(str(i + start) for i in face) for face in box.faces.tolist()]
        start += len(points)
    (folder / "scene.mtl").write_text("newmtl red\nKd 0.8 0.1 0.1\nmap_Kd red.png\n")
    Image.new("RGB", (16, 16), (200, 30, 30)).save(folder / "red.png")
    path = folder / "scene.obj"
    path.write_text("\n".join(lines) + "\n")
    return path


def write_mjcf(folder: Path) -> Path:
    (folder / "meshes").mkdir(exist_ok=True)
    trimesh.creation.box(MUG).export(folder / "meshes/mug.obj")
    boxes = parts()
    path = folder / "scene.xml"
    path.write_text(f"""<mujoco model="room">
 <compiler angle="radian" meshdir="meshes"/>
 <asset><mesh name="mug" file="mug.obj"/></asset>
 <include file="more.xml"/>
 <worldbody>
  <body name="table" pos="{_text(boxes["table"][1])}"><geom type="box" size="{_text(boxes["table"][0], 0.5)}"/></body>
  <body name="mug" pos="{_text(boxes["mug"][1])}"><freejoint/>
   <geom type="mesh" mesh="mug" mass="0.3" friction="0.7 0.005 0.0001"/></body>
  <body name="cereal_box" pos="{_text(boxes["cereal_box"][1])}"><freejoint/>
   <geom type="box" size="{_text(BOX, 0.5)}" mass="0.5"/></body>
 </worldbody>
</mujoco>
""")
    (folder / "more.xml").write_text(f"""<mujoco><worldbody>
  <body name="cabinet" pos="0 0.25 {TABLE_Z + 0.1}">
   <geom type="box" size="0.1 0.08 0.1" mass="2"/>
   <body name="door" pos="-0.1 -0.09 0">
    <joint name="hinge" type="hinge" axis="0 0 -1" range="0 1.5" damping="0.1"/>
    <geom type="box" size="0.1 0.008 0.1" pos="0.1 0 0" mass="0.5"/>
   </body>
  </body>
</worldbody></mujoco>
""")
    return path


def write_urdf(folder: Path) -> Path:
    """A cabinet with a hinged door and a drawer, 0.8 m tall."""
    (folder / "meshes").mkdir(exist_ok=True)
    trimesh.creation.box((0.4, 0.02, 0.5)).export(folder / "meshes/door.stl")
    path = folder / "cabinet.urdf"
    path.write_text("""<?xml version="1.0"?>
<robot name="cabinet">
 <material name="wood"><color rgba="0.6 0.4 0.2 1"/></material>
 <link name="world"/>
 <link name="cabinet">
  <visual><origin xyz="0 0 0.4"/><geometry><box size="0.4 0.3 0.8"/></geometry><material name="wood"/></visual>
  <inertial><mass value="12"/><inertia ixx="1" iyy="1" izz="1" ixy="0" ixz="0" iyz="0"/></inertial>
 </link>
 <link name="door">
  <visual><origin xyz="0.2 0 0"/><geometry><mesh filename="package://cabinet/meshes/door.stl"/></geometry></visual>
  <inertial><mass value="1.5"/></inertial>
 </link>
 <link name="drawer">
  <visual><origin xyz="0 0.1 0"/><geometry><box size="0.36 0.24 0.2"/></geometry></visual>
 </link>
 <joint name="base" type="fixed"><parent link="world"/><child link="cabinet"/></joint>
 <joint name="hinge" type="revolute"><parent link="cabinet"/><child link="door"/>
  <origin xyz="-0.2 -0.17 0.27"/><axis xyz="0 0 -1"/><limit lower="0" upper="1.7" effort="10" velocity="1"/>
  <dynamics damping="0.2" friction="0.1"/></joint>
 <joint name="slide" type="prismatic"><parent link="cabinet"/><child link="drawer"/>
  <origin xyz="0 -0.15 0.68"/><axis xyz="0 -1 0"/><limit lower="0" upper="0.2" effort="10" velocity="1"/></joint>
</robot>
""")
    return path


def write_usd(folder: Path, *, centimetres: bool = False, y_up: bool = False) -> Path:
    """The main layer references the mug from a layer of its own, instances it twice, and hinges a door."""
    unit = 100.0 if centimetres else 1.0
    (folder / "props").mkdir(exist_ok=True)
    (folder / "props/mug.usda").write_text(f"""#usda 1.0
(
 defaultPrim = "Mug"
 metersPerUnit = {1 / unit:g}
 upAxis = "{"Y" if y_up else "Z"}"
)
def Xform "Mug"
{{
 def Cube "Body"
 {{
  double size = 1
  color3f[] primvars:displayColor = [(0.8, 0.1, 0.1)]
  double3 xformOp:scale = {_vector(MUG, unit, y_up, size=True)}
  uniform token[] xformOpOrder = ["xformOp:scale"]
 }}
}}
""")
    bodies = "\n".join(
        _prim(name, size, centre, unit, y_up) for name, (size, centre) in parts().items() if name != "mug"
    )
    other = (MUG_AT[0], -0.2, TABLE_Z + MUG[2] / 2)
    mugs = "\n".join(
        f"""  def Xform "{name}" (
   prepend apiSchemas = ["PhysicsRigidBodyAPI", "PhysicsMassAPI"]
   references = @./props/mug.usda@
   instanceable = true
  )
  {{
   float physics:mass = 0.3
   double3 xformOp:translate = {_vector(at, unit, y_up)}
   uniform token[] xformOpOrder = ["xformOp:translate"]
  }}"""
        for name, at in (("Mug_1", parts()["mug"][1]), ("Mug_2", other))
    )
    path = folder / "scene.usda"
    path.write_text(f"""#usda 1.0
(
 defaultPrim = "World"
 metersPerUnit = {1 / unit:g}
 kilogramsPerUnit = 1
 upAxis = "{"Y" if y_up else "Z"}"
)
def Xform "World"
{{
{bodies}
{mugs}
{_cabinet(unit, y_up)}
}}
""")
    return path


def _cabinet(unit: float, y_up: bool) -> str:
    up = "Y" if y_up else "Z"
    body = _prim("Cabinet", (0.2, 0.16, 0.2), (0.0, 0.25, TABLE_Z + 0.1), unit, y_up, free=True)
    door = _prim("Door", (0.2, 0.016, 0.2), (0.0, 0.16, TABLE_Z + 0.1), unit, y_up, free=True)
    return f"""{body}
{door}
  def PhysicsFixedJoint "anchor"
  {{
   rel physics:body1 = </World/Cabinet>
  }}
  def PhysicsRevoluteJoint "hinge"
  {{
   rel physics:body0 = </World/Cabinet>
   rel physics:body1 = </World/Door>
   uniform token physics:axis = "{up}"
   point3f physics:localPos0 = {_vector((-0.1, -0.09, 0.0), unit, y_up)}
   point3f physics:localPos1 = {_vector((-0.1, 0.0, 0.0), unit, y_up)}
   float physics:lowerLimit = -90
   float physics:upperLimit = 0
  }}"""


def _prim(
    name: str,
    size: tuple[float, ...],
    centre: tuple[float, ...],
    unit: float,
    y_up: bool,
    *,
    free: bool | None = None,
) -> str:
    free = name != "table" if free is None else free
    schemas = '"PhysicsRigidBodyAPI", "PhysicsMassAPI"' if free else '"PhysicsCollisionAPI"'
    mass = "float physics:mass = 0.5" if free else ""
    return f"""  def Xform "{name}" (prepend apiSchemas = [{schemas}])
  {{
   {mass}
   double3 xformOp:translate = {_vector(centre, unit, y_up)}
   uniform token[] xformOpOrder = ["xformOp:translate"]
   def Cube "Shape"
   {{
    double size = 1
    double3 xformOp:scale = {_vector(size, unit, y_up, size=True)}
    uniform token[] xformOpOrder = ["xformOp:scale"]
   }}
  }}"""


def _vector(values: tuple[float, ...], unit: float, y_up: bool, *, size: bool = False) -> str:
    x, y, z = (value * unit for value in values)
    if y_up:
        x, y, z = x, z, (y if size else -y)
    return f"({x:g}, {y:g}, {z:g})"


def _text(values: tuple[float, ...], factor: float = 1.0) -> str:
    return " ".join(f"{value * factor:g}" for value in values)
