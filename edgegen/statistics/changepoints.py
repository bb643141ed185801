"""Finds when the steps of a sustained run became slower, by how much, and how sure that is.

Latencies are compared as logarithms: a slowdown is a ratio. Single steps and short bursts that
stand out are clipped, neighbours are averaged to blocks of equal numbers of steps, and
`edgegen/statistics/change_search.py` fits steps and ramps to these under autocorrelated noise.
`benchmarks/throttling_validation.py` says how well that works.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgegen.statistics.change_search import LevelFit, Posterior, fit_levels
from edgegen.statistics.lasting_changes import lasting
from edgegen.statistics.level_model import Place
from edgegen.statistics.noise_models import Floats
from edgegen.statistics.step_blocks import block_bounds, burst_values, clip, without_profile

Shape = Literal["step", "ramp"]

MINIMUM_STEPS = 24
MINIMUM_RATIO = 1.04
"""A change by less, up or down, is fitted but not reported: nobody's budget depends on it."""
LASTING_S = 30.0
"""What is over sooner is a disturbance, not throttling. Of a run below 2 minutes: a quarter."""
RAMP_S = 10.0
"""A change that takes longer is a ramp."""

_LEAST_SPACING_S = 10.0
_LEAST_SPACING_BLOCKS = 4
_JOIN_S = 20.0  # so near to a ramp's end, a small change the same way is the ramp's own
_CURVED = 0.1  # a ramp need not be straight: its onset is unsure by this share of its duration


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A lasting change of the latency; above 1, `ratio` (after / before) is a slowdown.

    `onset_s` is when it began, `end_s` when it was complete (the onset itself for a step). Low and
    high are 95 % intervals. That of the onset is at least two blocks of steps wide, and a ramp's is
    wider by a tenth of its duration on each side: a ramp need not be straight.
    """

    shape: Shape
    onset_s: float
    onset_low_s: float
    onset_high_s: float
    end_s: float
    ratio: float
    ratio_low: float
    ratio_high: float

    @property
    def is_slowdown(self) -> bool:
        return self.ratio > 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelPoint:
    """The fitted latency of a step at one moment."""

    time_s: float
    latency_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyChanges:
    """The changes of one series, in order, and the fitted level as a line to draw.

    `block_steps` is how many steps were averaged, `block_s` about how long they took: no onset is
    known better than that.
    """

    changes: tuple[Change, ...]
    line: tuple[LevelPoint, ...]
    block_steps: int
    block_s: float


def find_changes(
    end_s: Sequence[float] | Floats,
    latency_s: Sequence[float] | Floats,
    *,
    position: Sequence[int] | NDArray[np.int64] | None = None,
) -> LatencyChanges | None:
    """Find the lasting changes of a run's step latencies; None for fewer than 24 steps.

    `end_s` is when each step ended, on a clock that need not start at 0; gaps are allowed.
    `position` is each step's place in its image: where there are ten images and more, what a
    place always takes longer than the others of its image (the first step, say) is taken out.
    Raises ValueError for latencies that are not positive, times that do not rise, and NaN.
    """
    ends, latencies = np.asarray(end_s, np.float64), np.asarray(latency_s, np.float64)
    _check(ends, latencies)
    if ends.size < MINIMUM_STEPS:
        return None
    logs = np.log(latencies)
    if position is not None:
        logs = without_profile(logs, np.asarray(position, np.int64))
    logs = clip(logs, burst_values(float(np.median(latencies))))
    bounds = block_bounds(ends.size)
    block_s = float(ends[-1] - ends[0] + latencies[0]) / (bounds.size - 1)
    spacing = max(_LEAST_SPACING_BLOCKS, round(_LEAST_SPACING_S / block_s))
    fit = _fit(logs, bounds, block_s, spacing)
    if ends.size > bounds.size - 1 and fit.changes:
        # A block with fast and slow steps blurs a step: cut the blocks where it seems to be.
        bounds = block_bounds(ends.size, _cuts(logs, bounds, fit))
        fit = _fit(logs, bounds, block_s, spacing, [change.place for change in fit.changes])
    starts = (ends - latencies)[bounds[:-1]]
    last_s = float(ends[-1])
    lasting_s = min(LASTING_S, (last_s - float(starts[0])) / 4)
    whole = lasting(fit, least=round(lasting_s / block_s), near=round(_JOIN_S / block_s))
    found = (_change(posterior, starts, last_s, block_s) for posterior in whole)
    reported = tuple(change for change in found if _is_reported(change))
    return LatencyChanges(
        changes=reported,
        line=_line(starts, last_s, fit.levels, reported),
        block_steps=-(-ends.size // (bounds.size - 1)),
        block_s=block_s,
    )


def _is_reported(change: Change) -> bool:
    """Return whether a change matters, and surely goes one way."""
    is_small = 1 / MINIMUM_RATIO < change.ratio < MINIMUM_RATIO
    return not is_small and not change.ratio_low <= 1.0 <= change.ratio_high


def _check(ends: Floats, latencies: Floats) -> None:
    if ends.ndim != 1 or ends.shape != latencies.shape:
        raise ValueError(f"{ends.shape} times and {latencies.shape} latencies do not pair up")
    if not (np.isfinite(ends).all() and np.isfinite(latencies).all()):
        raise ValueError("a time or a latency is not finite")
    if (latencies <= 0).any():
        raise ValueError("a latency is not positive: the clock jumped, or these are not steps")
    if (np.diff(ends) <= 0).any():
        raise ValueError("the times do not rise: sort the steps by when they ended")


def _fit(
    logs: Floats,
    bounds: NDArray[np.int64],
    block_s: float,
    spacing: int,
    guess: Sequence[Place] = (),
) -> LevelFit:
    blocks = np.add.reduceat(logs, bounds[:-1]) / np.diff(bounds)
    blocks = clip(blocks, burst_values(block_s))
    return fit_levels(blocks, least_spacing=spacing, guess=guess)


def _cuts(logs: Floats, bounds: NDArray[np.int64], fit: LevelFit) -> list[int]:
    """Return the steps at which the found steps seem to be, by least squares near each."""
    cuts = []
    for place in (change.place for change in fit.changes):
        if place.length > 2:
            continue
        first, last = bounds[max(place.start - 2, 0)], bounds[min(place.start + 3, bounds.size - 1)]
        before = fit.levels[place.start - 1]
        after = fit.levels[min(place.start + place.length - 1, fit.levels.size - 1)]
        near = logs[first:last]
        worse = np.concatenate([[0.0], np.cumsum((near - before) ** 2 - (near - after) ** 2)])
        cuts.append(int(first + np.argmin(worse)))
    return cuts


def _change(posterior: Posterior, starts: Floats, last_s: float, block_s: float) -> Change:
    edges = np.append(starts, last_s)
    low, middle, high = np.quantile(posterior.starts, [0.025, 0.5, 0.975], method="nearest")
    ratio_low, ratio, ratio_high = np.exp(np.quantile(posterior.heights, [0.025, 0.5, 0.975]))
    takes_s = float(np.median(posterior.lengths) - 1) * block_s
    # A step within a block looks like a ramp of two.
    is_ramp = bool(takes_s > max(RAMP_S, 2 * block_s))
    last = int(np.median(posterior.starts + posterior.lengths)) - 1
    onset_s = float(edges[middle])
    curved_s = _CURVED * takes_s if is_ramp else 0.0
    return Change(
        shape="ramp" if is_ramp else "step",
        onset_s=onset_s,
        # The block in which it began may lie on either side of the border that was found.
        onset_low_s=max(float(edges[max(low - 1, 0)]) - curved_s, float(edges[0])),
        onset_high_s=min(float(edges[min(high + 1, edges.size - 1)]) + curved_s, last_s),
        end_s=float(edges[min(last + 1, edges.size - 1)]) if is_ramp else onset_s,
        ratio=float(ratio),
        ratio_low=float(ratio_low),
        ratio_high=float(ratio_high),
    )


def _line(
    starts: Floats, last_s: float, levels: Floats, changes: Sequence[Change]
) -> tuple[LevelPoint, ...]:
    """Return the line that moves at the reported changes, and between them is the mean level."""
    onsets = [float(starts[0]), *(change.onset_s for change in changes)]
    ends = [float(starts[0]), *(change.end_s for change in changes)]
    points: list[LevelPoint] = []
    for end_s, next_s in zip(ends, [*onsets[1:], last_s], strict=True):
        begins_s, stops_s = end_s, max(end_s, next_s)
        here = levels[(starts >= begins_s) & (starts < stops_s)]
        nearest = levels[min(int(np.searchsorted(starts, end_s)), levels.size - 1)]
        latency_s = float(np.exp(here.mean() if here.size else nearest))
        points.append(LevelPoint(time_s=begins_s, latency_s=latency_s))
        points.append(LevelPoint(time_s=stops_s, latency_s=latency_s))
    return tuple(points)
