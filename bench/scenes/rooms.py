"""Procedural scenes for the bars of stability: what a capture would have found, errors of the capture included.

Every object stands a millimetre or two off, sunk or hovering, and turned a little, as measured objects do. Kinds:
clutter on a table, stacks, nested bowls, shelves (fixed boards), bins (fixed walls), cabinets with doors and drawers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import trimesh
from PIL import Image
from scipy.spatial.transform import Rotation

from blueprint.formats.obj import TexturedMesh, write_obj
from blueprint.geometry.transforms import matrix_to_pose
from blueprint.model.artifacts import Articulation, Reconstruction
from blueprint.model.scene import Joint, ObjectAsset, Part, Primitive, StaticPart, Support
from blueprint.model.spatial import Pose

OFF_M, OFF_DEG = 0.0015, 0.6  # standard deviations of where a capture puts an object
HALF_TABLE = 0.6


@dataclass
class Room:
    """A scene being furnished."""

    folder: Path
    rng: np.random.Generator
    objects: list[ObjectAsset] = field(default_factory=list)
    statics: list[StaticPart] = field(default_factory=list)

    def put(
        self,
        text: str,
        mesh: trimesh.Trimesh,
        at: tuple[float, float, float],
        yaw: float = 0.0,
        *,
        primitive: Primitive | None = None,
        parts: dict[str, trimesh.Trimesh] | None = None,
        joints: tuple[Joint, ...] = (),
        anchored: bool = False,
    ) -> None:
        """Stand an object (its mesh about the origin) with its base at height at[2]; parts: the first is the base."""
        name = f"{text.replace(' ', '_')}_{len(self.objects)}"
        place = self.folder / "articulation/objects" / name
        place.mkdir(parents=True)
        Image.fromarray(np.full((4, 4, 3), self.rng.integers(60, 220, 3), np.uint8)).save(place / "texture.png")
        _write(mesh, place / "visual.obj")
        for part, piece in (parts or {}).items():
            _write(piece, place / f"{part}.obj")
        np.save(place / "seen_faces.npy", np.ones(len(mesh.faces), bool))
        T = np.eye(4)
        T[:3, :3] = Rotation.from_euler("z", yaw).as_matrix()
        T[:3, 3] = at
        T[2, 3] -= mesh.bounds[0][2]
        if not anchored:
            T[:3, 3] += self.rng.normal(size=3) * OFF_M
            T[:3, :3] = Rotation.from_rotvec(np.deg2rad(self.rng.normal(size=3) * OFF_DEG)).as_matrix() @ T[:3, :3]
        x, y, z = mesh.extents.tolist()
        self.objects.append(
            ObjectAsset(
                name=name,
                text=text,
                mesh=f"objects/{name}/visual.obj",
                texture=f"objects/{name}/texture.png",
                seen_faces=f"objects/{name}/seen_faces.npy",
                dims_m=(x, y, z),
                dims_sigma_m=(0.002, 0.002, 0.002),
                dims_source=("measured", "measured", "measured"),
                method="procedural",
                primitive=primitive,
                pose=matrix_to_pose(T),
                seen_fraction=1.0,
                confidence=1.0,
                silhouette_iou=1.0,
                depth_error_median_m=0.0,
                volume_m3=float(mesh.volume),
                support="table",
                parts=tuple(Part(name=part, mesh=f"objects/{name}/{part}.obj") for part in parts or {}),
                joints=joints,
                anchored=anchored,
            )
        )

    def fix(self, text: str, mesh: trimesh.Trimesh) -> None:
        """Something that is no object, in the world frame."""
        name = f"{text.replace(' ', '_')}_{len(self.statics)}"
        place = self.folder / "reconstruction/statics" / name
        place.mkdir(parents=True)
        _write(mesh, place / "mesh.obj")
        self.statics.append(StaticPart(name=name, text=text, mesh=f"statics/{name}/mesh.obj"))

    def finish(self) -> tuple[Articulation, Reconstruction]:
        h = HALF_TABLE
        (self.folder / "articulation/objects").mkdir(parents=True, exist_ok=True)
        support = Support(
            polygon=((-h, -h), (h, -h), (h, h), (-h, h)),
            residual_m=0.001,
            thickness_m=0.03,
            texture=None,
            texture_bounds=(-h, -h, h, h),
            seen_fraction=1.0,
        )
        scene = Reconstruction(
            views=(),
            support=support,
            instances=(),
            statics=tuple(self.statics),
            depth_sigma_m=0.001,
            up_source="procedural",
            scale_source="procedural",
        ).save(self.folder / "reconstruction")
        return Articulation(objects=tuple(self.objects)).save(self.folder / "articulation"), scene


def room(index: int, folder: Path) -> tuple[str, Articulation, Reconstruction]:
    """Scene number `index`, written below `folder`; its kind goes round."""
    made = Room(folder, np.random.default_rng(index))
    kind, furnish = list(KINDS.items())[index % len(KINDS)]
    furnish(made)
    return kind, *made.finish()


# ------------------------------------------------------------------ kinds of scenes


def clutter(room: Room) -> None:
    """Boxes, cans, bottles and bowls on a table, one per cell of a grid."""
    for x, y in _cells(room, 9, 0.2):
        _thing(room, (x, y, 0.0))


def stacks(room: Room) -> None:
    """Piles of boxes, and cans on boxes."""
    for x, y in _cells(room, 4, 0.3):
        z, side = 0.0, room.rng.uniform(0.14, 0.2)
        for _ in range(room.rng.integers(2, 5)):
            high = float(room.rng.uniform(0.04, 0.09))
            _box(room, "cardboard box", (side, side * 0.8, high), (x, y, z), room.rng.normal() * 0.1)
            z, side = z + high, side * 0.85
        if room.rng.random() < 0.5:
            _can(room, "soup can", 0.033, 0.1, (x, y, z))


def nested(room: Room) -> None:
    """Bowls in bowls, and a can beside them."""
    for x, y in _cells(room, 3, 0.35):
        z = 0.0
        for _ in range(int(room.rng.integers(2, 4))):
            room.put("bowl", bowl(0.075, 0.055, 0.004), (x, y, z))
            z += 0.016
    _can(room, "soup can", 0.033, 0.1, (0.45, -0.45, 0.0))


def shelf(room: Room) -> None:
    """Boards and sides that stand fixed, with things on every board."""
    board, deep, wide = 0.018, 0.3, 0.8
    heights = [0.0, 0.33, 0.66]
    for z in heights[1:]:
        room.fix("shelf board", _moved(trimesh.creation.box((wide, deep, board)), (0, 0, z + board / 2)))
    for x in (-wide / 2, wide / 2):
        room.fix("shelf side", _moved(trimesh.creation.box((board, deep, 0.95)), (x, 0, 0.475)))
    for z in heights:
        for x in np.linspace(-0.28, 0.28, 4):
            _thing(room, (float(x), float(room.rng.normal() * 0.02), z + (board if z else 0.0)))


def bin_(room: Room) -> None:
    """One hollow bin in one piece, with things in it."""
    outer = trimesh.creation.box((0.5, 0.4, 0.2))
    inner = _moved(trimesh.creation.box((0.48, 0.38, 0.2)), (0, 0, 0.01))
    room.fix("storage bin", _moved(outer.difference(inner, engine="manifold"), (0, 0, 0.1)))
    for x in (-0.15, 0.0, 0.15):
        for y in (-0.09, 0.09):
            _thing(room, (x, y, 0.01), small=True)


def cabinet(room: Room) -> None:
    """A cabinet that opens, in its place, with things on top and beside it."""
    furnish = (door_cabinet, drawer_cabinet)[int(room.rng.integers(2))]
    wide, deep, high = room.rng.uniform(0.35, 0.5), room.rng.uniform(0.3, 0.4), room.rng.uniform(0.4, 0.6)
    parts, joints = furnish(wide, deep, high)
    whole = trimesh.util.concatenate(list(parts.values()))
    room.put("cabinet", whole, (0.0, 0.25, 0.0), parts=parts, joints=joints, anchored=True)
    for x in (-0.1, 0.1):
        _thing(room, (x, 0.25, float(high)), small=True)
    for x in (-0.4, 0.0, 0.4):
        _thing(room, (x, -0.3, 0.0))


KINDS: dict[str, Callable[[Room], None]] = {
    "clutter": clutter,
    "stacks": stacks,
    "nested": nested,
    "shelf": shelf,
    "bin": bin_,
    "cabinet": cabinet,
}


# ------------------------------------------------------------------ furniture that opens


def door_cabinet(wide: float, deep: float, high: float) -> tuple[dict[str, trimesh.Trimesh], tuple[Joint, ...]]:
    """An open box with a door at its front (-y), hinged left; about the origin."""
    wall, door, gap = 0.018, 0.018, 0.002
    shell = trimesh.creation.box((wide, deep - door - gap, high))
    hollow = _moved(trimesh.creation.box((wide - 2 * wall, deep, high - 2 * wall)), (0, -wall, 0))
    body = _moved(shell.difference(hollow, engine="manifold"), (0, (door + gap) / 2, 0))
    front = -deep / 2
    leaf = _moved(trimesh.creation.box((wide, door, high)), (0, front + door / 2, 0))
    knob = _moved(trimesh.creation.box((0.02, 0.03, 0.08)), (wide / 2 - 0.04, front - 0.0149, 0))
    hinge = Joint(
        name="hinge",
        type="revolute",
        parent="body",
        child="door",
        axis=(0.0, 0.0, -1.0),
        origin=(-wide / 2, front, 0.0),
        limits=(0.0, 1.5),
        confidence=1.0,
        source="asset",
    )
    return {"body": body, "door": leaf.union(knob, engine="manifold")}, (hinge,)


def drawer_cabinet(wide: float, deep: float, high: float) -> tuple[dict[str, trimesh.Trimesh], tuple[Joint, ...]]:
    """A body with two drawers that slide out at its front (-y)."""
    wall, gap = 0.018, 0.003
    shell = trimesh.creation.box((wide, deep, high))
    parts: dict[str, trimesh.Trimesh] = {}
    joints = []
    tall = (high - 3 * wall) / 2
    for index, z in enumerate((-(tall + wall) / 2, (tall + wall) / 2)):
        bay = _moved(trimesh.creation.box((wide - 2 * wall, deep, tall)), (0, -wall, z))
        shell = shell.difference(bay, engine="manifold")
        size = (wide - 2 * wall - 2 * gap, deep - 2 * wall, tall - 2 * gap)
        tray = trimesh.creation.box(size)
        room_in = _moved(trimesh.creation.box((size[0] - 0.02, size[1] - 0.02, size[2])), (0, 0, 0.01))
        tray = _moved(tray.difference(room_in, engine="manifold"), (0, -deep / 2 + size[1] / 2, z))
        handle = _moved(trimesh.creation.box((0.1, 0.03, 0.015)), (0, -deep / 2 - 0.0149, z))
        parts[f"drawer_{index}"] = tray.union(handle, engine="manifold")
        joints.append(
            Joint(
                name=f"slide_{index}",
                type="prismatic",
                parent="body",
                child=f"drawer_{index}",
                axis=(0.0, -1.0, 0.0),
                origin=(0.0, 0.0, z),
                limits=(0.0, 0.7 * deep),
                confidence=1.0,
                source="asset",
            )
        )
    return {"body": shell, **parts}, tuple(joints)


# ------------------------------------------------------------------ things


def bowl(radius: float, high: float, wall: float) -> trimesh.Trimesh:
    """A solid of revolution, about the origin."""
    outer = [(0.0, 0.0), (0.5 * radius, 0.0), (0.85 * radius, 0.5 * high), (radius, high)]
    inner = [(radius - wall, high), (0.85 * radius - wall, 0.5 * high), (0.5 * radius - wall, wall), (0.0, wall)]
    made = trimesh.creation.revolve(np.array(outer + inner), sections=32)
    return _moved(made, -made.bounds.mean(axis=0))


def mug(radius: float, high: float) -> trimesh.Trimesh:
    """A cup with a handle."""
    wall = 0.005
    cup = trimesh.creation.cylinder(radius, high, sections=40)
    cup = cup.difference(
        _moved(trimesh.creation.cylinder(radius - wall, high, sections=40), (0, 0, wall)), engine="manifold"
    )
    ring = trimesh.creation.torus(0.28 * high, 0.005, major_sections=24, minor_sections=10)
    ring.apply_transform(trimesh.transformations.rotation_matrix(np.pi / 2, (1, 0, 0)))
    ring = _moved(ring, (radius + 0.15 * high, 0, 0))
    ring = ring.difference(trimesh.creation.cylinder(radius - wall / 2, high, sections=40), engine="manifold")
    made = cup.union(ring, engine="manifold")
    return _moved(made, -made.bounds.mean(axis=0))


def _thing(room: Room, at: tuple[float, float, float], *, small: bool = False) -> None:
    yaw = float(room.rng.uniform(0, 2 * np.pi))
    kind = room.rng.integers(3 if small else 5)
    scale = 0.8 if small else 1.0
    if kind == 0:
        size = room.rng.uniform((0.04, 0.05, 0.05), (0.09, 0.09, 0.16)) * scale
        _box(room, "cardboard box", tuple(size.tolist()), at, yaw)
    elif kind == 1:
        _can(room, "soup can", float(room.rng.uniform(0.028, 0.04)), float(room.rng.uniform(0.06, 0.12)), at)
    elif kind == 2:
        profile = [(0.0, 0.0), (0.03, 0.0), (0.032, 0.01), (0.032, 0.1), (0.012, 0.13), (0.012, 0.16), (0.0, 0.16)]
        bottle = trimesh.creation.revolve(np.array(profile) * scale, sections=32)
        room.put("mustard bottle", _moved(bottle, -bottle.bounds.mean(axis=0)), at, yaw)
    elif kind == 3:
        room.put("bowl", bowl(float(room.rng.choice((0.06, 0.075))), 0.055, 0.004), at, yaw)
    else:
        room.put("mug", mug(0.04, 0.09), at, yaw)


def _box(
    room: Room, text: str, size: tuple[float, float, float], at: tuple[float, float, float], yaw: float = 0.0
) -> None:
    shape = Primitive(type="box", size=tuple(side / 2 for side in size), pose=Pose())
    room.put(text, trimesh.creation.box(size), at, float(yaw), primitive=shape)


def _can(room: Room, text: str, radius: float, high: float, at: tuple[float, float, float]) -> None:
    shape = Primitive(type="cylinder", size=(radius, high / 2), pose=Pose())
    room.put(text, trimesh.creation.cylinder(radius, high, sections=48), at, primitive=shape)


def _cells(room: Room, count: int, pitch: float) -> list[tuple[float, float]]:
    """`count` cells of a grid on the table, in a random order, off its lines."""
    side = int(np.floor(2 * HALF_TABLE / pitch))
    grid = [
        (float((i - (side - 1) / 2) * pitch), float((j - (side - 1) / 2) * pitch))
        for i in range(side)
        for j in range(side)
    ]
    chosen = room.rng.permutation(len(grid))[:count]
    return [tuple((np.array(grid[k]) + room.rng.normal(size=2) * 0.005).tolist()) for k in chosen]  # type: ignore[misc]


def _moved(mesh: trimesh.Trimesh, by: tuple[float, float, float] | np.ndarray) -> trimesh.Trimesh:
    mesh.apply_translation(by)
    return mesh


def _write(mesh: trimesh.Trimesh, path: Path) -> None:
    write_obj(TexturedMesh(np.asarray(mesh.vertices), np.asarray(mesh.faces, dtype=np.int64)), path)
