"""The walk over blocks that the codecs of 4 bits share."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from edgegen.compress import blocks
from edgegen.compress.blocks import Grid, least_errors, round_blocks
from edgegen.compress.codec import Granularity
from edgegen.compress.codecs import CODECS

RANDOM = np.random.default_rng(17)


@pytest.mark.parametrize("name", ["int4", "uint4", "int4-channel"])
def test_rows_that_are_rounded_one_by_one_are_those_of_a_whole_weight(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    weight = RANDOM.normal(size=(7, 64, 3, 3)).astype(np.float16)
    whole = CODECS[name].encode(weight, Granularity(block=16))
    monkeypatch.setattr(blocks, "_RUN", 1)
    by_row = CODECS[name].encode(weight, Granularity(block=16))
    np.testing.assert_array_equal(whole.values, by_row.values)
    np.testing.assert_array_equal(whole.scales, by_row.scales)
    if whole.zero_points is not None:
        np.testing.assert_array_equal(whole.zero_points, by_row.zero_points)


def test_each_block_takes_the_grid_that_is_nearest_to_it() -> None:
    numbers = np.array([[[0, 1, 2, 3], [-4, 0, 4, 8]]], np.float32)

    def grids(_: NDArray[np.float32]) -> Iterator[Grid]:
        for scale, zero in ((4.0, 1.0), (1.0, 0.0), (2.0, 0.0)):
            yield np.full((1, 2), scale, np.float32), np.full((1, 2), zero, np.float32)

    values, scales, zeros = least_errors(numbers, np.dtype(np.uint8), levels=(0, 3), grids=grids)
    np.testing.assert_array_equal(scales, [[1, 4]])
    np.testing.assert_array_equal(zeros, [[0, 1]])
    np.testing.assert_array_equal(values, [[[0, 1, 2, 3], [0, 1, 2, 3]]])


def test_values_are_written_where_they_lie_in_the_weight() -> None:
    weight = RANDOM.normal(size=(4, 6)).astype(np.float32)
    values = np.zeros(weight.shape, np.int8)

    def grids(split: NDArray[np.float32]) -> Iterator[Grid]:
        assert split.shape == (6, 1, 4)
        yield np.ones(split.shape[:2], np.float32), np.zeros((1, 1), np.float32)

    round_blocks(weight.T, values.T, blocks=1, levels=(-7, 7), grids=grids)
    np.testing.assert_array_equal(values, np.rint(weight))
