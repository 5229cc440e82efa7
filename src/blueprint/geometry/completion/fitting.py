"""Fit parametric solids to depth and outline at once, with a covariance that says what was not seen.

The residuals are the signed distance of surface points, the clearance of outline rays (a ray through the silhouette is
tangent to the solid) and the clearance of rays that miss the object, each divided by its noise, plus weak priors. Two
nuisance parameters, a depth bias and a mask bias, let systematic sensor and mask errors widen the result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from blueprint.geometry.completion.evidence import Evidence, Rays
from blueprint.geometry.completion.shapes import Prism, ray_clearance
from blueprint.geometry.transforms import Array

SURFACE_SIGMA_M = 0.002  # structured light smears edges and corners, whatever the range
OUTLINE_SIGMA_PX = 1.5  # hand-drawn masks are 2-3 px off at worst
# Nuisance parameters of every fit, their sigma, bounds and derivative steps: bias of the depth [m], growth of the mask
# [px], shift of the depth picture against the colour picture (u, v) [px], tilt of the support about x and y [rad].
NUISANCE_SIGMA = np.array([0.002, 1.0, 1.5, 1.5, 0.015, 0.015])
NUISANCE_BOUND = np.array([0.008, 4.0, 8.0, 8.0, 0.06, 0.06])
NUISANCE_STEP = np.array([1e-4, 0.02, 0.02, 0.02, 5e-4, 5e-4])
NUISANCES = len(NUISANCE_SIGMA)
POINT_SUPPORT = 60.0  # independent readings that depth noise, correlated over several pixels, is worth
OUTLINE_SUPPORT = 40.0
HOPELESS_COST = 600.0  # six times what noise explains: this family is not worth refining


@dataclass(frozen=True)
class Noise:
    """depth_m: sensor noise at 1 m, growing with the square of the range (structured light and stereo alike)."""

    depth_m: float


@dataclass(frozen=True)
class Prior:
    """A guess about one parameter, or about a function of all: residual (value - mean) / sigma."""

    value: Callable[[Array], float]
    mean: float
    sigma: float


@dataclass(frozen=True)
class Model:
    """A family of solids. build: parameters -> solid; start: (P,); step: (P,) for derivatives; lower, upper: bounds.

    dims: parameters -> the extents whose sigma is asked for; rarity: cost of assuming such an unusual shape, twice its
    negative log odds.
    """

    name: str
    build: Callable[[Array], Prism]
    start: Array
    step: Array
    lower: Array
    upper: Array
    dims: Callable[[Array], Array]
    priors: tuple[Prior, ...] = ()
    rarity: float = 0.0


@dataclass(frozen=True)
class Fit:
    """cost: sum of blunted squared residuals of the data; POINT_SUPPORT + OUTLINE_SUPPORT when noise is as assumed

    nuisance: what the nuisance parameters came to
    covariance: (P, P) with priors; free_covariance: without them (what the data alone say)
    """

    model: Model
    parameters: Array
    solid: Prism
    nuisance: Array
    cost: float
    covariance: Array
    free_covariance: Array


def fit(model: Model, evidence: Evidence, noise: Noise, evaluations: int = 25, *, rough: bool = False) -> Fit:
    """Least squares, deterministic. rough: with a loss that still pulls from far away."""
    loss = _blunt if rough else _robust
    start = np.concatenate([np.clip(model.start, model.lower, model.upper), np.zeros(NUISANCES)])
    lower = np.concatenate([model.lower, -NUISANCE_BOUND])
    upper = np.concatenate([model.upper, NUISANCE_BOUND])

    def residuals(p: Array) -> Array:
        return np.concatenate(
            [_data(model.build(p[:-NUISANCES]), p[-NUISANCES:], evidence, noise, loss), _priors(model, p)]
        )

    step = np.concatenate([model.step, NUISANCE_STEP])

    def slopes(p: Array) -> Array:
        base = residuals(p)
        forward = np.where(p + step <= upper, step, -step)
        return np.stack(
            [(residuals(p + d * e) - base) / d for d, e in zip(forward, np.eye(len(p)), strict=True)], axis=1
        )

    found = least_squares(
        residuals,
        start,
        jac=slopes,  # pyright: ignore[reportArgumentType] - the stub knows only the names of schemes
        bounds=(lower, upper),
        x_scale=100 * step,
        max_nfev=evaluations,
        xtol=1e-5,
        ftol=1e-4,
    )
    data = _data(model.build(found.x[:-NUISANCES]), found.x[-NUISANCES:], evidence, noise, loss)
    jacobian = found.jac
    own = np.zeros(len(jacobian), dtype=bool)
    own[len(data) : len(jacobian) - NUISANCES] = True  # the rows of the model's own priors; nuisance priors always hold
    size = len(model.start)
    scale = max(1.0, float(np.sum(data**2)) / (POINT_SUPPORT + OUTLINE_SUPPORT))
    cost = float(np.sum(_data(model.build(found.x[:size]), found.x[size:], evidence, noise, _blunt) ** 2))
    return Fit(model, found.x[:size], model.build(found.x[:size]), found.x[size:], cost,
               _covariance(jacobian, size) * scale, _covariance(jacobian[~own], size) * scale)  # fmt: skip


def best_fit(starts: Sequence[Model], evidence: Evidence, noise: Noise, *, patience: int = 12) -> Fit:
    """The best of several starts of one family: a few rough steps for each, then the robust loss for the two best.

    patience: rough steps that the two best may take; families with many parameters need more.
    """
    tried = [fit(model, evidence, noise, 12, rough=True) for model in starts]
    tried = sorted(tried, key=lambda found: found.cost)[:2]
    if tried[0].cost > HOPELESS_COST:
        return tried[0]
    if patience > 12:
        tried = [fit(_resumed(found), evidence, noise, patience, rough=True) for found in tried]
    return min((fit(_resumed(found), evidence, noise) for found in tried), key=lambda found: found.cost)


def _resumed(found: Fit) -> Model:
    return replace(found.model, start=found.parameters)


def _data(solid: Prism, nuisance: Array, evidence: Evidence, noise: Noise, loss: Callable[[Array], Array]) -> Array:
    solid = replace(solid, rotation=Rotation.from_rotvec([nuisance[4], nuisance[5], 0.0]).as_matrix() @ solid.rotation)
    sigma = np.hypot(SURFACE_SIGMA_M, noise.depth_m * evidence.range_m**2)
    points = (solid.distance(evidence.points) - nuisance[0]) / sigma
    outline = _clearance_px(solid, evidence.outline) - nuisance[1] - evidence.outline.normals @ nuisance[2:4]
    free = np.minimum(_clearance_px(solid, evidence.free), 0.0)
    return np.concatenate([
        loss(points) * np.sqrt(POINT_SUPPORT / max(len(points), 1)),
        loss(outline / OUTLINE_SIGMA_PX) * np.sqrt(OUTLINE_SUPPORT / max(len(outline), 1)),
        loss(free / 3.0) * np.sqrt(OUTLINE_SUPPORT / max(len(free), 1)),
    ])  # fmt: skip


def _clearance_px(solid: Prism, rays: Rays) -> Array:
    return ray_clearance(solid, rays.origins, rays.directions) / rays.pixel_m


def _blunt(residuals: Array, scale: float = 3.0) -> Array:
    """Residuals whose square is the pseudo-Huber loss: a wrong shape must not hide among the outliers."""
    return np.sign(residuals) * scale * np.sqrt(2 * (np.sqrt(1 + (residuals / scale) ** 2) - 1))


def _robust(residuals: Array, scale: float = 2.0) -> Array:
    """Residuals whose square is the Cauchy loss: leaks of the mask and missing depth must not pull."""
    return np.sign(residuals) * scale * np.sqrt(np.log1p((residuals / scale) ** 2))


def _priors(model: Model, p: Array) -> Array:
    own = [(prior.value(p[:-NUISANCES]) - prior.mean) / prior.sigma for prior in model.priors]
    return np.concatenate([np.array(own, dtype=float), p[-NUISANCES:] / NUISANCE_SIGMA])


def _covariance(jacobian: Array, size: int) -> Array:
    """Of the first `size` parameters; directions that nothing holds get a sigma of at most 1 (metre or unit)."""
    information = jacobian.T @ jacobian + np.eye(jacobian.shape[1])
    return np.asarray(np.linalg.inv(information)[:size, :size], dtype=float)


def dims_sigma(result: Fit, *, free: bool = False) -> Array:
    """One standard deviation of `model.dims` by propagation. free: without priors."""
    p, count = result.parameters, len(result.parameters)
    base = result.model.dims(p)
    slope = np.stack([(result.model.dims(p + 1e-4 * np.eye(count)[k]) - base) / 1e-4 for k in range(count)], axis=1)
    covariance = result.free_covariance if free else result.covariance
    variance = np.sum((slope @ covariance) * slope, axis=1)
    return np.asarray(np.sqrt(np.maximum(variance, 0.0)), dtype=float)
