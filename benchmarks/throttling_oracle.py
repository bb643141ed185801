"""What could be found at best: a detector that knows the noise and the shape, but not the place.

It knows the noise's standard deviation and autocorrelation, which steps are outliers, that there
is a step (a ramp, a drift over the whole run) and all other changes of the series. It takes the
place with the greatest generalised likelihood ratio, and tells it above a threshold. Differences
between its recall and a detector's, at the same rate of false alarms, are the detector's; the rest
is lost in the series. (Two modes are taken for one normal noise, so there it is no strict bound.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from benchmarks.throttling_series import Floats, Series
from edgegen.statistics.changepoints import MINIMUM_RATIO
from edgegen.statistics.level_model import Indices, LevelModel, Place, Places, squares
from edgegen.statistics.noise_models import NoiseGrid, grid_of

TOLERANCE_S = 15.0
"""A found change is a true one where they go the same way and overlap in time, within this."""
FAMILIES = ("step", "ramp", "drift")
_MAXIMUM_BLOCKS = 1200  # more than the detector has: fewer blur a step under autocorrelated noise
_FAMILY_OF_SHAPE = {"step": "step", "cycle": "step", "ramp": "ramp", "drift": "drift"}


def family(shape: str) -> str:
    """Return the kind of change that a series of this shape has."""
    return _FAMILY_OF_SHAPE[shape]


def oracle_signals(series: Series) -> tuple[float, ...]:
    """Return what the oracle sees of each change: its likelihood ratio, as standard errors.

    0 where the likeliest place is not that of the change. Changes by less than 4 % are left out.
    """
    if series.regular_s is None:
        return ()
    known = _known(series)
    starts_s = (np.asarray(series.end_s) - series.latency_s)[known.bounds[:-1]]
    edges_s = np.append(starts_s, series.end_s[-1])
    places = [
        _place(starts_s, change.onset_s, change.end_s, series.shape) for change in series.changes
    ]
    signals = []
    for change, place in zip(series.changes, places, strict=True):
        if 1 / MINIMUM_RATIO < change.ratio < MINIMUM_RATIO:
            continue
        others = [other for other in places if other != place]
        signal, found = _likeliest(known, family(series.shape), others)
        near = (
            edges_s[found.start] <= change.end_s + TOLERANCE_S
            and edges_s[found.last + 1] >= change.onset_s - TOLERANCE_S
        )
        signals.append(abs(signal) if near and (signal > 0) == (change.ratio > 1) else 0.0)
    return tuple(signals)


def null_signals(series: Series) -> tuple[float, ...]:
    """Return the greatest likelihood ratio of each family, as standard errors, without a change."""
    if series.regular_s is None:
        return ()
    known = _known(series)
    return tuple(abs(_likeliest(known, kind, [])[0]) for kind in FAMILIES)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """Blocks of a series, over the standard deviation that they are known to have."""

    values: Floats
    bounds: NDArray[np.int64]
    spread: float
    noise: NoiseGrid
    places: Mapping[str, Places]


def _known(series: Series) -> _Known:
    logs = np.log(np.asarray(series.regular_s))
    size = -(-logs.size // _MAXIMUM_BLOCKS)
    bounds = np.append(np.arange(0, logs.size - size + 1, size), logs.size)
    of_block = _blocks(bounds.size - 1, size, series.autocorrelation)
    spread = (series.spread or 0.0) * of_block.spread
    values = np.add.reduceat(logs, bounds[:-1]) / np.diff(bounds) / spread
    return _Known(
        values=values, bounds=bounds, spread=spread, noise=of_block.noise, places=of_block.places
    )


def _likeliest(known: _Known, kind: str, others: list[Place]) -> tuple[float, Place]:
    places = known.places[kind]
    model = LevelModel(known.values, known.noise)
    extension = model.extend(model.fit(others), places)
    signal = (extension.slope / np.sqrt(extension.curvature))[0]
    height = np.abs(extension.slope / extension.curvature)[0] * known.spread
    # What is not told anyway is no false alarm, either.
    told = np.where(height >= math.log(MINIMUM_RATIO), np.abs(signal), 0.0)
    best = int(np.argmax(told))
    place = Place(int(places.starts[best]), int(places.lengths[best]))
    return float(np.sign(signal[best]) * told[best]), place


@dataclass(frozen=True, slots=True, kw_only=True)
class _Blocks:
    spread: float
    noise: NoiseGrid
    places: Mapping[str, Places]


@lru_cache(maxsize=64)
def _blocks(count: int, size: int, rho: float) -> _Blocks:
    """Return the noise of means of `size` values of AR(1) with a standard deviation of 1."""
    lags, distance = np.arange(1, count), np.arange(1, size)
    variance = (size + 2 * float(np.sum((size - distance) * rho**distance))) / size**2
    inside = ((1 - rho**size) / (1 - rho) / size) ** 2
    across = rho ** (lags * size - size + 1.0) * inside
    by_lag = np.concatenate([[1.0], across / variance])
    at = np.arange(count)
    noise = grid_of(by_lag[np.abs(at[:, None] - at[None, :])][None], np.zeros(1))
    ramps = [
        (start, length)
        for length in np.unique(np.geomspace(3, count - 1, 15).astype(int))
        for start in range(1, count - length + 1, -(-length // 8))
    ]
    places = {
        "step": _of(noise, np.arange(1, count), np.ones(count - 1, np.int64)),
        "ramp": _of(noise, *np.array(ramps).T),
        "drift": _of(noise, np.array([1]), np.array([count - 1])),
    }
    return _Blocks(spread=math.sqrt(variance), noise=noise, places=places)


def _of(noise: NoiseGrid, starts: Indices, lengths: Indices) -> Places:
    return Places(
        starts=starts,
        lengths=lengths,
        squares=squares(noise, starts, lengths),
        log_prior=np.zeros(starts.size),
    )


def _place(starts_s: Floats, onset_s: float, end_s: float, shape: str) -> Place:
    start = int(np.clip(np.searchsorted(starts_s, onset_s), 1, starts_s.size - 1))
    if shape in ("step", "cycle"):
        return Place(start)
    last = int(np.clip(np.searchsorted(starts_s, end_s), start + 1, starts_s.size))
    return Place(start, last - start)
