"""Asymmetric quantization of weights to 4 bits in blocks along the second axis.

OpenVINO's compressed weights take this form: unsigned integers, a zero point and a scale a block.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegen.compress.codec import Encoded, Granularity, packed_bytes, scaled
from edgegen.compress.int4 import BLOCK, block_size
from edgegen.compress.int8 import round_up_to_half

HIGHEST = 15
_SHARES = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75)
"""Parts of a block's range that the 16 numbers span; clipping can gain."""


class Uint4:
    """Integers of 4 bits, 0…15, a zero point and a scale for each block of the second axis."""

    bits = 4
    reads: np.dtype[Any] | None = None

    def encode(self, weight: NDArray[Any], granularity: Granularity) -> Encoded:
        """Round a weight in blocks."""
        return quantize_blocks(weight, granularity.block or BLOCK)

    def decode(self, encoded: Encoded) -> NDArray[np.float32]:
        """Return the integers less their blocks' zero points, times their scales."""
        return scaled(encoded)

    def stored_bytes(
        self, shape: tuple[int, ...], granularity: Granularity, *, scale_bytes: int
    ) -> int:
        """Return half a byte a number and a zero point, and the scales."""
        blocks = shape[0] * (shape[1] // block_size(shape[1], granularity.block or BLOCK))
        numbers = packed_bytes(math.prod(shape), self.bits)
        return numbers + packed_bytes(blocks, self.bits) + blocks * scale_bytes


def quantize_blocks(weight: NDArray[np.floating], block: int = BLOCK) -> Encoded:
    """Round a weight of two axes or more; scales are numbers that float16 has.

    Blocks are those of `int4`. Each takes the range, of a few that it is clipped to, with the
    smallest sum of squared errors; a range holds 0. The first axis is taken in runs, so that little
    more than the weight and its result is in memory.
    """
    rows, columns, *rest = weight.shape
    blocks = columns // block_size(columns, block)
    values = np.empty(weight.shape, np.uint8)
    scales = np.empty((rows, blocks), np.float32)
    zeros = np.empty((rows, blocks), np.uint8)
    run = max(1, (1 << 20) // max(1, weight[:1].size))
    for start in range(0, rows, run):
        part = weight[start : start + run].astype(np.float32)
        here = slice(start, start + len(part))
        rounded, scales[here], zeros[here] = _best(part.reshape(len(part), blocks, -1))
        values[here] = rounded.reshape(part.shape)
    along = (rows, blocks, *[1] * len(rest))
    return Encoded(values=values, scales=scales.reshape(along), zero_points=zeros.reshape(along))


def _best(
    blocks: NDArray[np.float32],
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.uint8]]:
    """Return the values, scales and zero points of (rows, blocks, numbers)."""
    low = np.minimum(blocks.min(axis=2), np.float32(0))
    high = np.maximum(blocks.max(axis=2), np.float32(0))
    high = np.where(high > low, high, low + np.float32(HIGHEST))
    best_error = np.full(low.shape, np.inf, np.float32)
    best_scale = np.empty(low.shape, np.float32)
    best_zero = np.empty(low.shape, np.uint8)
    best = np.empty(blocks.shape, np.uint8)
    for share in _SHARES:
        spans = (high - low) * np.float32(share / HIGHEST)
        scale = round_up_to_half(np.maximum(spans, np.finfo(np.float16).smallest_subnormal))
        for zero in _zero_points(low, high, scale):
            rounded = np.rint(blocks / scale[..., None]) + zero[..., None]
            rounded = np.clip(rounded, 0, HIGHEST, out=rounded)
            restored = (rounded - zero[..., None]) * scale[..., None]
            error = ((restored - blocks) ** 2).sum(axis=2)
            better = error < best_error
            best_error = np.where(better, error, best_error)
            best_scale = np.where(better, scale, best_scale)
            best_zero = np.where(better, zero.astype(np.uint8), best_zero)
            best[better] = rounded[better].astype(np.uint8)
    return best, best_scale, best_zero


def _zero_points(
    low: NDArray[np.float32], high: NDArray[np.float32], scale: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return what stands for 0 if a clipped range keeps its middle, rounded down and up.

    >>> one = np.ones((1, 1), np.float32)
    >>> [float(zero[0, 0]) for zero in _zero_points(-5 * one, 10 * one, one)]
    [5.0, 5.0]
    """
    middle = (low + high) / (2 * scale)
    exact = np.float32(HIGHEST / 2) - middle
    down = np.clip(np.floor(exact), 0, HIGHEST).astype(np.float32)
    return down, np.clip(np.ceil(exact), 0, HIGHEST).astype(np.float32)
