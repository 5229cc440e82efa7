"""The small formats of data packs: what is written comes back, and other readers would agree on the bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from blueprint.formats.arrays import npz_stack
from blueprint.formats.exr import write_exr
from exr_reader import read_exr


@pytest.mark.parametrize("shape", [(1, 1, 3), (16, 5, 3), (37, 50, 3)])
def test_exr_pictures_come_back_in_half_precision(tmp_path: Path, shape: tuple[int, ...]) -> None:
    for name, picture in {
        "noise": np.random.default_rng(0).normal(size=shape),  # does not compress: stored as it is
        "smooth": np.linspace(-1, 1, np.prod(shape)).reshape(shape),
    }.items():
        write_exr(tmp_path / f"{name}.exr", picture)
        np.testing.assert_array_equal(read_exr(tmp_path / f"{name}.exr"), picture.astype(np.float16))


def test_a_stack_is_what_numpy_saves(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frames = [{"depth": rng.random((3, 4), np.float32), "label": rng.integers(0, 9, 2)} for _ in range(5)]
    for name in ("a.npz", "b.npz"):
        with npz_stack(tmp_path / name) as stack:
            for frame in frames:
                stack.add(frame)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as back:
        for name in frames[0]:
            np.testing.assert_array_equal(back[name], np.stack([frame[name] for frame in frames]))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npz", "b.npz"], "no scratch file is left"


def test_a_frame_unlike_the_first_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unlike"), npz_stack(tmp_path / "a.npz") as stack:
        stack.add({"x": np.zeros(2)})
        stack.add({"x": np.zeros(3)})
    assert not (tmp_path / "a.npz").exists()
