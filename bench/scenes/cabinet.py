"""A toy cabinet with a drawer above and a door below, and a cloth, a rope and a sponge: physics without a capture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import trimesh
from PIL import Image

from blueprint.formats.obj import TexturedMesh, write_obj
from blueprint.geometry.inertia import solid_inertia
from blueprint.model.scene import (
    Collider,
    Inertia,
    Joint,
    ObjectAsset,
    Part,
    PhysicalObject,
    PhysicalPart,
    Primitive,
    SoftBody,
    Sourced,
    StaticPart,
)
from blueprint.model.spatial import Pose

Box = tuple[tuple[float, float, float], tuple[float, float, float]]  # low and high corner

BODY: tuple[Box, ...] = (  # bottom, back, two sides, shelf, top of a cabinet 0.4 x 0.4 x 0.6 m, open towards +x
    ((-0.2, -0.2, -0.3), (0.18, 0.2, -0.28)),
    ((-0.2, -0.2, -0.28), (-0.18, 0.2, 0.28)),
    ((-0.18, -0.2, -0.28), (0.18, -0.18, 0.28)),
    ((-0.18, 0.18, -0.28), (0.18, 0.2, 0.28)),
    ((-0.18, -0.18, 0.0), (0.18, 0.18, 0.02)),
    ((-0.2, -0.2, 0.28), (0.18, 0.2, 0.3)),
)
DRAWER: tuple[Box, ...] = (  # bottom, front, back, two sides, handle
    ((-0.15, -0.17, 0.04), (0.18, 0.17, 0.05)),
    ((0.18, -0.19, 0.03), (0.2, 0.19, 0.27)),
    ((-0.16, -0.17, 0.04), (-0.15, 0.17, 0.2)),
    ((-0.15, -0.17, 0.05), (0.18, -0.16, 0.2)),
    ((-0.15, 0.16, 0.05), (0.18, 0.17, 0.2)),
    ((0.2, -0.05, 0.14), (0.23, 0.05, 0.16)),
)
DOOR: tuple[Box, ...] = (((0.18, -0.19, -0.29), (0.2, 0.19, -0.01)), ((0.2, -0.16, -0.17), (0.23, -0.14, -0.11)))
CENTER = np.array([0.015, 0.0, 0.0])  # of the bounding box, -0.2 .. 0.23 along x


def make_cabinet(root: Path, name: str = "cabinet", *, anchored: bool = True) -> PhysicalObject:
    """Files below root/objects/NAME and root/colliders/NAME."""
    folder = root / "objects" / name
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(wood()).save(folder / "texture.png")
    base = _piece(root, name, "body", BODY)
    drawer, door = _piece(root, name, "drawer", DRAWER), _piece(root, name, "door", DOOR)
    whole = _solid(BODY + DRAWER + DOOR)
    write_obj(whole, folder / "visual.obj", texture="texture.png")
    np.save(folder / "seen_faces.npy", np.ones(len(whole.faces), dtype=bool))
    dx, dy, dz = np.ptp(whole.vertices, axis=0).tolist()
    x, y, z = (np.array([0.18, 0.2, -0.15]) - CENTER).tolist()
    drawer_joint = Joint(
        name="drawer_slide",
        type="prismatic",
        parent="body",
        child="drawer",
        axis=(1.0, 0.0, 0.0),
        origin=(0.0, 0.0, 0.15),
        limits=(0.0, 0.25),
        damping=5.0,
        friction=1.0,
        confidence=1.0,
        source="asset",
    )
    door_joint = Joint(
        name="door_hinge",
        type="revolute",
        parent="body",
        child="door",
        axis=(0.0, 0.0, 1.0),
        origin=(x, y, z),
        limits=(0.0, 1.6),
        damping=0.2,
        friction=0.05,
        confidence=1.0,
        source="asset",
    )
    asset = ObjectAsset(
        name=name,
        text="wooden cabinet",
        category="cabinet",
        mesh=f"objects/{name}/visual.obj",
        texture=f"objects/{name}/texture.png",
        seen_faces=f"objects/{name}/seen_faces.npy",
        dims_m=(dx, dy, dz),
        dims_sigma_m=(0.001, 0.001, 0.001),
        dims_source=("given", "given", "given"),
        method="toy",
        primitive=None,
        pose=Pose(position=(0.0, 0.0, 0.3)),
        seen_fraction=1.0,
        confidence=1.0,
        silhouette_iou=1.0,
        depth_error_median_m=0.0,
        volume_m3=0.02,
        support="table",
        parts=(base[0], drawer[0], door[0]),
        joints=(drawer_joint, door_joint),
        anchored=anchored,
    )
    return PhysicalObject(
        asset=asset,
        material="wood",
        material_source="toy",
        mass_kg=Sourced(value=8.0, source="toy"),
        inertia=solid_inertia(*base[1], 8.0),
        friction=Sourced(value=0.5, source="toy"),
        restitution=Sourced(value=0.2, source="toy"),
        colliders=base[2],
        collider_method="toy",
        parts=tuple(
            PhysicalPart(
                part=part,
                joint=joint,
                mass_kg=Sourced(value=mass, source="toy"),
                inertia=solid_inertia(*mesh, mass),
                colliders=colliders,
                collider_method="toy",
            )
            for (part, mesh, colliders), joint, mass in ((drawer, drawer_joint, 2.0), (door, door_joint, 1.5))
        ),
        pose=asset.pose,
        moved_m=0.0,
        moved_deg=0.0,
    )


def _piece(
    root: Path, item: str, name: str, boxes: tuple[Box, ...]
) -> tuple[Part, tuple[np.ndarray, np.ndarray], tuple[Collider, ...]]:
    mesh = _solid(boxes)
    write_obj(mesh, root / f"objects/{item}/{name}.obj", texture="texture.png")
    colliders = []
    (root / f"colliders/{item}/{name}").mkdir(parents=True, exist_ok=True)
    for index, box in enumerate(boxes):
        if name == "door":  # one of each kind
            low, high = np.array(box) - CENTER
            size, middle = ((high - low) / 2).tolist(), ((high + low) / 2).tolist()
            colliders.append(Collider(primitive=Primitive(type="box", size=size, pose=Pose(position=middle))))
            continue
        file = f"colliders/{item}/{name}/{index:03d}.obj"
        hull = _box(box)
        write_obj(TexturedMesh(np.asarray(hull.vertices) - CENTER, np.asarray(hull.faces)), root / file)
        colliders.append(Collider(mesh=file))
    part = Part(name=name, mesh=f"objects/{item}/{name}.obj", texture=f"objects/{item}/texture.png")
    return part, (mesh.vertices, mesh.faces), tuple(colliders)


def _box(box: Box) -> trimesh.Trimesh:
    return trimesh.creation.box(bounds=np.array(box))


def _solid(boxes: tuple[Box, ...]) -> TexturedMesh:
    """The union of the boxes, closed, with flat normals and a texture along the face's two longest directions."""
    joined = trimesh.boolean.union([_box(box) for box in boxes], engine="manifold")
    corners = joined.vertices[joined.faces] - CENTER
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    flat = np.argsort(np.abs(normal), axis=1, kind="stable")[:, :2]
    uv = np.take_along_axis(corners, np.repeat(flat[:, None], 3, axis=1), axis=2) + 0.5
    return TexturedMesh(joined.vertices - CENTER, joined.faces, uv, np.repeat(normal[:, None], 3, axis=1))


def wood(size: int = 64) -> np.ndarray:
    y, x = np.mgrid[0:size, 0:size]
    grain = 14 * np.sin(x / 2.5 + np.sin(y / 9.0))
    return np.clip(np.array([160, 112, 66]) + grain[..., None], 0, 255).astype(np.uint8)


def make_soft(root: Path, dim: int, at: tuple[float, float, float]) -> PhysicalObject:
    """A rope (1), a cloth (2) or a sponge (3)."""
    name, text = {1: ("rope", "rope"), 2: ("cloth", "dish cloth"), 3: ("sponge", "sponge")}[dim]
    folder = root / "objects" / name
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8, 3), (70, 130, 180), dtype=np.uint8)).save(folder / "texture.png")
    if dim == 1:
        points = np.stack([np.linspace(-0.15, 0.15, 16), np.zeros(16), np.zeros(16)], axis=1)
        elements = np.stack([np.arange(15), np.arange(1, 16)], axis=1)
    else:
        shape = (7, 7, 1) if dim == 2 else (5, 4, 3)
        pitch = 0.03
        index = np.arange(np.prod(shape)).reshape(shape)
        grid = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1).reshape(-1, 3)
        points = (grid - grid.mean(axis=0)) * pitch
        if dim == 2:
            a, b, c, d = index[:-1, :-1, 0], index[1:, :-1, 0], index[1:, 1:, 0], index[:-1, 1:, 0]
            elements = np.concatenate([np.stack(t, axis=-1).reshape(-1, 3) for t in ((a, b, c), (a, c, d))])
        else:
            corner = {k: index[k[0] : shape[0] - 1 + k[0], k[1] : shape[1] - 1 + k[1], k[2] : shape[2] - 1 + k[2]]
                      for k in np.ndindex(2, 2, 2)}  # fmt: skip
            ways = ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
            cells = []
            for way in ways:  # the six tetrahedra along a cube's diagonal
                path, at_corner = [(0, 0, 0)], [0, 0, 0]
                for axis in way:
                    at_corner[axis] = 1
                    path.append(tuple(at_corner))
                tetra = np.stack([corner[k] for k in path], axis=-1).reshape(-1, 4)
                edges = points[tetra[:, 1:]] - points[tetra[:, :1]]
                cells.append(np.where(np.linalg.det(edges)[:, None] > 0, tetra, tetra[:, [0, 2, 1, 3]]))
            elements = np.concatenate(cells)
    np.savez(folder / "soft.npz", points=points, elements=elements)
    thin = 0.008
    write_obj(_solid((((-0.09, -0.09, -thin / 2), (0.09, 0.09, thin / 2)),)), folder / "visual.obj")
    asset = make_cabinet(root / "unused", "donor").asset.model_copy(
        update={
            "name": name,
            "text": text,
            "category": name,
            "mesh": f"objects/{name}/visual.obj",
            "texture": f"objects/{name}/texture.png",
            "pose": Pose(position=at),
            "parts": (),
            "joints": (),
            "anchored": False,
        }
    )
    return PhysicalObject(
        asset=asset,
        material="cloth",
        material_source="toy",
        mass_kg=Sourced(value=0.05, source="toy"),
        inertia=Inertia(
            center_of_mass=(0.0, 0.0, 0.0), principal_moments=(1e-4, 1e-4, 1e-4), quat_wxyz=(1.0, 0.0, 0.0, 0.0)
        ),
        friction=Sourced(value=0.6, source="toy"),
        restitution=Sourced(value=0.0, source="toy"),
        colliders=(),
        collider_method="soft",
        soft=SoftBody(
            file=f"objects/{name}/soft.npz",
            dim=dim,
            young_pa={1: 1e6, 2: 3e5, 3: 2e4}[dim],
            poisson=0.3,
            damping={1: 0.001, 2: 0.01, 3: 0.01}[dim],
            thickness_m=thin,
            source="toy",
        ),
        pose=asset.pose,
        moved_m=0.0,
        moved_deg=0.0,
    )


def make_wall(root: Path) -> StaticPart:
    (root / "statics/wall").mkdir(parents=True, exist_ok=True)
    write_obj(_solid((((-0.6, -1.0, -0.03), (-0.55, 1.0, 1.0)),)), root / "statics/wall/visual.obj")
    return StaticPart(name="wall", text="wall", mesh="statics/wall/visual.obj")
