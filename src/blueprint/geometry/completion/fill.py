"""Continue a seen surface into what no camera saw.

Surfaces of tables repeat: grain, weave, tiles. The shifts under which the seen part best matches itself say how, and
an unseen texel takes the detail of the texel one such shift away (He and Sun, "Statistics of patch offsets for image
completion", ECCV 2012). Light and large shades are not copied but continued smoothly, so that no seam shows.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Picture = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Floats = NDArray[np.float32]

SEARCH_SIDE = 192  # pixels of the reduced picture in which shifts and shades are worked out
LEAST_SHIFT = 6  # ... below which a surface always resembles itself
LEAST_OVERLAP = 0.25  # share of the seen part that a shift must lay onto seen parts
SHIFTS = 12
PASSES = 24
LIGHT_PX = 14.0  # of the reduced picture: wider than a tile, narrower than a lamp's gradient
BIN_LEVELS = 16.0
RARE_SHARE = 0.08
SEAM_PX = 2.0


def fill_unseen(image: Picture, seen: Mask) -> Picture:
    """The picture (H, W, 3) with unseen texels filled; seen ones are returned unchanged."""
    if seen.all() or not seen.any():
        return image
    light = smooth_continuation(image, seen)
    detail = np.where(seen[..., None], image.astype(np.float32) - light, 0).astype(np.float32)
    usual = seen & ~_odd(detail, seen)
    if usual.mean() < 0.02:
        usual = seen
    copied = _copy_along(detail, usual, repeating_shifts(detail, usual), ~seen)
    out = np.clip(light + copied, 0, 255).astype(np.uint8)
    out[seen] = image[seen]
    seam = (cv2.distanceTransform((~seen).astype(np.uint8), cv2.DIST_L2, 5) <= SEAM_PX) & ~seen
    out = cv2.inpaint(out, seam.astype(np.uint8), 3, cv2.INPAINT_TELEA).astype(np.uint8)
    out[seen] = image[seen]
    return out


def smooth_continuation(image: Picture, seen: Mask) -> Floats:
    """(H, W, 3) the seen part's slow colour, continued everywhere: blurred seen texels, coarser where few are near."""
    size = _reduced(seen.shape)
    mask = cv2.resize(seen.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    color = cv2.resize(image.astype(np.float32) * seen[..., None], size, interpolation=cv2.INTER_AREA)
    out = np.broadcast_to(image[seen].mean(axis=0), color.shape).astype(np.float32)
    for sigma in (8 * LIGHT_PX, 4 * LIGHT_PX, 2 * LIGHT_PX, LIGHT_PX):
        weight = cv2.GaussianBlur(mask, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)[..., None]
        blurred = cv2.GaussianBlur(color, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
        trust = np.minimum(weight / 0.3, 1.0) ** 2
        out = trust * blurred / np.maximum(weight, 1e-6) + (1 - trust) * out
    full = (seen.shape[1], seen.shape[0])
    return cv2.resize(out.astype(np.float32), full, interpolation=cv2.INTER_CUBIC).astype(np.float32)


def repeating_shifts(detail: Floats, seen: Mask) -> list[tuple[int, int]]:
    """Up to SHIFTS shifts (dy, dx) [texel], best first, with detail[y + dy, x + dx] ~ detail[y, x] where seen."""
    width, height = _reduced(seen.shape)
    scale = max(seen.shape) / max(width, height)
    small = cv2.resize(detail, (width, height), interpolation=cv2.INTER_AREA).astype(np.float64)
    mask = cv2.resize(seen.astype(np.float64), (width, height), interpolation=cv2.INTER_AREA).astype(np.float64)
    cost, overlap = _self_difference(small, mask)
    dy, dx = np.arange(cost.shape[0]) - (height - 1), np.arange(cost.shape[1]) - (width - 1)
    near = np.maximum(np.abs(dy)[:, None], np.abs(dx)[None, :]) < LEAST_SHIFT
    cost[near | (overlap < LEAST_OVERLAP * mask.sum())] = np.inf
    least = ndimage.minimum_filter(cost, size=7)
    rows, cols = np.nonzero((cost == least) & np.isfinite(cost))
    order = np.lexsort((cols, rows, cost[rows, cols]))[:SHIFTS]
    reach = int(np.ceil(scale))
    return [_refine(detail, seen, dy[rows[i]] * scale, dx[cols[i]] * scale, reach) for i in order]


def _reduced(shape: tuple[int, ...]) -> tuple[int, int]:
    """(width, height) of the reduced picture."""
    scale = min(1.0, SEARCH_SIDE / max(shape))
    return max(8, round(shape[1] * scale)), max(8, round(shape[0] * scale))


def _odd(detail: Floats, seen: Mask) -> Mask:
    """Seen texels (H, W) of rare colours and their surroundings: cables, edges, shadows of objects.

    Rare are the colour bins that together hold the last RARE_SHARE of the seen texels.
    """
    size = _reduced(seen.shape)
    small = cv2.resize(detail, size, interpolation=cv2.INTER_AREA)
    mask = cv2.resize(seen.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.9
    bins = np.clip((small + 256) / BIN_LEVELS, 0, 31).astype(np.int64)
    code = (bins[..., 0] * 32 + bins[..., 1]) * 32 + bins[..., 2]
    counts = ndimage.gaussian_filter(np.bincount(code[mask], minlength=32**3).reshape(32, 32, 32).astype(float), 0.7)
    mass = counts.ravel()[code]
    ranked = np.sort(mass[mask])
    limit = ranked[int(RARE_SHARE * len(ranked))] if len(ranked) else 0.0
    rare = ndimage.median_filter((mask & (mass < limit)).astype(np.uint8), 3)
    spread = cv2.dilate(rare, np.ones((3, 3), np.uint8)).astype(np.float32)
    return (cv2.resize(spread, (seen.shape[1], seen.shape[0])) > 0.3) & seen


def _copy_along(detail: Floats, known: Mask, shifts: list[tuple[int, int]], wanted: Mask) -> Floats:
    """Detail (H, W, 3) with `wanted` texels copied along the first shift, forth or back, that reaches known ones."""
    out, have = np.where(known[..., None], detail, 0).astype(np.float32), known.copy()
    for _ in range(PASSES):
        before = have.copy()
        for dy, dx in shifts:
            for step in ((dy, dx), (-dy, -dx)):
                here, there = _windows(known.shape, *step)
                take = before[there] & ~have[here] & wanted[here]
                out[here][take] = out[there][take]
                have[here] |= take
        if have[wanted].all() or (have == before).all():
            break
    return out


def _self_difference(
    image: NDArray[np.float64], mask: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean squared difference of the masked picture (h, w, 3) to itself under every shift, and the overlap [px].

    Index (i, j) is the shift (i - h + 1, j - w + 1); by correlation in the Fourier domain.
    """
    height, width = mask.shape
    shape = (2 * height - 1, 2 * width - 1)

    def correlate(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
        spectrum = np.conj(np.fft.rfft2(a, shape)) * np.fft.rfft2(b, shape)
        return np.fft.fftshift(np.fft.irfft2(spectrum, shape))

    overlap = np.maximum(correlate(mask, mask), 1e-6)
    total = np.zeros(shape)
    for channel in range(3):
        value = image[..., channel] * mask
        square = value * image[..., channel]
        total += correlate(square, mask) + correlate(mask, square) - 2 * correlate(value, value)
    return np.maximum(total, 0) / overlap, overlap


def _refine(detail: Floats, seen: Mask, dy: float, dx: float, reach: int) -> tuple[int, int]:
    """The best whole-texel shift within `reach` of a coarse one, judged on every fifth texel."""
    base = (round(dy), round(dx))
    best, least = base, np.inf
    for i in range(-reach, reach + 1):
        for j in range(-reach, reach + 1):
            shift = (base[0] + i, base[1] + j)
            here, there = _windows(seen.shape, *shift)
            both = seen[here][::5, ::5] & seen[there][::5, ::5]
            if both.sum() < 50:
                continue
            difference = np.abs(detail[here][::5, ::5] - detail[there][::5, ::5])[both].mean()
            if difference < least:
                best, least = shift, float(difference)
    return best


def _windows(shape: tuple[int, ...], dy: int, dx: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """(where y, x lie, where y + dy, x + dx lie) for all texels for which both are in the picture."""
    height, width = shape
    rows = slice(max(0, -dy), max(0, -dy, min(height, height - dy)))
    cols = slice(max(0, -dx), max(0, -dx, min(width, width - dx)))
    return (rows, cols), (slice(rows.start + dy, rows.stop + dy), slice(cols.start + dx, cols.stop + dx))
