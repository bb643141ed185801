"""A level that changes by steps and ramps, under autocorrelated noise: what a model is worth.

A change (start, length) adds to the level over `length` values, evenly, from `start` on, and for
good: length 1 is a step. For given changes and a given noise model, their heights and the noise's
scale are integrated out in closed form, with flat priors (Zellner 1971, "An introduction to
Bayesian inference in econometrics", chapter 3). Axes: g noise models, k columns of a model (the
level, then its changes), p places.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from edgegen.statistics.noise_models import Floats, NoiseGrid, noise_grid, suffix_sums

Indices = NDArray[np.int64]

LONGEST_STEP = 2
"""A step within a value of blocks looks like a ramp over two."""

_LENGTH_RATIO = 1.25
_COARSE_LENGTH_RATIO = 1.5
_FINE_LENGTH_RATIO = 1.05
_FINER = 5  # lengths on each side, up to a quarter


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a change begins, and over how many values it happens; 1 is a step."""

    start: int
    length: int = 1

    @property
    def last(self) -> int:
        """Return the first value at which the change is complete."""
        return self.start + self.length - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Places of a change, each with the logarithm of its prior.

    `squares` (g, p) are their columns' products with themselves.
    """

    starts: Indices
    lengths: Indices
    squares: Floats
    log_prior: Floats

    def where(self, chosen: NDArray[np.bool_]) -> Places:
        return Places(
            starts=self.starts[chosen],
            lengths=self.lengths[chosen],
            squares=self.squares[:, chosen],
            log_prior=self.log_prior[chosen],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A model with `changes` changes, fitted under each noise model by generalised least squares.

    `rows` (g, k, count + 1) are prefix sums of the columns' products with steps, `inverse`
    (g, k, k) is that of the columns' products with each other, `products` (g, k) are those with the
    values, `rest` (g,) is the residual sum of squares, `log_evidence` (g,) has its places given.
    """

    changes: int
    rows: Floats
    inverse: Floats
    products: Floats
    log_determinant: Floats
    rest: Floats
    log_evidence: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Extension:
    """A fitted model with one more change at each of some places, all (g, p).

    The height is Student's t around `slope / curvature`.
    """

    curvature: Floats
    slope: Floats
    log_evidence: Floats


class LevelModel:
    """Models of one series of values (count,), all of which have the same noise grid."""

    def __init__(self, values: Floats, noise: NoiseGrid | None = None) -> None:
        self.count = values.size
        self.noise = noise or noise_grid(self.count)
        self._mean = float(values.mean())
        centred = values - self._mean
        weighted = self.noise.inverse @ centred
        self._total = weighted @ centred
        self._products = np.zeros((weighted.shape[0], self.count + 1))
        self._products[:, 1:] = suffix_sums(weighted).cumsum(axis=1)
        self.floor = 1e-12 * self.count
        """No residual sum of squares is less: a series without noise has rounding errors."""

    def fit(self, places: Sequence[Place]) -> Fitted:
        """Fit a level with changes at these places."""
        starts = np.array([0, *(place.start for place in places)])
        lengths = np.array([1, *(place.length for place in places)])
        ends, summed = starts + lengths, self.noise.summed
        rows = (summed[:, ends] - summed[:, starts]) / lengths[:, None]
        gram = (rows[:, :, ends] - rows[:, :, starts]) / lengths
        products = (self._products[:, ends] - self._products[:, starts]) / lengths
        inverse = np.linalg.inv(gram)
        explained = np.einsum("gk,gkl,gl->g", products, inverse, products, optimize=True)
        rest = np.maximum(self._total - explained, self.floor)
        log_determinant = np.linalg.slogdet(gram)[1]
        return Fitted(
            changes=len(places),
            rows=rows,
            inverse=inverse,
            products=products,
            log_determinant=log_determinant,
            rest=rest,
            log_evidence=self._log_evidence(log_determinant, rest, len(places)),
        )

    def extend(self, model: Fitted, places: Places) -> Extension:
        """Return what one more change is worth, at each of these places."""
        starts, ends = places.starts, places.starts + places.lengths
        rows = (model.rows[:, :, ends] - model.rows[:, :, starts]) / places.lengths
        weights = model.inverse @ rows
        products = (self._products[:, ends] - self._products[:, starts]) / places.lengths
        curvature = places.squares - np.sum(weights * rows, axis=1)
        curvature = np.maximum(curvature, 1e-9 * places.squares)
        slope = products - np.einsum("gk,gkp->gp", model.products, weights)
        rest = np.maximum(model.rest[:, None] - slope**2 / curvature, self.floor)
        determinant = model.log_determinant[:, None] + np.log(curvature)
        return Extension(
            curvature=curvature,
            slope=slope,
            log_evidence=self._log_evidence(determinant, rest, model.changes + 1),
        )

    def extend_by_pairs(self, model: Fitted, starts: Indices) -> Floats:
        """Return the logarithm of the evidence (g, p, p) with two more steps, at each of `starts`.

        On the diagonal, where both are one, it means nothing.
        """
        steps = Places(
            starts=starts,
            lengths=np.ones_like(starts),
            squares=self.noise.steps[:, starts, starts],
            log_prior=np.zeros(starts.size),
        )
        single = self.extend(model, steps)
        rows = model.rows[:, :, starts + 1] - model.rows[:, :, starts]
        cross = self.noise.steps[:, starts[:, None], starts[None, :]] - np.einsum(
            "gkp,gkl,glq->gpq", rows, model.inverse, rows, optimize=True
        )
        a, b = single.curvature[:, :, None], single.curvature[:, None, :]
        p, q = single.slope[:, :, None], single.slope[:, None, :]
        determinant = np.maximum(a * b - cross**2, 1e-12 * a * b)
        explained = (b * p**2 - 2 * cross * p * q + a * q**2) / determinant
        rest = np.maximum(model.rest[:, None, None] - explained, self.floor)
        log_determinant = model.log_determinant[:, None, None] + np.log(determinant)
        return self._log_evidence(log_determinant, rest, model.changes + 2)

    def levels(self, places: Sequence[Place]) -> Floats:
        """Return the level (count,) at each value under the likeliest noise."""
        model = self.fit(places)
        likeliest = int(np.argmax(model.log_evidence))
        heights = model.inverse[likeliest] @ model.products[likeliest]
        at = np.arange(self.count)
        level = np.full(self.count, self._mean + heights[0])
        for place, height in zip(places, heights[1:], strict=True):
            level += height * np.clip((at - place.start + 1) / place.length, 0.0, 1.0)
        return level

    def draw_heights(
        self, places: Sequence[Place], draws: int, generator: np.random.Generator
    ) -> Floats:
        """Draw the changes' heights (draws, changes) from their posterior, the places held."""
        model = self.fit(places)
        weight = np.exp(model.log_evidence - model.log_evidence.max())
        noise = generator.choice(weight.size, size=draws, p=weight / weight.sum())
        freedom = self.count - len(places) - 1
        middle = np.einsum("gkl,gl->gk", model.inverse, model.products)[noise, 1:]
        roots = np.linalg.cholesky(model.inverse[:, 1:, 1:])[noise]
        normal = np.einsum("dkl,dl->dk", roots, generator.standard_normal(middle.shape))
        variance = model.rest[noise] / generator.chisquare(freedom, draws)
        return np.asarray(middle + normal * np.sqrt(variance)[:, None])

    def _log_evidence(self, log_determinant: Floats, rest: Floats, changes: int) -> Floats:
        freedom = self.count - changes - 1
        of_noise = (self.noise.log_determinant - 2 * self.noise.log_prior).reshape(
            -1, *[1] * (rest.ndim - 1)
        )
        constant = math.lgamma(freedom / 2) - 0.5 * freedom * math.log(math.pi)
        return np.asarray(
            constant - 0.5 * (of_noise + log_determinant) - 0.5 * freedom * np.log(rest)
        )


def coarse_places(count: int) -> Places:
    """Return places for a search: four starts per length stand for those between."""
    return _places(count, _COARSE_LENGTH_RATIO, starts_a_length=4, around=0)


def all_places_around(count: int, length: int) -> Places:
    """Return every start with lengths that grow by a quarter each, and finer around one."""
    return _places(count, _LENGTH_RATIO, starts_a_length=count, around=length)


@lru_cache(maxsize=16)
def _places(count: int, ratio: float, *, starts_a_length: int, around: int) -> Places:
    of_length: list[int] = []
    length = 1.0
    while length <= count - 1:
        of_length.append(round(length))
        length = max(length * ratio, length + 1)
    if around > LONGEST_STEP:
        finer = np.round(around * _FINE_LENGTH_RATIO ** np.arange(-_FINER, _FINER + 1))
        inside = (finer > LONGEST_STEP) & (finer < count)
        of_length = sorted({*of_length, *(int(length) for length in finer[inside])})
    strides = [max(1, length // starts_a_length) for length in of_length]
    parts = [
        np.arange(1, count - length + 1, stride)
        for length, stride in zip(of_length, strides, strict=True)
    ]
    starts = np.concatenate(parts)
    sizes = [part.size for part in parts]
    lengths = np.repeat(of_length, sizes)
    log_prior = np.log(np.array(strides) / count) + _log_prior_of_lengths(np.array(of_length))
    return Places(
        starts=starts,
        lengths=lengths,
        squares=squares(noise_grid(count), starts, lengths),
        log_prior=np.repeat(log_prior, sizes),
    )


def squares(noise: NoiseGrid, starts: Indices, lengths: Indices) -> Floats:
    """Return the products (g, p) of changes at these places with themselves."""
    ends, summed = starts + lengths, noise.summed
    corners = summed[:, ends, ends] + summed[:, starts, starts]
    corners -= summed[:, starts, ends] + summed[:, ends, starts]
    return np.asarray(corners / lengths**2)


def _log_prior_of_lengths(lengths: Indices) -> Floats:
    """Return the log prior: half for steps, half for ramps, whose log lengths are uniform."""
    prior = np.full(lengths.size, 0.5 / LONGEST_STEP)
    logs = np.log(lengths[LONGEST_STEP:])
    if logs.size:
        borders = np.concatenate([logs[:1], (logs[1:] + logs[:-1]) / 2, logs[-1:]])
        share = np.diff(borders) + 1e-3
        prior[LONGEST_STEP:] = 0.5 * share / share.sum()
    return np.asarray(np.log(prior))


def log_sum(values: Floats) -> Floats:
    """Return log Σ exp(values) over the first axis."""
    highest = np.max(values, axis=0)
    shift = np.where(np.isfinite(highest), highest, 0.0)
    with np.errstate(divide="ignore"):
        return np.asarray(shift + np.log(np.sum(np.exp(values - shift), axis=0)))
