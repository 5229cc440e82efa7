"""A scene that somebody else modelled, whatever its format: bodies with surfaces, joints between them.

Everything is metric and z-up: the readers convert. They read nothing outside the scene's own folder.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import polar

from blueprint.core.errors import BlueprintError, InputError
from blueprint.geometry.transforms import Array, invert, transform_points

MOST_BYTES = 2**29  # of one file
MOST_FACES = 4_000_000  # of one scene
MOST_NODES = 50_000
DEEPEST = 200
LARGEST_M = 1000.0  # no coordinate of a room lies farther out
GREY = (190, 190, 190)
Y_TO_Z_UP = np.array([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])


@dataclass(frozen=True)
class Surface:
    """vertices: (V, 3) [m]; faces: (F, 3); uv: (F, 3, 2), v up, or None; picture: (H, W, 3), which uv addresses, or
    None; color: where there is no picture. All in the frame of whatever holds it."""

    vertices: Array
    faces: NDArray[np.int64]
    uv: Array | None = None
    picture: NDArray[np.uint8] | None = None
    color: tuple[int, int, int] = GREY


@dataclass(frozen=True)
class GivenBody:
    """A rigid piece. T: (4, 4) rigid T_world_body; surfaces: in the body's frame.

    label: what the file says it is, empty if nothing; fixed: True = it never moves, False = the file lets it move,
    None = the file says nothing of physics; friction: sliding coefficient
    """

    name: str
    T: Array
    surfaces: tuple[Surface, ...]
    label: str = ""
    mass_kg: float | None = None
    friction: float | None = None
    fixed: bool | None = None

    @property
    def world(self) -> Array:
        """(N, 3) all vertices in the world."""
        return transform_points(self.T, np.concatenate([surface.vertices for surface in self.surfaces]))


@dataclass(frozen=True)
class GivenJoint:
    """parent, child: indices of bodies, parent -1 = the world. axis (unit), origin: world frame, as the scene stands.

    limits: [rad] or [m], 0 = as the scene stands; type `fixed` makes one piece of both
    """

    name: str
    type: Literal["revolute", "prismatic", "fixed"]
    parent: int
    child: int
    axis: tuple[float, float, float] = (0.0, 0.0, 1.0)
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    limits: tuple[float, float] = (0.0, 0.0)
    damping: float | None = None
    friction: float | None = None
    stiffness: float | None = None


@dataclass(frozen=True)
class GivenScene:
    """unit, up: how they were found; notes: what of the file was not taken over."""

    bodies: tuple[GivenBody, ...]
    joints: tuple[GivenJoint, ...]
    unit: str
    up: str
    notes: tuple[str, ...] = ()


@dataclass
class Node:
    """A branch of a file's tree. T: (4, 4) affine, into the scene's frame; surfaces: its own, in its frame.

    whole: the file calls it one thing (a component, an object of its own)
    """

    name: str
    T: Array
    surfaces: list[Surface] = field(default_factory=list)
    children: list[Node] = field(default_factory=list)
    label: str = ""
    whole: bool = False


@contextmanager
def reading(file: Path, cure: str) -> Iterator[None]:
    """Foreign parsers on foreign files raise anything: here it becomes an InputError that says the file and `cure`."""
    try:
        yield
    except BlueprintError:
        raise
    except Exception as error:
        text = " ".join(str(error).split())[:300]
        raise InputError(f"{file.name} cannot be read: {type(error).__name__}: {text}", cure) from error


def inside(root: Path, folder: Path, reference: str, named_by: Path) -> Path:
    """The file below `root` that `reference` names, seen from `folder`.

    Raises InputError when it is absolute, an address, leaves the scene, is missing or too large.
    """
    text = unquote(reference) if not (folder / reference).exists() else reference
    text = text.replace("\\", "/")
    where = f"{named_by.name} names {reference[:200]!r}"
    if "://" in text or text.startswith(("/", "~")) or text[1:2] == ":" or "\0" in text:
        raise InputError(f"{where}, which lies outside the scene", "collect all files in one folder, paths relative")
    try:
        path = (folder / text).resolve()
        found = path.is_relative_to(root.resolve()) and path.is_file()
    except OSError as error:
        raise InputError(f"{where}: {error}", "shorten the path") from error
    if not path.is_relative_to(root.resolve()):
        raise InputError(f"{where}, which lies outside the scene", "give the folder that holds everything it uses")
    if not found:
        raise InputError(f"{where}, which is not there", "a single file was given? give the folder with all its files")
    if path.stat().st_size > MOST_BYTES:
        raise InputError(f"{path.name} has {path.stat().st_size} bytes", f"at most {MOST_BYTES} are read")
    return path


def rigid(T: Array) -> tuple[Array, Array]:
    """(4, 4) rigid and (3, 3) rest of an affine map: T = rigid @ rest. Raises ValueError when it flattens or is not
    finite. A mirror stays in the rest."""
    linear = np.asarray(T, dtype=float)[:3, :3]
    if not np.isfinite(T).all() or abs(np.linalg.det(linear)) < 1e-15:
        raise ValueError("a transform flattens its object or is not finite")
    turn, rest = polar(linear)
    if np.linalg.det(turn) < 0:
        turn, rest = -turn, -rest
    out = np.eye(4)
    out[:3, :3], out[:3, 3] = turn, np.asarray(T)[:3, 3]
    return out, rest


def mapped(surface: Surface, T: Array) -> Surface:
    """The surface under an affine (4, 4) map; a mirror turns its faces round."""
    vertices = transform_points(T, surface.vertices)
    if np.linalg.det(np.asarray(T)[:3, :3]) >= 0:
        return Surface(vertices, surface.faces, surface.uv, surface.picture, surface.color)
    uv = None if surface.uv is None else surface.uv[:, ::-1]
    return Surface(vertices, surface.faces[:, ::-1], uv, surface.picture, surface.color)


def checked(surface: Surface, what: str) -> Surface:
    """Raises ValueError for indices that point nowhere and points that are not finite."""
    vertices, faces = surface.vertices, surface.faces
    if len(faces) and (faces.min() < 0 or faces.max() >= len(vertices)):
        raise ValueError(f"{what}: a face names a vertex that is not there")
    if not np.isfinite(vertices).all():
        raise ValueError(f"{what}: vertices that are not finite numbers")
    if surface.uv is not None and not np.isfinite(surface.uv).all():
        return Surface(vertices, faces, None, None, surface.color)
    return surface


def scene_of(
    bodies: Sequence[GivenBody], joints: Sequence[GivenJoint], unit: str, up: str, notes: Sequence[str], file: Path
) -> GivenScene:
    """The scene, checked as a whole. Raises InputError when it is empty, too large, or its lengths absurd."""
    faces = sum(len(surface.faces) for body in bodies for surface in body.surfaces)
    if not faces:
        raise InputError(f"{file.name} holds no surface", "export the meshes with it")
    if faces > MOST_FACES:
        raise InputError(f"{file.name} holds {faces} triangles; at most {MOST_FACES} are read", "simplify the meshes")
    shown = [body for body in bodies if body.surfaces]
    far = max(float(np.abs(body.world).max()) for body in shown)
    small = max(float(np.ptp(body.world, axis=0).max()) for body in shown)
    if far > LARGEST_M or small < 1e-4:
        raise InputError(
            f"{file.name}: as {unit}, the scene reaches {far:.3g} m out and its largest body is {small:.3g} m",
            "the unit is wrong: correct it in the file, or in scene.json for formats that have none",
        )
    return GivenScene(tuple(bodies), tuple(joints), unit, up, tuple(dict.fromkeys(notes)))


# ------------------------------------------------------------------ from a tree to objects


def bodies_of(root: Node, T_world: Array, *, fixed: bool | None = None) -> list[GivenBody]:
    """One body per object of the tree: whatever the file calls one thing, or holds a surface itself, or has a name
    that is a category, or consists of nameless pieces that touch. Its frame is that of its node, without scale."""
    return [_body(node, T_world, fixed) for node in _objects(root, 0)]


def _objects(node: Node, depth: int) -> Iterator[Node]:
    if depth > DEEPEST:
        raise ValueError(f"the tree is more than {DEEPEST} levels deep")
    if node.surfaces or (has_surface(node) and (node.whole or _is_thing(node))):
        yield node
        return
    for child in node.children:
        yield from _objects(child, depth + 1)


def has_surface(node: Node) -> bool:
    return bool(node.surfaces) or any(has_surface(child) for child in node.children)


def _is_thing(node: Node) -> bool:
    """Named as a category while its children are not each things of their own."""
    named = [child for child in node.children if child.whole or _category(child)]
    return (bool(_category(node)) and len(named) < 2) or (not named and len(node.children) > 1 and _touching(node))


def _category(node: Node) -> str:
    from blueprint.model.categories import category_of

    found = category_of(node.label or node.name)
    return found[0].key if found else ""


def _touching(node: Node) -> bool:
    """Whether the boxes of all its children hang together within a hand's width in all, and it is no room."""
    boxes = []
    for child in node.children:
        points = [p for T, s in surfaces_below(child, np.eye(4)) if len(p := transform_points(T, s.vertices))]
        if points:
            stacked = transform_points(node.T, np.concatenate(points))
            boxes.append((stacked.min(axis=0), stacked.max(axis=0)))
    if len(boxes) < 2 or len(boxes) > 64:
        return False
    low, high = np.min([b[0] for b in boxes], axis=0), np.max([b[1] for b in boxes], axis=0)
    gap = 0.002 * float((high - low).max())
    reached, waiting = {0}, [0]
    while waiting:
        a = boxes[waiting.pop()]
        for i, b in enumerate(boxes):
            if i not in reached and np.all(a[0] - gap <= b[1]) and np.all(b[0] - gap <= a[1]):
                reached.add(i)
                waiting.append(i)
    overlapping = len(reached) == len(boxes)
    return overlapping and all(child.name.lower().startswith(_NAMELESS) for child in node.children)


_NAMELESS = ("mesh", "geom", "part", "primitive", "node", "group", "object", "shape", "surface", "material", "polygon")


def surfaces_below(node: Node, T: Array) -> Iterator[tuple[Array, Surface]]:
    """Every surface of the branch with the map into the frame in which `T` places the node."""
    for surface in node.surfaces:
        yield T, surface
    for child in node.children:
        yield from surfaces_below(child, T @ np.linalg.solve(node.T, child.T))


def _body(node: Node, T_world: Array, fixed: bool | None) -> GivenBody:
    T, _ = rigid(T_world @ node.T)
    back = invert(T) @ T_world @ node.T
    surfaces = [mapped(surface, M) for M, surface in surfaces_below(node, back)]
    return GivenBody(node.name, T, tuple(surfaces), node.label, fixed=fixed)
