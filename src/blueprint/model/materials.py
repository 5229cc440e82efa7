"""What things are made of, judged by the words of their names: density, friction and restitution with their sources.

Densities are effective: mass over the volume that the outer surface encloses, air and contents included, because that
is what a reconstruction measures. Where a row names the YCB set, it is the mass over the volume of the published
dimensions (Calli et al., "Benchmarking in Manipulation Research", IEEE RAM 2015, object table).
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from blueprint.core.artifact import Model
from blueprint.model.categories import named_category

YCB = "YCB object set (Calli et al. 2015)"


@dataclass(frozen=True)
class Material:
    """density [kg/m^3], sliding friction coefficient against a hard dry surface, restitution coefficient.

    areal: `density` is kg per m^2 of the convex hull's surface instead. For open vessels: their walls are thinner than
    what can be reconstructed, and their inside is often not seen, so their volume says little.
    walls: density of what a hollow thing is made of, for meshes that show its walls instead of its outline; else None
    """

    name: str
    density: float
    density_source: str
    friction: float
    restitution: float
    surface_source: str
    areal: bool = False
    walls: float | None = None


class MaterialEstimate(Model):
    """What a model answered. material: a name of this table, or anything else for `none of these`; cost_usd: by the
    price list the backend names"""

    material: str
    confidence: float = Field(ge=0, le=1)
    reason: str = ""
    model: str = ""
    tokens_in: int = 0
    tokens_out: int = 0
    cost_usd: float = 0.0


PAPERBOARD = (0.45, 0.2, "assumed: dry paperboard on a hard surface, middle of the usual 0.3..0.6")
METAL = (0.4, 0.25, "assumed: painted sheet metal on a hard surface, middle of the usual 0.3..0.5")
PLASTIC = (0.4, 0.3, "assumed: smooth hard plastic on a hard surface, middle of the usual 0.3..0.5")
CERAMIC = (0.45, 0.2, "assumed: glazed ceramic on a hard surface, middle of the usual 0.3..0.6")
WOOD = (0.45, 0.3, "assumed: dry wood on wood, middle of the usual 0.25..0.6")
SOFT = (0.7, 0.1, "assumed: soft or rubbery surface, middle of the usual 0.5..0.9")
OTHER = (0.5, 0.2, "assumed: unknown dry surface")


def _material(
    name: str,
    density: float,
    density_source: str,
    surface: tuple[float, float, str],
    *,
    areal: bool = False,
    walls: float | None = None,
) -> Material:
    return Material(name, density, density_source, *surface, areal, walls)


FURNITURE = _material(
    "hollow furniture", 130, "assumed: 18 mm boards about air, e.g. 40 kg in 0.8x0.5x0.8 m", WOOD, walls=650
)
APPLIANCE = _material(
    "appliance", 160, "assumed: sheet metal about air and machinery, e.g. 60 kg in 0.6x0.6x1.0 m", METAL, walls=1200
)
CLOTH = _material("cloth", 250, "assumed: folded cotton, 0.3 kg/m^2 a layer", SOFT)
ROPE = _material("rope", 600, "assumed: laid fibre, two thirds of solid nylon", SOFT)
CUSHION = _material("cushion", 60, "assumed: fibre filling and cover", SOFT)
STEEL = _material("steel", 7800, "solid steel", METAL)
ALUMINIUM = _material("aluminium", 2700, "solid aluminium", METAL)
GLASS = _material("glass", 2500, "solid soda-lime glass", CERAMIC)
SOLID_PLASTIC = _material("plastic", 1050, "solid ABS", PLASTIC)
RUBBER = _material("rubber", 1150, "solid rubber", SOFT)
STONE = _material("stone", 2400, "solid stone or concrete", CERAMIC)
SOLID_CERAMIC = _material("ceramic", 2300, "solid stoneware", CERAMIC)
PLANT = _material("plant", 250, "assumed: a pot of soil below leaves and air", SOFT)


# (words that must all occur, material): the first row that fits is taken, so special rows stand before general ones
TABLE: tuple[tuple[tuple[str, ...], Material], ...] = (
    (("cracker",), _material("light boxed food", 206, f"{YCB}: cracker box 0.411 kg, 60x158x210 mm", PAPERBOARD)),
    (("cheezit",), _material("light boxed food", 206, f"{YCB}: cracker box 0.411 kg, 60x158x210 mm", PAPERBOARD)),
    (("cereal",), _material("light boxed food", 206, f"as crackers; {YCB}: 0.411 kg, 60x158x210 mm", PAPERBOARD)),
    (("sugar",), _material("boxed powder", 868, f"{YCB}: sugar box 0.514 kg, 38x89x175 mm", PAPERBOARD)),
    (("pudding",), _material("boxed powder", 546, f"{YCB}: pudding box 0.187 kg, 35x110x89 mm", PAPERBOARD)),
    (("gelatin",), _material("boxed powder", 558, f"{YCB}: gelatin box 0.097 kg, 28x85x73 mm", PAPERBOARD)),
    (("coffee",), _material("canned powder", 364, f"{YCB}: coffee can 0.414 kg, 102x139 mm", METAL)),
    (("chef",), _material("canned powder", 364, f"{YCB}: coffee can 0.414 kg, 102x139 mm", METAL)),
    (("chips",), _material("canned snack", 186, f"{YCB}: chips can 0.205 kg, 75x250 mm", METAL)),
    (("pringles",), _material("canned snack", 186, f"{YCB}: chips can 0.205 kg, 75x250 mm", METAL)),
    (("tuna",), _material("canned food", 913, f"{YCB}: tuna can 0.171 kg, 85x33 mm", METAL)),
    (("soup",), _material("canned food", 1010, f"{YCB}: tomato soup can 0.349 kg, 66x101 mm", METAL)),
    (("meat", "can"), _material("canned food", 930, f"{YCB}: potted meat can 0.370 kg, 50x97x82 mm", METAL)),
    (("spam",), _material("canned food", 930, f"{YCB}: potted meat can 0.370 kg, 50x97x82 mm", METAL)),
    (("bleach",), _material("bottled liquid", 1000, "water-like content, full", PLASTIC)),
    (("cleanser",), _material("bottled liquid", 1000, "water-like content, full", PLASTIC)),
    (("mustard",), _material("bottled liquid", 1000, "water-like content, full", PLASTIC)),
    (("wood",), _material("wood", 504, f"{YCB}: wood block 0.729 kg, 85x85x200 mm", WOOD)),
    (("foam",), _material("foam", 149, f"{YCB}: foam brick 0.028 kg, 50x75x50 mm", SOFT)),
    (("sponge",), _material("foam", 149, f"as foam; {YCB}: 0.028 kg, 50x75x50 mm", SOFT)),
    (("drill",), _material("power tool", 1200, "assumed: motor and battery in a plastic shell", PLASTIC)),
    (("scissors",), _material("steel and plastic tool", 2500, "assumed: half steel by volume, gaps filled in", METAL)),
    (("clamp",), _material("plastic tool", 1100, "assumed: solid plastic, steel spring", PLASTIC)),
    (("hammer",), _material("steel and wood tool", 2500, "assumed: steel head, wooden handle", WOOD)),
    (("screwdriver",), _material("steel and plastic tool", 1800, "assumed: steel shaft, plastic handle", PLASTIC)),
    (("marker",), _material("pen", 700, "assumed: plastic tube, partly hollow", PLASTIC)),
    (("pen",), _material("pen", 700, "assumed: plastic tube, partly hollow", PLASTIC)),
    (("fork",), _material("cutlery", 3000, "assumed: steel, hollows filled in by the mesh", METAL)),
    (("spoon",), _material("cutlery", 3000, "assumed: steel, hollows filled in by the mesh", METAL)),
    (("knife",), _material("cutlery", 3000, "assumed: steel, hollows filled in by the mesh", METAL)),
    (("wrench",), _material("steel tool", 5000, "assumed: steel, hollows filled in by the mesh", METAL)),
    (("pliers",), _material("steel and plastic tool", 2500, "assumed: half steel by volume, gaps filled in", METAL)),
    (("monitor",), _material("light electronics", 300, "assumed: flat panel on a stand", PLASTIC)),
    (("keyboard",), _material("electronics", 800, "assumed: plastic shell with boards", PLASTIC)),
    (("mouse",), _material("electronics", 800, "assumed: plastic shell with boards", PLASTIC)),
    (("phone",), _material("electronics", 1500, "assumed: glass, battery and boards", PLASTIC)),
    (("laptop",), _material("electronics", 1200, "assumed: metal shell with battery", PLASTIC)),
    (("remote",), _material("electronics", 800, "assumed: plastic shell with boards", PLASTIC)),
    (("controller",), _material("electronics", 800, "assumed: plastic shell with boards", PLASTIC)),
    (("banana",), _material("fruit", 950, "assumed: fresh fruit, close to water", SOFT)),
    (("apple",), _material("fruit", 850, "assumed: fresh fruit with air spaces", SOFT)),
    (("fruit",), _material("fruit", 950, "assumed: fresh fruit, close to water", SOFT)),
    (("orange",), _material("fruit", 950, "assumed: fresh fruit, close to water", SOFT)),
    (("lemon",), _material("fruit", 950, "assumed: fresh fruit, close to water", SOFT)),
    (("pear",), _material("fruit", 950, "assumed: fresh fruit, close to water", SOFT)),
    (("peach",), _material("fruit", 950, "assumed: fresh fruit, close to water", SOFT)),
    (("plum",), _material("fruit", 950, "assumed: fresh fruit, close to water", SOFT)),
    (("strawberry",), _material("fruit", 900, "assumed: fresh fruit, close to water", SOFT)),
    (("tomato",), _material("fruit", 950, "assumed: fresh fruit, close to water", SOFT)),
    (("bread",), _material("bread", 300, "assumed: baked crumb", SOFT)),
    (("book",), _material("paper", 800, "assumed: stacked printing paper", PAPERBOARD)),
    (("mug",), _material("open vessel", 3.8, f"{YCB}: mug 0.118 kg, 80x82 mm", CERAMIC, areal=True)),
    (("cup",), _material("open vessel", 3.8, f"as a mug; {YCB}: 0.118 kg, 80x82 mm", CERAMIC, areal=True)),
    (("bowl",), _material("open vessel", 2.9, f"{YCB}: bowl 0.147 kg, 159x53 mm", CERAMIC, areal=True)),
    (("plate",), _material("open vessel", 2.5, f"{YCB}: plate 0.279 kg, 258x24 mm", CERAMIC, areal=True)),
    (("pitcher",), _material("open vessel", 1.8, f"{YCB}: pitcher 0.178 kg, 108x235 mm", PLASTIC, areal=True)),
    (("bottle",), _material("bottled liquid", 1000, "water-like content, full", PLASTIC)),
    (("jar",), _material("bottled liquid", 1000, "water-like content, full", PLASTIC)),
    (("can",), _material("canned food", 950, f"{YCB}: between tuna (913) and soup (1010)", METAL)),
    (("tin",), _material("canned food", 950, f"{YCB}: between tuna (913) and soup (1010)", METAL)),
    (("carton",), _material("bottled liquid", 1000, "water-like content, full", PAPERBOARD)),
    (("box",), _material("boxed goods", 500, f"{YCB}: between crackers (206) and sugar (868)", PAPERBOARD)),
    (("block",), _material("wood", 504, f"{YCB}: wood block 0.729 kg, 85x85x200 mm", WOOD)),
    *(
        ((word,), CLOTH)
        for word in ("towel", "cloth", "napkin", "rag", "blanket", "shirt", "curtain", "handkerchief", "scarf")
    ),
    *(((word,), ROPE) for word in ("rope", "cord", "string", "shoelace", "cable")),
    *(((word,), CUSHION) for word in ("pillow", "cushion", "plush", "beanbag", "teddy")),
    *(
        ((word,), FURNITURE)
        for word in (
            *("cabinet", "cupboard", "drawer", "dresser", "wardrobe", "armoire", "hutch", "sideboard", "nightstand"),
            *("bookcase", "bookshelf", "shelf", "chest", "desk", "chair", "bench", "stool", "sofa", "crate"),
        )
    ),
    *(
        ((word,), APPLIANCE)
        for word in (
            *("refrigerator", "fridge", "freezer", "oven", "microwave", "dishwasher", "washer", "dryer", "stove"),
            *("toaster", "printer", "incubator", "centrifuge"),
        )
    ),
    (("ball",), _material("hollow plastic", 250, "assumed: hollow ball", SOFT)),
    (("toy",), _material("hollow plastic", 400, "assumed: hollow plastic", PLASTIC)),
)

UNKNOWN = _material("unknown", 500, "assumed: no word of the object's text is in the table of materials", OTHER)

TABLE_TOP = _material("table top", 600, "assumed: wood-based panel", (0.3, 0.2, "assumed: smooth dry table top"))

ROLLING_FRICTION_M = (
    0.0002  # [m] hard cylinder on a hard surface: assumed, of the order of 0.1..0.5 mm; lets it come to rest
)
TORSIONAL_FRICTION_M = 0.005  # [m] MuJoCo's default: a contact patch of about 5 mm


EXTRA = (STEEL, ALUMINIUM, GLASS, SOLID_PLASTIC, RUBBER, STONE, SOLID_CERAMIC, PLANT)  # by name only


def material_of(text: str) -> tuple[Material, str]:
    """The first row whose words all occur in `text`, and why it was taken."""
    words = set(text.lower().replace("_", " ").replace("-", " ").split())
    for needed, material in TABLE:
        if all(_occurs(word, words) for word in needed):
            return material, f"rule: {' '.join(needed)!r} in {text!r}"
    return UNKNOWN, f"default: no rule for {text!r}"


def material_for(text: str, name: str, category: str) -> tuple[Material, str]:
    """What an object is made of: the row of its own words where there is one, since `cracker box` says more than
    `box`; else its category's material; else the default."""
    material, source = material_of(f"{text} {name}")
    known = named_category(category)
    by_category = named(known.material) if known is not None else None
    if material is UNKNOWN and by_category is not None:
        return by_category, f"category: {category}"
    return material, source


def named(name: str) -> Material | None:
    """The material of that name, or None."""
    return next((material for material in (*EXTRA, *(row[1] for row in TABLE)) if material.name == name), None)


def names() -> tuple[str, ...]:
    """Every material there is, each once."""
    return tuple(dict.fromkeys(material.name for material in (*(row[1] for row in TABLE), *EXTRA)))


def _occurs(word: str, words: set[str]) -> bool:
    """Whole words and plurals; a long word also inside a compound, as in `cheezit2`."""
    return word in words or f"{word}s" in words or (len(word) > 4 and any(word in other for other in words))
