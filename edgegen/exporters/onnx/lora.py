"""A LoRA as inputs: beside a layer's product with its weight, one with two thin matrices.

Both are inputs with a default of rank 0, which adds nothing: who draws without a LoRA leaves them
out (docs/decisions/0087-a-lora-as-inputs.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_ir as ir
from edgegen_runner.lora import DOWN, UP

from edgegen.exporters.lowering import Parameter
from edgegen.exporters.onnx.writer import GraphWriter, LoraPair


def linear(writer: GraphWriter, product: ir.Value, x: Any, weight: Parameter) -> ir.Value:
    """Append `(x · down) · up`: down is (inputs, rank), up (rank, outputs)."""
    outputs, inputs = weight.shape
    pair = _pair(writer, weight, down=(inputs, None), up=(None, outputs))
    if pair is None:
        return product
    inner = writer.op("MatMul", writer.floating(x), writer.floating(pair.down))
    return writer.op("Add", product, writer.op("MatMul", inner, writer.floating(pair.up)))


def convolution(
    writer: GraphWriter,
    product: ir.Value,
    x: Any,
    weight: Parameter,
    attributes: Mapping[str, Any],
) -> ir.Value:
    """Append a convolution to the rank, with the layer's `attributes`, and one of single pixels.

    down is (rank, inputs, height, width), up (outputs, rank, 1, 1). Layers in groups take none.
    """
    outputs, inputs, *kernel = weight.shape
    if len(kernel) != 2 or attributes["group"] != 1:
        return product
    pair = _pair(writer, weight, down=(None, inputs, *kernel), up=(outputs, None, 1, 1))
    if pair is None:
        return product
    inner = writer.op("Conv", writer.floating(x), writer.floating(pair.down), **attributes)
    return writer.op("Add", product, writer.op("Conv", inner, writer.floating(pair.up)))


def _pair(
    writer: GraphWriter,
    weight: Parameter,
    *,
    down: tuple[int | None, ...],
    up: tuple[int | None, ...],
) -> LoraPair | None:
    """Return a layer's inputs, the same however often it is used; None where it has none."""
    if not writer.lora_as_input or not weight.name.endswith(".weight"):
        return None
    if weight.name not in writer.loras:
        layer = weight.name.removesuffix(".weight")
        writer.loras[weight.name] = LoraPair(
            down=_input(f"{layer}{DOWN}", down, f"{layer}.rank"),
            up=_input(f"{layer}{UP}", up, f"{layer}.rank"),
            shape=weight.shape,
        )
    return writer.loras[weight.name]


def _input(name: str, axes: tuple[int | None, ...], rank: str) -> ir.Value:
    nothing = np.zeros([0 if axis is None else axis for axis in axes], np.float32)
    return ir.Value(
        name=name,
        type=ir.TensorType(ir.DataType.FLOAT),
        shape=ir.Shape([rank if axis is None else axis for axis in axes]),
        const_value=ir.tensor(nothing, name=name),
    )
