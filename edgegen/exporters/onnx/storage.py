"""How an ONNX graph holds weights: a codec's name -> the type of its initializers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx_ir as ir


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A codec's initializers.

    `dtype` is the type of its values. Integers have scales (`is_scaled`): one for each output
    channel, or `in_blocks` one for each run of the second axis. Blocks are what MatMulNBits
    multiplies with: two numbers a byte.
    """

    dtype: ir.DataType
    is_scaled: bool = False
    in_blocks: bool = False


STORED: Mapping[str, Stored] = {
    "float32": Stored(dtype=ir.DataType.FLOAT),
    "float16": Stored(dtype=ir.DataType.FLOAT16),
    "int8": Stored(dtype=ir.DataType.INT8, is_scaled=True),
    "int4": Stored(dtype=ir.DataType.UINT8, is_scaled=True, in_blocks=True),
}
