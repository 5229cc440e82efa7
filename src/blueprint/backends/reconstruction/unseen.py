"""Say what the depth sensor did not measure: glass, mirrors, black and shiny things. Nothing is invented for them."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from blueprint.core.report import warn
from blueprint.geometry.segmentation.cutout import grow
from blueprint.model.scene import Instance

UNSEEN_SHARE = 0.3  # of an object's mask without depth, beyond which it is said
CHANGED = 12.0  # CIELAB distance from the empty picture
LEAST_CHANGED = 0.002  # share of the picture
BLUR_PX = 5
MARGIN_PX = 12


def say_unseen(
    instances: Sequence[Instance], labels: Sequence[NDArray[np.int32]], depth: Sequence[NDArray[np.float32]]
) -> None:
    """Warn of objects with little depth. labels, depth: (H, W) of each view."""
    for one in instances:
        blind = sum(int(((image == one.label) & (d == 0)).sum()) for image, d in zip(labels, depth, strict=True))
        share = blind / max(one.pixels, 1)
        if share > UNSEEN_SHARE:
            warn(
                f"{one.name}: {100 * share:.0f} % of its mask has no depth (transparent, shiny or black?); its shape "
                "there is a guess",
                cure="add views, or give its mask and check its size",
            )


def say_unexplained(
    name: str,
    color: NDArray[np.uint8],
    empty: NDArray[np.uint8],
    inside: NDArray[np.bool_],
    labels: NDArray[np.int32],
) -> None:
    """Warn of places that look other than in the empty picture and hold no object. Pictures (H, W, 3), masks (H, W).

    inside: pixels that show the support or what stands on it
    """
    a, b = (cv2.GaussianBlur(picture, (0, 0), BLUR_PX) for picture in (color, empty))
    lab = [cv2.cvtColor(p.astype(np.float32) / 255, cv2.COLOR_RGB2LAB) for p in (a, b)]
    change = lab[0] - lab[1]
    change -= np.median(change[inside], axis=0) if inside.any() else 0  # exposure differs between pictures
    seen = inside & (np.linalg.norm(change, axis=2) > CHANGED) & ~grow(labels > 0, MARGIN_PX)
    _, _, stats, _ = cv2.connectedComponentsWithStats(seen.astype(np.uint8), connectivity=8)
    for x, y, w, h, area in stats[1:].tolist():
        if area >= LEAST_CHANGED * seen.size:
            warn(
                f"frame {name}: something at pixels {x}, {y} to {x + w}, {y + h} is seen in colour but not in depth "
                "(transparent or flat?); it is not in the scene",
                cure="draw a box or mask around it, or dust it for the capture",
            )
