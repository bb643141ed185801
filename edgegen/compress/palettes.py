"""Palettes: each weight becomes the index of one of a few numbers.

The numbers are the centres of a weighted one-dimensional k-means. It runs on the histogram of the
float16 values, of which there are at most 65,536, so its time does not depend on how many weights
there are, and no weight is sampled. Clusters are runs of values, so cuts between them are what is
sought: by dynamic programming, first between coarse bins, then in narrow windows around what was
found, down to single values (the exact programme over all values at once: Wu, "Optimal Quantization
by Matrix Searching", 1991, and kmeans1d).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegen.compress.codec import Encoded, Granularity, packed_bytes

_HALVES = 1 << 16
_DENSITY_BINS = 2048
_BINS, _LONGEST = 4, 6
_REACH = 12
"""How many strides a cut between two clusters may move in one pass; strides shrink to one value."""
_PASSES = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Palettes:
    """Indices of `bits` into palettes of 2^bits numbers of float16, in ascending order."""

    bits: int

    @property
    def reads(self) -> np.dtype[Any]:
        """Return float16, of whose numbers palettes are made."""
        return np.dtype(np.float16)

    def encode(self, weight: NDArray[Any], granularity: Granularity) -> Encoded:
        """Find a palette for each group of output channels.

        Where the channels are no multiple of a group's there is one palette for all of them.
        """
        size = weight.shape[0] // _group_count(weight.shape[0], granularity)
        parts = [
            palettize(weight[start : start + size], self.bits)
            for start in range(0, weight.shape[0], size)
        ]
        indices = [part.indices for part in parts]
        return Encoded(
            values=indices[0] if len(indices) == 1 else np.concatenate(indices),
            palettes=np.stack([part.numbers for part in parts]),
        )

    def decode(self, encoded: Encoded) -> NDArray[np.float32]:
        """Return the numbers that the indices stand for."""
        indices, palettes = encoded.values, encoded.palettes
        if palettes is None:
            raise ValueError("indices without palettes")
        group = np.arange(len(indices)) * len(palettes) // len(indices)
        group = group.reshape(-1, *[1] * (indices.ndim - 1))
        numbers: NDArray[np.float32] = palettes[group, indices].astype(np.float32)
        return numbers

    def stored_bytes(
        self, shape: tuple[int, ...], granularity: Granularity, *, scale_bytes: int
    ) -> int:
        """Return the packed indices, and 2 bytes for each number of a palette."""
        palettes = _group_count(shape[0], granularity) * (2 << self.bits)
        return packed_bytes(math.prod(shape), self.bits) + palettes


@dataclass(frozen=True, slots=True, kw_only=True)
class Palette:
    """A tensor's palette (float16, 2^bits, ascending) and the index of each number (uint8)."""

    numbers: NDArray[np.float16]
    indices: NDArray[np.uint8]

    @property
    def values(self) -> NDArray[np.float16]:
        """Return the numbers that the indices stand for, in the tensor's shape."""
        return self.numbers[self.indices]


def _group_count(channels: int, granularity: Granularity) -> int:
    size = granularity.palette_channels or channels
    return channels // size if channels % size == 0 else 1


def palettize(array: NDArray[np.float16], bits: int) -> Palette:
    """Return the palette of 2^`bits` numbers that is nearest to `array` (float16, finite).

    A tensor with no more distinct numbers than that keeps them all.
    """
    halves = np.ascontiguousarray(array).reshape(-1).view(np.uint16)
    counts = np.bincount(halves, minlength=_HALVES)
    patterns = np.flatnonzero(counts).astype(np.uint16)
    values = patterns.view(np.float16).astype(np.float64)
    order = np.argsort(values, kind="stable")
    values, weights = values[order], counts[patterns[order]].astype(np.float64)
    centres = centres_of(values, weights, 1 << bits)
    numbers = centres.astype(np.float16)
    # The nearest of the numbers as they are stored, which rounding may have moved.
    nearest = np.searchsorted(_middles(numbers.astype(np.float64)), values)
    table = np.zeros(_HALVES, np.uint8)
    table[patterns[order]] = nearest
    return Palette(numbers=numbers, indices=table[halves].reshape(array.shape))


def centres_of(
    values: NDArray[np.float64], weights: NDArray[np.float64], count: int
) -> NDArray[np.float64]:
    """Return the `count` centres of a k-means of ascending `values` that occur `weights` times."""
    if len(values) <= count:
        return np.pad(values, (0, count - len(values)), mode="edge")
    sums = _sums(values, weights)
    cuts = _start(values, weights, sums, count)
    stride = max(1, len(values) // (count * _REACH))
    for _ in range(_PASSES):
        moved = _best_cuts_near(sums, cuts, stride)
        stands_still = np.array_equal(moved, cuts)
        cuts = moved
        if stands_still and stride == 1:
            break
        stride = max(1, stride // 2) if stands_still else stride
    total, moment, _ = sums
    middles: NDArray[np.float64] = np.diff(moment[cuts]) / np.diff(total[cuts])
    return middles


def _best_cuts_near(
    sums: NDArray[np.float64], cuts: NDArray[np.intp], stride: int
) -> NDArray[np.intp]:
    """Return the best cuts that are each at most `_REACH` strides from where they were.

    By dynamic programming over the clusters, with the error of each from sums before it; what was
    given is among the choices, so the error never grows.
    """
    offsets = np.arange(-_REACH, _REACH + 1) * stride
    places = np.clip(cuts[:, None] + offsets, 0, cuts[-1])
    places[0], places[-1] = 0, cuts[-1]
    total, moment, energy = (each[places] for each in sums)
    mass = total[1:, None, :] - total[:-1, :, None]
    first = moment[1:, None, :] - moment[:-1, :, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        cost = energy[1:, None, :] - energy[:-1, :, None] - first**2 / mass
    cost[mass <= 0] = np.inf
    best = np.where(offsets == 0, 0.0, np.inf)
    origins = []
    for layer in cost:
        through = best[:, None] + layer
        origins.append(through.argmin(axis=0))
        best = through.min(axis=0)
    choice = _REACH
    moved = cuts.copy()
    for index in range(len(cuts) - 2, 0, -1):
        choice = int(origins[index][choice])
        moved[index] = places[index, choice]
    return moved


def _sums(values: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sums of the weights before each place, and of their products with powers."""
    powers = [np.cumsum(weights * values**power) for power in (0, 1, 2)]
    return np.array([np.concatenate([[0.0], power]) for power in powers])


def _start(
    values: NDArray[np.float64],
    weights: NDArray[np.float64],
    sums: NDArray[np.float64],
    count: int,
) -> NDArray[np.intp]:
    """Return cuts to begin with: the best that there are between coarse bins.

    Bins are as fine as the cube root of the density, which is how the best of many centres lie
    (Panter and Dite, "Quantization Distortion in Pulse-Count Modulation", 1951). Where they are
    no more than the clusters, each cluster is a run of as many values.
    """
    density, edges = np.histogram(values, bins=min(_DENSITY_BINS, len(values)), weights=weights)
    spread = np.cumsum(np.cbrt(density))
    spread /= spread[-1]
    number = min(max(_BINS * count, 256), len(values))
    bins = np.interp((np.arange(number) + 0.5) / number, spread, _middles(edges))
    cuts = np.unique([0, *np.searchsorted(values, _middles(bins)), len(values)])
    if len(cuts) > count:
        return _best_of_bins(sums[:, cuts], cuts, count)
    return np.linspace(0, len(values), count + 1).astype(np.intp)


def _best_of_bins(
    sums: NDArray[np.float64], edges: NDArray[np.intp], count: int
) -> NDArray[np.intp]:
    """Return the best cuts of values into runs of bins, by dynamic programming.

    `edges` are where bins begin, and the end; `sums` those before each edge. A run is at most six
    times as long as the average one: the bins lie as the centres will.
    """
    total, first, second = sums
    bins = len(edges) - 1
    longest = min(bins, _LONGEST * -(-bins // count))
    ends = np.arange(bins + 1)[:, None]
    starts = ends - longest + np.arange(longest)
    begun = np.maximum(starts, 0)
    mass = total[ends] - total[begun]
    moment = first[ends] - first[begun]
    with np.errstate(divide="ignore", invalid="ignore"):
        cost = second[ends] - second[begun] - moment**2 / mass
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
    places = [bins]
    for chosen in reversed(origins):
        places.append(int(starts[places[-1], chosen[places[-1]]]))
    return edges[places[::-1]]


def _middles(centres: NDArray[Any]) -> NDArray[Any]:
    middles: NDArray[Any] = (centres[1:] + centres[:-1]) / 2
    return middles
