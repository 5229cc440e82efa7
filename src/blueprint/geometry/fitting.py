"""Fit parametric solids to depth and outline at once, with a covariance that says what was not seen.

The residuals are the signed distance of surface points, the clearance of outline rays (a ray through the silhouette is
tangent to the solid) and the clearance of rays that miss the object, each divided by its noise, plus weak priors. Two
nuisance parameters, a depth bias and a mask bias, let systematic sensor and mask errors widen the result.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

from blueprint.geometry.evidence import Evidence, Rays
from blueprint.geometry.shapes import Prism, ray_clearance
from blueprint.geometry.transforms import Array

OUTLINE_SIGMA_PX = 1.5  # hand-drawn masks are 2-3 px off at worst
MASK_BIAS_SIGMA_PX = 1.5
DEPTH_BIAS_SIGMA_M = 0.002
POINT_SUPPORT = 120.0  # independent readings that depth noise, correlated over several pixels, is worth
OUTLINE_SUPPORT = 60.0


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

    dims: parameters -> the extents whose sigma is asked for.
    """

    name: str
    build: Callable[[Array], Prism]
    start: Array
    step: Array
    lower: Array
    upper: Array
    dims: Callable[[Array], Array]
    priors: tuple[Prior, ...] = ()


@dataclass(frozen=True)
class Fit:
    """cost: mean robust squared residual of the data (1 = noise as assumed), with `weight` independent readings.

    covariance: (P, P) with priors; free_covariance: without them (what the data alone say)
    """

    model: Model
    parameters: Array
    solid: Prism
    cost: float
    covariance: Array
    free_covariance: Array


def fit(model: Model, evidence: Evidence, noise: Noise, evaluations: int = 25) -> Fit:
    """Least squares with a Cauchy loss. Deterministic."""
    start = np.concatenate([np.clip(model.start, model.lower, model.upper), [0.0, 0.0]])
    lower = np.concatenate([model.lower, [-0.008, -4.0]])
    upper = np.concatenate([model.upper, [0.008, 4.0]])

    def residuals(p: Array) -> Array:
        return np.concatenate([_data(model.build(p[:-2]), p[-2], p[-1], evidence, noise), _priors(model, p)])

    step = np.concatenate([model.step, [1e-4, 0.02]])

    def slopes(p: Array) -> Array:
        base = residuals(p)
        forward = np.where(p + step <= upper, step, -step)
        return np.stack(
            [(residuals(p + d * e) - base) / d for d, e in zip(forward, np.eye(len(p)), strict=True)], axis=1
        )

    found = least_squares(residuals, start, slopes, bounds=(lower, upper), x_scale=100 * step, max_nfev=evaluations,
                          xtol=1e-5, ftol=1e-4)  # fmt: skip
    data = _data(model.build(found.x[:-2]), found.x[-2], found.x[-1], evidence, noise)
    jacobian = found.jac
    own = np.zeros(len(jacobian), dtype=bool)
    own[len(data) : len(jacobian) - 2] = True  # the rows of the model's own priors; nuisance priors always hold
    size = len(model.start)
    scale = max(1.0, float(np.sum(data**2)) / (POINT_SUPPORT + OUTLINE_SUPPORT))
    return Fit(model, found.x[:size], model.build(found.x[:size]), _cost(data),
               _covariance(jacobian, size) * scale, _covariance(jacobian[~own], size) * scale)  # fmt: skip


def _cost(data: Array) -> float:
    return float(np.sum(data**2))


def _data(solid: Prism, depth_bias: float, mask_bias_px: float, evidence: Evidence, noise: Noise) -> Array:
    sigma = np.hypot(0.001, noise.depth_m * evidence.range_m**2)
    points = (solid.distance(evidence.points) - depth_bias) / sigma
    outline = _clearance_px(solid, evidence.outline) - mask_bias_px
    free = np.minimum(_clearance_px(solid, evidence.free), 0.0)
    return np.concatenate([
        _robust(points) * np.sqrt(POINT_SUPPORT / max(len(points), 1)),
        _robust(outline / OUTLINE_SIGMA_PX) * np.sqrt(OUTLINE_SUPPORT / max(len(outline), 1)),
        _robust(free / 3.0) * np.sqrt(OUTLINE_SUPPORT / max(len(free), 1)),
    ])  # fmt: skip


def _clearance_px(solid: Prism, rays: Rays) -> Array:
    return ray_clearance(solid, rays.origins, rays.directions) / rays.pixel_m


def _robust(residuals: Array, scale: float = 2.0) -> Array:
    """Residuals whose square is the Cauchy loss: leaks of the mask and missing depth must not pull."""
    return np.sign(residuals) * scale * np.sqrt(np.log1p((residuals / scale) ** 2))


def _priors(model: Model, p: Array) -> Array:
    own = [(prior.value(p[:-2]) - prior.mean) / prior.sigma for prior in model.priors]
    return np.array([*own, p[-2] / DEPTH_BIAS_SIGMA_M, p[-1] / MASK_BIAS_SIGMA_PX])


def _covariance(jacobian: Array, size: int) -> Array:
    """Of the first `size` parameters; directions that nothing holds get a sigma of at most 1 (metre or unit)."""
    information = jacobian.T @ jacobian + np.eye(jacobian.shape[1])
    return np.linalg.inv(information)[:size, :size]


def dims_sigma(result: Fit, *, free: bool = False) -> Array:
    """One standard deviation of `model.dims` by propagation. free: without priors."""
    p, count = result.parameters, len(result.parameters)
    base = result.model.dims(p)
    slope = np.stack([(result.model.dims(p + 1e-4 * np.eye(count)[k]) - base) / 1e-4 for k in range(count)], axis=1)
    covariance = result.free_covariance if free else result.covariance
    return np.sqrt(np.einsum("ik,kl,il->i", slope, covariance, slope))
