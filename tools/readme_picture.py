"""Draw docs/images/demo.png from the report of a demo run: python tools/readme_picture.py [out/demo]"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image, ImageOps

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "demo.png"
SIZE = (400, 300)
GAP = 8


def draw(scene: Path) -> Image.Image:
    """Capture, simulation from the same camera, and an episode, side by side."""
    media = scene / "outputs" / "report" / "media"
    episode = sorted(media.glob("film_*/poster.jpg"))[0]
    parts = [media / "sources" / "capture.png", media / "simulation" / "picture.jpg", episode]
    picture = Image.new("RGB", (len(parts) * SIZE[0] + (len(parts) - 1) * GAP, SIZE[1]), "white")
    for number, part in enumerate(parts):
        shown = ImageOps.fit(Image.open(part).convert("RGB"), SIZE, Image.Resampling.LANCZOS)
        picture.paste(shown, (number * (SIZE[0] + GAP), 0))
    return picture.quantize(256, kmeans=6, dither=Image.Dither.FLOYDSTEINBERG)


if __name__ == "__main__":
    PICTURE.parent.mkdir(exist_ok=True)
    draw(Path(sys.argv[1] if len(sys.argv) > 1 else "out/demo")).save(PICTURE, optimize=True)
