"""Wavefront OBJ with one MTL material and one texture. Metres, z up; written the same on every machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from blueprint.core.errors import InputError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class TexturedMesh:
    """vertices: (V, 3) [m]; faces: (F, 3) into vertices; uv: (F, 3, 2) per corner, v up, or None;
    normals: (F, 3, 3) per corner, or None. Vertices are shared across texture seams, so the surface stays closed.
    """

    vertices: Array
    faces: NDArray[np.int64]
    uv: Array | None = None
    normals: Array | None = None


def write_obj(mesh: TexturedMesh, path: Path, texture: str | None = None) -> None:
    """Write `path` and, with a texture (a file name beside it), an MTL file of the same stem."""
    lines = []
    if texture is not None:
        material = path.with_suffix(".mtl")
        material.write_text(f"newmtl surface\nKa 1 1 1\nKd 1 1 1\nKs 0.05 0.05 0.05\nNs 20\nd 1\nmap_Kd {texture}\n")
        lines += [f"mtllib {material.name}", "usemtl surface"]
    lines += [f"v {x:.7f} {y:.7f} {z:.7f}" for x, y, z in mesh.vertices.tolist()]
    columns = [mesh.faces + 1]
    if mesh.uv is not None:
        rows, index = _distinct(mesh.uv, 6)
        lines += [f"vt {u:.6f} {v:.6f}" for u, v in rows.tolist()]
        columns.append(index + 1)
    if mesh.normals is not None:
        rows, index = _distinct(mesh.normals, 4)
        lines += [f"vn {x:.4f} {y:.4f} {z:.4f}" for x, y, z in rows.tolist()]
        columns.append(index + 1)
    separator = "//" if mesh.uv is None and mesh.normals is not None else "/"
    for row in np.stack(columns, axis=2).tolist():
        lines.append("f " + " ".join(separator.join(map(str, corner)) for corner in row))
    path.write_text("\n".join(lines) + "\n")


def _distinct(values: Array, digits: int) -> tuple[Array, NDArray[np.int64]]:
    """Distinct rows of (F, 3, K) rounded to `digits`, and their index (F, 3)."""
    rows, inverse = np.unique(np.round(values.reshape(-1, values.shape[2]), digits) + 0.0, axis=0, return_inverse=True)
    return rows, inverse.reshape(values.shape[:2])


def read_obj(path: Path) -> TexturedMesh:
    """Read a triangle OBJ. Raises InputError when a face is not a triangle or points to a missing vertex."""
    table: dict[str, list[list[float]]] = {"v": [], "vt": [], "vn": []}
    corners: list[list[list[int]]] = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        kind, *words = line.split() or [""]
        if kind in table:
            table[kind].append([float(word) for word in words])
        elif kind == "f":
            if len(words) != 3:
                raise InputError(f"{path}, line {number}: a face with {len(words)} corners", "triangulate the mesh")
            corners.append([[int(part) if part else 0 for part in word.split("/")] for word in words])
    if not corners:
        raise InputError(f"{path} has no faces", "export a triangle mesh")
    width = max(len(corner) for face in corners for corner in face)
    index = np.array([[corner + [0] * (width - len(corner)) for corner in face] for face in corners])
    values = {kind: np.array(rows, dtype=float) for kind, rows in table.items()}
    faces = _resolve(index[:, :, 0], len(values["v"]), path)
    uv = (
        values["vt"][_resolve(index[:, :, 1], len(values["vt"]), path)][:, :, :2]
        if width > 1 and index[0, 0, 1]
        else None
    )
    normals = values["vn"][_resolve(index[:, :, 2], len(values["vn"]), path)] if width > 2 and index[0, 0, 2] else None
    return TexturedMesh(values["v"][:, :3], faces, uv, normals)


def _resolve(index: NDArray[np.int64], count: int, path: Path) -> NDArray[np.int64]:
    """OBJ indices count from 1, or from the end when negative."""
    out = np.where(index < 0, index + count, index - 1)
    if out.min() < 0 or out.max() >= count:
        raise InputError(f"{path}: a face names a vertex that is not there", "the file is truncated; export it again")
    return out
