"""The interval of the 90 % quantile of latencies, by the rules of `latencies`.

The quantile of all values, plus and minus t · sqrt(between + within): `within` is the variance of
the quantile when blocks of neighbours are resampled, `between` that of the restarts' quantiles over
what resampling explains. A small sample hardly shows its tail: so the upper bound is at least the
largest value.

Measured: how many upper bounds of 300 lay above the true quantile, in percent (AR(1) noise with
autocorrelation ρ; restarts apart by `b` times the noise; "skewed" is exponential noise, ρ = 0;
`tests/statistics` repeats some of the cells). Without the largest value they were up to 14 lower.

    restarts × values     b      ρ = 0    ρ = 0.6    skewed
        3 × 4            0         89        89         87
        3 × 4            1         86        82         89
        3 × 10           0         97        93         99
        3 × 10           1         86        83         91
        6 × 6            0         99        92         99
        6 × 6            1         92        89         95
       10 × 10           0        100       100        100
       10 × 10           1         99        97        100
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgegen.statistics.latencies import (
    INTERVAL_COUNT,
    INTERVAL_RESTARTS,
    Restarts,
    block_length,
    resampled,
)
from edgegen.statistics.student import student_t

_P90 = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantileInterval:
    """A quantile of a sample, and its 95 % interval."""

    value: float
    low: float
    high: float


def p90_interval(restarts: Restarts) -> QuantileInterval | None:
    """Return the 90 % quantile of positive values with its interval, or None.

    None where there are fewer than three restarts or six values, where a restart has only one, or
    where a value is not positive. It is computed on logarithms: a latency's errors are ratios.
    """
    if any(value <= 0 for values in restarts for value in values):
        return None
    series = [np.log(np.asarray(values, np.float64)) for values in restarts if len(values)]
    count = sum(map(len, series))
    if (
        len(series) < INTERVAL_RESTARTS
        or count < INTERVAL_COUNT
        or min(map(len, series), default=0) < 2
    ):
        return None
    pooled = np.concatenate(series)
    centre = float(np.quantile(pooled, _P90))
    half = _half_width(series, count)
    return QuantileInterval(
        value=math.exp(centre),
        low=math.exp(centre - half),
        high=math.exp(max(centre + half, float(pooled.max()))),
    )


def _half_width(series: Sequence[NDArray[np.float64]], count: int) -> float:
    length = block_length(series)
    quantiles = np.quantile(resampled(series, length), _P90, axis=1)
    within = float(np.var(quantiles))
    own = [float(np.quantile(values, _P90)) for values in series]
    between = max(float(np.var(own, ddof=1)) / len(series) - within, 0.0)
    total = between + within
    if total == 0.0:
        return 0.0
    blocks = max(count / length - 1, 1.0)
    share = between / total
    freedom = 1 / (share**2 / (len(series) - 1) + (1 - share) ** 2 / blocks)
    return student_t(freedom) * math.sqrt(total)
