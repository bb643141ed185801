"""Whether one sample differs from another: two measurements, a few repeats, paired pictures.

Restarts run in turns are compared pair by pair (`latencies.compare_interleaved`).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgegen.statistics.latencies import Restarts, estimate, interval_around

_RESAMPLES = 2000
_SEED = 20261130


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """How much a value changed, and an interval; both bounds are None where nobody can say."""

    value: float
    low: float | None
    high: float | None

    @property
    def is_real(self) -> bool | None:
        """Return whether the interval leaves out no change."""
        if self.low is None or self.high is None:
            return None
        return not self.low <= 0.0 <= self.high


def compare_restarts(old: Restarts, new: Restarts, confidence: float) -> Change | None:
    """Compare the medians of two independent samples; the change is their ratio less one.

    The variances of both medians, between restarts and within them, add up on logarithms. None
    where a sample is empty or has a value that isn't positive.
    """
    logs = [
        [np.log(np.asarray(values, np.float64)) for values in restarts if len(values)]
        for restarts in (old, new)
    ]
    if not all(logs) or any(value <= 0 for side in (old, new) for part in side for value in part):
        return None
    ratio = float(np.median(np.concatenate(logs[1])) - np.median(np.concatenate(logs[0])))
    before, after = (estimate(series) for series in logs)
    if before is None or after is None:
        return Change(value=math.expm1(ratio), low=None, high=None)
    low, high = interval_around(ratio, (*before.variances, *after.variances), confidence)
    return Change(value=math.expm1(ratio), low=math.expm1(low), high=math.expm1(high))


def compare_repeats(old: Sequence[float], new: Sequence[float], confidence: float) -> Change | None:
    """Compare the means of a few independent repeats, on logarithms: Welch's t-test.

    None where a side is empty or has a value that isn't positive; no interval with fewer than two.
    """
    sides = [np.log(values) for values in (old, new) if values and min(values) > 0]
    if len(sides) != 2:
        return None
    ratio = float(sides[1].mean() - sides[0].mean())
    if min(map(len, sides)) < 2:
        return Change(value=math.expm1(ratio), low=None, high=None)
    variances = [(float(np.var(side, ddof=1)) / len(side), float(len(side) - 1)) for side in sides]
    low, high = interval_around(ratio, variances, confidence)
    return Change(value=math.expm1(ratio), low=math.expm1(low), high=math.expm1(high))


def compare_pairs(
    differences: Sequence[float], groups: Sequence[Hashable], confidence: float
) -> Change | None:
    """Return the mean of paired differences, and its interval; None without any.

    Pairs of one group (pictures of one prompt) resemble each other: whole groups are resampled, and
    the bootstrap's standard error, corrected for the number of groups, is widened by Student's t.
    Without a difference in any pair the interval is zero itself. With fewer than six groups
    there is none.
    """
    if not differences:
        return None
    mean = float(np.mean(differences))
    blocks: Mapping[Hashable, list[float]] = {}
    for group, difference in zip(groups, differences, strict=True):
        blocks.setdefault(group, []).append(difference)  # type: ignore[attr-defined]
    if not any(differences):
        return Change(value=mean, low=mean, high=mean)
    if len(blocks) < 6:
        return Change(value=mean, low=None, high=None)
    sums = np.array([sum(block) for block in blocks.values()])
    counts = np.array([len(block) for block in blocks.values()])
    generator = np.random.default_rng(_SEED)
    drawn = generator.integers(0, sums.size, (_RESAMPLES, sums.size))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    groups_ = sums.size
    variance = float(np.var(means)) * groups_ / (groups_ - 1)
    low, high = interval_around(mean, [(variance, float(groups_ - 1))], confidence)
    return Change(value=mean, low=low, high=high)
