"""What bends: which words name deformable things, and how stiff they are, with sources.

Values are effective, for coarse simulation meshes: a woven cloth has no single Young's modulus, and a real one in MPa
would need time steps far below a simulator's. They keep shapes and drape plausible, not stresses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from blueprint.model.categories import named_category

Softness = Literal["rope", "cloth", "volume"]


@dataclass(frozen=True)
class Soft:
    """young [Pa], poisson, damping [s]: of the elastic material; thickness [m]: of cloth, or the rope's diameter,
    0 = as measured; areal [kg/m^2], linear [kg/m^3]: mass of cloth per area, of rope and volumes per volume"""

    kind: Softness
    young: float
    poisson: float
    damping: float
    thickness: float
    density: float
    source: str


SOFT_KINDS = {
    "cloth": Soft(
        "cloth", 3e4, 0.3, 0.05, 0.002, 0.3, "assumed: cotton of 0.3 kg/m^2, 2 mm thick; bends, hardly stretches"
    ),
    "rope": Soft("rope", 1e5, 0.3, 0.05, 0.0, 600.0, "assumed: laid fibre, 600 kg/m^3; hardly stretches"),
    "volume": Soft("volume", 2e4, 0.3, 0.02, 0.0, 60.0, "assumed: filling of 20 kPa, as a cushion or a soft pouch"),
}

WORDS: dict[Softness, tuple[str, ...]] = {
    "cloth": ("towel", "cloth", "napkin", "rag", "blanket", "shirt", "curtain", "handkerchief", "scarf", "tablecloth"),
    "rope": ("rope", "string", "shoelace", "lanyard"),
    "volume": ("pillow", "cushion", "plush", "beanbag", "teddy", "pouch"),
}


def softness_of(text: str, category: str = "") -> Softness | None:
    """How the named thing deforms, or None for a rigid one. The category speaks first, then the words of its name."""
    known = named_category(category)
    if known is not None:
        return None if known.soft == "none" else known.soft
    words = set(text.lower().replace("_", " ").replace("-", " ").split())
    return next((kind for kind, names in WORDS.items() if any(n in words or f"{n}s" in words for n in names)), None)
