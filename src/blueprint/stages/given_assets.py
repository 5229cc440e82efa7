"""Assets from models that came complete: nothing is inferred, only closed, centred and stood upright."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations, product
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from blueprint.core.errors import InputError
from blueprint.formats import images
from blueprint.formats.obj import TexturedMesh, read_obj, write_obj
from blueprint.geometry.completion.complete import agreement
from blueprint.geometry.completion.evidence import View
from blueprint.geometry.ideal import ideal_primitive
from blueprint.geometry.mesh import corner_normals, volume
from blueprint.geometry.repair import closed, concatenated
from blueprint.geometry.segmentation.naming import slug
from blueprint.geometry.table.stacking import carriers
from blueprint.geometry.transforms import Array, invert, matrix_to_pose, pose_to_matrix, transform_points
from blueprint.model.artifacts import Reconstruction
from blueprint.model.scene import GivenModel, Instance, Joint, ObjectAsset, Part
from blueprint.model.spatial import Vec3

PLAIN = 190  # grey of a part that came without a picture
FURNITURE_M = 0.6  # what has joints and is at least this large is taken to stand where it is
LEAST_PX, LARGEST_PX = 32, 4096  # side of a picture, and of the sheet that holds the pictures of all parts
UPRIGHT = 0.8  # cosine to the vertical below which another axis of the frame is called z


@dataclass(frozen=True)
class _Piece:
    """A part in the given frame, closed. uv: (F, 3, 2); picture: (H, W, 3) uint8."""

    part: Part
    vertices: Array
    faces: NDArray[np.int64]
    uv: Array
    picture: NDArray[np.uint8]
    steps: tuple[str, ...]


def make_given(
    instance: Instance, given: GivenModel, made: Reconstruction, views: tuple[View, ...], below: str, folder: Path
) -> ObjectAsset:
    """Write the object, which stands on `below`, and its parts into `folder`.

    Silhouette and depth are measured where a view shows it. Raises ValueError when a part has no surface.
    """
    T_world_given = pose_to_matrix(given.pose)
    pieces = [_read(part, made) for part in given.parts]
    points = np.concatenate([piece.vertices for piece in pieces])
    turn = _upright(T_world_given[:3, :3])
    T = np.eye(4)  # T_given_object
    T[:3, :3] = turn
    T[:3, 3] = turn @ ((points @ turn).min(axis=0) + (points @ turn).max(axis=0)) / 2
    moved = [transform_points(invert(T), piece.vertices) for piece in pieces]
    place = f"objects/{instance.name}"
    taken: set[str] = set()
    parts = tuple(
        _write_part(piece, vertices, slug(piece.part.name, taken), folder, place)
        for piece, vertices in zip(pieces, moved, strict=True)
    )
    mesh = concatenated([(vertices, piece.faces) for vertices, piece in zip(moved, pieces, strict=True)])
    uv, picture = _one_picture(pieces)
    write_obj(TexturedMesh(*mesh, uv, corner_normals(mesh)), folder / "visual.obj", "texture.png")
    images.write_color(folder / "texture.png", picture)
    np.save(folder / "seen_faces.npy", np.ones(len(mesh[1]), dtype=bool))
    dims = np.ptp(mesh[0], axis=0)
    steps = "; ".join(dict.fromkeys(step for piece in pieces for step in piece.steps))
    jointed = bool(given.joints)
    placed = transform_points(T_world_given @ T, mesh[0]), mesh[1]
    shown = tuple(view for view in views if instance.label and np.any(view.labels == instance.label))
    iou, depth_error_m = agreement(placed, shown, instance.label) if shown else (1.0, 0.0)
    return ObjectAsset(
        name=instance.name,
        text=instance.text,
        text_source=instance.text_source,
        category=instance.category,
        category_confidence=instance.category_confidence,
        mesh=f"{place}/visual.obj",
        texture=f"{place}/texture.png",
        seen_faces=f"{place}/seen_faces.npy",
        dims_m=_vec3(dims),
        dims_sigma_m=(0.0, 0.0, 0.0),
        dims_source=("given", "given", "given"),
        method=f"given: {given.source}" + (f" ({steps})" if steps else ""),
        primitive=None if jointed else ideal_primitive(mesh),
        pose=matrix_to_pose(T_world_given @ T),
        seen_fraction=1.0,
        confidence=instance.confidence,
        silhouette_iou=round(iou, 4),
        depth_error_median_m=round(min(depth_error_m, 1.0), 5),
        volume_m3=volume(mesh),
        support=below,
        parts=parts if jointed else (),
        joints=tuple(_moved_joint(joint, T) for joint in given.joints),
        anchored=given.anchored if given.anchored is not None else jointed and float(dims.max()) >= FURNITURE_M,
        mass_kg=_mass(given),
        friction=given.friction,
    )


def given_carriers(made: Reconstruction) -> dict[str, str]:
    """Given object -> the given object that it stands on, where it stands on one."""
    boxes = {}
    for instance in made.instances:
        if (given := instance.given) is not None:
            meshes = [read_obj(made.path(part.mesh)).vertices for part in given.parts]
            points = transform_points(pose_to_matrix(given.pose), np.concatenate(meshes))
            boxes[instance.name] = points.min(axis=0), points.max(axis=0)
    return carriers(boxes)


def _read(part: Part, made: Reconstruction) -> _Piece:
    """Raises ValueError when it has no surface."""
    mesh = read_obj(made.path(part.mesh))
    done = closed((mesh.vertices, mesh.faces))
    if mesh.uv is None or part.texture is None:
        uv = np.full((len(done.source), 3, 2), 0.5)
    else:
        uv = mesh.uv[done.source[:, None], done.corner]
    picture = np.full((LEAST_PX, LEAST_PX, 3), PLAIN, dtype=np.uint8)
    if part.texture is not None:
        picture = _picture(made.path(part.texture))
    return _Piece(part, *done.mesh, uv, picture, done.steps)


def _picture(path: Path) -> NDArray[np.uint8]:
    """(H, W, 3), tiny ones enlarged: a texture may be a single colour. Raises InputError when it cannot be read."""
    found = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if found is None:
        raise InputError(f"{path} cannot be read as a picture", "save it again as PNG")
    size = max(found.shape[1], LEAST_PX), max(found.shape[0], LEAST_PX)
    found = cv2.resize(found, size, interpolation=cv2.INTER_NEAREST)
    return np.asarray(cv2.cvtColor(found, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _upright(rotation: Array) -> Array:
    """(3, 3) right-angled turn T_given_object that makes z the axis nearest the vertical, when the frame's z is not."""
    if rotation[2, 2] > UPRIGHT:
        return np.eye(3)
    turns = [
        np.eye(3)[:, list(order)] * signs for order in permutations(range(3)) for signs in product((1, -1), repeat=3)
    ]
    proper = [turn for turn in turns if np.linalg.det(turn) > 0]
    # of the four turns about the vertical, the one nearest to no turn at all
    return max(proper, key=lambda turn: (round(float((rotation @ turn)[2, 2]), 6), float(np.trace(turn))))


def _write_part(piece: _Piece, vertices: Array, file: str, folder: Path, place: str) -> Part:
    """parts/FILE.obj in the object frame, with its picture."""
    parts = folder / "parts"
    parts.mkdir(exist_ok=True)
    mesh = vertices, piece.faces
    write_obj(TexturedMesh(*mesh, piece.uv, corner_normals(mesh)), parts / f"{file}.obj", f"{file}.png")
    images.write_color(parts / f"{file}.png", piece.picture)
    return piece.part.model_copy(update={"mesh": f"{place}/parts/{file}.obj", "texture": f"{place}/parts/{file}.png"})


def _mass(given: GivenModel) -> float | None:
    """As the file says, of the whole or of every part."""
    each = [part.mass_kg for part in given.parts]
    known = [mass for mass in each if mass is not None]
    return given.mass_kg if given.mass_kg is not None or len(known) < len(each) else sum(known)


def _one_picture(pieces: list[_Piece]) -> tuple[Array, NDArray[np.uint8]]:
    """Texture coordinates (F, 3, 2) of all pieces and the picture they address: tiles side by side."""
    pictures: list[NDArray[np.uint8]] = []
    for piece in pieces:
        if not any(np.array_equal(piece.picture, other) for other in pictures):
            pictures.append(piece.picture)
    if len(pictures) == 1:
        return np.concatenate([piece.uv for piece in pieces]), pictures[0]
    across = int(np.ceil(np.sqrt(len(pictures))))
    side = min(max(max(picture.shape[:2]) for picture in pictures), LARGEST_PX // across)
    sheet = np.full((across * side, across * side, 3), PLAIN, dtype=np.uint8)
    uv = []
    for index, picture in enumerate(pictures):
        row, column = divmod(index, across)
        tile = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
        sheet[row * side : (row + 1) * side, column * side : (column + 1) * side] = tile
    for piece in pieces:
        index = next(i for i, picture in enumerate(pictures) if np.array_equal(piece.picture, picture))
        row, column = divmod(index, across)
        inside = np.clip(piece.uv - np.floor(piece.uv.min(axis=1, keepdims=True) + 1e-6), 0.5 / side, 1 - 0.5 / side)
        uv.append((inside + np.array([column, across - 1 - row])) / across)
    return np.concatenate(uv), sheet


def _moved_joint(joint: Joint, T_given_object: Array) -> Joint:
    inverse = invert(T_given_object)
    axis = inverse[:3, :3] @ np.array(joint.axis)
    return joint.model_copy(update={"axis": _vec3(axis), "origin": _vec3(transform_points(inverse, joint.origin))})


def _vec3(values: Array) -> Vec3:
    return float(values[0]), float(values[1]), float(values[2])
