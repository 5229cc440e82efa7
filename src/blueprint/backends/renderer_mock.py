"""Made-up pictures for trying out pipelines: stripes that say MOCK, no depth, nothing segmented. Never training data.

The one fake outside the tests, and by name only: `SENSOR_CAPTURE_MODE=mock_dev`. Its `sensor_source` travels into every
recording, certificate and dataset card, and no release policy admits it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from blueprint.backends.protocols import Images, Replay
from blueprint.model.variation import Look

STRIPE_PX = 16


class RendererMock:
    """See `Renderer`."""

    name = "mock"
    version = "1"
    sensor_source = "mock"

    def replay(
        self,
        model: Path,
        qpos: NDArray[np.float64],
        cameras: tuple[str, ...],
        width: int,
        height: int,
        *,
        look: Look | None = None,
    ) -> Replay:
        """Kinematics are MuJoCo's: only the pictures are made up."""
        from blueprint.backends.renderer_mujoco import RendererMujoco

        return RendererMujoco().replay(model, qpos, cameras, width, height, look=look)

    def render(
        self,
        model: Path,
        qpos: NDArray[np.float64],
        cameras: tuple[str, ...],
        width: int,
        height: int,
        *,
        depth: bool,
        segmentation: bool,
        normals: bool = False,
        samples: int = 1,
        look: Look | None = None,
    ) -> Iterator[dict[str, Images]]:
        """Stripes that move by a pixel a frame."""
        for t in range(len(qpos)):
            image = Images(
                stripes(width, height, t),
                np.zeros((height, width), np.float32) if depth else None,
                np.zeros((height, width), np.uint16) if segmentation else None,
                np.zeros((height, width, 3), np.float32) if normals else None,
            )
            yield dict.fromkeys(cameras, image)


def stripes(width: int, height: int, shift: int) -> NDArray[np.uint8]:
    """(H, W, 3): magenta and black, with the word MOCK across."""
    from PIL import Image, ImageDraw, ImageFont

    x, y = np.meshgrid(np.arange(width), np.arange(height))
    on = ((x + y + shift) // STRIPE_PX) % 2 == 0
    picture = Image.fromarray(np.where(on[..., None], (255, 0, 255), (0, 0, 0)).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    place = (width / 2, height / 2)
    draw.text(
        place, "MOCK", (255, 255, 255), ImageFont.load_default(height / 3), "mm", stroke_width=2, stroke_fill=(0, 0, 0)
    )
    return np.asarray(picture)
