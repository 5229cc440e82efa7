"""A scene that Regen3D or 3D-RE-GEN reconstructed: complete meshes, made metric, stood upright and set on the floor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.linalg import polar
from scipy.spatial import ConvexHull

from blueprint.backends.protocols import ReconstructorConfig
from blueprint.core.errors import InputError
from blueprint.core.report import progress, warn
from blueprint.formats import images
from blueprint.formats.given.regen3d import RegenMesh, RegenObject, RegenScene, read_regen3d
from blueprint.formats.obj import TexturedMesh, write_obj
from blueprint.geometry.mesh import Mesh, grid_box
from blueprint.geometry.segmentation.naming import slug
from blueprint.geometry.transforms import Array, invert, matrix_to_pose, transform_points
from blueprint.model.artifacts import Capture, Reconstruction
from blueprint.model.capture import ScaleAnchor
from blueprint.model.categories import category_of
from blueprint.model.scene import GivenModel, Instance, Part, StaticPart, Support

Y_TO_Z_UP = np.array([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
MARGIN_M = 0.3  # of floor around the objects
THICKNESS_M = 0.05
SNAP_SAID_M = 0.5  # an object that the files call standing on the floor is set on it from this far
SNAP_NEAR_M = 0.05  # any other only from this near
SPREAD = 0.15  # scale anchors that differ by more contradict each other


@dataclass(frozen=True)
class _Placed:
    """One object, metric: mesh in the object frame (z up), T_world_object rigid."""

    source: RegenObject
    mesh: Mesh
    T: Array

    @property
    def world(self) -> Array:
        return transform_points(self.T, self.mesh[0])


class ReconstructorRegen3d:
    """Every object is a GivenModel; the background is static. World: z up, the floor at z = 0."""

    name = "regen3d"
    version = "1"

    def reconstruct(self, capture: Capture, cfg: ReconstructorConfig, out: Path) -> Reconstruction:
        """Raises InputError when there is no such scene, or nothing says how large it is."""
        if capture.kind != "scene":
            raise InputError(
                f"a capture of kind {capture.kind} holds pictures, not a reconstructed scene",
                "give the folder that Regen3D or 3D-RE-GEN wrote, or set another run.reconstructor",
            )
        scene = read_regen3d(capture.path(capture.scene or "scene"))
        T_up, how = _upright(scene)
        metres, source = _scale(scene, capture.anchors)
        placed = [_place(thing, T_up, metres) for thing in scene.objects]
        back = _place(scene.background, T_up, metres) if scene.background else None
        floor_z = _floor_height(scene, placed, T_up, metres)
        shift = np.eye(4)
        shift[:3, 3] = -_middle(placed, floor_z)
        placed = [_on_floor(_Placed(p.source, p.mesh, shift @ p.T)) for p in placed]
        polygon = _polygon(placed)
        taken: set[str] = set()
        instances = [
            _instance(item, slug(item.source.text, taken), scene.method, out)
            for item in progress(placed, len(placed), "regen3d: objects")
        ]
        statics = (_static(_Placed(back.source, back.mesh, shift @ back.T), out),) if back else ()
        low, high = polygon.min(axis=0), polygon.max(axis=0)
        return Reconstruction(
            views=(),
            support=Support(
                polygon=tuple((float(x), float(y)) for x, y in polygon),
                residual_m=0.0,
                thickness_m=THICKNESS_M,
                texture=None,
                texture_bounds=(float(low[0]), float(low[1]), float(high[0]), float(high[1])),
                seen_fraction=0.0,
            ),
            instances=tuple(instances),
            statics=statics,
            depth_sigma_m=0.0,
            up_source=how,
            scale_source=source,
            licences={f"{scene.method}: models under their own licences, not stated in its output": False},
        )


# ------------------------------------------------------------------ up, scale, floor


def _upright(scene: RegenScene) -> tuple[Array, str]:
    """(4, 4) rotation that makes the scene z-up, and how up was found."""
    turn = Y_TO_Z_UP if scene.y_up else np.eye(4)
    if scene.floor is None:
        return turn, "the file's up axis"
    points = transform_points(turn, scene.floor)
    normal = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)[2][2]
    normal = normal * np.sign(normal[2] or 1.0)
    if normal[2] < 0.7:
        raise InputError("the floor's plane stands more than 45 degrees from level", "check FLOOR.ply of the scene")
    level = np.eye(4)
    level[:3, :3] = _turn_to_z(normal)
    return level @ turn, "normal of the floor's plane"


def _turn_to_z(normal: Array) -> Array:
    """(3, 3) smallest rotation of a unit vector (not down) onto z (Rodrigues)."""
    x, y, z = normal
    cross = np.array([[0, 0, -x], [0, 0, -y], [x, y, 0]])
    return np.eye(3) + cross + cross @ cross / (1 + z)


def _scale(scene: RegenScene, anchors: tuple[ScaleAnchor, ...]) -> tuple[float, str]:
    """(metres per unit, what says so): a known object before the files' own unit before a usual height."""
    for kind in ("object", "class_prior"):
        if kind == "class_prior" and scene.meters_per_unit is not None:
            return scene.meters_per_unit, "meters_per_unit of scene_info.json"
        found = {f"{a.name}: {a.axis} {a.size_m:g} m": _ratio(scene, a) for a in anchors if a.type == kind}
        if not found:
            continue
        ratios = np.array(list(found.values()))
        if np.ptp(ratios) > SPREAD * np.median(ratios):
            each = "; ".join(f"{text} says {ratio:.4g} m per unit" for text, ratio in found.items())
            raise InputError(f"the scale anchors contradict each other: {each}", "correct or remove one")
        said = "known size of" if kind == "object" else "usual height (a guess, good to about 15 %) of"
        return float(np.median(ratios)), f"{said} {', '.join(found)}"
    names = ", ".join(thing.name for thing in scene.objects[:5])
    raise InputError(
        f"nothing says how large the scene is: {scene.method} reconstructs up to scale",
        f'add "anchors": [{{"type": "object", "name": "{scene.objects[0].name}", "axis": "z", "size_m": 0.75}}] to '
        f"capture.json, or meters_per_unit to scene_info.json; objects: {names}",
    )


def _ratio(scene: RegenScene, anchor: ScaleAnchor) -> float:
    """[m] per unit by one anchor; its name is an object's own name, or its label if only one has it."""
    wanted = anchor.name.lower().replace("_", " ")
    exact = [thing for thing in scene.objects if thing.name.lower().replace("_", " ") == wanted]
    found = exact or [thing for thing in scene.objects if thing.text.lower() == wanted]
    if len(found) != 1:
        names = ", ".join(thing.name for thing in scene.objects)
        raise InputError(
            f"{len(found)} objects are called {anchor.name!r}, which a scale anchor names", f"name one of: {names}"
        )
    extents = np.ptp(_place(found[0], _upright(scene)[0], 1.0).mesh[0], axis=0)
    length = extents.max() if anchor.axis == "longest" else extents["xyz".index(anchor.axis)]
    if length <= 0:
        raise InputError(f"{found[0].name} has no extent along {anchor.axis}", "measure it along another axis")
    return float(anchor.size_m / length)


def _place(thing: RegenObject, T_up: Array, metres: float) -> _Placed:
    """The object frame is the mesh's own, turned as the scene is; scale, and a mirroring, go into the vertices."""
    T = T_up @ thing.T_scene_mesh @ invert(T_up)
    turn, stretch = polar(T[:3, :3])
    if np.linalg.det(turn) < 0:
        turn, stretch = -turn, -stretch
    vertices, faces = thing.mesh.mesh
    made = metres * transform_points(T_up, vertices) @ np.asarray(stretch)
    rigid = np.eye(4)
    rigid[:3, :3], rigid[:3, 3] = turn, metres * T[:3, 3]
    return _Placed(thing, (made, faces[:, ::-1] if np.linalg.det(stretch) < 0 else faces), rigid)


def _floor_height(scene: RegenScene, placed: list[_Placed], T_up: Array, metres: float) -> float:
    """[m] along z: of the floor's plane, else of what stands on it, else of what is lowest."""
    if scene.floor is not None:
        return float(metres * transform_points(T_up, scene.floor)[:, 2].mean())
    said = [item.world[:, 2].min() for item in placed if item.source.on_floor]
    return float(np.median(said)) if said else float(min(item.world[:, 2].min() for item in placed))


def _middle(placed: list[_Placed], floor_z: float) -> Array:
    points = np.concatenate([item.world for item in placed])
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    return np.array([middle[0], middle[1], floor_z])


def _on_floor(item: _Placed) -> _Placed:
    """Set on the floor what stands on it: matched poses hover or sink by centimetres."""
    gap = float(item.world[:, 2].min())
    allowed = {True: SNAP_SAID_M, False: 0.0, None: SNAP_NEAR_M}[item.source.on_floor]
    if item.source.on_floor and abs(gap) > allowed:
        warn(f"{item.source.name} should stand on the floor, but its lowest point is at {gap:.2f} m; left there")
    if abs(gap) > allowed:
        return item
    T = item.T.copy()
    T[2, 3] -= gap
    return _Placed(item.source, item.mesh, T)


def _polygon(placed: list[_Placed]) -> Array:
    """(N, 2) hull of the objects, grown by `MARGIN_M`, counter-clockwise."""
    points = np.concatenate([item.world[:, :2] for item in placed])
    corners = MARGIN_M * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    points = points[ConvexHull(points).vertices] if len(points) > 3 else points
    grown = (points[:, None] + corners).reshape(-1, 2)
    return grown[ConvexHull(grown).vertices]


# ------------------------------------------------------------------ writing


def _instance(item: _Placed, name: str, method: str, out: Path) -> Instance:
    thing = item.source
    texture = _write(thing.mesh, item.mesh, out / "given" / name, "mesh")
    part = Part(name=name, mesh=f"given/{name}/mesh.obj", texture=f"given/{name}/{texture}")
    known = category_of(thing.text)
    return Instance(
        name=name,
        label=0,
        text=thing.text,
        text_source="file" if thing.labelled else "rule",
        category=known[0].key if known else "",
        category_confidence=known[1] if known else 0.0,
        mask_source="given",
        pixels=0,
        confidence=thing.confidence,
        given=GivenModel(parts=(part,), pose=matrix_to_pose(item.T), source=f"{method}: {thing.file.name}"),
    )


def _static(item: _Placed, out: Path) -> StaticPart:
    """The background as it looks; what collides is a slab below the floor, since a hull would fill the room."""
    folder = out / "statics" / "background"
    mesh = (item.world, item.mesh[1])
    texture = _write(item.source.mesh, mesh, folder, "mesh")
    low, high = mesh[0].min(axis=0), mesh[0].max(axis=0)
    slab = grid_box(high[0] - low[0], high[1] - low[1], THICKNESS_M, cell=100.0)
    below = np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, -THICKNESS_M / 2])
    write_obj(TexturedMesh(slab[0] + below, slab[1]), folder / "floor.obj")
    place = "statics/background"
    return StaticPart(
        name="background",
        text="background",
        mesh=f"{place}/mesh.obj",
        texture=f"{place}/{texture}",
        colliders=(f"{place}/floor.obj",),
    )


def _write(look: RegenMesh, mesh: Mesh, folder: Path, stem: str) -> str:
    """OBJ with its picture, or one of a single colour; returns the picture's name."""
    folder.mkdir(parents=True)
    turned = look.uv is not None and not np.array_equal(mesh[1], look.mesh[1])
    uv = look.uv[:, ::-1] if look.uv is not None and turned else look.uv
    picture = look.picture if look.picture is not None else np.full((32, 32, 3), look.color, dtype=np.uint8)
    images.write_color(folder / f"{stem}.png", picture)
    uv = np.full((len(mesh[1]), 3, 2), 0.5) if uv is None else uv
    write_obj(TexturedMesh(mesh[0], mesh[1], uv), folder / f"{stem}.obj", f"{stem}.png")
    return f"{stem}.png"
