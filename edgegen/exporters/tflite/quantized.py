"""A layer's product with its weight in the form that the recipe asks for.

- float32 or float16 weights, or int8 ones with `float` activations: the weight is widened, and the
  operator computes in float32.
- `dynamic-int8`: the operator takes float32 and an int8 weight, and quantizes its input as it comes
  (TFLite's "hybrid" operators).
  4-bit weights are multiplied in this way only; where the operator has no kernel for them the
  weight is stored in 8 bits.
- `int8` and `int16`: what goes in is quantized with a calibrated range, the operator is one of
  integers, and what comes out is widened again. The rules are those of TFLite's quantization
  specification: int8 has zero points, int16 has none, and a bias has the scale of the input times
  that of its channel, in 32 bits, or 64 with int16.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgegen.compress.int8 import scales_of
from edgegen.core.calibration import LayerRange
from edgegen.core.errors import ExportError
from edgegen.exporters.calibrated import evenly_spaced
from edgegen.exporters.lowering import Parameter
from edgegen.exporters.stored_weights import WeightForm
from edgegen.exporters.tflite.graph import Quantization, Tensor, TensorType, Weight
from edgegen.exporters.tflite.layout import stored
from edgegen.exporters.tflite.storage import STORED
from edgegen.exporters.tflite.writer import GraphWriter

_VERSIONS: Mapping[tuple[str, str], int] = {
    ("CONV_2D", "float"): 1,
    ("CONV_2D", "dynamic-int8"): 5,
    ("CONV_2D", "dynamic-int4-channel"): 8,
    ("CONV_2D", "int8"): 3,
    ("CONV_2D", "int16"): 4,
    ("DEPTHWISE_CONV_2D", "float"): 1,
    ("DEPTHWISE_CONV_2D", "int8"): 3,
    ("DEPTHWISE_CONV_2D", "int16"): 5,
    ("FULLY_CONNECTED", "float"): 5,
    ("FULLY_CONNECTED", "dynamic-int8"): 12,
    ("FULLY_CONNECTED", "dynamic-int4-channel"): 13,
    ("FULLY_CONNECTED", "dynamic-int4"): 14,
    ("FULLY_CONNECTED", "int8"): 12,
    ("FULLY_CONNECTED", "int16"): 7,
}
"""The first version of an operator that has the form (tensorflow/lite/tools/versioning).

That table does not tell kernels of 4 bits with float32 inputs from others. Theirs here are those of
the first runtimes that were seen to compute right: LiteRT 1.2 to 2.0 know blocks and compute
something else, as tflite_runtime 2.14 does of 4-bit convolutions.
A runtime that is older than a version refuses the file; one that reads scales of channels as if
they were the tensor's, as tflite_runtime 2.14 does in FULLY_CONNECTED, would compute otherwise.
"""

StaticType = Literal["int8", "int16"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """An operator of an input, a weight and a bias; its output has the stored `shape`.

    A weight that the network computes from numbers alone is an array; it stays in float32. `axes`
    says in which order a weight's axes are stored, `weight_shape` in which shape, if in another.
    """

    code: str
    weight: Parameter | NDArray[np.float32]
    axes: tuple[int, ...] | None
    bias: Any
    shape: tuple[int, ...]
    options_type: str
    options: Mapping[str, Any] = field(default_factory=dict)
    channel_axis: int = 0
    weight_shape: tuple[int, ...] | None = None

    def lying(self, parameter: Parameter) -> tuple[int, ...]:
        """Return the shape in which its weight is stored."""
        if self.weight_shape is not None:
            return self.weight_shape
        return parameter.shape if self.axes is None else stored(parameter.shape, self.axes)


def multiply(writer: GraphWriter, product: Product, source: Tensor) -> Tensor:
    """Append a product in the recipe's form, from float32 to float32.

    Raises ExportError where a static recipe has no range for the layer.
    """
    if not isinstance(product.weight, Parameter):
        lying = product.weight if product.axes is None else product.weight.transpose(product.axes)
        return _floating(writer, product, source, writer.constant(lying))
    parameter = product.weight
    activations = writer.activations_for(parameter)
    if activations in ("int8", "int16"):
        return _static(writer, product, parameter, source, activations)
    axes, shape = product.axes, product.weight_shape
    if activations == "dynamic-int8":
        storage = writer.held_for(parameter, product.code, product.lying(parameter))
        form = STORED[storage].dynamic
        if form is not None and (product.code, form) in _VERSIONS:
            weight = writer.stored_weight(parameter, axes=axes, shape=shape, storage=storage)
            return _floating(writer, product, source, weight, form=form)
    weight = writer.weight(parameter, axes=axes, shape=shape, channel_axis=product.channel_axis)
    return _floating(writer, product, source, weight)


def _floating(
    writer: GraphWriter, product: Product, source: Tensor, weight: Tensor, *, form: str = "float"
) -> Tensor:
    """Append a product whose input and output are float32."""
    options = dict(product.options)
    if form != "float" and product.code == "FULLY_CONNECTED":
        options["asymmetricQuantizeInputs"] = True
    return writer.op(
        product.code,
        [source, weight, _floating_bias(writer, product)],
        product.shape,
        options_type=product.options_type,
        version=_VERSIONS[product.code, form],
        **options,
    )


def _floating_bias(writer: GraphWriter, product: Product) -> Tensor | None:
    """Return the bias; convolutions want one even where the network has none."""
    if product.bias is not None:
        return writer.floating(product.bias).tensor
    if product.code == "FULLY_CONNECTED":
        return None
    return writer.constant(np.zeros(product.shape[-1]))


def _static(
    writer: GraphWriter,
    product: Product,
    parameter: Parameter,
    source: Tensor,
    dtype: StaticType,
) -> Tensor:
    calibration = writer.calibration
    if calibration is None:
        raise ExportError(
            f"The recipe '{writer.recipe.name}' wants calibrated activations in "
            f"{writer.component}, and there is no calibration.",
            hint="Please report it: packaging has to calibrate for this recipe.",
        )
    measured = calibration.layer(writer.component, writer.layer)
    before, behind = _input(measured, dtype), _output(measured, dtype)
    storage = writer.storage_for(parameter)
    weight = writer.stored_weight(
        parameter,
        axes=product.axes,
        shape=product.weight_shape,
        channel_axis=product.channel_axis,
        storage=STORED[storage].otherwise or storage,
    )
    result = writer.op(
        product.code,
        [
            writer.quantized(source, dtype, before),
            weight,
            _bias(writer, product, weight, before, dtype),
        ],
        product.shape,
        dtype=dtype,
        quantization=behind,
        options_type=product.options_type,
        version=_VERSIONS[product.code, dtype],
        **product.options,
    )
    return writer.op(
        "DEQUANTIZE",
        [result],
        result.shape,
        options_type="DequantizeOptions",
        version=2 if dtype == "int8" else 3,
    )


def _input(measured: LayerRange, dtype: StaticType) -> Quantization:
    if dtype == "int8":
        return int8_range(measured.input_low, measured.input_high)
    return int16_range(measured.input_minimum, measured.input_maximum)


def _output(measured: LayerRange, dtype: StaticType) -> Quantization:
    if dtype == "int8":
        return int8_range(measured.output_low, measured.output_high)
    return int16_range(measured.output_minimum, measured.output_maximum)


def int8_range(low: float, high: float) -> Quantization:
    """Return the scale and zero point of −128…127 for a range, which is widened to hold 0.

    >>> int8_range(-1.0, 1.55)
    Quantization(scales=(0.01,), zero_points=(-28,), axis=0)
    """
    scale, zero_point = evenly_spaced(low, high, -128, 127)
    return Quantization(scales=(scale,), zero_points=(zero_point,))


def int16_range(low: float, high: float) -> Quantization:
    """Return the scale of −32767…32767 for a range; 16 bits have no zero point.

    >>> int16_range(-1.0, 3.2767)
    Quantization(scales=(0.0001,), zero_points=(0,), axis=0)
    """
    return Quantization(scales=(max(-low, high, 0.0) / 32767 or 1.0,), zero_points=(0,))


def _bias(
    writer: GraphWriter,
    product: Product,
    weight: Tensor,
    before: Quantization,
    dtype: StaticType,
) -> Tensor | None:
    """Return the bias in integers. The weight is read for its scales, which the bias shares."""
    if product.bias is None and product.code == "FULLY_CONNECTED":
        return None
    if not isinstance(product.bias, Parameter | None) or not isinstance(weight.data, Weight):
        raise ExportError(
            f"{writer.component}: the bias of '{writer.layer}' is not a weight, which the TFLite "
            "exporter does not quantize.",
            hint="Please report the model's config.",
        )
    numbers = np.zeros(product.shape[-1])
    if product.bias is not None:
        form = WeightForm(parameter=product.bias.name, axes=None, shape=product.bias.shape)
        numbers = writer.read(form).astype(np.float64)
    scales = before.scales[0] * _weight_scales(writer, weight.data).astype(np.float64)
    kind: TensorType = "int32" if dtype == "int8" else "int64"
    limits = np.iinfo(np.int32)  # kernels add what 64 bits hold to sums of 32 in places
    stored: NDArray[Any] = np.clip(np.rint(numbers / scales), limits.min, limits.max).astype(kind)
    return Tensor(
        name=f"{writer.layer or writer.component}/bias",
        shape=stored.shape,
        dtype=kind,
        data=stored,
        quantization=Quantization(
            scales=tuple(float(scale) for scale in scales), zero_points=(0,) * len(scales)
        ),
    )


def _weight_scales(writer: GraphWriter, weight: Weight) -> NDArray[np.float32]:
    """Return the scales that a weight will have when it is streamed."""
    array = writer.read(weight.form)
    return scales_of(array, weight.granularity).reshape(-1)
