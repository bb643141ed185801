"""Symmetric int4 quantization of weights, a scale for each output channel.

TFLite's kernels take this form (its quantization specification, "per-axis": zero point 0).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegen.compress.codec import Encoded, Granularity, packed_bytes, scaled
from edgegen.compress.int4 import least_errors

_SHARES = tuple(share / 20 for share in range(20, 7, -1))
"""Parts of a channel's largest magnitude that become ±7: down to 0.4. The least error of many
normal numbers is where 2.3 standard deviations are, which is half of the largest of thousands."""


class Int4Channel:
    """Integers of 4 bits, −7…7, and a scale for each output channel."""

    bits = 4
    reads: np.dtype[Any] | None = None

    def encode(self, weight: NDArray[Any], granularity: Granularity) -> Encoded:
        """Round a weight; each channel takes the scale, of a few, with the least squared error.

        Channels are taken in runs, so that little more than the weight and its result is in memory.
        """
        axis = granularity.axis
        by_channel = np.moveaxis(weight, axis, 0)
        values = np.empty(weight.shape, np.int8)
        placed = np.moveaxis(values, axis, 0)
        scales = np.empty(len(by_channel), np.float32)
        run = max(1, (1 << 20) // max(1, by_channel[:1].size))
        for start in range(0, len(by_channel), run):
            part = by_channel[start : start + run].astype(np.float32)
            rounded, found = least_errors(
                part.reshape(len(part), 1, -1), _SHARES, half_scales=granularity.half_scales
            )
            placed[start : start + run] = rounded.reshape(part.shape)
            scales[start : start + run] = found[:, 0]
        shape = [size if index == axis else 1 for index, size in enumerate(weight.shape)]
        return Encoded(values=values, scales=scales.reshape(shape))

    def decode(self, encoded: Encoded) -> NDArray[np.float32]:
        """Return the integers times their channels' scales."""
        return scaled(encoded)

    def stored_bytes(
        self, shape: tuple[int, ...], granularity: Granularity, *, scale_bytes: int
    ) -> int:
        """Return half a byte a number, and the scales."""
        return packed_bytes(math.prod(shape), self.bits) + shape[granularity.axis] * scale_bytes
