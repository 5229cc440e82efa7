"""Mesh files to a tree of named nodes with surfaces: GLB, glTF, OBJ, STL, PLY. What they name must lie in the scene.

glTF is metres and y up by its specification; the others say neither, and the caller decides.
"""

from __future__ import annotations

import base64
import io
import json
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from trimesh.resolvers import Resolver

from blueprint.core.errors import InputError
from blueprint.formats.given.scene import DEEPEST, GREY, MOST_NODES, Node, Surface, checked, inside, reading
from blueprint.formats.json_file import of

CURE = "open it in the program that made it and export it again (GLB is best)"
UNREADABLE = (
    "KHR_draco_mesh_compression",
    "EXT_meshopt_compression",
    "KHR_mesh_quantization",
    "EXT_mesh_gpu_instancing",
)
LARGEST_PX = 2048
_UNNAMED = re.compile(r"_[0-9a-f]{6}$")  # what trimesh adds to a node's name for each of several primitives


class _Inside(Resolver):
    """Gives trimesh the files that a model names, and refuses those outside the scene."""

    def __init__(self, root: Path, file: Path, notes: list[str]) -> None:
        self._root, self._file, self._notes = root, file, notes

    def get(self, key: str) -> bytes:
        text = key.strip()
        if text.startswith("data:"):
            return base64.b64decode(text.partition("base64,")[2])
        try:
            return inside(self._root, self._file.parent, text, self._file).read_bytes()
        except InputError as error:
            if "outside" in error.message:
                self._notes.append(f"!{error.message}")  # trimesh swallows what a resolver raises
            else:
                self._notes.append(error.message)
            raise FileNotFoundError(error.message) from error

    def write(self, name: str, data: Any) -> None:
        raise NotImplementedError

    def namespaced(self, namespace: str) -> Resolver:
        raise NotImplementedError

    def keys(self) -> Any:
        return ()


def read_tree(root: Path, file: Path, notes: list[str]) -> Node:
    """The file as a tree in its own unit and axes. notes: gets what was not taken over. Raises InputError."""
    data = inside(root, file.parent, file.name, file).read_bytes()
    suffix = file.suffix.lower()
    if suffix == ".dae":
        raise InputError(f"{file.name} is a COLLADA file, which is not read", "convert it to GLB or OBJ")
    with reading(file, CURE):
        if suffix in (".glb", ".gltf"):
            _check_gltf(data, root, file, notes)
        if suffix == ".obj":
            _check_obj(data, file)
        more: dict[str, Any] = {"split_objects": True, "split_groups": _has_groups(data)} if suffix == ".obj" else {}
        refused: list[str] = []
        resolver = _Inside(root, file, refused)
        scene = trimesh.load_scene(io.BytesIO(data), file_type=suffix[1:], resolver=resolver, **more)
        outside = [text[1:] for text in refused if text.startswith("!")]
        if outside:
            raise InputError(outside[0], "collect all files in one folder, paths relative")
        notes += refused
        tree = _obj_tree(scene, data, file) if suffix == ".obj" else _tree(scene, file)
    return tree


# ------------------------------------------------------------------ glTF


def _check_gltf(data: bytes, root: Path, file: Path, notes: list[str]) -> None:
    """Refuse what would hang or mislead the parser: cycles, depth, counts beyond the buffers, foreign files."""
    document = data
    if data[:4] == b"glTF":
        length = struct.unpack_from("<I", data, 12)[0]
        if length > len(data):
            raise InputError(f"{file.name} is cut short", "copy it again")
        document = data[20 : 20 + length]
    meta = json.loads(document.decode("utf-8"))
    missing = [name for name in of(meta, "extensionsRequired") or [] if name in UNREADABLE]
    if missing:
        raise InputError(f"{file.name} needs {', '.join(missing)}, which is not read", "export it uncompressed")
    for kind in ("buffers", "images"):
        for entry in of(meta, kind) or []:
            uri = of(entry, "uri")
            if isinstance(uri, str) and not uri.startswith("data:"):
                inside(root, file.parent, uri, file)
    for accessor in of(meta, "accessors") or []:
        count = of(accessor, "count")
        if not isinstance(count, int) or not 0 <= count <= 50_000_000:
            raise InputError(f"{file.name}: an accessor counts {count!r} elements", CURE)
        if of(accessor, "bufferView") is None and count > 1_000_000:
            raise InputError(f"{file.name}: {count} elements without data", CURE)
    _check_nodes(of(meta, "nodes") or [], file)
    notes += [f"glTF {kind} are not read" for kind in ("skins", "animations") if of(meta, kind)]


def _check_nodes(nodes: list[Any], file: Path) -> None:
    if len(nodes) > MOST_NODES:
        raise InputError(f"{file.name} has {len(nodes)} nodes; at most {MOST_NODES} are read", "merge some")
    parent: dict[int, int] = {}
    for index, node in enumerate(nodes):
        for child in of(node, "children") or []:
            if not isinstance(child, int) or not 0 <= child < len(nodes) or child in parent or child == index:
                raise InputError(f"{file.name}: the nodes are no tree (node {index}, child {child!r})", CURE)
            parent[child] = index
    for start in range(len(nodes)):
        at, steps = start, 0
        while at in parent:
            at, steps = parent[at], steps + 1
            if steps > DEEPEST:
                raise InputError(f"{file.name}: nodes in a circle, or more than {DEEPEST} deep", CURE)


def _tree(scene: trimesh.Scene, file: Path) -> Node:
    children = scene.graph.transforms.children

    def grow(name: str) -> Node:
        T, geometry = scene.graph[name]
        node = Node(str(name), np.array(T, dtype=float))
        if geometry is not None:
            node.surfaces = surfaces_of(scene.geometry[geometry], file)
        for child in children.get(name, ()):
            grown = grow(child)
            if _UNNAMED.sub("", grown.name) == name and not grown.children and np.allclose(grown.T, node.T):
                node.surfaces += grown.surfaces
            else:
                node.children.append(grown)
        return node

    return grow(str(scene.graph.base_frame))


def surfaces_of(mesh: Any, file: Path) -> list[Surface]:
    """A trimesh geometry as surfaces; lines and points are none."""
    if not isinstance(mesh, trimesh.Trimesh) or not len(mesh.faces):
        return []
    vertices, faces = np.asarray(mesh.vertices, dtype=float), np.asarray(mesh.faces, dtype=np.int64)
    visual = mesh.visual
    material = getattr(visual, "material", None)
    uv, image = (
        getattr(visual, "uv", None),
        getattr(material, "baseColorTexture", None) or getattr(material, "image", None),
    )
    color = _color(material, visual)
    picture = None
    if image is not None and uv is not None and len(uv) == len(vertices):
        picture = small_picture(image)
    corners = None if picture is None else np.asarray(uv, dtype=float)[faces]
    return [checked(Surface(vertices, faces, corners, picture, color), file.name)]


def small_picture(image: Any) -> Any:
    """(H, W, 3) uint8 of a PIL image, at most `LARGEST_PX` to a side; None when it is broken."""
    try:
        image = image.convert("RGB")
        image.thumbnail((LARGEST_PX, LARGEST_PX))
        return np.asarray(image, dtype=np.uint8)
    except (OSError, ValueError, SyntaxError):
        return None


def _color(material: Any, visual: Any) -> tuple[int, int, int]:
    found = getattr(material, "baseColorFactor", None)
    if found is None:
        found = getattr(material, "main_color", None) if material is not None else getattr(visual, "main_color", None)
    values = np.asarray(GREY if found is None else found, dtype=float).ravel()
    if len(values) < 3 or not np.isfinite(values[:3]).all():
        return GREY
    if values.max() <= 1.0 and np.asarray(found).dtype.kind == "f":
        values = values * 255
    red, green, blue = np.clip(values[:3], 0, 255).astype(int).tolist()
    return red, green, blue


# ------------------------------------------------------------------ OBJ


def _check_obj(data: bytes, file: Path) -> None:
    if b"\0" in data:
        raise InputError(f"{file.name} is no text", CURE)
    if not re.search(rb"^\s*f\s", data, re.MULTILINE):
        raise InputError(f"{file.name} has no faces", "export a triangle mesh")


def _has_groups(data: bytes) -> bool:
    return not re.search(rb"^o\s", data, re.MULTILINE) and len(re.findall(rb"^g\s", data, re.MULTILINE)) > 1


def _obj_tree(scene: trimesh.Scene, data: bytes, file: Path) -> Node:
    """A node per `o` (or `g`) of the file, in the file's order; without any, the file is one object."""
    word = rb"g" if _has_groups(data) else rb"o"
    lines = re.findall(rb"^" + word + rb"\s+(.+?)\s*$", data, re.MULTILINE)
    names = list(dict.fromkeys(line.decode("utf-8", "replace") for line in lines))
    root = Node(file.stem, np.eye(4))
    nodes = {name: Node(name, np.eye(4), whole=True) for name in names}
    for key in sorted(scene.geometry):
        fits = [name for name in names if key == name or key.startswith(f"{name}_")]
        owner = nodes[max(fits, key=len)] if fits else root
        owner.surfaces += surfaces_of(scene.geometry[key], file)
    root.children = [node for node in nodes.values() if node.surfaces]
    if root.surfaces and root.children:  # faces before the first name
        root.children.insert(0, Node(file.stem, np.eye(4), root.surfaces))
        root.surfaces = []
    return root
