"""Rounding to int8: what is stored is near, symmetric, and scaled by channel."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edgegen.compress.codec import BY_CHANNEL, Granularity
from edgegen.compress.int8 import HIGHEST, quantize, scales_of


def weight(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("axis", [0, 1, 3])
def test_a_number_is_off_by_half_a_scale_at_most(axis: int) -> None:
    original = weight(5, 7, 3, 4)
    stored = quantize(original, Granularity(axis=axis))
    column = [1] * 4
    column[axis] = original.shape[axis]
    assert stored.scales.shape == tuple(column)
    assert (np.abs(stored.values * stored.scales - original) <= 0.5001 * stored.scales).all()


def test_the_largest_magnitude_of_each_channel_is_127_and_nothing_is_minus_128() -> None:
    stored = quantize(weight(6, 50), BY_CHANNEL)
    assert (np.abs(stored.values.astype(int)).max(axis=1) == HIGHEST).all()


def test_one_scale_is_that_of_the_largest_channel() -> None:
    original = weight(6, 50)
    whole = scales_of(original, Granularity(per_channel=False))
    assert whole.tolist() == [[scales_of(original, BY_CHANNEL).max()]]


def test_a_channel_of_zeros_stays_zero() -> None:
    original = weight(3, 8)
    original[1] = 0
    stored = quantize(original, BY_CHANNEL)
    assert stored.scales[1] == 1
    assert not stored.values[1].any()


def test_a_weight_of_many_blocks_is_rounded_as_a_whole() -> None:
    original = weight(9, 1 << 20)
    whole = np.rint(original / scales_of(original, BY_CHANNEL))
    values = quantize(original, BY_CHANNEL).values
    assert np.abs(values - whole).max() <= 1  # a product, not a quotient
    assert (values == whole).mean() > 0.999


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("per_channel", [True, False])
def test_the_scales_can_be_had_alone(dtype: type, per_channel: bool) -> None:
    original = weight(4, 9).astype(dtype)
    granularity = Granularity(per_channel=per_channel)
    alone = scales_of(original, granularity)
    np.testing.assert_array_equal(alone, quantize(original, granularity).scales)


@pytest.mark.parametrize("size", [1.0, 1e-3, 1e-6])
def test_half_scales_are_numbers_of_float16_and_clip_nothing(size: float) -> None:
    weight = (np.random.default_rng(5).normal(size=(6, 50)) * size).astype(np.float32)
    rounded = quantize(weight, Granularity(half_scales=True))
    scales = rounded.scales
    np.testing.assert_array_equal(scales, scales.astype(np.float16).astype(np.float32))
    error = np.abs(rounded.values * scales - weight)
    assert (error <= scales * 0.5001).all()
