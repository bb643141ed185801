"""Noise of a latency series: covariances on a grid, and what a sum over steps costs under each.

The noise of consecutive values is a slow wander and white jitter: AR(1) with the autocorrelation
φ at lag 1, which has the share w of the variance, and white noise, which has the rest. White noise
alone is φ = 0. Neither φ nor w is known; both are summed over, on a grid. (AR(1) alone would not
do: with half of the variance white, it takes a wander over minutes for a change.)

Every mean that is piecewise constant or linear is a sum of steps x_t, with x_t(i) = 1 for i ≥ t.
So generalised least squares needs no more than the products of steps under R⁻¹, R being the
correlation matrix, and these are double suffix sums of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

AUTOCORRELATIONS: Mapping[float, float] = {
    0.3: 0.0,
    0.6: 0.0,
    0.8: 0.0,
    0.9: 0.0,
    0.95: 0.0,
    0.98: -4.0,
}
"""φ -> logarithm of its prior weight, beside 0 for white noise.

The slower a wander, the better it explains a lasting change away: while all weighed the
same, drifts of 1.1 were taken for wanders over minutes. A wander over most of a run is a change.
"""
WANDER_SHARES = (1.0, 0.5, 0.2)


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseGrid:
    """What `count` values need under each noise model g of a grid; axes are (g, …).

    `inverse` (g, count, count) is R⁻¹, `log_determinant` (g,) that of R, `log_prior` (g,) is the
    model's weight; `steps` (g, count, count) holds x_sᵀ R⁻¹ x_t, and `summed`
    (g, count + 1, count + 1) its two-dimensional prefix sums.
    """

    count: int
    inverse: Floats
    log_determinant: Floats
    log_prior: Floats
    steps: Floats
    summed: Floats


@lru_cache(maxsize=6)
def noise_grid(count: int) -> NoiseGrid:
    """Return the grid for series of `count` values."""
    lags = np.abs(np.arange(count)[:, None] - np.arange(count)[None, :])
    correlations, log_prior = [np.eye(count)], [0.0]
    for phi, log_prior_of_phi in AUTOCORRELATIONS.items():
        wander = phi**lags
        correlations += [w * wander + (1 - w) * np.eye(count) for w in WANDER_SHARES]
        log_prior += [log_prior_of_phi] * len(WANDER_SHARES)
    return grid_of(np.stack(correlations), np.array(log_prior))


def grid_of(correlations: Floats, log_prior: Floats) -> NoiseGrid:
    """Return the grid of these correlation matrices (g, count, count), weighted by a prior (g,)."""
    count = correlations.shape[-1]
    inverse: Floats = np.linalg.inv(correlations).astype(np.float64)
    steps = suffix_sums(suffix_sums(inverse).swapaxes(1, 2))
    summed = np.zeros((len(correlations), count + 1, count + 1))
    summed[:, 1:, 1:] = steps.cumsum(axis=1).cumsum(axis=2)
    return NoiseGrid(
        count=count,
        inverse=inverse,
        log_determinant=np.linalg.slogdet(correlations)[1],
        log_prior=log_prior,
        steps=steps,
        summed=summed,
    )


def suffix_sums(values: Floats) -> Floats:
    """Return the sums from each place of the last axis to its end."""
    return values[..., ::-1].cumsum(axis=-1)[..., ::-1]
