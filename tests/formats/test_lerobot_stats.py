"""Statistics agree with numpy on the raw values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blueprint.formats.lerobot.stats import (
    QUANTILES,
    ColorCounter,
    exact_quantiles,
    faults,
    merge,
    of_values,
    sampled_frames,
)


def reference(values: np.ndarray) -> dict[str, np.ndarray]:
    """Over the rows of values (N, D)."""
    stats = {"min": values.min(0), "max": values.max(0), "mean": values.mean(0), "std": values.std(0)}
    return stats | {name: np.quantile(values, q, axis=0) for name, q in QUANTILES.items()}


@given(seed=st.integers(0, 2**32 - 1), frames=st.integers(1, 4), height=st.integers(1, 9), width=st.integers(1, 9))
def test_colours_counted_equal_numpy_on_the_pixels(seed: int, frames: int, height: int, width: int) -> None:
    pictures = np.random.default_rng(seed).integers(0, 256, (frames, height, width, 3), dtype=np.uint8)
    counter = ColorCounter()
    for picture in pictures:
        counter.add(picture)
    stats = counter.stats()
    assert stats["count"] == frames
    for name, expected in reference(pictures.reshape(-1, 3) / 255.0).items():
        np.testing.assert_allclose(stats[name], expected, atol=1e-12, err_msg=name)
    assert not list(
        faults({k: v.reshape(-1, 1, 1) if k != "count" else v for k, v in stats.items()}, (3, 1, 1), image=True)
    )


def test_large_pictures_are_thinned_to_every_nth_pixel() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    counter = ColorCounter()
    counter.add(picture)
    expected = (picture[::4, ::4].reshape(-1, 3) / 255.0).mean(0)
    np.testing.assert_allclose(counter.stats()["mean"], expected)


def test_merging_is_exact_but_for_quantiles() -> None:
    rng = np.random.default_rng(1)
    parts = [rng.normal(i, 1 + i, (n, 3)) for i, n in enumerate((5, 40, 11))]
    merged, whole = merge([of_values(part) for part in parts]), of_values(np.concatenate(parts))
    for name in ("min", "max", "mean", "std", "count"):
        np.testing.assert_allclose(merged[name], whole[name], err_msg=name)
    assert not list(faults(merged, (3,), image=False))


@pytest.mark.parametrize(("frames", "wanted"), [(1, 1), (99, 99), (400, 100), (1000, 177), (5000, 594)])
def test_as_many_frames_are_sampled_as_lerobot_documents(frames: int, wanted: int) -> None:
    indices = sampled_frames(frames)
    assert len(indices) == wanted
    assert indices[0] == 0 and indices[-1] == frames - 1


@given(
    seed=st.integers(0, 2**32 - 1),
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=5),
    kind=st.sampled_from(["float32", "int64", "few"]),
)
def test_quantiles_ranked_part_by_part_equal_numpy_on_all(seed: int, lengths: list[int], kind: str) -> None:
    rng = np.random.default_rng(seed)
    draw = {
        "float32": lambda n: rng.normal(0, 10.0 ** rng.integers(-3, 4), (n, 2)).astype(np.float32),
        "int64": lambda n: rng.integers(-(2**40), 2**40, (n, 2)),
        "few": lambda n: rng.integers(-1, 2, (n, 2)).astype(np.float32),  # many equal values, and zero
    }[kind]
    parts = [draw(n) for n in lengths]
    found, whole = exact_quantiles(lambda: iter(parts)), np.concatenate(parts).astype(np.float64)
    for name, q in QUANTILES.items():
        np.testing.assert_allclose(found[name], np.quantile(whole, q, axis=0), rtol=1e-12, err_msg=name)
