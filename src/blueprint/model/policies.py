"""The policies of the earlier system, as families of tasks. `tasks.policy` names a row; docs/episodes.md shows them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from blueprint.model.task import Family


@dataclass(frozen=True)
class Policy:
    """slides: whether the joints that its tasks move slide or turn; None = either."""

    families: tuple[Family, ...]
    slides: bool | None = None


POLICIES: dict[str, Policy] = {
    "dexterous_pick_place": Policy(("lift", "place_region", "place_beside", "place_on", "place_into")),
    "articulated_access": Policy(("open", "close")),
    "drawer_manipulation": Policy(("open", "close"), slides=True),
    "door_manipulation": Policy(("open", "close"), slides=False),
    "dish_loading": Policy(("place_into", "stack", "open", "close", "chain")),
    "table_clearing": Policy(("sort", "rearrange", "place_into")),
    "laundry_sorting": Policy(("sort",)),
    "mixed_sku_logistics": Policy(("sort", "place_into", "place_on", "stack")),
    "grocery_stocking": Policy(("place_on", "place_beside", "rearrange")),
    "knob_manipulation": Policy(("turn",)),
    "precision_insertion": Policy(("insert",)),
    "general_manipulation": Policy(get_args(Family)),
    "panel_interaction": Policy(("press", "turn")),
    "pallet_handling": Policy(("stack", "carry")),
}
