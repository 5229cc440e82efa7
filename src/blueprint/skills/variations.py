"""Draws of what differs from episode to episode, each a pure function of its generator: looks, physics, goals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from blueprint.model.spatial import Vec3
from blueprint.model.variation import SHARE, TEXTURES, CameraShift, Lamp, Level, Look, SensorNoise

Array = NDArray[np.float64]

# whole ranges, at level `high`; our choice, wide enough to be seen and narrow enough for the scene to stay itself
AMBIENT = 0.5  # +- of the light without direction
BRIGHTNESS = (0.4, 1.4)  # of a lamp, around 1
WARMTH = 0.3  # more red and less blue, or the other way round
TINT = 0.25  # +- of each colour of a body
SHIFT_M, TURN_RAD, FOCAL = 0.015, np.deg2rad(2.0), 0.03  # of a camera: a mount put back by hand, a recalibration
SHOT, READ = 0.022, 0.012  # of a webcam in a dim room; half of it in a bright one
DEPTH_M = 0.0038  # at 1 m: twice that of a structured-light sensor (Nguyen et al. 2012, see `geometry.sensor_noise`)
DROPOUT = 0.5


def draw_look(rng: np.random.Generator, level: Level, bodies: Sequence[str], cameras: Sequence[str]) -> Look:
    """Lights, colours, textures, camera poses and sensor noise; the scene as captured at level `none`.

    bodies: names that may change their colours, `world` for the table; cameras: names in the MJCF
    """
    share = SHARE[level]
    if share == 0.0:
        return Look()
    return Look(
        seed=int(rng.integers(2**31)),
        ambient=_around(rng, 1.0, share * AMBIENT),
        lamps=_lamps(rng, share),
        tints={name: _triple(1 + rng.uniform(-share * TINT, share * TINT, 3)) for name in bodies},
        textures={
            name: TEXTURES[int(rng.integers(len(TEXTURES)))]
            for name in bodies
            if rng.uniform() < (share if name == "world" else share / 4)
        },
        cameras={name: _shift(rng, share) for name in cameras},
        noise=SensorNoise(
            shot=_upto(rng, share * SHOT),
            read=_upto(rng, share * READ),
            depth=_upto(rng, share * DEPTH_M),
            depth_dropout=_upto(rng, share * DROPOUT),
        ),
    )


def _lamps(rng: np.random.Generator, share: float) -> tuple[Lamp, ...]:
    """A key light from above, and up to two lamps that fill in."""
    low, high = (1 + share * (bound - 1) for bound in BRIGHTNESS)
    tilt, turn = rng.uniform(0, share * np.deg2rad(65)), rng.uniform(0, 2 * np.pi)
    direction = (np.sin(tilt) * np.cos(turn), np.sin(tilt) * np.sin(turn), -np.cos(tilt))
    color = rng.uniform(low, high) * _white(rng, share)
    lamps = [Lamp(kind="directional", color=_triple(color), direction=_triple(direction), shadow=True)]
    for _ in range(int(rng.integers(0, 3))):
        angle, radius = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 2.0)
        position = (radius * np.cos(angle), radius * np.sin(angle), rng.uniform(0.8, 2.5))
        color = rng.uniform(0.2, 0.6) * _white(rng, share)
        lamps.append(Lamp(kind="point", color=_triple(color), position=_triple(position)))
    return tuple(lamps)


def _white(rng: np.random.Generator, share: float) -> Array:
    """Warm to cool, equally bright."""
    warmth = rng.uniform(-share * WARMTH, share * WARMTH)
    return np.array([1 + warmth, 1.0, 1 - warmth])


def _shift(rng: np.random.Generator, share: float) -> CameraShift:
    return CameraShift(
        translation=_triple(rng.uniform(-share * SHIFT_M, share * SHIFT_M, 3)),
        rotation=_triple(rng.uniform(-share * TURN_RAD, share * TURN_RAD, 3)),
        focal=_around(rng, 1.0, share * FOCAL),
    )


# Values are rounded so that what is written down is what was used.


def _around(rng: np.random.Generator, middle: float, reach: float) -> float:
    return round(float(rng.uniform(middle - reach, middle + reach)), 5)


def _upto(rng: np.random.Generator, most: float) -> float:
    return round(float(rng.uniform(0.3 * most, most)), 6)


def _triple(values: Sequence[float] | Array) -> Vec3:
    x, y, z = (round(float(value), 5) for value in values)
    return x, y, z
