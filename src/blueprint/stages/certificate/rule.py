"""What the data may be used for: one rule, and the reasons it gives.

| level | what it takes | quality score of the episodes |
|---|---|---|
| unsuitable | no episode, made-up sensor data, or a failed check of the dataset itself | below 0.60 |
| development_only | any other failed check, or physics or sensors of an unknown kind | 0.60 |
| physics_verified | a physics engine ran it, every check holds; the pictures are simulated by a rasteriser | 0.80 |
| production_training | as above, a real capture, and photorealistic sensors | 0.90 |

The level is the lowest that any reason allows. Sim-to-real transfer is not measured, so no level claims it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from blueprint.model.certificate import Measurement, Suitability
from blueprint.verify import made_up

LEVELS: tuple[Suitability, ...] = get_args(Suitability)  # lowest first

# the earlier system's bounds; its `fine_tuning` is `physics_verified`
LEAST_SCORE: dict[Suitability, float] = {
    "development_only": 0.60,
    "physics_verified": 0.80,
    "production_training": 0.90,
}

RASTERISED = ("mujoco",)
PHOTOREALISTIC = ("isaac_sim_replicator",)
# which renderers may say of their pictures that they come from there
RENDERERS = {
    "mock": ("mock",),
    "mujoco": ("mujoco", "raster"),
    "isaac_sim_replicator": ("isaac_sim",),
    "blender_cycles": ("hero",),  # neither of the above kinds: for development
}
PHYSICS_ENGINES = ("mujoco",)


@dataclass(frozen=True)
class Verdict:
    level: Suitability
    reasons: tuple[str, ...]


def is_procedural(origin: str) -> bool:
    return origin.lower().startswith("procedural")


def sensor_source(claimed: str, renderer: str) -> str:
    """What a recording says of its pictures, if the renderer of its receipt can have made such; else what is doubtful.

    renderer: name and version of what ran
    """
    name = renderer.partition(" ")[0]
    return claimed if name in RENDERERS.get(claimed, ()) else f"unknown ({name or 'nobody'} claims {claimed})"


def suitability(
    *,
    origin: str,
    sensor_source: str,
    physics_backend: str,
    episodes: int,
    quality: float | None,
    measurements: Sequence[Measurement],
) -> Verdict:
    """The lowest level that any of the reasons allows; without a reason, the highest.

    quality: mean score in [0, 1]; None = not rated yet, which a certificate never is
    """
    caps: list[tuple[Suitability, str]] = []
    for level, (next_level, least) in zip(LEVELS, LEAST_SCORE.items(), strict=False):
        if quality is not None and not quality >= least:  # also when it is not a number
            caps.append((level, f"the episodes' quality is {quality:.2f}; {next_level} needs {least:.2f}"))
    if episodes == 0:
        caps.append(("unsuitable", "there is no successful episode"))
    caps += _sensor_caps(sensor_source)
    if physics_backend.partition(" ")[0] not in PHYSICS_ENGINES:  # a version may follow the name
        caps.append(("development_only", f"{physics_backend!r} is not a known physics engine"))
    if is_procedural(origin):
        caps.append(("physics_verified", "the capture is procedural, not a real scene"))
    for check in measurements:
        if check.passed is False:
            level: Suitability = "unsuitable" if check.stage == "dataset" else "development_only"
            caps.append((level, f"failed: {check.text}: {written(check)}"))
    lowest = min((LEVELS.index(level) for level, _ in caps), default=len(LEVELS) - 1)
    return Verdict(LEVELS[lowest], tuple(dict.fromkeys(reason for _, reason in caps)))


def lower(one: Suitability, other: Suitability) -> Suitability:
    return one if LEVELS.index(one) < LEVELS.index(other) else other


def physics_verified(physics_backend: str, episodes: int, measurements: Sequence[Measurement]) -> bool:
    """Whether a physics engine ran the episodes, and every check of the scene, the physics and the success held."""
    known = physics_backend.partition(" ")[0] in PHYSICS_ENGINES
    return known and episodes > 0 and not any(check.passed is False for check in measurements)


def written(check: Measurement) -> str:
    """What was measured and what was needed."""
    return (
        f"{check.measured:.4g} {check.unit}".strip()
        + f", bound {check.comparison} {check.bound:.4g} {check.unit}".rstrip()
    )


def _sensor_caps(sensor_source: str) -> list[tuple[Suitability, str]]:
    if made_up([sensor_source]):
        return [("unsuitable", f"sensor data is made up ({sensor_source})")]
    if sensor_source in RASTERISED:
        return [
            ("physics_verified", f"pictures come from a rasteriser ({sensor_source}), not from photorealistic sensors")
        ]
    if sensor_source in PHOTOREALISTIC:
        return []
    return [("development_only", f"{sensor_source!r} is not a known sensor source")]
