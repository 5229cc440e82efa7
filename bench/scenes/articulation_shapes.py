"""Self-made furniture with known joints: cabinets, drawers, lids, doors, laptops; and things that do not open.

Local frame while building: x right, y to the back, z up; the front looks towards -y at y = 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from manifold3d import Manifold, OpType
from numpy.typing import NDArray

Array = NDArray[np.float64]
Rng = np.random.Generator
DOOR, FLAP, LID, SCREEN, DRAWER = np.deg2rad(110), np.deg2rad(90), np.deg2rad(100), np.deg2rad(130), 0.8


@dataclass(frozen=True)
class Truth:
    """kind: revolute or prismatic; axis: opening is positive; center: middle of the closed part's front"""

    kind: str
    axis: Array
    origin: Array
    limits: tuple[float, float]
    center: Array


@dataclass(frozen=True)
class Specimen:
    """mesh: closed pieces, z up, centred; text: what a user may have called it; whole: one watertight piece"""

    name: str
    text: str
    vertices: Array
    faces: NDArray[np.int64]
    truths: tuple[Truth, ...]
    whole: bool


@dataclass
class _Build:
    pieces: list[Manifold] = field(default_factory=list)
    truths: list[Truth] = field(default_factory=list)


def box(x0: float, y0: float, z0: float, x1: float, y1: float, z1: float) -> Manifold:
    return Manifold.cube((x1 - x0, y1 - y0, z1 - z0)).translate((x0, y0, z0))


@dataclass(frozen=True)
class Cell:
    """A front: rectangle on the front plane, what it is, where its hinge is, how its handle looks."""

    rect: tuple[float, float, float, float]  # x0, z0, x1, z1
    kind: str  # door, drawer, flap, fixed
    hinge: str = ""  # left, right, bottom
    handle: str = "bar"  # bar, knob, none


def handle_of(cell: Cell, y: float, rng: Rng, sink: float = 0.0) -> Manifold | None:
    """A bar or knob before the front plane `y`; sink: how far it goes into the front."""
    x0, z0, x1, z1 = cell.rect
    w, h = x1 - x0, z1 - z0
    if cell.handle == "none" or cell.kind == "fixed":
        return None
    edge = float(rng.uniform(0.03, 0.05))
    cx, cz = (x0 + x1) / 2, (z0 + z1) / 2
    if cell.kind == "door":
        edge = min(edge, 0.15 * w)
        cx = x1 - edge if cell.hinge == "left" else x0 + edge
        cz += float(rng.uniform(-0.2, 0.2)) * h
        size = (0.012, float(min(rng.uniform(0.1, 0.25), 0.5 * h)))
    elif cell.kind == "flap":
        cz = z1 - min(edge, 0.15 * h)
        size = (float(min(0.6 * w, 0.4)), 0.012)
    else:
        cz += float(rng.uniform(-0.1, 0.2)) * h
        size = (float(min(rng.uniform(0.08, 0.2), 0.5 * w)), 0.012)
    proud = float(rng.uniform(0.022, 0.04))
    if cell.handle == "knob":
        r = float(min(rng.uniform(0.012, 0.018), 0.2 * h, 0.2 * w))
        knob = Manifold.cylinder(proud + sink, r, r, 16).rotate((90, 0, 0))
        return knob.translate((cx, y + sink, cz))
    a, b = size[0] / 2, size[1] / 2
    bar = box(cx - a, y - proud, cz - b, cx + a, y - proud + 0.01, cz + b)
    along = 0 if a > b else 2
    for sign in (-1, 1):
        shift = sign * (max(a, b) - 0.012)
        px, pz = (cx + shift, cz) if along == 0 else (cx, cz + shift)
        bar += box(px - 0.005, y - proud + 0.001, pz - 0.005, px + 0.005, y + sink, pz + 0.005)
    return bar


def truth_of(cell: Cell, y: float, depth: float, upper: float | None = None) -> Truth | None:
    x0, z0, x1, z1 = cell.rect
    center = np.array([(x0 + x1) / 2, y, (z0 + z1) / 2])
    if cell.kind == "drawer":
        return Truth(
            "prismatic", np.array([0.0, -1, 0]), center, (0.0, DRAWER * depth if upper is None else upper), center
        )
    if cell.kind == "door":
        sign = -1.0 if cell.hinge == "left" else 1.0  # seen from the front, x points right
        x = x0 if cell.hinge == "left" else x1
        return Truth("revolute", np.array([0, 0, sign]), np.array([x, y, center[2]]), (0, upper or DOOR), center)
    if cell.kind == "flap":
        return Truth("revolute", np.array([1.0, 0, 0]), np.array([center[0], y, z0]), (0, upper or FLAP), center)
    return None


# ------------------------------------------------------------------ cabinets: separate pieces, or one with grooves


def separate(cells: list[Cell], size: Array, rng: Rng, *, boards: bool, flange: float = 0.0) -> _Build:
    """A hollow carcass with fronts set in flush, gaps of 2-4 mm, drawers with boxes, handles as pieces."""
    made = _Build()
    w, d, h = size
    t = float(rng.uniform(0.012, 0.02))
    gap = float(rng.uniform(0.002, 0.004))
    shell = [box(0, 0, 0, t, d, h), box(w - t, 0, 0, w, d, h), box(t, d - t, t, w - t, d, h - t)]
    shell += [box(t, 0, 0, w - t, d, t), box(t, 0, h - t, w - t, d, h)]
    for cell in cells:  # rails between fronts, behind them nothing
        x0, z0, x1, z1 = cell.rect
        if cell.kind == "fixed":
            shell.append(box(x0, 0, z0, x1, d, z1))
        elif x0 > t + 1e-6 and (x0 - t) > 0.01:
            shell.append(box(x0 - t, 0.03, z0, x0, d, z1))
        if z0 > t + 1e-6 and cell.kind != "fixed":
            shell.append(box(max(x0, t), 0.03, z0 - t / 2, min(x1, w - t), d, z0 + t / 2))
    made.pieces += shell if boards else [Manifold.batch_boolean(shell, OpType.Add)]
    if flange:
        made.pieces[0] += box(0, -flange, 0, t, 0, h)
    for cell in cells:
        if cell.kind == "fixed":
            continue
        x0, z0, x1, z1 = cell.rect
        x0, x1 = max(x0, t) + gap, min(x1, w - t) - gap
        z0, z1 = max(z0, t) + gap, min(z1, h - t) - gap
        inner = Cell((x0, z0, x1, z1), cell.kind, cell.hinge, cell.handle)
        front = box(x0, 0, z0, x1, 0.016, z1)
        depth = 0.016
        if cell.kind == "drawer":
            a, b, c = x0 + 0.012, z0 + 0.015, z0 + 0.015 + 0.65 * (z1 - z0 - 0.015)
            depth = float(rng.uniform(0.8, 0.95)) * (d - t)
            tray = box(a, 0.016, b, x1 - 0.012, depth, c) - box(
                a + 0.01, 0.016, b + 0.008, x1 - 0.022, depth - 0.01, c + 1
            )
            if rng.random() < 0.5:
                front += tray
            else:
                made.pieces.append(tray)
        made.pieces.append(front)
        handle = handle_of(inner, 0.0, rng)
        if handle is not None:
            made.pieces.append(handle)
        stop = None
        if flange and cell.hinge == "left":
            stop = np.pi / 2 + np.arctan2(x0 - t, flange)
        truth = truth_of(inner, 0.0, depth, stop)
        if truth:
            made.truths.append(truth)
    return made


def grooved(cells: list[Cell], size: Array, rng: Rng) -> _Build:
    """One solid block: grooves of 2-4 mm around each front, handles grown on."""
    w, d, h = size
    solid = box(0, 0, 0, w, d, h)
    made = _Build()
    rim = float(rng.uniform(0.012, 0.025))
    for cell in cells:
        if cell.kind == "fixed":
            continue
        g, deep = float(rng.uniform(0.002, 0.004)), float(rng.uniform(0.004, 0.02))
        x0, z0, x1, z1 = cell.rect
        x0, x1, z0, z1 = max(x0 + 0.004, rim), min(x1 - 0.004, w - rim), max(z0 + 0.004, rim), min(z1 - 0.004, h - rim)
        inner = Cell((x0, z0, x1, z1), cell.kind, cell.hinge, cell.handle)
        ring = box(x0 - g, -1, z0 - g, x1 + g, deep, z1 + g) - box(x0, -1, z0, x1, deep, z1)
        solid -= ring
        handle = handle_of(inner, 0.0, rng, 0.003)
        if handle is not None:
            solid += handle
        truth = truth_of(inner, 0.0, d)
        if truth:
            made.truths.append(truth)
    made.pieces = [solid]
    return made


def _handle(rng: Rng) -> str:
    return "bar" if rng.random() < 0.6 else "knob"


def _row(x0: float, x1: float, z0: float, z1: float, count: int, rng: Rng, upright: bool) -> list[tuple[float, ...]]:
    cuts = np.linspace(z0, z1, count + 1) if upright else np.linspace(x0, x1, count + 1)
    pairs = pairwise(cuts.tolist())
    return [(x0, a, x1, b) if upright else (a, z0, b, z1) for a, b in pairs]


Layout = Callable[[Rng], tuple[list[Cell], Array, tuple[str, ...]]]


def one_door(rng: Rng) -> tuple[list[Cell], Array, tuple[str, ...]]:
    size = np.array([rng.uniform(0.3, 0.6), rng.uniform(0.3, 0.6), rng.uniform(0.5, 1.2)])
    side = str(rng.choice(["left", "right"]))
    return [Cell((0, 0, size[0], size[2]), "door", side, _handle(rng))], size, ("cabinet", "locker", "kitchen cupboard")


def two_doors(rng: Rng) -> tuple[list[Cell], Array, tuple[str, ...]]:
    size = np.array([rng.uniform(0.6, 1.2), rng.uniform(0.3, 0.6), rng.uniform(0.6, 2.0)])
    kind = _handle(rng)
    left, right = _row(0, size[0], 0, size[2], 2, rng, upright=False)
    return (
        [Cell(left, "door", "left", kind), Cell(right, "door", "right", kind)],
        size,
        ("wardrobe", "hutch", "sideboard"),
    )  # type: ignore[arg-type]


def drawers(rng: Rng) -> tuple[list[Cell], Array, tuple[str, ...]]:
    count = int(rng.integers(1, 6))
    size = np.array([rng.uniform(0.35, 0.9), rng.uniform(0.35, 0.6), count * rng.uniform(0.14, 0.24)])
    kind = _handle(rng)
    rows = _row(0, size[0], 0, size[2], count, rng, upright=True)
    return [Cell(r, "drawer", "", kind) for r in rows], size, ("chest of drawers", "filing cabinet", "nightstand")  # type: ignore[arg-type]


def mixed(rng: Rng) -> tuple[list[Cell], Array, tuple[str, ...]]:
    size = np.array([rng.uniform(0.6, 1.0), rng.uniform(0.4, 0.6), rng.uniform(0.75, 1.0)])
    split = size[2] * rng.uniform(0.68, 0.8)
    kind = _handle(rng)
    cells = [Cell((0, split, size[0], size[2]), "drawer", "", kind)]
    for rect, side in zip(_row(0, size[0], 0, split, 2, rng, upright=False), ("left", "right"), strict=True):
        cells.append(Cell(rect, "door", side, kind))  # type: ignore[arg-type]
    return cells, size, ("base cabinet", "sideboard", "armoire")


def beside(rng: Rng) -> tuple[list[Cell], Array, tuple[str, ...]]:
    """A door on one side, a stack of drawers on the other."""
    size = np.array([rng.uniform(0.8, 1.3), rng.uniform(0.4, 0.6), rng.uniform(0.55, 0.8)])
    split = size[0] * rng.uniform(0.4, 0.6)
    cells = [Cell((0, 0, split, size[2]), "door", str(rng.choice(["left", "right"])), "bar")]
    cells += [Cell(r, "drawer", "", "bar") for r in _row(split, size[0], 0, size[2], 3, rng, upright=True)]  # type: ignore[arg-type]
    return cells, size, ("kitchen cabinet", "desk", "dresser")


def fridge(rng: Rng) -> tuple[list[Cell], Array, tuple[str, ...]]:
    size = np.array([rng.uniform(0.5, 0.8), rng.uniform(0.5, 0.7), rng.uniform(1.4, 1.9)])
    split, side = size[2] * rng.uniform(0.3, 0.7), str(rng.choice(["left", "right"]))
    rects = ((0, 0, size[0], split), (0, split, size[0], size[2]))
    return [Cell(r, "door", side, "bar") for r in rects], size, ("fridge", "refrigerator", "freezer")


def microwave(rng: Rng) -> tuple[list[Cell], Array, tuple[str, ...]]:
    size = np.array([rng.uniform(0.45, 0.6), rng.uniform(0.33, 0.45), rng.uniform(0.25, 0.35)])
    split = size[0] * rng.uniform(0.7, 0.8)
    cells = [Cell((0, 0, split, size[2]), "door", "left", "bar"), Cell((split, 0, size[0], size[2]), "fixed")]
    return cells, size, ("microwave", "microwave oven", "microwave")


def oven(rng: Rng) -> tuple[list[Cell], Array, tuple[str, ...]]:
    size = np.array([rng.uniform(0.5, 0.65), rng.uniform(0.5, 0.6), rng.uniform(0.6, 0.9)])
    split = size[2] * rng.uniform(0.75, 0.85)
    cells = [Cell((0, 0, size[0], split), "flap", "bottom", "bar"), Cell((0, split, size[0], size[2]), "fixed")]
    return cells, size, ("oven", "dishwasher", "oven")


LAYOUTS: tuple[Layout, ...] = (one_door, two_doors, drawers, mixed, beside, fridge, microwave, oven)
KNOWN_ONLY = (oven,)  # without a name a flap looks like a drawer: asked of named ones only


def lidded(rng: Rng, *, whole: bool) -> tuple[_Build, tuple[str, ...]]:
    """A chest whose lid is hinged at the back, a handle on its front half."""
    w, d = rng.uniform(0.2, 0.9), rng.uniform(0.15, 0.5)
    h, t = rng.uniform(0.12, 0.5), rng.uniform(0.02, 0.06)
    g = rng.uniform(0.002, 0.004)
    made = _Build()
    base, lid = box(0, 0, 0, w, d, h), box(0, 0, h + g, w, d, h + g + t)
    top = h + g + t
    grip = box(w / 2 - 0.04, 0.015, top - 0.002 * whole, w / 2 + 0.04, 0.03, top + 0.025)
    if whole:
        neck = box(0.004, 0.004, h - 0.001, w - 0.004, d - 0.004, h + g + 0.001)
        made.pieces = [Manifold.batch_boolean([base, lid, neck, grip], OpType.Add)]
    else:
        made.pieces = [base - box(0.012, 0.012, 0.012, w - 0.012, d - 0.012, h + 1), lid, grip]
    origin = np.array([w / 2, d, h + g])
    made.truths = [Truth("revolute", np.array([-1.0, 0, 0]), origin, (0.0, LID), np.array([w / 2, d / 2, top]))]
    return made, ("treasure chest", "cooler", "toolbox")


def laptop(rng: Rng) -> tuple[_Build, tuple[str, ...]]:
    """Open as people leave it: the joint's 0 lies inside its range."""
    w, d = rng.uniform(0.28, 0.38), rng.uniform(0.19, 0.26)
    t, angle = rng.uniform(0.012, 0.018), np.deg2rad(rng.uniform(75, 120))
    base, top = box(0, 0, 0, w, d, t), box(0.002, -d + 0.004, 0, w - 0.002, 0, 0.007)
    turned = top.rotate((-float(np.rad2deg(angle)), 0, 0)).translate((0, d, t + 0.001))
    made = _Build([base, turned])
    center = np.array([w / 2, d, t]) + d / 2 * np.array([0, -np.cos(angle), np.sin(angle)])
    limits = (-angle, SCREEN - angle)
    made.truths = [Truth("revolute", np.array([-1.0, 0, 0]), np.array([w / 2, d, t]), limits, center)]
    return made, ("laptop", "notebook computer", "macbook")


def swing_door(rng: Rng) -> tuple[_Build, tuple[str, ...]]:
    """A leaf in a frame, flush with the side to which it opens, knobs on both sides."""
    w, h, t = rng.uniform(0.7, 1.0), rng.uniform(1.9, 2.1), rng.uniform(0.035, 0.045)
    f, g, deep = 0.06, 0.003, rng.uniform(0.08, 0.12)
    side = str(rng.choice(["left", "right"]))
    frame = box(-f, 0, 0, w + f, deep, h + f) - box(0, -1, -1, w, 1, h)
    cell = Cell((g, g, w - g, h - g), "door", side, "knob")
    leaf, knob = box(g, 0, g, w - g, t, h - g), handle_of(cell, 0.0, rng)
    assert knob is not None
    made = _Build([frame, leaf, knob, knob.mirror((0, 1, 0)).translate((0, t, 0))])
    truth = truth_of(cell, 0.0, t)
    assert truth is not None
    made.truths = [truth]
    return made, ("door", "interior door", "room door")


# ------------------------------------------------------------------ what does not open


def rigid(rng: Rng) -> Iterator[tuple[str, list[Manifold]]]:
    a, b, c = (float(v) for v in rng.uniform(0.15, 0.5, 3))
    t = 0.018
    yield "cardboard box", [box(0, 0, 0, a, b, c)]
    yield "", [box(0, 0, 0, a, b, c)]
    yield "bowl", [Manifold.sphere(0.1, 48).trim_by_plane((0, 0, -1), 0) - Manifold.sphere(0.09, 48)]
    cup = Manifold.cylinder(0.1, 0.04, 0.04, 48) - Manifold.cylinder(0.1, 0.035, 0.035, 48).translate((0, 0, 0.006))
    yield "mug", [cup, box(0.039, -0.006, 0.03, 0.07, 0.006, 0.07) - box(0.038, -0.007, 0.04, 0.06, 0.007, 0.06)]
    yield "", [cup + (box(0.037, -0.006, 0.03, 0.07, 0.006, 0.07) - box(0.03, -0.007, 0.04, 0.06, 0.007, 0.06))]
    case = box(0, 0, 0, 0.8, 0.3, 1.8) - box(t, -1, t, 0.8 - t, 0.3 - t, 1.8 - t)
    shelves = [box(t, 0, z, 0.8 - t, 0.3 - t, z + t) for z in (0.5, 0.95, 1.4)]
    yield "bookshelf", [Manifold.batch_boolean([case, *shelves], OpType.Add)]
    yield "", [case, *shelves]
    top, legs = (
        box(0, 0, 0.7, 1.2, 0.7, 0.73),
        [box(x, y, 0, x + 0.05, y + 0.05, 0.7) for x in (0, 1.15) for y in (0, 0.65)],
    )
    yield "table", [top, *legs]
    yield "", [top, *legs]
    yield "chair", [box(0, 0, 0.42, 0.4, 0.4, 0.45), box(0, 0.37, 0.45, 0.4, 0.4, 0.9), *[box(x, y, 0, x + 0.04, y + 0.04, 0.42) for x in (0, 0.36) for y in (0, 0.36)]]  # fmt: skip  # noqa: E501
    yield "", [box(0, 0, 0, 0.5, 0.5, 0.1) + box(0.1, 0.1, 0.1, 0.4, 0.4, 0.2) + box(0.2, 0.2, 0.2, 0.3, 0.3, 0.3)]
    yield "soup can", [Manifold.cylinder(0.1, 0.033, 0.033, 48)]
    yield "ball", [Manifold.sphere(0.05, 48)]
    yield "book", [box(0, 0, 0, 0.15, 0.22, 0.03)]
    yield (
        "monitor",
        [box(0, 0, 0.1, 0.55, 0.03, 0.45), box(0.25, 0.03, 0.02, 0.3, 0.05, 0.3), box(0.15, -0.05, 0, 0.4, 0.15, 0.02)],
    )
    yield "crate", [box(0, 0, 0, 0.4, 0.3, 0.25) - box(0.01, 0.01, 0.01, 0.39, 0.29, 1)]
    yield "", [box(0, 0, 0, 0.4, 0.3, 0.25) - box(0.01, 0.01, 0.01, 0.39, 0.29, 1)]
    yield "pallet", [box(0, 0, 0.1, 1.2, 0.8, 0.12), *[box(x, 0, 0, x + 0.1, 0.8, 0.1) for x in (0, 0.55, 1.1)]]
    yield (
        "",
        [box(0, 0, 0, 0.3, 0.2, 0.1), box(0, 0, 0.1, 0.3, 0.2, 0.18), box(0, 0, 0.18, 0.3, 0.2, 0.3)],
    )  # stacked boxes
    yield "", [box(0, 0, 0, 0.4, 0.4, 0.4) - box(0.1, -1, 0.1, 0.3, 0.02, 0.3)]  # a niche


# ------------------------------------------------------------------ the set


def specimens(seed: int, rounds: int) -> Iterator[Specimen]:
    """In every round, each layout in separate pieces and in one, named and not; lids, laptops, doors; rigid things."""
    rng = np.random.default_rng(seed)
    for turn in range(rounds):
        for layout in LAYOUTS:
            for whole in (False, True):
                cells, size, names = layout(rng)
                made = (
                    grooved(cells, size, rng) if whole else separate(cells, size, rng, boards=bool(rng.random() < 0.3))
                )
                text = str(rng.choice(names)) if layout in KNOWN_ONLY or rng.random() < 0.6 else ""
                yield _posed(f"{layout.__name__}_{turn}", text, made, rng, whole)
        for whole in (False, True):
            made, names = lidded(rng, whole=whole)
            yield _posed(f"lid_{turn}", str(rng.choice(names)) if rng.random() < 0.6 else "", made, rng, whole)
        made, names = laptop(rng)
        yield _posed(f"laptop_{turn}", str(rng.choice(names)), made, rng, False)
        made, names = swing_door(rng)
        yield _posed(f"swing_{turn}", str(rng.choice(names)) if rng.random() < 0.6 else "", made, rng, False)
        cells, size, names = one_door(rng)
        cells = [Cell(cells[0].rect, "door", "left", "bar")]
        made = separate(cells, size, rng, boards=False, flange=float(rng.uniform(0.04, 0.08)))
        yield _posed(f"flange_{turn}", str(rng.choice(names)), made, rng, False)
        for k, (text, pieces) in enumerate(rigid(rng) if turn == 0 else ()):
            yield _posed(f"rigid_{k}", text, _Build(pieces), rng, len(pieces) == 1)


def _posed(name: str, text: str, made: _Build, rng: Rng, whole: bool) -> Specimen:
    """Centred, turned about z by any angle half of the time."""
    vertices, faces, offset = [], [], 0
    for piece in made.pieces:
        data = piece.to_mesh64()
        vertices.append(np.asarray(data.vert_properties)[:, :3])
        faces.append(np.asarray(data.tri_verts, dtype=np.int64) + offset)
        offset += len(vertices[-1])
    points = np.concatenate(vertices)
    yaw = float(rng.uniform(-np.pi, np.pi)) if rng.random() < 0.5 else float(rng.choice([0, 0.5, 1, 1.5])) * np.pi
    c, s = np.cos(yaw), np.sin(yaw)
    R = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    points = points @ R.T
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    truths = tuple(
        Truth(t.kind, R @ t.axis, R @ t.origin - middle, t.limits, R @ t.center - middle) for t in made.truths
    )
    label = f"{name}{'_whole' if whole else ''}"
    return Specimen(label, text, points - middle, np.concatenate(faces), truths, whole)
