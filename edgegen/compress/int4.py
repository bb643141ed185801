"""Symmetric int4 quantization of weights in blocks along the second axis.

Core ML's `constexpr_blockwise_shift_scale` (iOS 18) takes this form.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegen.compress.codec import Encoded, Granularity, packed_bytes, scaled
from edgegen.compress.int8 import round_up_to_half

HIGHEST = 7
BLOCK = 32
SHORTEST = 8
_SHARES = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75)
"""Parts of a block's largest magnitude that become ±7; at 4 bits clipping it can gain."""


class Int4:
    """Integers of 4 bits, −7…7, and a scale for each block of the second axis."""

    bits = 4
    reads: np.dtype[Any] | None = None

    def encode(self, weight: NDArray[Any], granularity: Granularity) -> Encoded:
        """Round a weight in blocks."""
        return quantize_blocks(weight, granularity.block or BLOCK)

    def decode(self, encoded: Encoded) -> NDArray[np.float32]:
        """Return the integers times their blocks' scales."""
        return scaled(encoded)

    def stored_bytes(
        self, shape: tuple[int, ...], granularity: Granularity, *, scale_bytes: int
    ) -> int:
        """Return half a byte a number, and the scales."""
        scales = shape[0] * (shape[1] // block_size(shape[1], granularity.block or BLOCK))
        return packed_bytes(math.prod(shape), self.bits) + scales * scale_bytes


def quantize_blocks(weight: NDArray[np.floating], block: int = BLOCK) -> Encoded:
    """Round a weight of two axes or more to int4; scales are numbers that float16 has.

    Where the second axis is no multiple of `block` its blocks are shorter (`block_size`). Each
    block takes the scale, of a few, with the smallest sum of squared errors. The first axis is
    taken in runs, so that little more than the weight and its result is in memory.
    """
    rows, columns, *rest = weight.shape
    blocks = columns // block_size(columns, block)
    values = np.empty(weight.shape, np.int8)
    scales = np.empty((rows, blocks), np.float32)
    run = max(1, (1 << 20) // max(1, weight[:1].size))
    for start in range(0, rows, run):
        part = weight[start : start + run].astype(np.float32)
        split = part.reshape(len(part), blocks, -1)
        rounded, found = least_errors(split, _SHARES, half_scales=True)
        values[start : start + run] = rounded.reshape(part.shape)
        scales[start : start + run] = found
    return Encoded(values=values, scales=scales.reshape(rows, blocks, *[1] * len(rest)))


def block_size(columns: int, block: int) -> int:
    """Return how long the blocks of an axis are: its largest divisor up to `block`.

    Divisors below `SHORTEST` would store more scales than they gain: then the axis is one block.

    >>> block_size(320, 32), block_size(100, 32), block_size(74, 32)
    (32, 25, 74)
    """
    fitting = (size for size in range(min(block, columns), SHORTEST - 1, -1) if columns % size == 0)
    return next(fitting, columns)


def least_errors(
    blocks: NDArray[np.float32], shares: Sequence[float], *, half_scales: bool
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return the values and scales of (rows, blocks, numbers).

    Each block takes the share of its largest magnitude, as that of ±7, which has the smallest sum
    of squared errors; with `half_scales` scales are numbers that float16 has.
    """
    highest = np.abs(blocks).max(axis=2)
    highest = np.where(highest > 0, highest, np.float32(HIGHEST))
    best_error = np.full(highest.shape, np.inf, np.float32)
    best_scale = np.empty(highest.shape, np.float32)
    best = np.empty(blocks.shape, np.int8)
    for share in shares:
        scale = (highest * np.float32(share / HIGHEST)).astype(np.float32)
        scale = round_up_to_half(scale) if half_scales else scale
        rounded = np.clip(np.rint(blocks / scale[..., None]), -HIGHEST, HIGHEST)
        error = ((rounded * scale[..., None] - blocks) ** 2).sum(axis=2)
        better = error < best_error
        best_error = np.where(better, error, best_error)
        best_scale = np.where(better, scale, best_scale)
        best[better] = rounded[better].astype(np.int8)
    return best, best_scale
