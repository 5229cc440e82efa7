"""The statistics that LeRobot keeps of every feature, per episode and of the whole dataset.

Names and sampling follow lerobot's compute_stats.py (0.4.4): min, max, mean, std (population), count and the
quantiles q01, q10, q50, q90, q99; of pictures, a sample of the frames, thinned to about 150 pixels, in [0, 1].
Quantiles here are exact ("linear" interpolation), not binned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Stats = dict[str, NDArray[np.float64]]

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
NAMES = ("min", "max", "mean", "std", *QUANTILES)
_LEVELS = 256  # of 8-bit colour


def of_values(values: ArrayLike) -> Stats:
    """Statistics over the rows of values (N, D): each (D,), and count (1,)."""
    rows = np.asarray(values, dtype=np.float64)
    stats = {
        "min": rows.min(axis=0),
        "max": rows.max(axis=0),
        "mean": rows.mean(axis=0),
        "std": rows.std(axis=0),
        "count": np.array([len(rows)], np.float64),
    }
    return stats | {name: np.quantile(rows, q, axis=0) for name, q in QUANTILES.items()}


def sampled_frames(count: int) -> NDArray[np.int64]:
    """Indices of the frames whose pictures count: n^0.75 of them, between 100 (or all) and 10,000, evenly spread."""
    wanted = max(min(100, count), min(int(count**0.75), 10_000))
    return np.round(np.linspace(0, count - 1, wanted)).astype(np.int64)


class ColorCounter:
    """Counts the colours of 8-bit pictures; its quantiles are those of all pixels counted."""

    def __init__(self) -> None:
        self.frames = 0
        self._counts = np.zeros((3, _LEVELS), np.int64)

    def add(self, picture: NDArray[np.uint8]) -> None:
        """picture: (H, W, 3); above 300 pixels only every n-th row and column counts, as in lerobot."""
        height, width = picture.shape[:2]
        if max(height, width) >= 300:
            step = max(height, width) // 150
            picture = picture[::step, ::step]
        for channel in range(3):
            self._counts[channel] += np.bincount(picture[..., channel].ravel(), minlength=_LEVELS)
        self.frames += 1

    def stats(self) -> Stats:
        """Each (3,), in [0, 1]; count (1,) is the number of pictures."""
        levels = np.arange(_LEVELS)
        total = self._counts.sum(axis=1)
        mean = (self._counts @ levels) / total
        square = (self._counts * (levels - mean[:, None]) ** 2).sum(axis=1) / total
        present = self._counts > 0
        stats = {
            "min": present.argmax(axis=1) / 255.0,
            "max": (_LEVELS - 1 - present[:, ::-1].argmax(axis=1)) / 255.0,
            "mean": mean / 255.0,
            "std": np.sqrt(square) / 255.0,
            "count": np.array([self.frames], np.float64),
        }
        cumulative = self._counts.cumsum(axis=1)
        return stats | {name: _quantile(cumulative, q) / 255.0 for name, q in QUANTILES.items()}


def _quantile(cumulative: NDArray[np.int64], q: float) -> NDArray[np.float64]:
    """(3,) linearly interpolated quantile of the pixels counted in cumulative (3, 256)."""
    out = np.empty(3)
    for channel, below in enumerate(cumulative):
        place = (below[-1] - 1) * q
        low, high = np.searchsorted(below, [np.floor(place), np.ceil(place)], side="right")
        out[channel] = low + (high - low) * (place - np.floor(place))
    return out


def merge(parts: Sequence[Stats]) -> Stats:
    """Statistics of several episodes together: exact for all but the quantiles, which are averaged by count (0.4.4)."""
    count = np.array([part["count"][0] for part in parts])
    weight = (count / count.sum())[:, None]
    mean = (np.stack([part["mean"] for part in parts]) * weight).sum(axis=0)
    spread = [part["std"] ** 2 + (part["mean"] - mean) ** 2 for part in parts]
    merged = {
        "min": np.min([part["min"] for part in parts], axis=0),
        "max": np.max([part["max"] for part in parts], axis=0),
        "mean": mean,
        "std": np.sqrt((np.stack(spread) * weight).sum(axis=0)),
        "count": np.array([count.sum()]),
    }
    return merged | {name: (np.stack([part[name] for part in parts]) * weight).sum(axis=0) for name in QUANTILES}


def exact_quantiles(read: Callable[[], Iterable[NDArray[Any]]]) -> Stats:
    """The quantiles of values too many to hold, each (D,), linearly interpolated as numpy does.

    read: yields all values again, (n, D) float32 or int64 at a time. They are ranked by radix: each pass over them
    counts the next 16 bits of those that share the bits found so far.
    """
    count = sum(len(part) for part in read())
    places = {name: (count - 1) * q for name, q in QUANTILES.items()}
    ranks = sorted({int(edge(place)) for place in places.values() for edge in (np.floor, np.ceil)})
    found = _order_statistics(read, ranks)
    at = {rank: found[i] for i, rank in enumerate(ranks)}
    out: Stats = {}
    for name, place in places.items():
        low, high = at[int(np.floor(place))], at[int(np.ceil(place))]
        out[name] = low + (high - low) * (place - np.floor(place))
    return out


def _order_statistics(read: Callable[[], Iterable[NDArray[Any]]], ranks: Sequence[int]) -> NDArray[np.float64]:
    """(len(ranks), D): the values that would stand at `ranks`, were each column sorted."""
    first = next(iter(read()))
    width, kind = first.shape[1], first.dtype
    bits = 8 * kind.itemsize
    left = np.tile(np.array(ranks, np.int64)[:, None], (1, width))  # rank among those that share the prefix
    prefix = np.zeros((len(ranks), width), np.uint64)
    for shift in range(bits - 16, -1, -16):
        counts: dict[tuple[int, int], NDArray[np.int64]] = {}
        for part in read():
            keys = _sortable(part)
            for d in range(width):
                high, digit = keys[:, d] >> np.uint64(shift + 16), (keys[:, d] >> np.uint64(shift)) & np.uint64(0xFFFF)
                for value in {int(p) for p in prefix[:, d]}:
                    held = np.bincount(digit[high == np.uint64(value)].astype(np.int64), minlength=1 << 16)
                    counts[d, value] = counts[d, value] + held if (d, value) in counts else held
        for r in range(len(ranks)):
            for d in range(width):
                below = counts[d, int(prefix[r, d])].cumsum()
                digit = int(np.searchsorted(below, left[r, d], side="right"))
                left[r, d] -= below[digit - 1] if digit else 0
                prefix[r, d] = (int(prefix[r, d]) << 16) | digit
    return _unsorted(prefix, kind).astype(np.float64)


def _sortable(values: NDArray[Any]) -> NDArray[np.uint64]:
    """Unsigned integers in the order of the values: the sign bit turned, negative floats mirrored."""
    if values.dtype == np.int64:
        return values.view(np.uint64) ^ np.uint64(1 << 63)
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31)).astype(np.uint64)


def _unsorted(keys: NDArray[np.uint64], kind: np.dtype[Any]) -> NDArray[Any]:
    if kind == np.int64:
        return (keys ^ np.uint64(1 << 63)).view(np.int64)
    bits = keys.astype(np.uint32)
    return np.where(bits >> 31, bits ^ np.uint32(1 << 31), ~bits).astype(np.uint32).view(np.float32)


def faults(stats: Mapping[str, Any], shape: tuple[int, ...], *, image: bool) -> Iterator[str]:
    """What no data could have as its statistics, or no reader would accept. image: colours in [0, 1]."""
    if missing := sorted({*NAMES, "count"} - set(stats)):
        yield f"no {', '.join(missing)}"
        return
    arrays = {name: np.asarray(stats[name], np.float64) for name in NAMES}
    if wrong := [name for name, array in arrays.items() if array.shape != shape or not np.isfinite(array).all()]:
        yield f"{', '.join(wrong)} must be finite and of shape {shape}"
        return
    if np.shape(stats["count"]) != (1,) or stats["count"][0] < 1:
        yield f"count is {stats['count']}"
    slack = 1e-6 * (1.0 + np.abs(arrays["max"]))
    ladder = [arrays[name] for name in ("min", "q01", "q10", "q50", "q90", "q99", "max")]
    if any((low > high + slack).any() for low, high in pairwise(ladder)):
        yield "min <= q01 <= ... <= q99 <= max does not hold"
    if (arrays["mean"] < arrays["min"] - slack).any() or (arrays["mean"] > arrays["max"] + slack).any():
        yield "the mean lies outside min..max"
    if (arrays["std"] < 0).any():
        yield "std is negative"
    if image and ((arrays["min"] < 0).any() or (arrays["max"] > 1 + 1e-6).any()):
        yield "colours must lie in 0..1"
