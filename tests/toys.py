"""Toy artifacts for tests: a table with a box, a can, a bottle and a bowl, no capture needed.

`make_reconstruction`, `make_assets`, `make_physics` and `make_simscene` each write one artifact into `out` and return
it bound; later ones run the real stages on the earlier ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from blueprint.formats.obj import TexturedMesh, write_obj
from blueprint.geometry.transforms import invert, matrix_to_rows, transform_points
from blueprint.model.artifacts import Articulation, Assets, Physics, Reconstruction, SimScene
from blueprint.model.capture import Camera
from blueprint.model.scene import CameraView, Instance, ObjectAsset, Primitive, Support
from blueprint.model.spatial import Pose

CAMERA = Camera(width=320, height=240, fx=290.0, fy=290.0, cx=161.5, cy=117.0)
TABLE = ((-0.45, -0.35), (0.45, -0.35), (0.45, 0.35), (-0.45, 0.35))
SEGMENTS = 32  # of a lathe


@dataclass(frozen=True)
class Toy:
    """A textured solid in its canonical frame. vertices (V, 3) [m], uv (V, 2), faces (F, 3); seams are duplicated."""

    name: str
    text: str
    vertices: NDArray[np.float64]
    uv: NDArray[np.float64]
    faces: NDArray[np.int64]
    primitive: Primitive | None
    position: tuple[float, float, float]
    yaw_deg: float
    rgb: tuple[int, int, int]

    @property
    def T_world_object(self) -> NDArray[np.float64]:
        yaw = np.deg2rad(self.yaw_deg)
        T = np.eye(4)
        T[:2, :2] = [[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]]
        T[:3, 3] = self.position
        return T

    @property
    def dims(self) -> NDArray[np.float64]:
        return np.ptp(self.vertices, axis=0)

    @property
    def volume(self) -> float:
        a, b, c = (self.vertices[self.faces[:, k]] for k in range(3))
        return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6)


def toys() -> tuple[Toy, ...]:
    """The four objects, standing on z = 0 without touching each other."""
    return (
        box("cracker_box", "cracker box", (0.03, 0.08, 0.105), (-0.12, 0.05), 20.0, (190, 40, 40)),
        can("soup_can", "tomato soup can", 0.033, 0.05, (0.05, -0.06), (200, 60, 50)),
        lathe("mustard_bottle", "mustard bottle", BOTTLE, (0.02, 0.12), (225, 190, 40)),
        lathe("bowl", "red bowl", BOWL, (0.2, 0.05), (160, 50, 70)),
    )


BOTTLE = ((0.0, 0.0), (0.03, 0.0), (0.032, 0.01), (0.032, 0.11), (0.012, 0.145), (0.012, 0.175), (0.0, 0.175))
BOWL = ((0.0, 0.0), (0.04, 0.0), (0.075, 0.05), (0.07, 0.05), (0.037, 0.006), (0.0, 0.006))


def box(
    name: str,
    text: str,
    half: tuple[float, float, float],
    xy: tuple[float, float],
    yaw_deg: float,
    rgb: tuple[int, int, int],
) -> Toy:
    """A box of half extents [m] whose six faces each show the whole texture."""
    vertices, faces = [], []
    for axis in range(3):
        for sign in (-1.0, 1.0):
            u, v = (axis + 1) % 3, (axis + 2) % 3
            corners = np.zeros((4, 3))
            corners[:, axis] = sign
            corners[:, u] = [-1, 1, 1, -1]
            corners[:, v] = [-1, -1, 1, 1]
            base = len(vertices) * 4
            order = [[0, 1, 2], [0, 2, 3]] if sign > 0 else [[0, 2, 1], [0, 3, 2]]
            faces.append(np.array(order) + base)
            vertices.append(corners * half)
    uv = np.tile([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]], (6, 1))
    primitive = Primitive(type="box", size=half, pose=Pose())
    position = (*xy, half[2])
    return Toy(name, text, np.concatenate(vertices), uv, np.concatenate(faces), primitive, position, yaw_deg, rgb)


def can(
    name: str, text: str, radius: float, half_height: float, xy: tuple[float, float], rgb: tuple[int, int, int]
) -> Toy:
    profile = ((0.0, 0.0), (radius, 0.0), (radius, 2 * half_height), (0.0, 2 * half_height))
    made = lathe(name, text, profile, xy, rgb)
    primitive = Primitive(type="cylinder", size=(radius, half_height), pose=Pose())
    return Toy(**{**made.__dict__, "primitive": primitive})


def lathe(
    name: str,
    text: str,
    profile: tuple[tuple[float, float], ...],
    xy: tuple[float, float],
    rgb: tuple[int, int, int],
) -> Toy:
    """The solid of revolution of a profile of (radius, height), listed from the bottom of the axis to its top."""
    angles = np.linspace(0.0, 2 * np.pi, SEGMENTS + 1)
    angles[-1] = 0.0  # the seam's two copies must be equal to the bit to weld
    r, z = np.array(profile).T
    z = z - z.max() / 2
    along = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(r), np.diff(z)))])
    ring = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    vertices = np.concatenate(
        [np.column_stack([ring * ri, np.full(len(ring), zi)]) for ri, zi in zip(r, z, strict=True)]
    )
    u = np.linspace(0.0, 1.0, SEGMENTS + 1)
    uv = np.concatenate([np.column_stack([u, np.full(len(u), s / along[-1])]) for s in along])
    faces = []
    for i in range(len(r) - 1):
        for k in range(SEGMENTS):
            a, b = i * (SEGMENTS + 1) + k, (i + 1) * (SEGMENTS + 1) + k
            if r[i] > 0:
                faces.append((a, a + 1, b + 1))
            if r[i + 1] > 0:
                faces.append((a, b + 1, b))
    position = (*xy, float(-z.min()))
    return Toy(name, text, vertices, uv, np.array(faces), None, position, 0.0, rgb)


def striped(rgb: tuple[int, int, int], size: int = 64) -> NDArray[np.uint8]:
    """(size, size, 3): a label in the middle of a plain colour, so that orientation is visible."""
    picture = np.tile(np.array(rgb, dtype=np.uint8), (size, size, 1))
    picture[size // 4 : size // 2, size // 8 : -size // 8] = 235
    picture[size // 4 : size // 2 : 4, size // 4 : -size // 4] = 40
    return picture


def T_world_camera() -> NDArray[np.float64]:
    """The capture's camera: 0.75 m away, above the near edge of the table, looking at its middle."""
    position, target = np.array([0.05, -0.65, 0.5]), np.array([0.05, 0.02, 0.04])
    z = (target - position) / np.linalg.norm(target - position)
    x = np.cross(z, [0.0, 0.0, 1.0])
    x /= np.linalg.norm(x)
    T = np.eye(4)
    T[:3, :3] = np.stack([x, np.cross(z, x), z], axis=1)
    T[:3, 3] = position
    return T


def make_reconstruction(out: Path) -> Reconstruction:
    """One 320x240 view of the toys (splatted, no noise), the table and the instances."""
    color, depth, labels = picture()
    for folder in ("color", "depth", "labels"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    Image.fromarray(color).save(out / "color/0000.png")
    np.save(out / "depth/0000.npy", depth)
    Image.fromarray(labels).save(out / "labels/0000.png")
    Image.fromarray(table_texture()).save(out / "support.png")
    view = CameraView(
        frame="0000",
        camera=CAMERA,
        T_world_camera=matrix_to_rows(T_world_camera()),
        color="color/0000.png",
        depth="depth/0000.npy",
        labels="labels/0000.png",
    )
    support = Support(
        polygon=TABLE,
        residual_m=0.0,
        thickness_m=0.03,
        texture="support.png",
        texture_bounds=(-0.45, -0.35, 0.45, 0.35),
        seen_fraction=1.0,
    )
    instances = tuple(
        Instance(
            name=toy.name,
            label=label,
            text=toy.text,
            text_source="user",
            mask_source="mask",
            pixels=int((labels == label).sum()),
            confidence=1.0,
        )
        for label, toy in enumerate(toys(), start=1)
    )
    made = Reconstruction(views=(view,), support=support, instances=instances, depth_sigma_m=0.001, up_source="toy")
    return made.save(out)


def make_assets(out: Path) -> Assets:
    """The toys as textured meshes."""
    objects = tuple(write_asset(toy, out / "objects" / toy.name) for toy in toys())
    return Assets(objects=objects, dropped={}).save(out)


def make_articulation(out: Path) -> Articulation:
    """The toys, none of which moves in parts."""
    return Articulation(objects=make_assets(out).objects).save(out)


def make_physics(out: Path) -> Physics:
    """The real stage on the toys; its inputs lie in `out`/inputs."""
    from blueprint.backends.simulator_mujoco import SimulatorMujoco
    from blueprint.stages.physics import PhysicsConfig, physics

    parts = make_articulation(out / "inputs/articulation")
    reconstruction = make_reconstruction(out / "inputs/reconstruction")
    return physics(parts, reconstruction, SimulatorMujoco(), PhysicsConfig(), out).save(out)


def make_simscene(out: Path) -> SimScene:
    """The real stages on the toys; the physics lies in `out`/inputs/physics."""
    from blueprint.stages.simscene import SimSceneConfig, simscene

    physics = make_physics(out / "inputs/physics")
    reconstruction = Reconstruction.load(out / "inputs/physics/inputs/reconstruction")
    return simscene(reconstruction, physics, SimSceneConfig(), out).save(out)


def write_asset(toy: Toy, folder: Path) -> ObjectAsset:
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(striped(toy.rgb)).save(folder / "texture.png")
    write_obj(welded(toy), folder / "visual.obj", texture="texture.png")
    seen = seen_faces(toy)
    np.save(folder / "seen_faces.npy", seen)
    relative = f"objects/{toy.name}"
    dx, dy, dz = toy.dims.tolist()
    return ObjectAsset(
        name=toy.name,
        text=toy.text,
        mesh=f"{relative}/visual.obj",
        texture=f"{relative}/texture.png",
        seen_faces=f"{relative}/seen_faces.npy",
        dims_m=(dx, dy, dz),
        dims_sigma_m=(0.001, 0.001, 0.001),
        dims_source=("measured", "inferred", "measured"),
        method="toy",
        primitive=toy.primitive,
        pose=Pose(position=toy.position, quat_wxyz=quat(toy.yaw_deg)),
        seen_fraction=float(seen.mean()),
        confidence=1.0,
        silhouette_iou=1.0,
        depth_error_median_m=0.0,
        volume_m3=toy.volume,
        support="table",
    )


def welded(toy: Toy) -> TexturedMesh:
    """The toy with one vertex per place, as real assets have it: closed across texture seams, flat shading."""
    vertices, index = np.unique(toy.vertices.round(9) + 0.0, axis=0, return_inverse=True)
    corners = toy.vertices[toy.faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    return TexturedMesh(vertices, index[toy.faces], toy.uv[toy.faces], np.repeat(normal[:, None], 3, axis=1))


def quat(yaw_deg: float) -> tuple[float, float, float, float]:
    half = np.deg2rad(yaw_deg) / 2
    return (float(np.cos(half)), 0.0, 0.0, float(np.sin(half)))


def seen_faces(toy: Toy) -> NDArray[np.bool_]:
    """(F,) faces that turn towards the camera."""
    corners = transform_points(toy.T_world_object, toy.vertices)[toy.faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return np.einsum("ij,ij->i", normal, T_world_camera()[:3, 3] - corners[:, 0]) > 0


def table_texture() -> NDArray[np.uint8]:
    """(175, 225, 3) planks along x."""
    y, x = np.mgrid[0:175, 0:225]
    grain = 12 * np.sin(x / 9.0 + y // 25) + np.where(y % 25 == 0, -30, 0)
    return np.clip(np.array([165, 125, 85]) + grain[..., None], 0, 255).astype(np.uint8)


def picture() -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.uint16]]:
    """Colour (H, W, 3), depth (H, W) [m] and labels (H, W) of the toys: points splatted into a depth buffer."""
    height, width = CAMERA.height, CAMERA.width
    T = T_world_camera()
    v, u = np.mgrid[0:height, 0:width]
    rays = np.stack([(u - CAMERA.cx) / CAMERA.fx, (v - CAMERA.cy) / CAMERA.fy, np.ones_like(u, dtype=float)], -1)
    world = rays @ T[:3, :3].T
    with np.errstate(divide="ignore"):
        depth = np.where(world[..., 2] < 0, -T[2, 3] / world[..., 2], 0.0)
    hit = T[:3, 3] + world * depth[..., None]
    on_table = (abs(hit[..., 0]) < 0.45) & (abs(hit[..., 1]) < 0.35) & (depth > 0)
    texture = table_texture()
    col = np.clip((hit[..., 0] + 0.45) / 0.9 * 224, 0, 224).astype(int)
    row = np.clip((0.35 - hit[..., 1]) / 0.7 * 174, 0, 174).astype(int)
    color = np.where(on_table[..., None], texture[row, col], 90).astype(np.uint8)
    depth = np.where(on_table, depth, 2.0)
    labels = np.zeros((height, width), dtype=np.uint16)
    for label, toy in enumerate(toys(), start=1):
        splat(toy, label, color, depth, labels)
    return color, depth.astype(np.float32), labels


def splat(
    toy: Toy,
    label: int,
    color: NDArray[np.uint8],
    depth: NDArray[np.float64],
    labels: NDArray[np.uint16],
) -> None:
    rng = np.random.default_rng(label)
    corners, uv = toy.vertices[toy.faces], toy.uv[toy.faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    count = 150_000
    face = rng.choice(len(area), count, p=area / area.sum())
    weight = rng.dirichlet((1.0, 1.0, 1.0), count)
    points = np.einsum("nk,nkd->nd", weight, corners[face])
    at = np.einsum("nk,nkd->nd", weight, uv[face])
    local = transform_points(invert(T_world_camera()) @ toy.T_world_object, points)
    u = np.rint(local[:, 0] / local[:, 2] * CAMERA.fx + CAMERA.cx).astype(int)
    v = np.rint(local[:, 1] / local[:, 2] * CAMERA.fy + CAMERA.cy).astype(int)
    texture = striped(toy.rgb)
    size = len(texture) - 1
    rgb = texture[np.rint((1 - at[:, 1]) * size).astype(int), np.rint(at[:, 0] * size).astype(int)]
    inside = (u >= 0) & (u < CAMERA.width) & (v >= 0) & (v < CAMERA.height)
    order = np.argsort(-local[:, 2], kind="stable")  # far first: nearer points overwrite them
    order = order[inside[order]]
    order = order[local[order, 2] < depth[v[order], u[order]]]
    at_pixel = v[order], u[order]
    depth[at_pixel], labels[at_pixel], color[at_pixel] = local[order, 2], label, rgb[order]
