"""int4 in blocks."""

from __future__ import annotations

import numpy as np
import pytest

from edgegen.compress.codec import Encoded, scaled
from edgegen.compress.int4 import quantize_blocks

RANDOM = np.random.default_rng(4)


def restored(weight: np.ndarray, block: int = 32) -> tuple[np.ndarray, np.ndarray]:
    result = quantize_blocks(weight, block)
    return result.values, scaled(result)


@pytest.mark.parametrize("shape", [(5, 64), (5, 64, 3, 3), (3, 33), (700, 96, 3, 3)])
def test_values_times_scales_are_about_the_weight(shape: tuple[int, ...]) -> None:
    weight = RANDOM.normal(size=shape).astype(np.float32)
    values, about = restored(weight)
    assert values.dtype == np.int8
    assert np.abs(values).max() <= 7
    assert np.sqrt(np.mean((about - weight) ** 2)) < 0.15


def test_blocks_are_32_long_where_the_axis_is_a_multiple() -> None:
    weight = RANDOM.normal(size=(4, 96, 1, 1)).astype(np.float32)
    assert quantize_blocks(weight).scales.shape == (4, 3, 1, 1)


@pytest.mark.parametrize(
    ("columns", "blocks"), [(50, 2), (100, 4), (320, 10), (74, 1), (4, 1), (31, 1), (36, 2)]
)
def test_blocks_of_other_axes_are_their_largest_divisors(columns: int, blocks: int) -> None:
    weight = RANDOM.normal(size=(4, columns, 1, 1)).astype(np.float32)
    assert quantize_blocks(weight).scales.shape == (4, blocks, 1, 1)


def test_zero_points_are_subtracted_before_a_scale_multiplies() -> None:
    encoded = Encoded(
        values=np.array([[0, 15, 8, 9]], np.uint8),
        scales=np.array([[0.5, 2.0]], np.float32),
        zero_points=np.array([[8, 7]], np.uint8),
    )
    np.testing.assert_array_equal(scaled(encoded), [[-4.0, 3.5, 2.0, 4.0]])


def test_a_chosen_scale_is_at_least_as_good_as_the_largest_numbers() -> None:
    weight = RANDOM.standard_t(4, size=(8, 64)).astype(np.float32)
    _, about = restored(weight)
    blocks = weight.reshape(8, 2, 32)
    scale = np.abs(blocks).max(2, keepdims=True) / 7
    plain = (np.rint(blocks / scale) * scale).reshape(weight.shape)
    assert np.sum((about - weight) ** 2) <= np.sum((plain - weight) ** 2) * 1.001


def test_scales_are_numbers_of_float16() -> None:
    weight = (RANDOM.normal(size=(4, 32)) * 1e-5).astype(np.float32)
    scales = quantize_blocks(weight).scales
    np.testing.assert_array_equal(scales, scales.astype(np.float16).astype(np.float32))
    assert (scales > 0).all()


def test_a_block_of_zeros_stays_one() -> None:
    values, about = restored(np.zeros((2, 64), np.float32))
    assert not values.any()
    assert not about.any()
