"""Rounding to int8: what is stored is near, symmetric, and scaled by channel."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edgegen.compress.int8 import HIGHEST, quantize, scales_of


def weight(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("axis", [0, 1, 3])
def test_a_number_is_off_by_half_a_scale_at_most(axis: int) -> None:
    original = weight(5, 7, 3, 4)
    stored = quantize(original, axis)
    column = [1] * 4
    column[axis] = original.shape[axis]
    scales = stored.scales.reshape(column)
    assert stored.scales.shape == (original.shape[axis],)
    assert (np.abs(stored.values * scales - original) <= 0.5001 * scales).all()


def test_the_largest_magnitude_of_each_channel_is_127_and_nothing_is_minus_128() -> None:
    stored = quantize(weight(6, 50), 0)
    assert (np.abs(stored.values.astype(int)).max(axis=1) == HIGHEST).all()


def test_one_scale_is_that_of_the_largest_channel() -> None:
    original = weight(6, 50)
    stored = quantize(original, 0, per_channel=False)
    assert stored.scales.tolist() == [quantize(original, 0).scales.max()]


def test_a_channel_of_zeros_stays_zero() -> None:
    original = weight(3, 8)
    original[1] = 0
    stored = quantize(original, 0)
    assert stored.scales[1] == 1
    assert not stored.values[1].any()


def test_a_weight_of_many_blocks_is_rounded_as_a_whole() -> None:
    original = weight(9, 1 << 20)
    whole = np.rint(original / scales_of(original, 0)[:, None])
    assert np.abs(quantize(original, 0).values - whole).max() <= 1  # a product, not a quotient
    assert (quantize(original, 0).values == whole).mean() > 0.999


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("per_channel", [True, False])
def test_the_scales_can_be_had_alone(dtype: type, per_channel: bool) -> None:
    original = weight(4, 9).astype(dtype)
    alone = scales_of(original, 0, per_channel=per_channel)
    np.testing.assert_array_equal(alone, quantize(original, 0, per_channel=per_channel).scales)


@pytest.mark.parametrize("size", [1.0, 1e-3, 1e-6])
def test_half_scales_are_numbers_of_float16_and_clip_nothing(size: float) -> None:
    weight = (np.random.default_rng(5).normal(size=(6, 50)) * size).astype(np.float32)
    rounded = quantize(weight, axis=0, half_scales=True)
    scales = rounded.scales
    np.testing.assert_array_equal(scales, scales.astype(np.float16).astype(np.float32))
    error = np.abs(rounded.values * scales[:, None] - weight)
    assert (error <= scales[:, None] * 0.5001).all()
