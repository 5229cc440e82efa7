"""The families of solids that are tried on an object, with their starting values."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from blueprint.geometry.completion.evidence import Evidence
from blueprint.geometry.completion.fitting import Model, Prior
from blueprint.geometry.completion.shapes import Prism, lying_rotation, yaw_rotation
from blueprint.geometry.transforms import Array

# A guess, not a statistic: what stands before a camera is on average a little less deep than it is wide, within a
# factor of about 1.5. It decides only where neither depth nor outline does.
DEPTH_TO_WIDTH_LOG_MEAN = -0.25
DEPTH_TO_WIDTH_LOG_SIGMA = 0.4
SMALLEST_M, LARGEST_M = 0.004, 0.6
PROFILE_KNOTS = 9
# Twice the negative log odds against a plain box or can: made things are mostly plain. Guesses as well.
RARITY = {
    "box": 0.0,
    "cylinder": 0.0,
    "lying_cylinder": 5.0,
    "rounded_box": 15.0,
    "lathe": 15.0,
    "container": 15.0,
    "bottle": 25.0,
}


# Kinds of parameters: step for derivatives, lower and upper bound; metres and radians.
KINDS = {
    "p": (2e-4, -10.0, 10.0),  # position
    "s": (2e-4, SMALLEST_M / 2, LARGEST_M),  # size
    "y": (2e-3, -20.0, 20.0),  # yaw
    "r": (1e-2, 0.0, 1.0),  # roundness
    "o": (1e-2, 0.3, 1.0),  # roundness of a bottle, which is never sharp
    "t": (1e-2, 0.0, 1.0),  # taper
    "l": (2e-3, -0.4, 0.4),  # lean
    "w": (2e-4, 0.0015, 0.01),  # wall
    "k": (5e-3, 0.12, 1.6),  # profile knot
}


def families(evidence: Evidence, base_z: float) -> list[list[Model]]:
    """Models grouped by family; each group holds several starts of the same family. Bottles come later."""
    view = _view_direction(evidence)
    return [
        [_cylinder(evidence, base_z, view)],
        [_box(evidence, base_z, view, yaw, 0.0) for yaw in _yaws(evidence)],
        [_lying_cylinder(evidence, base_z, view, yaw) for yaw in _lying_yaws(evidence, base_z)],
        [_rounded(evidence, base_z, view, yaw) for yaw in _yaws(evidence)],
        [_lathe(evidence, base_z, view)],
        containers(evidence, base_z),
    ]


def bottles(evidence: Evidence, base_z: float) -> list[Model]:
    """Starts of the family of bottles: many parameters, so only worth trying where nothing plainer fits."""
    view = _view_direction(evidence)
    return [_bottle(evidence, base_z, view, yaw) for yaw in _yaws(evidence)]


def _view_direction(evidence: Evidence) -> Array:
    """(2,) horizontal unit vector from the cameras to the object."""
    toward = (evidence.points.mean(axis=0) - evidence.outline.origins.mean(axis=0))[:2]
    return toward / max(float(np.linalg.norm(toward)), 1e-9)


def _extent(evidence: Evidence, direction: Array) -> tuple[float, float]:
    low, high = np.percentile(evidence.points[:, :2] @ direction, [1.0, 99.0])
    return float(low), float(high)


def _top(evidence: Evidence, base_z: float) -> float:
    return max(float(np.percentile(evidence.points[:, 2], 99.5)) - base_z, 0.006)


def _yaws(evidence: Evidence) -> list[float]:
    """Four headings of the footprint [rad], the one of the smallest rectangle first."""
    _, _, angle_deg = cv2.minAreaRect((evidence.points[:, :2] * 1000).astype(np.float32))
    return [float(np.deg2rad(angle_deg)) + k * np.pi / 8 for k in (0, 2, 1, 3)]


def _start_box(evidence: Evidence, view: Array, yaw: float) -> tuple[float, float, float, float]:
    """Centre (x, y) and half extents (a, b) in the frame of `yaw`; a side seen edge-on gets half of the other one."""
    axes = yaw_rotation(yaw)[:2, :2]
    (low_x, high_x), (low_y, high_y) = (_extent(evidence, axes[:, k]) for k in (0, 1))
    spans, lows, highs = [high_x - low_x, high_y - low_y], [low_x, low_y], [high_x, high_y]
    for k in (0, 1):
        lacking = 0.5 * spans[1 - k] - spans[k]
        if lacking > 0:
            if view @ axes[:, k] > 0:
                highs[k] += lacking
            else:
                lows[k] -= lacking
    center = axes @ np.array([(lows[0] + highs[0]) / 2, (lows[1] + highs[1]) / 2])
    return float(center[0]), float(center[1]), (highs[0] - lows[0]) / 2, (highs[1] - lows[1]) / 2


def _aspect_prior(build: Callable[[Array], Prism], view: Array) -> Prior:
    across = np.array([-view[1], view[0]])

    def ratio(p: Array) -> float:
        solid = build(p)
        a, b = solid.half
        local = solid.rotation[:2, :2]
        depth, width = (np.abs(d @ local[:, 0]) * a + np.abs(d @ local[:, 1]) * b for d in (view, across))
        return float(np.log(depth / width))

    return Prior(ratio, DEPTH_TO_WIDTH_LOG_MEAN, DEPTH_TO_WIDTH_LOG_SIGMA)


def _model(name: str, build: Callable[[Array], Prism], start: list[float], kinds: str, dims: Callable[[Array], Array],
           priors: tuple[Prior, ...] = ()) -> Model:  # fmt: skip
    """kinds: one letter of KINDS per parameter."""
    step, lower, upper = (np.array([KINDS[kind][column] for kind in kinds]) for column in range(3))
    return Model(name, build, np.array(start), step, lower, upper, dims, priors, RARITY[name])


def _cylinder(evidence: Evidence, base_z: float, view: Array) -> Model:
    def build(p: Array) -> Prism:
        return Prism(np.eye(3), np.array([p[0], p[1], base_z]), (p[2], p[2]), p[3], 1.0)

    x, y, radius = _round_start(evidence, view)
    return _model("cylinder", build, [x, y, radius, _top(evidence, base_z)], "ppss",
                  lambda p: np.array([2 * p[2], 2 * p[2], p[3]]))  # fmt: skip


def _round_start(evidence: Evidence, view: Array) -> tuple[float, float, float]:
    across = np.array([-view[1], view[0]])
    low, high = _extent(evidence, across)
    radius = max((high - low) / 2, SMALLEST_M)
    center = across * (low + high) / 2 + view * (_extent(evidence, view)[0] + radius)
    return float(center[0]), float(center[1]), radius


def _box(evidence: Evidence, base_z: float, view: Array, yaw: float, roundness: float) -> Model:
    def build(p: Array) -> Prism:
        return Prism(yaw_rotation(p[2]), np.array([p[0], p[1], base_z]), (p[3], p[4]), p[5], roundness)

    x, y, a, b = _start_box(evidence, view, yaw)
    return _model("box", build, [x, y, yaw, a, b, _top(evidence, base_z)], "ppysss",
                  lambda p: np.array([2 * p[3], 2 * p[4], p[5]]), (_aspect_prior(build, view),))  # fmt: skip


def _rounded(evidence: Evidence, base_z: float, view: Array, yaw: float) -> Model:
    def build(p: Array) -> Prism:
        return Prism(yaw_rotation(p[2]), np.array([p[0], p[1], base_z]), (p[3], p[4]), p[5], p[6])

    x, y, a, b = _start_box(evidence, view, yaw)
    return _model("rounded_box", build, [x, y, yaw, a, b, _top(evidence, base_z), 0.5], "ppysssr",
                  lambda p: np.array([2 * p[3], 2 * p[4], p[5]]), (_aspect_prior(build, view),))  # fmt: skip


def _lying_yaws(evidence: Evidence, base_z: float) -> list[float]:
    return _yaws(evidence) if _top(evidence, base_z) < 0.15 else []


def _lying_cylinder(evidence: Evidence, base_z: float, view: Array, yaw: float) -> Model:
    """Parameters: centre x, y, yaw of the axis, radius, length; its lowest line is on the support."""

    def build(p: Array) -> Prism:
        axis = np.array([np.cos(p[2]), np.sin(p[2]), 0.0])
        base = np.array([p[0], p[1], base_z + p[3]]) - axis * p[4] / 2
        return Prism(lying_rotation(p[2]), base, (p[3], p[3]), p[4], 1.0)

    axis = np.array([np.cos(yaw), np.sin(yaw)])
    low, high = _extent(evidence, axis)
    x, y, _, _ = _start_box(evidence, view, yaw)
    return _model("lying_cylinder", build, [x, y, yaw, _top(evidence, base_z) / 2, high - low], "ppyss",
                  lambda p: np.array([p[4], 2 * p[3], 2 * p[3]]))  # fmt: skip


def _smooth(first: int) -> tuple[Prior, ...]:
    """Second differences of the profile knots from parameter `first` on are small; a shoulder may still bend."""
    return tuple(
        Prior(lambda p, k=k: float(p[first + k] - 2 * p[first + k + 1] + p[first + k + 2]), 0.0, 0.25)
        for k in range(PROFILE_KNOTS - 3)
    )


def _widths(evidence: Evidence, base_z: float, view: Array) -> list[float]:
    """Visible width at the knots above the base, relative to the lowest quarter: where the profiles start from."""
    across, height = np.array([-view[1], view[0]]), _top(evidence, base_z)
    level = (evidence.points[:, 2] - base_z) / height * (PROFILE_KNOTS - 1)
    side = evidence.points[:, :2] @ across
    found = {k: side[np.abs(level - k) < 0.6] for k in range(PROFILE_KNOTS)}
    widths = {k: float(np.ptp(np.percentile(part, [2, 98]))) for k, part in found.items() if len(part) >= 8}
    if len(widths) < 3:
        return [0.95] * (PROFILE_KNOTS - 1)
    every = np.interp(np.arange(PROFILE_KNOTS), list(widths), list(widths.values()))
    return np.clip(every[1:] / max(float(np.median(every[:3])), 1e-4), 0.15, 1.4).tolist()


def _lathe(evidence: Evidence, base_z: float, view: Array) -> Model:
    """Parameters: centre x, y, radius of the base, height, profile knots above the base."""

    def build(p: Array) -> Prism:
        return Prism(
            np.eye(3), np.array([p[0], p[1], base_z]), (p[2], p[2]), p[3], 1.0, (1.0, *p[4:].tolist()), taper=1.0
        )

    x, y, radius = _round_start(evidence, view)
    start = [x, y, radius, _top(evidence, base_z), *_widths(evidence, base_z, view)]
    return _model("lathe", build, start, "ppss" + "k" * (PROFILE_KNOTS - 1),
                  lambda p: np.array([2 * p[2] * max(1.0, *p[4:]), 2 * p[2] * max(1.0, *p[4:]), p[3]]),
                  _smooth(4))  # fmt: skip


def containers(evidence: Evidence, base_z: float) -> list[Model]:
    """Starts with a narrow and a wide foot; nothing that is flatter than 2 cm is tried as one."""
    return [_container(evidence, base_z, foot) for foot in (0.45, 0.9)] if _top(evidence, base_z) > 0.02 else []


def _container(evidence: Evidence, base_z: float, foot: float) -> Model:
    """A bowl or a mug without its handle: a lathe that is open above.

    Parameters: centre x, y, largest radius, height, wall, profile knots from the foot to the rim.
    """

    def build(p: Array) -> Prism:
        base = np.array([p[0], p[1], base_z])
        return Prism(np.eye(3), base, (p[2], p[2]), p[3], 1.0, tuple(p[5:].tolist()), taper=1.0, wall=p[4])

    (low_x, high_x), (low_y, high_y) = (_extent(evidence, axis) for axis in np.eye(2))
    radius = max(high_x - low_x, high_y - low_y) / 2
    start = [(low_x + high_x) / 2, (low_y + high_y) / 2, radius, _top(evidence, base_z), 0.004]
    rim = Prior(lambda p: float(p[-1]), 1.0, 0.02)
    start += (np.linspace(foot, 1.0, PROFILE_KNOTS) ** 0.5).tolist()
    return _model("container", build, start, "ppssw" + "k" * PROFILE_KNOTS,
                  lambda p: build(p).extents(), (rim, *_smooth(5)))  # fmt: skip


def _bottle(evidence: Evidence, base_z: float, view: Array, yaw: float) -> Model:
    """Parameters: centre x, y, yaw, half extents a, b, height, roundness, taper, lean, profile knots above the base."""

    def build(p: Array) -> Prism:
        base = np.array([p[0], p[1], base_z])
        return Prism(yaw_rotation(p[2]), base, (p[3], p[4]), p[5], p[6], (1.0, *p[9:].tolist()), p[7], p[8])

    x, y, a, b = _start_box(evidence, view, yaw)
    start = [x, y, yaw, a, b, _top(evidence, base_z), 0.8, 0.4, 0.0, *_widths(evidence, base_z, view)]
    upright = Prior(lambda p: float(p[8]), 0.0, 0.05)
    return _model("bottle", build, start, "ppysssotl" + "k" * (PROFILE_KNOTS - 1), lambda p: build(p).extents(),
                  (_aspect_prior(build, view), upright, *_smooth(9)))  # fmt: skip
