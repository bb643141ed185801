"""Counts values in 2,048 bins whose range grows with what is seen.

Of a large tensor every so-manieth value is counted, and the extremes are those of all.

Imported in the reference's own process only, and therefore imports torch at the top.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

BINS = 2048
SAMPLED_VALUES = 1 << 16
"""Of a tensor with more values about so many are counted."""

_SMALLEST_RANGE = 1e-30
"""A range that is smaller has no bins that float32 can tell apart; it is all zeros."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """A tensor's extremes, and one of `stride` of its values.

    The stride divides no axis: each channel and each place has its share.
    """

    low: float
    high: float
    values: torch.Tensor
    stride: int

    @classmethod
    def of(cls, value: torch.Tensor, known: Sampled | None = None) -> Sampled:
        """Look at a float32 tensor; where it samples like a `known` one, it is taken for that.

        Raises ValueError where a value is not finite.
        """
        stride = max(1, value.numel() // SAMPLED_VALUES)
        while math.gcd(stride, value.numel()) > 1:
            stride += 1
        values = value.reshape(-1)[::stride]
        if known is not None and torch.equal(values, known.values):
            return known
        low, high = (float(end) for end in torch.aminmax(value))
        if not math.isfinite(low) or not math.isfinite(high):
            raise ValueError("a value is not finite")
        return cls(low, high, values.clone(), stride)


class Histogram:
    """A histogram of all tensors that were added, and their `minimum` and `maximum`.

    A bin is as wide as a power of two, and its edges are multiples of its width, zero among them.
    Where the range outgrows the bins, pairs of them become one. So every value stays in the bin
    that it would be in had the final range been known from the start, and the order in which
    tensors come makes no difference. Between 1,024 and 2,048 bins lie in the range that holds all
    values and zero.
    """

    def __init__(self) -> None:
        self.minimum = math.inf
        self.maximum = -math.inf
        self.counts: npt.NDArray[np.int64] = np.zeros(BINS, np.int64)
        self._exponent: int | None = None
        self._first = 0

    @property
    def edges(self) -> npt.NDArray[np.float64]:
        """Return the bins' edges, one more than there are bins."""
        return np.ldexp(np.arange(self._first, self._first + BINS + 1, dtype=np.float64), self._e)

    @property
    def is_zero(self) -> bool:
        """Say whether nothing but zeros was seen, or nothing at all."""
        return self._exponent is None

    @property
    def _e(self) -> int:
        return self._exponent or 0

    def add(self, value: torch.Tensor) -> None:
        """Count the values of a float32 tensor. Raises ValueError where one is not finite."""
        self.add_sampled(Sampled.of(value))

    def add_sampled(self, seen: Sampled) -> None:
        """Count what was sampled, as often as it stands for others."""
        self.minimum, self.maximum = min(self.minimum, seen.low), max(self.maximum, seen.high)
        self._cover(min(self.minimum, 0.0), max(self.maximum, 0.0))
        if self.is_zero:
            return
        scale = math.ldexp(1.0, -self._e)
        # exact, as the scale is a power of two; torch.histc rounds differences to float32
        places = (seen.values * scale).floor_().sub_(self._first).to(torch.int32)
        counted: npt.NDArray[np.int64] = torch.bincount(places, minlength=BINS).numpy()
        self.counts += counted * seen.stride

    def _cover(self, low: float, high: float) -> None:
        """Make the bins just wide enough for a range that holds zero."""
        if high - low < _SMALLEST_RANGE:
            return
        exponent = math.frexp(high - low)[1] - BINS.bit_length() + 1
        if math.floor(math.ldexp(high, -exponent)) - math.floor(math.ldexp(low, -exponent)) >= BINS:
            exponent += 1
        first = math.floor(math.ldexp(low, -exponent))
        if not self.is_zero:
            held = np.flatnonzero(self.counts)
            # shifting rounds down, as the bins of negative numbers have to be
            places = ((held + self._first) >> (exponent - self._e)) - first
            counts = np.zeros_like(self.counts)
            np.add.at(counts, places, self.counts[held])
            self.counts = counts
        self._exponent, self._first = exponent, first
