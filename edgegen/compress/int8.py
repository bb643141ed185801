"""Symmetric int8 quantization of weights, a scale for each output channel.

Both TFLite's kernels (its quantization specification, "per-axis": zero point 0, values from −127 to
127) and OpenVINO's compressed weights take this form.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

HIGHEST = 127


@dataclass(frozen=True, slots=True)
class Int8Weight:
    """`values × scales` is about the weight. `scales` is float32, 1 long or as `axis` of values."""

    values: NDArray[np.int8]
    scales: NDArray[np.float32]
    axis: int


def scales_of(
    weight: NDArray[np.floating], axis: int, *, per_channel: bool = True
) -> NDArray[np.float32]:
    """Return the scales that `quantize` gives a weight: one for each index of `axis`, or one."""
    along = _others(weight.ndim, axis) if per_channel else None
    highest = np.maximum(weight.max(axis=along), -weight.min(axis=along)).astype(np.float32)
    scales = np.where(highest > 0, highest / HIGHEST, np.float32(1)).astype(np.float32)
    return np.atleast_1d(scales)


def quantize(
    weight: NDArray[np.floating],
    axis: int,
    *,
    per_channel: bool = True,
    half_scales: bool = False,
) -> Int8Weight:
    """Round a weight to int8, with a scale for each index of `axis`, or one for all of it.

    With `half_scales` the scales are numbers that float16 has, none smaller than they have to be.

    The largest magnitude of a channel becomes ±127: at 8 bits clipping it gains nothing for
    weights. A channel of zeros gets the scale 1. Blocks of the first axis are taken one by one, so
    that little more than the weight and its result is in memory.
    """
    scales = scales_of(weight, axis, per_channel=per_channel)
    if half_scales:
        scales = round_up_to_half(scales)
    inverse = 1.0 / (np.expand_dims(scales, _others(weight.ndim, axis)) if per_channel else scales)
    values = np.empty(weight.shape, dtype=np.int8)
    rows = max(1, (4 << 20) // max(1, weight[:1].size))
    for start in range(0, weight.shape[0], rows):
        block = weight[start : start + rows].astype(np.float32)
        by_row = inverse.shape[0] > 1
        block *= inverse[start : start + rows] if by_row else inverse
        np.rint(block, out=block)
        values[start : start + rows] = np.clip(block, -HIGHEST, HIGHEST)
    return Int8Weight(values=values, scales=scales, axis=axis)


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
