"""What a MuJoCo model shows, as triangles: one part per visible geom, shaped and shaded as MuJoCo's renderer does.

MuJoCo itself says what is visible, of which material and under which lights (`mjv_updateScene`). Meshes, planes and
primitives are cut into the same triangles as by its renderer (src/render/classic/render_context.c), so that both cover
the same pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blueprint.core.errors import BackendError

Array = NDArray[np.float32]

mujoco: Any = import_module("mujoco")  # Any: its C extension has no stubs

SMOOTH = 0.8  # cosine between face and vertex normal below which MuJoCo shades a face flat
ENDLESS_CELLS = 36  # per side of an endless plane, finer near its middle
OPAQUE = 0.985  # our planes stand at 0.99, see renderer_mujoco
STACKS = 4  # along a cylinder: MuJoCo's 16 change only how fine its gloss is
CASTER_FACES = (32, 50, 300)  # at least, of a part 10 cm in radius, at most; a shadow's texel is 2 mm wide
CURVED = 4  # as many for what has a texture: captured objects, whose shadows fall on the table close by
SHUT = 0.75  # share of edges between two faces from which a mesh is taken for the skin of a solid
TRIFLE_M, TRIFLE = 0.02, 1 / 3  # parts as small, and as small beside another of their body, cast no shadow of their own


@dataclass(frozen=True)
class Part:
    """Triangles of one geom in its own frame.

    vertices, normals: (V, 3); faces: (F, 3); geom: index in the model; body: the geom's body
    uv: (V, 3), None without a texture: u, v and which of the texture's pictures (a cube has six)
    rgb: (3,); specular, shininess, emission: as in OpenGL; texture: index in the model, -1 = none
    endless: an endless plane, which the haze at the horizon covers
    """

    geom: int
    body: int
    vertices: Array
    normals: Array
    uv: Array | None
    faces: NDArray[np.int32]
    rgb: Array
    specular: float
    shininess: float
    emission: float
    texture: int
    endless: bool


def visible_parts(model: Any, scene: Any) -> tuple[Part, ...]:
    """Parts of an updated mjvScene. Raises BackendError for what this renderer cannot draw."""
    parts = []
    for item in scene.geoms[: scene.ngeom]:
        if item.objtype != mujoco.mjtObj.mjOBJ_GEOM:
            raise BackendError(
                f"the raster renderer draws rigid bodies only, not a {mujoco.mjtObj(item.objtype).name[6:].lower()}",
                "set run.renderer = mujoco",
            )
        if item.rgba[3] < OPAQUE:
            name = model.geom(item.objid).name or model.body(model.geom_bodyid[item.objid]).name
            raise BackendError(f"the raster renderer draws nothing transparent: {name}", "set run.renderer = mujoco")
        parts.append(_part(model, item))
    return tuple(parts)


def _part(model: Any, item: Any) -> Part:
    geom = int(item.objid)
    vertices, normals, uv, faces = _triangles(model, geom)
    texture = -1 if item.matid < 0 else int(model.mat_texid[item.matid, mujoco.mjtTextureRole.mjTEXROLE_RGB])
    part = Part(
        geom=geom,
        body=int(model.geom_bodyid[geom]),
        vertices=vertices,
        normals=normals,
        uv=None,
        faces=faces,
        rgb=np.array(item.rgba[:3], np.float32),
        specular=float(item.specular),
        shininess=float(item.shininess) * 128.0,
        emission=float(item.emission),
        texture=texture,
        endless=_is_endless(model, geom) and model.vis.map.haze > 0,
    )
    if texture < 0:
        return part
    uniform, mesh = bool(model.mat_texuniform[item.matid]), model.geom_dataid[geom] >= 0
    size = np.where(model.geom_size[geom] > 0, model.geom_size[geom], 1.0)
    if model.tex_type[texture] != mujoco.mjtTexture.mjTEXTURE_2D:
        return cube_mapped(part, np.ones(3) if uniform or mesh else 1.0 / size)
    if uv is None:
        scale = model.mat_texrepeat[item.matid] / (1.0 if uniform else size[:2])
        uv = 0.5 * vertices[:, :2] * scale * [1, -1] - 0.5
    return replace(part, uv=np.column_stack([uv, np.zeros(len(uv))]).astype(np.float32))


def cube_mapped(part: Part, scale: NDArray[np.float64]) -> Part:
    """Textured by the six pictures of a cube around it, each triangle by the one that its middle points to.

    Sides as OpenGL numbers and turns them (OpenGL 4.5 specification, table 8.19). scale: (3,) vertex -> cube
    """
    points = part.vertices * scale
    middle = points[part.faces].mean(axis=1)
    axis = np.abs(middle).argmax(axis=1)
    side = 2 * axis + (middle[np.arange(len(axis)), axis] < 0)
    across = np.array([[0, 0, -1], [0, 0, 1], [1, 0, 0], [1, 0, 0], [1, 0, 0], [-1, 0, 0]])
    down = np.array([[0, -1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1], [0, -1, 0], [0, -1, 0]])

    def place(vertices: NDArray[np.float64], side: NDArray[np.int64]) -> NDArray[np.float64]:
        depth = np.maximum(np.abs(vertices).max(axis=1), 1e-9)
        uv = [np.einsum("vi,vi->v", vertices, turned[side]) / depth for turned in (across, down)]
        return np.column_stack([(np.stack(uv, axis=1) + 1) / 2, side.astype(float)])

    return _split_by_side(part, side, points, place)


def box_mapped(part: Part, texture: int, tile_m: float) -> Part:
    """Textured by one picture that repeats every `tile_m`, laid on from the side that each triangle faces most."""
    corners = part.vertices[part.faces].astype(np.float64)
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    axis = np.abs(normal).argmax(axis=1)

    def place(vertices: NDArray[np.float64], side: NDArray[np.int64]) -> NDArray[np.float64]:
        rest = np.array([[1, 2], [0, 2], [0, 1]])[side]
        return np.column_stack([np.take_along_axis(vertices, rest, axis=1) / tile_m, np.zeros(len(side))])

    return replace(_split_by_side(part, axis, part.vertices.astype(np.float64), place), texture=texture)


def _split_by_side(
    part: Part,
    side: NDArray[np.int64],
    points: NDArray[np.float64],
    place: Callable[[NDArray[np.float64], NDArray[np.int64]], NDArray[np.float64]],
) -> Part:
    """A vertex becomes one for each side (F,) that its triangles are textured from; place: points, sides -> uv."""
    keys, faces = np.unique(part.faces * 6 + side[:, None], return_inverse=True)
    vertex, side = keys // 6, keys % 6
    return replace(
        part,
        vertices=part.vertices[vertex],
        normals=part.normals[vertex],
        faces=faces.reshape(-1, 3).astype(np.int32),
        uv=place(points[vertex], side).astype(np.float32),
    )


@dataclass(frozen=True)
class Caster:
    """What stands for a part in the shadow map: its shape with fewer triangles, of which there may be none.

    solid: only faces turned away from the light need be drawn. Then a thinned-out mesh never shades its own lit side
    """

    vertices: Array
    faces: NDArray[np.int32]
    solid: bool


def shadow_casters(parts: tuple[Part, ...]) -> tuple[Caster, ...]:
    """One for each part."""
    import fast_simplification

    reach: dict[int, float] = {}
    for part in parts:
        reach[part.body] = max(reach.get(part.body, 0.0), _radius(part))
    casters = []
    for part in parts:
        radius = _radius(part)
        if part.endless or radius < min(TRIFLE_M, TRIFLE * reach[part.body]):
            casters.append(Caster(part.vertices[:0], part.faces[:0], True))
            continue
        vertices, index = np.unique(
            part.vertices.astype(float), axis=0, return_inverse=True
        )  # smooth and flat corners at one place
        faces = index[part.faces].astype(np.int32)
        faces = faces[(faces != np.roll(faces, 1, axis=1)).all(axis=1)]
        edges = np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
        _, uses = np.unique(edges, axis=0, return_counts=True)
        least, usual, most = CASTER_FACES
        wanted = min(max(least, int(usual * (CURVED if part.uv is not None else 1) * (radius / 0.1) ** 2)), most)
        if wanted < len(faces):
            vertices, faces = fast_simplification.simplify(vertices, faces, target_count=wanted)[:2]
        casters.append(Caster(vertices.astype(np.float32), faces.astype(np.int32), float((uses == 2).mean()) > SHUT))
    return tuple(casters)


def _radius(part: Part) -> float:
    return float(np.linalg.norm(part.vertices, axis=1).max())


def _is_endless(model: Any, geom: int) -> bool:
    return model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_PLANE and bool((model.geom_size[geom, :2] == 0).any())


def _triangles(model: Any, geom: int) -> tuple[Array, Array, Array | None, NDArray[np.int32]]:
    kind, size = mujoco.mjtGeom(model.geom_type[geom]), model.geom_size[geom]
    if kind in (mujoco.mjtGeom.mjGEOM_MESH, mujoco.mjtGeom.mjGEOM_SDF):
        return _mesh(model, int(model.geom_dataid[geom]))
    if kind == mujoco.mjtGeom.mjGEOM_PLANE:
        vertices, normals, faces = _plane(model, geom)
    elif kind == mujoco.mjtGeom.mjGEOM_BOX:
        vertices, normals, faces = _box(model.vis.quality.numquads)
        vertices = vertices * size
    elif kind in (mujoco.mjtGeom.mjGEOM_SPHERE, mujoco.mjtGeom.mjGEOM_ELLIPSOID):
        radii = np.full(3, size[0]) if kind == mujoco.mjtGeom.mjGEOM_SPHERE else size
        outline = _arc(-90, 90, model.vis.quality.numstacks)
        vertices, normals, faces = _turned(outline, outline, model.vis.quality.numslices)
        vertices, normals = vertices * radii, normals / radii
    elif kind == mujoco.mjtGeom.mjGEOM_CYLINDER:
        vertices, normals, faces = _cylinder(size[0], size[1], model)
    elif kind == mujoco.mjtGeom.mjGEOM_CAPSULE:
        half = model.vis.quality.numstacks // 2
        ball = np.concatenate([_arc(-90, 0, half), _arc(0, 90, half)])
        lift = np.repeat([[0, -size[1]], [0, size[1]]], half + 1, axis=0)
        vertices, normals, faces = _turned(ball * size[0] + lift, ball, model.vis.quality.numslices)
    else:
        raise BackendError(
            f"the raster renderer draws no geom of type {kind.name[7:].lower()}", "set run.renderer = mujoco"
        )
    normals = normals / np.linalg.norm(normals, axis=1, keepdims=True)
    return vertices.astype(np.float32), normals.astype(np.float32), None, faces.astype(np.int32)


def _mesh(model: Any, mesh: int) -> tuple[Array, Array, Array | None, NDArray[np.int32]]:
    """Corners that differ in nothing become one vertex."""
    first, count = model.mesh_faceadr[mesh], model.mesh_facenum[mesh]
    rows = slice(first, first + count)
    corners = model.mesh_vert[model.mesh_face[rows] + model.mesh_vertadr[mesh]].astype(np.float32)
    normals = model.mesh_normal[model.mesh_facenormal[rows] + model.mesh_normaladr[mesh]].astype(np.float32)
    columns = [corners, normals]
    if model.mesh_texcoordadr[mesh] >= 0:
        columns.append(model.mesh_texcoord[model.mesh_facetexcoord[rows] + model.mesh_texcoordadr[mesh]])
    else:
        flat = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        flat /= np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12)
        edged = np.einsum("fkc,fc->fk", normals, flat) < SMOOTH
        normals[edged] = np.broadcast_to(flat[:, None], normals.shape)[edged]
    table = np.concatenate(columns, axis=2).reshape(3 * count, -1).astype(np.float32)
    table += 0.0  # -0 and 0 are one vertex
    keys = np.ascontiguousarray(table).view(np.dtype((np.void, table.itemsize * table.shape[1]))).ravel()
    _, kept, inverse = np.unique(keys, return_index=True, return_inverse=True)
    order = np.argsort(kept, kind="stable")  # in the order of the faces: neighbours stay neighbours in memory
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    table, faces = table[kept[order]], rank[inverse].reshape(-1, 3).astype(np.int32)
    return table[:, :3], table[:, 3:6], table[:, 6:] if table.shape[1] > 6 else None, faces


# ------------------------------------------------------------------ primitives, as MuJoCo cuts them


def _plane(model: Any, geom: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    size = model.geom_size[geom]
    reach = 1.05 * model.vis.map.zfar * model.stat.extent
    lines = []
    for half in size[:2]:
        if half > 0:
            lines.append(np.linspace(-half, half, min(2 + int(half / max(size[2], half / 16)), 33)))
        else:  # the specular light is computed at the corners: small cells near the scene, large ones far off
            ramp = np.linspace(-1, 1, ENDLESS_CELLS + 1)
            lines.append(reach * np.sinh(4 * ramp) / np.sinh(4))
    vertices, faces = _grid(*lines)
    return vertices, np.tile([0.0, 0.0, 1.0], (len(vertices), 1)), faces


def _grid(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    grid = np.stack([*np.meshgrid(x, y, indexing="ij"), np.zeros((len(x), len(y)))], axis=-1)
    return grid.reshape(-1, 3), _quads(len(x), len(y))


def _quads(rows: int, columns: int) -> NDArray[np.int64]:
    corner = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = corner[:-1, :-1], corner[1:, :-1], corner[1:, 1:], corner[:-1, 1:]
    return np.stack([np.stack([a, b, c], -1), np.stack([a, c, d], -1)], axis=2).reshape(-1, 3)


def _box(cells: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """The cube of half width 1, each side cut into cells x cells."""
    side, faces = _grid(np.linspace(-1, 1, cells + 1), np.linspace(-1, 1, cells + 1))
    side[:, 2] = 1.0
    vertices, normals, indices = [], [], []
    for k in range(3):
        for sign in (1.0, -1.0):
            turn = np.roll(np.eye(3), k, axis=0) * [1.0, 1.0, 1.0]
            mirror = np.diag([sign, 1.0, sign])
            vertices.append(side @ mirror @ turn)
            normals.append(np.tile([0.0, 0.0, 1.0] @ mirror @ turn, (len(side), 1)))
            indices.append(faces + len(side) * len(indices))
    return np.concatenate(vertices), np.concatenate(normals), np.concatenate(indices)


def _arc(start_deg: float, stop_deg: float, steps: int) -> NDArray[np.float64]:
    """(steps + 1, 2) radius and height on the unit circle, from low to high."""
    angle = np.deg2rad(np.linspace(start_deg, stop_deg, steps + 1))
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _turned(
    outline: NDArray[np.float64], slope: NDArray[np.float64], slices: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Surface of revolution about z. outline: (K, 2) radius and height, rising; slope: (K, 2) the normal there."""
    angle = np.linspace(0, 2 * np.pi, slices + 1)
    around = np.stack([np.cos(angle), np.sin(angle)], axis=1)

    def spin(profile: NDArray[np.float64]) -> NDArray[np.float64]:
        flat = around[:, None] * profile[None, :, :1]
        height = np.broadcast_to(profile[None, :, 1:], (*flat.shape[:2], 1))
        return np.concatenate([flat, height], axis=2).reshape(-1, 3)

    return spin(outline), spin(slope), _quads(slices + 1, len(outline))


def _cylinder(
    radius: float, half: float, model: Any
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    slices, stacks = model.vis.quality.numslices, STACKS
    height = np.linspace(-half, half, stacks + 1)
    wall = np.stack([np.full_like(height, radius), height], axis=1)
    pieces = [_turned(wall, np.tile([1.0, 0.0], (len(wall), 1)), slices)]
    for sign in (1.0, -1.0):
        spokes = np.linspace(radius, 0, stacks + 1)[:: int(sign)]
        lid = np.stack([spokes, np.full_like(spokes, sign * half)], axis=1)
        pieces.append(_turned(lid, np.tile([0.0, sign], (len(lid), 1)), slices))
    offsets = np.cumsum([0] + [len(vertices) for vertices, _, _ in pieces])
    return (
        np.concatenate([vertices for vertices, _, _ in pieces]),
        np.concatenate([normals for _, normals, _ in pieces]),
        np.concatenate([faces + offset for (_, _, faces), offset in zip(pieces, offsets, strict=False)]),
    )
