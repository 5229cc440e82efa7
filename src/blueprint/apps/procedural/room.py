"""The room: a table with five everyday things, seen from where a person would hold the sensor.

Rendered with MuJoCo in linear light: many draws, each with one light of a window or of the sky around and with the
pixel grid shifted a little, are averaged. That gives soft shadows, ambient occlusion and antialiasing with a
renderer that has none of them (accumulation buffer: Haeberli and Akeley, SIGGRAPH 1990).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import mujoco
import numpy as np
from numpy.typing import NDArray

from blueprint.apps.procedural import art, shapes
from blueprint.apps.procedural.eye import Eye
from blueprint.model.capture import Camera

CAMERA = Camera(width=640, height=480, fx=600.0, fy=600.0, cx=319.5, cy=239.5)
TABLE = (1.16, 0.74, 0.03)  # m
TABLE_HEIGHT = 0.74  # m above the floor, the usual desk
WINDOW_DRAWS, SKY_DRAWS = 20, 20


@dataclass(frozen=True)
class Thing:
    """One object: where it stands (xy [m], yaw [rad]) and how it looks. gloss: MuJoCo specular and shininess."""

    name: str
    text: str
    shape: shapes.Shape
    picture: art.Picture
    x: float
    y: float
    yaw: float
    gloss: tuple[float, float]


@dataclass(frozen=True)
class Shot:
    """What an ideal sensor sees. color: (H, W, 3) sRGB float in [0, 1]; depth: (H, W) [m]; labels: (H, W), 0 = none;
    cos_incidence: (H, W) cosine between the ray and the surface normal."""

    color: NDArray[np.floating]
    depth: NDArray[np.float32]
    labels: NDArray[np.uint16]
    cos_incidence: NDArray[np.float32]


def atlas(front: art.Picture, side: art.Picture, cell: tuple[int, int], plain: art.Color) -> art.Picture:
    """The picture of a box (see shapes.ATLAS); cell: (width, height) of one face in pixels."""
    top = np.full((cell[1], cell[0], 3), plain, np.uint8)
    faces = {"front": front, "back": front, "left": side, "right": side, "top": top, "bottom": top}
    picture = np.zeros((2 * cell[1], 3 * cell[0], 3), np.uint8)
    for name, (column, row) in shapes.ATLAS.items():
        target = picture[row * cell[1] : (row + 1) * cell[1], column * cell[0] : (column + 1) * cell[0]]
        target[:] = cv2.resize(faces[name], cell, interpolation=cv2.INTER_AREA)
    return picture


def things(rng: np.random.Generator) -> tuple[Thing, ...]:
    """Five objects, far enough apart for a clear view of each; the seed moves and turns them a little."""
    places = {"cereal_box": (-0.20, 0.13, 0.45), "dish_soap": (0.055, 0.16, -0.5), "soup_can": (0.255, 0.05, -0.85)}
    places |= {"bowl": (-0.055, -0.075, 0.0), "tea_box": (0.16, -0.14, -0.5)}
    at = {
        name: (x + rng.uniform(-0.012, 0.012), y + rng.uniform(-0.012, 0.012), yaw + rng.uniform(-0.2, 0.2))
        for name, (x, y, yaw) in places.items()
    }
    cereal = atlas(art.cereal_front(rng, 768, 1024), art.cereal_side(384, 1024), (512, 680), (214, 70, 38))
    tea = atlas(art.tea_face(640, 480, True), art.tea_face(480, 480, False), (512, 384), (30, 96, 80))
    turned = shapes.turned
    soap, can = turned(shapes.bottle_profile(0.033, 0.2)), turned(shapes.can_profile(0.034, 0.1))
    bowl = turned(shapes.bowl_profile(0.075, 0.055, 0.0055))
    return (
        Thing("cereal_box", "cereal box", shapes.box(0.17, 0.062, 0.235), cereal, *at["cereal_box"], (0.15, 0.3)),
        Thing("dish_soap", "bottle", soap, art.dish_soap(1024, 1024), *at["dish_soap"], (0.5, 0.6)),
        Thing("soup_can", "can", can, art.soup_can(1024, 1024), *at["soup_can"], (0.45, 0.5)),
        Thing("bowl", "bowl", bowl, art.glazed_bowl(rng, 1024, 512), *at["bowl"], (0.6, 0.7)),
        Thing("tea_box", "small box", shapes.box(0.085, 0.056, 0.062), tea, *at["tea_box"], (0.12, 0.3)),
    )


def camera_pose(rng: np.random.Generator) -> NDArray[np.float64]:
    """T_world_camera (4, 4), OpenCV axes: 0.9 m away, looking down by about 38 degrees, a hand's tilt of roll."""
    eye = np.array([0.03, -0.68, 0.56]) + rng.uniform(-0.02, 0.02, 3)
    forward = np.array([0.025, 0.02, 0.05]) - eye
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, (0, 0, 1))
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    roll = np.deg2rad(rng.uniform(-1.5, 1.5))
    pose = np.eye(4)
    pose[:3, 0] = np.cos(roll) * right + np.sin(roll) * down
    pose[:3, 1] = np.cos(roll) * down - np.sin(roll) * right
    pose[:3, 2], pose[:3, 3] = forward, eye
    return pose


def add_mesh(
    spec: mujoco.MjSpec, name: str, shape: shapes.Shape, picture: art.Picture, gloss: tuple[float, float]
) -> mujoco.MjsBody:
    """A fixed textured body at the origin; its picture is stored in linear light."""
    linear = np.rint(255 * to_linear(picture.astype(np.float32) / 255)).astype(np.uint8)
    texture = spec.add_texture(name=name, type=mujoco.mjtTexture.mjTEXTURE_2D, nchannel=3)
    texture.height, texture.width = linear.shape[:2]
    texture.data = linear.tobytes()
    material = spec.add_material(name=name, specular=gloss[0], shininess=gloss[1])
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = name
    mesh = spec.add_mesh(name=name, inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL)
    mesh.uservert, mesh.usernormal = shape.vertices.ravel(), shape.normals.ravel()
    mesh.userface = shape.faces.ravel()
    mesh.usertexcoord = np.column_stack([shape.uv[:, 0], 1 - shape.uv[:, 1]]).ravel()
    body = spec.worldbody.add_body(name=name)
    body.add_geom(type=mujoco.mjtGeom.mjGEOM_MESH, meshname=name, material=name)
    return body


def sheet(width: float, height: float, repeat: float = 1.0) -> shapes.Shape:
    """A horizontal rectangle facing up, centred at the origin."""
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * (width / 2, height / 2)
    vertices = np.column_stack([corners, np.zeros(4)])
    vertices = np.concatenate([vertices, vertices - (0, 0, 1e-3)])  # a mesh needs a volume for MuJoCo's compiler
    uv = np.tile(np.array([(0, 0), (1, 0), (1, 1), (0, 1)], float) * repeat, (2, 1))
    normals = np.repeat([(0.0, 0, 1), (0, 0, -1)], 4, axis=0)
    faces = np.array([(0, 1, 2), (0, 2, 3), (6, 5, 4), (7, 6, 4)], np.int32)
    return shapes.Shape(vertices, normals, uv, faces)


def room(rng: np.random.Generator, placed: tuple[Thing, ...], T_world_camera: NDArray[np.float64]) -> mujoco.MjModel:
    """The MuJoCo model; body ids of the things are found by name. World: z = 0 is the table top."""
    spec = mujoco.MjSpec()
    spec.stat.center, spec.stat.extent = (0, 0.4, -0.2), 2.0
    spec.visual.map.znear, spec.visual.map.zfar, spec.visual.map.shadowclip = 0.05, 8.0, 1.0
    spec.visual.quality.shadowsize, spec.visual.quality.offsamples = 4096, 0
    spec.visual.headlight.active = 0
    spec.visual.global_.offwidth, spec.visual.global_.offheight = CAMERA.width, CAMERA.height
    width, depth, thickness = TABLE
    add_mesh(spec, "table", sheet(width, depth), art.wood_planks(rng, 2048, 1306), (0.16, 0.35))
    wood = (0.13, 0.06, 0.025, 1)
    spec.worldbody.add_geom(
        type=mujoco.mjtGeom.mjGEOM_BOX, size=(width / 2, depth / 2, thickness / 2), pos=(0, 0, -thickness / 2 - 2e-3),
        rgba=wood,
    )  # fmt: skip
    for sx in (-1, 1):
        for sy in (-1, 1):
            spec.worldbody.add_geom(
                type=mujoco.mjtGeom.mjGEOM_BOX, size=(0.025, 0.025, TABLE_HEIGHT / 2),
                pos=(sx * (width / 2 - 0.04), sy * (depth / 2 - 0.04), -TABLE_HEIGHT / 2 - 0.01), rgba=wood,
            )  # fmt: skip
    floor = add_mesh(spec, "floor", sheet(8, 8, 4), art.floor_boards(rng, 1024), (0, 0))
    floor.pos = (0, 0, -TABLE_HEIGHT)
    spec.worldbody.add_geom(
        type=mujoco.mjtGeom.mjGEOM_BOX, size=(4, 0.05, 1.5), pos=(0, 1.75, 0.76), rgba=(0.50, 0.49, 0.45, 1)
    )
    spec.worldbody.add_geom(
        type=mujoco.mjtGeom.mjGEOM_BOX, size=(4, 0.06, 0.05), pos=(0, 1.70, -0.69), rgba=(0.75, 0.75, 0.74, 1)
    )
    for thing in placed:
        body = add_mesh(spec, thing.name, thing.shape, thing.picture, thing.gloss)
        body.pos, body.quat = (thing.x, thing.y, 0.0), (np.cos(thing.yaw / 2), 0, 0, np.sin(thing.yaw / 2))
    spec.worldbody.add_light(name="light", type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL, castshadow=True)
    R_world_gl = T_world_camera[:3, :3] @ np.diag([1.0, -1.0, -1.0])  # MuJoCo cameras look along -z with y up
    quat = np.zeros(4)
    mujoco.mju_mat2Quat(quat, R_world_gl.ravel())
    spec.worldbody.add_camera(
        name="sensor", pos=T_world_camera[:3, 3], quat=quat, resolution=(CAMERA.width, CAMERA.height),
        sensor_size=(CAMERA.width * 1e-5, CAMERA.height * 1e-5), focal_pixel=(CAMERA.fx, CAMERA.fy),
    )  # fmt: skip
    return spec.compile()


def to_linear(srgb: NDArray[np.floating]) -> NDArray[np.floating]:
    """IEC 61966-2-1."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def to_srgb(linear: NDArray[np.floating]) -> NDArray[np.floating]:
    """IEC 61966-2-1."""
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055)


def light_rig(rng: np.random.Generator) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """(direction towards the scene, RGB radiance) of every draw: a window to the left, a dim sky all around."""
    rig = []
    for k in range(WINDOW_DRAWS):
        row, column = divmod(k, 5)
        spot = np.array([-1.2, -0.5, 1.35]) + np.array([0.0, 0.9, 0.0]) * ((column + rng.uniform()) / 5 - 0.5)
        spot = spot + np.array([0.0, 0.0, 0.7]) * ((row + rng.uniform()) / 4 - 0.5)
        rig.append((-spot / np.linalg.norm(spot), np.array([1.0, 0.95, 0.86]) * 2.3 / WINDOW_DRAWS))
    for k in range(SKY_DRAWS):  # cosine-weighted hemisphere, golden angle
        height = np.sqrt(1 - (k + 0.5) / SKY_DRAWS)
        azimuth = k * np.pi * (3 - np.sqrt(5)) + 0.4
        radius = np.sqrt(1 - height**2)
        spot = np.array([radius * np.cos(azimuth), radius * np.sin(azimuth), height])
        rig.append((-spot, np.array([0.86, 0.93, 1.0]) * 0.62 / SKY_DRAWS / max(height, 0.25)))
    return rig


def shoot(model: mujoco.MjModel, rng: np.random.Generator, names: tuple[str, ...]) -> Shot:
    """Draw colour by accumulation, then depth, labels and incidence once at the pixel centres."""
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    principal = model.cam_intrinsic[0, 2:].copy()
    pixel = model.cam_sensorsize[0] / (CAMERA.width, CAMERA.height)
    total = np.zeros((CAMERA.height, CAMERA.width, 3), np.float32)
    with Eye(model, CAMERA.width, CAMERA.height) as eye:
        model.light_ambient[0], model.light_specular[0], model.light_diffuse[0] = 0.06, 0.35, 1.0
        for direction, radiance in light_rig(rng):
            model.light_dir[0], model.light_pos[0] = direction, -3 * direction
            model.cam_intrinsic[0, 2:] = principal + pixel * rng.uniform(-0.5, 0.5, 2)
            mujoco.mj_forward(model, data)
            total += eye.draw(data)[0].astype(np.float32) / 255 * radiance.astype(np.float32)
        model.cam_intrinsic[0, 2:] = principal
        _, depth = eye.draw(data)
        geoms = eye.geoms()
    labels = np.zeros(depth.shape, np.uint16)
    for label, name in enumerate(names, start=1):
        labels[geoms == model.geom(model.body(name).geomadr[0]).id] = label
    exposed = 1 - np.exp(-1.5 * total)  # a film's shoulder: highlights roll off instead of clipping
    return Shot(to_srgb(exposed), depth, labels, cos_incidence(depth))


def cos_incidence(depth: NDArray[np.float32]) -> NDArray[np.float32]:
    """(H, W) |cos| between each ray and the normal of the depth surface (central differences)."""
    v, u = np.mgrid[: depth.shape[0], : depth.shape[1]]
    ray = np.stack([(u - CAMERA.cx) / CAMERA.fx, (v - CAMERA.cy) / CAMERA.fy, np.ones_like(u)], -1)
    points = ray * depth[..., None]
    normal = np.cross(np.gradient(points, axis=1), np.gradient(points, axis=0))
    dot = np.abs(np.sum(normal * ray, -1))
    return (dot / np.maximum(np.linalg.norm(normal, axis=-1) * np.linalg.norm(ray, axis=-1), 1e-12)).astype(np.float32)
