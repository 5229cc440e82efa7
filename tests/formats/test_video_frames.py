"""Frames by time: the same pictures as decoding all, whoever coded the video."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from blueprint.core.errors import IntegrityError
from blueprint.formats.video.coding import decode_color
from blueprint.formats.video.frames import OPEN, VideoFrames

FPS, COUNT = 30, 75


def coded(path: Path, codec: str, options: dict[str, str]) -> Path:
    rng = np.random.default_rng(1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=FPS, options=options)
        stream.width = stream.height = 64
        stream.pix_fmt, stream.time_base = "yuv420p", Fraction(1, FPS)
        for _ in range(COUNT):
            picture = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(
    ("codec", "options"),
    [
        ("libx264", {"g": "250", "bf": "3"}),  # one key frame, frames stored out of order
        ("libx264", {"g": "12", "bf": "2"}),
        ("libsvtav1", {"g": "30", "preset": "12"}),
    ],
)
def test_any_frame_is_that_of_decoding_all(tmp_path: Path, codec: str, options: dict[str, str]) -> None:
    path = coded(tmp_path / "video.mp4", codec, options)
    wanted, videos = list(decode_color(path)), VideoFrames()
    assert len(wanted) == COUNT
    for index in np.random.default_rng(2).permutation(COUNT).tolist():
        window = [index, max(index - 5, 0), min(index + 40, COUNT - 1), index]  # out of order, twice, far apart
        found = videos.at(path, [k / FPS for k in window], FPS)
        assert np.array_equal(found, np.stack([wanted[k] for k in window]))


def test_what_is_not_there_is_said_and_few_files_stay_open(tmp_path: Path) -> None:
    path, videos = coded(tmp_path / "video.mp4", "libx264", {}), VideoFrames()
    with pytest.raises(IntegrityError, match="no frame at"):
        videos.at(path, [COUNT / FPS], FPS)
    assert len(videos.at(path, [0.0], FPS)) == 1  # and the file can still be read
    for number in range(OPEN + 3):
        other = tmp_path / f"{number}.mp4"
        other.write_bytes(path.read_bytes())
        videos.at(other, [1.0], FPS)
    assert len(videos._opened) == OPEN
    (tmp_path / "no.mp4").write_bytes(b"no video")
    with pytest.raises(IntegrityError, match="not a readable video"):
        videos.at(tmp_path / "no.mp4", [0.0], FPS)
