"""One object's mesh -> its base, what moves, and what may move but is not sure enough."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from manifold3d import Manifold, OpType
from numpy.typing import NDArray

from blueprint.geometry.articulation.hinges import OVERLAP_M3, Verdict, clear_range, judge, opened_hinges, revised
from blueprint.geometry.articulation.hinges_fold import fold
from blueprint.geometry.articulation.panels import Panel, panels, sides
from blueprint.geometry.cutting import (
    Textured,
    as_manifold,
    as_mesh,
    components,
    cut_slab,
    original_ids,
    pieces_of,
)
from blueprint.geometry.mesh import Mesh, is_closed
from blueprint.geometry.transforms import Array
from blueprint.model.categories import OPENINGS, Category

MOST_PIECES = 400
LEAST_SHARE = 0.25  # of its usual range; what opens less does not open

Said = tuple[str, str, float]  # kind ("none": fixed), side of the hinge or "", confidence
Opinion = Callable[[Sequence[tuple[str, Panel]]], dict[str, Said]]  # named panels -> what is said of them


@dataclass(frozen=True)
class Moving:
    """A part and its joint, object frame; upper: the range that the sweep left of `wanted`, both [rad] or [m]"""

    name: str
    surface: Textured
    verdict: Verdict
    lower: float
    upper: float
    wanted: float
    swept: bool


@dataclass(frozen=True)
class Found:
    """base: None when nothing moves; doubts: what was seen and left alone, in words."""

    base: Textured | None
    moving: tuple[Moving, ...]
    doubts: tuple[str, ...]


@dataclass(frozen=True)
class Knowledge:
    """What is known beside the mesh. choices: panel name -> kind and hinge side that a user wants ("none" = fixed)

    opinion: what a vision model says of a panel; inner_uv: where the texture has the colour of cut faces
    """

    category: Category | None = None
    sureness: float = 0.0
    choices: dict[str, tuple[str, str]] | None = None
    opinion: Opinion | None = None
    inner_uv: tuple[float, float] = (0.0, 0.0)
    min_confidence: float = 0.6


def detect(mesh: Mesh, uv: Array | None, known: Knowledge) -> Found:
    """All joints of an object. mesh: closed pieces, object frame; uv: (F, 3, 2) or None."""
    vertices, faces = _welded(mesh)
    label = components((vertices, faces))
    if label.max() >= MOST_PIECES:
        return Found(None, (), (f"{label.max() + 1} separate pieces: too many to tell parts from decoration",))
    if known.category is not None and any(opening.part == "screen" for opening in known.category.moves):
        return _folded((vertices, faces), uv, label, known.choices or {})
    judged, doubts = _judged((vertices, faces), label, known)
    if not judged:
        return Found(None, (), tuple(doubts))
    cut = [item for item in judged if not item[1].pieces]
    apart = _cut((vertices, faces), uv, cut, known) if cut else _separate((vertices, faces), uv, label, judged)
    if apart is None:
        return Found(None, (), (*doubts, "panels were seen, but the surface is not closed and cannot be cut"))
    base, parts = apart
    moving, stuck, inside = _swept(base, parts, judged)
    doubts += inside
    doubts += [f"{name}: it would not open further than {100 * share:.0f} % of its range" for name, share in stuck]
    if stuck:  # leave these where they are
        names = {name for name, _ in stuck}
        fewer = replace(known, choices={**(known.choices or {}), **dict.fromkeys(names, ("none", ""))})
        return replace(again := detect(mesh, uv, fewer), doubts=(*doubts, *again.doubts))
    return Found(base, tuple(moving), tuple(doubts))


def _folded(mesh: Mesh, uv: Array | None, label: NDArray[np.int64], choices: dict[str, tuple[str, str]]) -> Found:
    """A screen that folds onto its base, from where it stands."""
    made = fold(mesh, label)
    if made is None:
        return Found(None, (), ("lid: it folds, but in which edge cannot be seen: it is closed, or one piece",))
    index, hinges, angle = made
    if choices.get("lid", ("", ""))[0] == "none":
        return Found(None, (), ())
    base, leaf = pieces_of(mesh, uv, label != index), pieces_of(mesh, uv, label == index)
    rest, mine = as_manifold(base.mesh), as_manifold(leaf.mesh)
    if rest is None or mine is None:
        return Found(base, (Moving("lid", leaf, hinges[0], -angle, hinges[0].upper, angle, swept=False),), ())
    ranges = [
        (-clear_range(mine, rest, v.joint, -v.axis, v.origin, angle),
         clear_range(mine, rest, v.joint, v.axis, v.origin, v.upper)) for v in hinges
    ]  # fmt: skip
    best = max(range(len(hinges)), key=lambda k: round(ranges[k][1] - ranges[k][0], 2))
    wanted = angle + hinges[best].upper
    return Found(base, (Moving("lid", leaf, hinges[best], *ranges[best], wanted, swept=True),), ())


def _welded(mesh: Mesh) -> Mesh:
    """The mesh with equal vertices joined where it is not closed without that; faces kept (UVs belong to them)."""
    if is_closed(mesh):
        return mesh
    keys = np.round(mesh[0] / 1e-6).astype(np.int64)
    _, first, place = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    return mesh[0][first], place.ravel()[mesh[1]]


# ------------------------------------------------------------------ what moves

Judged = tuple[str, Panel, Verdict]


def _judged(mesh: Mesh, label: NDArray[np.int64], known: Knowledge) -> tuple[list[Judged], list[str]]:
    """Panels that are sure enough, named; and the others in words."""
    seen = [(panel, side) for side in sides(panels(mesh, label)) for panel in side]
    found = [(panel, judge(panel, side, known.category, known.sureness)) for panel, side in seen]
    found = [(panel, _facing(panel, verdict, [other for other, _ in seen])) for panel, verdict in found]
    named = _named(found)
    said = known.opinion([(name, panel) for name, panel, _ in named]) if known.opinion and named else {}
    out, doubts = [], []
    for name, panel, verdict in named:
        kind, hinge = (known.choices or {}).get(name, ("", ""))
        if kind == "none":
            continue
        if kind:
            verdict = revised(verdict, panel, kind, hinge, 1.0, "user")
        elif name in said:
            verdict = revised(verdict, panel, *said[name], "model")
        if verdict.confidence >= known.min_confidence:
            out.append((name, panel, verdict))
        elif panel.handles or panel.gap or (known.category is not None and known.category.moves):
            why = f"; {verdict.ambiguity}" if verdict.ambiguity else ""
            doubts.append(f"{name}: confidence {verdict.confidence:.2f} ({', '.join(verdict.evidence)}{why})")
    return _one_way(out, doubts), doubts


def _facing(panel: Panel, verdict: Verdict, every: Sequence[Panel]) -> Verdict:
    """Less sure of a bare panel on a side: furniture has one front, where its handles are; its walls are boards too."""
    if panel.on_top or panel.handles or panel.gap:
        return verdict
    fronts = {_key(other) for other in every if not other.on_top}
    handled = {_key(other) for other in every if other.handles and not other.on_top}
    if handled and _key(panel) not in handled:
        return replace(verdict, confidence=0.4 * verdict.confidence, ambiguity="another side has the handles")
    if not handled and len(fronts) > 1:
        return replace(verdict, confidence=0.6 * verdict.confidence, ambiguity="nothing tells which side is the front")
    return verdict


def _named(found: Sequence[tuple[Panel, Verdict]]) -> list[Judged]:
    """door, drawer, drawer_2, ...: those with handles first, then from the top down, from left to right."""
    order = sorted(
        found, key=lambda item: (not item[0].handles, -round(item[0].center[1], 2), round(item[0].center[0], 2))
    )
    count: dict[str, int] = {}
    out = []
    for panel, verdict in order:
        number = count[verdict.kind] = count.get(verdict.kind, 0) + 1
        out.append((verdict.kind if number == 1 else f"{verdict.kind}_{number}", panel, verdict))
    return out


def _one_way(found: list[Judged], doubts: list[str]) -> list[Judged]:
    """Panels of a single mesh are cut from one side, and a lid, never from two sides through one another."""
    cut = [item for item in found if not item[1].pieces]
    worth = {_key(item[1]): 0.0 for item in cut}
    for _, panel, verdict in cut:
        worth[_key(panel)] += verdict.confidence + bool(panel.handles)
    best = max(worth, key=lambda key: worth[key], default=None)
    for name, panel, _ in cut:
        if _key(panel) != best:
            doubts.append(f"{name}: another side of the same body opens")
    return [item for item in found if item[1].pieces or _key(item[1]) == best]


def _key(panel: Panel) -> tuple[float, ...]:
    return tuple(np.round(panel.frame[2], 3).tolist())


# ------------------------------------------------------------------ apart


def _separate(
    mesh: Mesh, uv: Array | None, label: NDArray[np.int64], judged: list[Judged]
) -> tuple[Textured, dict[str, Textured]] | None:
    """Pieces that are there already: each panel with what hangs on it; the rest is the base."""
    rest = np.ones(len(mesh[1]), dtype=bool)
    parts = {}
    for name, panel, _ in judged:
        mine = np.isin(label, panel.pieces)
        parts[name] = pieces_of(mesh, uv, mine)
        rest &= ~mine
    return (pieces_of(mesh, uv, rest), parts) if rest.any() else None


def _cut(
    mesh: Mesh, uv: Array | None, judged: list[Judged], known: Knowledge
) -> tuple[Textured, dict[str, Textured]] | None:
    """Slabs cut off a single body, which becomes hollow behind them."""
    body = as_manifold(mesh, uv)
    if body is None:
        return None
    ids = original_ids(body)
    parts = {}
    for name, panel, verdict in judged:
        turned = body.transform(np.column_stack([panel.frame, np.zeros(3)]))
        made = cut_slab(turned, panel.rect, panel.front, panel.back, gap=panel.gap, drawer=verdict.kind == "drawer")
        back = np.column_stack([panel.frame.T, np.zeros(3)])
        body = made.body.transform(back)
        parts[name] = as_mesh(made.part.transform(back), ids, known.inner_uv)
    return as_mesh(body, ids, known.inner_uv), parts


# ------------------------------------------------------------------ how far


def _swept(
    base: Textured, parts: dict[str, Textured], judged: list[Judged]
) -> tuple[list[Moving], list[tuple[str, float]], list[str]]:
    """Every joint opened as far as nothing is in its way; those that hardly open, with the share they do; remarks."""
    solids = {name: as_manifold(part.mesh) for name, part in parts.items()}
    ground = as_manifold(base.mesh)
    moving, stuck, inside = [], [], []
    for name, panel, verdict in judged:
        others = [solid for other, solid in solids.items() if other != name]
        mine = solids[name]
        wanted = _wanted(verdict, parts[name], panel)
        if mine is None or ground is None or any(solid is None for solid in others):
            moving.append(Moving(name, parts[name], verdict, 0.0, wanted, wanted, swept=False))
            continue
        rest = Manifold.batch_boolean([ground, *(s for s in others if s is not None)], OpType.Add)
        reach = [(clear_range(mine, rest, v.joint, v.axis, v.origin, wanted), -k, v) for k, v in enumerate(
            opened_hinges(verdict, panel)
        )]  # fmt: skip
        if (shared := (mine ^ rest).volume()) > OVERLAP_M3:
            inside.append(f"{name}: {1e6 * shared:.1f} cm3 of it stands inside its neighbours when closed")
        upper, _, best = max(reach, key=lambda item: (round(item[0] / wanted, 2), item[1]))
        if upper < LEAST_SHARE * wanted:
            stuck.append((name, upper / wanted))
        moving.append(Moving(name, parts[name], best, 0.0, upper, wanted, swept=True))
    return moving, stuck, inside


def _wanted(verdict: Verdict, part: Textured, panel: Panel) -> float:
    """The usual range; of a drawer the share of the box that it was given."""
    if verdict.kind != "drawer":
        return verdict.upper
    depth = float(np.ptp(part.vertices @ panel.frame[2]))
    proud = max((handle.proud for handle in panel.handles), default=0.0)
    return OPENINGS["drawer"].limits[1] * (depth - proud)
