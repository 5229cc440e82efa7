"""MJCF to bodies and joints by MuJoCo's own compiler, after every file it names was checked.

A body without joints belongs to its parent; what hangs fixed on the world is static. Poses are those of qpos0.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import trimesh

from blueprint.core.errors import InputError
from blueprint.formats.given.scene import (
    GREY,
    GivenBody,
    GivenJoint,
    GivenScene,
    Surface,
    checked,
    inside,
    mapped,
    reading,
    scene_of,
)
from blueprint.geometry.transforms import Array, invert

CURE = "load it in MuJoCo's viewer to see what is wrong, and give the folder with all its files"
MOST_COUNT = 10_000  # of copies that one element may ask for
DEEPEST = 200
COPIES = ("replicate", "composite", "flexcomp")
FLOOR_M = 8.0  # side of a plane that the file calls infinite


@dataclass
class _Mjcf:
    """m, d: MuJoCo's model and data at qpos0."""

    m: Any
    d: Any
    notes: list[str] = field(default_factory=list)


def read_mjcf(root: Path, main: Path) -> GivenScene:
    """Raises InputError for broken XML, files outside `root`, and models MuJoCo refuses."""
    import mujoco

    with reading(main, CURE):
        check_mjcf(root, main)
        model = mujoco.MjModel.from_xml_path(str(main))
        data = mujoco.MjData(model)
        mujoco.mj_kinematics(model, data)
        scene = _Mjcf(model, data)
        bodies, joints = _bodies(scene)
        if model.nflex or model.nskin:
            scene.notes.append(f"{model.nflex} flexes and {model.nskin} skins are not read")
        if model.nu or model.ntendon or model.neq:
            scene.notes.append(f"{model.nu} actuators, {model.ntendon} tendons, {model.neq} constraints are not read")
        return scene_of(bodies, joints, "metres (MJCF)", "z (MJCF)", scene.notes, main)


# ------------------------------------------------------------------ checks


def parse_xml(file: Path) -> ET.Element:
    """The root element. Raises InputError for entities, which neither MJCF nor URDF need, and for broken XML."""
    data = file.read_bytes()
    if data[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in data:
        raise InputError(f"{file.name} is not UTF-8 text", "save it as UTF-8")
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise InputError(f"{file.name} declares entities", "expand them: an XML document type is not read")
    try:
        parser = ET.XMLPullParser(("start", "end"))
        parser.feed(data)
        parser.close()
        depth, top = 0, None
        for event, element in cast("Any", parser.read_events()):
            top = element if top is None else top
            depth += 1 if event == "start" else -1
            if depth > DEEPEST:
                raise InputError(f"{file.name} nests deeper than {DEEPEST} elements", CURE)
    except ET.ParseError as error:
        raise InputError(f"{file.name} is not XML: {error}", "it may be cut short; copy it again") from error
    if top is None:
        raise InputError(f"{file.name} is empty", CURE)
    return top


def check_mjcf(root: Path, main: Path) -> None:
    """Every file that `main` and what it includes name lies below `root`, and no element asks for absurdly much."""
    waiting, seen = [main.resolve()], list[Path]()
    trees = []
    while waiting:
        file = waiting.pop()
        if file in seen:
            raise InputError(f"{file.name} is included twice or includes itself", "MuJoCo includes a file once")
        seen.append(file)
        tree = parse_xml(file)
        trees.append((file, tree))
        waiting += [
            _inside_any(root, [main.parent, file.parent], "", e.get("file", ""), file) for e in tree.iter("include")
        ]
        models = {e.get("file", "") for e in tree.iter("model") if e.get("file")}
        for name in sorted(models):
            check_mjcf(root, _inside_any(root, [main.parent, file.parent], "", name, file))
    compilers = [compiler for _, tree in trees for compiler in tree.iter("compiler")]
    for file, tree in trees:
        _check_copies(tree, 1.0, file)
        for element in tree.iter():
            _check_element(root, main, file, element, compilers)


def _check_copies(element: ET.Element, copies: float, file: Path) -> None:
    """Copies of copies multiply. `copies`: of this element already."""
    if element.tag in COPIES:
        copies *= float(np.prod([max(float(n), 1.0) for n in element.get("count", "1").split()]))
        if not copies <= MOST_COUNT:
            raise InputError(f"{file.name}: <{element.tag}> asks for {copies:g} copies", f"at most {MOST_COUNT}")
    for child in element:
        _check_copies(child, copies, file)


def _check_element(root: Path, main: Path, file: Path, element: ET.Element, compilers: list[ET.Element]) -> None:
    if element.tag == "plugin" or element.tag == "extension":
        raise InputError(f"{file.name} needs MuJoCo plugins", "remove <extension>: plugins are not loaded")
    if element.tag in ("include", "model"):
        return
    folders = [c.get(key, "") for c in compilers for key in ("meshdir", "texturedir", "assetdir") if c.get(key)]
    for key, name in element.attrib.items():
        if key.startswith("file") and name:
            if any(c.get("strippath") == "true" for c in compilers):
                name = name.replace("\\", "/").rpartition("/")[2]
            _inside_any(root, [main.parent, file.parent], ["", *folders], name, file)


def _inside_any(root: Path, parents: list[Path], folders: Any, name: str, file: Path) -> Path:
    """The file `name` in one of the folders MuJoCo may look in. All places must lie inside the scene."""
    error: InputError | None = None
    found: Path | None = None
    for parent in parents:
        for folder in folders or [""]:
            try:
                found = found or inside(root, parent, f"{folder}/{name}" if folder else name, file)
            except InputError as refused:
                if "outside" in refused.message:
                    raise
                error = error or refused
    if found is None:
        raise error or InputError(f"{file.name} names no file", CURE)
    return found


# ------------------------------------------------------------------ bodies


def _bodies(scene: _Mjcf) -> tuple[list[GivenBody], list[GivenJoint]]:
    """A body per group of MuJoCo bodies welded together; geoms of the world and each body welded to it are static.

    What hangs on a static body by a joint has that as its parent: a cabinet and its doors are one object.
    """
    m = scene.m
    groups: dict[int, list[int]] = {}
    for body in range(m.nbody):
        weld = int(m.body_weldid[body])
        groups.setdefault(weld if weld else -_top(m, body), []).append(body)
    bodies: list[GivenBody] = []
    number: dict[int, int] = {}
    for key, members in groups.items():
        if m.body_mocapid[members[0]] >= 0:
            scene.notes.append(f"body {_name(m, 'body', members[0])} is moved by hand (mocap); it is left out")
            continue
        made = [_moving(scene, key, members)] if key > 0 else _static(scene, -key, members)
        if key and made:
            number[key] = len(bodies)
        bodies += made
    joints = [joint for key in number if key > 0 for joint in _joints(scene, key, number)]
    return bodies, joints


def _top(m: Any, body: int) -> int:
    """The child of the world that carries a body; 0 for the world."""
    while body and m.body_parentid[body]:
        body = int(m.body_parentid[body])
    return body


def _name(m: Any, kind: str, index: int) -> str:
    return getattr(m, kind)(index).name or f"{kind}_{index}"


def _moving(scene: _Mjcf, key: int, members: list[int]) -> GivenBody:
    m = scene.m
    T = _pose(scene.d.xpos[key], scene.d.xmat[key])
    geoms = [geom for body in members for geom in _geoms(m, body)]
    solid = [geom for geom in geoms if m.geom_contype[geom] or m.geom_conaffinity[geom]]
    return GivenBody(
        _name(m, "body", key),
        T,
        tuple(_surfaces(scene, _drawn(m, geoms), T)),
        mass_kg=float(sum(m.body_mass[body] for body in members)) or None,
        friction=float(max(m.geom_friction[geom][0] for geom in solid)) if solid else None,
        fixed=False,
    )


def _static(scene: _Mjcf, top: int, members: list[int]) -> list[GivenBody]:
    """The world's own geoms one by one; else all that is welded together on one child of the world."""
    m = scene.m
    if top:
        T = _pose(scene.d.xpos[top], scene.d.xmat[top])
        surfaces = _surfaces(scene, _drawn(m, [geom for body in members for geom in _geoms(m, body)]), T)
        mass = float(sum(m.body_mass[body] for body in members)) or None
        return [GivenBody(_name(m, "body", top), T, tuple(surfaces), mass_kg=mass, fixed=True)] if surfaces else []
    out = []
    for geom in _geoms(m, 0):
        if not m.geom_contype[geom] and not m.geom_conaffinity[geom]:
            scene.notes.append(f"geom {_name(m, 'geom', geom)} of the world is only drawn; it is left out")
            continue
        surfaces = _surfaces(scene, [geom], np.eye(4))
        if surfaces:
            out.append(GivenBody(_name(m, "geom", geom), np.eye(4), tuple(surfaces), fixed=True))
    return out


def _geoms(m: Any, body: int) -> list[int]:
    start = int(m.body_geomadr[body])
    return list(range(start, start + int(m.body_geomnum[body])))


def _drawn(m: Any, geoms: list[int]) -> list[int]:
    """What is made to be looked at: geoms that touch nothing, where there are any; groups 3 to 5 are hidden."""
    visual = [g for g in geoms if not m.geom_contype[g] and not m.geom_conaffinity[g] and m.geom_group[g] < 3]
    return visual or geoms


def _joints(scene: _Mjcf, key: int, number: dict[int, int]) -> list[GivenJoint]:
    """The joint of a body; several at once cannot be kept: the first that moves counts."""
    import mujoco

    m = scene.m
    start, count = int(m.body_jntadr[key]), int(m.body_jntnum[key])
    kinds = [mujoco.mjtJoint(int(m.jnt_type[j])) for j in range(start, start + count)]
    above = int(m.body_parentid[key])
    parent = number.get(int(m.body_weldid[above]) or -_top(m, above), -1)
    if mujoco.mjtJoint.mjJNT_FREE in kinds:
        return []
    kept = [
        joint
        for j, kind in zip(range(start, start + count), kinds, strict=True)
        if (joint := _joint(scene, j, kind, parent, number[key])) is not None
    ]
    name = _name(m, "body", key)
    if len(kept) > 1:
        scene.notes.append(f"body {name} has {count} joints; only {kept[0].name} is kept")
    if not kept:
        scene.notes.append(f"body {name} holds rigidly here: its joint is a ball, or slides without limits")
        return [GivenJoint(name, "fixed", parent, number[key])]
    return kept[:1]


def _joint(scene: _Mjcf, j: int, kind: Any, parent: int, child: int) -> GivenJoint | None:
    import mujoco

    m, d = scene.m, scene.d
    name = _name(m, "jnt", j)
    if kind == mujoco.mjtJoint.mjJNT_BALL:
        return None
    low, high = (float(x) - float(m.qpos0[m.jnt_qposadr[j]]) for x in m.jnt_range[j])
    if not m.jnt_limited[j]:
        if kind == mujoco.mjtJoint.mjJNT_SLIDE:
            return None
        low, high = -np.pi, np.pi
        scene.notes.append(f"joint {name} turns without limits; half a turn each way is kept")
    x, y, z = d.xaxis[j].tolist()
    u, v, w = d.xanchor[j].tolist()
    dof = int(m.jnt_dofadr[j])
    return GivenJoint(
        name,
        "prismatic" if kind == mujoco.mjtJoint.mjJNT_SLIDE else "revolute",
        parent,
        child,
        (x, y, z),
        (u, v, w),
        (low, high),
        float(m.dof_damping[dof]) or None,
        float(m.dof_frictionloss[dof]) or None,
        float(m.jnt_stiffness[j]) or None,
    )


# ------------------------------------------------------------------ surfaces


def _pose(position: Any, matrix: Any) -> Array:
    T = np.eye(4)
    T[:3, :3] = np.asarray(matrix).reshape(3, 3)
    T[:3, 3] = position
    return T


def _surfaces(scene: _Mjcf, geoms: list[int], T_world_body: Array) -> list[Surface]:
    out = []
    for geom in geoms:
        surface = _shape(scene, geom)
        if surface is None:
            scene.notes.append(f"geom {_name(scene.m, 'geom', geom)} has a shape that is not read")
            continue
        T = invert(T_world_body) @ _pose(scene.d.geom_xpos[geom], scene.d.geom_xmat[geom])
        out.append(checked(mapped(surface, T), _name(scene.m, "geom", geom)))
    return out


def _shape(scene: _Mjcf, geom: int) -> Surface | None:
    """In the geom's frame."""
    import mujoco

    m, kinds = scene.m, mujoco.mjtGeom
    kind, size = mujoco.mjtGeom(int(m.geom_type[geom])), m.geom_size[geom]
    picture, color = _look(m, geom)
    if kind == kinds.mjGEOM_MESH:
        return _mesh(m, int(m.geom_dataid[geom]), picture, color)
    solid: Any = None
    if kind == kinds.mjGEOM_BOX:
        solid = trimesh.creation.box(2 * size)
    elif kind == kinds.mjGEOM_SPHERE:
        solid = trimesh.creation.icosphere(3, size[0])
    elif kind == kinds.mjGEOM_ELLIPSOID:
        solid = trimesh.creation.icosphere(3, 1.0)
        solid.vertices *= size
    elif kind == kinds.mjGEOM_CYLINDER:
        solid = trimesh.creation.cylinder(size[0], 2 * size[1], sections=48)
    elif kind == kinds.mjGEOM_CAPSULE:
        solid = trimesh.creation.capsule(2 * size[1], size[0])
    elif kind == kinds.mjGEOM_PLANE:
        x, y = (float(s) if s > 0 else FLOOR_M / 2 for s in size[:2])
        corners = np.array([[-x, -y, 0], [x, -y, 0], [x, y, 0], [-x, y, 0]], dtype=float)
        return Surface(corners, np.array([[0, 1, 2], [0, 2, 3]]), None, None, color)
    if solid is None:
        return None
    return Surface(np.asarray(solid.vertices, dtype=float), np.asarray(solid.faces, dtype=np.int64), None, None, color)


def _mesh(m: Any, mesh: int, picture: Any, color: tuple[int, int, int]) -> Surface:
    """MuJoCo centres a mesh; the geom's pose makes up for it."""
    first, count = int(m.mesh_vertadr[mesh]), int(m.mesh_vertnum[mesh])
    vertices = m.mesh_vert[first : first + count].astype(float)
    start, faces = int(m.mesh_faceadr[mesh]), int(m.mesh_facenum[mesh])
    index = m.mesh_face[start : start + faces].astype(np.int64)
    uv = None
    at = int(m.mesh_texcoordadr[mesh])
    if at >= 0 and picture is not None:
        coordinates = m.mesh_texcoord[at : at + int(m.mesh_texcoordnum[mesh])].astype(float)
        uv = coordinates[m.mesh_facetexcoord[start : start + faces]] * [1.0, -1.0] + [0.0, 1.0]  # v down there
    return Surface(vertices, index, uv, picture if uv is not None else None, color)


def _look(m: Any, geom: int) -> tuple[Any, tuple[int, int, int]]:
    """(picture, colour) of the geom's material: its texture of role RGB, else its rgba."""
    import mujoco

    material = int(m.geom_matid[geom])
    rgba = m.geom_rgba[geom] if material < 0 else m.mat_rgba[material]
    red, green, blue = (255 * np.clip(rgba[:3], 0, 1)).round().astype(int).tolist()
    if material < 0:
        return None, (red, green, blue)
    texture = int(m.mat_texid[material][int(mujoco.mjtTextureRole.mjTEXROLE_RGB)])
    if texture < 0 or m.tex_type[texture] != mujoco.mjtTexture.mjTEXTURE_2D:
        return None, (red, green, blue)
    height, width, channels = int(m.tex_height[texture]), int(m.tex_width[texture]), int(m.tex_nchannel[texture])
    start = int(m.tex_adr[texture])
    data = m.tex_data[start : start + height * width * channels].reshape(height, width, channels)
    picture = np.ascontiguousarray(data[:, :, :3] if channels >= 3 else np.repeat(data[:, :, :1], 3, axis=2))
    return picture, GREY
