"""Symmetric int8 quantization of weights, a scale for each output channel.

Both TFLite's kernels (its quantization specification, "per-axis": zero point 0, values from −127 to
127) and OpenVINO's compressed weights take this form.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegen.compress.codec import Encoded, Granularity, scaled

HIGHEST = 127


class Int8:
    """Integers of 8 bits, and a scale for each output channel or one for all."""

    bits = 8
    reads: np.dtype[Any] | None = None

    def encode(self, weight: NDArray[Any], granularity: Granularity) -> Encoded:
        """Round a weight to integers."""
        return quantize(weight, granularity)

    def decode(self, encoded: Encoded) -> NDArray[np.float32]:
        """Return the integers times their scales."""
        return scaled(encoded)

    def stored_bytes(
        self, shape: tuple[int, ...], granularity: Granularity, *, scale_bytes: int
    ) -> int:
        """Return a byte a number, and the scales."""
        scales = shape[granularity.axis] if granularity.per_channel else 1
        return math.prod(shape) + scales * scale_bytes


def scales_of(weight: NDArray[np.floating], granularity: Granularity) -> NDArray[np.float32]:
    """Return the scales that `quantize` gives a weight, with as many axes as the weight.

    With `half_scales` they are numbers that float16 has, none smaller than they have to be.
    """
    along = _others(weight.ndim, granularity.axis) if granularity.per_channel else None
    highest = np.maximum(
        weight.max(axis=along, keepdims=True), -weight.min(axis=along, keepdims=True)
    ).astype(np.float32)
    scales = np.where(highest > 0, highest / HIGHEST, np.float32(1)).astype(np.float32)
    return round_up_to_half(scales) if granularity.half_scales else scales


def quantize(weight: NDArray[np.floating], granularity: Granularity) -> Encoded:
    """Round a weight to int8.

    The largest magnitude of a channel becomes ±127: at 8 bits clipping it gains nothing for
    weights. A channel of zeros gets the scale 1. Blocks of the first axis are taken one by one, so
    that little more than the weight and its result is in memory.
    """
    scales = scales_of(weight, granularity)
    inverse = 1.0 / scales
    values = np.empty(weight.shape, dtype=np.int8)
    rows = max(1, (4 << 20) // max(1, weight[:1].size))
    for start in range(0, weight.shape[0], rows):
        block = weight[start : start + rows].astype(np.float32)
        by_row = inverse.shape[0] > 1
        block *= inverse[start : start + rows] if by_row else inverse
        np.rint(block, out=block)
        values[start : start + rows] = np.clip(block, -HIGHEST, HIGHEST)
    return Encoded(values=values, scales=scales)


def round_up_to_half(numbers: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the smallest numbers that float16 has and that are not below `numbers`, which are > 0.

    A scale that is rounded down would clip the channel's largest weights; a small one is a
    subnormal of float16, whose rounding is coarse.
    """
    halves = numbers.astype(np.float16)
    above = np.nextafter(halves, np.float16(np.inf))
    return np.where(halves.astype(np.float32) < numbers, above, halves).astype(np.float32)


def _others(rank: int, axis: int) -> tuple[int, ...]:
    return tuple(index for index in range(rank) if index != axis)
