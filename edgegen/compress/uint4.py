"""Asymmetric quantization of weights to 4 bits in blocks along the second axis.

OpenVINO's compressed weights take this form: unsigned integers, a zero point and a scale a block.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegen.compress.blocks import BLOCK, Grid, block_count, round_blocks
from edgegen.compress.codec import Encoded, Granularity, packed_bytes, scaled
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
        blocks = shape[0] * block_count(shape, granularity.block)
        numbers = packed_bytes(math.prod(shape), self.bits)
        return numbers + packed_bytes(blocks, self.bits) + blocks * scale_bytes


def quantize_blocks(weight: NDArray[np.floating], block: int = BLOCK) -> Encoded:
    """Round a weight of two axes or more; scales are numbers that float16 has.

    Blocks are those of `int4`.
    """
    values = np.empty(weight.shape, np.uint8)
    blocks = block_count(weight.shape, block)
    found = round_blocks(weight, values, blocks=blocks, levels=(0, HIGHEST), grids=_asymmetric)
    along = (len(weight), blocks, *[1] * (weight.ndim - 2))
    return Encoded(
        values=values,
        scales=found.scales.reshape(along),
        zero_points=found.zero_points.reshape(along),
    )


def _asymmetric(blocks: NDArray[np.float32]) -> Iterator[Grid]:
    """Yield scales and zero points of ranges that blocks are clipped to; each holds 0."""
    low = np.minimum(blocks.min(axis=2), np.float32(0))
    high = np.maximum(blocks.max(axis=2), np.float32(0))
    high = np.where(high > low, high, low + np.float32(HIGHEST))
    for share in _SHARES:
        spans = (high - low) * np.float32(share / HIGHEST)
        scale = round_up_to_half(np.maximum(spans, np.finfo(np.float16).smallest_subnormal))
        for zero in _zero_points(low, high, scale):
            yield scale, zero


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
