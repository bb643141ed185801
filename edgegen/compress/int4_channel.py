"""Symmetric int4 quantization of weights, a scale for each output channel.

TFLite's kernels take this form (its quantization specification, "per-axis": zero point 0).
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegen.compress.blocks import round_blocks
from edgegen.compress.codec import Encoded, Granularity, packed_bytes, scaled
from edgegen.compress.int4 import LEVELS, symmetric

_SHARES = tuple(share / 20 for share in range(20, 7, -1))
"""Parts of a channel's largest magnitude that become ±7: down to 0.4. The least error of many
normal numbers is where 2.3 standard deviations are, which is half of the largest of thousands."""


class Int4Channel:
    """Integers of 4 bits, −7…7, and a scale for each output channel."""

    bits = 4
    reads: np.dtype[Any] | None = None

    def encode(self, weight: NDArray[Any], granularity: Granularity) -> Encoded:
        """Round a weight; each channel takes the scale, of a few, with the least squared error."""
        axis = granularity.axis
        values = np.empty(weight.shape, np.int8)
        found = round_blocks(
            np.moveaxis(weight, axis, 0),
            np.moveaxis(values, axis, 0),
            blocks=1,
            levels=LEVELS,
            grids=partial(symmetric, shares=_SHARES, half_scales=granularity.half_scales),
        )
        shape = [size if index == axis else 1 for index, size in enumerate(weight.shape)]
        return Encoded(values=values, scales=found.scales.reshape(shape))

    def decode(self, encoded: Encoded) -> NDArray[np.float32]:
        """Return the integers times their channels' scales."""
        return scaled(encoded)

    def stored_bytes(
        self, shape: tuple[int, ...], granularity: Granularity, *, scale_bytes: int
    ) -> int:
        """Return half a byte a number, and the scales."""
        return packed_bytes(math.prod(shape), self.bits) + shape[granularity.axis] * scale_bytes
