"""Flat fronts that may open: found as separate pieces of a mesh, or as slabs that grooves set off in a single one.

A panel frame has x to the right, y up and z out of the front, seen by one who stands before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from blueprint.geometry.cutting import as_manifold
from blueprint.geometry.mesh import Mesh
from blueprint.geometry.transforms import Array

LEAST_M = 0.035  # a panel is at least this wide and high
GROOVE_M = 0.008  # a gap is at most this wide
BESIDE_M = 0.012  # where the material beyond a gap is looked for
STEP_M = 0.001  # between slices
PROUD_M = 0.008  # a handle stands out at least this far
DEEPEST_M = 0.06  # of a slab that a groove sets off
Rect = tuple[float, float, float, float]  # x0, y0, x1, y1 [m], panel frame


@dataclass(frozen=True)
class Handle:
    """What one pulls: its bounding rectangle on the panel, and how far it stands out [m]."""

    rect: Rect
    proud: float

    @property
    def center(self) -> tuple[float, float]:
        return (self.rect[0] + self.rect[2]) / 2, (self.rect[1] + self.rect[3]) / 2

    @property
    def upright(self) -> float:
        """log of height over width: positive for a vertical bar, 0 for a knob."""
        return float(np.log((self.rect[3] - self.rect[1]) / (self.rect[2] - self.rect[0])))


@dataclass(frozen=True)
class Panel:
    """frame: (3, 3), rows right, up, out in the object frame; front: its face; back: the far side of the slab (z)

    reach: z of the deepest point of the piece: below `back` when a drawer's box hangs on it
    pieces: the components it is made of; none: it must be cut out; gap: width of the groove around it
    """

    frame: Array
    rect: Rect
    front: float
    back: float
    reach: float
    handles: tuple[Handle, ...] = ()
    pieces: tuple[int, ...] = ()
    gap: float = 0.0

    @property
    def size(self) -> tuple[float, float]:
        return self.rect[2] - self.rect[0], self.rect[3] - self.rect[1]

    @property
    def center(self) -> tuple[float, float]:
        return (self.rect[0] + self.rect[2]) / 2, (self.rect[1] + self.rect[3]) / 2

    @property
    def boxed(self) -> bool:
        """A box hangs behind the slab: it reaches in three times as deep as fronts are thick."""
        return self.front - self.reach > max(0.075, 0.35 * min(self.size))

    @property
    def on_top(self) -> bool:
        return bool(self.frame[2, 2] > 0.9)


def frames(mesh: Mesh) -> tuple[Array, ...]:
    """The four sides and the top of the box that the mesh is aligned with: panel frames, (3, 3) each."""
    vertices, faces = mesh
    cross = np.cross(vertices[faces[:, 1]] - vertices[faces[:, 0]], vertices[faces[:, 2]] - vertices[faces[:, 0]])
    flat = np.hypot(cross[:, 0], cross[:, 1])
    turns = np.exp(4j * np.arctan2(cross[:, 1], cross[:, 0])) * flat  # a box's sides all agree modulo 90 degrees
    yaw = float(np.angle(turns.sum())) / 4 if abs(turns.sum()) > 0.05 * flat.sum() else 0.0
    up = np.array([0.0, 0.0, 1.0])
    sides = []
    for quarter in range(4):
        out = np.array([np.cos(yaw + quarter * np.pi / 2), np.sin(yaw + quarter * np.pi / 2), 0.0])
        sides.append(np.stack([np.cross(up, out), up, out]))
    back = np.array([-np.sin(yaw), np.cos(yaw), 0.0])
    return (*sides, np.stack([np.cross(back, up), back, up]))


# ------------------------------------------------------------------ separate pieces


@dataclass(frozen=True)
class _Piece:
    """One component in a panel frame. face: z of its largest plane that faces out; covered: share of its rectangle."""

    index: int
    low: Array
    high: Array
    face: float
    covered: float

    @property
    def area(self) -> float:
        return float(np.prod((self.high - self.low)[:2]))

    @property
    def volume(self) -> float:
        return float(np.prod(self.high - self.low))


def panels_of_pieces(mesh: Mesh, label: NDArray[np.int64], frame: Array) -> list[Panel]:
    """Separate pieces that lie as panels on the side `frame`, with their handles and drawer boxes."""
    vertices, faces = mesh[0] @ frame.T, mesh[1]
    pieces = [_piece(k, vertices, faces[label == k]) for k in range(int(label.max()) + 1)]
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    whole = float(np.prod(high - low))
    main = max(pieces, key=lambda p: p.volume)
    flat = [p for p in pieces if p.covered > 0.55 and min((p.high - p.low)[:2]) > LEAST_M]
    ends = int((np.abs(main.low - low) < 0.004).sum() + (np.abs(main.high - high) < 0.004).sum())
    free = len(pieces) > 2 and (main.volume < 0.5 * whole or ends < 4)  # a body of boards: its largest piece may move
    flat = [p for p in flat if free or p is not main]
    if not flat:
        return []
    front_area = float(np.prod((high - low)[:2]))
    outer = max((p.face for p in [*flat, main] if p.area > 0.1 * front_area), default=high[2])
    near = [p for p in flat if outer - p.face < max(0.03, 0.06 * (high[2] - low[2]))]
    slabs = [p for p in near if _is_panel(p, high[2] - low[2]) and _exposed(p, vertices, faces[label != p.index])]
    used = {p.index for p in slabs} | (set() if free else {main.index})
    return [
        _panel_of(slab, [p for p in pieces if p.index not in used], frame, vertices, faces, label) for slab in slabs
    ]


def _is_panel(piece: _Piece, depth: float) -> bool:
    """A slab is thin; a drawer reaches in but is not the whole depth's block of something else."""
    thick = piece.face - piece.low[2]
    width, height = (piece.high - piece.low)[:2]
    return thick < 0.4 * min(width, height) or (thick > 0.3 * depth and thick > 0.06)


def _exposed(piece: _Piece, vertices: Array, others: NDArray[np.int64]) -> bool:
    """Most of its face can be seen from the front: no other piece lies before it."""
    shares = np.linspace(0.1, 0.9, 5)
    x, y = np.meshgrid(*(piece.low[k] + shares * (piece.high[k] - piece.low[k]) for k in (0, 1)))
    points = np.column_stack([x.ravel(), y.ravel()])
    corners = vertices[others]
    a, b, c = (corners[corners[:, :, 2].max(axis=1) > piece.face + STEP_M][:, k, :2] for k in range(3))
    hidden = np.zeros(len(points), dtype=bool)
    for k, point in enumerate(points):
        sides = [_cross(v - u, point - u) for u, v in ((a, b), (b, c), (c, a))]
        hidden[k] = np.any(np.all([s > 0 for s in sides], axis=0) | np.all([s < 0 for s in sides], axis=0))
    return bool(hidden.mean() < 0.4)


def _piece(index: int, vertices: Array, faces: NDArray[np.int64]) -> _Piece:
    corners = vertices[faces]
    points = corners.reshape(-1, 3)
    low, high = points.min(axis=0), points.max(axis=0)
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]) / 2
    outward = cross[:, 2] > 0.95 * np.maximum(np.linalg.norm(cross, axis=1), 1e-15)
    level = np.round(corners[outward].mean(axis=1)[:, 2] / 0.002).astype(int)
    if not len(level):
        return _Piece(index, low, high, high[2], 0.0)
    place = np.unique(level, return_inverse=True)[1]
    areas = np.bincount(place, weights=cross[outward][:, 2])
    best = int(np.argmax(areas * (1 + 1e-3 * np.arange(len(areas)))))  # of equal ones the outer
    face = float(corners[outward][place == best][:, :, 2].max())
    rect = max(float(np.prod((high - low)[:2])), 1e-12)
    return _Piece(index, low, high, face, float(areas[best]) / rect)


def _panel_of(
    slab: _Piece,
    others: list[_Piece],
    frame: Array,
    vertices: Array,
    faces: NDArray[np.int64],
    label: NDArray[np.int64],
) -> Panel:
    """The slab with what hangs on it: handles in front and at its edges, a drawer's box behind."""
    rect = (slab.low[0], slab.low[1], slab.high[0], slab.high[1])
    handles, pieces, reach = [], [slab.index], slab.low[2]
    thin = slab.face - slab.low[2] < 0.4 * min((slab.high - slab.low)[:2])
    own = vertices[np.unique(faces[label == slab.index])]
    if (proud := own[own[:, 2] > slab.face + PROUD_M]).size:
        handles.append(_handle(proud.min(axis=0), proud.max(axis=0), slab.face))
    for other in others:
        inside = np.all((other.low + other.high)[:2] / 2 > slab.low[:2] - 0.01) and np.all(
            (other.low + other.high)[:2] / 2 < slab.high[:2] + 0.01
        )
        touches = other.low[2] < slab.high[2] + 0.006 and other.high[2] > slab.low[2] - 0.006
        if not (inside and touches) or other.area > 1.05 * slab.area:
            continue
        size, mine = (other.high - other.low)[:2], (slab.high - slab.low)[:2]
        if other.area < 0.35 * slab.area and other.high[2] > slab.face + PROUD_M:
            handles.append(_handle(other.low, other.high, slab.face))
            pieces.append(other.index)
        elif thin and other.high[2] < slab.face and size[0] > 0.6 * mine[0] and size[1] > 0.25 * mine[1]:
            pieces.append(other.index)  # the box of a drawer
            reach = min(reach, other.low[2])
        elif np.all(size < 0.35 * mine) and other.low[2] < slab.low[2] - PROUD_M:
            pieces.append(other.index)  # a handle on the inside
    back = slab.low[2] if thin else slab.face - 0.018
    return Panel(frame, rect, slab.face, back, reach, tuple(handles), tuple(pieces))


def _handle(low: Array, high: Array, face: float) -> Handle:
    return Handle((float(low[0]), float(low[1]), float(high[0]), float(high[1])), float(high[2] - face))


# ------------------------------------------------------------------ one piece


def panels_of_grooves(mesh: Mesh, frame: Array) -> list[Panel]:
    """Slabs of a single closed mesh that narrow grooves separate from the rest, on the side `frame`."""
    solid = as_manifold((mesh[0] @ frame.T, mesh[1]))
    if solid is None:
        return []
    x0, y0, z0, x1, y1, z1 = solid.bounding_box()
    face = _front_level(mesh, frame, 0.15 * (x1 - x0) * (y1 - y0))
    if face is None:
        return []
    first = solid.slice(face - STEP_M)
    found = []
    deepest = min(0.45 * (face - z0), 0.5 * (z1 - z0))
    handles = _blobs(solid, face)
    for part in first.decompose():
        rect = part.bounds()
        width, height = rect[2] - rect[0], rect[3] - rect[1]
        if min(width, height) < LEAST_M or part.area() < 0.9 * width * height:
            continue
        thickness = _slab_depth(solid, part, face, deepest if len(first.decompose()) == 1 else min(deepest, DEEPEST_M))
        if thickness is None:
            continue
        gaps = _gaps(solid, first, rect, face, thickness)
        if gaps is None:
            continue
        mine = tuple(h for h in handles if rect[0] <= h.center[0] <= rect[2] and rect[1] <= h.center[1] <= rect[3])
        found.append(Panel(frame, rect, face, face - thickness, face - thickness, mine, (), gaps))
    return found


def _front_level(mesh: Mesh, frame: Array, least_area: float) -> float | None:
    """z of the outermost plane whose faces that look out cover `least_area` [m^2]."""
    corners = (mesh[0] @ frame.T)[mesh[1]]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]) / 2
    outward = cross[:, 2] > 0.98 * np.maximum(np.linalg.norm(cross, axis=1), 1e-15)
    z = corners[outward].mean(axis=1)[:, 2]
    order = np.argsort(-z)
    z, area = z[order], cross[outward][order, 2]
    total = np.concatenate([[0.0], np.cumsum(area)])
    covered = total[np.searchsorted(-z, -z + STEP_M)] - total[:-1]  # within a step below each
    enough = np.flatnonzero(covered >= least_area)
    return float(z[enough[0]]) if len(enough) else None


def _blobs(solid, face: float) -> list[Handle]:
    """What stands out of the front."""
    proud = solid.trim_by_plane((0.0, 0.0, 1.0), face + 0.0005)
    boxes = [np.array(blob.bounding_box()) for blob in proud.decompose()]
    return [_handle(box[:3], box[3:], face) for box in boxes if box[5] - face > PROUD_M]


def _slab_depth(solid, part, face: float, deepest: float) -> float | None:
    """How deep the slab goes until its section grows into the body or shrinks into a groove; None: it does neither."""
    before = part.area()
    for depth in np.arange(2 * STEP_M, deepest, STEP_M):
        piece = (solid.slice(face - depth) ^ part.offset(0.25 * GROOVE_M)).area()
        if abs(piece - before) > 0.004 * before:
            return float(depth - STEP_M / 2)
    return None


def _gaps(solid, first, rect: Rect, face: float, thickness: float) -> float | None:
    """Width of the groove, if each side of the slab has material beyond a gap, or a groove behind it; else None.

    A step of a stair is no slab: beside it there is no material near by, and behind it the body does not recede.
    """
    from manifold3d import CrossSection

    x0, y0, x1, y1 = rect
    cut = solid.slice(face - thickness - STEP_M) ^ CrossSection.square((x1 - x0, y1 - y0)).translate((x0, y0))
    if cut.is_empty():
        return None
    inset = np.abs(np.array(cut.bounds()) - rect)
    margin, b = 0.1 * np.array([x1 - x0, y1 - y0]), BESIDE_M
    strips = (
        (x0 - b, y0 + margin[1], x0, y1 - margin[1]),
        (x0 + margin[0], y0 - b, x1 - margin[0], y0),
        (x1, y0 + margin[1], x1 + b, y1 - margin[1]),
        (x0 + margin[0], y1, x1 - margin[0], y1 + b),
    )
    widths = []
    for side, strip in enumerate(strips):
        box = CrossSection.square((strip[2] - strip[0], strip[3] - strip[1])).translate(strip[:2])
        filled = (first ^ box).area() / box.area()
        if 0.05 < filled < 0.95:
            widths.append(b * (1 - filled))
        elif inset[side] < STEP_M / 2:
            return None
    return float(min(widths)) if widths else 2 * STEP_M


def _area(rect: Rect) -> float:
    return (rect[2] - rect[0]) * (rect[3] - rect[1])


# ------------------------------------------------------------------ both


def panels(mesh: Mesh, label: NDArray[np.int64]) -> list[Panel]:
    """Every panel on every side. A piece on two sides counts where it has a handle, else where it is larger."""
    several = int(label.max()) > 0
    best: dict[int, Panel] = {}
    cut: list[Panel] = []
    for frame in frames(mesh):
        for panel in panels_of_pieces(mesh, label, frame) if several else ():
            rival = best.get(panel.pieces[0])
            if rival is None or _rank(panel) > _rank(rival):
                best[panel.pieces[0]] = panel
    if not best:
        for frame in frames(mesh):
            cut += panels_of_grooves(mesh, frame)
    return [*_without_shared(list(best.values())), *cut]


def _rank(panel: Panel) -> tuple[bool, float]:
    return bool(panel.handles), _area(panel.rect)


def _without_shared(found: list[Panel]) -> list[Panel]:
    """Each piece goes with one panel: the one that claims it first, handled panels before bare ones."""
    taken: set[int] = set()
    out = []
    for panel in sorted(found, key=_rank, reverse=True):
        if panel.pieces[0] in taken:
            continue
        out.append(replace(panel, pieces=tuple(k for k in panel.pieces if k not in taken)))
        taken |= set(panel.pieces)
    return sorted(out, key=lambda panel: panel.pieces)


def sides(found: list[Panel]) -> Iterator[list[Panel]]:
    """The panels of each side."""
    keys = {tuple(np.round(panel.frame[2], 3).tolist()) for panel in found}
    for key in sorted(keys):
        yield [panel for panel in found if tuple(np.round(panel.frame[2], 3).tolist()) == key]


def _cross(u: Array, v: Array) -> Array:
    """z of the cross product of plane vectors (..., 2)."""
    return u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]
