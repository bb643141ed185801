"""Chooses the range in which 8 bits stand for a distribution with the least squared error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

STEPS = 255
"""Steps from the lowest of 256 numbers to the highest."""

_CANDIDATES_AN_OCTAVE = 8
_OCTAVES = 5
"""Widths of a step are tried from that which clips nothing down to a 32nd of it."""


def best_range(
    counts: npt.NDArray[np.int64], edges: Floats, minimum: float, maximum: float
) -> tuple[float, float]:
    """Return low and high: the ends of the 256 numbers that stand best for a histogram.

    The numbers are evenly spaced, and zero is one of them: low is −z steps and high 255 − z. Every
    z from 0 to 255 is tried with each of 41 widths of the step, and the squared error of rounding
    and of clipping is integrated in closed form, with the values of a bin spread evenly over it.
    `minimum` and `maximum` are those of the values; the bins have one width.
    """
    low, high = min(minimum, 0.0), max(maximum, 0.0)
    # zero takes a number of its own, so that 254 steps are what is sure to hold the whole range
    widest = (high - low) / (STEPS - 1)
    density = _Density.of(counts, edges)
    octaves = np.arange(_OCTAVES * _CANDIDATES_AN_OCTAVE + 1) / _CANDIDATES_AN_OCTAVE
    steps = widest * 2.0 ** -octaves[:, None]
    lows = -np.arange(STEPS + 1) * steps
    highs = lows + STEPS * steps
    best = np.argmin(density.clipped(lows, highs) + density.rounded(lows, highs, steps))
    return float(lows.flat[best]), float(highs.flat[best])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Density:
    """A piecewise even density, and its moments from the left up to each edge."""

    edges: Floats
    heights: Floats
    moments: tuple[Floats, Floats, Floats]

    @classmethod
    def of(cls, counts: npt.NDArray[np.int64], edges: Floats) -> _Density:
        heights = counts / np.diff(edges)
        moments = [_cumulate(heights * np.diff(edges**k) / k) for k in (1, 2, 3)]
        return cls(edges=edges, heights=heights, moments=(moments[0], moments[1], moments[2]))

    def clipped(self, lows: Floats, highs: Floats) -> Floats:
        """Return the squared error of what lies below each low and above each high."""
        below = self._moments_at(lows)
        above = [
            whole[-1] - part
            for whole, part in zip(self.moments, self._moments_at(highs), strict=True)
        ]
        error: Floats = _second_moment_about(lows, below) + _second_moment_about(highs, above)
        return error

    def rounded(self, lows: Floats, highs: Floats, steps: Floats) -> Floats:
        """Return the squared error of rounding to multiples of a step between low and high.

        `steps` are (steps, 1); `lows` and `highs` have a row for each.
        """
        at_edges = _rounding_integral(self.edges / steps) * steps**3
        cumulated = _cumulate(self.heights * np.diff(at_edges))

        def up_to(ends: Floats) -> Floats:
            ends, bins = self._bins_of(ends)
            inside = _rounding_integral(ends / steps) * steps**3
            inside -= np.take_along_axis(at_edges, bins, axis=1)
            value: Floats = np.take_along_axis(cumulated, bins, axis=1)
            return value + self.heights[bins] * inside

        return up_to(highs) - up_to(lows)

    def _moments_at(self, ends: Floats) -> list[Floats]:
        ends, bins = self._bins_of(ends)
        return [
            moment[bins] + self.heights[bins] * (ends**k - self.edges[bins] ** k) / k
            for k, moment in enumerate(self.moments, start=1)
        ]

    def _bins_of(self, ends: Floats) -> tuple[Floats, npt.NDArray[Any]]:
        """Return the ends, no further out than the edges, and the bin of each."""
        ends = np.clip(ends, self.edges[0], self.edges[-1])
        bins = np.searchsorted(self.edges, ends, side="right") - 1
        return ends, np.minimum(bins, len(self.heights) - 1)


def _cumulate(values: Floats) -> Floats:
    sums: Floats = np.zeros((*values.shape[:-1], values.shape[-1] + 1))
    np.cumsum(values, axis=-1, out=sums[..., 1:])
    return sums


def _second_moment_about(points: Floats, moments: list[Floats]) -> Floats:
    value: Floats = moments[2] - 2 * points * moments[1] + points**2 * moments[0]
    return value


def _rounding_integral(values: Floats) -> Floats:
    """Return the integral of (x − round(x))² from 0 to each value."""
    whole = np.round(values)
    integral: Floats = whole / 12 + (values - whole) ** 3 / 3
    return integral
