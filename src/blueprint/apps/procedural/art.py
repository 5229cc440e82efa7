"""Printed art: every picture is a pure function of a generator. sRGB, (H, W, 3) uint8, row 0 on top."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Picture = NDArray[np.uint8]
Color = tuple[int, int, int]


def cloud(rng: np.random.Generator, shape: tuple[int, int], cells: tuple[int, int], octaves: int = 4) -> NDArray:
    """Smooth noise in about [-1, 1], (H, W) float32; cells: features of the first octave along rows and columns."""
    field = np.zeros(shape, np.float32)
    for octave in range(octaves):
        rows, cols = cells[0] * 2**octave + 2, cells[1] * 2**octave + 2
        lattice = rng.uniform(-1.0, 1.0, (rows, cols)).astype(np.float32)
        field += cv2.resize(lattice, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC) * 0.5**octave
    return field / 1.5


def blend(low: Color, high: Color, weight: NDArray) -> NDArray:
    """Mix two colours by weight in [0, 1]: (H, W) -> (H, W, 3) float32."""
    w = np.clip(weight, 0.0, 1.0)[..., None]
    return (np.array(low, np.float32) * (1 - w) + np.array(high, np.float32) * w).astype(np.float32)


def quantise(picture: NDArray) -> Picture:
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def wood_planks(rng: np.random.Generator, width: int, height: int, planks: int = 7) -> Picture:
    """An oiled oak table top, grain along the columns."""
    picture = np.zeros((height, width, 3), np.float32)
    edges = np.linspace(0, height, planks + 1).astype(int)
    for top, bottom in pairwise(edges):
        shape = (bottom - top, width)
        bend = cloud(rng, shape, (2, 4), 3)
        rows = np.linspace(0, 1, shape[0], dtype=np.float32)[:, None] + rng.uniform(0, 9)
        rings = 0.5 + 0.5 * np.sin(2 * np.pi * (rows * rng.uniform(1.5, 3.5) + 1.6 * bend))
        fibre = cloud(rng, shape, (shape[0] // 3, 10), 2)
        tone = 0.55 + 0.26 * (rings - 0.5) + 0.12 * fibre + rng.uniform(-0.2, 0.2)
        plank = blend((84, 60, 42), (186, 150, 112), tone)
        pores = cloud(rng, shape, (shape[0] // 2, 40), 1) > 0.52
        plank[pores] *= 0.86
        plank[:4] *= 0.45  # the joint between two planks
        picture[top:bottom] = plank
    return quantise(picture)


def floor_boards(rng: np.random.Generator, size: int) -> Picture:
    """Grey carpet tiles."""
    pile = cloud(rng, (size, size), (size // 4, size // 4), 1)
    shade = cloud(rng, (size, size), (4, 4), 3)
    picture = blend((58, 62, 70), (96, 100, 108), 0.5 + 0.25 * pile + 0.2 * shade)
    for line in range(0, size, size // 4):
        picture[line : line + 2] *= 0.8
        picture[:, line : line + 2] *= 0.8
    return quantise(picture)


def write(draw: ImageDraw.ImageDraw, at: tuple[float, float], text: str, size: float, fill: Color, anchor: str) -> None:
    draw.text(at, text, font=ImageFont.load_default(size=size), fill=fill, anchor=anchor)


def cereal_front(rng: np.random.Generator, width: int, height: int) -> Picture:
    """A sunrise over a bowl, and the brand."""
    image = Image.fromarray(
        quantise(blend((250, 196, 64), (222, 72, 38), np.linspace(0, 1, height)[:, None].repeat(width, 1)))
    )
    draw = ImageDraw.Draw(image)
    cx, cy = width * 0.5, height * 0.62
    for k in range(0, 36, 2):
        a, b = (2 * np.pi * (k + d) / 36 for d in (0.0, 1.0))
        reach = height * 1.2
        draw.polygon(
            [
                (cx, cy),
                (cx + reach * np.cos(a), cy + reach * np.sin(a)),
                (cx + reach * np.cos(b), cy + reach * np.sin(b)),
            ],
            fill=(252, 214, 96) if k % 4 else (246, 178, 58),
        )
    draw.ellipse((cx - width * 0.42, cy - width * 0.42, cx + width * 0.42, cy + width * 0.42), fill=(255, 236, 170))
    draw.pieslice(
        (cx - width * 0.36, cy - width * 0.30, cx + width * 0.36, cy + width * 0.42), 0, 180, fill=(38, 84, 140)
    )
    draw.ellipse((cx - width * 0.36, cy - width * 0.03, cx + width * 0.36, cy + width * 0.15), fill=(240, 240, 236))
    for _ in range(46):
        angle, radius = rng.uniform(0, 2 * np.pi), np.sqrt(rng.uniform(0, 1))
        x, y = cx + width * 0.31 * radius * np.cos(angle), cy + width * (0.06 + 0.07 * radius * np.sin(angle))
        r = width * 0.035
        tone = int(rng.integers(-18, 18))
        draw.ellipse((x - r, y - r * 0.8, x + r, y + r * 0.8), fill=(196 + tone, 132 + tone, 58), outline=(140, 86, 30))
        draw.ellipse((x - r * 0.35, y - r * 0.3, x + r * 0.35, y + r * 0.3), fill=(150, 92, 36))
    draw.rounded_rectangle((width * 0.06, height * 0.07, width * 0.94, height * 0.36), width * 0.07, fill=(176, 30, 34))
    write(draw, (cx, height * 0.15), "SUNNY", width * 0.215, (255, 246, 220), "mm")
    write(draw, (cx, height * 0.28), "LOOPS", width * 0.215, (255, 214, 74), "mm")
    draw.rectangle((0, height * 0.9, width, height), fill=(38, 84, 140))
    write(draw, (cx, height * 0.95), "whole grain oats  400 g", width * 0.072, (255, 255, 255), "mm")
    return np.asarray(image)


def cereal_side(width: int, height: int) -> Picture:
    """Nutrition facts."""
    image = Image.new("RGB", (width, height), (226, 92, 42))
    draw = ImageDraw.Draw(image)
    draw.rectangle((width * 0.1, height * 0.3, width * 0.9, height * 0.86), fill=(252, 250, 244))
    write(draw, (width * 0.5, height * 0.16), "SUNNY", width * 0.26, (255, 246, 220), "mm")
    write(draw, (width * 0.5, height * 0.23), "LOOPS", width * 0.2, (255, 214, 74), "mm")
    write(draw, (width * 0.5, height * 0.335), "Nutrition facts", width * 0.105, (20, 20, 20), "mm")
    lines = ("Energy 1580 kJ", "Fat 5.1 g", "Sugars 18 g", "Fibre 8.9 g", "Protein 9.4 g", "Salt 0.7 g", "Iron 8 mg")
    for k, text in enumerate(lines):
        y = height * (0.4 + 0.06 * k)
        draw.line((width * 0.14, y - height * 0.03, width * 0.86, y - height * 0.03), fill=(90, 90, 90), width=2)
        write(draw, (width * 0.16, y), text, width * 0.085, (40, 40, 40), "lm")
    return np.asarray(image)


def tea_face(width: int, height: int, title: bool) -> Picture:
    """One face of the small tea box."""
    image = Image.new("RGB", (width, height), (18, 78, 66))
    draw = ImageDraw.Draw(image)
    step = width / 8
    for row in range(-1, int(height / step) + 2):
        for col in range(-1, 10):
            x, y = (col + 0.5 * (row % 2)) * step, row * step
            draw.ellipse((x - step * 0.2, y - step * 0.2, x + step * 0.2, y + step * 0.2), fill=(42, 118, 98))
    if title:
        draw.rounded_rectangle(
            (width * 0.12, height * 0.2, width * 0.88, height * 0.8), width * 0.05, fill=(244, 232, 200)
        )
        write(draw, (width * 0.5, height * 0.43), "JADE", height * 0.26, (18, 78, 66), "mm")
        write(draw, (width * 0.5, height * 0.66), "green tea", height * 0.13, (166, 92, 30), "mm")
    draw.rectangle((0, 0, width - 1, height - 1), outline=(206, 172, 92), width=max(3, width // 50))
    return np.asarray(image)


def bands(width: int, height: int, stops: tuple[tuple[float, Color], ...]) -> Picture:
    """Flat rings of a turned object, bottom to top: (from share of the profile, colour). Row 0 is the top end."""
    rows = np.zeros((height, 3), np.uint8)
    for start, color in stops:
        rows[: round(height * (1 - start))] = color
    return np.ascontiguousarray(np.repeat(rows[:, None], width, 1))


def soup_can(width: int, height: int) -> Picture:
    """Rows: base 0-0.2, wall 0.2-0.8, lid 0.8-1 of the profile (see shapes.can_profile)."""
    picture = bands(
        width, height, ((0, (150, 152, 156)), (0.21, (198, 30, 38)), (0.5, (248, 240, 226)), (0.79, (176, 178, 184)))
    )
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    for y in (0.5, 0.79):
        draw.rectangle((0, height * (1 - y) - 5, width, height * (1 - y) + 5), fill=(212, 168, 72))
    for k in range(3):
        x = width * (k + 0.5) / 3
        write(draw, (x, height * 0.345), "Roma", height * 0.15, (168, 22, 30), "mm")
        write(draw, (x, height * 0.44), "TOMATO SOUP", height * 0.045, (80, 40, 30), "mm")
        draw.ellipse((x - height * 0.1, height * 0.55, x + height * 0.1, height * 0.75), fill=(236, 76, 44))
        draw.ellipse((x - height * 0.05, height * 0.58, x - height * 0.01, height * 0.62), fill=(250, 160, 120))
        draw.polygon(
            [(x, height * 0.53), (x - height * 0.05, height * 0.57), (x + height * 0.05, height * 0.57)],
            fill=(60, 130, 52),
        )
    for ring in range(6):
        y = height * 0.02 + ring * height * 0.028
        draw.line((0, y, width, y), fill=(120, 122, 128), width=3)
    return np.asarray(image)


def dish_soap(width: int, height: int) -> Picture:
    """Rows follow shapes.bottle_profile: base and body up to 0.66, shoulder, then the white cap."""
    image = Image.fromarray(
        bands(width, height, ((0, (16, 128, 148)), (0.795, (226, 230, 234)), (0.81, (240, 242, 244))))
    )
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, height * 0.44, width, height * 0.82), fill=(238, 246, 244))
    draw.rectangle((0, height * 0.42, width, height * 0.45), fill=(250, 190, 40))
    draw.rectangle((0, height * 0.80, width, height * 0.83), fill=(250, 190, 40))
    for k in range(3):
        x = width * (k + 0.5) / 3
        write(draw, (x, height * 0.54), "mint", height * 0.125, (10, 104, 120), "mm")
        write(draw, (x, height * 0.62), "dish soap", height * 0.04, (60, 80, 84), "mm")
        for dx, dy, r in ((-0.05, 0.71, 0.035), (0.02, 0.69, 0.05), (0.07, 0.74, 0.028)):
            px, py, pr = x + dx * height, height * dy, r * height
            draw.ellipse((px - pr, py - pr, px + pr, py + pr), outline=(16, 128, 148), width=5, fill=(196, 230, 232))
    return np.asarray(image)


def glazed_bowl(rng: np.random.Generator, width: int, height: int) -> Picture:
    """Blue glaze with speckles, a bare rim, cream inside. Rows follow shapes.bowl_profile."""
    picture = bands(width, height, ((0, (36, 74, 128)), (0.5, (196, 160, 120)), (0.53, (232, 224, 206)))).astype(
        np.float32
    )
    picture *= 1 + 0.07 * cloud(rng, (height, width), (4, 24), 3)[..., None]
    for _ in range(420):
        y, x, r = rng.integers(0, height), rng.integers(0, width), int(rng.integers(1, 4))
        cv2.circle(picture, (int(x), int(y)), r, (70, 60, 56), -1, cv2.LINE_AA)
    return quantise(picture)
