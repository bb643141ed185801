"""4 bits with zero points, in blocks."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edgegen.compress.codec import Granularity, scaled
from edgegen.compress.int4 import quantize_blocks as symmetric
from edgegen.compress.uint4 import Uint4, quantize_blocks

RANDOM = np.random.default_rng(4)


def error(weight: NDArray[np.float32], about: NDArray[np.float32]) -> float:
    return float(np.mean((about - weight) ** 2))


@pytest.mark.parametrize("shape", [(5, 64), (5, 64, 3, 3), (3, 33), (700, 96, 3, 3)])
def test_values_less_zero_points_times_scales_are_about_the_weight(shape: tuple[int, ...]) -> None:
    weight = RANDOM.normal(size=shape).astype(np.float32)
    result = quantize_blocks(weight)
    assert result.values.dtype == np.uint8
    assert result.values.max() <= 15
    assert result.zero_points is not None
    assert result.zero_points.dtype == np.uint8
    assert result.zero_points.max() <= 15
    assert np.sqrt(error(weight, scaled(result))) < 0.15


@pytest.mark.parametrize(("block", "blocks"), [(32, 3), (64, 2), (96, 1)])
def test_each_block_has_a_scale_and_a_zero_point(block: int, blocks: int) -> None:
    weight = RANDOM.normal(size=(4, 96, 1, 1)).astype(np.float32)
    result = quantize_blocks(weight, block)
    assert result.scales is not None
    assert result.zero_points is not None
    assert result.scales.shape == result.zero_points.shape == (4, blocks, 1, 1)


def test_a_block_on_one_side_of_zero_comes_back_nearer_than_without_zero_points() -> None:
    weight = np.abs(RANDOM.normal(size=(16, 128))).astype(np.float32)
    assert error(weight, scaled(quantize_blocks(weight))) < 0.4 * error(
        weight, scaled(symmetric(weight))
    )


def test_a_chosen_range_is_at_least_as_good_as_the_ends() -> None:
    weight = RANDOM.standard_t(4, size=(8, 64)).astype(np.float32)
    blocks = weight.reshape(8, 2, 32)
    low, high = blocks.min(2, keepdims=True), blocks.max(2, keepdims=True)
    scale = (high - low) / 15
    zero = np.rint(-low / scale)
    plain = (np.clip(np.rint(blocks / scale) + zero, 0, 15) - zero) * scale
    chosen = error(weight, scaled(quantize_blocks(weight)))
    assert chosen <= error(weight, plain.reshape(weight.shape)) * 1.001


def test_scales_are_numbers_of_float16_above_zero() -> None:
    weight = (RANDOM.normal(size=(4, 32)) * 1e-7).astype(np.float32)
    scales = quantize_blocks(weight).scales
    assert scales is not None
    np.testing.assert_array_equal(scales, scales.astype(np.float16).astype(np.float32))
    assert (scales > 0).all()


def test_a_block_of_zeros_stays_one() -> None:
    assert not scaled(quantize_blocks(np.zeros((2, 64), np.float32))).any()


def test_what_a_weight_takes_counts_a_zero_point_for_each_scale() -> None:
    found = Uint4().stored_bytes((8, 64), Granularity(block=32), scale_bytes=2)
    assert found == 8 * 64 // 2 + 16 // 2 + 16 * 2
