"""Palettes: each weight becomes the index of one of a few numbers.

The numbers are the centres of a weighted one-dimensional k-means (Lloyd, "Least Squares
Quantization in PCM", 1982). It runs on the histogram of the float16 values, of which there are at
most 65,536, so its time does not depend on how many weights there are, and no weight is sampled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

ITERATIONS = 300
"""Enough for the error to stand still in its fourth digit; most palettes are done far sooner."""

_GROUP_ITERATIONS = 40

_HALVES = 1 << 16
_STANDING_STILL = 1e-6
_DENSITY_BINS = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Palette:
    """A tensor's palette (float16, 2^bits, ascending) and the index of each number (uint8)."""

    numbers: NDArray[np.float16]
    indices: NDArray[np.uint8]

    @property
    def values(self) -> NDArray[np.float16]:
        """Return the numbers that the indices stand for, in the tensor's shape."""
        return self.numbers[self.indices]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupedPalettes:
    """Palettes (groups, 2^bits) of runs of the first axis, and the index of each number (uint8)."""

    numbers: NDArray[np.float16]
    indices: NDArray[np.uint8]


def palettize_groups(array: NDArray[np.float16], bits: int, channels: int) -> GroupedPalettes:
    """Return a palette for each `channels` indices of the first axis.

    Where the first axis is no multiple of `channels` there is one palette for all of it.
    """
    size = channels if array.shape[0] % channels == 0 else array.shape[0]
    iterations = _GROUP_ITERATIONS if size < array.shape[0] else ITERATIONS
    parts = [
        palettize(array[start : start + size], bits, iterations=iterations)
        for start in range(0, array.shape[0], size)
    ]
    return GroupedPalettes(
        numbers=np.stack([part.numbers for part in parts]),
        indices=np.concatenate([part.indices for part in parts]),
    )


def palettize(array: NDArray[np.float16], bits: int, *, iterations: int = ITERATIONS) -> Palette:
    """Return the palette of 2^`bits` numbers that is nearest to `array` (float16, finite).

    A tensor with no more distinct numbers than that keeps them all.
    """
    halves = np.ascontiguousarray(array).reshape(-1).view(np.uint16)
    counts = np.bincount(halves, minlength=_HALVES)
    patterns = np.flatnonzero(counts).astype(np.uint16)
    values = patterns.view(np.float16).astype(np.float64)
    order = np.argsort(values, kind="stable")
    values, weights = values[order], counts[patterns[order]].astype(np.float64)
    centres = centres_of(values, weights, 1 << bits, iterations=iterations)
    numbers = centres.astype(np.float16)
    # The nearest of the numbers as they are stored, which rounding may have moved.
    nearest = np.searchsorted(_middles(numbers.astype(np.float64)), values)
    table = np.zeros(_HALVES, np.uint8)
    table[patterns[order]] = nearest
    return Palette(numbers=numbers, indices=table[halves].reshape(array.shape))


def centres_of(
    values: NDArray[np.float64],
    weights: NDArray[np.float64],
    count: int,
    *,
    iterations: int = ITERATIONS,
) -> NDArray[np.float64]:
    """Return the `count` centres of a k-means of ascending `values` that occur `weights` times."""
    if len(values) <= count:
        return np.pad(values, (0, count - len(values)), mode="edge")
    total = np.concatenate([[0.0], np.cumsum(weights)])
    moment = np.concatenate([[0.0], np.cumsum(weights * values)])
    centres = _start(values, weights, count)
    step = _STANDING_STILL * (values[-1] - values[0])
    for _ in range(iterations):
        cuts = np.searchsorted(values, _middles(centres))
        edges = np.concatenate([[0], cuts, [len(values)]])
        mass = total[edges[1:]] - total[edges[:-1]]
        sums = moment[edges[1:]] - moment[edges[:-1]]
        moved = np.where(mass > 0, sums / np.maximum(mass, 1.0), centres)
        done = np.abs(moved - centres).max() <= step
        centres = moved
        if done:
            break
    return centres


def _start(
    values: NDArray[np.float64], weights: NDArray[np.float64], count: int
) -> NDArray[np.float64]:
    """Return centres to begin with: the best that there are for the histogram in coarse bins.

    Bins are as fine as the cube root of the density, which is how the best of many centres lie
    (Panter and Dite, "Quantization Distortion in Pulse-Count Modulation", 1951). Where they are
    fewer than the centres, those are taken from that spread itself.
    """
    density, edges = np.histogram(values, bins=min(_DENSITY_BINS, len(values)), weights=weights)
    spread = np.cumsum(np.cbrt(density))
    spread /= spread[-1]
    middles = _middles(edges)

    def spread_over(number: int) -> NDArray[np.float64]:
        places: NDArray[np.float64] = np.interp((np.arange(number) + 0.5) / number, spread, middles)
        return places

    bins = spread_over(min(max(8 * count, 256), len(values)))
    cuts = np.unique([0, *np.searchsorted(values, _middles(bins)), len(values)])
    if len(cuts) > count:
        return _best_of_bins(values, weights, cuts, count)
    return spread_over(count)


def _best_of_bins(
    values: NDArray[np.float64], weights: NDArray[np.float64], edges: NDArray[np.intp], count: int
) -> NDArray[np.float64]:
    """Return the best centres whose clusters are runs of bins, by dynamic programming.

    `edges` are where bins begin, and the end; the error of a run is had from sums before it. A run
    is at most eight times as long as the average one: the bins lie as the centres will.
    """
    total, first, second = (
        np.concatenate([[0.0], np.cumsum(weights * values**power)])[edges] for power in (0, 1, 2)
    )
    bins = len(edges) - 1
    longest = min(bins, 8 * -(-bins // count))
    ends = np.arange(bins + 1)[:, None]
    starts = ends - longest + np.arange(longest)
    begun = np.maximum(starts, 0)
    mass = total[ends] - total[begun]
    sums = first[ends] - first[begun]
    with np.errstate(divide="ignore", invalid="ignore"):
        cost = second[ends] - second[begun] - sums**2 / mass
    cost[(starts < 0) | (mass <= 0)] = np.inf
    best = np.full(bins + 1, np.inf)
    best[0] = 0.0
    origins = []
    for _ in range(count):
        before = np.concatenate([np.full(longest, np.inf), best])
        through = np.lib.stride_tricks.sliding_window_view(before, longest)[: bins + 1] + cost
        chosen = through.argmin(axis=1)
        origins.append(chosen)
        best = through[np.arange(bins + 1), chosen]
    end, centres = bins, []
    for chosen in reversed(origins):
        start = int(starts[end, chosen[end]])
        centres.append((first[end] - first[start]) / (total[end] - total[start]))
        end = start
    return np.array(centres[::-1])


def _middles(centres: NDArray[Any]) -> NDArray[Any]:
    middles: NDArray[Any] = (centres[1:] + centres[:-1]) / 2
    return middles
