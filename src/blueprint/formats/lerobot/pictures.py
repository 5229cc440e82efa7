"""What is wrong with an episode's pictures: missing, too few, of another size, dark, frozen, another's, out of step."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray

from blueprint.formats.lerobot.read import Clip

Array = NDArray[np.float64]

SIDE = 48  # pictures are compared at this many pixels a side
DARK = 2.0  # mean brightness of 255 below which a picture shows nothing
FROZEN_SHARE = 0.9  # of the frames in which the robot moves, that repeat the last picture
FROZEN_FRAMES = 12  # or so many in a row
SAME = 0.02  # mean change of a pixel of 255: less is the coder's noise
SAMPLE = slice(20, 40)  # pictures by which a clip is known again
SHIFT_FRAMES = 3
SHIFTS = range(-10, 11)
COMPONENTS, RIDGE = 6, 1e-2
FITS, BETTER = 0.3, 0.7  # share of the pictures' variance that states leave at the best shift, and against that at none


def picture_findings(
    clip: Clip, frames: int, fps: float, shape: object, state: Array | None, known: dict[str, str]
) -> Iterator[tuple[str, str]]:
    """(rule, message) of everything wrong. shape: [H, W, C] as the features say; state: (T, D), None = not known

    known: digest of pictures -> file, filled here: a clip that was seen before belongs to another episode
    """
    if not clip.path.is_file():
        yield "video", f"{clip.path.name} is missing"
        return
    try:
        small, size, rate = _decoded(clip, frames)
    except (OSError, ValueError) as error:
        yield "video", f"cannot be decoded: {error}"
        return
    if abs(rate - fps) > 1e-3 * fps:
        yield "fps", f"the video runs at {rate:.3g} pictures a second, the dataset at {fps:g}"
    if len(small) != frames:
        yield "length", f"{len(small)} pictures for {frames} rows"
    if isinstance(shape, list) and len(shape) == 3 and size not in ((shape[0], shape[1]), (shape[1], shape[2])):
        yield "schema", f"pictures are {size[0]}x{size[1]}, the features say {shape}"
    if not len(small):
        return
    stretch = small[SAMPLE]  # not the first ones: a robot at home looks the same in many episodes
    if len(stretch) > 1 and (stretch[1:] != stretch[:-1]).any():
        place = f"{clip.path.name} at {clip.start_s or 0:.2f} s"
        other = known.setdefault(hashlib.sha256(stretch.tobytes()).hexdigest(), place)
        if other != place:
            yield "duplicate", f"its pictures are those of {other}"
    if np.mean(small.mean(axis=(1, 2)) < DARK) > 0.3:
        yield "dark", "the pictures are black"
        return
    change = np.abs(np.diff(small.astype(np.float32), axis=0)).mean(axis=(1, 2))
    speed = None if state is None or len(state) != len(small) else _speed(state)
    yield from _frozen(change, speed)
    if speed is not None:
        yield from _shifted(small, np.asarray(state))


def _decoded(clip: Clip, frames: int) -> tuple[NDArray[np.uint8], tuple[int, int], float]:
    """Small grey pictures (N, SIDE, SIDE) of the clip, (height, width), pictures a second. One more than wanted is
    looked for where the clip is a whole file. Raises ValueError or OSError when the file is damaged."""
    import av
    import cv2

    found: list[NDArray[np.uint8]] = []
    try:
        with av.open(str(clip.path)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            base, rate = stream.time_base or Fraction(1, 1), float(stream.average_rate or 0)
            half = 0.5 / max(rate, 1e-9)
            if clip.start_s:
                container.seek(int(clip.start_s / float(base)), stream=stream)
            for frame in container.decode(stream):
                time = float((frame.pts or 0) * base)
                if clip.start_s is not None and time < clip.start_s - half:
                    continue
                if clip.end_s is not None and time > clip.end_s - half:
                    break
                grey = frame.to_ndarray(format="gray")
                found.append(np.asarray(cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8))
            size = (stream.height, stream.width)
    except (FFmpegError, IndexError) as error:
        raise ValueError(str(error)) from error
    return np.array(found, dtype=np.uint8).reshape(-1, SIDE, SIDE), size, rate


def _speed(state: Array) -> Array:
    """(T - 1,) how fast the state changes, each value over its range."""
    spread = np.ptp(state, axis=0)
    return np.linalg.norm(np.diff(state, axis=0) / np.where(spread > 1e-6, spread, np.inf), axis=1)


def _frozen(change: Array, speed: Array | None) -> Iterator[tuple[str, str]]:
    """Pictures that repeat while the robot moves; without states, pictures that never change."""
    if speed is None:
        if len(change) > FROZEN_FRAMES and (change < SAME).all():
            yield "frozen", "the pictures never change"
        return
    moving = speed > 0.3 * np.median(speed[speed > 0]) if (speed > 0).any() else np.zeros(len(speed), bool)
    still = change < SAME
    if moving.sum() >= FROZEN_FRAMES and still[moving].mean() > FROZEN_SHARE:
        yield "frozen", "the pictures repeat while the robot moves"
        return
    edges = np.flatnonzero(np.diff(np.concatenate([[False], still, [False]]).astype(np.int8)))
    longest = max((int(moving[a:b].sum()) for a, b in zip(edges[::2], edges[1::2], strict=True)), default=0)
    if longest >= FROZEN_FRAMES and (~still & moving).any():
        yield "frozen", f"the pictures repeat for {longest} frames while the robot moves"


def _shifted(small: NDArray[np.uint8], state: Array) -> Iterator[tuple[str, str]]:
    """Pictures that fit the states of some frames earlier or later far better than those of their own rows."""
    edge = max(SHIFTS)
    if len(state) < 6 * edge:
        return
    looks, core = _components(small), _features(state)[edge : len(state) - edge]
    misfit = {shift: _misfit(core, looks[edge + shift : len(looks) - edge + shift]) for shift in SHIFTS}
    best = min(misfit, key=lambda shift: misfit[shift])
    inside = SHIFT_FRAMES <= abs(best) < edge  # at the edge it is a trend, no minimum
    if inside and misfit[best] < FITS and misfit[best] < BETTER * misfit[0]:
        yield "misaligned", f"the pictures fit the states of {abs(best)} frames {'later' if best < 0 else 'earlier'}"


def _components(small: NDArray[np.uint8]) -> Array:
    """(N, COMPONENTS) what changes most in the pictures: their first principal components over time."""
    flat = small.reshape(len(small), -1).astype(float)
    flat -= flat.mean(axis=0)
    variance, axes = np.linalg.eigh(flat @ flat.T)  # of the frames: far fewer than pixels
    return axes[:, : -COMPONENTS - 1 : -1] * np.sqrt(np.maximum(variance[: -COMPONENTS - 1 : -1], 0))


def _features(state: Array) -> Array:
    """(T, F) the values that change, standardised, with their squares and a one."""
    moving = np.ptp(state, axis=0) > 1e-3
    values = (state[:, moving] - state[:, moving].mean(axis=0)) / np.maximum(state[:, moving].std(axis=0), 1e-9)
    return np.concatenate([values, values**2, np.ones((len(state), 1))], axis=1)


def _misfit(features: Array, looks: Array) -> float:
    """Share of the looks' variance that a ridge regression on the features leaves."""
    looks = looks - looks.mean(axis=0)
    square = features.T @ features + RIDGE * len(features) * np.eye(features.shape[1])
    rest = looks - features @ np.linalg.solve(square, features.T @ looks)
    return float((rest**2).sum() / max((looks**2).sum(), 1e-9))
