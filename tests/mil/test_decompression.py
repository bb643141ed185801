"""Compressed weights, read by the executor and by coremltools' reference decoders."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgegen.compress.codec import Granularity
from edgegen.compress.codecs import CODECS
from edgegen.core.errors import IntegrityError
from edgegen.mil.executor.arguments import Arguments
from edgegen.mil.executor.decompression import DECOMPRESSIONS
from edgegen.mil.types import pack_bits

RANDOM = np.random.default_rng(2)
Inputs = dict[str, Any]


def ours(op_type: str, inputs: Inputs) -> np.ndarray:
    return DECOMPRESSIONS[op_type](Arguments(op_type, inputs))


def half(*shape: int) -> np.ndarray:
    return RANDOM.normal(size=shape).astype(np.float16)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("zero", ["one", "each"])
def test_affine_weights_are_coremltools_weights(axis: int, zero: str) -> None:
    ct_ops = pytest.importorskip("coremltools.converters.mil.mil.ops.defs.iOS16.constexpr_ops")
    data = RANDOM.integers(-127, 128, (4, 6, 3)).astype(np.int8)
    scale = np.abs(half(data.shape[axis])) + np.float16(0.01)
    offset = (
        np.array(3, np.int8)
        if zero == "one"
        else RANDOM.integers(-9, 9, data.shape[axis]).astype(np.int8)
    )
    inputs = {"quantized_data": data, "scale": scale, "zero_point": offset, "axis": np.int32(axis)}
    expected = ct_ops.constexpr_affine_dequantize.decompress(data, offset, scale, axis)
    found = ours("constexpr_affine_dequantize", inputs)
    assert found.dtype == np.float16
    np.testing.assert_allclose(found.astype(float), expected, rtol=2e-3)


@pytest.mark.parametrize("bits", [1, 2, 4, 6, 8])
def test_packed_palettes_are_coremltools_weights(bits: int) -> None:
    ct_ops = pytest.importorskip("coremltools.converters.mil.mil.ops.defs.iOS16.constexpr_ops")
    shape = (5, 7, 3)
    indices = RANDOM.integers(0, 1 << bits, shape).astype(np.uint8)
    palette = np.sort(half(1 << bits))
    packed = pack_bits(indices, bits)
    inputs = {"indices": packed, "lut": palette, "shape": np.array(shape, np.uint32)}
    expected = ct_ops.constexpr_lut_to_dense.decompress(palette, packed, np.array(shape, np.uint32))
    found = ours("constexpr_lut_to_dense", inputs)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(found, palette[indices])


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 6, 8])
@pytest.mark.parametrize("groups", [(1, 1), (3, 1), (1, 2), (3, 4)])
def test_grouped_palettes_are_coremltools_weights(bits: int, groups: tuple[int, int]) -> None:
    ct_ops = pytest.importorskip("coremltools.converters.mil.mil.ops.defs.iOS18.compression")
    indices = RANDOM.integers(0, 1 << bits, (6, 8)).astype(np.uint8)
    palettes = half(*groups, 1 << bits, 1)
    expected = ct_ops.constexpr_lut_to_dense.decompress(indices, palettes, None)
    found = ours("constexpr_lut_to_dense", {"indices": indices, "lut": palettes})
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("vector", [2, 4])
@pytest.mark.parametrize("groups", [(1, 1), (3, 1), (1, 2)])
def test_palettes_of_vectors_are_coremltools_weights(
    bits: int, axis: int, vector: int, groups: tuple[int, int]
) -> None:
    ct_ops = pytest.importorskip("coremltools.converters.mil.mil.ops.defs.iOS18.compression")
    indices = RANDOM.integers(0, 1 << bits, (6, 8)).astype(np.uint8)
    palettes = half(*groups, 1 << bits, vector)
    expected = ct_ops.constexpr_lut_to_dense.decompress(indices, palettes, axis % 2)
    inputs = {"indices": indices, "lut": palettes, "vector_axis": np.int32(axis)}
    found = ours("constexpr_lut_to_dense", inputs)
    assert found.shape == ((6 * vector, 8) if axis == 0 else (6, 8 * vector))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("columns", [36, 74])
def test_blocks_of_rows_that_are_no_multiple_of_32_are_coremltools_weights(columns: int) -> None:
    """Of 36 numbers the blocks are 18 long; 74 have no divisor for them and are one."""
    ct_ops = pytest.importorskip("coremltools.converters.mil.mil.ops.defs.iOS18.compression")
    weight = RANDOM.normal(size=(8, columns)).astype(np.float32)
    codec = CODECS["int4"]
    encoded = codec.encode(weight, Granularity(half_scales=True))
    assert encoded.scales is not None
    assert encoded.scales.shape == (8, {36: 2, 74: 1}[columns])
    scale = encoded.scales.astype(np.float16)
    expected = ct_ops.constexpr_blockwise_shift_scale.decompress(encoded.values, scale, None)
    found = ours("constexpr_blockwise_shift_scale", {"data": encoded.values, "scale": scale})
    np.testing.assert_allclose(found.astype(float), expected.astype(float), rtol=2e-3)
    np.testing.assert_allclose(found.astype(float), codec.decode(encoded), rtol=2e-3)


@pytest.mark.parametrize("blocks", [(1, 1), (4, 1), (4, 3), (2, 6)])
@pytest.mark.parametrize("with_offset", [False, True])
def test_blockwise_weights_are_coremltools_weights(
    blocks: tuple[int, int], with_offset: bool
) -> None:
    ct_ops = pytest.importorskip("coremltools.converters.mil.mil.ops.defs.iOS18.compression")
    data = RANDOM.integers(-8, 8, (4, 6)).astype(np.int8)
    scale = np.abs(half(*blocks)) + np.float16(0.01)
    offset = RANDOM.integers(-3, 3, blocks).astype(np.int8) if with_offset else None
    inputs: Inputs = {"data": data, "scale": scale}
    if offset is not None:
        inputs["offset"] = offset
    expected = ct_ops.constexpr_blockwise_shift_scale.decompress(data, scale, offset)
    found = ours("constexpr_blockwise_shift_scale", inputs)
    assert found.dtype == np.float16
    np.testing.assert_allclose(found.astype(float), expected.astype(float), rtol=2e-3)


def test_sparse_weights_of_both_forms_are_coremltools_weights() -> None:
    old = pytest.importorskip("coremltools.converters.mil.mil.ops.defs.iOS16.constexpr_ops")
    mask = RANDOM.integers(0, 2, (5, 7)).astype(np.uint8)
    numbers = half(int(mask.sum()))
    shape = np.array(mask.shape, np.uint32)
    packed = pack_bits(mask, 1)
    inputs = {"nonzero_data": numbers, "mask": packed, "shape": shape}
    expected = old.constexpr_sparse_to_dense.decompress(numbers, packed, shape)
    np.testing.assert_array_equal(ours("constexpr_sparse_to_dense", inputs), expected)
    later = {"nonzero_data": numbers, "mask": mask}
    np.testing.assert_array_equal(ours("constexpr_sparse_to_dense", later), expected)


def test_a_cast_keeps_the_numbers() -> None:
    source = half(3, 4)
    found = ours("constexpr_cast", {"source_val": source, "output_dtype": "fp32"})
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, source.astype(np.float32))


@pytest.mark.parametrize(
    ("op_type", "inputs"),
    [
        (
            "constexpr_lut_to_dense",
            {
                "indices": np.zeros(4, np.uint8),
                "lut": half(3),
                "shape": np.array([8], np.uint32),
            },
        ),
        (
            "constexpr_lut_to_dense",
            {
                "indices": np.zeros(4, np.uint8),
                "lut": half(4),
                "shape": np.array([64], np.uint32),
            },
        ),
        (
            "constexpr_lut_to_dense",
            {"indices": np.full((2, 2), 9, np.uint8), "lut": half(1, 1, 4, 1)},
        ),
        (
            "constexpr_lut_to_dense",
            {"indices": np.zeros((2, 2), np.uint8), "lut": half(1, 1, 4, 2)},
        ),
        (
            "constexpr_lut_to_dense",
            {
                "indices": np.zeros((2, 2), np.uint8),
                "lut": half(1, 1, 4, 2),
                "vector_axis": np.int32(2),
            },
        ),
        (
            "constexpr_blockwise_shift_scale",
            {"data": np.zeros((4, 6), np.int8), "scale": half(3, 1)},
        ),
        (
            "constexpr_sparse_to_dense",
            {"nonzero_data": half(3), "mask": np.ones((2, 2), np.uint8)},
        ),
    ],
)
def test_what_does_not_fit_together_is_refused(op_type: str, inputs: Inputs) -> None:
    with pytest.raises(IntegrityError, match="cannot be decompressed"):
        ours(op_type, inputs)
