"""How far an array is from its reference; numpy only."""

from __future__ import annotations

import math
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

IMAGE_PEAK = 2.0
"""The range of an image whose values lie in −1…1."""

_BLOCK = 1 << 20


def psnr_db(reference: Array, value: Array, *, peak: Optional[float] = None) -> float:
    """Return the peak signal-to-noise ratio in decibels, infinite where the arrays are equal.

    ``peak`` defaults to the range of the reference. The ratio of a reference without any range is
    minus infinity, unless the arrays are equal; so is that of a value that is not finite.
    """
    error = mean_square_error(reference, value)
    if error == 0:
        return math.inf
    signal = float(reference.max()) - float(reference.min()) if peak is None else peak
    if signal <= 0 or not math.isfinite(error) or not math.isfinite(signal):
        return -math.inf
    return 20 * math.log10(signal) - 10 * math.log10(error)


def worst_psnr_db(reference: Array, value: Array, *, peak: Optional[float] = None) -> float:
    """Return the lowest PSNR of the samples of a batch, its first axis."""
    if reference.ndim < 2:
        return psnr_db(reference, value, peak=peak)
    pairs = zip(reference, value)
    return min((psnr_db(left, right, peak=peak) for left, right in pairs), default=-math.inf)


def mean_square_error(reference: Array, value: Array) -> float:
    """Return the mean squared difference, summed in float64 block by block."""
    total = 0.0
    left, right = reference.reshape(-1), value.reshape(-1)
    for start in range(0, left.size, _BLOCK):
        block = slice(start, start + _BLOCK)
        difference = left[block].astype(np.float64) - right[block]
        total += float(np.dot(difference, difference))
    return total / max(left.size, 1)


def max_abs_error(reference: Array, value: Array) -> float:
    """Return the largest absolute difference."""
    if not reference.size:
        return 0.0
    return float(np.abs(reference.astype(np.float64) - value).max())


def cosine(reference: Array, value: Array) -> float:
    """Return the cosine of the angle between two arrays, 0 where one of them is all zeros."""
    left = reference.reshape(-1).astype(np.float64)
    right = value.reshape(-1).astype(np.float64)
    lengths = float(np.linalg.norm(left)) * float(np.linalg.norm(right))
    return float(np.dot(left, right)) / lengths if lengths > 0 else 0.0


def is_constant(value: Array) -> bool:
    """Return whether all elements are equal."""
    return value.size == 0 or bool(value.min() == value.max())
