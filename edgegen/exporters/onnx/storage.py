"""How an ONNX graph holds weights: a codec's name -> the type of its initializer."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

STORED: Mapping[str, ir.DataType] = {
    "float32": ir.DataType.FLOAT,
    "float16": ir.DataType.FLOAT16,
}
