"""Symmetric int4 quantization of weights in blocks along the second axis.

Core ML's `constexpr_blockwise_shift_scale` (iOS 18) takes this form.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegen.compress.blocks import BLOCK, Grid, block_count, round_blocks
from edgegen.compress.codec import Encoded, Granularity, packed_bytes, scaled
from edgegen.compress.int8 import round_up_to_half

HIGHEST = 7
LEVELS = (-HIGHEST, HIGHEST)
SHARES = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75)
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
        scales = shape[0] * block_count(shape, granularity.block)
        return packed_bytes(math.prod(shape), self.bits) + scales * scale_bytes


def quantize_blocks(weight: NDArray[np.floating], block: int = BLOCK) -> Encoded:
    """Round a weight of two axes or more to int4; scales are numbers that float16 has.

    Where the second axis is no multiple of `block` its blocks are shorter (`block_size`).
    """
    values = np.empty(weight.shape, np.int8)
    blocks = block_count(weight.shape, block)
    grids = partial(symmetric, shares=SHARES, half_scales=True)
    found = round_blocks(weight, values, blocks=blocks, levels=LEVELS, grids=grids)
    along = (len(weight), blocks, *[1] * (weight.ndim - 2))
    return Encoded(values=values, scales=found.scales.reshape(along))


def symmetric(
    blocks: NDArray[np.float32], *, shares: Sequence[float], half_scales: bool
) -> Iterator[Grid]:
    """Yield the scales that make a share of each block's largest magnitude ±7; zero stays zero.

    With `half_scales` they are numbers that float16 has.
    """
    highest = np.abs(blocks).max(axis=2)
    highest = np.where(highest > 0, highest, np.float32(HIGHEST))
    zero = np.zeros((1, 1), np.float32)
    for share in shares:
        scale = (highest * np.float32(share / HIGHEST)).astype(np.float32)
        yield round_up_to_half(scale) if half_scales else scale, zero
