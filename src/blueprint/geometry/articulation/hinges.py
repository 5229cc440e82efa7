"""Which joint a panel hangs on, where, and how far it opens."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from manifold3d import Manifold

from blueprint.geometry.articulation.panels import Panel
from blueprint.geometry.transforms import Array
from blueprint.model.categories import OPENINGS, Category, Opening

Kind = Literal["door", "flap", "lid", "drawer", "slide"]
SIDE: tuple[Kind, ...] = ("door", "drawer")  # what a panel on a side may be when nothing is known
OVERLAP_M3 = 5e-8  # more than this is a collision: a 0.5 mm deep, 1 mm wide line of 10 cm
STEPS = 14  # openings looked at


@dataclass(frozen=True)
class Verdict:
    """What a panel is. axis, origin in the object frame; upper: [rad] or [m]; hinges: other places of the axis to try

    confidence: of type and axis together; evidence: strongest first; ambiguity: what speaks against, or ""
    """

    kind: Kind
    joint: Literal["revolute", "prismatic"]
    axis: Array
    origin: Array
    upper: float
    confidence: float
    evidence: tuple[str, ...]
    ambiguity: str = ""
    source: Literal["category", "geometry", "model", "user"] = "geometry"


def judge(panel: Panel, side: list[Panel], category: Category | None, sureness: float) -> Verdict:
    """What `panel` is, among the panels of its side. sureness: of the category."""
    allowed = _allowed(panel, category)
    ranking: list[tuple[float, Kind]] = sorted(
        ((_fit(kind, panel, category), kind) for kind in allowed or _usual(panel)), reverse=True
    )
    kind: Kind = ranking[0][1]
    margin = ranking[0][0] - ranking[1][0] if len(ranking) > 1 else 2.0
    evidence, confidence = _belief(panel, category, sureness, bool(allowed), kind)
    doubt = ""
    if margin < 1.0:
        confidence *= 0.7 + 0.3 * max(margin, 0.0)
        doubt = f"it may be a {ranking[1][1]} as well"
    if any(other.handles for other in side) and not panel.handles:
        confidence *= 0.6
        doubt = "its neighbours have handles and it has none"
    line = (panel.frame[2], np.zeros(3))
    if OPENINGS[kind].joint == "revolute":
        inward, why, sure = _hinge(panel, side, kind)
        line = hinge_line(panel, inward, outer=kind != "lid")
        confidence *= sure
        evidence.append(why)
        if sure < 0.9:
            doubt = why
    source = "category" if allowed and category is not None and category.moves else "geometry"
    made = _placed(kind, panel, line)
    return replace(made, confidence=min(confidence, 0.98), evidence=tuple(evidence), ambiguity=doubt, source=source)


def revised(
    verdict: Verdict, panel: Panel, kind: str, hinge: str, sureness: float, source: Literal["model", "user"]
) -> Verdict:
    """The verdict after somebody has said what the panel is. hinge: left, right, top, bottom of it, or "" = as judged.

    Two witnesses that agree are surer than either; where they differ, the surer one is followed and the doubt kept.
    """
    inward = {"left": (1.0, 0.0), "right": (-1.0, 0.0), "bottom": (0.0, 1.0), "top": (0.0, -1.0)}.get(hinge)
    line = None if inward is None else hinge_line(panel, np.array(inward), outer=kind != "lid")
    agrees = kind == verdict.kind and (line is None or bool(np.allclose(line[0], verdict.axis, atol=1e-6)))
    said = f"{source}: {kind}" + (f", hinge {hinge}" if hinge else "")
    if agrees:
        both = 1 - (1 - verdict.confidence) * (1 - sureness)
        return replace(verdict, confidence=min(both, 1.0), evidence=(said, *verdict.evidence), source=source)
    if kind not in OPENINGS:
        return replace(verdict, confidence=verdict.confidence * (1 - sureness), ambiguity=f"but {said}")
    if sureness <= verdict.confidence:
        return replace(verdict, confidence=0.7 * verdict.confidence, ambiguity=f"but {said}")
    kept: Kind = kind  # pyright: ignore[reportAssignmentType] - one of OPENINGS
    made = _placed(kept, panel, line or hinge_line(panel, np.array([1.0, 0.0]), outer=kind != "lid"))
    sure = sureness if OPENINGS[kind].joint == "prismatic" or line is not None else 0.6 * sureness
    return replace(made, confidence=sure, evidence=(said,), source=source)


def _placed(kind: Kind, panel: Panel, line: tuple[Array, Array]) -> Verdict:
    """A joint of that kind; line: axis and origin of a hinge."""
    opening = OPENINGS[kind]
    axis, origin = line
    if opening.joint == "prismatic":
        axis, origin = panel.frame[2], _point(panel, *panel.center, panel.front)
    if kind == "slide":
        axis = (-1.0 if _offset(panel)[0] > 0 else 1.0) * panel.frame[0]
    return Verdict(kind, opening.joint, axis, origin, _upper(opening, panel), 0.0, ())


def opened_hinges(verdict: Verdict, panel: Panel) -> tuple[Verdict, ...]:
    """The verdict, then other places its axis may have: the slab's other corner; a sliding leaf's other way."""
    if verdict.kind == "slide":
        return verdict, replace(verdict, axis=-verdict.axis)
    if verdict.joint == "prismatic":
        return (verdict,)
    out = panel.frame[2]
    at = float(verdict.origin @ out)
    other = panel.back if abs(at - panel.front) < 1e-6 else panel.front
    return verdict, replace(verdict, origin=verdict.origin + (other - at) * out)


def _upper(opening: Opening, panel: Panel) -> float:
    """[rad], or the usual share of the part's own extent along its way [m]."""
    if opening.joint == "revolute":
        return opening.limits[1]
    extent = panel.size[0] if opening.part == "slide" else panel.front - panel.reach
    return opening.limits[1] * extent


def hinge_line(panel: Panel, inward: Array, *, outer: bool) -> tuple[Array, Array]:
    """Axis and a point of it, for a hinge on the edge from which `inward` (2,) points to the panel's middle.

    Turning by a positive angle opens. outer: at the front corner, so that the slab's own edge leaves the frame freely.
    """
    half = np.array(panel.size) / 2
    x, y = np.array(panel.center) - inward * half
    axis = np.cross([inward[0], inward[1], 0.0], [0.0, 0.0, 1.0]) @ panel.frame
    return axis, _point(panel, x, y, panel.front if outer else panel.back)


def _point(panel: Panel, x: float, y: float, z: float) -> Array:
    return np.array([x, y, z]) @ panel.frame


# ------------------------------------------------------------------ what it is


def _allowed(panel: Panel, category: Category | None) -> tuple[Kind, ...]:
    """Kinds that the category knows, for a panel on this side; none: it knows nothing that would fit."""
    if category is None:
        return ()
    names = {"tray": "drawer", "screen": "lid"}
    known = {names.get(opening.part, opening.part) for opening in category.moves}
    fitting: tuple[Kind, ...] = ("lid",) if panel.on_top else ("door", "drawer", "flap", "slide")
    return tuple(kind for kind in fitting if kind in known)


def _usual(panel: Panel) -> tuple[Kind, ...]:
    return ("lid",) if panel.on_top else SIDE


def _offset(panel: Panel) -> tuple[float, float]:
    """Where the handles are on the panel, -1..1 from edge to edge."""
    if not panel.handles:
        return 0.0, 0.0
    middle = np.mean([handle.center for handle in panel.handles], axis=0) - np.array(panel.center)
    u, v = 2 * middle / np.array(panel.size)
    return float(u), float(v)


def _fit(kind: Kind, panel: Panel, category: Category | None) -> float:
    """How well a panel looks like a kind; differences of one and more decide."""
    width, height = panel.size
    u, v = _offset(panel)
    bar = float(np.mean([handle.upright for handle in panel.handles])) if panel.handles else 0.0
    wide = float(np.clip(np.log(width / height), -1, 1))
    if kind in ("lid", "slide"):
        return 0.5
    if kind == "drawer":
        score = 1.2 * wide + (3.0 if panel.boxed else 0.0) - 0.5 * float(np.clip(bar, -1, 1))
        return score + (1.2 if panel.handles and abs(u) < 0.25 else -2.0 if abs(u) > 0.5 else 0.0)
    if kind == "door":
        score = -1.2 * wide - (3.0 if panel.boxed else 0.0) + 0.5 * float(np.clip(bar, -1, 1))
        return score + (2.0 if abs(u) > 0.45 else -1.2 if panel.handles and abs(u) < 0.25 else 0.0)
    return (2.0 if panel.handles and abs(u) < 0.3 and v > 0.4 else -1.0) - (3.0 if panel.boxed else 0.0) + 0.3 * height


def _belief(
    panel: Panel, category: Category | None, sureness: float, allowed: bool, kind: Kind
) -> tuple[list[str], float]:
    """Evidence, strongest first, and how much it is worth before type and hinge are weighed."""
    evidence, value = [], 0.3
    if category is not None and allowed:
        evidence.append(f"category: a {category.key} has a {kind}")
        value += 0.35 * sureness
    if panel.handles:
        evidence.append(f"handle {1000 * panel.handles[0].proud:.0f} mm proud of the front")
        value += 0.3
    if panel.gap:
        evidence.append(f"groove of {1000 * panel.gap:.0f} mm around it")
        value += 0.2
    elif panel.pieces:
        evidence.append("a piece of its own")
        value += 0.1
    if panel.boxed:
        evidence.append("a box hangs behind the front")
        value += 0.15
    if category is not None and not allowed:
        value *= 0.4  # the thing is known, and nothing of it opens there
    return evidence, value


# ------------------------------------------------------------------ where it hangs


def _hinge(panel: Panel, side: list[Panel], kind: Kind) -> tuple[Array, str, float]:
    """Direction (2,) from the hinge to the middle, why, and how sure."""
    u, v = _offset(panel)
    if kind == "lid":
        along = 0 if abs(u) * panel.size[0] > abs(v) * panel.size[1] else 1
        offset = (u, v)[along]
        if abs(offset) > 0.4:
            inward = np.zeros(2)
            inward[along] = np.sign(offset)
            return inward, "hinge opposite to the handle", 1.0
        short = int(np.argmin(panel.size))
        inward = np.zeros(2)
        inward[short] = 1.0
        return inward, "no handle tells the hinge's side; a long edge was taken", 0.6
    if kind == "flap":
        up = np.array([0.0, 1.0 if v >= 0 else -1.0])
        return (up, "hinge opposite to the handle", 1.0) if abs(v) > 0.3 else (up, "hinge below, as is usual", 0.85)
    if panel.handles and abs(u) > 0.25:
        return np.array([np.sign(u), 0.0]), "hinge opposite to the handle", 1.0
    partner = _partner(panel, side)
    if partner is not None:
        toward = np.sign(partner.center[0] - panel.center[0])
        return np.array([toward, 0.0]), "hinge on the outer side of a pair of doors", 0.95
    return np.array([1.0, 0.0]), "nothing tells the hinge's side; the left was taken", 0.6


def _partner(panel: Panel, side: list[Panel]) -> Panel | None:
    """The one panel of like size beside it."""
    beside = []
    for other in side:
        level = abs(other.center[1] - panel.center[1]) < 0.1 * panel.size[1]
        like = np.allclose(other.size, panel.size, rtol=0.15)
        close = abs(other.center[0] - panel.center[0]) < 1.2 * panel.size[0]
        if other is not panel and level and like and close:
            beside.append(other)
    return beside[0] if len(beside) == 1 else None


# ------------------------------------------------------------------ how far


def moved(solid: Manifold, joint: str, axis: Array, origin: Array, value: float) -> Manifold:
    """The part at a joint value [rad] or [m], everything in the object frame."""
    if joint == "prismatic":
        return solid.translate(tuple((axis * value).tolist()))
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    rotation = np.eye(3) + np.sin(value) * cross + (1 - np.cos(value)) * cross @ cross
    return solid.transform(np.column_stack([rotation, origin - rotation @ origin]))


def clear_range(part: Manifold, rest: Manifold, joint: str, axis: Array, origin: Array, upper: float) -> float:
    """How far the part opens towards `upper` without entering `rest`, beyond what it already overlaps at 0."""
    closed = (part ^ rest).volume()
    bound = 1.02 * closed + OVERLAP_M3

    def free(value: float) -> bool:
        return (moved(part, joint, axis, origin, value) ^ rest).volume() <= bound

    good = 0.0
    for value in np.linspace(0, upper, STEPS + 1)[1:]:
        if not free(float(value)):
            break
        good = float(value)
    else:
        return upper
    bad = good + upper / STEPS
    for _ in range(6):
        middle = (good + bad) / 2
        good, bad = (middle, bad) if free(middle) else (good, middle)
    return good
