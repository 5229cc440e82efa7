"""Path-traced pictures by Blender Cycles, in Blender's own Python (4.5): needs bpy and numpy, nothing of this package.

PYTHON blender_hero.py FOLDER        or        blender --background --python blender_hero.py -- FOLDER

FOLDER/job.json, scene.npz   see `renderer_hero.write_job`; without a job, only blender.json is written
FOLDER/0003_1.png            state 3 seen by camera 1; 0003_1.npz its depth [m] and labels, if asked for
FOLDER/blender.json          {"blender": version}
"""

# pyright: reportMissingImports=false
import json
import sys
from pathlib import Path

import bpy
import numpy as np
from mathutils import Vector


def main(folder):
    (folder / "blender.json").write_text(json.dumps({"blender": bpy.app.version_string}))
    if not (folder / "job.json").is_file():
        return
    job, arrays = json.loads((folder / "job.json").read_text()), np.load(folder / "scene.npz", allow_pickle=False)
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    things = [link(mesh(k, part, arrays, folder, job["sky"])) for k, part in enumerate(job["parts"])]
    for light in job["lights"]:
        sun = bpy.data.lights.new("sun", "SUN")
        assign(sun, light["values"])
        link(sun).rotation_euler = Vector(light["back"]).to_track_quat("Z", "Y").to_euler()
    world(scene, job["sky"])
    for owner, values in job["settings"].items():
        assign(getattr(scene, owner), values)
    scene.camera = link(bpy.data.cameras.new("camera"))
    for t, stands in enumerate(arrays["stands"]):
        for thing, stand in zip(things, stands):  # noqa: B905  the cameras come behind them
            thing.matrix_world = stand.T.tolist()  # Blender counts columns first
        for c, lens in enumerate(job["cameras"]):
            scene.camera.matrix_world = stands[len(things) + c].T.tolist()
            assign(scene.camera.data, lens["lens"])
            assign(scene.render, {**lens["render"], "filepath": str(folder / f"{t:04d}_{c}.png")})
            bpy.ops.render.render(write_still=True)


def assign(owner, values):
    for name, value in values.items():
        setattr(owner, name, value)


def link(data):
    made = bpy.data.objects.new("thing", data)
    bpy.context.scene.collection.objects.link(made)
    return made


def mesh(k, part, arrays, folder, sky):
    vertices, faces = arrays[f"vertices_{k}"], arrays[f"faces_{k}"]
    made = bpy.data.meshes.new("part")
    made.vertices.add(len(vertices))
    made.vertices.foreach_set("co", vertices.ravel())
    made.loops.add(faces.size)
    made.loops.foreach_set("vertex_index", faces.ravel())
    made.polygons.add(len(faces))
    made.polygons.foreach_set("loop_start", np.arange(0, faces.size, 3, dtype=np.int32))
    made.update(calc_edges=True)
    made.uv_layers.new().data.foreach_set("uv", arrays[f"uv_{k}"][faces.ravel()].ravel())
    shading = made.attributes.new("custom_normal", "FLOAT_VECTOR", "CORNER")
    shading.data.foreach_set("vector", arrays[f"normals_{k}"][faces.ravel()].ravel())
    made.materials.append(material(part, folder, sky))
    return made


def node(tree, kind, *inputs, **values):
    """A shader node. inputs: a value, or the output that leads there."""
    made = tree.nodes.new(f"ShaderNode{kind}")
    assign(made, values)
    for slot, given in zip(made.inputs, inputs):  # noqa: B905
        if isinstance(given, bpy.types.NodeSocket):
            tree.links.new(given, slot)
        else:
            slot.default_value = given
    return made


def material(part, folder, sky):
    made = bpy.data.materials.new("material")
    made.use_nodes = True
    tree = made.node_tree
    surface = tree.nodes["Principled BSDF"]
    for name, value in part["surface"].items():
        surface.inputs[name].default_value = value
    if part["texture"]:
        image = bpy.data.images.load(str(folder / part["texture"]), check_existing=True)
        picture = node(tree, "TexImage", image=image).outputs["Color"]
        for name in ("Base Color", "Emission Color"):
            tree.links.new(picture, surface.inputs[name])
    if part["endless"]:  # it turns into the sky's colour without a horizon, as in a photographer's studio
        place = node(tree, "NewGeometry").outputs["Position"]
        away = node(tree, "VectorMath", place, sky["center"], operation="DISTANCE").outputs["Value"]
        share = node(tree, "MapRange", away, *sky["fade_m"], interpolation_type="SMOOTHSTEP").outputs["Result"]
        haze = node(tree, "Emission", sky["seen"]).outputs[0]
        mixed = node(tree, "MixShader", share, surface.outputs[0], haze).outputs[0]
        tree.links.new(mixed, tree.nodes["Material Output"].inputs["Surface"])
    return made


def world(scene, sky):
    """Even light from all around; the camera sees the backdrop's colour instead."""
    scene.world = bpy.data.worlds.new("world")
    scene.world.use_nodes = True
    tree = scene.world.node_tree
    lit, seen = (node(tree, "Background", sky[name]).outputs[0] for name in ("light", "seen"))
    mixed = node(tree, "MixShader", node(tree, "LightPath").outputs["Is Camera Ray"], lit, seen)
    tree.links.new(mixed.outputs[0], tree.nodes["World Output"].inputs["Surface"])


if __name__ == "__main__":
    main(Path(sys.argv[-1]))
