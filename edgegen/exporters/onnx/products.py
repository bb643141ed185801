"""A layer's product with its weight in the form that the recipe asks for.

- float32 or float16 weights, or int8 ones with `float` activations: the weight is cast, and the
  product is one of floats. A channel's scale multiplies what comes out: casting int8 is faster
  than DequantizeLinear, which onnxruntime neither folds nor fuses with a convolution
  (docs/decisions/0065-onnx-in-8-and-4-bits.md).
- int4 weights: `com.microsoft::MatMulNBits`.
- `dynamic-int8`: linear layers quantize their input as it comes and multiply integers, in ONNX's
  own operators, which onnxruntime fuses. Its integer convolution is slower than that of floats, so
  convolutions are as with `float`.
- `int8` and `int16`: QuantizeLinear and DequantizeLinear, with calibrated ranges, around a product
  of floats, which runtimes and compilers replace by one of integers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_ir as ir

from edgegen.core.calibration import LayerRange
from edgegen.core.errors import ExportError
from edgegen.exporters.calibrated import evenly_spaced
from edgegen.exporters.lowering import Parameter
from edgegen.exporters.onnx.storage import STORED
from edgegen.exporters.onnx.writer import CONTRIB_DOMAIN, GraphWriter

_FLOAT = ir.DataType.FLOAT


def linear(writer: GraphWriter, x: Any, weight: Parameter, bias: Any) -> ir.Value:
    """Append `x W^T + b`; a weight is stored transposed, so that no node transposes it.

    Raises ExportError where a static recipe has no range for the layer.
    """
    kind = STORED[writer.storage_for(weight, in_product=True)]
    activations = writer.recipe.activations_of(writer.layer) if kind.is_scaled else "float"
    if kind.in_blocks:
        product = _in_blocks(writer, x, weight)
    elif activations == "dynamic-int8":
        product = _dynamic(writer, x, weight)
    elif activations in ("int8", "int16"):
        return _static_linear(writer, x, weight, bias, 8 if activations == "int8" else 16)
    elif kind.is_scaled:
        use = writer.stored(weight, transposed=True, in_product=True)
        product = writer.op("MatMul", writer.floating(x), writer.cast(use.value, writer.compute))
        product = _scaled(writer, product, use.scales)
    else:
        matrix = writer.cast(writer.weight(weight, transposed=True), writer.compute)
        product = writer.op("MatMul", writer.floating(x), matrix)
    return product if bias is None else writer.op("Add", product, writer.floating(bias))


def convolution(
    writer: GraphWriter, x: Any, weight: Parameter, bias: Any, attributes: Mapping[str, Any]
) -> ir.Value:
    """Append a convolution; `attributes` are those of ONNX's.

    Raises ExportError where a static recipe has no range for the layer.
    """
    kind = STORED[writer.storage_for(weight)]
    if not kind.is_scaled:
        return writer.op(
            "Conv",
            writer.floating(x),
            writer.floating(weight),
            None if bias is None else writer.floating(bias),
            **attributes,
        )
    activations = writer.recipe.activations_of(writer.layer)
    if activations in ("int8", "int16") and isinstance(bias, Parameter | None):
        bits = 8 if activations == "int8" else 16
        return _static_convolution(writer, x, weight, bias, attributes, bits)
    axes = len(weight.shape) - 1
    use = writer.stored(weight, scale_axes=axes)
    kernel = writer.cast(use.value, writer.compute)
    product = writer.op("Conv", writer.floating(x), kernel, **attributes)
    product = _scaled(writer, product, use.scales)
    if bias is None:
        return product
    column = (weight.shape[0], *[1] * (axes - 1))
    if isinstance(bias, Parameter):
        return writer.op(
            "Add", product, writer.cast(writer.weight(bias, shape=column), writer.compute)
        )
    return writer.op("Add", product, writer.floating(np.reshape(bias, column)))


def _scaled(writer: GraphWriter, product: ir.Value, scales: ir.Value | None) -> ir.Value:
    assert scales is not None
    return writer.op("Mul", product, writer.cast(scales, writer.compute))


def _in_blocks(writer: GraphWriter, x: Any, weight: Parameter) -> ir.Value:
    use = writer.stored(weight, in_product=True)
    level = {"accuracy_level": writer.accuracy_level} if writer.accuracy_level else {}
    product = writer.op(
        "MatMulNBits",
        writer.floating(x, _FLOAT),
        use.value,
        use.scales,
        domain=CONTRIB_DOMAIN,
        K=weight.shape[1],
        N=weight.shape[0],
        bits=4,
        block_size=use.granularity.block,
        **level,
    )
    return writer.cast(product, writer.compute)


def _dynamic(writer: GraphWriter, x: Any, weight: Parameter) -> ir.Value:
    """Append a product of integers, and what it stands for."""
    use = writer.stored(weight, transposed=True, in_product=True)
    integers, scale, zero = writer.dynamically_quantized(writer.floating(x, _FLOAT))
    sums = writer.op("MatMulInteger", integers, use.value, zero, dtype=ir.DataType.INT32)
    scales = writer.op("Mul", scale, use.scales)
    product = writer.op("Mul", writer.op("Cast", sums, dtype=_FLOAT, to=_FLOAT), scales)
    return writer.cast(product, writer.compute)


def _static_linear(
    writer: GraphWriter, x: Any, weight: Parameter, bias: Any, bits: int
) -> ir.Value:
    measured = _measured(writer)
    use = writer.stored(weight, transposed=True, in_product=True)
    matrix = writer.widened(use)
    argument = writer.quantized(writer.floating(x, _FLOAT), *_input(measured, bits), bits)
    result = writer.op("MatMul", argument, matrix)
    if bias is not None:
        result = writer.op("Add", result, writer.floating(bias, _FLOAT))
    return _quantized_output(writer, result, measured, bits)


def _static_convolution(
    writer: GraphWriter,
    x: Any,
    weight: Parameter,
    bias: Parameter | None,
    attributes: Mapping[str, Any],
    bits: int,
) -> ir.Value:
    measured = _measured(writer)
    low, high = _input(measured, bits)
    use = writer.stored(weight)
    kernel = writer.widened(use)
    argument = writer.quantized(writer.floating(x, _FLOAT), low, high, bits)
    shift = None
    if bias is not None:
        shift = writer.integer_bias(use, bias, evenly_spaced(low, high, 0, (1 << bits) - 1)[0])
    result = writer.op("Conv", argument, kernel, shift, **attributes)
    return _quantized_output(writer, result, measured, bits)


def _quantized_output(
    writer: GraphWriter, result: ir.Value, measured: LayerRange, bits: int
) -> ir.Value:
    if bits == 8:
        low, high = measured.output_low, measured.output_high
    else:
        low, high = measured.output_minimum, measured.output_maximum
    return writer.cast(writer.quantized(result, low, high, bits), writer.compute)


def _input(measured: LayerRange, bits: int) -> tuple[float, float]:
    if bits == 8:
        return measured.input_low, measured.input_high
    return measured.input_minimum, measured.input_maximum


def _measured(writer: GraphWriter) -> LayerRange:
    if writer.calibration is None:
        raise ExportError(
            f"The recipe '{writer.recipe.name}' wants calibrated activations in "
            f"{writer.component}, and there is no calibration.",
            hint="Please report it: packaging has to calibrate for this recipe.",
        )
    return writer.calibration.layer(writer.component, writer.layer)
