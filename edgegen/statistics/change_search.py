"""Searches for the changes of a level, as many as the series has evidence for.

Changes are added one by one, two by two (a device that throttles and recovers is often worth
nothing as one change) or, where that is in vain, three at once, each time at the best place, then
moved, and dropped where they are worth it no more. The evidence for a change is summed over noise
models and over every place and length that it could have had, so it pays for these by itself.

The posterior of a change's place (Smith 1975, "A Bayesian approach to inference about a
change-point in a sequence of random variables", Biometrika 62) gives the intervals: over places,
lengths and noise models, the other changes held where they are, their heights free.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgegen.statistics.level_model import (
    LONGEST_STEP,
    Indices,
    LevelModel,
    Place,
    Places,
    all_places_around,
    coarse_places,
    log_sum,
)
from edgegen.statistics.noise_models import Floats

MAXIMUM_CHANGES = 8
HEIGHT_RANGE = 1.4
"""Heights are expected between -0.7 and 0.7 (halved and doubled, in logarithms), evenly."""
LOG_PRIOR_ODDS = 0.95
"""Of a change against none, before its places are counted. Tuned on simulations."""

_LOG_CHANGE = LOG_PRIOR_ODDS - math.log(HEIGHT_RANGE)
_DRAWS = 4000
_SEED = 20240229
_PAIR_PLACES = 60
_PASSES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Posterior:
    """What is known of one change: draws of its place, length and height, alike in number."""

    place: Place
    starts: Indices
    lengths: Indices
    heights: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelFit:
    """The changes that were found, in order; `levels` (count,) is the fitted level.

    `heights` (draws, changes) are drawn together, with all changes where they are: neighbours
    share what is unsure.
    """

    changes: tuple[Posterior, ...]
    levels: Floats
    heights: Floats


def fit_levels(values: Floats, *, least_spacing: int = 1, guess: Sequence[Place] = ()) -> LevelFit:
    """Fit a level and its changes to `values` (count,), which are logarithms of latencies.

    Changes are at least `least_spacing` values apart, and steps as far from both ends. A `guess`
    of the changes saves time.
    """
    if np.ptp(values) == 0.0 or values.size < 2 * least_spacing + 2:
        level = np.full(values.size, values.mean())
        return LevelFit(changes=(), levels=level, heights=np.empty((_DRAWS, 0)))
    search = _Search(values, least_spacing)
    places = search.refine(search.run(list(guess)))
    return LevelFit(
        changes=tuple(search.posterior(place, places) for place in places),
        levels=search.model.levels(places),
        heights=search.model.draw_heights(places, _DRAWS, np.random.default_rng(_SEED)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    """A model with new changes, and the evidence for it, summed over the new ones' places."""

    places: list[Place]
    log_evidence: float = -math.inf


class _Search:
    def __init__(self, values: Floats, least_spacing: int) -> None:
        self.model = LevelModel(values)
        self._count, self._spacing = values.size, least_spacing
        self._coarse = coarse_places(values.size)
        ramps = np.unique(self._coarse.lengths).size - LONGEST_STEP
        self._ramps = max(ramps, 1)
        # The same changes come back again and again while others move.
        self._known: dict[tuple[Place, ...], _Candidate] = {}
        self._known_evidence: dict[tuple[Place, ...], float] = {}

    def run(self, guess: list[Place]) -> list[Place]:
        """Add changes to a guess while they are worth it; return them in order."""
        places = self._settle(guess)
        while len(places) < MAXIMUM_CHANGES:
            candidates = (self._with_one(places), self._with_two(places))
            best = max(candidates, key=lambda candidate: candidate.log_evidence)
            if best.log_evidence <= self._log_evidence(places):
                best = self._with_three(candidates[1].places)
                if best.log_evidence <= self._log_evidence_of_all(places):
                    break
            settled = self._settle(best.places)
            if len(settled) <= len(places):
                break
            places = settled
        return places

    def refine(self, places: list[Place]) -> list[Place]:
        """Move each ramp to its best place, near where it is."""
        for place in places:
            if place.length <= LONGEST_STEP:
                continue
            others = [other for other in places if other != place]
            every = all_places_around(self._count, place.length)
            free = self._is_free(every.starts, every.lengths, others)
            free &= np.abs(every.starts - place.start) <= place.length
            free &= np.abs(every.lengths - place.length) <= place.length
            if free.any():
                places = sorted([*others, self._best(others, every.where(free))[0]])
        return places

    def posterior(self, place: Place, places: list[Place]) -> Posterior:
        """Draw from the posterior of one of the places, the others held."""
        others = [other for other in places if other != place]
        model = self.model.fit(others)
        every = all_places_around(self._count, place.length)
        every = every.where(self._is_free(every.starts, every.lengths, others))
        extension = self.model.extend(model, every)
        log_weight = extension.log_evidence + every.log_prior
        weight = np.exp(log_weight - log_weight.max()).ravel()
        generator = np.random.default_rng(_SEED)
        chosen = generator.choice(weight.size, size=_DRAWS, p=weight / weight.sum())
        noise, at = np.unravel_index(chosen, log_weight.shape)
        curvature, slope = extension.curvature[noise, at], extension.slope[noise, at]
        freedom = self._count - len(others) - 2
        rest = np.maximum(model.rest[noise] - slope**2 / curvature, self.model.floor)
        scale = np.sqrt(rest / (freedom * curvature))
        return Posterior(
            place=place,
            starts=every.starts[at],
            lengths=every.lengths[at],
            heights=slope / curvature + scale * generator.standard_t(freedom, _DRAWS),
        )

    def _with_one(self, others: list[Place]) -> _Candidate:
        """Return the model with one more change at its best place."""
        key = tuple(others)
        if key not in self._known:
            free = self._is_free(self._coarse.starts, self._coarse.lengths, others)
            if not free.any():
                return _Candidate(places=others)
            place, log_evidence = self._best(others, self._coarse.where(free))
            self._known[key] = _Candidate(
                places=sorted([*others, place]),
                log_evidence=log_evidence + _LOG_CHANGE + self._prior(others),
            )
        return self._known[key]

    def _best(self, others: list[Place], places: Places) -> tuple[Place, float]:
        """Return the best of these places for one more change, and the evidence over all."""
        extension = self.model.extend(self.model.fit(others), places)
        total = log_sum(extension.log_evidence) + places.log_prior
        best = int(np.argmax(total))
        place = Place(int(places.starts[best]), int(places.lengths[best]))
        return place, float(log_sum(total))

    def _with_two(self, others: list[Place]) -> _Candidate:
        """Return the model with two more steps, their places on a coarse grid."""
        stride = -(-self._count // _PAIR_PLACES)
        starts = np.arange(self._spacing, self._count - self._spacing + 1, stride)
        total = log_sum(self.model.extend_by_pairs(self.model.fit(others), starts))
        free = self._is_free(starts, np.ones_like(starts), others)
        apart = starts[None, :] - starts[:, None] >= self._spacing
        total = np.where(apart & free[:, None] & free[None, :], total, -np.inf)
        if not np.isfinite(total).any():
            return _Candidate(places=others)
        first, second = np.unravel_index(int(np.argmax(total)), total.shape)
        # Each pair stands for all those around it.
        prior = 2 * (math.log(stride / (2 * LONGEST_STEP * self._count)) + _LOG_CHANGE)
        return _Candidate(
            places=sorted([*others, Place(int(starts[first])), Place(int(starts[second]))]),
            log_evidence=float(log_sum(total.ravel())) + prior + self._prior(others),
        )

    def _with_three(self, places: list[Place]) -> _Candidate:
        """Return the model with one more change than two that are worth nothing without it."""
        if len(places) < 2:
            return _Candidate(places=places)
        three = self._with_one(self._move(places)).places
        three = self._move(three)
        return _Candidate(places=three, log_evidence=self._log_evidence_of_all(three))

    def _move(self, places: list[Place]) -> list[Place]:
        """Move each change to its best place, the others held, once."""
        for place in places:
            places = self._with_one([other for other in places if other != place]).places
        return places

    def _log_evidence_of_all(self, places: list[Place]) -> float:
        """Return the evidence, summed over the places of each change as if no other moved."""
        one = self._log_evidence(places)
        summed = (
            self._with_one([other for other in places if other != place]).log_evidence
            for place in places
        )
        return one + sum(each - one for each in summed)

    def _settle(self, places: list[Place]) -> list[Place]:
        """Move each change to its best place, the others held, until none moves; drop the vain."""
        for _ in range(_PASSES):
            before = places
            for place in before:
                others = [other for other in places if other != place]
                found = self._with_one(others)
                if found.log_evidence <= self._log_evidence(others):
                    return self._settle(others)
                places = found.places
            if places == before:
                break
        return places

    def _log_evidence(self, places: list[Place]) -> float:
        key = tuple(places)
        if key not in self._known_evidence:
            of_noise = self.model.fit(places).log_evidence
            self._known_evidence[key] = float(log_sum(of_noise)) + self._prior(places)
        return self._known_evidence[key]

    def _prior(self, places: list[Place]) -> float:
        alike = (LONGEST_STEP if it.length <= LONGEST_STEP else self._ramps for it in places)
        return sum(_LOG_CHANGE - math.log(2 * lengths * self._count) for lengths in alike)

    def _is_free(
        self, starts: Indices, lengths: Indices, others: Sequence[Place]
    ) -> NDArray[np.bool_]:
        """Return which places are clear of the other changes and, if steps, of both ends."""
        last = starts + lengths - 1
        free = (starts >= self._spacing) & (starts + self._spacing <= self._count)
        free |= (lengths > LONGEST_STEP) & (lengths >= self._spacing)
        for other in others:
            free &= (last + self._spacing <= other.start) | (starts - self._spacing >= other.last)
        return free
