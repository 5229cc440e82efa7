"""Drawings of the report as inline SVG: the table from above, and bars. Colours come from the page's style sheet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from blueprint.model.quality import Diversity
from blueprint.model.scene import Support
from blueprint.model.spatial import Vec2

PIXELS_PER_METRE = 1000.0


@dataclass(frozen=True)
class Move:
    """Where an episode's object started and ended. xy [m], world frame; end None = no final state kept."""

    object: str
    color: str
    start: Vec2
    end: Vec2 | None
    success: bool


@dataclass(frozen=True)
class Region:
    """A goal circle on the table. center [m], radius [m]."""

    center: Vec2
    radius: float


@dataclass(frozen=True)
class Footprint:
    """Where an object stood in the capture. corners: xy [m], world frame."""

    name: str
    color: str
    corners: tuple[Vec2, ...]


def table_map(
    support: Support,
    texture: str | None,
    base: Vec2,
    footprints: Sequence[Footprint],
    moves: Sequence[Move],
    regions: Sequence[Region],
) -> str:
    """The table from above, y up: texture, captured objects, goal regions, the robot's base, and a line per episode."""

    def at(point: Vec2) -> tuple[float, float]:
        return PIXELS_PER_METRE * point[0], -PIXELS_PER_METRE * point[1]

    points = [*support.polygon, base, *(m.start for m in moves), *(m.end for m in moves if m.end)]
    xs, ys = zip(*(at(point) for point in points), strict=True)
    left, top = min(xs) - 70, min(ys) - 70
    width, height = max(xs) + 70 - left, max(ys) + 70 - top
    outline = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(at, support.polygon))
    parts = [
        f'<svg class="map" viewBox="{left:.0f} {top:.0f} {width:.0f} {height:.0f}" role="img" '
        'aria-label="the table from above with the start and end of every episode">',
        f'<clipPath id="table"><polygon points="{outline}"/></clipPath>',
        f'<polygon class="slab" points="{outline}"/>',
    ]
    if texture is not None:
        x_min, y_min, x_max, y_max = (PIXELS_PER_METRE * bound for bound in support.texture_bounds)
        parts.append(
            f'<image href="{escape(texture)}" x="{x_min:.1f}" y="{-y_max:.1f}" width="{x_max - x_min:.1f}" '
            f'height="{y_max - y_min:.1f}" preserveAspectRatio="none" clip-path="url(#table)" opacity=".55"/>'
        )
    for region in regions:
        x, y = at(region.center)
        parts.append(f'<circle class="region" cx="{x:.1f}" cy="{y:.1f}" r="{PIXELS_PER_METRE * region.radius:.1f}"/>')
    for footprint in footprints:
        corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(at, footprint.corners))
        title = f"<title>{escape(footprint.name)}, as captured</title>"
        parts.append(f'<polygon class="footprint" style="--c:{footprint.color}" points="{corners}">{title}</polygon>')
    parts += [_move(move, at(move.start), at(move.end) if move.end else None) for move in moves]
    x, y = at(base)
    parts.append(f'<g class="base" transform="translate({x:.1f} {y:.1f})"><circle r="58"/><circle r="30"/></g>')
    parts.append(f'<text class="label" x="{x:.1f}" y="{y + 92:.1f}">robot</text>')
    parts.append(_scale(left + 40, top + height - 36))
    return "".join(parts) + "</svg>"


def _move(move: Move, start: tuple[float, float], end: tuple[float, float] | None) -> str:
    """A dot at the start, a line, a ring at the end; a cross where the episode failed."""
    x, y = start
    style = f'style="--c:{move.color}"'
    title = f"<title>{escape(move.object)}{'' if move.success else ' (failed)'}</title>"
    if not move.success:
        cross = f"M{x - 8:.1f} {y - 8:.1f}l16 16m0 -16l-16 16"
        return f'<g class="move failed" {style}>{title}<path d="{cross}"/></g>'
    line = ring = ""
    if end is not None:
        line = f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}"/>'
        ring = f'<circle class="end" cx="{end[0]:.1f}" cy="{end[1]:.1f}" r="9"/>'
    return f'<g class="move" {style}>{title}{line}<circle class="start" cx="{x:.1f}" cy="{y:.1f}" r="8"/>{ring}</g>'


def _scale(x: float, y: float) -> str:
    """A bar of 10 cm."""
    bar = f'<path class="scale" d="M{x:.0f} {y - 8:.0f}v8h{PIXELS_PER_METRE / 10:.0f}v-8"/>'
    return bar + f'<text class="label" x="{x + PIXELS_PER_METRE / 20:.0f}" y="{y - 12:.0f}">10 cm</text>'


def coverage(polygon: Sequence[Vec2], found: Diversity) -> str:
    """The table from above in cells: where things started, where they ended, both, and what nothing reached.

    polygon: outline of the table [m]
    """
    side = PIXELS_PER_METRE * found.cell_m
    both = set(found.start_cells) & set(found.goal_cells)
    kinds = {
        "empty": set(found.empty_cells),
        "start": set(found.start_cells) - both,
        "goal": set(found.goal_cells) - both,
        "both": both,
    }
    cells = [cell for some in kinds.values() for cell in some]
    xs = [PIXELS_PER_METRE * x for x, _ in (*polygon, *cells)]
    ys = [-PIXELS_PER_METRE * y for _, y in (*polygon, *cells)]
    left, top, right, bottom = min(xs) - 40, min(ys) - 40, max(xs) + 40, max(ys) + 40
    outline = " ".join(f"{PIXELS_PER_METRE * x:.1f},{-PIXELS_PER_METRE * y:.1f}" for x, y in polygon)
    squares = "".join(
        f'<rect class="{kind}" x="{PIXELS_PER_METRE * x - side / 2 + 2:.1f}" width="{side - 4:.1f}" rx="8" '
        f'y="{-PIXELS_PER_METRE * y - side / 2 + 2:.1f}" height="{side - 4:.1f}"/>'
        for kind, some in kinds.items()
        for x, y in sorted(some)
    )
    return (
        f'<svg class="map coverage" viewBox="{left:.0f} {top:.0f} {right - left:.0f} {bottom - top:.0f}" role="img" '
        'aria-label="cells of the table that episodes reached">'
        f'<polygon class="slab" points="{outline}"/>{squares}</svg>'
    )


@dataclass(frozen=True)
class Bar:
    """share: 0 to 1; text: what stands behind it; color: empty = the page's accent."""

    label: str
    share: float
    text: str
    color: str = ""


def bars(rows: Sequence[Bar]) -> str:
    """Horizontal bars as HTML."""
    found = []
    for row in rows:
        style = (f"--c:{row.color};" if row.color else "") + f"width:{100 * row.share:.1f}%"
        found.append(
            f'<div class="bar"><span>{escape(row.label)}</span><i><b style="{style}"></b></i>'
            f"<em>{escape(row.text)}</em></div>"
        )
    return f'<div class="bars">{"".join(found)}</div>'


def histogram(values: Sequence[float], unit: str, count: int = 14) -> str:
    """Columns of equal width over the range of the values; empty for no values."""
    if not values:
        return ""
    low, high = min(values), max(values)
    width = (high - low) / count or 1.0
    heights = [0] * count
    for value in values:
        heights[min(int((value - low) / width), count - 1)] += 1
    tallest = max(heights)
    columns = "".join(
        f'<rect x="{20 * k + 2}" y="{100 - 92 * h / tallest:.1f}" width="16" height="{92 * h / tallest:.1f}" rx="3">'
        f"<title>{low + k * width:.1f} to {low + (k + 1) * width:.1f} {escape(unit)}: {h}</title></rect>"
        for k, h in enumerate(heights)
    )
    ends = f'<text x="2" y="118">{low:.1f} {escape(unit)}</text>'
    ends += f'<text x="{20 * count - 2}" y="118" text-anchor="end">{high:.1f} {escape(unit)}</text>'
    return (
        f'<svg class="histogram" viewBox="0 0 {20 * count} 124" role="img" aria-label="histogram">{columns}{ends}</svg>'
    )
