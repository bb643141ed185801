"""Integers of 4 bits with a scale for each output channel."""

from __future__ import annotations

import numpy as np
import pytest

from edgegen.compress.codec import Granularity
from edgegen.compress.int4_channel import Int4Channel

CODEC = Int4Channel()


@pytest.mark.parametrize("axis", [0, 3])
def test_each_channel_has_a_scale_whichever_axis_it_is(axis: int) -> None:
    drawn = np.random.default_rng(3).normal(size=(6, 3, 3, 10)).astype(np.float32)
    channels = drawn.shape[axis]
    sizes = np.logspace(-3, 3, channels, dtype=np.float32)
    weight = drawn * sizes.reshape([channels if index == axis else 1 for index in range(4)])
    encoded = CODEC.encode(weight, Granularity(axis=axis))
    assert encoded.values.shape == weight.shape
    assert np.abs(encoded.values).max() == 7
    assert encoded.scales is not None
    assert encoded.scales.shape == tuple(channels if it == axis else 1 for it in range(4))
    error = np.moveaxis(CODEC.decode(encoded) - weight, axis, 0).reshape(channels, -1)
    assert (error.std(axis=1) < 0.16 * sizes).all()  # normal numbers in 15 steps


def test_a_scale_clips_where_that_makes_the_error_smaller() -> None:
    weight = np.random.default_rng(3).normal(size=(4, 4000)).astype(np.float32)
    encoded = CODEC.encode(weight, Granularity())
    largest = np.abs(weight).max(axis=1, keepdims=True) / 7
    plain = np.clip(np.rint(weight / largest), -7, 7) * largest
    error = ((CODEC.decode(encoded) - weight) ** 2).sum()
    assert error < 0.7 * ((plain - weight) ** 2).sum()


def test_a_channel_of_zeros_stays_zero() -> None:
    encoded = CODEC.encode(np.zeros((2, 8), np.float32), Granularity())
    assert not CODEC.decode(encoded).any()
    assert encoded.scales is not None
    assert (encoded.scales > 0).all()
