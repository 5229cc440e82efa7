"""Videos: equal frames give equal bytes, times lie on the grid, joining changes no pixel, lossless means lossless."""

from __future__ import annotations

from contextlib import closing
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from blueprint.core.errors import InputError, IntegrityError
from blueprint.formats.video.coding import (
    Codec,
    Joiner,
    color_writer,
    decode_color,
    decode_gray,
    gray_writer,
    probe,
)

SIZE = 64
FPS = 15
CODECS: tuple[Codec, ...] = ("h264", "av1")


def concatenate(parts: list[Path], out: Path, *, fps: int) -> list[int]:
    with closing(Joiner(out, fps)) as joiner:
        return [joiner.add(part) for part in parts]


def picture(seed: int, frame: int) -> NDArray[np.uint8]:
    """Coarse coloured tiles with a square that moves."""
    tiles = np.random.default_rng(seed).integers(30, 225, (4, 4, 3), dtype=np.uint8)
    out = tiles.repeat(SIZE // 4, 0).repeat(SIZE // 4, 1)
    out[20:36, frame % 40 : frame % 40 + 16] = (200, 40, 30)
    return out


def write(path: Path, seed: int, frames: int, codec: Codec = "h264", fps: int = FPS, crf: int | None = None) -> Path:
    with color_writer(path, width=SIZE, height=SIZE, fps=fps, codec=codec, crf=crf) as video:
        for frame in range(frames):
            video.add(picture(seed, frame))
    return path


@pytest.mark.parametrize("codec", CODECS)
def test_equal_frames_give_equal_bytes(tmp_path: Path, codec: Codec) -> None:
    first, second = write(tmp_path / "a.mp4", 1, 9, codec), write(tmp_path / "b.mp4", 1, 9, codec)
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("fps", [10, 15, 30])
def test_frames_lie_on_the_grid_from_zero_in_closed_groups(tmp_path: Path, codec: Codec, fps: int) -> None:
    video = probe(write(tmp_path / "a.mp4", 0, 11, codec, fps))
    assert (video.codec, video.pix_fmt, video.fps) == (codec, "yuv420p", Fraction(fps))
    assert (video.width, video.height) == (SIZE, SIZE)
    np.testing.assert_allclose(video.times, np.arange(11) / fps, atol=1e-9)
    assert video.keys[::2].all()


@pytest.mark.parametrize("codec", CODECS)
def test_joining_keeps_every_decoded_frame_to_the_bit(tmp_path: Path, codec: Codec) -> None:
    lengths = [5, 1, 8, 2]
    parts = [write(tmp_path / f"{i}.mp4", i, n, codec) for i, n in enumerate(lengths)]
    whole = tmp_path / "whole.mp4"
    assert concatenate(parts, whole, fps=FPS) == lengths
    np.testing.assert_allclose(probe(whole).times, np.arange(sum(lengths)) / FPS, atol=1e-9)
    apart = np.stack([frame for part in parts for frame in decode_color(part)])
    np.testing.assert_array_equal(np.stack(list(decode_color(whole))), apart)


@pytest.mark.parametrize("codec", CODECS)
def test_colours_survive(tmp_path: Path, codec: Codec) -> None:
    """Catches a wrong colour matrix or range, which shifts plain colours by tens of levels."""
    path = tmp_path / "plain.mp4"
    colours = np.array([(200, 40, 30), (30, 180, 60), (40, 60, 210), (250, 250, 250), (5, 5, 5)], np.uint8)
    with color_writer(path, width=SIZE, height=SIZE, fps=FPS, codec=codec, crf=10) as video:
        for colour in colours:
            video.add(np.tile(colour, (SIZE, SIZE, 1)))
    decoded = np.stack([frame[SIZE // 2, SIZE // 2] for frame in decode_color(path)]).astype(int)
    assert np.abs(decoded - colours).max() <= 4


def test_a_lower_crf_looks_better(tmp_path: Path) -> None:
    def error(crf: int) -> float:
        frames = decode_color(write(tmp_path / f"{crf}.mp4", 3, 6, crf=crf))
        return float(np.mean([(frame - picture(3, i).astype(float)) ** 2 for i, frame in enumerate(frames)]))

    assert error(10) < error(40)


def test_gray_is_lossless_and_equal_in_bytes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 65536, (4, 48, 50)).astype(np.uint16)
    for name in ("a.mkv", "b.mkv"):
        with gray_writer(tmp_path / name, width=50, height=48, fps=FPS) as video:
            for frame in frames:
                video.add(frame)
    np.testing.assert_array_equal(np.stack(list(decode_gray(tmp_path / "a.mkv"))), frames)
    assert (tmp_path / "a.mkv").read_bytes() == (tmp_path / "b.mkv").read_bytes()


def test_joining_refuses_another_rate_or_encoding(tmp_path: Path) -> None:
    good = write(tmp_path / "good.mp4", 0, 4)
    with pytest.raises(IntegrityError, match="grid"):
        concatenate([write(tmp_path / "rate.mp4", 0, 4, fps=30)], tmp_path / "out.mp4", fps=FPS)
    small = tmp_path / "small.mp4"
    with color_writer(small, width=32, height=32, fps=FPS) as video:
        video.add(np.zeros((32, 32, 3), np.uint8))
    with pytest.raises(IntegrityError, match="encoded differently"):
        concatenate([good, small], tmp_path / "out.mp4", fps=FPS)


def test_an_odd_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="odd"), color_writer(tmp_path / "a.mp4", width=63, height=64, fps=FPS):
        pass


def test_a_broken_file_is_said_to_be_broken(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", 0, 8)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(IntegrityError, match="not a readable video"):
        list(decode_color(path))
    with pytest.raises(IntegrityError, match="not a readable video"):
        probe(path)
