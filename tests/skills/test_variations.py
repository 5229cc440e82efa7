"""Laws of variation: drawn from a seed alone, inside its ranges, wider from level to level, none at `none`."""

from __future__ import annotations

import numpy as np

from blueprint.model.variation import TEXTURES, Look
from blueprint.skills.variations import draw_look

BODIES, CAMERAS = ("world", "cup", "box"), ("scene", "wrist")


def look(level: str, seed: int) -> Look:
    return draw_look(np.random.default_rng(seed), level, BODIES, CAMERAS)  # type: ignore[arg-type]


def test_none_is_the_scene_as_captured() -> None:
    assert look("none", 1) == Look()


def test_a_look_is_a_function_of_its_seed_and_survives_being_written_down() -> None:
    assert look("high", 5) == look("high", 5) != look("high", 6)
    assert Look.model_validate_json(look("high", 5).model_dump_json()) == look("high", 5)


def test_looks_stay_inside_their_ranges() -> None:
    for seed in range(100):
        drawn = look("high", seed)
        assert 0.5 <= drawn.ambient <= 1.5
        assert drawn.lamps[0].direction[2] < -0.4, "the key light shines down"
        assert all(min(lamp.color) > 0 for lamp in drawn.lamps)
        assert set(drawn.tints) == set(BODIES)
        assert set(drawn.textures.values()) <= set(TEXTURES)
        for name in CAMERAS:
            assert np.abs(drawn.cameras[name].translation).max() <= 0.015
            assert np.abs(drawn.cameras[name].rotation).max() <= np.deg2rad(2)


def test_a_higher_level_varies_more() -> None:
    spread = [np.std([look(level, seed).ambient for seed in range(200)]) for level in ("low", "medium", "high")]
    assert 0 < spread[0] < 0.7 * spread[1] < 0.7 * spread[2]
    tables = [sum("world" in look(level, s).textures for s in range(100)) for level in ("low", "medium", "high")]
    assert tables[0] < tables[1] < tables[2]


def test_objects_keep_their_textures_below_the_highest_level() -> None:
    """An instruction names them by what they look like."""
    assert all(set(look("medium", seed).textures) <= {"world"} for seed in range(50))
    assert any(set(look("high", seed).textures) - {"world"} for seed in range(50))
