"""How a Core ML program holds weights: a codec's name -> the operation that decompresses them.

Core ML decompresses a weight when it loads a model or while it runs, as the compiler sees fit: the
operations that say how are named `constexpr_…`. Those of iOS 16 hold one palette a tensor or one
scale a channel; those of iOS 18 palettes and scales of groups.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgegen.compress.codec import Encoded
from edgegen.mil import schema
from edgegen.mil.types import TYPES, TypeName, pack_bits
from edgegen.mil.values import immediate

GROUPED_FROM = 18
"""iOS's version whose operations hold palettes and scales of groups."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decompression:
    """An operation, and what it takes by name."""

    op_type: str
    inputs: Mapping[str, schema.Value]


class Values(Protocol):
    """Writes arrays, into the program or the file of weights."""

    def value(self, array: NDArray[Any]) -> schema.Value:
        """Return an array's value: in the file of weights, unless it is small."""

    def stored(self, array: NDArray[Any], kind: TypeName) -> schema.Value:
        """Return a value in the file of weights, whose numbers may take less than a byte."""


Decompress = Callable[[Encoded, TypeName, int, Values], Decompression]
"""(weight, type of its values, oldest iOS, writer of arrays) -> operation"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A codec's constants.

    `kind` is the type of the codec's values in the file, `result` the type of the numbers that the
    program sees; `decompress` is None where those are the same.
    """

    kind: TypeName
    result: TypeName = "fp16"
    decompress: Decompress | None = None


def _scaled_channels(
    encoded: Encoded, kind: TypeName, minimum_os: int, values: Values
) -> Decompression:
    """Multiply by a scale a channel; iOS 16 has an operation for it."""
    if minimum_os >= GROUPED_FROM:
        return _scaled_blocks(encoded, kind, minimum_os, values)
    return Decompression(
        op_type="constexpr_affine_dequantize",
        inputs={
            "axis": immediate(np.array(0, np.int32)),
            "quantized_data": values.value(encoded.values),
            "scale": values.value(_half_scales(encoded).reshape(-1)),
            "zero_point": immediate(np.array(0, np.int8)),
        },
    )


def _scaled_blocks(
    encoded: Encoded, kind: TypeName, minimum_os: int, values: Values
) -> Decompression:
    return Decompression(
        op_type="constexpr_blockwise_shift_scale",
        inputs={
            "data": values.stored(encoded.values, kind),
            "scale": values.value(_half_scales(encoded)),
        },
    )


def _palettes(encoded: Encoded, kind: TypeName, minimum_os: int, values: Values) -> Decompression:
    palettes = encoded.palettes
    assert palettes is not None
    groups, numbers = palettes.shape
    if minimum_os >= GROUPED_FROM:
        lut_shape = (groups, *[1] * (encoded.values.ndim - 1), numbers, 1)
        return Decompression(
            op_type="constexpr_lut_to_dense",
            inputs={
                "indices": values.stored(encoded.values, kind),
                "lut": values.value(palettes.reshape(lut_shape)),
            },
        )
    return Decompression(
        op_type="constexpr_lut_to_dense",
        inputs={
            "indices": values.value(pack_bits(encoded.values, TYPES[kind].bits)),
            "lut": values.value(palettes.reshape(-1)),
            "shape": immediate(np.array(encoded.values.shape, np.uint32)),
        },
    )


def _half_scales(encoded: Encoded) -> NDArray[np.float16]:
    assert encoded.scales is not None
    return encoded.scales.astype(np.float16)


STORED: Mapping[str, Stored] = {
    "float32": Stored(kind="fp32", result="fp32"),
    "float16": Stored(kind="fp16"),
    "int8": Stored(kind="int8", decompress=_scaled_channels),
    "int4": Stored(kind="int4", decompress=_scaled_blocks),
    "palette8": Stored(kind="uint8", decompress=_palettes),
    "palette6": Stored(kind="uint6", decompress=_palettes),
    "palette4": Stored(kind="uint4", decompress=_palettes),
    "palette3": Stored(kind="uint3", decompress=_palettes),
    "palette2": Stored(kind="uint2", decompress=_palettes),
    "palette1": Stored(kind="uint1", decompress=_palettes),
}
